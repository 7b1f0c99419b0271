"""The one place that opens audio: whatever the file, 16 kHz mono float32 in [-1, 1], or an error that names it."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from upstream.errors import DataError, MissingError
from upstream.frames import SAMPLE_RATE

_UNKNOWN_WAV_SIZE = (0, 0xFFFFFFFF)  # what a program writes that streams a WAV and never seeks back


@dataclass
class AudioNotes:
    """What had to be done to files so that they became 16 kHz mono. Counted, never silent."""

    files: int = 0
    resampled: int = 0
    mixed_down: int = 0

    def __iadd__(self, other: "AudioNotes") -> "AudioNotes":
        self.files += other.files
        self.resampled += other.resampled
        self.mixed_down += other.mixed_down
        return self


def read_audio(
    path: Path, start: int = 0, stop: int | None = None, gain_db: float = 0.0, notes: AudioNotes | None = None
) -> np.ndarray:
    """Samples `start` to `stop` (at 16 kHz) of a file. Stereo is averaged, another rate resampled, both noted."""
    import soundfile

    if not path.exists():
        raise MissingError(f"audio file not found: {path}")
    _refuse_truncated_wav(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            native = rate == SAMPLE_RATE
            if native and start:
                file.seek(start)
            wanted = stop - start if native and stop is not None else -1
            wave = file.read(wanted, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise DataError(f"cannot read {path} as audio: {error}. Replace the file.") from error
    expected = (frames if stop is None else stop) - start if native else frames
    if len(wave) != expected:
        raise DataError(f"{path} is truncated: {len(wave)} of {expected} samples could be read. Copy the file again.")
    wave = wave.mean(axis=1) if channels > 1 else wave[:, 0]
    if not native:
        import soxr

        wave = soxr.resample(wave, rate, SAMPLE_RATE, quality="HQ")[start:stop]
    if not len(wave):
        raise DataError(f"{path} holds no samples. Replace the file or remove it from its list.")
    if not np.isfinite(wave).all():
        bad = int((~np.isfinite(wave)).sum())
        raise DataError(f"{path} holds {bad} NaN or infinite samples of {len(wave)}. Replace the file.")
    if notes is not None:
        notes += AudioNotes(1, int(not native), int(channels > 1))
    if gain_db:
        wave = wave * np.float32(10 ** (gain_db / 20))
    return np.ascontiguousarray(wave, dtype=np.float32)


def audio_seconds(path: Path) -> float:
    """How long a file is, from its header."""
    import soundfile

    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise DataError(f"cannot read {path} as audio: {error}") from error
    return info.frames / info.samplerate


def _refuse_truncated_wav(path: Path) -> None:
    """libsndfile reads a cut WAV as a shorter one without a word; its header still knows how long it was."""
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty (0 bytes). Copy the file again.")
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            name, length = chunk[:4], struct.unpack("<I", chunk[4:])[0]
            if name == b"data":
                left = size - file.tell()
                if length not in _UNKNOWN_WAV_SIZE and left < length:
                    raise DataError(
                        f"{path} is truncated: its header promises {length} bytes of audio, {left} are there. "
                        "Copy the file again."
                    )
                return
            file.seek(length + length % 2, 1)
