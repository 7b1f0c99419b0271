"""Libri2Mix as diarization and separation read it, and every way in which it can be broken."""

import random
from hashlib import sha1
from pathlib import Path

import pytest
import tiny_corpora as tiny
from oracles import import_s3prl
from tiny_corpora import LIBRI2MIX, MIXTURES, put_wav, segment_of, write_marker

from downstream import corpora
from downstream.corpora import libri2mix_diarization as diarization
from downstream.corpora import libri2mix_separation as separation
from downstream.types import Example
from upstream.errors import DataError, MissingError

TRAIN, OTHER, DEV, TEST = (mixture for mixtures in MIXTURES.values() for mixture in mixtures)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two, one and one mixtures, for both tasks."""
    tiny.libri2mix_diarization(tmp_path)
    return tiny.libri2mix_separation(tmp_path)


def error_of(reader, root: Path, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        reader.read(root)
    return str(caught.value)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# Diarization


def test_recordings_are_read_with_their_turns_in_the_order_of_time(root):
    manifest = diarization.read(root)
    assert manifest.counts == {"train": 2, "dev": 1, "test": 1} and manifest.notes == []
    assert manifest.expected == {"train": 13900, "dev": 3000, "test": 3000} and not manifest.complete
    first, second = manifest.splits["train"]
    audio = f"wav16k/max/train-100/mix_both/{TRAIN}.wav"
    assert first == Example(TRAIN, audio, ("11 0.37 1.5", "22 0.5 2.25", "11 2.4 2.8000000000000003"))
    assert (second.id, second.target, second.group) == (OTHER, ("9 0.1 3.05", "11 1.5 2"), None)
    assert diarization.turns_of(second) == [("9", 0.1, 3.05), ("11", 1.5, 2.0)]
    assert corpora.read("libri2mix_diarization", root.parent) == manifest


def repeat_a_segment(root):
    """The case of the real train set: both speakers start and stop together."""
    segment = segment_of(OTHER, "0.1", "3.05")
    folder = root / "data" / "train"
    for name, line in (("segments", f"{segment} {OTHER} 0.1 3.05\n"), ("utt2spk", f"{segment} 11\n")):
        with (folder / name).open("a") as file:
            file.write(line)


@pytest.mark.parametrize("prepare", [lambda root: None, repeat_a_segment])
def test_turns_and_files_are_those_that_s3prl_reads(root, prepare):
    prepare(root)
    load = import_s3prl("s3prl.downstream.diarization.dataset").KaldiData
    manifest = diarization.read(root)
    for split, examples in manifest.splits.items():
        theirs = load(str(root / "data" / split))
        assert {e.id: e.audio for e in examples} == theirs.wavs
        for example in examples:
            segments = theirs.segments[example.id]
            turns = {(theirs.utt2spk[one["utt"]], one["st"], one["et"]) for one in segments}
            ours = diarization.turns_of(example)
            assert set(ours) == turns and len(ours) == len(turns)


def test_speaker_of_a_repeated_segment_is_the_later_one_and_it_is_told(root):
    repeat_a_segment(root)
    manifest = diarization.read(root)
    assert manifest.splits["train"][1].target == ("11 0.1 3.05", "11 1.5 2")
    assert manifest.notes == [
        "train: 1 segments are listed more than once; their speaker is the one listed last, as in SUPERB"
    ]


def test_lists_of_another_machine_lead_to_the_files_here(root):
    edit(root / "data/test/wav.scp", "wav16k", "/home/somebody/Libri2Mix/wav16k")
    edit(root / "data/dev/wav.scp", "wav16k", "../wav16k")
    put_wav(root.parent / f"wav16k/max/dev/mix_both/{DEV}.wav")  # there, but not in the corpus
    edit(root / "data/train/wav.scp", f"{OTHER} wav16k", f"{OTHER} {root}/wav16k")
    manifest = diarization.read(root)
    assert {e.id: e.audio for e in manifest.examples()} == {
        recording: f"wav16k/max/{LIBRI2MIX[split]}/mix_both/{recording}.wav"
        for split, recordings in MIXTURES.items()
        for recording in recordings
    }
    [note] = manifest.notes
    assert note.startswith("2 recordings are taken from wav16k/max/<part>/mix_both:")


def test_files_under_the_root_are_read_wherever_the_list_says(root):
    put_wav(root / "own folder" / "a b.wav")
    edit(root / "data/test/wav.scp", f"wav16k/max/test/mix_both/{TEST}.wav", "own folder/a b.wav")
    assert diarization.read(root).splits["test"][0].audio == "own folder/a b.wav"


def test_scoring_is_by_the_rttm(root):
    manifest = diarization.read(root)
    assert diarization.reference(manifest, "test") == {TEST: [("66", 1.0, 2.5), ("55", 0.1, 1.25)]}
    edit(root / "data/test/rttm", "\t0.1\t", "\t0.105\t")
    assert diarization.read(root).notes == []  # it starts and stops 5 ms later
    edit(root / "data/test/rttm", "\t0.105\t", "\t0.2\t")
    manifest = diarization.read(root)
    [note] = manifest.notes
    assert note.startswith(f"test: 1 of 1 recordings have other turns in rttm than in segments, {TEST} first")
    assert diarization.reference(manifest, "test")[TEST][1] == ("55", 0.2, pytest.approx(1.35))


@pytest.mark.parametrize("change", [("\t66\t", "\t77\t"), (f"\t{TEST}\t1\t1.00\t", "\tx_y\t1\t1.00\t")])
def test_rttm_with_another_speaker_or_a_turn_less_is_told(root, change):
    edit(root / "data/test/rttm", *change)
    assert any(note.startswith("test: 1 of 1 recordings have other turns") for note in diarization.read(root).notes)


def test_without_rttm_the_segments_are_scored_by_and_it_is_told(root):
    for split in ("train", "dev"):
        (root / "data" / split / "rttm").unlink()
    manifest = diarization.read(root)
    assert manifest.notes == ["dev: there is no rttm; the turns of segments are scored by"]
    assert diarization.reference(manifest, "dev") == {DEV: [("33", 0.0, 1.25), ("44", 0.25, 2.5)]}


def test_recording_that_the_rttm_lacks_cannot_be_scored(root):
    edit(root / "data/test/rttm", TEST, "somebody_else")
    message = error_of(diarization, root, DataError)
    assert f"1 recordings have no turn in {root / 'data/test/rttm'}" in message and TEST in message


def test_absent_lists_are_counted_and_named(root):
    (root / "data/test").rename(root / "data/eval")
    (root / "data/dev/utt2spk").unlink()
    message = error_of(diarization, root, MissingError)
    assert "5 of 12 lists of who speaks when are missing" in message and str(root / "data/dev/utt2spk") in message
    assert "python -m benchmark data librimix" in message


def test_missing_recordings_are_counted_and_named_by_their_lines(root):
    (root / f"wav16k/max/train-100/mix_both/{OTHER}.wav").unlink()
    message = error_of(diarization, root, MissingError)
    assert "1 of 4 recordings in wav.scp are missing" in message
    assert f"wav16k/max/train-100/mix_both/{OTHER}.wav ({root / 'data/train/wav.scp'}, line 2)" in message


SEGMENT = segment_of(TEST, "0.1", "1.25")
THIRD = f"{TEST}_x {TEST} 0.5 1"


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("segments", " 0.1 1.25", " 1.25 1.25", "segments, line 2: the segment starts at 1.25 and stops at 1.25 s"),
        ("segments", " 0.1 1.25", " 2 1.25", "segments, line 2: the segment starts at 2 and stops at 1.25 s"),
        ("segments", " 0.1 1.25", " 0.1 3.11", "segments, line 2: it stops at 3.11 s, its recording at 3.0 s"),
        ("segments", " 0.1 1.25", " -0.1 1.25", "segments, line 2: '-0.1' is no time in seconds"),
        ("segments", " 0.1 1.25", " 0.1 nan", "segments, line 2: 'nan' is no time in seconds"),
        ("segments", " 0.1 1.25", " 0.1 1.25 x", "segments, line 2: '1.25 x' is no time in seconds"),
        ("segments", " 0.1 1.25", " 0.1", "segments, line 2: 3 fields instead of 4"),
        ("segments", f" {TEST} 0.1", " 1-1-1_2-2-2 0.1", "segments, line 2: recording '1-1-1_2-2-2' is not in wav.scp"),
        ("segments", SEGMENT, "unheard", "segments, line 2: segment 'unheard' has no speaker in utt2spk"),
        (
            "utt2spk",
            f"{SEGMENT} 55\n",
            f"{SEGMENT} 55\nunheard 55\n",
            "lacks 1 segments of utt2spk. The first: unheard",
        ),
        ("utt2spk", " 55", "", "utt2spk, line 2: 1 fields instead of 2"),
        ("utt2spk", " 55", " 55 56", "utt2spk, line 2: more than 2 fields"),
        ("reco2dur", " 3.0", " long", "reco2dur, line 1: 'long' is no time in seconds"),
        ("reco2dur", TEST, "another", "1 recordings have no duration in"),
        ("wav.scp", f"{TEST} ", f"{DEV} ", f"wav.scp, line 1: recording '{DEV}' was already listed in"),
        ("wav.scp", "\n", "\n\n", "wav.scp, line 2: 0 fields instead of 2"),
        ("rttm", "SPEAKER", "LOUDSPEAKER", "LOUDSPEAKER"),
    ],
)
def test_broken_line_is_named(root, name, old, new, complaint):
    edit(root / "data/test" / name, old, new)
    message = error_of(diarization, root, DataError)
    assert complaint in message and str(root / "data") in message


def test_recording_without_turns_is_named(root):
    for name in ("segments", "utt2spk"):
        (root / "data/test" / name).write_text("")
    message = error_of(diarization, root, DataError)
    assert f"1 recordings have no turn in {root / 'data/test/segments'}" in message and TEST in message


def test_third_speaker_is_named_by_its_line(root):
    edit(root / "data/test/segments", f"{SEGMENT} ", f"{THIRD}\n{SEGMENT} ")
    edit(root / "data/test/utt2spk", f"{SEGMENT} ", f"{TEST}_x 77\n{SEGMENT} ")
    message = error_of(diarization, root, DataError)
    assert f"{root / 'data/test/segments'}, line 3: speaker '55' is the third of the recording" in message


def test_segment_of_two_recordings_is_refused(root):
    segment = segment_of(TRAIN, "0.37", "1.5")
    with (root / "data/train/segments").open("a") as file:
        file.write(f"{segment} {OTHER} 0.37 1.5\n")
    message = error_of(diarization, root, DataError)
    assert f"segments, line 6: segment '{segment}' was already listed for '{TRAIN}'" in message


def test_list_that_is_not_text_is_named(root):
    (root / "data/dev/utt2spk").write_bytes(b"a 33\n\xff\xfe 44\n")
    assert f"{root / 'data/dev/utt2spk'}, line 2: not UTF-8" in error_of(diarization, root, DataError)


def test_segment_may_outlast_its_recording_a_little(root):
    edit(root / "data/test/segments", " 1.00 2.5", " 1.00 3.09")
    assert ("66", 1.0, 3.09) in diarization.turns_of(diarization.read(root).splits["test"][0])


@pytest.mark.parametrize("reader", [diarization, separation])
def test_made_up_corpus_brings_its_own_counts(root, reader):
    write_marker(root, reader.CORPUS, {"train": 2, "dev": 1, "test": 1})
    manifest = reader.read(root)
    assert manifest.complete and manifest.notes == []


# Separation


def test_mixtures_are_read_with_their_sources(root):
    manifest = separation.read(root)
    assert manifest.counts == {"train": 2, "dev": 1, "test": 1}
    assert manifest.expected == {"train": 13900, "dev": 1000, "test": 3000}
    places = [f"wav16k/min/train-100/{folder}/{TRAIN}.wav" for folder in ("mix_clean", "s1", "s2")]
    assert manifest.splits["train"][0] == Example(TRAIN, places[0], (), None, sources=tuple(places[1:]))
    assert manifest.notes == ["dev: 1 mixtures of 1, which are not those that SUPERB takes"]
    assert corpora.read("libri2mix_separation", root.parent) == manifest


def mixture_names(count):
    return [f"{number}-1-0000_{number + 1}-2-{number:04d}" for number in range(count)]


@pytest.mark.parametrize("count", [3000, 1001, 1000, 12])
def test_dev_is_drawn_as_superb_draws_it(count):
    names = mixture_names(count)
    random.seed(7)
    theirs = sorted(names)
    random.shuffle(theirs)
    assert separation.dev_1000(names) == sorted(theirs[:1000])
    assert separation.dev_1000(reversed(names)) == separation.dev_1000(names)
    assert len(separation.dev_1000(names)) == min(count, 1000)


def test_dev_has_1000_mixtures_and_says_whether_they_are_those_of_superb(root, monkeypatch):
    names = mixture_names(1010)
    for folder in ("mix_clean", "s1", "s2"):
        (root / "wav16k/min/dev" / folder / f"{DEV}.wav").unlink()
        for name in names:
            (root / "wav16k/min/dev" / folder / f"{name}.wav").touch()
    manifest = separation.read(root)
    assert [e.id for e in manifest.splits["dev"]] == separation.dev_1000(names) and manifest.counts["dev"] == 1000
    assert manifest.notes == ["dev: 1000 mixtures of 1010, which are not those that SUPERB takes"]
    chosen = "\n".join(e.id for e in manifest.splits["dev"])
    monkeypatch.setattr(separation, "_DEV_SHA1", sha1(chosen.encode()).hexdigest())
    assert separation.read(root).notes == ["dev: the 1000 mixtures of 1010 that SUPERB takes"]


def test_files_that_one_folder_lacks_are_counted_and_named(root):
    (root / f"wav16k/min/test/s2/{TEST}.wav").unlink()
    (root / f"wav16k/min/train-100/mix_clean/{OTHER}.wav").unlink()
    message = error_of(separation, root, MissingError)
    assert "2 of 12 audio files are missing" in message
    assert f"{root}/wav16k/min/train-100/mix_clean/{OTHER}.wav" in message and f"test/s2/{TEST}.wav" in message


def test_absent_folders_are_counted_and_named(root):
    (root / "wav16k/min/dev").rename(root / "wav16k/min/valid")
    message = error_of(separation, root, MissingError)
    assert "3 of 9 folders of Libri2Mix are missing" in message and str(root / "wav16k/min/dev/s1") in message
    assert "python -m benchmark data librimix" in message


def test_folder_without_audio_is_named(root):
    for folder in ("mix_clean", "s1", "s2"):
        (root / f"wav16k/min/test/{folder}/{TEST}.wav").unlink()
    places = " and ".join(str(root / "wav16k/min/test" / folder) for folder in ("mix_clean", "s1", "s2"))
    assert f"{places} hold no wav files" in error_of(separation, root, MissingError)


def test_strange_name_is_refused_and_what_is_hidden_is_not_looked_at(root):
    for name in (f"._{DEV}.wav", "notes.txt"):
        (root / "wav16k/min/dev/s1" / name).touch()
    assert separation.read(root).counts["dev"] == 1
    (root / "wav16k/min/dev/s1" / "take two.wav").touch()
    message = error_of(separation, root, DataError)
    assert f"{root / 'wav16k/min/dev/s1/take two.wav'} is not named after two utterances" in message


def test_mixture_in_two_splits_is_refused(root):
    for folder in ("mix_clean", "s1", "s2"):
        put_wav(root / f"wav16k/min/test/{folder}/{TRAIN}.wav")
    assert f"mixture '{TRAIN}' is in both train and test" in error_of(separation, root, DataError)
