"""16 kHz mono 16-bit WAV files."""

import wave
from pathlib import Path

import numpy as np

from upstream.audio import SAMPLE_RATE

_LOUDEST = 0.97


def to_int16(samples: np.ndarray) -> np.ndarray:
    """16-bit samples; a wave that would clip is turned down as a whole."""
    loudest = np.abs(samples).max()
    if loudest > _LOUDEST:
        samples = samples * (_LOUDEST / loudest)
    return np.round(samples * 32767).astype("<i2")


def write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, wave.open(file) as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(samples.tobytes())
