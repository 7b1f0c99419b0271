import random
import sys
from collections import Counter
from hashlib import sha1
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import tiny_corpora as tiny

from downstream.corpora import CORPORA, find, fluent_speech_commands, read, speech_commands, voxceleb1
from upstream.audio import read_audio
from upstream.errors import DataError, MissingError


@pytest.mark.parametrize("name", CORPORA)
def test_every_reader(name: str, tmp_path: Path) -> None:
    getattr(tiny, name)(tmp_path)
    manifest = read(name, tmp_path)
    assert (manifest.corpus, manifest.root, manifest.mini) == (name, find(name, tmp_path), None)
    reader = import_module(f"downstream.corpora.{CORPORA[name].reader or name}")
    assert manifest.expected == getattr(reader, "EXPECTED", manifest.expected)
    assert not manifest.complete
    ids = [e.id for e in manifest.examples()]
    assert len(set(ids)) == len(ids)
    for example in manifest.examples():
        assert manifest.path(example).is_file()
        read_audio(manifest.path(example), example.start, example.stop)
    assert read(name, tmp_path) == manifest
    assert read(name, tmp_path).digest() == manifest.digest()


@pytest.mark.parametrize("name", CORPORA)
def test_made_up_corpora_bring_their_own_counts(name: str, tmp_path: Path) -> None:
    getattr(tiny, name)(tmp_path)
    root, found = find(name, tmp_path), read(name, tmp_path)
    counts = {split: n for split, n in found.counts.items() if split != "silence"}
    tops = [root / folder for folder in CORPORA[name].folders] if name == "speech_commands" else [root]
    for top in tops:
        tiny.write_marker(top, name, counts)
    manifest = read(name, tmp_path)
    assert manifest.complete
    assert manifest.expected == counts
    assert manifest.mini["seed"] == 7
    tiny.write_marker(tops[0], "another", counts)
    with pytest.raises(DataError, match=r"MINI\.json does not describe"):
        read(name, tmp_path)
    (tops[0] / "MINI.json").write_text("{")
    with pytest.raises(DataError, match=r"MINI\.json is not JSON"):
        read(name, tmp_path)


def test_a_real_and_a_made_up_folder_do_not_mix(tmp_path: Path) -> None:
    tiny.speech_commands(tmp_path)
    tiny.write_marker(tmp_path / "speech_commands_test_set_v0.01", "speech_commands", {"test": 12})
    with pytest.raises(DataError, match="one real and one small made-up folder"):
        speech_commands.read(tmp_path)


# ---- Speech Commands


def test_hash_rule_agrees_with_the_published_lists() -> None:
    assert all(speech_commands.share(speaker) < 10 for speaker in tiny.DEV_SPEAKERS)
    assert all(10 <= speech_commands.share(speaker) < 20 for speaker in tiny.TESTING_SPEAKERS)
    assert all(speech_commands.share(speaker) >= 20 for speaker in tiny.TRAIN_SPEAKERS)
    assert speech_commands.share("ffb86d3c") == pytest.approx(10.06, abs=0.005)


def test_hash_rule_by_its_formula() -> None:
    # the 27 lowest bits of the SHA-1 are the last 7 of its 40 hexadecimal digits, less the topmost bit
    last_digits = int(sha1(b"099d52ad").hexdigest()[-7:], 16) & (2**27 - 1)
    assert speech_commands.share("099d52ad") == last_digits * (100 / (2**27 - 1))
    assert speech_commands.speaker_of("099d52ad_nohash_3.wav") == "099d52ad"
    assert speech_commands.speaker_of("odd.wav") == "odd.wav"


def test_speech_commands(tmp_path: Path) -> None:
    manifest = speech_commands.read(tiny.speech_commands(tmp_path))
    assert manifest.counts == {"train": 55, "dev": 11, "test": 12, "silence": 8}
    train = manifest.splits["train"]
    assert train[0].id == "bed-05b2db80_nohash_0.wav"
    assert train[0].audio == "speech_commands_v0.01/bed/05b2db80_nohash_0.wav"
    assert (train[0].target, train[0].group) == (("_unknown_",), "05b2db80")
    assert [e.audio for e in train] == sorted(e.audio for e in train)
    assert Counter(e.target[0] for e in train) == dict.fromkeys((*tiny.KEYWORDS, "_unknown_"), 5)
    assert {e.group for e in manifest.splits["dev"]} == {"099d52ad"}
    test = manifest.splits["test"]
    assert [e.target[0] for e in test] == sorted(speech_commands.CLASSES)
    assert test[-1].id == "yes-0a1b2c3d_nohash_0.wav"
    assert manifest.notes == ["11 clips of speech_commands_v0.01 are in its testing share and left out, as in SUPERB"]


def test_silence_is_cut_from_the_background_on_a_grid(tmp_path: Path) -> None:
    silence = speech_commands.read(tiny.speech_commands(tmp_path)).splits["silence"]
    crops = [e for e in silence if "white_noise" in e.audio]
    assert [(e.start, e.stop) for e in crops] == [(0, 16000), (1600, 17600), (3200, 19200)]
    assert crops[1].id == "_background_noise_/white_noise.wav@1600"
    assert {(e.target, e.group) for e in silence} == {(("_silence_",), None)}


def test_background_of_another_number_or_too_short(tmp_path: Path) -> None:
    noise = tiny.speech_commands(tmp_path) / "speech_commands_v0.01" / "_background_noise_"
    (noise / "pink_noise.wav").unlink()
    assert "5 background files instead of 6" in speech_commands.read(tmp_path).notes
    tiny.put_wav(noise / "white_noise.wav", 15999)
    with pytest.raises(DataError, match=r"white_noise\.wav lasts 1\.00 s; .* 1 s or more"):
        speech_commands.read(tmp_path)
    for path in noise.glob("*.wav"):
        path.unlink()
    with pytest.raises(DataError, match="no background noise"):
        speech_commands.read(tmp_path)


def test_speech_commands_folders(tmp_path: Path) -> None:
    train = tiny.speech_commands(tmp_path) / "speech_commands_v0.01"
    test = tmp_path / "speech_commands_test_set_v0.01"
    tiny.put_wav(train / "hello" / "eb67fcbc_nohash_0.wav")
    (train / "yes" / "._eb67fcbc_nohash_0.wav").write_bytes(b"macOS")
    manifest = speech_commands.read(tmp_path)
    assert manifest.counts["train"] == 56
    assert "'hello' is none of the 30 words of the corpus; its clips count as _unknown_" in manifest.notes
    (test / "go" / "0a1b2c3d_nohash_0.wav").unlink()
    with pytest.raises(DataError, match=r"test_set_v0\.01 has no clips of: go"):
        speech_commands.read(tmp_path)
    (test / "go").rename(test / "gone")
    with pytest.raises(DataError, match="gone is no class of the test set"):
        speech_commands.read(tmp_path)
    (test / "gone").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no clips of: go"):
        speech_commands.read(tmp_path)
    test.rename(tmp_path / "other")
    with pytest.raises(MissingError, match=r"test_set_v0\.01 is missing.*side by side"):
        speech_commands.read(tmp_path)


def test_split_is_that_of_s3prl(tmp_path: Path, monkeypatch) -> None:
    from oracles import import_s3prl

    pytest.importorskip("s3prl")
    sampler = ModuleType("catalyst.data.sampler")
    sampler.DistributedSamplerWrapper = None
    for name in ("catalyst", "catalyst.data"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, sampler.__name__, sampler)
    expert = import_s3prl("s3prl.downstream.speech_commands.expert")
    root = tiny.speech_commands(tmp_path)
    rng = random.Random(0)
    for _ in range(300):
        path = root / "speech_commands_v0.01" / rng.choice(("yes", "bed")) / f"{rng.getrandbits(32):08x}_nohash_0.wav"
        path.symlink_to(root / "speech_commands_v0.01" / "no" / "eb67fcbc_nohash_0.wav")
    ours = speech_commands.read(root)
    for split, theirs in zip(("train", "dev"), expert.split_dataset(root / "speech_commands_v0.01"), strict=True):
        assert {e.audio for e in ours.splits[split]} == {path.relative_to(root).as_posix() for _, path in theirs}


# ---- Fluent Speech Commands


def test_fluent_speech_commands(tmp_path: Path) -> None:
    manifest = fluent_speech_commands.read(tiny.fluent_speech_commands(tmp_path))
    assert manifest.counts == {"train": 3, "dev": 1, "test": 2}
    first = manifest.splits["train"][0]
    assert (first.id, first.audio) == ("train-0", "wavs/speakers/sptrain/train-0.wav")
    assert (first.target, first.group) == (("increase", "heat", "none"), "sptrain")


def row(name: str, *intent: str) -> tuple[str, ...]:
    return ("0", f"wavs/speakers/sptrain/{name}.wav", "sptrain", "Do it", *intent)


def test_intent_table_without_a_column(tmp_path: Path) -> None:
    root = tiny.fluent_speech_commands(tmp_path)
    tiny.write_intents(root, "valid", [], ("", "path", "speakerId", "transcription", "action", "location"))
    found = r"\(unnamed\), path, speakerId, transcription, action, location"
    with pytest.raises(DataError, match=rf"valid_data\.csv has no column 'object'\. Columns found: {found}"):
        fluent_speech_commands.read(root)


@pytest.mark.parametrize(
    ("split", "bad", "message"),
    [
        ("test", row("train-0", "increase", "heat", "attic"), r"test_data\.csv, line 2: .*'train-0' was already"),
        ("test", row("new", "increase", "heat", "attic"), r"test_data\.csv, line 2: location 'attic' never occurs"),
        ("valid", row("new", "", "heat", "none"), r"valid_data\.csv, line 2: no value for 'action'"),
        ("valid", row("new", "increase", "heat"), r"valid_data\.csv, line 2: no value for 'location'"),
    ],
)
def test_bad_intent_rows(tmp_path: Path, split: str, bad: tuple[str, ...], message: str) -> None:
    root = tiny.fluent_speech_commands(tmp_path)
    tiny.write_intents(root, split, [bad])
    with pytest.raises(DataError, match=message):
        fluent_speech_commands.read(root)


def test_intents_with_missing_files(tmp_path: Path) -> None:
    root = tiny.fluent_speech_commands(tmp_path)
    (root / "wavs/speakers/sptrain/train-1.wav").unlink()
    message = r"1 of 6 listed audio files are missing(.|\n)*sptrain/train-1\.wav \(train_data\.csv, line 3\)"
    with pytest.raises(MissingError, match=message):
        fluent_speech_commands.read(root)
    (root / "data/test_data.csv").unlink()
    with pytest.raises(MissingError, match=r"test_data\.csv is missing"):
        fluent_speech_commands.read(root)


# ---- VoxCeleb1


@pytest.mark.parametrize("listed", voxceleb1.LISTS)
@pytest.mark.parametrize("beside", [False, True])
def test_voxceleb1(tmp_path: Path, listed: str, beside: bool) -> None:
    manifest = voxceleb1.read(tiny.voxceleb1(tmp_path, listed, beside))
    assert manifest.counts == {"train": 4, "dev": 2, "test": 1}
    assert manifest.notes == [f"splits from {listed}"]
    assert [e.id for e in manifest.splits["train"]] == [
        "id10001-Aa-00002",
        "id10002-Aa-00010",
        "id10270-b-00001",
        "id10271-b-00001",
    ]
    last = manifest.splits["train"][-1]
    assert (last.audio, last.target, last.group) == (
        "test/wav/id10271/b/00001.wav",
        ("id10271",),
        "id10271",
    )


def test_voxceleb1_prefers_dev_where_a_file_is_in_both(tmp_path: Path) -> None:
    root = tiny.voxceleb1(tmp_path)
    tiny.put_wav(root / "test" / "wav" / "id10001" / "zZ-_9" / "00001.wav")
    assert voxceleb1.read(root).splits["test"][0].audio.startswith("dev/wav/")


def test_voxceleb1_missing_files(tmp_path: Path) -> None:
    root = tiny.voxceleb1(tmp_path)
    for path in (root / "test" / "wav").rglob("*.wav"):
        path.unlink()
    (root / "dev/wav/id10001/zZ-_9/00001.wav").unlink()
    with pytest.raises(MissingError) as error:
        voxceleb1.read(root)
    lines = str(error.value).splitlines()
    assert lines[0] == "4 of 7 files listed in veri_test_class.txt are missing. The first:"
    assert len(lines) == 5
    assert lines[1].strip().startswith("id10001/zZ-_9/00001.wav, expected as ")
    assert str(root / "dev/wav/id10001/zZ-_9/00001.wav") in lines[1]


@pytest.mark.parametrize(
    "line", ["1", "4 id10001/video/00001.wav", "1 id1/video/00001.wav", "1 a b", "1 id10001/00001.wav"]
)
def test_voxceleb1_bad_line(tmp_path: Path, line: str) -> None:
    root = tiny.voxceleb1(tmp_path)
    with (root / "veri_test_class.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(DataError, match=rf"veri_test_class\.txt, line 9: '{line}' is not"):
        voxceleb1.read(root)


def test_voxceleb1_listed_twice(tmp_path: Path) -> None:
    listed = tiny.voxceleb1(tmp_path) / "veri_test_class.txt"
    listed.write_text(listed.read_text() * 2)
    with pytest.raises(DataError, match=r"line 8: .* is listed twice"):
        voxceleb1.read(listed.parent)


def test_voxceleb1_without_list_or_audio(tmp_path: Path) -> None:
    root = tiny.voxceleb1(tmp_path)
    for part in ("dev", "test"):
        (root / part / "wav").rename(root / part / "aac")
    with pytest.raises(MissingError, match=r"dev/wav and .*test/wav are both missing"):
        voxceleb1.read(root)
    (root / "veri_test_class.txt").unlink()
    with pytest.raises(MissingError) as error:
        voxceleb1.read(root)
    for folder in (root, tmp_path):
        assert str(folder / "veri_test_class.txt") in str(error.value)
        assert str(folder / "iden_split.txt") in str(error.value)
