"""Common Voice: what becomes of a sentence, which rows are left out, and what is said of broken lists."""

import unicodedata
from hashlib import blake2b

import pytest
from tiny_corpora import write_marker

from downstream import corpora
from downstream.corpora.common_voice import (
    ARABIC_CHARACTERS,
    PUBLISHED_ROWS,
    PUBLISHED_SIZES,
    SPANISH_CHARACTERS,
    read,
    vocabulary,
    vocabulary_note,
)
from downstream.corpora.common_voice_text import normalised, why_left_out
from upstream.errors import DataError, MissingError

HEADER = ["client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent", "locale", "segment"]
SPEAKERS = {"ana": "a" * 128, "luz": "b" * 128}


def row(name, sentence, accent="", speaker="ana"):
    return (SPEAKERS[speaker], name, sentence, "2", "0", "twenties", "female", accent, "xx", "")


def write_list(root, split, rows, header=HEADER):
    root.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(fields) for fields in (header, *rows)]
    (root / f"{split}.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def make(root, train, dev=(), test=(), suffix=".mp3"):
    for split, rows in (("train", train), ("dev", dev), ("test", test)):
        write_list(root, split, rows)
        for fields in rows:
            clip = (root / "clips" / fields[1]).with_suffix(suffix)
            clip.parent.mkdir(exist_ok=True)
            clip.touch()
    return root


def texts(manifest, split="train"):
    return [example.target[0] for example in manifest.splits[split]]


# ---- The text


@pytest.mark.parametrize(
    ("sentence", "variant", "text"),
    [
        ("La garza espera.", "es", "LA GARZA ESPERA"),
        ("¿Qué?  ¡Mañana, «tal vez»…!", "es", "QUÉ MAÑANA TAL VEZ"),
        ('\\"Hola\\" — dijo; "sí"', "es", "HOLA DIJO SÍ"),
        ("Don O’Brien, D'Artagnan", "es", "DON O'BRIEN D'ARTAGNAN"),
        ("n\N{COMBINING TILDE}o e\N{COMBINING ACUTE ACCENT}l", "es", "ÑO ÉL"),  # composed before accents are removed
        ("m\N{COMBINING TILDE}a", "es", "M A"),  # there is no such letter
        ("straße ﬁn", "es", "STRASSE FIN"),
        ("a\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}b-c", "es", "A B C"),
        ("50 % más", "es", "50 MÁS"),
        ("今天，天气 很好！", "zh-CN", "今天天气很好"),
        ("ＡＢＣ１２３。", "zh-CN", "ABC123"),
        ("星期ㄧ丶", "zh-CN", "星期一"),
        ("《红楼梦》・「好」⋯", "zh-CN", "红楼梦好"),
        ("كِتَابًا، وَقَلَمٌ؛ نعم؟", "ar", "كِتَابًا وَقَلَمٌ نعم"),
        ("سـلام ۖ ٣", "ar", "سـلام ۖ ٣"),
        ("۔…!", "ar", "۔"),  # the full stop of Urdu is not on SUPERB's list
        ("", "es", ""),
        (" - ", "es", ""),
    ],
)
def test_sentences_become_capitals_without_punctuation(sentence, variant, text):
    assert normalised(sentence, variant) == text


@pytest.mark.parametrize(
    ("text", "variant", "reason"),
    [
        ("他用GOOGLE", "zh-CN", "Latin"),
        ("他说'好", "zh-CN", "apostrophe"),
        ("ÉÑ好", "zh-CN", None),  # accented letters are not ASCII
        ("10好", "zh-CN", None),
        ("A نعم", "ar", "Latin"),
        ("نعم'", "ar", "apostrophe"),
        ("DON O'BRIEN", "es", None),
        *[(f"好{character}", "zh-CN", "SUPERB leaves out") for character in "ΜИТオカドヤ䴕"],
        ("好M", "zh-CN", "Latin"),  # the letter that looks like the Greek one
        *[(f"LA {character}", "es", "SUPERB leaves out") for character in "しらゴミムラ消箱良"],
        ("消箱良", "zh-CN", None),
        ("LA オ", "es", None),
        *[("", variant, "without a letter") for variant in PUBLISHED_SIZES],
    ],
)
def test_every_filter(text, variant, reason):
    found = why_left_out(text, variant)
    assert found is None if reason is None else reason in found


# ---- The lists


def test_examples_are_in_the_order_of_the_list(tmp_path):
    root = make(
        tmp_path / "es",
        [
            row("common_voice_es_2.mp3", "¡Hola!", "mexicano", "luz"),
            row("common_voice_es_1.mp3", '"Adiós', "mexicano"),
        ],
        [row("common_voice_es_3.mp3", "Sí", "mexicano")],
        [row("common_voice_es_4.mp3", "No", "mexicano")],
    )
    (root / "clips" / "common_voice_es_9.mp3").touch()  # of a list that is not read
    manifest = read(root, "es")
    assert (manifest.corpus, manifest.root, manifest.mini) == ("common_voice_es", root, None)
    assert manifest.counts == {"train": 2, "dev": 1, "test": 1}
    first, second = manifest.splits["train"]
    assert (first.id, first.audio) == ("common_voice_es_2", "clips/common_voice_es_2.mp3")
    assert (first.target, second.target) == (("HOLA",), ("ADIÓS",))
    assert first.group == blake2b(SPEAKERS["luz"].encode(), digest_size=8).hexdigest() != second.group
    assert read(root, "es") == manifest


def test_only_mexican_spanish_is_kept_and_the_others_need_no_clips(tmp_path):
    accents = ("mexicano", "caribe", "", "mexicano", "Mexicano")
    root = make(tmp_path, [row(f"{i}.mp3", f"Frase {i}", accent) for i, accent in enumerate(accents)])
    for i in (1, 2, 4):
        (root / "clips" / f"{i}.mp3").unlink()
    manifest = read(root, "es")
    assert texts(manifest) == ["FRASE 0", "FRASE 3"]
    assert "3 of 5 sentences left out, as in SUPERB: 3 with another accent than mexicano, or none given" in (
        manifest.notes
    )


@pytest.mark.parametrize("variant", ["ar", "zh-CN"])
def test_other_languages_keep_every_accent(tmp_path, variant):
    assert read(make(tmp_path, [row("1.mp3", "好", "110000"), row("2.mp3", "好", "")]), variant).counts["train"] == 2


def test_left_out_sentences_are_counted_by_reason(tmp_path):
    train = ["好", "用Word", "カ", "。", "A", "好的"]
    root = make(tmp_path, [row(f"{i}.mp3", s) for i, s in enumerate(train)], [row("d.mp3", "OK")])
    manifest = read(root, "zh-CN")
    assert texts(manifest) == ["好", "好的"] and manifest.counts["dev"] == 0
    assert manifest.notes[0] == (
        "5 of 7 sentences left out, as in SUPERB: 3 with a Latin letter or an apostrophe, "
        "1 with a character that SUPERB leaves out, 1 without a letter or digit"
    )


def test_a_list_with_fewer_rows_than_published_is_incomplete(tmp_path, monkeypatch):
    rows = [row(f"{i}.mp3", "好" if i else "OK") for i in range(4)]
    root = make(tmp_path, rows, [row("d.mp3", "好")], [row("t.mp3", "好")])
    manifest = read(root, "zh-CN")
    assert not manifest.complete
    assert manifest.expected == {"train": 21278, "dev": 9338, "test": 9338}  # every missing row, and what is there
    assert "train.tsv has 4 rows, that of Common Voice 7.0 21279" in manifest.notes
    monkeypatch.setitem(PUBLISHED_ROWS, "zh-CN", {"train": 4, "dev": 1, "test": 1})
    manifest = read(root, "zh-CN")
    assert manifest.complete and manifest.expected == {"train": 3, "dev": 1, "test": 1}
    assert not any("rows" in note for note in manifest.notes)


def test_converted_clips_are_read_and_said(tmp_path):
    root = make(tmp_path, [row("1.mp3", "好"), row("2.mp3", "好")])
    (root / "clips" / "1.wav").touch()  # beside its .mp3, which comes first
    (root / "clips" / "2.mp3").rename(root / "clips" / "2.wav")
    manifest = read(root, "zh-CN")
    assert [example.audio for example in manifest.splits["train"]] == ["clips/1.mp3", "clips/2.wav"]
    assert "clips read from a .wav file because their .mp3 is not there: 1" in manifest.notes


def test_counts_of_a_made_up_corpus_come_from_its_marker(tmp_path):
    root = make(tmp_path, [row("1.mp3", "好")])
    write_marker(root, "common_voice_zh", {"train": 1, "dev": 0, "test": 0})
    manifest = read(root, "zh-CN")
    assert manifest.complete and manifest.mini["seed"] == 7 and manifest.notes == []
    write_marker(root, "common_voice_ar", {"train": 1})
    with pytest.raises(DataError, match="does not describe 'common_voice_zh'"):
        read(root, "zh-CN")


@pytest.mark.parametrize("home", ["cv-corpus-7.0-2021-07-21/zh-CN", "zh-CN"])
def test_found_by_name_under_a_data_folder(tmp_path, home):
    make(tmp_path / home, [row("1.mp3", "好")])
    assert texts(corpora.read("common_voice_zh", tmp_path)) == ["好"]


# ---- Characters


@pytest.mark.parametrize(("variant", "published"), [("es", SPANISH_CHARACTERS), ("ar", ARABIC_CHARACTERS)])
def test_spanish_and_arabic_have_their_published_characters_whatever_the_corpus(tmp_path, variant, published):
    manifest = read(make(tmp_path, [row("1.mp3", "ß5۔", "mexicano")]), variant)
    characters = vocabulary(manifest, variant)
    assert characters == published == tuple(sorted(set(characters)))
    assert len(characters) + 3 == PUBLISHED_SIZES[variant]
    assert vocabulary_note(characters, variant) is None


def test_which_characters_are_published():
    assert "".join(SPANISH_CHARACTERS).startswith(" 'ABC")
    names = [unicodedata.name(character) for character in ARABIC_CHARACTERS]
    assert names[0] == "SPACE" and all(name.startswith("ARABIC ") for name in names[1:])
    assert sum(name.startswith("ARABIC LETTER") for name in names) == 36 + 6  # of Arabic, of others or above letters
    assert not {"ARABIC LETTER PEH", "ARABIC SMALL HIGH MADDA"} & set(names)
    assert set("چڨکھی") < set(ARABIC_CHARACTERS)


def test_mandarin_has_the_characters_of_all_splits(tmp_path):
    manifest = read(make(tmp_path, [row("1.mp3", "好不")], [row("2.mp3", "的")], [row("3.mp3", "É好")]), "zh-CN")
    characters = vocabulary(manifest, "zh-CN")
    assert characters == ("É", "不", "好", "的")
    assert vocabulary_note(characters, "zh-CN") == "4 different characters; SUPERB's list for zh-CN has 4317"
    assert vocabulary_note(tuple(map(str, range(4317))), "zh-CN") is None


# ---- Broken corpora


def test_missing_list(tmp_path):
    root = make(tmp_path, [row("1.mp3", "好")])
    (root / "dev.tsv").unlink()
    with pytest.raises(MissingError, match=r"dev\.tsv is missing"):
        read(root, "zh-CN")


def test_missing_column(tmp_path):
    root = make(tmp_path, [row("1.mp3", "好")])
    write_list(root, "test", [], [name if name != "accent" else "accents" for name in HEADER])
    with pytest.raises(DataError, match=r"test\.tsv has no column 'accent'. Columns found: client_id, .*, accents,"):
        read(root, "es")


def test_missing_clips(tmp_path):
    root = make(tmp_path, [row(f"{i}.mp3", "好") for i in range(5)] + [row("6.mp3", "OK")])
    (root / "clips" / "3.mp3").unlink()
    with pytest.raises(MissingError, match=r"1 of 5 listed clips are missing(.|\n)*3\.mp3 \(train\.tsv, line 5\)"):
        read(root, "zh-CN")


@pytest.mark.parametrize("dev", [False, True])
def test_clip_that_is_listed_twice(tmp_path, dev):
    again = [row("1.mp3", "不")]
    root = make(tmp_path, [row("1.mp3", "好"), *([] if dev else again)], again if dev else [])
    where = r"dev\.tsv, line 2" if dev else r"train\.tsv, line 3"
    with pytest.raises(DataError, match=rf"{where}: clip '1' was already listed in .*train\.tsv, line 2"):
        read(root, "zh-CN")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (row("", "好"), "line 3: no value for 'path'"),
        (row("../1.mp3", "好"), r"line 3: path '\.\./1\.mp3' is not the name of a file in clips"),
        (row("2.mp3", "好")[:4], "line 3: not the 10 fields of line 1"),
        ((*row("2.mp3", "好"), "more"), "line 3: not the 10 fields of line 1"),
    ],
)
def test_broken_rows(tmp_path, fields, message):
    root = make(tmp_path, [row("1.mp3", "好")])
    write_list(root, "train", [row("1.mp3", "好"), fields])
    with pytest.raises(DataError, match=rf"train\.tsv, {message}"):
        read(root, "zh-CN")


def test_list_in_another_encoding(tmp_path):
    root = make(tmp_path, [row("1.mp3", "好")])
    (root / "dev.tsv").write_bytes("\t".join(HEADER).encode() + b"\nx\t2.mp3\t\xba\xc3\t\t\t\t\t\t\t\n")
    with pytest.raises(DataError, match=r"dev\.tsv is not UTF-8"):
        read(root, "zh-CN")
