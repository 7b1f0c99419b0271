"""Spectra of mixtures, and waves from masked spectra: with the very conventions of the published separation results.

Those were made with librosa 0.8, which reflects a wave at its ends. Since 0.9 librosa pads with zeros there, which
gives other numbers in the first and last frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from upstream.errors import DataError, UsageError

WINDOW = 512  # samples, and the size of the Fourier transform
BINS = WINDOW // 2 + 1
_HALF = WINDOW // 2
_CLICK_WITHIN, _SILENT_BEFORE_END = 512, 2048  # samples


@dataclass
class Mixture:
    """A mixture and what is mixed in it: waves (samples,), and what a head learns from."""

    wave: Tensor
    sources: list[Tensor]
    spectrum: Tensor  # (frames, bins), complex
    wanted: Tensor  # (sources, frames, bins), see `opened`


def opened(wave: Tensor, sources: Sequence[Tensor], hop: int) -> Mixture:
    """What the masked mixture is to equal in each source: as much of it as has the phase of the mixture, or nothing.

    A mask changes loudness alone. Where a source has another phase, less of it comes nearer to it than all of it.
    """
    for number, source in enumerate(sources, start=1):
        if len(source) != len(wave):
            raise DataError(
                f"source {number} has {len(source)} samples and its mixture {len(wave)}. They belong together sample "
                "by sample: make them again."
            )
    spectrum = stft(wave, hop)
    wanted = torch.zeros(len(sources), *spectrum.shape)
    for row, source in zip(wanted, sources, strict=True):
        own = stft(source, hop)
        row.copy_(own.abs() * torch.cos(spectrum.angle() - own.angle()).clamp(min=0))
    return Mixture(wave, list(sources), spectrum, wanted)


@torch.no_grad()
def separated(masks: Tensor, mixture: Mixture, hop: int) -> np.ndarray:
    """(sources, samples) from the masks (time, sources, bins) of one utterance, with the phase of the mixture."""
    spectra = masks.cpu().transpose(0, 1) * mixture.spectrum
    return np.stack([without_click(istft(one, hop, len(mixture.wave)).numpy()) for one in spectra])


def stft(wave: Tensor, hop: int) -> Tensor:
    """(samples,) to complex (frames, bins): one frame centred at every multiple of `hop`, through a Hann window."""
    _check_hop(hop)
    if len(wave) == 0:
        raise DataError("a wave of no samples has no spectrum. Remove the file or replace it.")
    padded = wave.double()[_reflected(len(wave))]
    spectrum = torch.stft(padded, WINDOW, hop, window=_window(), center=False, return_complex=True)
    return spectrum.T.to(torch.complex64).contiguous()


def istft(spectrum: Tensor, hop: int, samples: int) -> Tensor:
    """The wave of so many samples, zero where it is longer than the frames reach.

    Where frames overlap, their sum is divided by that of their squared windows. That is close to zero at the end of the
    last frame: in single precision the last samples would be mostly rounding errors.
    """
    _check_hop(hop)
    reached = min(samples, hop * (len(spectrum) - 1) + _HALF)
    wave = torch.istft(spectrum.T.to(torch.complex128), WINDOW, hop, window=_window(), length=reached)
    return functional.pad(wave, (0, samples - reached)).float()


def without_click(wave: np.ndarray) -> np.ndarray:
    """SUPERB's last step: a wave that is louder in its last 512 samples than ever before is zero from there on.

    With a hop of 320 the last frame may end long before the next would have begun. What a mask leaves there is divided
    by almost zero (see `istft`). Waves that are silent for long at the end, or all along, or too short stay as they
    are.
    """
    heard = np.flatnonzero(wave)
    end = int(heard[-1]) + 1 if len(heard) else 0
    first = end - _CLICK_WITHIN
    if first <= 0 or end < len(wave) - _SILENT_BEFORE_END:
        return wave
    loud = np.flatnonzero(np.abs(wave[first:end]) > np.abs(wave[:first]).max())
    if len(loud) == 0:
        return wave
    cut = wave.copy()
    cut[first + loud[0] :] = 0
    return cut


def _window() -> Tensor:
    return torch.hann_window(WINDOW, dtype=torch.float64)


def _reflected(samples: int) -> Tensor:
    """Which sample stands at each place of the padded wave. Torch's own padding refuses waves of half a window."""
    period = max(2 * (samples - 1), 1)
    place = torch.arange(-_HALF, samples + _HALF) % period
    return torch.minimum(place, period - place) if samples > 1 else place


def _check_hop(hop: int) -> None:
    if not 0 < hop < WINDOW:
        raise UsageError(
            f"this upstream has a frame every {hop} samples; waves are put together from windows of {WINDOW} samples, "
            "which have to overlap. Choose an upstream with a smaller hop."
        )
