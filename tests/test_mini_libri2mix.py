"""The small Libri2Mix: its layout, its mixtures, and that people speak when it says they do."""

import json
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from downstream.corpora import mini
from downstream.corpora.librimix.mixing import wav_bytes
from downstream.corpora.mini.libri2mix import PARTS
from downstream.corpora.mini.plans import plan
from downstream.corpora.mini.voices import FEMALE

SCALE = 0.02


def make(out, **options):
    [[root]] = mini.make(out, ["libri2mix"], progress=False, scale=SCALE, **options).values()
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mini"), jobs=2)


@pytest.fixture(scope="module")
def whole():
    """At its full size, all but the sound."""
    return plan("libri2mix", 0, 1.0)


def marker(root):
    return json.loads((root / "MINI.json").read_text())


def table(text):
    return [line.split() for line in text.splitlines()]


def turns_of(segments, utt2spk):
    """(speaker, start, stop) of every recording."""
    speaker_of, turns = dict(table(utt2spk)), {}
    for segment, recording, start, stop in table(segments):
        turns.setdefault(recording, []).append((speaker_of[segment], float(start), float(stop)))
    return turns


def wave(path):
    return soundfile.read(path, dtype="int16")[0].astype(float)


def power(wave):
    return float((wave**2).mean())


def mixtures_of(made):
    """Every mixture of a plan, by its name."""
    return {clip.path.split("/")[-1][:-4]: clip.render.args[0] for clip in made.clips}


def test_same_seed_gives_the_same_bytes_and_another_one_others(root, tmp_path):
    assert marker(make(tmp_path, jobs=1))["digest"] == marker(root)["digest"]
    assert set(mixtures_of(plan("libri2mix", 1, SCALE))).isdisjoint(mixtures_of(plan("libri2mix", 0, SCALE)))


def test_layout(root):
    content = marker(root)
    counts = content["counts"]
    assert counts == content["also"]["libri2mix_diarization"] == {"train": 5, "dev": 2, "test": 2}
    assert content["also"]["libri2mix_separation"] == {"train": 2, "dev": 2, "test": 2}
    separated = content["also"]["libri2mix_separation"]
    speakers = []
    for split, part in PARTS.items():
        noisy = {path.name for path in (root / "wav16k/max" / part / "mix_both").iterdir()}
        clean, first, second = (
            {path.name for path in (root / "wav16k/min" / part / name).iterdir()} for name in ("mix_clean", "s1", "s2")
        )
        assert clean == first == second <= noisy
        assert (len(noisy), len(clean)) == (counts[split], separated[split])
        assert all(re.fullmatch(r"(\d+)-\d+-\d{4}_(?!\1-)\d+-\d+-\d{4}\.wav", name) for name in noisy)
        speakers.append({source.split("-")[0] for name in noisy for source in name.split("_")})
        folder = root / "data" / split
        names = {"wav.scp", "segments", "utt2spk", "spk2utt", "reco2dur", "rttm"}
        assert {path.name for path in folder.iterdir()} == names
        durations = dict(table((folder / "reco2dur").read_text()))
        for recording, path in table((folder / "wav.scp").read_text()):
            assert path == f"wav16k/max/{part}/mix_both/{recording}.wav"
            assert soundfile.info(root / path).duration == float(durations[recording])
    assert len(set.union(*speakers)) == sum(map(len, speakers)), "a speaker is in two splits"


def test_sources_are_what_the_mixture_is_made_of(root):
    mixtures = sorted(root.glob("wav16k/min/*/mix_clean/*.wav"))
    assert len(mixtures) == 6
    for path in mixtures:
        first, second = (wave(path.parents[1] / name / path.name) for name in ("s1", "s2"))
        mixture = wave(path)
        assert len(first) == len(second) == len(mixture)
        assert np.abs(first + second - mixture).max() <= 1, "more than rounding"
        assert np.abs(mixture).max() < 32767
        assert abs(10 * np.log10(power(first) / power(second))) < 12


def test_noisy_mixtures_are_the_clean_ones_longer_and_with_noise(root):
    for path in root.glob("wav16k/min/*/mix_clean/*.wav"):
        clean = wave(path)
        noisy = wave(root / "wav16k/max" / path.parts[-3] / "mix_both" / path.name)
        assert len(noisy) >= len(clean)
        assert 7 < 10 * np.log10(power(clean) / power(noisy[: len(clean)] - clean)) < 23


def test_people_speak_when_it_says_they_do(root):
    """Each source alone is loud in its speaker's turns and all but silent elsewhere."""
    for split, part in PARTS.items():
        files = {name: (root / "data" / split / name).read_text() for name in ("segments", "utt2spk")}
        turns = turns_of(files["segments"], files["utt2spk"])
        for path in (root / "wav16k/min" / part / "mix_clean").iterdir():
            for name, source in zip(("s1", "s2"), path.stem.split("_"), strict=True):
                alone = wave(path.parents[1] / name / path.name)
                spoken = np.zeros(len(alone), dtype=bool)
                margin = spoken.copy()  # the room's echo outlives the voice
                for speaker, start, stop in turns[path.stem]:
                    if speaker == source.split("-")[0]:
                        spoken[round(start * 16000) : round(stop * 16000)] = True
                        margin[round(start * 16000) : round(stop * 16000) + 1600] = True
                assert 10 * np.log10(power(alone[spoken]) / power(alone[~margin])) > 20, path
                tenths = power_of_tenths(alone, spoken)
                assert (tenths > power(alone[~margin]) * 10).mean() > 0.9, path


def power_of_tenths(wave, where):
    """The power of every tenth of a second that lies where it is asked for as a whole."""
    count = len(wave) // 1600
    pieces, inside = wave[: count * 1600].reshape(count, 1600), where[: count * 1600].reshape(count, 1600).all(axis=1)
    return (pieces[inside] ** 2).mean(axis=1)


def test_silence_one_speaker_and_two(whole):
    for split in PARTS:
        frames = Counter()
        texts = {name: whole.texts[f"Libri2Mix/data/{split}/{name}"] for name in ("segments", "utt2spk", "reco2dur")}
        durations = {name: float(seconds) for name, seconds in table(texts["reco2dur"])}
        assert min(durations.values()) >= 3 and max(durations.values()) <= 6
        assert len(durations) == whole.counts[split]
        turns = turns_of(texts["segments"], texts["utt2spk"])
        for name, seconds in durations.items():
            active = {source.split("-")[0]: np.zeros(round(seconds * 100), dtype=int) for source in name.split("_")}
            for speaker, start, stop in turns[name]:
                assert 0 <= start < stop <= seconds
                active[speaker][round(start * 100) : round(stop * 100)] = 1
            assert len(active) == 2 and all(one.any() for one in active.values())
            frames.update(sum(active.values()).tolist())
        shares = [frames[speakers] / frames.total() for speakers in range(3)]
        assert shares[0] > 0.1 and shares[1] > 0.25 and 0.25 < shares[2] < 0.55


def test_rttm_agrees_with_segments(whole):
    texts = {name: whole.texts[f"Libri2Mix/data/test/{name}"] for name in ("segments", "utt2spk", "rttm")}
    turns = {}
    for fields in table(texts["rttm"]):
        start, stop = float(fields[3]), float(fields[3]) + float(fields[4])
        turns.setdefault(fields[1], []).append((fields[7], start, pytest.approx(stop)))
    assert turns == turns_of(texts["segments"], texts["utt2spk"])


def test_size_and_speakers_at_full_size(whole):
    assert whole.counts == {"train": 240, "dev": 40, "test": 60}
    size = 0
    for clip in whole.clips:
        mixture, mode, _ = clip.render.args
        lengths = [source.length for source in mixture.sources]
        size += wav_bytes(160 * (min(lengths) if mode == "min" else max(lengths)))
    assert size + sum(map(len, whole.texts.values())) < 90e6
    mixtures = mixtures_of(whole)
    assert len(mixtures) == sum(whole.counts.values())
    assert len({source.speaker for mixture in mixtures.values() for source in mixture.sources}) == 24 + 6 + 8
    women = Counter(sum(s.voice.variant in FEMALE for s in mixture.sources) for mixture in mixtures.values())
    assert women[1] > 0.7 * women.total() and women[0] and women[2]


def test_files_of_a_mixture_are_made_one_after_the_other(whole):
    """The two sources are synthesized once for all of them."""
    names = [clip.path.split("/")[-1] for clip in whole.clips]
    assert sum(one != other for one, other in pairwise(names)) == len(set(names)) - 1
