"""The small QUESST 2014: its layout, and that a document holds a query when the ground truth says so."""

import json
import re
from xml.etree import ElementTree

import dtw
import numpy as np
import pytest
import soundfile
import torch
from scipy.spatial.distance import cdist

import upstream
from downstream.corpora import mini, quesst14
from downstream.corpora.mini.plans import plan
from downstream.corpora.mini.writing import write_audio
from upstream.audio import read_audio

SCALE = 0.02
PARTS = {"dev": "dev", "test": "eval"}


def make(out, **options):
    [[root]] = mini.make(out, ["quesst14"], progress=False, scale=SCALE, **options).values()
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mini"), jobs=2)


@pytest.fixture(scope="module")
def whole():
    """At its full size, all but the sound."""
    return plan("quesst14", 0, 1.0)


def said(made, folder):
    """The utterances of a folder of audio, by name."""
    paths = {clip.path.rpartition("/"): clip.render.args[0] for clip in made.clips}
    return {
        name.removesuffix(".wav"): utterance
        for (top, _, name), utterance in paths.items()
        if top == f"quesst14Database/{folder}"
    }


def holders(made, part):
    """By query the documents that its RTTM names, and those that it says hold nothing."""
    text = made.texts[f"quesst14Database/scoring/groundtruth_quesst14_{part}/quesst14_{part}.rttm"]
    found = {name: set() for name in (*said(made, f"{part}_queries"), "NO_KEYWORD")}
    for line in text.splitlines():
        _, document, _, _, _, query, *_ = line.split()
        found[query].add(document)
    return found, found.pop("NO_KEYWORD")


def test_same_seed_gives_the_same_bytes_and_another_one_others(root, tmp_path):
    digest = json.loads((root / "MINI.json").read_text())["digest"]
    for seed, same in ((0, True), (1, False)):
        other = make(tmp_path / str(seed), seed=seed, jobs=1)
        assert (json.loads((other / "MINI.json").read_text())["digest"] == digest) == same


def test_layout(root):
    scoring, listed = root / "scoring", {}
    parts = {"utterances": "Audio", "dev": "dev_queries", "eval": "eval_queries"}
    assert {path.name for path in root.iterdir()} == {"scoring", "MINI.json", *parts.values()}
    for part, folder in parts.items():
        lines = (scoring / f"language_key_{part}.lst").read_text().splitlines()
        keys = dict(line.split() for line in lines)
        assert len(keys) == len(lines) and set(keys.values()) == {"nnenglish", "czech", "romanian"}
        assert set(keys) == {f"quesst14Database/{folder}/{path.name}" for path in (root / folder).iterdir()}
        listed[part] = {re.fullmatch(rf".*/(quesst14_({part}_\d{{4}}|\d{{5}}))\.wav", key)[1] for key in keys}
    for part in PARTS.values():
        truth = scoring / f"groundtruth_quesst14_{part}"
        names = {"quesst14.ecf.xml", f"quesst14_{part}.tlist.xml", f"quesst14_{part}.rttm"}
        assert {path.name for path in truth.iterdir()} == names
        terms = ElementTree.parse(truth / f"quesst14_{part}.tlist.xml").getroot()
        assert (terms.tag, {term.get("termid") for term in terms}) == ("termlist", listed[part])
        excerpts = ElementTree.parse(truth / "quesst14.ecf.xml").getroot()
        assert excerpts.tag == "ecf" and len(excerpts) == len(listed["utterances"])
        for excerpt in excerpts:
            file = soundfile.info(root / excerpt.get("audio_filename"))
            assert (file.samplerate, file.channels, file.subtype) == (8000, 1, "PCM_16")
            assert file.duration == pytest.approx(float(excerpt.get("dur")), abs=0.001)
        lines = (truth / f"quesst14_{part}.rttm").read_text().splitlines()
        seconds = {excerpt.get("audio_filename"): excerpt.get("dur") for excerpt in excerpts}
        for line in lines:
            found = re.fullmatch(r"LEXEME (quesst14_\d{5}) 1 0\.00 (\S+) (\S+) lex SPEAKER <NA>", line)
            assert found[2] == seconds[f"Audio/{found[1]}.wav"] and found[3] in {*listed[part], "NO_KEYWORD"}


def test_reader_reads_the_english_part_of_what_was_planned(root):
    manifest, made = quesst14.read(root), plan("quesst14", 0, SCALE)
    assert manifest.complete and not manifest.notes
    assert manifest.counts == made.counts == {"documents": 8, "dev": 2, "test": 2}
    documents = said(made, "Audio")
    for split, part in PARTS.items():
        queries = said(made, f"{part}_queries")
        for query in manifest.splits[split]:
            phrase = queries[query.id].text
            assert query.target == tuple(sorted(name for name, one in documents.items() if phrase in one.text))
            assert query.target and {documents[name].language for name in query.target} == {"nnenglish"}
    holding = {name for split in PARTS for query in manifest.splits[split] for name in query.target}
    assert len(holding) < len(manifest.splits["documents"])


@pytest.mark.parametrize("scale", [0.001, SCALE, 0.1, 0.35, 0.6, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_ground_truth_is_what_was_said(seed, scale):
    made = plan("quesst14", seed, scale)
    documents = said(made, "Audio")
    held = dict.fromkeys(documents, 0)
    for part in PARTS.values():
        found, empty = holders(made, part)
        for name, query in said(made, f"{part}_queries").items():
            assert found[name] == {document for document, one in documents.items() if query.text in one.text}
            assert {documents[document].language for document in found[name]} == {query.language}
            assert 2 <= len(found[name]) <= 8
            for document in found[name]:
                held[document] += 1
        assert empty == set(documents) - set.union(*found.values())
    english = [held[name] for name, one in documents.items() if one.language == "nnenglish"]
    assert len(english) >= 8 and set(english) >= {0, 2} and max(held.values()) == 2


def test_dev_and_test_have_their_own_phrases_and_queries_their_own_speakers(whole):
    parts = {folder: said(whole, folder).values() for folder in ("dev_queries", "eval_queries", "Audio")}
    dev, test, documents = ({one.voice for one in utterances} for utterances in parts.values())
    assert not dev & test and not (dev | test) & documents
    phrases = [{(one.language, one.text) for one in parts[f"{part}_queries"]} for part in PARTS.values()]
    assert not phrases[0] & phrases[1] and sum(map(len, phrases)) == 96
    english = [one.text for part in PARTS.values() for one in parts[f"{part}_queries"] if one.language == "nnenglish"]
    assert all(2 <= len(phrase.split()) <= 4 for phrase in english)


def test_sizes_at_full_size(whole):
    assert whole.counts == {"documents": 120, "dev": 24, "test": 24}
    documents = said(whole, "Audio").values()
    assert len(documents) == 200 and len(said(whole, "eval_queries")) == 48
    seconds = [one.seconds for one in documents if one.language == "nnenglish"]
    assert min(seconds) > 3 and max(seconds) < 8 and 4.5 < np.mean(seconds) < 6
    assert sum(one.seconds for one in documents) * 8000 * 2 < 20e6


def test_phrases_are_heard_where_they_were_said(root):
    """Warped along the documents, a query costs less in those that hold it (dtw-python, and spectra)."""
    manifest, mel = quesst14.read(root), upstream.load("mel", device="cpu")

    def frames(example):
        return mel([torch.from_numpy(read_audio(root / example.audio))]).layers[0][0].numpy()

    documents = {one.id: frames(one) for one in manifest.splits["documents"]}
    for split in PARTS:
        for query in manifest.splits[split]:
            costs = {name: cost(frames(query), document) for name, document in documents.items()}
            typical = np.median([costs[name] for name in costs if name not in query.target])
            assert np.mean([costs[name] for name in query.target]) < typical, query.id


def cost(query, document):
    distances = cdist(query, document, "cosine")
    lowest, highest = distances.min(axis=1, keepdims=True), distances.max(axis=1, keepdims=True)
    warped = dtw.dtw(
        (distances - lowest) / (highest - lowest), step_pattern="asymmetric", open_begin=True, open_end=True
    )
    return warped.normalizedDistance


def test_every_query_is_loud_and_short(root):
    for part in PARTS.values():
        for path in (root / f"{part}_queries").iterdir():
            wave, rate = soundfile.read(path)
            assert rate == 8000 and 0.4 < len(wave) / rate < 2
            assert -35 < 10 * np.log10((wave**2).mean()) < -20


def test_a_file_at_8_khz_has_what_is_below_4_khz(tmp_path):
    times = np.arange(16000) / 16000
    for hertz, kept in ((1000, 1.0), (3000, 1.0), (6000, 0.0)):
        write_audio(tmp_path / "x.wav", np.round(8000 * np.sin(2 * np.pi * hertz * times)).astype("<i2"), 8000)
        wave, rate = soundfile.read(tmp_path / "x.wav", dtype="int16")
        assert (rate, len(wave)) == (8000, 8000)
        expected = kept * 8000 * np.sin(2 * np.pi * hertz * np.arange(8000) / 8000)
        assert np.abs(wave - expected)[400:-400].max() < 5
