import subprocess
import sys
from pathlib import Path

import pytest
import tiny_corpora as tiny

from downstream.corpora import CORPORA, check, find, info, read
from upstream.errors import DataError, MissingError, UsageError

MAKERS = {name: getattr(tiny, name) for name in CORPORA}


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    for make in MAKERS.values():
        make(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_found_under_a_folder(everything: Path, name: str) -> None:
    root = everything if name == "speech_commands" else everything / CORPORA[name].folders[0]
    assert find(name, everything) == root
    assert read(name, everything).corpus == name


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if corpus.marks])
def test_a_corpus_is_found_when_its_own_folder_is_given(everything: Path, name: str) -> None:
    for folder in CORPORA[name].folders:
        if (everything / folder).exists():
            assert find(name, everything / folder) == find(name, everything)


@pytest.mark.parametrize("name", [name for name, corpus in CORPORA.items() if not corpus.marks])
def test_languages_that_look_alike_are_found_by_their_names(everything: Path, name: str) -> None:
    """In the folder that the archives unpack to, which may be the one that is given."""
    root = find(name, everything)
    assert root.name == CORPORA[name].variant
    assert find(name, root.parent) == find(name, root) == root
    assert "holds no corpus" in missing(name, root.rename(everything / "renamed"))


def test_a_corpus_is_found_under_other_names(tmp_path: Path) -> None:
    tiny.iemocap(tmp_path, "IEMOCAP")
    assert find("iemocap", tmp_path) == tmp_path / "IEMOCAP"
    renamed = tiny.voxceleb1(tmp_path).rename(tmp_path / "vox1")
    assert find("voxceleb1", renamed) == renamed


def test_a_relative_folder_will_do(tmp_path: Path, monkeypatch) -> None:
    tiny.speech_commands(tmp_path)
    monkeypatch.chdir(tmp_path / "speech_commands_v0.01")
    assert find("speech_commands", Path()) == tmp_path


def missing(name: str, data: Path) -> str:
    with pytest.raises(MissingError) as error:
        find(name, data)
    message = str(error.value)
    for advice in ("--data DIR", "python -m benchmark data mini --out DIR", "--mini"):
        assert advice in message
    return message


@pytest.mark.parametrize("name", CORPORA)
def test_what_is_said_of_a_folder_without_the_corpus(name: str, tmp_path: Path) -> None:
    absent = missing(name, tmp_path / "absent")
    assert "absent does not exist." in absent
    for folder in CORPORA[name].folders:
        assert f"{tmp_path / 'absent' / folder}  (missing)" in absent
    assert CORPORA[name].source in absent
    assert "is empty." in missing(name, tmp_path)
    (tmp_path / "file").touch()
    assert "is a file, not a folder." in missing(name, tmp_path / "file")
    assert "holds no corpus that is known here." in missing(name, tmp_path)


def test_another_corpus_is_recognised(tmp_path: Path) -> None:
    root = tiny.voxceleb1(tmp_path)
    assert f"{tmp_path} holds voxceleb1, voxceleb1_verification." in missing("iemocap", tmp_path)
    assert f"{root} holds voxceleb1, voxceleb1_verification." in missing("speech_commands", root)
    tiny.fluent_speech_commands(tmp_path)
    assert "holds fluent_speech_commands, voxceleb1, voxceleb1_verification." in missing("iemocap", tmp_path)


def test_half_a_corpus_is_told_from_none(tmp_path: Path) -> None:
    tiny.speech_commands(tmp_path)
    train, test = (tmp_path / folder for folder in CORPORA["speech_commands"].folders)
    test.rename(tmp_path / "test")
    for data in (tmp_path, train):
        message = missing("speech_commands", data)
        assert "has a part of it only" in message
        assert f"{test}  (missing)" in message
        assert f"{train}\n" in message


def test_unknown_corpus() -> None:
    with pytest.raises(UsageError, match=r"unknown corpus 'voxceleb'\. Did you mean: voxceleb1"):
        info("voxceleb")


def test_the_registry_does_not_import_torch_or_the_readers() -> None:
    code = (
        "import downstream.corpora, sys; assert 'torch' not in sys.modules; "
        "assert 'downstream.corpora.iemocap' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


# ---- data check


def test_check_says_what_is_there(everything: Path) -> None:
    reports = check.check(list(CORPORA), everything)
    assert [report.name for report in reports] == list(CORPORA)
    assert {report.exit_code for report in reports} == {3}  # nothing is broken, all are smaller than published
    told = ("\n".join(report.lines()) for report in reports)
    words, intents, speakers, pairs, emotions, chapters, spanish, _, mandarin, queries, *more = told
    orders, turns, mixtures, noisy = more
    assert "train: 55 of 51088: 51033 missing" in words
    assert "silence: 8 (no published count)" in words
    assert "12 classes" in words
    assert "note: 11 clips" in words
    assert "2 + 3 + 2 classes, 3 speakers" in intents
    assert "train: 4 of 138361: 138357 missing" in speakers
    assert "4 speakers" in speakers
    assert "test: 3 of 4874: 4871 missing" in pairs
    assert "4 speakers" in pairs
    assert "4 classes, 10 speakers" in emotions
    assert "60 audio files, 0.00 hours (every header opened)" in emotions
    assert "train: 2 of 28539: 28537 missing" in chapters
    assert "4 different texts of 16 different characters, 3 speakers" in chapters
    assert "note: 1 of 5 sentences left out, as in SUPERB: 1 without a letter or digit" in spanish
    assert "1 with a Latin letter or an apostrophe" in mandarin
    assert "2 dev queries in 2 documents, 1 test queries in 1 documents" in queries
    assert "train: 8 of 104672: 104664 missing" in orders
    assert "3 different texts of 19 different characters, 16 speakers" in orders
    assert "9 turns in 4 recordings" in turns
    assert "4 audio files" in turns
    assert "4 mixtures of 8 files" in mixtures
    assert "12 audio files" in mixtures
    assert "note: dev: 1 mixtures of 1, which are not those that SUPERB takes" in mixtures
    assert "7 mixtures of 7 files, 6 speakers" in noisy
    assert "dev: 2 of 770: 768 missing" in noisy


def test_check_counts_turns_where_all_recordings_have_as_many(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(tiny.MIXTURES, "train", tiny.MIXTURES["train"][1:])
    tiny.libri2mix_diarization(tmp_path)
    (report,) = check.check(["libri2mix_diarization"], tmp_path)
    assert "  6 turns in 3 recordings" in report.lines()


def test_check_of_a_complete_made_up_corpus(tmp_path: Path) -> None:
    root = tiny.voxceleb1(tmp_path)
    tiny.write_marker(root, "voxceleb1", {"train": 4, "dev": 2, "test": 1})
    (report,) = check.check(["voxceleb1"], tmp_path)
    assert report.exit_code == 0
    lines = "\n".join(report.lines())
    assert "a small made-up corpus, seed 7" in lines
    assert "train: 4 (complete)" in lines


def test_check_goes_on_after_a_corpus_that_cannot_be_read(tmp_path: Path) -> None:
    intents = tiny.fluent_speech_commands(tmp_path)
    tiny.voxceleb1(tmp_path)
    (intents / "data/train_data.csv").write_text("a,b\n")
    absent, broken, there = check.check(["iemocap", "fluent_speech_commands", "voxceleb1"], tmp_path)
    assert isinstance(absent.problem, MissingError)
    assert (absent.root, absent.exit_code) == (None, 3)
    assert isinstance(broken.problem, DataError)
    assert (broken.root, broken.exit_code) == (intents, 1)
    assert "has no column 'path'" in "\n".join(broken.lines())
    assert there.audio.files == 7


def test_check_names_broken_files(everything: Path, monkeypatch) -> None:
    clips = sorted((everything / "VoxCeleb1").rglob("*.wav"))
    clips[0].write_bytes(b"")
    clips[1].write_bytes(clips[1].read_bytes()[:100])
    clips[2].write_text("not audio at all")
    tiny.put_wav(clips[3], rate=8000)
    tiny.put_wav(clips[4], channels=2)
    monkeypatch.setattr(check, "SHOWN_BROKEN", 2)
    (report,) = check.check(["voxceleb1"], everything)
    assert report.exit_code == 1
    assert len(report.audio.broken) == 3
    lines = [line.strip() for line in report.lines()]
    assert "1 files at 8000 Hz: resampled to 16000 Hz when read" in lines
    assert "1 files with more than one channel: averaged when read" in lines
    at = lines.index("3 broken files:")
    assert lines[at + 3] == "and 1 more"


def test_check_estimates_hours_from_a_sample(everything: Path, monkeypatch) -> None:
    manifest = read("speech_commands", everything)
    whole = check.look_at_audio(manifest, full=True)
    monkeypatch.setattr(check, "SAMPLED_HEADERS", 20)
    last = everything / "speech_commands_test_set_v0.01" / "yes" / "0a1b2c3d_nohash_0.wav"
    last.write_bytes(b"")
    sampled = check.look_at_audio(manifest, full=False)
    assert sampled.estimated
    assert sampled.opened <= 20
    assert sampled.hours == pytest.approx(whole.hours, rel=0.5)
    assert [line for line in sampled.broken if "empty (0 bytes)" in line]
    assert "estimated from all file sizes" in "\n".join(sampled.lines())
