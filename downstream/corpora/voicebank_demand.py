"""VoiceBank-DEMAND, the edition of 28 training speakers: sentences with noise added, and the same without."""

import re
from pathlib import Path
from sys import intern

from downstream.corpora.folders import marker, names_in_all, refuse_missing
from downstream.types import Example, Manifest
from upstream.audio import SAMPLE_RATE, read_header
from upstream.errors import DataError, MissingError

CORPUS = "voicebank_demand"
SOURCE = "https://datashare.ed.ac.uk/handle/10283/2791"
DEV_SPEAKERS = ("p226", "p287")
TRAINING, TEST = "trainset_28spk", "testset"
KINDS = ("noisy", "clean")
# As recipes report them: no list comes with the corpus. 770 of its 11572 training files are of dev's speakers.
EXPECTED = {"train": 10802, "dev": 770, "test": 824}

_SUFFIXES = ("_16k", "")  # the download has none and is at 48 kHz
_NAME = re.compile(r"(p\d{3})_\d{3}\.wav")
_LIKE = "a speaker and a sentence, like p226_001.wav"
_AGAIN = f"Unpack the corpus again; it comes from {SOURCE}"


def read(root: Path) -> Manifest:
    """The splits train, dev and test, each sorted by speaker and sentence."""
    folders = _folders(root)
    missing: list[str] = []
    names = {part: names_in_all(root, pair, _NAME, _LIKE, missing, _AGAIN) for part, pair in folders.items()}
    refuse_missing(missing, len(KINDS) * sum(map(len, names.values())), "audio files", _AGAIN)
    training, test = ([_example(folders[part], name) for name in names[part]] for part in (TRAINING, TEST))
    splits = {
        "train": [example for example in training if example.group not in DEV_SPEAKERS],
        "dev": [example for example in training if example.group in DEV_SPEAKERS],
        "test": test,
    }
    _refuse_unfit_speakers(root, splits)
    mini = marker(root, CORPUS)
    expected = dict(mini["counts"] if mini else EXPECTED)
    return Manifest(CORPUS, root, splits, expected, mini, _notes_on_rates(root, folders, names))


def _folders(root: Path) -> dict[str, tuple[str, ...]]:
    """The folders of training and test with noise and without, both as downloaded or both at 16 kHz."""
    found = {}
    for part in (TRAINING, TEST):
        pairs = [tuple(f"{kind}_{part}_wav{suffix}" for kind in KINDS) for suffix in _SUFFIXES]
        found[part] = next((pair for pair in pairs if all((root / folder).is_dir() for folder in pair)), None)
    absent = [part for part, pair in found.items() if pair is None]
    if absent:
        lines = ["parts of VoiceBank-DEMAND are missing. Looked for:"]
        lines += [f"  {root / f'{kind}_{part}_wav'}, or with {_SUFFIXES[0]}" for part in absent for kind in KINDS]
        lines.append(f"Download them from {SOURCE} and unpack them in {root}. Both of a part have to end alike.")
        raise MissingError("\n".join(lines))
    return found


def _example(folders: tuple[str, ...], name: str) -> Example:
    noisy, clean = (f"{folder}/{name}" for folder in folders)
    return Example(name.removesuffix(".wav"), noisy, (), intern(_NAME.fullmatch(name)[1]), sources=(clean,))


def _refuse_unfit_speakers(root: Path, splits: dict[str, list[Example]]) -> None:
    """Every split has somebody, and nobody of the test is learnt from."""
    speakers = {split: {example.group for example in examples} for split, examples in splits.items()}
    absent = [speaker for speaker in DEV_SPEAKERS if speaker not in speakers["dev"]]
    if absent or not speakers["train"]:
        who = " and ".join(absent) or "speakers other than those of dev"
        raise MissingError(f"{root}: {TRAINING} has no sentences of {who}. {_AGAIN}")
    shared = sorted(speakers["test"] & (speakers["train"] | speakers["dev"]))
    if shared:
        raise DataError(
            f"{root}: {len(shared)} speakers are both in {TRAINING} and in {TEST}: {', '.join(shared[:3])}"
            f"{', ...' if len(shared) > 3 else ''}. Speakers of the test must not be trained on. {_AGAIN}"
        )


def _notes_on_rates(root: Path, folders: dict[str, tuple[str, ...]], names: dict[str, list[str]]) -> list[str]:
    """By the first file of each folder: a look at all of them would take long."""
    rates = {folder: read_header(root / folder / names[part][0]).rate for part in folders for folder in folders[part]}
    return [
        f"{folder} is at {rate} Hz: resampled to {SAMPLE_RATE} Hz when read; SUPERB's copy is at {SAMPLE_RATE} Hz"
        for folder, rate in rates.items()
        if rate != SAMPLE_RATE
    ]
