"""Mean and standard deviation of every dimension over all frames of many utterances."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_LEAST_DEVIATION = 1e-9


@dataclass(frozen=True)
class Moments:
    """Of so many frames: the mean of each dimension, and its summed squared distances from that; (layers, dim) each."""

    frames: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values: Tensor, scales: Tensor) -> "Moments":
        """Of one utterance's (layers, frames, dim) values, to be multiplied by the scales of the layers."""
        exact = values.double()
        mean = exact.mean(dim=1)
        squares = (exact - mean[:, None]).square_().sum(dim=1)
        scales = scales.double()[:, None]
        return cls(values.shape[1], (mean * scales).cpu().numpy(), (squares * scales**2).cpu().numpy())

    def __add__(self, other: "Moments") -> "Moments":
        frames = self.frames + other.frames
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.frames / frames)
        squares = self.squares + other.squares + apart**2 * (self.frames * other.frames / frames)
        return Moments(frames, mean, squares)

    def scaling(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The mean and the (unbiased) standard deviation of each dimension, in single precision."""
        deviation = np.sqrt(self.squares / max(1, self.frames - 1)).clip(_LEAST_DEVIATION)
        mean, deviation = (torch.from_numpy(one).float().to(device) for one in (self.mean, deviation))
        return mean, deviation
