"""Slot filling's text: SUPERB's own encoder as the yardstick, the way back, and what is said of a broken slots.txt."""

import random
from string import ascii_uppercase

import pytest
from oracles import import_s3prl

from downstream.corpora.snips_text import (
    CHARACTERS,
    END,
    PAD,
    UNKNOWN,
    outputs,
    slots,
    tagged,
    text_of_tokens,
    tokens_of_text,
)
from upstream.errors import DataError, MissingError

NAMES = ("track", "playlist", "playlist_owner", "timeRange", "E", "B")
WORDS = ("PLAY", "THE", "BLUE", "HERON", "TOM'S", "A", "E", "B", "&")
STRANGE = ("CAFÉ", "É", "R&B", "B-track", "–", "=", "A\N{NO-BREAK SPACE}B")
SILENT = ("", ",", "?!", "-", ";")


@pytest.fixture(scope="module")
def superb(tmp_path_factory):
    """SUPERB's encoder with its 28 characters; the wheel of s3prl lacks the file that lists them."""
    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "character.txt").write_text("\n".join((" ", *ascii_uppercase, "'")))
    (folder / "slots.txt").write_text("\n".join(("O", *NAMES)))
    encoder = import_s3prl("s3prl.downstream.ctc.text").CharacterTextSlotEncoder
    return encoder.load_from_file(str(folder / "character.txt"), str(folder / "slots.txt"))


def sentences(count, words, seed):
    """Words and tags in runs, so that slots have several words and the same slot follows itself."""
    draw = random.Random(seed)
    for _ in range(count):
        said, tags = [], []
        for _ in range(draw.randint(1, 5)):
            run = draw.choices(words, k=draw.randint(1, 3))
            said += run
            tags += [draw.choice(("O", "O", *NAMES))] * len(run)
        yield said, tags


def as_line(words, tags):
    """What SUPERB's encoder is given: the line without its id."""
    return f"BOS {' '.join(words)} EOS\tO {' '.join(tags)} PlayMusic\n"


@pytest.mark.parametrize("words", [WORDS, (*WORDS, *STRANGE), (*WORDS, *STRANGE, *SILENT)])
def test_tokens_and_text_are_those_of_superb(superb, words):
    ids = {name: number for number, name in enumerate(outputs(NAMES))}
    assert superb.vocab_size == len(ids)
    endless = 0
    for said, tags in sentences(400, words, seed=len(words)):
        tokens, text = tagged(said, tags)
        expected = superb.encode(as_line(said, tags))
        assert [ids[token] for token in tokens] == expected, (said, tags)
        assert text == superb.decode(expected), (said, tags)
        endless += expected[-1:] != [superb.eos_idx]
    assert (endless > 0) == ("" in words)


@pytest.mark.parametrize("words", [WORDS, (*WORDS, *STRANGE, *SILENT)])
def test_tokens_can_be_made_from_the_text_again(words):
    for said, tags in sentences(400, words, seed=7):
        tokens, text = tagged(said, tags)
        if tokens:
            assert tokens_of_text(text) == tokens, (said, tags)


def test_what_a_model_writes_becomes_the_text_that_superb_scores(superb):
    draw, names = random.Random(3), outputs(NAMES)
    for _ in range(400):
        written = draw.choices(range(len(names)), k=draw.randint(0, 60))
        assert text_of_tokens(names[number] for number in written) == superb.decode(written)


def test_the_example_of_the_protocol():
    tokens, text = tagged(["PLAY", "THE", "BLUE", "HERON"], ["O", "track", "track", "track"])
    assert text == "PLAY B-track THE BLUE HERON E-track"
    assert tokens == [*"PLAY ", "B-track", *"THE BLUE HERON", "E-track", END]


@pytest.mark.parametrize(
    ("words", "tags", "text"),
    [
        ("A B", "track track", "B-track A B E-track"),
        ("A B", "track playlist", "B-track A E-track B-playlist B E-playlist"),
        ("A B C", "track O track", "B-track A E-track B B-track C E-track"),
        ("SALT & PEPPER", "track track track", "B-track SALT AND PEPPER E-track"),
        ("PLAY , A", "O track track", "PLAY A E-track"),  # the unspoken word would have opened the slot
        ("A , PLAY", "track track O", "B-track A PLAY"),  # and would have closed it
        ("A ?", "O O", "A "),  # and the sentence
        ("CAFÉ", "O", "CAF<unk>"),
    ],
)
def test_rules_one_by_one(words, tags, text):
    assert tagged(words.split(), tags.split())[1] == text


def test_words_and_tags_of_different_number_are_refused():
    with pytest.raises(ValueError, match="zip"):
        tagged(["A", "B"], ["O"])


def test_characters_and_outputs_are_in_the_order_of_superb():
    assert (" ", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'") == CHARACTERS
    found = outputs(["track", "city"])
    assert found[:4] == (PAD, END, UNKNOWN, " ")
    assert found[30:] == ("'", "B-track", "E-track", "B-city", "E-city")
    assert len(outputs(map(str, range(39)))) == 109


# ---- slots.txt


def write(tmp_path, text):
    path = tmp_path / "slots.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("text", ["O\ntrack\nplaylist_owner", "O\r\ntrack\r\nplaylist_owner"])
def test_slots_are_the_lines_after_the_first(tmp_path, text):
    assert slots(write(tmp_path, text)) == ("track", "playlist_owner")


def test_a_new_line_at_the_end_is_refused_with_what_superb_would_make_of_it(tmp_path):
    path = write(tmp_path, "O\ntrack\n")
    with pytest.raises(DataError, match=r"one more slot.*two more outputs.*truncate -s -1 ") as error:
        slots(path)
    assert str(path) in str(error.value)
    superb = import_s3prl("s3prl.downstream.ctc.text").CharacterTextSlotEncoder
    assert superb.load_from_file(str(path), str(path)).slots == ["B-track", "E-track", "B-", "E-"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("track\nO", r"slots\.txt, line 1: 'track' instead of 'O'"),
        ("", r"slots\.txt, line 1: '' instead of 'O'"),
        ("O\n\ntrack", r"slots\.txt, line 2: '' is no name"),
        ("O\nmy track", r"slots\.txt, line 2: 'my track' is no name"),
        ("O\ntrack\ncity\ntrack", r"slots\.txt, line 4: 'track' was already in line 2"),
    ],
)
def test_broken_lists_of_slots(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        slots(write(tmp_path, text))


def test_missing_list_of_slots(tmp_path):
    with pytest.raises(MissingError, match=r"slots\.txt is missing"):
        slots(tmp_path / "slots.txt")
