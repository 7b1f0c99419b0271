"""IEMOCAP: four emotions in five sessions; each session is the test set of one fold."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from sys import intern

from downstream.corpora.folders import marker, refuse_missing, visible
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError

CORPUS = "iemocap"
SESSIONS = tuple(f"Session{k}" for k in range(1, 6))
CLASSES = ("neu", "hap", "ang", "sad")
MERGED = {"exc": "hap"}
DROPPED = ("fru", "sur", "fea", "dis", "oth", "xxx")
EXPECTED = dict(zip(SESSIONS, (1085, 1023, 1151, 1031, 1241), strict=True))
TRAIN_SHARE = 0.8
DEV_SEED = 0

_AGAIN = "Unpack the corpus again."


def read(root: Path) -> Manifest:
    """One split a session: in the order of s3prl's fold files where these are there, else sorted by path."""
    dropped: Counter[str] = Counter()
    missing: list[str] = []
    splits: dict[str, list[Example]] = {}
    for session in SESSIONS:
        wavs = _wavs(root, session)
        examples = sorted(_labelled(root, session, wavs, dropped), key=lambda e: e.audio)
        missing += [str(root / e.audio) for e in examples if e.id not in wavs]
        splits[session] = examples
    refuse_missing(missing, sum(map(len, splits.values())), "labelled audio files", _AGAIN)
    notes = [f"{count} utterances labelled '{label}' left out" for label, count in sorted(dropped.items())]
    shipped = [session for session in SESSIONS if _fold_file(root, session, "test").is_file()]
    for session in shipped:
        splits[session] = _ordered(_fold_file(root, session, "test"), splits[session])
    if _has_folds(root):
        notes.append("utterances in the order of meta_data/Session*/: same dev sets as s3prl with these files")
    else:
        notes.append(
            "no complete meta_data/Session*/{train,test}_meta_data.json: utterances sorted by path, so the dev sets "
            "are drawn by s3prl's rule but hold other utterances than s3prl's"
        )
    mini = marker(root, CORPUS)
    return Manifest(CORPUS, root, splits, dict(mini["counts"] if mini else EXPECTED), mini, notes)


def folds(manifest: Manifest) -> list[tuple[str, list[Example], list[Example], list[Example]]]:
    """(name, train, dev, test) of the five folds: a session to test on, the other four shuffled and cut 80 to 20.

    The draw is that of torch's `random_split` after `manual_seed(0)`, as in s3prl.
    """
    import torch

    result = []
    for k, session in enumerate(SESSIONS, start=1):
        pool = [e for other in SESSIONS if other != session for e in manifest.splits[other]]
        if _has_folds(manifest.root):
            pool = _ordered(_fold_file(manifest.root, session, "train"), pool)
        order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(DEV_SEED)).tolist()
        cut = int(TRAIN_SHARE * len(pool))
        train, dev = [pool[i] for i in order[:cut]], [pool[i] for i in order[cut:]]
        result.append((f"fold{k}", train, dev, manifest.splits[session]))
    return result


def _wavs(root: Path, session: str) -> dict[str, str]:
    """Utterance to path under the root, of every audio file of a session."""
    folder = root / session / "sentences" / "wav"
    if not folder.is_dir():
        raise MissingError(f"{folder} is missing. {_AGAIN}")
    dialogs = [path for path in visible(folder) if path.is_dir()]
    return {wav.stem: wav.relative_to(root).as_posix() for dialog in dialogs for wav in visible(dialog, ".wav")}


def _labelled(root: Path, session: str, wavs: dict[str, str], dropped: Counter[str]) -> Iterator[Example]:
    """The utterances of a session with one of the four emotions, from the summary lines of its evaluation files."""
    folder = root / session / "dialog" / "EmoEvaluation"
    files = [path for path in visible(folder, ".txt") if path.is_file()] if folder.is_dir() else []
    if not files:
        raise MissingError(f"no label files: expected {folder / '<dialog>.txt'}. {_AGAIN}")
    for path in files:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                if not line.startswith("["):
                    continue
                fields = line.split("\t")
                if len(fields) < 3 or not fields[1]:
                    raise DataError(f"{path}, line {number}: not '[start - end]<TAB>utterance<TAB>label'. {_AGAIN}")
                utterance, label = fields[1].strip(), fields[2].strip()
                label = MERGED.get(label, label)
                if label in DROPPED:
                    dropped[label] += 1
                elif label in CLASSES:
                    audio = wavs.get(utterance, f"{session}/sentences/wav/{path.stem}/{utterance}.wav")
                    yield Example(utterance, audio, (intern(label),), _speaker(utterance, path, number))
                else:
                    known = ", ".join((*CLASSES, *MERGED, *DROPPED))
                    raise DataError(f"{path}, line {number}: unknown label '{label}'. Known: {known}.")


def _speaker(utterance: str, path: Path, number: int) -> str:
    """`Ses01_M` for `Ses01F_impro01_M013`: the letter before the count says who talks, the first one who is filmed."""
    session, talker = utterance[:5], utterance.rpartition("_")[2][:1]
    if not session.startswith("Ses") or talker not in ("F", "M"):
        raise DataError(f"{path}, line {number}: '{utterance}' is not named like Ses01F_impro01_M013. {_AGAIN}")
    return intern(f"{session}_{talker}")


def _fold_file(root: Path, session: str, part: str) -> Path:
    return root / "meta_data" / session / f"{part}_meta_data.json"


def _has_folds(root: Path) -> bool:
    return all(_fold_file(root, session, part).is_file() for session in SESSIONS for part in ("train", "test"))


def _ordered(path: Path, examples: list[Example]) -> list[Example]:
    """The examples in the order of a fold file, which has to list the same utterances with the same labels."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["meta_data"]
        listed = [(PurePosixPath(entry["path"]).stem, entry["label"]) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a fold file of s3prl: {error!r}. Replace it or remove meta_data.") from error
    by_id = {e.id: e for e in examples}
    differing = {(e.id, e.target[0]) for e in examples} ^ set(listed)
    if differing or len(listed) != len(examples):
        few = ", ".join(f"{name} {label}" for name, label in sorted(differing)[:3]) or "an utterance listed twice"
        raise DataError(
            f"{path} lists {len(listed)} utterances, the label files have {len(examples)}; they differ in: {few}. "
            "Replace it or remove meta_data."
        )
    return [by_id[name] for name, _ in listed]
