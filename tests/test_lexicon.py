"""The pronunciations that phoneme recognition is scored by."""

import random
import time
from pathlib import Path

import pytest
from oracles import import_s3prl

from downstream.corpora import lexicon
from upstream.errors import DataError, MissingError

FIRST, SECOND = lexicon.FILES


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    (tmp_path / FIRST).write_text("THE\tDH AH0\nHERON\tHH EH1 R AH0 N\nTHE\tDH IY1\nDIDN'T\tD IH1 D AH0 N T\n")
    (tmp_path / SECOND).write_text("HERONRY\tHH EH1 R AH0 N R IY0\nHERON\tHH IY1 R AH0 N\n\n")
    return [tmp_path / FIRST, tmp_path / SECOND]


def test_the_71_phones_are_in_the_order_of_their_classes():
    vowels = {phone[:-1] for phone in lexicon.PHONES if phone[-1] in "012"}
    assert len(lexicon.PHONES) == len(set(lexicon.PHONES)) == 71
    assert lexicon.PHONES[:8] == ("SIL", "SPN", "AA0", "AA1", "AA2", "AE0", "AE1", "AE2")
    assert list(lexicon.PHONES[2:]) == sorted(lexicon.PHONES[2:])
    assert len(vowels) == 15 and {f"{vowel}{stress}" for vowel in vowels for stress in "012"} < set(lexicon.PHONES)


def test_the_first_pronunciation_in_the_order_of_files_and_lines_counts(paths):
    words = lexicon.read(paths)
    assert words["THE"] == ("DH", "AH0") and words["HERON"] == ("HH", "EH1", "R", "AH0", "N")
    assert lexicon.read(paths[::-1])["HERON"] == ("HH", "IY1", "R", "AH0", "N")
    assert lexicon.pronounce("THE HERONRY", words, "x") == "DH AH0 HH EH1 R AH0 N R IY0"


def test_pronunciations_are_those_of_s3prl(tmp_path):
    rng = random.Random(0)
    names = [f"W{number}" for number in range(300)]
    paths = [tmp_path / name for name in lexicon.FILES]
    for path in paths:
        rows = [
            (rng.choice(names), rng.choice("\t "), rng.choices(lexicon.PHONES, k=rng.randint(1, 9))) for _ in range(600)
        ]
        path.write_text("".join(f"{word}{space}{' '.join(phones)}\n" for word, space, phones in rows))
    theirs, ours = import_s3prl("s3prl.dataio.encoder.g2p").G2P(paths), lexicon.read(paths)
    assert {word: list(phones) for word, phones in ours.items()} == theirs.word2phone
    sentence = " ".join(rng.choices(list(ours), k=500))
    assert lexicon.pronounce(sentence, ours, "x") == theirs.encode(sentence)


def test_word_in_neither_file_is_named_with_its_utterance(paths):
    with pytest.raises(DataError, match=r"^84-121123-0000 in dev: the word 'EGRET' is in neither .*no fallback"):
        lexicon.pronounce("THE EGRET", lexicon.read(paths), "84-121123-0000 in dev")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("EGRET\tIY1 G R AH0 TT", "the word 'EGRET' has the unknown phone 'TT'"),
        ("EGRET\tIY G R AH0 T", "the word 'EGRET' has the unknown phone 'IY'"),
        ("EGRET\tiy1 g", "the word 'EGRET' has the unknown phone 'iy1'"),
        ("THE\tDH X", "the word 'THE' has the unknown phone 'X'"),  # though its first pronunciation is known
        ("EGRET\t", "the word 'EGRET' has no phones"),
        ("EGRET", "the word 'EGRET' has no phones"),
    ],
)
def test_broken_line_is_named(paths, line, complaint):
    paths[1].write_text(f"HERONRY\tHH EH1 R AH0 N R IY0\n{line}\n")
    with pytest.raises(DataError) as caught:
        lexicon.read(paths)
    assert str(caught.value).startswith(f"{paths[1]}, line 2: {complaint}. ")
    assert "https://huggingface.co/datasets/s3prl/g2p" in str(caught.value)


def test_file_that_is_no_text_is_named(paths):
    paths[0].write_bytes(b"\x1f\x8b\x08\xff")
    with pytest.raises(DataError, match=f"{paths[0]} is not UTF-8"):
        lexicon.read(paths)


@pytest.mark.parametrize("folder", ["LibriSpeech", "LibriSpeech/lexicon", ".", "lexicon"])
def test_both_files_are_found_in_and_beside_the_corpus(tmp_path, folder):
    (tmp_path / "LibriSpeech").mkdir()
    (tmp_path / folder).mkdir(exist_ok=True)
    for name in lexicon.FILES:
        (tmp_path / folder / name).touch()
    assert lexicon.find(tmp_path / "LibriSpeech") == [tmp_path / folder / name for name in lexicon.FILES]


def test_missing_file_is_named_with_where_it_was_looked_for(tmp_path):
    root = tmp_path / "LibriSpeech"
    root.mkdir()
    (root / FIRST).touch()
    with pytest.raises(MissingError) as caught:
        lexicon.find(root)
    message = str(caught.value)
    assert SECOND in message and FIRST not in message
    assert "https://huggingface.co/datasets/s3prl/g2p" in message
    for folder in (root, root / "lexicon", tmp_path, tmp_path / "lexicon"):
        assert f"  {folder}\n" in message


def test_200_thousand_lines_are_read_fast(tmp_path):
    phones = " ".join(lexicon.PHONES[2:10])
    (tmp_path / FIRST).write_text("".join(f"W{number}\t{phones}\n" for number in range(200_000)))
    start = time.process_time()
    assert len(lexicon.read([tmp_path / FIRST])) == 200_000
    assert time.process_time() - start < 2
