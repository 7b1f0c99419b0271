"""Audio SNIPS: who speaks in which split, the target of a sentence, and what is said of broken lists and folders."""

import time

import pytest
from tiny_corpora import write_marker

from downstream import corpora
from downstream.corpora.audio_snips import EXPECTED, VOICES, read
from upstream.errors import DataError, MissingError

SENTENCES = {
    "test": ["BOS SHOW CASTLES IN BERLIN EOS\tO O O O city SearchCreativeWork"],
    "valid": ["BOS PLAY EOS\tO O PlayMusic"],
    "train": [
        "BOS PLAY THE BLUE HERON EOS\tO O track track track PlayMusic",
        "BOS RAIN IN PARIS EOS\tO O O city GetWeather",
    ],
}
ALL_VOICES = sorted(sum(VOICES.values(), ()))


def lines_of(sentences):
    return [
        f"{voice}-snips-{split}-{number} {sentence}"
        for split, said in sentences.items()
        for voice in ALL_VOICES
        for number, sentence in enumerate(said)
    ]


def make(data, lines=None, slots="O\ntrack\ncity"):
    """Every audio file that the sentences name, empty; each folder has all voices, as the real ones do."""
    root = data / "SNIPS"
    lines = lines_of(SENTENCES) if lines is None else lines
    for split in SENTENCES:
        (root / split).mkdir(parents=True)
    for line in lines_of(SENTENCES):
        utterance = line.split()[0]
        (root / utterance.split("-")[2] / f"{utterance}.wav").touch()
    (root / "all.iob.snips.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (root / "slots.txt").write_text(slots)
    return root


def changed(old, new, voice="Ivy"):
    """The lines with a change in the first sentence of a voice, and the number of that line."""
    lines = lines_of(SENTENCES)
    place = next(i for i, line in enumerate(lines) if line.startswith(f"{voice}-snips-train-0"))
    assert old in lines[place]
    lines[place] = lines[place].replace(old, new)
    return lines, place + 1


def test_folder_and_voice_decide_the_split(tmp_path):
    root = make(tmp_path)
    manifest = corpora.read("audio_snips", tmp_path)
    assert manifest == read(root)
    assert manifest.counts == {"train": 8 * 2, "dev": 4, "test": 4}
    for split, examples in manifest.splits.items():
        assert {example.group for example in examples} == set(VOICES[split])
    assert (manifest.corpus, manifest.root, manifest.mini, manifest.notes) == ("audio_snips", root, None, [])
    first = manifest.splits["train"][0]
    assert (first.id, first.audio, first.group) == ("Ivy-snips-train-0", "train/Ivy-snips-train-0.wav", "Ivy")
    assert first.target == ("PLAY B-track THE BLUE HERON E-track",)
    assert manifest.splits["dev"][0].audio == "valid/Aditi-snips-valid-0.wav"
    assert [example.target for example in manifest.splits["test"]] == [("SHOW CASTLES IN B-city BERLIN E-city",)] * 4


def test_counts_of_the_published_corpus_and_of_a_made_up_one(tmp_path):
    root = make(tmp_path)
    assert read(root).expected == EXPECTED == {"train": 104672, "dev": 2800, "test": 2800}
    assert not read(root).complete
    write_marker(root, "audio_snips", {"train": 16, "dev": 4, "test": 4})
    assert read(root).complete


def test_the_sixteen_voices_are_all_different():
    assert len(set(ALL_VOICES)) == 16


def test_characters_without_an_output_become_what_superb_makes_of_them_and_are_noted(tmp_path):
    lines, number = changed("HERON", "CAFÉ–Ñ")
    manifest = read(make(tmp_path, lines))
    assert manifest.splits["train"][0].target == ("PLAY B-track THE BLUE CAF<unk><unk><unk> E-track",)
    assert manifest.notes == [
        "utterances with characters that become <unk>, as in SUPERB: 1 "
        f"('É' 'Ñ' '–'; first in all.iob.snips.txt, line {number})"
    ]


def test_only_the_voices_of_a_split_are_noted(tmp_path):
    lines, _ = changed("HERON", "CAFÉ", voice="Brian")
    assert read(make(tmp_path, lines)).notes == []


def test_words_that_are_left_out_are_noted(tmp_path):
    lines, number = changed("PLAY THE BLUE", ", THE ?!")
    manifest = read(make(tmp_path, lines))
    assert manifest.splits["train"][0].target == ("B-track THE HERON E-track",)
    assert manifest.notes == [
        "utterances with words that are not written, as in SUPERB: 1 "
        f"(',' '?!'; first in all.iob.snips.txt, line {number})"
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("EOS\tO", "EOS O", "no TAB between the words and their tags"),
        ("HERON EOS", "HERON", r"do not begin with BOS and end with EOS"),
        ("BOS PLAY", "PLAY", r"do not begin with BOS and end with EOS"),
        ("track track track", "track track", "6 words from BOS to EOS, but 5 tags"),
        ("THE BLUE", "THE  BLUE", "7 words from BOS to EOS, but 6 tags"),
        ("track track track", "track trck track", r"tag 'trck' is not in slots\.txt"),
        ("O O track", "O B-track track", r"tag 'B-track' is not in slots\.txt"),
        ("Ivy-", "Ivan-", "'Ivan' is none of the 16 voices Aditi, Amy, Brian"),
        ("Ivy-snips-train-0", "Ivy-snips-dev-0", "'Ivy-snips-dev-0' is no utterance like"),
        ("Ivy-snips-train-0", "../Ivy-snips-train-0", r"none of the 16 voices"),
        ("train-0", "train-1", r"'Ivy-snips-train-1' was already in line \d+"),
        ("HERON", "heron", "the small letter 'e' in 'BOS PLAY THE BLUE heron EOS'"),
        ("PLAY THE BLUE HERON EOS\tO O track track track", "EOS\tO", "an empty sentence"),
        ("PLAY THE BLUE HERON EOS\tO O track track track", " EOS\tO O", "an empty sentence"),
        ("PLAY THE BLUE HERON EOS\tO O track track track", "? EOS\tO O", "an empty sentence"),
    ],
)
@pytest.mark.parametrize("voice", ["Ivy", "Brian"])
def test_broken_lines_are_refused_in_whatever_voice(tmp_path, old, new, message, voice):
    old, new, message = (text.replace("Ivy-", f"{voice}-") for text in (old, new, message))
    lines, number = changed(old, new, voice)
    root = make(tmp_path, lines)
    where = rf"all\.iob\.snips\.txt, line {number + ('train-1' in new)}: "
    with pytest.raises(DataError, match=where + f"(.*{message})") as error:
        read(root)
    assert str(root) in str(error.value) and str(error.value).endswith("Unpack the corpus again.")


def test_an_empty_line_is_refused(tmp_path):
    lines = lines_of(SENTENCES)
    with pytest.raises(DataError, match="line 3: '' is no utterance"):
        read(make(tmp_path, [*lines[:2], "", *lines[2:]]))


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path):
    root = make(tmp_path)
    path = root / "all.iob.snips.txt"
    path.write_bytes(path.read_bytes().replace(b"RAIN", b"R\xc4IN", 1))
    number = next(i for i, line in enumerate(path.read_bytes().split(b"\n"), start=1) if b"\xc4" in line)
    with pytest.raises(DataError, match=f"line {number}: not UTF-8"):
        read(root)


def test_windows_line_ends_make_no_difference(tmp_path):
    root = make(tmp_path)
    expected = read(root)
    for name in ("all.iob.snips.txt", "slots.txt"):
        (root / name).write_bytes((root / name).read_bytes().replace(b"\n", b"\r\n"))
    assert read(root) == expected


def test_audio_is_only_needed_in_the_voices_of_its_split(tmp_path):
    root = make(tmp_path)
    (root / "train" / "Brian-snips-train-0.wav").unlink()
    expected = read(root)
    (root / "valid" / "Kendra-snips-valid-0.wav").unlink()
    (root / "valid" / "Kendra-snips-valid-99.wav").touch()
    (root / "train" / "._Ivy-snips-train-7.wav").touch()
    assert read(root) == expected
    for number in range(2):
        (root / "train" / f"Ivy-snips-train-{number}.wav").unlink()
    with pytest.raises(MissingError, match=r"(?s)2 of 24 audio files are missing.*Ivy-snips-train-0\.wav \(all\.iob"):
        read(root)


def test_audio_without_a_sentence_is_refused(tmp_path):
    root = make(tmp_path)
    (root / "valid" / "Amy-snips-train-0.wav").touch()
    with pytest.raises(DataError, match=r"(?s)1 audio files of these voices have no line of this folder.*valid/Amy-"):
        read(root)


def test_a_split_without_sentences_is_refused(tmp_path):
    root = make(tmp_path, [line for line in lines_of(SENTENCES) if "-valid-" not in line])
    with pytest.raises(DataError, match="no sentence of valid in its voices, Aditi, Amy, Geraint, Nicole"):
        read(root)


@pytest.mark.parametrize("name", ["all.iob.snips.txt", "slots.txt"])
def test_missing_lists(tmp_path, name):
    root = make(tmp_path)
    (root / name).unlink()
    with pytest.raises(MissingError, match=rf"{name} (is|are) missing\. Unpack"):
        read(root)


def test_missing_folders(tmp_path):
    root = make(tmp_path)
    (root / "valid").rename(root / "dev")
    with pytest.raises(MissingError, match=r"1 of 3 audio folders are missing: .*/SNIPS/valid"):
        read(root)


def test_reading_takes_little_time_for_each_line(tmp_path):
    """The real file has 232 000 lines; this one has 24 000, and more different sentences than there are in the real."""
    words = ["PLAY", "THE", "BLUE", "HERON", "IN", "PARIS", "TONIGHT", "FOR", "ME"]
    said = [f"BOS {' '.join(words)} {'A' * (i % 40 + 1)} {'B' * (i // 40)} EOS" for i in range(1500)]
    lines = lines_of(
        SENTENCES | {"train": [f"{text}\tO{' O' * (len(text.split(' ')) - 2)} PlayMusic" for text in said]}
    )
    root = make(tmp_path, lines)
    for voice in VOICES["train"]:
        for number in range(1500):
            (root / "train" / f"{voice}-snips-train-{number}.wav").touch()
    before = time.process_time()
    assert read(root).counts["train"] == 12000
    assert time.process_time() - before < 3
