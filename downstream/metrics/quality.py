"""STOI and PESQ of one wave against its reference, each the number that the library SUPERB uses gives for it.

STOI is pystoi's, not extended, between 0 and 1. PESQ is that of the package pesq: wide band, 16 kHz, a mean opinion
score between about 1 and 4.64. Both libraries are extras: `pip install 'sslbench[quality]'`. Many pairs are measured by
`quality_workers`, in processes of their own: both libraries keep Python's lock, and pesq crashes on waves with more
than about 50 stretches of speech.
"""

import warnings
from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np

from upstream.audio import SAMPLE_RATE
from upstream.errors import DataError, MissingError

MEASURES = {"stoi": "pystoi", "pesq": "pesq"}  # and the package each needs

_SHORTEST_STOI = (256 + 29 * 128) * 16 // 10  # samples that hold the 30 frames of 25.6 ms which STOI compares
_SILENT_PESQ = 1.0  # the bottom of the scale of mean opinion scores


def available() -> dict[str, str | None]:
    """Of each measure None, or what is missing and what to type."""
    return {
        measure: None if find_spec(package) else f"{package} is not installed. Type: pip install 'sslbench[quality]'"
        for measure, package in MEASURES.items()
    }


def require(measures: Iterable[str]) -> None:
    """Refuse measures whose library is missing."""
    for measure, trouble in available().items():
        if measure in measures and trouble:
            raise MissingError(f"{measure.upper()} cannot be measured: {trouble}")


def stoi(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    """None where the reference is silent, or without the 0.4 s of sound that STOI compares."""
    require(["stoi"])
    from pystoi import stoi as pystoi

    reference, estimate = checked(reference, estimate)
    if not reference.any() or len(reference) <= _SHORTEST_STOI:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return float(pystoi(reference, estimate, SAMPLE_RATE))
        except RuntimeWarning:  # the library's number would be 1e-5, and mean nothing
            return None


def pesq(reference: np.ndarray, estimate: np.ndarray) -> float | None:
    """None where the reference holds no utterance that PESQ finds, or less than a quarter of a second.

    For a silent estimate the library has no number; it gets 1, the worst: left out, it would be better to stay silent
    than to enhance badly.
    """
    require(["pesq"])
    from pesq import BufferTooShortError, NoUtterancesError
    from pesq import pesq as library_pesq

    reference, estimate = checked(reference, estimate)
    if not reference.any():
        return None
    silent = not estimate.any()
    try:  # whether there is an utterance depends on the reference alone
        value = library_pesq(SAMPLE_RATE, reference, reference if silent else estimate, "wb")
    except (BufferTooShortError, NoUtterancesError):
        return None
    return _SILENT_PESQ if silent else float(value)


def clipped(estimate: np.ndarray) -> int:
    """How many samples are beyond full scale, -1 to 1."""
    return int(np.count_nonzero(np.abs(estimate) > 1))


def checked(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32, all audio's type here, once it is seen that they can be compared."""
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise DataError(
            f"the reference has the shape {reference.shape} and the estimate {estimate.shape}; both have to be "
            "(samples,), as many in one as in the other. Cut or pad them before they are compared."
        )
    for name, wave in (("reference", reference), ("estimate", estimate)):
        if not np.isfinite(wave).all():
            raise DataError(f"the {name} holds NaN or infinite samples. Look at what made it.")
    return np.ascontiguousarray(reference, np.float32), np.ascontiguousarray(estimate, np.float32)
