"""Random weights: the control that every pretrained model should beat, drawn as at the start of pretraining."""

import math
from hashlib import blake2b

import torch
from torch import Tensor

from upstream.encoder.model import Encoder
from upstream.encoder.shape import EncoderShape

_STD = 0.02  # of every matrix in the transformer, as in BERT


def untrained(shape: EncoderShape, seed: int) -> dict[str, Tensor]:
    """Every tensor of an encoder of this shape. Each depends on the seed and on its own name, and on nothing else."""
    with torch.device("meta"):
        wanted = Encoder(shape).state_dict()
    return {name: _drawn(name, tensor.shape, shape, _generator(name, seed)) for name, tensor in wanted.items()}


def _generator(name: str, seed: int) -> torch.Generator:
    digest = blake2b(f"{seed} {name}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))


def _drawn(name: str, size: torch.Size, shape: EncoderShape, generator: torch.Generator) -> Tensor:
    kind, of_norm = name.rpartition(".")[2], "norm" in name
    if kind == "gate_scale" or (kind == "weight" and of_norm):
        return torch.ones(size)
    convolution = name.startswith("convolutions.")
    if kind == "bias" and (of_norm or (not convolution and not name.startswith("project."))):
        return torch.zeros(size)
    if convolution or name.startswith("project."):
        fan_in = shape.conv_channels
        if convolution:
            index = int(name.split(".")[1])
            fan_in = shape.conv_kernels[index] * (shape.conv_channels if index else 1)
        if convolution and kind == "weight":  # He
            return torch.randn(size, generator=generator) * math.sqrt(2 / fan_in)
        return (torch.rand(size, generator=generator) * 2 - 1) / math.sqrt(fan_in)
    std = 2 / math.sqrt(shape.position_kernel * shape.dim) if name.startswith("positions.") else _STD
    return torch.randn(size, generator=generator) * std
