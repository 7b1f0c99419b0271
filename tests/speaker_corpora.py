"""The corpora of the speaker tasks, as small as it goes and one's own to break, and numbers for short runs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

TRIALS = "voxceleb1_test_v2.txt"
RATES = ("0.001", "0.0001")
_VIDEOS = 2  # of each speaker of VoxCeleb1

_SHORT = ("steps=4", "eval_every=2", "accumulate=1")
_MASKS = (*_SHORT, "batch=2", "hidden=8", "layers=1")
_BY_TASK = {
    "asv": (
        *("steps=8", "eval_every=2", "accumulate=1", "batch=4", "projector=32", "crop_seconds=1.0"),
        *("dev_speakers=2", "dev_trials=40"),
    ),
    "sd": (*_SHORT, "batch=2", "hidden=8"),
    "ss": _MASKS,
    "se": _MASKS,
}
NUMBERS = tuple(f"{task}.{change}" for task, changes in _BY_TASK.items() for change in changes)


def speaker_corpora(mini_data: Path, data: Path) -> Path:
    """A new data folder with copies of them all."""
    for corpus in ("Libri2Mix", "VoiceBank-DEMAND"):
        shutil.copytree(mini_data / corpus, data / corpus)
    _voxceleb1(mini_data / "VoxCeleb1", data / "VoxCeleb1")
    return data


def _voxceleb1(source: Path, root: Path) -> None:
    """Two videos of each speaker, and the trials that are left."""
    for part in ("dev/wav", "test/wav"):
        for speaker in sorted((source / part).iterdir()):
            for video in sorted(speaker.iterdir())[:_VIDEOS]:
                shutil.copytree(video, root / part / speaker.name / video.name)
    lines = (source / TRIALS).read_text().splitlines(keepends=True)
    kept = [line for line in lines if all((root / "test/wav" / file).is_file() for file in line.split()[1:])]
    (root / TRIALS).write_text("".join(kept))
    shutil.copy(source / "MINI.json", root)


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Gives a file other samples, made from those it has; in floating point, so that NaN can be written."""
    wave, rate = soundfile.read(path, dtype="float32")
    soundfile.write(path, change(wave).astype(np.float32), rate, subtype="FLOAT")
    return path
