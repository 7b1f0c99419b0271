"""Silence removal as SUPERB's ASV has it, by the rules of SoX's `silence 1 0.1 0.1% -1 0.1 0.1%`.

What SoX does depends on details: the loudness is that of the 20 ms up to a sample, that window starts anew after each
silence, and a sum that lost its last digits to loud speech stays as it is. They are kept, so that the same samples
remain as in SoX. SoX itself is not needed.
"""

from collections.abc import Iterator

import numpy as np

from upstream.audio import SAMPLE_RATE

_WINDOW = SAMPLE_RATE // 50  # samples whose mean power is the loudness
_LASTING = SAMPLE_RATE // 10  # samples in a row that have to be loud for sound to begin, or quiet for it to end
_FULL_SCALE = 2.0**31  # SoX computes with 32-bit integers
# A root mean square is rounded down and has to be above 0.1 % of the largest sample: at least the next whole number.
_LOUD_SUM = _WINDOW * ((_FULL_SCALE - 1) // 1000 + 1) ** 2
_PIECE = SAMPLE_RATE // 2  # samples looked at together: what was computed beyond the end of a sound is thrown away


def trimmed(wave: np.ndarray) -> np.ndarray:
    """What is left of a wave, mono at 16 kHz, after the gain of -3 dB: possibly nothing.

    A wave that was multiplied by the gain in float64 may come as such: it then holds SoX's own integers, of which
    float32 has lost the last digits. They can matter where the loudness is at the threshold.
    """
    kept, start = [wave[:0]], 0
    while start < len(wave):
        begin, end, start = _next_sound(wave, start)
        kept.append(wave[begin:end])
    return np.concatenate(kept).astype(np.float32, copy=False)


def _next_sound(wave: np.ndarray, start: int) -> tuple[int, int, int]:
    """From where to where the first sound after `start` goes, and where to look for the next.

    Sound that the file ends in too early to be believed is dropped, silence likewise is kept.
    """
    begin, run = None, 0
    for at, loud in _loud(wave, start):
        if begin is None:
            done, run = _lasted(~loud, run)
            if done is None:
                continue
            at, loud, run = at + done, loud[done:], 0
            begin = at - _LASTING
        done, run = _lasted(loud, run)
        if done is not None:
            return begin, at + done - _LASTING, at + done
    return len(wave) if begin is None else begin, len(wave), len(wave)


def _loud(wave: np.ndarray, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """Piece by piece its position, and for each sample whether the window up to it is loud; zeros precede `start`.

    The sum over the window is carried along: less the square that leaves, plus the one that enters. Sums of large
    squares are rounded, so the order is SoX's. A cumulative sum of both in turn goes in that order.
    """
    total, before = 0.0, np.zeros(_WINDOW)
    for at in range(start, len(wave), _PIECE):
        piece = wave[at : at + _PIECE]
        squares = np.concatenate([before, _squares(piece)])
        steps = np.empty(2 * len(piece) + 1)
        steps[0] = total
        np.negative(squares[: len(piece)], out=steps[1::2])
        steps[2::2] = squares[_WINDOW:]
        totals = np.cumsum(steps, out=steps)[2::2]
        yield at, totals >= _LOUD_SUM
        total, before = totals[-1], squares[-_WINDOW:]


def _squares(piece: np.ndarray) -> np.ndarray:
    """Of the samples as SoX has them: whole numbers."""
    values = np.multiply(piece, _FULL_SCALE, dtype=np.float64)
    np.rint(values, out=values)
    return np.square(values, out=values)


def _lasted(broken: np.ndarray, run: int) -> tuple[int | None, int]:
    """After how many samples there have been _LASTING unbroken ones in a row, if so, and how many there are at the end.

    `run` unbroken ones are known to have come before.
    """
    edges = np.concatenate([[-1 - run], np.flatnonzero(broken), [len(broken)]])
    runs = np.diff(edges) - 1
    long = np.flatnonzero(runs >= _LASTING)
    if len(long):
        return int(edges[long[0]]) + 1 + _LASTING, 0
    return None, int(runs[-1])
