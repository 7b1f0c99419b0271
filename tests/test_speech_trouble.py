"""What is wrong or missing beside LibriSpeech, and what becomes of the cells that need it and of those that do not."""

import json

import numpy as np
import pytest
import soundfile
from small_runs import SmallRuns, folder_of, librispeech_of_one_s_own, lines

from benchmark.cli import main

LONG = "NOBODY IN THE VILLAGE BOUGHT HIS FATHER'S HOUSE BEFORE THE SUN CAME UP"
LEXICONS = ("librispeech-lexicon-200k-g2p.txt", "librispeech-lexicon-allothers-g2p.txt")


@pytest.fixture
def runs(mini_data, tmp_path):
    """Results and cache of one's own, and a LibriSpeech that may be broken."""
    runs = SmallRuns(tmp_path / "data", tmp_path)
    librispeech_of_one_s_own(mini_data, runs.data)
    return runs


def root_of(runs):
    return runs.data / "LibriSpeech"


def first_chapter(runs):
    return sorted((root_of(runs) / "train-clean-100").rglob("*.trans.txt"))[0]


def say_first(runs, transcript):
    """Gives the first utterance of the training split another transcript; its file."""
    listed = first_chapter(runs)
    name, text = listed.read_text().splitlines()[0].split(" ", 1)
    listed.write_text(listed.read_text().replace(text, transcript, 1))
    return listed.with_name(f"{name}.flac")


def strange_letter(runs):
    return say_first(runs, "THE ÉTUDE"), "has 'É', which is none of the 32 outputs of this task. Correct the transcript"


def unknown_word(runs):
    return say_first(runs, "THE ZZYZX ROAD"), "the word 'ZZYZX' is in neither pronunciation file"


def broken_arpa(runs):
    path = root_of(runs) / "4-gram.arpa"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:40]))
    return path, "4-gram.arpa"


def broken_spelling(runs):
    path = root_of(runs) / "librispeech_lexicon.lst"
    path.write_text(path.read_text() + "ZOE\tZ O Ë |\n")
    return path, "'Ë' in the spelling of 'ZOE' is not in the vocabulary"


def no_spellings(runs):
    path = root_of(runs) / "librispeech_lexicon.lst"
    path.unlink()
    return root_of(runs) / "4-gram.arpa", "is there, but no librispeech_lexicon.lst"


def no_pronunciations(runs):
    path = root_of(runs) / LEXICONS[1]
    path.unlink()
    return root_of(runs), f"phoneme recognition needs pronunciations, and {LEXICONS[1]} cannot be found"


@pytest.mark.parametrize(
    ("task", "spoil", "code"),
    [
        ("asr", strange_letter, 1),
        ("pr", unknown_word, 1),
        ("asr", broken_arpa, 1),
        ("asr", broken_spelling, 1),
        ("asr", no_spellings, 3),
        ("pr", no_pronunciations, 3),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_heard_and_other_cells_go_on(task, spoil, code, runs, capsys):
    place, said = spoil(runs)
    words = ["--upstream", "mel_no_cmvn", "--task", task, "ood-asr-ar"]
    assert main(runs.arguments("plan", *words)) == code
    assert said in capsys.readouterr().err
    assert main(runs.arguments("run", *words)) == code
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if said in line]
    assert line.startswith(f"{task}: ")
    assert str(place) in err
    assert "1 computed, 0 already done, 1 failed" in err
    assert "Traceback" not in err
    assert [path.parts[-3] for path in runs.results.rglob("row.json")] == ["ood-asr-ar"]
    (meta,) = runs.cache.rglob("meta.json")
    assert json.loads(meta.read_text())["corpus"] == "common_voice_ar"


def test_what_one_task_needs_is_not_asked_of_the_other(runs):
    """Nor does a language model change the row of phoneme recognition."""
    for name in ("4-gram.arpa", "librispeech_lexicon.lst"):
        (root_of(runs) / name).unlink()
    assert runs.run("mel_no_cmvn", task="pr").exit_code == 0
    for name in LEXICONS:
        (root_of(runs) / name).unlink()
    outcome = runs.run("mel_no_cmvn", task=["pr", "asr"])
    assert outcome.exit_code == 3
    (row,) = outcome.rows
    assert list(row.metrics) == ["wer", "uer"]
    (note,) = row.corpus["notes"]
    assert note.startswith("no WER with a language model: ")
    for word in ("4-gram.bin", "4-gram.arpa", "librispeech_lexicon.lst", "https://www.openslr.org/11"):
        assert word in note
    assert row.scoring == {}
    assert all("predicted_lm" not in line for line in lines(folder_of(runs, row) / "predictions.jsonl"))


def test_a_language_model_that_comes_later_makes_another_row(runs):
    kept = {name: (root_of(runs) / name).read_bytes() for name in ("4-gram.arpa", "librispeech_lexicon.lst")}
    for name in kept:
        (root_of(runs) / name).unlink()
    (without,) = runs.run("mel_no_cmvn", task="asr").rows
    for name, content in kept.items():
        (root_of(runs) / name).write_bytes(content)
    (having,) = runs.run("mel_no_cmvn", task="asr").rows
    assert (list(without.metrics), list(having.metrics)) == (["wer", "uer"], ["wer", "uer", "wer_lm"])
    assert without.id != having.id
    assert without.fingerprints["features"] == having.fingerprints["features"]
    assert without.metrics["wer"] == having.metrics["wer"]


@pytest.mark.parametrize(
    ("mode", "samples", "frame_samples"),
    [
        ("frames", 4800, 160),
        ("live", 4800, 160),
        ("frames", 400, 640),  # three frames where one in four is kept: none
    ],
)
def test_an_utterance_too_short_for_its_target_is_counted_and_named(mode, samples, frame_samples, runs, capsys):
    """Its 30 frames cannot hold 71 letters."""
    listed = first_chapter(runs)
    name = f"{listed.name.removesuffix('.trans.txt')}-0099"
    noise = np.random.default_rng(0).standard_normal(samples) / 10
    soundfile.write(listed.with_name(f"{name}.flac"), noise, 16000)
    listed.write_text(listed.read_text() + f"{name} {LONG}\n")
    runs.set = (*runs.set, f"asr.frame_samples={frame_samples}")
    (row,) = runs.run("mel_no_cmvn", task="asr", features=mode).rows
    (note,) = row.corpus["notes"]
    assert f"fewer frames than their targets need: 1 ({name}); their loss is infinite" in note
    assert note in capsys.readouterr().err
    assert row.corpus["complete"] is False  # one more than the marker says
    curve = lines(folder_of(runs, row) / "train.jsonl")
    assert all(loss > 0 for look in curve for loss in look["train_loss"])
    assert runs.run("mel_no_cmvn", task="asr", features=mode).fresh == 0
