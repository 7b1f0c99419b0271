import gzip
from pathlib import Path

import pytest

from downstream.corpora.mini.ngram import arpa_text
from downstream.decoding import arpa
from downstream.decoding.arpa import check_arpa
from downstream.decoding.language_model import LanguageModel, find, read_spellings, where_to_get
from upstream.errors import DataError, MissingError

TOKENS = ["<s>", "|", "A", "B", "C"]
TEXT = arpa_text([["A", "B"], ["B", "A", "C"]], 3)


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "4-gram.arpa"
    path.write_text(text)
    return path


# ---- ARPA files


def test_a_whole_file_passes_plain_compressed_or_with_dos_line_ends(tmp_path: Path) -> None:
    check_arpa(saved(tmp_path, TEXT))
    check_arpa(saved(tmp_path, TEXT.replace("\n", "\r\n")))
    packed = tmp_path / "4-gram.arpa.gz"
    packed.write_bytes(gzip.compress(TEXT.encode()))
    check_arpa(packed)


def test_kenlms_binary_files_are_left_to_kenlm(tmp_path: Path) -> None:
    path = tmp_path / "4-gram.bin"
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(100))
    check_arpa(path)


BREAKS = {
    "no head": (lambda t: t.replace("\\data\\\n", ""), r"line 1: the first line is not \\data\\"),
    "no counts": (lambda t: "\\data\\\n\n\\1-grams:\n", r"line 3: expected the number of 1-grams"),
    "counts out of order": (lambda t: t.replace("ngram 2", "ngram 3", 1), r"line 3: expected the number of 2-grams"),
    "fewer than promised": (lambda t: t.replace("ngram 1=6", "ngram 1=7"), r"2-grams: comes before all 7 1-grams"),
    "more than promised": (lambda t: t.replace("ngram 1=6", "ngram 1=5"), r"expected \\2-grams:, got '-"),
    "more at the end": (lambda t: t.replace("ngram 3=5", "ngram 3=4"), r"expected \\end\\ after the 4 3-grams"),
    "cut in the middle": (lambda t: t[: t.index("\\3-grams:")], r"the file ends here, before the end of"),
    "no end": (lambda t: t.replace("\\end\\\n", ""), r"the file ends here, before the end of \\end\\"),
    "empty": (lambda t: "", r"line 0: the file ends here"),
    "not a number": (lambda t: t.replace("\tA B\t", "\tA B\tx"), r"'x-\d.\d+' is not a number"),
    "NaN": (lambda t: t.replace("-99.0000000", "nan"), r"'nan' is not a number"),
    "positive": (lambda t: t.replace("-99.0000000", "99.0"), r"99.0 is not the logarithm of a probability"),
    "spaces for tabs": (lambda t: t.replace("\tA B\t", " A B "), r"with TABs between, got '-\d.\d+ A B -"),
    "too few words": (lambda t: t.replace("\tA B\t", "\tA\t"), r"expected 2 words with single spaces between, got 'A'"),
    "too many words": (lambda t: t.replace("\tA B\t", "\tA B C\t"), r"expected 2 words .* got 'A B C'"),
    "unknown word": (lambda t: t.replace("\tA B\t", "\tA D\t"), r"the word 'D' is not among the 1-grams"),
    "no </s>": (lambda t: t.replace("</s>", "S"), r"the 1-grams end here, without </s>"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_file_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    breaking, message = BREAKS[name]
    broken = breaking(TEXT)
    assert broken != TEXT
    path = saved(tmp_path, broken)
    with pytest.raises(DataError, match=message) as caught:
        check_arpa(path)
    assert f"{path} line " in str(caught.value)


def test_the_line_is_the_right_one(tmp_path: Path) -> None:
    broken = TEXT.replace("\tA B\t", "\tA D\t")
    expected = next(i for i, line in enumerate(broken.splitlines(), 1) if "\tA D\t" in line)
    with pytest.raises(DataError, match=rf"line {expected}: the word 'D'"):
        check_arpa(saved(tmp_path, broken))


def test_bytes_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "4-gram.arpa"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="this is no ARPA file"):
        check_arpa(path)


def test_a_compressed_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "4-gram.arpa.gz"
    path.write_bytes(gzip.compress(TEXT.encode())[:-20])
    with pytest.raises(DataError, match="cannot be unpacked"):
        check_arpa(path)


def test_of_a_long_file_the_start_and_the_last_lines_are_read(tmp_path: Path, monkeypatch) -> None:
    long = arpa_text([[f"W{i}", f"W{i * 7 % 500}", f"W{i * 3 % 500}"] for i in range(500)], 3)
    monkeypatch.setattr(arpa, "_ENOUGH", 20000)
    check_arpa(saved(tmp_path, long))
    lines = long.splitlines()
    with pytest.raises(DataError, match=r"is cut: its last line is not \\end\\"):
        check_arpa(saved(tmp_path, long[:-100]))
    near_the_end = "\n".join([*lines[:-5], "-0.5\tW1 W2", *lines[-5:]])
    with pytest.raises(DataError, match="among its last lines: expected 3 words"):
        check_arpa(saved(tmp_path, near_the_end))
    at_the_start = "\n".join([*lines[:20], "oops", *lines[20:]])
    with pytest.raises(DataError, match="line 21: expected probability"):
        check_arpa(saved(tmp_path, at_the_start))
    few_of_the_highest = long.replace("\\end\\", "\\4-grams:\n-0.5\tW1 W2 W3 W4\n\n\\end\\").replace(
        "\n\n\\1-grams", "\nngram 4=1\n\n\\1-grams"
    )
    check_arpa(saved(tmp_path, few_of_the_highest))


# ---- lexicons


def test_spellings_are_read_as_indices(tmp_path: Path) -> None:
    path = tmp_path / "lexicon"
    path.write_text("AB\tA B |\nCAB\tC A B |\nAB\tA A B |\n\n")
    assert read_spellings(path, TOKENS, 0, "|") == {"AB": [[2, 3, 1], [2, 2, 3, 1]], "CAB": [[4, 2, 3, 1]]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("AB A B |", "expected a word, a TAB and its spelling, got 'AB A B |'"),
        ("\tA B |", "expected a word, a TAB"),
        ("AX\tA X |", "'X' in the spelling of 'AX' is not in the vocabulary: | A B C"),
        ("A\tA <s> |", "'<s>' in the spelling of 'A' is not in the vocabulary"),
        ("AB\tA B", "the spelling of 'AB' should be letters and then '|', got 'A B'"),
        ("AB\t|", "the spelling of 'AB' should be letters"),
        ("AB\t", "the spelling of 'AB' should be letters"),
    ],
)
def test_a_broken_line_of_a_lexicon_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "lexicon"
    path.write_text(f"A\tA |\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_spellings(path, TOKENS, 0, "|")
    assert f"{path} line 2: {message}" in str(caught.value)


def test_an_empty_a_binary_and_a_missing_lexicon(tmp_path: Path) -> None:
    path = tmp_path / "lexicon"
    with pytest.raises(MissingError, match=r"no lexicon at .*openslr\.org/11"):
        read_spellings(path, TOKENS, 0, "|")
    path.write_text("\n")
    with pytest.raises(DataError, match="has no words"):
        read_spellings(path, TOKENS, 0, "|")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_spellings(path, TOKENS, 0, "|")


# ---- where they are


@pytest.mark.parametrize("folder", ["corpora/librispeech", "corpora/librispeech/lm", "corpora", "corpora/lm"])
def test_the_files_are_found_beside_the_corpus(folder: str, tmp_path: Path) -> None:
    root = tmp_path / "corpora" / "librispeech"
    root.mkdir(parents=True)
    assert find(root) is None
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    (place / "4-gram.arpa.gz").touch()
    with pytest.raises(MissingError, match=r"4-gram\.arpa\.gz is there, but no librispeech_lexicon\.lst"):
        find(root)
    (place / "librispeech_lexicon.lst").touch()
    for name in ("4-gram.arpa.gz", "4-gram.arpa", "4-gram.bin"):  # the later ones load faster and are preferred
        (place / name).touch()
        assert find(root) == LanguageModel(place / name, place / "librispeech_lexicon.lst")


def test_the_nearest_files_win_and_a_lexicon_alone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mini").mkdir()
    (tmp_path / "librispeech_lexicon.lst").touch()
    with pytest.raises(MissingError, match=r"librispeech_lexicon\.lst is there, but no 4-gram\.bin or 4-gram\.arpa"):
        find(tmp_path / "mini")
    (tmp_path / "4-gram.bin").touch()
    (tmp_path / "mini" / "4-gram.arpa").touch()
    assert find(tmp_path / "mini").arpa == tmp_path / "mini" / "4-gram.arpa"
    for word in ("4-gram.bin", "librispeech_lexicon.lst", "lm/", "https://www.openslr.org/11", "fairseq"):
        assert word in where_to_get()
    assert "\n" not in where_to_get()


def test_the_fingerprint_follows_the_content_of_both_files(tmp_path: Path) -> None:
    model = LanguageModel(saved(tmp_path, TEXT), tmp_path / "lexicon")
    model.lexicon.write_text("A\tA |\n")
    first = model.fingerprint()
    assert model.fingerprint() == first
    model.lexicon.write_text("B\tB |\n")
    second = model.fingerprint()
    saved(tmp_path, TEXT.replace("-99", "-98"))
    assert len({first, second, model.fingerprint()}) == 3


def test_the_fingerprint_of_a_long_file_is_that_of_its_ends_and_its_size(tmp_path: Path) -> None:
    model = LanguageModel(tmp_path / "long", tmp_path / "lexicon")
    model.lexicon.write_text("A\tA |\n")
    size, prints = 65 << 20, []
    for position, content in ((0, b""), (100, b"x"), (size - 1, b"x"), (size, b"x")):
        with model.arpa.open("wb") as file:  # sparse: it takes no room
            file.truncate(size)
            file.seek(position)
            file.write(content)
        prints.append(model.fingerprint())
    assert len(set(prints)) == 4


def test_check_looks_at_both_files(tmp_path: Path) -> None:
    model = LanguageModel(saved(tmp_path, TEXT), tmp_path / "lexicon")
    model.lexicon.write_text("A\tA |\n")
    model.check(TOKENS, 0, "|")
    model.lexicon.write_text("A\tA\n")
    with pytest.raises(DataError, match="line 1: the spelling of 'A'"):
        model.check(TOKENS, 0, "|")
    saved(tmp_path, "")
    with pytest.raises(DataError, match="line 0"):
        model.check(TOKENS, 0, "|")
    model.arpa.unlink()
    with pytest.raises(MissingError, match="there is no language model at"):
        model.check(TOKENS, 0, "|")
