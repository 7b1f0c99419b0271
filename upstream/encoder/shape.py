"""What differs between the members of the family: a few numbers and switches. Nothing here imports torch."""

from dataclasses import dataclass, fields
from functools import cache, cached_property
from math import prod
from pathlib import Path

import yaml

from upstream.errors import UsageError, unknown


class OutsideFamily(Exception):
    """A model whose structure the encoder does not have; the message says which part."""


@dataclass(frozen=True)
class EncoderShape:
    """The structure of one encoder. `layers` counts transformer layers; hidden states are one more."""

    dim: int
    layers: int
    heads: int
    ffn: int
    conv_norm: str  # "group": one GroupNorm after the first convolution; "layer": a LayerNorm after each
    conv_bias: bool = False
    pre_norm: bool = False  # LayerNorm before attention and feed-forward, and once more at the end, not after them
    normalize: bool = False  # the waveform is brought to zero mean and unit variance first
    conv_channels: int = 512
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_padding: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)
    project_norm: bool = True
    position_kernel: int = 128
    position_groups: int = 16
    position_depth: int = (
        1  # more than one: thinner convolutions on top of each other, each with a LayerNorm (data2vec)
    )
    relative_buckets: int = 0  # WavLM's gated relative position bias; 0: none
    relative_distance: int = 0
    tanh_gelu: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        self._check()

    def _check(self) -> None:
        if self.conv_norm not in ("group", "layer"):
            raise UsageError(f"conv_norm is {self.conv_norm!r}; it must be 'group' or 'layer'. Correct the shape.")
        if not len(self.conv_kernels) == len(self.conv_strides) == len(self.conv_padding) >= 1:
            raise UsageError(
                f"{len(self.conv_kernels)} conv_kernels, {len(self.conv_strides)} conv_strides and "
                f"{len(self.conv_padding)} conv_padding; there must be as many of each. Correct the shape."
            )
        numbers = (self.dim, self.layers, self.heads, self.ffn, self.conv_channels, self.position_kernel)
        if any(not isinstance(n, int) or n < 1 for n in numbers) or min(self.conv_kernels + self.conv_strides) < 1:
            raise UsageError(f"a size is no whole number from 1 up: {self}. Correct the shape.")
        for name, parts in (("heads", self.heads), ("position_groups", self.position_groups)):
            if parts < 1 or self.dim % parts:
                raise UsageError(f"dim {self.dim} cannot be divided into {parts} {name}. Correct the shape.")
        if self.relative_buckets % 4 or (
            self.relative_buckets and self.relative_distance <= self.relative_buckets // 4
        ):
            raise UsageError(
                f"relative_buckets {self.relative_buckets} with relative_distance {self.relative_distance}: buckets "
                "must be a multiple of four and a quarter of them less than the distance. Correct the shape."
            )

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return prod(self.conv_strides)

    @cached_property
    def receptive_field(self) -> int:
        """Samples that one frame is computed from."""
        field = 1
        for kernel, stride in zip(reversed(self.conv_kernels), reversed(self.conv_strides), strict=True):
            field = (field - 1) * stride + kernel
        return field

    @cached_property
    def min_samples(self) -> int:
        """The fewest samples that make a frame."""
        return next(n for n in range(1, self.receptive_field + 1) if self.frames(n) > 0)

    def conv_frames(self, samples: int) -> list[int]:
        """Frames after each convolution."""
        counts = []
        for kernel, stride, padding in zip(self.conv_kernels, self.conv_strides, self.conv_padding, strict=True):
            samples = max(0, (samples + 2 * padding - kernel) // stride + 1)
            counts.append(samples)
        return counts

    def frames(self, samples: int) -> int:
        return self.conv_frames(samples)[-1]

    def macs(self, samples: int) -> int:
        """Multiply-accumulates of one utterance: every matrix product and convolution, as they are defined."""
        counts, frames = self.conv_frames(samples), self.frames(samples)
        channels = (1, *[self.conv_channels] * (len(counts) - 1))
        total = sum(n * c * self.conv_channels * k for n, c, k in zip(counts, channels, self.conv_kernels, strict=True))
        total += frames * self.conv_channels * self.dim
        # An even kernel makes one frame too many, which is computed and dropped.
        positions = frames + (1 - self.position_kernel % 2)
        total += self.position_depth * positions * self.dim * (self.dim // self.position_groups) * self.position_kernel
        layer = frames * (4 * self.dim * self.dim + 2 * self.dim * self.ffn) + 2 * frames * frames * self.dim
        if self.relative_buckets:
            layer += frames * self.dim * 8
        return total + self.layers * layer


@cache
def _shapes() -> dict[str, dict]:
    return yaml.safe_load(Path(__file__).with_name("shapes.yaml").read_text(encoding="utf-8"))


def names() -> list[str]:
    return list(_shapes())


def named(name: str) -> EncoderShape:
    """A shape of shapes.yaml."""
    if name not in _shapes():
        raise unknown("shape", name, names(), "Or give a config file: random:path/to/config.json")
    return EncoderShape(**_shapes()[name])
