"""The architecture, written to be read: wav2vec 2.0 (section 2), HuBERT, and WavLM's gated relative position bias.

Waveform -> convolutions -> projection -> positional convolution -> transformer layers. The hidden states are what
enters each transformer layer, and what the last one leaves.

Batch invariance is by construction: whatever could see the padding of a shorter utterance (the GroupNorm over time,
every convolution that reads past its end, attention) is shown its valid frames and zeros, just as when it is alone.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from upstream.encoder.shape import EncoderShape
from upstream.frames import valid_mask

_MOST_SCORES = 1 << 26  # attention scores held at once where they must be materialised; longer ones go block by block


class Encoder(nn.Module):
    """Waveforms in, `layers + 1` hidden states out. Products run in the precision of `in_precision`."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.convolutions = nn.ModuleList(ConvBlock(shape, index) for index in range(len(shape.conv_kernels)))
        self.project_norm = nn.LayerNorm(shape.conv_channels) if shape.project_norm else None
        self.project = nn.Linear(shape.conv_channels, shape.dim)
        self.positions = nn.ModuleList(
            nn.Conv1d(
                shape.dim,
                shape.dim,
                shape.position_kernel,
                padding=shape.position_kernel // 2,
                groups=shape.position_groups,
            )
            for _ in range(shape.position_depth)
        )
        self.norm = nn.LayerNorm(shape.dim)
        self.relative_bias = nn.Embedding(shape.relative_buckets, shape.heads) if shape.relative_buckets else None
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def in_precision(self, dtype: torch.dtype) -> "Encoder":
        """Large products in this precision; the first convolution, norms, gates and the residual stay in float32."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv1d)):
                module.to(dtype)
        self.convolutions[0].conv.float()
        for layer in self.layers:
            if layer.attention.gate is not None:
                layer.attention.gate.float()
        return self

    def forward(self, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """(batch, frames, dim) hidden states, and the valid frames of each utterance."""
        if self.shape.normalize:
            wavs = [F.layer_norm(wav, wav.shape) for wav in wavs]
        counts = torch.tensor([self.shape.conv_frames(len(wav)) for wav in wavs], device=wavs[0].device)
        x = pad_sequence(wavs, batch_first=True)[:, None]
        for index, block in enumerate(self.convolutions):
            x = block(x, counts[:, index])
        x = x.transpose(1, 2)
        if self.project_norm is not None:
            x = self.project_norm(x.float())
        x = _linear(self.project, x)
        lengths = counts[:, -1]
        valid = valid_mask(lengths, x.shape[1])
        x = self._positioned(x.float(), valid[..., None])
        return self._transformed(x, None if valid.all() else valid), lengths

    def _positioned(self, x: Tensor, valid: Tensor) -> Tensor:
        x = y = x * valid
        for position in self.positions:
            y = position(y.transpose(1, 2).to(position.weight.dtype)).float()[..., : x.shape[1]].transpose(1, 2)
            if self.shape.position_depth > 1:
                y = F.layer_norm(y, y.shape[-1:])
            y = _gelu(y, self.shape) * valid
        return x + y

    def _transformed(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        if not self.shape.pre_norm:
            x = self.norm(x)
        bias = None if self.relative_bias is None else self.bias_by_distance(x.shape[1])
        states = [x]
        for layer in self.layers:
            x = layer(x, bias, valid)
            states.append(x)
        if self.shape.pre_norm:
            states[-1] = self.norm(x)
        return states

    def bias_by_distance(self, frames: int) -> Tensor:
        """(heads, 2 * frames - 1): the bias of a key at each distance from its query, the farthest before it first."""
        distances = torch.arange(1 - frames, frames, device=self.relative_bias.weight.device)
        buckets = _distance_bucket(distances, self.shape.relative_buckets, self.shape.relative_distance)
        return self.relative_bias(buckets).T.contiguous()


class ConvBlock(nn.Module):
    """Convolution, norm where the shape has one, GELU."""

    def __init__(self, shape: EncoderShape, index: int) -> None:
        super().__init__()
        self.shape = shape
        self.conv = nn.Conv1d(
            shape.conv_channels if index else 1,
            shape.conv_channels,
            shape.conv_kernels[index],
            shape.conv_strides[index],
            shape.conv_padding[index],
            bias=shape.conv_bias,
        )
        self.norm: nn.Module | None = None
        if shape.conv_norm == "layer":
            self.norm = nn.LayerNorm(shape.conv_channels)
        elif index == 0:
            self.norm = nn.GroupNorm(shape.conv_channels, shape.conv_channels)

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        x = self.conv(x.to(self.conv.weight.dtype))
        mask = valid_mask(counts, x.shape[-1])[:, None]
        if isinstance(self.norm, nn.GroupNorm):
            x = _normed_over_time(x, mask, self.norm)
        elif self.norm is not None:
            x = self.norm(x.transpose(1, 2).float()).transpose(1, 2)
        return _gelu(x, self.shape) * mask


class Layer(nn.Module):
    """Attention and feed-forward, each with a residual connection and a LayerNorm before or after it."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.attention = Attention(shape)
        self.attention_norm = nn.LayerNorm(shape.dim)
        self.up = nn.Linear(shape.dim, shape.ffn)
        self.down = nn.Linear(shape.ffn, shape.dim)
        self.output_norm = nn.LayerNorm(shape.dim)

    def forward(self, x: Tensor, bias: Tensor | None, valid: Tensor | None) -> Tensor:
        if self.shape.pre_norm:
            x = x + self.attention(self.attention_norm(x), bias, valid)
            return x + self._feed_forward(self.output_norm(x))
        x = self.attention_norm(x + self.attention(x, bias, valid))
        return self.output_norm(x + self._feed_forward(x))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return _linear(self.down, _gelu(_linear(self.up, x), self.shape))


class Attention(nn.Module):
    """Multi-head self-attention; in WavLM with a bias by distance that each query scales through its own gate."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.dim, shape.dim)
        self.key = nn.Linear(shape.dim, shape.dim)
        self.value = nn.Linear(shape.dim, shape.dim)
        self.out = nn.Linear(shape.dim, shape.dim)
        self.gate: nn.Linear | None = None
        if shape.relative_buckets:
            self.gate = nn.Linear(shape.dim // shape.heads, 8)
            self.gate_scale = nn.Parameter(torch.ones(1, shape.heads, 1, 1))

    def forward(self, x: Tensor, bias: Tensor | None, valid: Tensor | None) -> Tensor:
        query, key, value = (self._split(_linear(layer, x)) for layer in (self.query, self.key, self.value))
        mask = None if valid is None else valid[:, None, None]
        if bias is None:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            mixed = self._biased(query, key, value, bias, self.gates(x), mask)
        return _linear(self.out, mixed.transpose(1, 2).flatten(2))

    def _biased(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, gates: Tensor, mask: Tensor | None
    ) -> Tensor:
        batch, heads, frames, _ = query.shape
        rows = max(1, _MOST_SCORES // (batch * heads * frames))
        blocks = []
        for start in range(0, frames, rows):
            part = slice(start, min(start + rows, frames))
            scores = gates[:, :, part] * _bias_rows(bias, part.start, part.stop)
            if mask is not None:
                scores = scores.masked_fill(~mask, -torch.inf)
            blocks.append(F.scaled_dot_product_attention(query[:, :, part], key, value, scores.to(query.dtype)))
        return torch.cat(blocks, dim=2)

    def gates(self, x: Tensor) -> Tensor:
        """(batch, heads, frames, 1) factors of the position bias, from what each head sees of the query."""
        gates = self.gate(self._split(x)).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        update, reset = gates.split(1, dim=-1)
        return update * (reset * self.gate_scale - 1) + 2

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _bias_rows(bias: Tensor, start: int, stop: int) -> Tensor:
    """(heads, stop - start, frames) biases of the queries from `start` to `stop`, out of `Encoder.bias_by_distance`."""
    frames = (bias.shape[1] + 1) // 2
    return bias.unfold(1, frames, 1)[:, frames - stop : frames - start].flip(1)


def _distance_bucket(distances: Tensor, buckets: int, farthest: int) -> Tensor:
    """One bucket for each short distance, logarithmically wider ones up to the farthest, in both directions."""
    half = buckets // 2
    near = half // 2
    size = distances.abs()
    far = near + (size.float().clamp(min=1) / near).log() / math.log(farthest / near) * (half - near)
    bucket = torch.where(size < near, size, far.long().clamp(max=half - 1))
    return bucket + half * (distances > 0)


def _normed_over_time(x: Tensor, mask: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A GroupNorm of one channel per group whose statistics see the valid frames only."""
    count = mask.sum(-1, keepdim=True)
    x = x.float()
    centred = (x - (x * mask).sum(-1, keepdim=True) / count) * mask
    variance = centred.square().sum(-1, keepdim=True) / count
    return centred * (norm.weight[:, None] * (variance + norm.eps).rsqrt()) + norm.bias[:, None]


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return layer(x.to(layer.weight.dtype))


def _gelu(x: Tensor, shape: EncoderShape) -> Tensor:
    return F.gelu(x, approximate="tanh" if shape.tanh_gelu else "none")
