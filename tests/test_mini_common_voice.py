"""The small made-up Common Voice: real lists and clips, the counts of its marker, the same bytes from the same seed."""

import csv
import json
import re
import unicodedata
from collections import Counter

import pytest

from downstream import corpora
from downstream.corpora import mini
from downstream.corpora.mini import common_voice_ar, common_voice_es, common_voice_zh
from downstream.corpora.mini.plans import plan
from upstream.audio import read_audio, read_header

LANGUAGES = {module.LANGUAGE.corpus: module.LANGUAGE for module in (common_voice_es, common_voice_ar, common_voice_zh)}
SCALE = 0.02


def make(out, *names, seed=0, jobs=1):
    return mini.make(out, names, seed=seed, jobs=jobs, progress=False, scale=SCALE)


def digest(out, name):
    return json.loads((out / LANGUAGES[name].top / "MINI.json").read_text())["digest"]


def rows(text):
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    made = make(folder, *LANGUAGES)
    assert made == {name: [folder / language.top] for name, language in LANGUAGES.items()}
    return folder


@pytest.mark.parametrize("name", LANGUAGES)
def test_reader_finds_the_counts_of_the_marker(out, name):
    manifest = corpora.read(name, out)
    assert manifest.complete and manifest.mini["counts"] == manifest.counts
    assert min(manifest.counts.values()) >= 2
    (note,) = manifest.notes
    left_out = 3 * len(LANGUAGES[name].left_out)
    assert note.startswith(f"{left_out} of {left_out + sum(manifest.counts.values())} sentences left out")


def test_every_filter_has_something_to_leave_out(out):
    filters = {
        "common_voice_es": ("12 with another accent", "3 with a character that SUPERB", "3 without a letter"),
        "common_voice_ar": ("6 with a Latin letter or an apostrophe", "3 without a letter"),
        "common_voice_zh": ("3 with a Latin letter", "3 with a character that SUPERB", "3 without a letter"),
    }
    for name, reasons in filters.items():
        (note,) = corpora.read(name, out).notes
        assert all(reason in note for reason in reasons), note


@pytest.mark.parametrize("name", LANGUAGES)
def test_clips_are_speech_of_a_few_seconds(out, name):
    manifest = corpora.read(name, out)
    for example in manifest.examples():
        header, wave = read_header(manifest.path(example)), read_audio(manifest.path(example))
        assert (header.rate, header.channels) == (32000, 1) and manifest.path(example).suffix == ".mp3"
        assert 1.5 < header.seconds < 5
        assert len(wave) - header.samples in (0, 1)
        assert (wave**2).mean() ** 0.5 > 0.01
        assert abs(wave).max() < 0.99


@pytest.mark.parametrize("name", LANGUAGES)
def test_lists_look_like_real_ones(name):
    language = LANGUAGES[name]
    made = plan(name, 0, 1.0)
    clips = {clip.path for clip in made.clips}
    assert len(clips) == len(made.clips)
    speakers, sentences = {}, Counter()
    for path, text in made.texts.items():
        assert text.startswith(
            "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\tlocale\tsegment\n"
        )
        listed = rows(text)
        assert len(listed) == len(text.splitlines()) - 1
        assert [row["client_id"] for row in listed] == sorted(row["client_id"] for row in listed)
        for row in listed:
            assert re.fullmatch("[0-9a-f]{128}", row["client_id"])
            assert re.fullmatch(rf"common_voice_{language.variant}_\d{{8}}\.mp3", row["path"])
            assert f"{language.top}/clips/{row['path']}" in clips
        speakers[path] = {row["client_id"] for row in listed}
        sentences.update(row["sentence"].strip('".!。！') for row in listed)
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values())), "a speaker is in two splits"
    assert {s for s, n in sentences.items() if n > 1} <= {s.strip('".!。！') for s, _ in language.left_out}
    assert made.counts == language.clips


def test_raw_sentences_need_normalising():
    lists = {name: "".join(plan(name, 0, 1.0).texts.values()) for name in LANGUAGES}
    for name, marks in {
        "common_voice_es": '¿?."’ñáE',
        "common_voice_ar": '؟،."',
        "common_voice_zh": '，。！"ㄧ',
    }.items():
        assert all(mark in lists[name] for mark in marks), name


def test_mandarin_has_enough_characters_each_often_enough_to_be_learnt():
    texts = plan("common_voice_zh", 0, 1.0).texts
    used = {split: Counter() for split in ("train", "test")}
    for split, counter in used.items():
        for row in rows(texts[f"{common_voice_zh.LANGUAGE.top}/{split}.tsv"]):
            if row["sentence"] not in [sentence for sentence, _ in common_voice_zh.LANGUAGE.left_out]:
                counter.update(c for c in row["sentence"] if unicodedata.category(c) == "Lo")
    assert 100 <= len(used["train"]) <= 150
    assert set(used["test"]) <= set(used["train"])
    assert min(used["train"].values()) >= 5


def test_same_seed_same_bytes_and_another_seed_others(out, tmp_path):
    name = "common_voice_ar"
    make(tmp_path / "again", name, jobs=2)
    make(tmp_path / "other", name, seed=1)
    assert digest(tmp_path / "again", name) == digest(out, name) != digest(tmp_path / "other", name)


def test_languages_lie_side_by_side_and_come_one_by_one(out, tmp_path):
    make(tmp_path, "common_voice_ar")
    make(tmp_path, "common_voice_ar", "common_voice_es")
    assert sorted(path.name for path in (tmp_path / "cv-corpus-7.0-2021-07-21").iterdir()) == ["ar", "es"]
    assert digest(tmp_path, "common_voice_es") == digest(out, "common_voice_es")
