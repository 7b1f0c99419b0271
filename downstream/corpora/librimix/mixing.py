"""The arithmetic of Libri2Mix. It is that of the published corpus to the last bit, so that files made here are equal.

That is why sums stay in float32 and in this order, and why libsndfile, which rounds down, makes the 16-bit samples.
"""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import soundfile

from upstream.audio import SAMPLE_RATE

MODES = ("min", "max")  # a mixture ends with the shorter of its sources, or with the longer
SOURCES = ("s1", "s2")
NOISY = ("noise", "mix_both")  # the folders that need noise
FOLDERS = ("mix_clean", *SOURCES, *NOISY)

_HEADER_BYTES = 44
_FADE = np.hanning(SAMPLE_RATE + 1)  # half a second up, half a second down
_UP, _DOWN = _FADE[: SAMPLE_RATE // 2 + 1], _FADE[SAMPLE_RATE // 2 :]
SHORTEST_NOISE = len(_UP) + 1  # what is any shorter does not grow when it is repeated


def mix(
    sources: Sequence[np.ndarray],
    gains: Sequence[float],
    mode: str,
    noise: np.ndarray | None = None,
    noise_gain: float = 1.0,
) -> dict[str, np.ndarray]:
    """The waves of one mixture by folder: both sources, their sum, and with noise the noise and the sum of all.

    Both sources begin with the mixture. Noise that is shorter than the longest source is repeated.
    """
    lengths = [len(source) for source in sources]
    samples = mixed_length(lengths, mode)
    first, second = (_fitted(source * gain, samples) for source, gain in zip(sources, gains, strict=True))
    waves = {"s1": first, "s2": second, "mix_clean": first + second}
    if noise is not None:
        waves["noise"] = _fitted(extended(noise, max(lengths)) * noise_gain, samples)
        # Repeated noise is float64. It is added before it is rounded, and what comes out is float32 all the same.
        waves["mix_both"] = (waves["mix_clean"] + waves["noise"]).astype(first.dtype)
    return waves


def mixed_length(lengths: Sequence[int], mode: str) -> int:
    """How many samples the mixture of sources of these lengths has."""
    return min(lengths) if mode == "min" else max(lengths)


def extended(noise: np.ndarray, samples: int) -> np.ndarray:
    """Noise of so many samples: cut, or repeated with half a second of the end faded into the beginning."""
    longer = noise
    while len(longer) < samples:
        seam = longer[-len(_DOWN) :] * _DOWN + noise[: len(_UP)] * _UP
        longer = np.concatenate((longer[: -len(_DOWN)], seam, noise[len(_UP) :]))
    return longer[:samples]


def pcm16(wave: np.ndarray) -> np.ndarray:
    """16-bit samples of a wave in [-1, 1]; what lies outside is clipped."""
    content = BytesIO()
    soundfile.write(content, wave, SAMPLE_RATE, format="RAW", subtype="PCM_16", endian="LITTLE")
    return np.frombuffer(content.getvalue(), dtype="<i2")


def wav_file(wave: np.ndarray) -> bytes:
    """The bytes of a 16-bit WAV file of a wave in [-1, 1]."""
    content = BytesIO()
    soundfile.write(content, wave, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return content.getvalue()


def wav_bytes(samples: int) -> int:
    """The size of such a file."""
    return _HEADER_BYTES + 2 * samples


def _fitted(wave: np.ndarray, samples: int) -> np.ndarray:
    """Cut, or with silence at its end."""
    return np.pad(wave[:samples], (0, max(0, samples - len(wave))))
