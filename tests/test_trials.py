"""VoxCeleb1 for verification and its trials: as they are unpacked, as they are drawn, and every way to be broken."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_corpora as tiny
from oracles import import_s3prl
from tiny_corpora import TRIALS, write_marker

from downstream.corpora import folders, trials, voxceleb1_verification
from downstream.corpora.mini.plans import plan
from downstream.corpora.trials import LISTS, drawn_trials, held_out
from downstream.corpora.voxceleb1_verification import read
from downstream.types import Example
from upstream.errors import DataError, MissingError, UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Without a list of trials."""
    return tiny.voxceleb1(tmp_path)


@pytest.fixture
def superb(monkeypatch):
    """s3prl's reader. What it imports for finding and cutting audio is not needed for reading lists."""
    for name, function in (("sox", "Transformer"), ("librosa", "util"), ("librosa.util", "find_files")):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**{function: None}))
    return import_s3prl("s3prl.downstream.sv_voxceleb1.dataset")


def put_list(folder: Path, lines: list[str], name: str = "voxceleb1_test_v2.txt") -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def error_of(kind: type[Exception], run, *arguments) -> str:
    with pytest.raises(kind) as caught:
        run(*arguments)
    return str(caught.value)


def utterances(speakers: int, videos: int, each: int) -> list[Example]:
    """Of some speakers, in an order that is none."""
    names = [
        (f"s{speaker:02d}", f"v{video}", number)
        for number in range(each)
        for speaker in range(speakers)
        for video in range(videos)
    ]
    return [Example(f"{s}-{v}-{n}", f"dev/wav/{s}/{v}/{n:05d}.wav", (s,), s) for s, v, n in names]


def pairs(drawn) -> list[tuple[str, str]]:
    return [(drawn.examples[a].id, drawn.examples[b].id) for a, b in zip(drawn.first, drawn.second, strict=True)]


# The corpus


def test_the_two_splits_are_the_two_folders_sorted(root):
    manifest = read(root)
    assert [e.id for e in manifest.splits["train"]] == [
        *("id10001-Aa-00001", "id10001-Aa-00002", "id10001-zZ-_9-00001", "id10002-Aa-00010")
    ]
    assert [e.audio for e in manifest.splits["test"]] == [f"test/wav/{file}" for file in tiny.VOXCELEB1["test"]]
    last = manifest.splits["test"][-1]
    assert (last.id, last.target, last.group) == ("id10271-b-00001", ("id10271",), "id10271")
    assert (last.start, last.stop) == (0, None)
    assert manifest.expected == {"train": 148642, "test": 4874} and not manifest.complete
    assert manifest.corpus == "voxceleb1_verification"


def test_what_else_lies_in_the_folders_does_no_harm(root):
    (root / "dev/wav/notes.txt").write_text("")
    (root / "dev/wav/._id10001").write_text("")
    (root / "dev/wav/id10001/readme").write_text("")
    (root / "dev/wav/id10001/Aa/._00001.wav").write_text("")
    (root / "dev/wav/id10001/Aa/00001.txt").write_text("")
    (root / "dev/wav/.cache/x").mkdir(parents=True)
    assert read(root).counts == {"train": 4, "test": 3}


def test_missing_parts_and_empty_parts_are_named(root):
    (root / "test").rename(root / "tests")
    message = error_of(MissingError, read, root)
    assert "1 of 2 parts" in message and str(root / "test/wav") in message and str(root / "dev") not in message
    (root / "test/wav/id10270").mkdir(parents=True)
    assert f"{root / 'test/wav'} holds no <speaker>/<video>/<number>.wav" in error_of(MissingError, read, root)


def test_speakers_of_the_test_must_not_be_trained_on(root):
    (root / "test/wav/id10270").rename(root / "test/wav/id10002")
    assert re.search(r"1 speakers have files under both .*: id10002\.", error_of(DataError, read, root))


def test_a_made_up_corpus_serves_two_readers(root):
    write_marker(root, "voxceleb1", {"train": 1, "dev": 1, "test": 1})
    assert "does not describe 'voxceleb1_verification'" in error_of(DataError, read, root)
    content = '{"corpus": "voxceleb1", "seed": 3, "counts": {"train": 1}, "also": %s}'
    (root / "MINI.json").write_text(content % '{"voxceleb1_verification": {"train": 4, "test": 3}}')
    manifest = read(root)
    assert manifest.complete and manifest.mini["seed"] == 3
    assert manifest.mini["counts"] == manifest.expected == {"train": 4, "test": 3}
    assert folders.marker(root, "voxceleb1")["counts"] == {"train": 1}
    for also in ("{}", '{"voxceleb1_verification": 3}', "3", "null"):
        (root / "MINI.json").write_text(content % also)
        assert "does not describe 'voxceleb1_verification'" in error_of(DataError, read, root)


@pytest.mark.parametrize("scale", [0.02, 1.0])
def test_mini_corpus_has_its_files_and_a_trial_list(tmp_path, scale):
    made = plan("voxceleb1", 0, scale)
    for clip in made.clips:
        (tmp_path / clip.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / clip.path).touch()
    root = tmp_path / "VoxCeleb1"
    for path, text in made.texts.items():
        (tmp_path / path).write_text(text)
    manifest = read(root)
    assert manifest.counts == made.also["voxceleb1_verification"]
    listed = trials.trials(manifest, "superb")
    assert len(set(pairs(listed))) == len(listed.same) == 2 * listed.same.sum()
    assert len(listed.same) == (372 if scale < 1 else 1488)
    assert set(listed.speakers) == {example.group for example in manifest.splits["test"]}
    videos = [[listed.examples[i].audio[:-9] for i in pair] for pair in zip(listed.first, listed.second, strict=True)]
    assert all(first != second for first, second in videos), "a pair is of one video"
    assert made.texts == plan("voxceleb1", 0, scale).texts != plan("voxceleb1", 1, scale).texts


# Published lists


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("beside", [False, True])
def test_lists_are_found_by_their_file_names_in_the_corpus_and_beside_it(root, name, beside):
    file = LISTS[name].files[-1]
    put_list(root.parent if beside else root, [*TRIALS, "", "1 id10001/Aa/00001.wav id10001/Aa/00002.wav"], file)
    found = trials.trials(read(root), name)
    assert found.source == file
    assert [e.id for e in found.examples] == [
        *("id10270-b-00001", "id10270-c-00007", "id10271-b-00001", "id10001-Aa-00001", "id10001-Aa-00002")
    ]
    assert (found.first.tolist(), found.second.tolist()) == ([0, 2, 3], [1, 0, 4])
    assert found.same.tolist() == [True, False, True] and found.same.dtype == bool
    assert found.speakers == ("id10001", "id10270", "id10271")
    assert found.speakers_first == ["id10270", "id10271", "id10001"]
    assert found.speakers_second == ["id10270", "id10270", "id10001"]


def test_trials_are_those_that_s3prl_reads(root, superb):
    path = put_list(root, [*TRIALS, "0 id10270/c/00007.wav id10271/b/00001.wav", *TRIALS[::-1]])
    expected = superb.SpeakerVerifi_test({}, str(root / "test/wav"), str(path)).pair_table
    found = trials.trials(read(root), "superb")
    mine = [
        [str(int(same)), *(str(root / found.examples[i].audio) for i in pair)]
        for same, *pair in zip(found.same, found.first, found.second, strict=True)
    ]
    assert mine == expected and len(mine) == 5


def test_repeated_trials_are_kept(root):
    swapped = [" ".join([line.split()[0], *line.split()[:0:-1]]) for line in TRIALS]
    put_list(root, [*TRIALS, *swapped, *TRIALS])
    found = trials.trials(read(root), "superb")
    assert len(found.same) == 6 and len(found.examples) == 3
    assert Counter(pairs(found)).most_common(1)[0][1] == 2


def test_absent_list_is_named_with_where_to_get_it(root):
    message = error_of(MissingError, trials.trials, read(root), "o")
    for place in (root, root.parent):
        assert all(str(place / name) in message for name in ("veri_test.txt", "voxceleb1_test.txt"))
    assert message.endswith(f"Download {LISTS['o'].source} into {root}.") and "veri_test.txt into" in message
    assert "Did you mean: o-cleaned" in error_of(UsageError, trials.trials, read(root), "o-clean")


@pytest.mark.parametrize(
    "line",
    [
        "1",
        "2 id10270/b/00001.wav id10270/c/00007.wav",
        "1 id10270/b/00001 id10270/c/00007",
        "1 id10270/b/00001.wav",
        "1 id10270/b/00001.wav id10270/c/00007.wav id10270/c/00007.wav",
        "1 Eartha_Kitt/b_00001.wav Eartha_Kitt/c_00007.wav",
        "1 wav/id10270/b/00001.wav wav/id10270/c/00007.wav",
        "target id10270/b/00001.wav id10270/c/00007.wav",
    ],
)
def test_malformed_lines_are_named(root, line):
    put_list(root, [TRIALS[0], "", line, TRIALS[1]])
    message = error_of(DataError, trials.trials, read(root), "superb")
    assert f"voxceleb1_test_v2.txt, line 3: '{line}' is not '<0|1> <speaker>" in message
    assert LISTS["superb"].source in message


def test_labels_that_contradict_the_speakers_are_named(root):
    put_list(root, [*TRIALS, "1 id10271/b/00001.wav id10270/b/00001.wav"])
    message = error_of(DataError, trials.trials, read(root), "superb")
    assert "line 3" in message and "says 1, but its files are of two speakers" in message


def test_bytes_that_are_no_text_are_a_malformed_line(root):
    (root / "voxceleb1_test_v2.txt").write_bytes(f"{TRIALS[0]}\r\n".encode() + b"\xff\xfe\x00")
    assert "line 2" in error_of(DataError, trials.trials, read(root), "superb")


def test_files_that_are_not_there_are_counted(root):
    put_list(root, [*TRIALS, *(f"0 id10270/b/{n:05d}.wav id10271/d/{n:05d}.wav" for n in (1, 2, 3))])
    message = error_of(MissingError, trials.trials, read(root), "superb").splitlines()
    assert message[0] == f"5 of 8 files of the trials in {root / 'voxceleb1_test_v2.txt'} are missing. The first:"
    assert message[1:4] == [
        "  id10271/d/00001.wav (voxceleb1_test_v2.txt, line 3)",
        "  id10270/b/00002.wav (voxceleb1_test_v2.txt, line 4)",
        "  id10271/d/00002.wav (voxceleb1_test_v2.txt, line 4)",
    ]
    assert len(message) == 5 and str(root) in message[4]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([TRIALS[0]] * 3, "all 3 trials are of one speaker"),
        ([TRIALS[1]], "all 1 trials are of two speakers"),
        ([], "empty"),
    ],
)
def test_lists_of_one_kind_are_refused(root, lines, what):
    path = put_list(root, lines)
    assert f"{path}: {what}" in error_of(DataError, trials.trials, read(root), "superb")


# Drawn trials


def test_who_is_held_out_depends_on_names_alone():
    examples = utterances(30, 2, 2)
    chosen = held_out(examples, 5)
    assert len(set(chosen)) == 5 and list(chosen) == sorted(chosen)
    assert held_out(examples[::-1], 5) == chosen
    assert set(held_out(examples, 4)) < set(chosen)


def test_who_is_held_out_and_what_is_drawn_is_the_same_in_every_process():
    code = """
from downstream.corpora.trials import drawn_trials, held_out
from downstream.types import Example
examples = [Example("", f"dev/wav/s{i % 30}/v{i % 2}/{i}.wav", (), f"s{i % 30}") for i in range(300)]
drawn = drawn_trials(examples, 100)
print(held_out(examples, 5), drawn.first.tolist(), drawn.second.tolist(), [e.audio for e in drawn.examples])"""
    run = {"cwd": Path(__file__).parents[1], "stdout": subprocess.PIPE, "check": True}
    said = {subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, **run).stdout for seed in "12"}
    assert len(said) == 1


@pytest.mark.parametrize("speakers", [0, 30, 31])
def test_nobody_or_everybody_cannot_be_held_out(speakers):
    assert "choose from 1 to 29" in error_of(UsageError, held_out, utterances(30, 1, 1), speakers)


def test_drawn_trials_are_half_and_half_from_different_videos_and_never_twice():
    examples = utterances(10, 4, 5)
    drawn = drawn_trials(examples, 2000)
    assert len(drawn.same) == 2000 and drawn.same.sum() == 1000
    assert len({frozenset(pair) for pair in pairs(drawn)}) == 2000
    by_id = {example.id: example for example in examples}
    for (first, second), same in zip(pairs(drawn), drawn.same, strict=True):
        assert (by_id[first].group == by_id[second].group) == same
        assert by_id[first].audio.rpartition("/")[0] != by_id[second].audio.rpartition("/")[0]
    assert len(drawn.speakers) == 10 and drawn.source == "drawn"
    assert set(Counter(np.array(drawn.speakers_first)[drawn.same]).values()) <= set(range(60, 141))
    again = drawn_trials(examples[::-1], 2000)
    assert pairs(again) == pairs(drawn)


def test_one_video_serves_where_two_do_not_suffice():
    drawn = drawn_trials(utterances(2, 2, 3), 26)  # 18 pairs across videos, 12 within them, 36 of two speakers
    assert (drawn.same.sum(), len(drawn.same)) == (13, 26)
    drawn = drawn_trials(utterances(2, 2, 3), 50)
    within = [first.rpartition("-")[0] == second.rpartition("-")[0] for first, second in pairs(drawn)]
    assert (drawn.same.sum(), len(drawn.same), sum(within)) == (25, 50, 7)


def test_no_more_trials_are_drawn_than_there_are():
    drawn = drawn_trials(utterances(2, 2, 3), 10_000)
    assert (drawn.same.sum(), len(drawn.same)) == (30, 66)
    assert len({frozenset(pair) for pair in pairs(drawn)}) == 66 and len(drawn.examples) == 12
    assert all(first != second for first, second in pairs(drawn))


@pytest.mark.parametrize(
    ("speakers", "videos", "each", "count"), [(1, 2, 2, 8), (3, 1, 1, 8), (2, 2, 2, 1), (0, 0, 0, 8)]
)
def test_trials_of_one_kind_cannot_be_drawn(speakers, videos, each, count):
    message = error_of(DataError, drawn_trials, utterances(speakers, videos, each), count)
    assert f"from {speakers * videos * each} utterances of {speakers} speakers" in message


def test_only_the_utterances_in_trials_are_kept():
    drawn = drawn_trials(utterances(40, 3, 4), 6)
    assert len(drawn.examples) <= 12 and set(drawn.first) | set(drawn.second) == set(range(len(drawn.examples)))


def test_torch_is_not_imported():
    code = f"import sys, {trials.__name__}, {voxceleb1_verification.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
