"""VoiceBank-DEMAND as it is unpacked, every way in which it can be broken, and the small made-up one."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_corpora as tiny
from tiny_corpora import put_wav, write_marker

from downstream import corpora
from downstream.corpora import mini, voicebank_demand
from downstream.corpora.mini import voicebank
from downstream.corpora.mini.plans import plan
from downstream.types import Example
from upstream.errors import DataError, MissingError

FOLDERS = ("noisy_{}_wav", "clean_{}_wav")
SCALE = 0.1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny.voicebank_demand(tmp_path)


def error_of(root: Path, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        voicebank_demand.read(root)
    return str(caught.value)


def test_dev_are_two_speakers_of_the_training_set(root):
    manifest = voicebank_demand.read(root)
    assert {split: [e.id for e in examples] for split, examples in manifest.splits.items()} == {
        "train": ["p228_001", "p228_002", "p243_001"],
        "dev": ["p226_001", "p287_001"],
        "test": ["p232_001", "p257_001"],
    }
    assert manifest.splits["dev"][0] == Example(
        "p226_001",
        "noisy_trainset_28spk_wav_16k/p226_001.wav",
        (),
        "p226",
        sources=("clean_trainset_28spk_wav_16k/p226_001.wav",),
    )
    assert manifest.expected == {"train": 10802, "dev": 770, "test": 824} and not manifest.complete
    assert manifest.notes == []
    assert corpora.read("voicebank_demand", root.parent) == manifest


def test_folders_as_downloaded_are_read_and_their_rate_is_told(tmp_path):
    manifest = voicebank_demand.read(tiny.voicebank_demand(tmp_path, "", 48000))
    assert manifest.counts == {"train": 3, "dev": 2, "test": 2}
    assert manifest.splits["test"][0].sources == ("clean_testset_wav/p232_001.wav",)
    assert len(manifest.notes) == 4
    assert manifest.notes[0].startswith("noisy_trainset_28spk_wav is at 48000 Hz: resampled to 16000 Hz when read")


def test_folders_at_16_khz_are_preferred_and_a_part_may_be_as_downloaded(root):
    tiny.voicebank_demand(root.parent, "", 48000)
    assert voicebank_demand.read(root).notes == []
    (root / "clean_testset_wav_16k").rename(root / "aside")
    manifest = voicebank_demand.read(root)
    assert manifest.splits["test"][0].audio == "noisy_testset_wav/p232_001.wav"  # never with noise at another rate
    assert [note.split()[0] for note in manifest.notes] == ["noisy_testset_wav", "clean_testset_wav"]


def test_made_up_corpus_brings_its_own_counts(root):
    write_marker(root, "voicebank_demand", {"train": 3, "dev": 2, "test": 2})
    assert voicebank_demand.read(root).complete


def test_what_else_lies_in_the_folders_does_no_harm(root):
    (root / "testset_txt").mkdir()
    for name in ("._p232_001.wav", "log.txt"):
        (root / "noisy_testset_wav_16k" / name).touch()
    assert voicebank_demand.read(root).counts["test"] == 2


def test_absent_folder_is_named_with_where_to_get_it(root):
    (root / "clean_testset_wav_16k").rename(root.parent / "aside")
    message = error_of(root, MissingError)
    assert str(root / "clean_testset_wav") in message and "trainset" not in message
    assert "https://datashare.ed.ac.uk/handle/10283/2791" in message


def test_files_that_one_folder_lacks_are_counted_and_named(root):
    (root / "clean_testset_wav_16k/p257_001.wav").unlink()
    (root / "noisy_trainset_28spk_wav_16k/p226_001.wav").unlink()
    message = error_of(root, MissingError)
    assert "2 of 14 audio files are missing" in message
    assert f"{root}/clean_testset_wav_16k/p257_001.wav" in message
    assert f"{root}/noisy_trainset_28spk_wav_16k/p226_001.wav" in message


def test_empty_folders_are_named(root):
    for folder in ("noisy_testset_wav_16k", "clean_testset_wav_16k"):
        for path in (root / folder).iterdir():
            path.unlink()
    assert f"{root / 'noisy_testset_wav_16k'} and {root / 'clean_testset_wav_16k'} hold no" in error_of(
        root, MissingError
    )


@pytest.mark.parametrize("name", ["p2_001.wav", "p226-001.wav", "copy of p226_001.wav", "s5_001.wav"])
def test_strange_name_is_refused(root, name):
    put_wav(root / "clean_trainset_28spk_wav_16k" / name)
    message = error_of(root, DataError)
    assert f"{root / 'clean_trainset_28spk_wav_16k' / name} is not named after a speaker" in message


@pytest.mark.parametrize(("speakers", "who"), [(["p287"], "p287"), (["p228", "p243"], "speakers other than those")])
def test_split_without_speakers_is_refused(root, speakers, who):
    for folder in FOLDERS:
        for path in (root / (folder.format("trainset_28spk") + "_16k")).iterdir():
            if path.name[:4] in speakers:
                path.unlink()
    assert f"trainset_28spk has no sentences of {who}" in error_of(root, MissingError)


def test_speaker_of_the_test_must_not_be_trained_on(root):
    for folder in FOLDERS:
        put_wav(root / (folder.format("testset") + "_16k") / "p243_002.wav")
    assert "1 speakers are both in trainset_28spk and in testset: p243." in error_of(root, DataError)


# The small made-up one


def make(out: Path, **options) -> Path:
    [[root]] = mini.make(out, ["voicebank_demand"], progress=False, scale=SCALE, **options).values()
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("mini"), jobs=2)


def waves(root: Path, example: Example) -> tuple[np.ndarray, np.ndarray]:
    """With noise and without, in float64, as integers."""
    return tuple(
        soundfile.read(root / path, dtype="int16")[0].astype(float) for path in (example.audio, *example.sources)
    )


def test_reader_reads_what_was_planned(made):
    manifest = voicebank_demand.read(made)
    assert manifest.complete and manifest.counts == {"train": 20, "dev": 3, "test": 4} and manifest.notes == []
    files = {f"VoiceBank-DEMAND/{path}" for e in manifest.examples() for path in (e.audio, *e.sources)}
    assert files == {clip.path for clip in plan("voicebank_demand", 0, SCALE).clips}


def test_same_seed_gives_the_same_bytes_and_another_one_others(made, tmp_path):
    roots = [made, make(tmp_path / "a", jobs=1), make(tmp_path / "b", seed=1)]
    digests = [json.loads((root / "MINI.json").read_text())["digest"] for root in roots]
    assert digests[0] == digests[1] != digests[2]


def test_at_full_size_speakers_are_those_of_their_splits(tmp_path):
    content = plan("voicebank_demand", 0, 1.0)
    assert content.counts == {"train": 200, "dev": 30, "test": 40} and len(content.clips) == 540
    speakers = {split: set(names) for split, names in voicebank.SPEAKERS.items()}
    assert speakers["dev"] == {"p226", "p287"} and speakers["test"] == {"p232", "p257"} and len(speakers["train"]) == 6
    for clip in content.clips:
        folder, name = clip.path.split("/")[1:]
        assert name[:4] in (speakers["test"] if "testset" in folder else speakers["train"] | speakers["dev"])


def test_files_are_mono_of_two_to_four_seconds_at_16_khz(made):
    files = list(made.rglob("*.wav"))
    assert len(files) == 54
    for path in files:
        info = soundfile.info(path)
        assert (info.subtype, info.samplerate, info.channels) == ("PCM_16", 16000, 1)
        assert 2 <= info.duration <= 4


def test_noisy_is_clean_and_a_noise_at_one_of_the_levels(made):
    levels = {"train": (0, 5, 10, 15), "dev": (0, 5, 10, 15), "test": (2.5, 7.5, 12.5, 17.5)}
    for split, examples in voicebank_demand.read(made).splits.items():
        found = set()
        for example in examples:
            noisy, clean = waves(made, example)
            noise = noisy - clean
            assert abs(np.corrcoef(noise, clean)[0, 1]) < 0.1 and np.abs(noisy).max() < 32700
            ratio = 10 * np.log10((clean**2).sum() / (noise**2).sum())
            nearest = min(levels[split], key=lambda level: abs(level - ratio))
            assert ratio == pytest.approx(nearest, abs=0.02)
            found.add(nearest)
        assert len(found) > 1


def test_clean_and_noise_make_up_noisy_to_a_rounding_error(monkeypatch):
    """The noise as it was added, once at its level and once so loud that both files are turned down."""
    added = []
    make_noise = voicebank.make_noise

    def louder(kind, rng, samples, level_db):
        added.append(make_noise(kind, rng, samples, level_db + more))
        return added[-1]

    monkeypatch.setattr(voicebank, "make_noise", louder)
    noisy, clean = plan("voicebank_demand", 0, SCALE).clips[:2]
    for more in (0, 60):
        voicebank._recorded.cache_clear()
        mixed, alone = (clip.render(None).astype(float) for clip in (noisy, clean))
        difference, noise = mixed - alone, added[-1]
        gain = float(difference @ noise / (noise @ noise))
        assert (gain == pytest.approx(32767, rel=1e-3)) == (more == 0)
        assert np.abs(difference - gain * noise).max() < 1.1
    voicebank._recorded.cache_clear()


def test_test_has_noises_of_training_and_others():
    trained, tested = (set(voicebank.NOISES[part]) for part in ("trainset_28spk", "testset"))
    assert len(tested & trained) == 2 and len(tested - trained) == 2
    assert not set(voicebank.SNRS_DB["trainset_28spk"]) & set(voicebank.SNRS_DB["testset"])
