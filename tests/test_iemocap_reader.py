import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
import tiny_corpora as tiny

from downstream.corpora import iemocap
from upstream.errors import DataError, MissingError


def test_iemocap(tmp_path: Path) -> None:
    manifest = iemocap.read(tiny.iemocap(tmp_path))
    assert manifest.counts == dict.fromkeys(iemocap.SESSIONS, 12)
    session = manifest.splits["Session2"]
    assert [e.audio for e in session] == sorted(e.audio for e in session)
    assert [(e.id[-4:], e.target[0]) for e in session if "impro01" in e.id] == [
        ("F000", "neu"),
        ("F004", "hap"),
        ("M001", "hap"),  # an excited one
        ("M003", "ang"),
        ("M005", "sad"),
        ("M007", "neu"),
    ]
    assert {e.group for e in session} == {"Ses02_F", "Ses02_M"}
    assert next(e.group for e in session if e.id == "Ses02F_impro01_M001") == "Ses02_M"
    assert manifest.notes[:2] == ["10 utterances labelled 'fru' left out", "10 utterances labelled 'xxx' left out"]
    assert "sorted by path" in manifest.notes[2]


def test_folds_are_drawn_like_torch_random_split(tmp_path: Path) -> None:
    import torch

    manifest = iemocap.read(tiny.iemocap(tmp_path))
    for k, (name, train, dev, test) in enumerate(iemocap.folds(manifest), start=1):
        assert name == f"fold{k}"
        assert test == manifest.splits[f"Session{k}"]
        pool = [e for s in iemocap.SESSIONS if s != f"Session{k}" for e in manifest.splits[s]]
        torch.manual_seed(0)
        cut = int(0.8 * len(pool))
        theirs = torch.utils.data.random_split(range(len(pool)), [cut, len(pool) - cut])
        assert train == [pool[i] for i in theirs[0]]
        assert dev == [pool[i] for i in theirs[1]]
        assert (len(train), len(dev)) == (38, 10)


def test_folds_leave_the_global_generator_alone(tmp_path: Path) -> None:
    import torch

    manifest = iemocap.read(tiny.iemocap(tmp_path))
    before = torch.random.get_rng_state()
    iemocap.folds(manifest)
    assert torch.equal(before, torch.random.get_rng_state())


def shuffled_sessions(root: Path) -> dict[str, list[tuple[str, str]]]:
    sessions = iemocap.read(root).splits
    rng = random.Random(1)
    return {s: rng.sample([(e.audio, e.target[0]) for e in es], len(es)) for s, es in sessions.items()}


def test_iemocap_in_the_order_of_fold_files(tmp_path: Path) -> None:
    root = tiny.iemocap(tmp_path)
    order = shuffled_sessions(root)
    tiny.write_folds(root, order)
    manifest = iemocap.read(root)
    assert {s: [(e.audio, e.target[0]) for e in es] for s, es in manifest.splits.items()} == order
    assert "in the order of meta_data/" in manifest.notes[-1]
    reverse = dict(reversed(order.items()))
    tiny.write_folds(root, reverse)  # the train files may have the sessions in another order: theirs counts
    pool = [audio for session, entries in reverse.items() if session != "Session1" for audio, _ in entries]
    _, train, dev, _ = iemocap.folds(iemocap.read(root))[0]
    import torch

    drawn = torch.randperm(48, generator=torch.Generator().manual_seed(0)).tolist()
    assert [e.audio for e in train + dev] == [pool[i] for i in drawn]


def test_fold_files_of_s3prl(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("s3prl")
    from oracles import import_s3prl

    librosa = ModuleType("librosa.util")
    librosa.find_files = lambda folder: sorted(map(str, Path(folder).rglob("*.wav")))
    for name in ("librosa", "librosa.util"):
        monkeypatch.setitem(sys.modules, name, librosa)
    root = tiny.iemocap(tmp_path)
    for path in root.rglob("._*"):
        path.unlink()  # s3prl reads them
    import_s3prl("s3prl.downstream.emotion.IEMOCAP_preprocess").main(str(root))
    manifest = iemocap.read(root)  # which refuses fold files with other utterances or labels than its own
    assert manifest.counts == dict.fromkeys(iemocap.SESSIONS, 12)
    assert "in the order of meta_data/" in manifest.notes[-1]
    assert [len(train) for _, train, _, _ in iemocap.folds(manifest)] == [38] * 5


@pytest.mark.parametrize(
    "change", [lambda es: es[:-1], lambda es: es + es[:1], lambda es: [(es[0][0], "sad"), *es[1:]]]
)
def test_fold_files_of_another_corpus(tmp_path: Path, change) -> None:
    root = tiny.iemocap(tmp_path)
    order = shuffled_sessions(root)
    order["Session3"] = change(sorted(order["Session3"]))
    tiny.write_folds(root, order)
    with pytest.raises(DataError, match=r"Session3/test_meta_data\.json lists .* they differ in"):
        iemocap.read(root)


def test_broken_fold_file(tmp_path: Path) -> None:
    root = tiny.iemocap(tmp_path)
    tiny.write_folds(root, shuffled_sessions(root))
    (root / "meta_data/Session4/test_meta_data.json").write_text("{}")
    with pytest.raises(DataError, match=r"Session4/test_meta_data\.json is not a fold file"):
        iemocap.read(root)


def test_iemocap_missing_pieces(tmp_path: Path) -> None:
    root = tiny.iemocap(tmp_path)
    wav = root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    wav.unlink()
    with pytest.raises(MissingError) as error:
        iemocap.read(root)
    assert "1 of 60 labelled audio files are missing" in str(error.value)
    assert str(wav) in str(error.value)
    tiny.put_wav(wav)
    (root / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F002.wav").unlink()  # its label is not kept
    assert iemocap.read(root).counts["Session1"] == 12
    for path in (root / "Session3/dialog/EmoEvaluation").glob("*.txt"):
        path.unlink()
    with pytest.raises(MissingError, match=r"no label files: expected .*Session3/dialog/EmoEvaluation"):
        iemocap.read(root)
    (root / "Session2").rename(root / "S2")
    with pytest.raises(MissingError, match="Session2/sentences/wav is missing"):
        iemocap.read(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[0 - 1]\tSes01F_impro01_F099\tjoy\t[1, 1, 1]", "line 1: unknown label 'joy'. Known: neu, hap"),
        ("[0 - 1] Ses01F_impro01_F099 neu", "line 1: not "),
        ("[0 - 1]\tSes01F_impro01_X099\tneu\t[1, 1, 1]", "line 1: 'Ses01F_impro01_X099' is not named like"),
    ],
)
def test_iemocap_bad_label_lines(tmp_path: Path, line: str, message: str) -> None:
    root = tiny.iemocap(tmp_path)
    (root / "Session1/dialog/EmoEvaluation/Ses01F_impro02.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=rf"Ses01F_impro02\.txt, {message}"):
        iemocap.read(root)
