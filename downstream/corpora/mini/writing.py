"""16-bit samples at 16 kHz, and the files they are written to: WAV, FLAC or MP3 by the suffix of the path."""

import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from upstream.audio import SAMPLE_RATE
from upstream.mp3 import frame_at

MP3_RATE = 32000  # that of most clips of Common Voice
_MP3_LEVEL = 0.88  # of 0 to 1, what libsndfile makes 64 kbit/s of

_ID3 = b"ID3\4\0\0\0\0\0\x23" + b"TSSE\0\0\0\x0f\0\0\3Lavf58.45.100\0" + bytes(10)  # names the encoder, then padding
_LOUDEST = 0.97


def to_int16(samples: np.ndarray) -> np.ndarray:
    """16-bit samples; a wave that would clip is turned down as a whole."""
    loudest = np.abs(samples).max()
    if loudest > _LOUDEST:
        samples = samples * (_LOUDEST / loudest)
    return np.round(samples * 32767).astype("<i2")


def write_audio(path: Path, samples: np.ndarray, rate: int | None = None) -> None:
    """Write int16 samples at 16 kHz, resampled to `rate`: if it is not given, an MP3 to `MP3_RATE`, others not."""
    rate = rate or (MP3_RATE if path.suffix == ".mp3" else SAMPLE_RATE)
    encoded = _ENCODERS[path.suffix](_resampled(samples, rate), rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded)  # not by libsndfile, whose errors do not say what the disk refused


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    if rate == SAMPLE_RATE:
        return samples
    return to_int16(soxr.resample(samples.astype(np.float32) / 32768, SAMPLE_RATE, rate))


def _wav(samples: np.ndarray, rate: int) -> bytes:
    content = BytesIO()
    with wave.open(content, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(samples.tobytes())
    return content.getvalue()


def _flac(samples: np.ndarray, rate: int) -> bytes:
    content = BytesIO()
    soundfile.write(content, samples, rate, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def _mp3(samples: np.ndarray, rate: int) -> bytes:
    """As Common Voice has them, encoded into a pipe: a tag in front, and no first frame that says how long it is."""
    content = BytesIO()
    soundfile.write(content, samples, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=_MP3_LEVEL)
    encoded = content.getvalue()
    return _ID3 + encoded[frame_at(encoded, 0).length :]


_ENCODERS = {".wav": _wav, ".flac": _flac, ".mp3": _mp3}
