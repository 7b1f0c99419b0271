"""The small made-up Audio SNIPS: the real layout, sentences that can be learned, the same bytes from the same seed."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from downstream import corpora
from downstream.corpora import mini
from downstream.corpora.audio_snips import FOLDERS, VOICES
from downstream.corpora.mini import audio_snips
from downstream.corpora.mini.audio_snips_phrases import INTENTS, VALUES
from downstream.corpora.mini.plans import plan
from downstream.corpora.snips_text import CHARACTERS, slots
from upstream.audio import read_audio, read_header

SCALE = 0.02


def make(out, seed=0):
    return mini.make(out, ["audio_snips"], seed=seed, jobs=1, progress=False, scale=SCALE)


def digest(out):
    return json.loads((out / "SNIPS" / "MINI.json").read_text())["digest"]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    assert make(folder) == {"audio_snips": [folder / "SNIPS"]}
    return folder


def sentences(made, folder):
    """(words, tags, intent) of every sentence of a folder, as one of its voices says it."""
    rows = []
    for line in made.texts["SNIPS/all.iob.snips.txt"].splitlines():
        utterance, _, rest = line.partition(" ")
        said, tagging = rest.split("\t")
        if utterance.startswith(f"Ivy-snips-{folder}-"):
            rows.append((said.split()[1:-1], tagging.split()[1:-1], tagging.split()[-1]))
    return rows


def test_reader_finds_the_counts_of_the_marker(out):
    manifest = corpora.read("audio_snips", out)
    assert manifest.complete and manifest.mini["counts"] == manifest.counts
    assert manifest.notes == []
    assert all(len({example.group for example in manifest.splits[split]}) == 2 for split in FOLDERS)


def test_clips_are_speech_at_16_khz_of_two_to_five_seconds(out):
    for path in sorted((out / "SNIPS").rglob("*.wav")):
        header = read_header(path)
        assert header.rate == 16000 and header.channels == 1
        wave = read_audio(path)
        assert 1.8 <= len(wave) / 16000 <= 5
        assert 0.01 < wave.std() < 0.3


def test_same_seed_same_bytes(out, tmp_path):
    make(tmp_path)
    assert digest(tmp_path) == digest(out)
    make(tmp_path / "another", seed=1)
    assert digest(tmp_path / "another") != digest(out)


@pytest.mark.parametrize("scale", [SCALE, 0.3, 1.0])
def test_layout_is_that_of_the_real_corpus(scale):
    made = plan("audio_snips", 0, scale)
    iob = [line.split(" ", 1) for line in made.texts["SNIPS/all.iob.snips.txt"].splitlines()]
    assert sorted(f"SNIPS/{name.split('-')[2]}/{name}.wav" for name, _ in iob) == sorted(
        clip.path for clip in made.clips
    )
    assert all(text.startswith("BOS ") and " EOS\tO " in text for _, text in iob)
    plain = [line.split(" ", 1) for line in made.texts["SNIPS/all-trans.txt"].splitlines()]
    assert plain == [[name, text.split("\t")[0].removeprefix("BOS ").removesuffix(" EOS")] for name, text in iob]
    voices = {name.split("-")[0] for name, _ in iob}
    for split, folder in FOLDERS.items():
        own = [name for name, _ in iob if name.split("-")[0] in VOICES[split] and f"-{folder}-" in name]
        assert len(own) == made.counts[split]
        assert {name.split("-")[0] for name, _ in iob if f"-{folder}-" in name} == voices
    if scale == 1.0:
        assert voices == set(sum(VOICES.values(), ()))
        assert made.counts == {"train": 8 * 72, "dev": 4 * 12, "test": 4 * 24}


def test_slots_are_listed_by_how_often_they_occur(tmp_path):
    made = plan("audio_snips", 0, 1.0)
    path = tmp_path / "slots.txt"
    path.write_text(made.texts["SNIPS/slots.txt"])
    found = Counter(tag for folder in FOLDERS.values() for _, tags, _ in sentences(made, folder) for tag in tags)
    listed = slots(path)
    assert {"O", *listed} == set(found) and set(listed) == set(VALUES)
    assert len(listed) >= 12
    assert all(found[more] >= found[less] for more, less in pairwise(listed))


@pytest.mark.parametrize("seed", range(8))
def test_the_test_sentences_can_be_learned_from_the_others(seed):
    made = plan("audio_snips", seed, 1.0)
    train, dev, test = (sentences(made, folder) for folder in ("train", "valid", "test"))
    assert {intent for _, _, intent in train} == {intent for _, _, intent in test} == set(INTENTS)
    said = [" ".join(words) for words, _, _ in (*train, *dev, *test)]
    assert len(set(said)) == len(said) == 72 + 12 + 24
    words = Counter(word for sentence, _, _ in train for word in sentence)
    tags = Counter(tag for _, tagging, _ in train for tag in tagging)
    assert {word for sentence, _, _ in (*dev, *test) for word in sentence} <= set(words)
    assert len(words) <= 120
    assert min(tags[tag] for _, tagging, _ in test for tag in tagging) >= 6


def test_every_character_and_a_slot_whose_name_begins_another_occur():
    made = plan("audio_snips", 0, 1.0)
    text = " ".join(" ".join(words) for words, _, _ in sentences(made, "train"))
    assert set(text) == set(CHARACTERS)
    assert {"playlist", "playlist_owner"} <= {tag for _, tags, _ in sentences(made, "test") for tag in tags}


def test_values_and_templates_name_each_other():
    named = {piece.strip("{}") for some in INTENTS.values() for one in some for piece in one.split() if "{" in piece}
    assert named == set(VALUES)
    assert len(INTENTS) == 7 and len(audio_snips.TOPS) == 1
