"""LibriSpeech as it is unpacked, and every way in which it can be broken."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from oracles import import_s3prl
from tiny_corpora import write_marker

from downstream import corpora
from downstream.corpora import librispeech
from upstream.errors import DataError, MissingError

CHAPTERS = {
    "train-clean-100/103/1240": ["THE HERON WAITED", "IT DIDN'T MOVE", "AND THEN IT DID"],
    "train-clean-100/103/99": ["a small letter"],
    "train-clean-100/19/198": ["NIGHT", "DAY"],
    "dev-clean/84/121123": ["GO"],
    "test-clean/1089/134686": ["STUFF IT INTO YOU", "HELLO"],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "LibriSpeech"
    for path, transcripts in CHAPTERS.items():
        _, speaker, chapter = path.split("/")
        (folder / path).mkdir(parents=True)
        names = [f"{speaker}-{chapter}-{number:04d}" for number in range(len(transcripts))]
        for name in names:
            (folder / path / f"{name}.flac").write_bytes(b"fLaC")
        lines = [f"{name} {text}\n" for name, text in zip(names, transcripts, strict=True)]
        (folder / path / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    return folder


def listing(root: Path, chapter: str) -> Path:
    return next((root / chapter).glob("*.trans.txt"))


def error_of(root: Path, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        librispeech.read(root)
    return str(caught.value)


def test_the_three_splits_are_sorted_by_their_strings(root):
    manifest = librispeech.read(root)
    assert [e.id for e in manifest.splits["train"]] == [
        *("103-1240-0000", "103-1240-0001", "103-1240-0002", "103-99-0000", "19-198-0000", "19-198-0001")
    ]
    assert manifest.counts == {"train": 6, "dev": 1, "test": 2}
    assert manifest.expected == {"train": 28539, "dev": 2703, "test": 2620} and not manifest.complete
    first = manifest.splits["test"][0]
    assert first.audio == "test-clean/1089/134686/1089-134686-0000.flac"
    assert (first.target, first.group, first.start, first.stop) == (("STUFF IT INTO YOU",), "1089", 0, None)
    assert corpora.read("librispeech", root.parent) == manifest


def test_lines_out_of_order_are_sorted_and_words_are_upper_cased_and_one_space_apart(root):
    path = listing(root, "train-clean-100/19/198")
    path.write_bytes(b"19-198-0001  day\tafter  day \r\n19-198-0000 Night\r\n")
    found = [(e.id, e.target) for e in librispeech.read(root).splits["train"] if e.group == "19"]
    assert found == [("19-198-0000", ("NIGHT",)), ("19-198-0001", ("DAY AFTER DAY",))]


def test_transcripts_are_those_that_s3prl_reads(root):
    dataset = import_s3prl("s3prl.downstream.asr.dataset").SequenceDataset
    manifest = librispeech.read(root)
    letters = dataset._load_transcript(SimpleNamespace(libri_root=root), [e.audio for e in manifest.examples()])
    assert len(letters) == 9
    for example in manifest.examples():
        assert " ".join(example.target[0].replace(" ", "|")) + " |" == letters[example.id]


def test_what_else_lies_in_the_folders_does_no_harm(root):
    (root / "README.TXT").write_text("")
    (root / "train-clean-100/103/1240/._103-1240-0000.flac").write_text("")
    (root / "train-clean-100/103/1240/notes.txt").write_text("")
    (root / "train-clean-100/.hidden").mkdir()
    (root / "test-other").mkdir()
    assert librispeech.read(root).counts == {"train": 6, "dev": 1, "test": 2}


def test_a_made_up_corpus_brings_its_own_counts(root):
    write_marker(root, "librispeech", {"train": 6, "dev": 1, "test": 2})
    assert librispeech.read(root).complete


def test_absent_splits_are_named_with_what_to_download(root):
    for folder in ("dev-clean", "test-clean"):
        (root / folder).rename(root.parent / folder)
    message = error_of(root, MissingError)
    assert "2 of 3 parts" in message and "train-clean-100" not in message and str(root.parent) in message
    assert f"{root / 'dev-clean'}  (https://www.openslr.org/resources/12/dev-clean.tar.gz)" in message


def test_empty_split_is_named(root):
    (root / "dev-clean/84").rename(root.parent / "84")
    assert f"{root / 'dev-clean'} holds no <speaker>/<chapter>/" in error_of(root, MissingError)


def test_chapter_without_transcripts_is_named(root):
    path = listing(root, "dev-clean/84/121123")
    path.unlink()
    assert f"the transcripts {path} are missing" in error_of(root, MissingError)


def test_missing_audio_is_counted_and_named_by_its_line(root):
    for number in (1, 2):
        (root / f"train-clean-100/103/1240/103-1240-000{number}.flac").unlink()
    message = error_of(root, MissingError)
    assert "2 of 9 transcribed audio files are missing" in message
    assert f"{root}/train-clean-100/103/1240/103-1240-0002.flac (103-1240.trans.txt, line 3)" in message


def test_audio_without_a_transcript_is_counted_and_named(root):
    extra = root / "test-clean/1089/134686/1089-134686-0002.flac"
    extra.touch()
    message = error_of(root, DataError)
    assert f"1 audio files have no transcript. The first:\n  {extra} (not in 1089-134686.trans.txt)" in message


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"84-121123-0001", "utterance '84-121123-0001' has no transcript"),
        (b"84-121123-0001  \t", "utterance '84-121123-0001' has no transcript"),
        (b"", "an empty line"),
        (b"84-121123-0001 CAF\xc9", "not UTF-8"),
        (b"84-121124-0000 GO", "'84-121124-0000' is not an utterance of this chapter (84-121123-...)"),
        (b"84-121123 GO", "'84-121123' is not an utterance of this chapter"),
        (b"HERON WAITED", "'HERON' is not an utterance of this chapter"),
        (b"84-121123-../../x GO", "is not an utterance of this chapter"),
    ],
)
def test_broken_line_is_named(root, line, complaint):
    path = listing(root, "dev-clean/84/121123")
    path.write_bytes(b"84-121123-0000 GO\n" + line + b"\n84-121123-0002 ON\n")
    message = error_of(root, DataError)
    assert message.startswith(f"{path}, line 2: ") and complaint in message


def test_utterance_listed_twice_is_named_with_both_lines(root):
    path = listing(root, "dev-clean/84/121123")
    path.write_text("84-121123-0000 GO\n84-121123-0000 ON\n")
    expected = f"{path}, line 2: utterance '84-121123-0000' was already listed in {path}, line 1"
    assert re.match(re.escape(expected), error_of(root, DataError))


def test_chapter_in_two_splits_is_refused(root):
    chapter = root / "test-clean/84/121123"
    chapter.mkdir(parents=True)
    for path in (root / "dev-clean/84/121123").iterdir():
        (chapter / path.name).write_bytes(path.read_bytes())
    message = error_of(root, DataError)
    assert f"{chapter}/84-121123.trans.txt, line 1" in message and f"{root}/dev-clean" in message
