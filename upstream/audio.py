"""The one place that opens audio: whatever the file, 16 kHz mono float32 in [-1, 1], or an error that names it."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from upstream.errors import DataError, MissingError
from upstream.mp3 import mp3_samples

if TYPE_CHECKING:
    from soundfile import SoundFile

SAMPLE_RATE = 16000

_STREAMED_WAV_BYTES = 0x7FFFF000  # sox, ffmpeg and others promise this many or more when they cannot seek back
_UNKNOWN_FRAMES = 2**48  # libsndfile gives a count near 2**63 for a FLAC that was streamed


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


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What a file says of itself."""

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate

    @property
    def samples(self) -> int:
        """How many samples there are at 16 kHz; `read_audio` gives this many or one more."""
        return self.frames * SAMPLE_RATE // self.rate


def read_audio(
    path: Path, start: int = 0, stop: int | None = None, gain_db: float = 0.0, notes: AudioNotes | None = None
) -> np.ndarray:
    """Samples `start` to `stop` (at 16 kHz) of a file. Stereo is averaged, another rate resampled, both noted.

    A part of a 16 kHz file is read alone. Of another rate, and of an MP3, the whole file is decoded first: a part is
    the same numbers as in the whole.
    """
    with _opened(path) as file:
        rate, channels, wanted = file.samplerate, file.channels, _frames(path, file)
        native = rate == SAMPLE_RATE
        alone = native and not _is_mp3(file)  # libmpg123 complains on stderr when it has to seek
        if alone:
            _refuse_part_outside(path, start, stop, wanted)
            file.seek(start)
            wanted = (wanted if stop is None else stop) - start
        wave = file.read(wanted, dtype="float32", always_2d=True)
    if len(wave) != wanted:
        raise DataError(f"{path} is truncated: {len(wave)} of {wanted} samples could be read. Copy the file again.")
    if not np.isfinite(wave).all():
        bad = int((~np.isfinite(wave)).any(axis=1).sum())
        raise DataError(f"{path} holds {bad} NaN or infinite samples of {len(wave)}. Replace the file.")
    wave = wave.mean(axis=1) if channels > 1 else wave[:, 0]
    if not native:
        import soxr

        wave = soxr.resample(wave, rate, SAMPLE_RATE, quality="HQ")
    if not alone:
        _refuse_part_outside(path, start, stop, len(wave))
        wave = wave[start:stop]
    if notes is not None:
        notes += AudioNotes(1, int(not native), int(channels > 1))
    if gain_db:
        wave = wave * np.float32(10 ** (gain_db / 20))
    return np.ascontiguousarray(wave, dtype=np.float32)


def read_header(path: Path) -> AudioHeader:
    """Rate, channels and length without decoding; refuses what `read_audio` would refuse, as far as that shows."""
    with _opened(path) as file:
        frames = _frames(path, file)
        if file.format != "WAV" and not _is_mp3(file):  # a FLAC is as long as it says, but is its last sample there?
            file.seek(frames - 1)
            if len(file.read(1)) != 1:
                raise DataError(f"{path} is truncated: its last sample cannot be read. Copy the file again.")
        return AudioHeader(file.samplerate, file.channels, frames)


@contextmanager
def _opened(path: Path) -> "Iterator[SoundFile]":
    """An open file with samples in it; whatever goes wrong in the block with the file itself is a DataError."""
    import soundfile

    if not path.is_file():
        found = "is a folder" if path.is_dir() else "is missing"
        raise MissingError(f"audio file {path} {found}. What else is: python -m benchmark data check --data DIR")
    try:
        _refuse_cut_wav(path)
        with soundfile.SoundFile(path) as file:
            if file.frames == 0:
                raise DataError(f"{path} holds no samples, says its header. Replace the file or take it off its list.")
            if file.frames > _UNKNOWN_FRAMES:
                raise DataError(f"{path} does not say how long it is. Write it again with a program that can seek.")
            yield file
    except (soundfile.SoundFileError, RuntimeError) as error:
        reason = str(error).rstrip(". ")
        raise DataError(f"{path} is no audio, broken or cut short ({reason}). Replace the file.") from error
    except OSError as error:
        raise DataError(f"cannot open {path}: {error.strerror or error}. Check permissions and the disk.") from error


def _frames(path: Path, file: "SoundFile") -> int:
    """How many samples per channel there are."""
    return mp3_samples(path, file.frames) if _is_mp3(file) else file.frames


def _is_mp3(file: "SoundFile") -> bool:
    return file.subtype == "MPEG_LAYER_III"


def _refuse_part_outside(path: Path, start: int, stop: int | None, samples: int) -> None:
    if not 0 <= start < (samples if stop is None else stop) <= samples:
        wanted = f"{start} to {'the end' if stop is None else stop}"
        raise DataError(f"{path} has {samples} samples at {SAMPLE_RATE} Hz, asked for {wanted}. Replace the file.")


def _refuse_cut_wav(path: Path) -> None:
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
                if left < length < _STREAMED_WAV_BYTES:
                    raise DataError(
                        f"{path} is truncated: its header promises {length} bytes of audio, {left} are there. "
                        "Copy the file again."
                    )
                return
            file.seek(length + length % 2, 1)
