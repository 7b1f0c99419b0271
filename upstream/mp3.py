"""How long an MP3 is, counted frame by frame: many do not say, and libsndfile then guesses from their size."""

from dataclasses import dataclass
from pathlib import Path

from upstream.errors import DataError

_KBITS_MPEG_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_MPEG_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44100, 48000, 32000)
_RATE_DIVISORS = {0b11: 1, 0b10: 2, 0b00: 4}  # of MPEG 1, 2 and 2.5
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")  # how tags behind the last frame begin


@dataclass(frozen=True, slots=True)
class Frame:
    """What the header of a frame says of it."""

    rate: int
    mono: bool
    length: int  # in bytes, with its header of four
    samples: int  # of each channel
    tag: int  # where in the first frame a Xing tag lies


def mp3_samples(path: Path, offered: int) -> int:
    """The samples per channel of a layer III file of which libsndfile offers so many; an error if not all can be read.

    With a Xing tag libsndfile is right, and leaves out what the encoder padded. An encoder that writes into a pipe
    cannot go back to write the tag: then libsndfile offers some samples too many or, at a variable bit rate, far too
    few.
    """
    data = path.read_bytes()
    at = _after_leading_tags(data)
    promised = 0
    first = frame_at(data, at)
    if first is not None and data[at + first.tag : at + first.tag + 4] in (b"Xing", b"Info"):
        promised = first.samples * _frames_in_tag(data[at + first.tag : at + first.length])
        at += first.length  # this one holds no sound
    found = _count(path, data, at)
    if found < promised:
        raise DataError(f"{path} is truncated: {found} of {promised} samples are there. Copy the file again.")
    if promised and found > promised:
        raise DataError(
            f"{path} holds {found} samples, its own tag says {promised}. Is it several files in one? Encode it again."
        )
    if not promised and found > offered:
        raise DataError(
            f"{path} does not say how long it is, and only {offered} of its {found} samples would be read. "
            "Encode it again with a program that can seek (not into a pipe), or convert it to WAV or FLAC."
        )
    return offered if promised else found


def frame_at(data: bytes, at: int) -> Frame | None:
    """The layer III frame whose header stands there; None where there is none, or one that hides its length."""
    header = data[at : at + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0b11100110 != 0b11100010:
        return None
    divisor = _RATE_DIVISORS.get(header[1] >> 3 & 3)
    kbits, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if divisor is None or kbits in (0, 15) or rate == 3:
        return None
    hertz, mono = _RATES[rate] // divisor, header[3] >> 6 == 3
    if divisor == 1:
        return Frame(hertz, mono, 144_000 * _KBITS_MPEG_1[kbits] // hertz + padding, 1152, 21 if mono else 36)
    return Frame(hertz, mono, 72_000 * _KBITS_MPEG_2[kbits] // hertz + padding, 576, 13 if mono else 21)


def _after_leading_tags(data: bytes) -> int:
    """Where the ID3v2 tags end, and the zeros after them."""
    at = 0
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        a, b, c, d = data[at + 6 : at + 10]  # seven bits each
        has_footer = data[at + 5] >> 4 & 1
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + 10 * has_footer
    return max(at, len(data) - len(data[at:].lstrip(b"\0")))


def _frames_in_tag(tag: bytes) -> int:
    """0 where the tag does not tell."""
    return int.from_bytes(tag[8:12], "big") if tag[7] & 1 else 0


def _count(path: Path, data: bytes, at: int) -> int:
    """The samples in all frames from there on. Anything that is no frame is an error, but for tags at the end."""
    samples = 0
    first = frame = frame_at(data, at)
    while frame is not None and (frame.rate, frame.mono) == (first.rate, first.mono):
        if at + frame.length > len(data):
            left = len(data) - at
            raise DataError(
                f"{path} is truncated: {left} of the {frame.length} bytes of its last frame are there. "
                "Copy the file again."
            )
        samples += frame.samples
        at += frame.length
        frame = frame_at(data, at)
    rest = data[at:]
    if 0 < len(rest) < 4 and rest[0] == 0xFF:
        raise DataError(f"{path} is truncated: it ends in the header of a frame. Copy the file again.")
    if rest.strip(b"\0") and not rest.startswith(_TRAILERS):
        raise DataError(f"{path} is broken at byte {at} of {len(data)}: no MP3 frame begins there. Replace the file.")
    return samples
