"""The encoder laid out for the CPU: the arithmetic of `model`, one utterance at a time, twice as fast.

What it costs nothing to know: torch sends float32 products to a library that is slow on many CPUs, and does bias, GELU
and residual in passes of their own. oneDNN, which is in every torch build for x86, does all of it in one pass over
weights that were reordered once. It is addressed explicitly here, because the global switch that would do the same
(`set_float32_matmul_precision`) means lower precision on some machines.

Two more things: the GroupNorm over time after a convolution without bias is folded into that convolution's weights
(its mean and variance follow from the 10 x 10 covariance of the waveform), and convolutions run over a few seconds at
a time, which keeps their activations in the cache.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from upstream.devices import tune_memory
from upstream.encoder.model import Attention, ConvBlock, Encoder, Layer
from upstream.encoder.shape import EncoderShape

_CHUNK_FRAMES = 100  # of output for which the convolutions run at once
_MOST_SCORES = 1 << 20  # attention scores of one head held at once
_CACHED_SCORES = 1 << 18  # attention scores of several heads that a core has at hand
_EXPECTED_FRAMES = 500  # what the weights are laid out for; any other number gives the same result
_SLOW_BELOW = 96  # frames below which oneDNN has no fast grouped convolution
_POSITION_FRAMES = 32  # whose multiples the positional convolution is over: oneDNN takes 40 ms to prepare for another


def available() -> bool:
    """Whether this build of torch has the operations."""
    names = ("_linear_pointwise", "_convolution_pointwise", "_reorder_linear_weight", "_reorder_convolution_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


class PackedEncoder:
    """Takes the weights out of an `Encoder`, which can be dropped afterwards."""

    def __init__(self, encoder: Encoder, dtype: torch.dtype) -> None:
        tune_memory()
        self.shape = shape = encoder.shape
        self.dtype = dtype
        self.first = _FirstConvolution(encoder.convolutions[0], shape, dtype)
        self.convolutions = [_ConvBlock(block, shape, dtype) for block in encoder.convolutions[1:]]
        self.project_norm = encoder.project_norm
        self.project = _Linear(encoder.project.weight, encoder.project.bias, dtype)
        self.positions = [_Position(position, shape, dtype) for position in encoder.positions]
        self.norm = encoder.norm
        self.layers = [_Layer(layer, shape, dtype) for layer in encoder.layers]
        self.relative_bias = encoder.relative_bias
        self._bias_by_distance = encoder.bias_by_distance

    def __call__(self, wavs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        alone = [self._one(wav) for wav in wavs]
        lengths = torch.tensor([len(states[0]) for states in alone])
        if len(alone) == 1:
            return [state[None] for state in alone[0]], lengths
        return [pad_sequence(same, batch_first=True) for same in zip(*alone, strict=True)], lengths

    def _one(self, wav: Tensor) -> list[Tensor]:
        if self.shape.normalize:
            wav = F.layer_norm(wav, wav.shape)
        x = self._convolved(wav)
        if self.project_norm is not None:
            x = self.project_norm(x.float()).to(self.dtype)
        x = self._positioned(self.project(x))
        if not self.shape.pre_norm:
            x = self.norm(x)
        bias = None if self.relative_bias is None else self._bias_by_distance(len(x)).to(self.dtype)
        states = [x]
        for layer in self.layers:
            x = layer(x, bias)
            states.append(x)
        if self.shape.pre_norm:
            states[-1] = self.norm(x)
        return states

    def _convolved(self, wav: Tensor) -> Tensor:
        counts = self.shape.conv_frames(len(wav))
        first = self.first.for_waveform(wav)
        chunks = []
        for start in range(0, counts[-1], _CHUNK_FRAMES):
            inputs = self._inputs(start, min(start + _CHUNK_FRAMES, counts[-1]), counts)
            x = first(*_inside(inputs[0], counts[0]))
            for block, count, wanted in zip(self.convolutions, counts, inputs, strict=False):
                x = block(_with_zeros(x, wanted, count))
            chunks.append(x)
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def _inputs(self, start: int, stop: int, counts: list[int]) -> list[tuple[int, int]]:
        """The frames that each convolution after the first reads, for `start` to `stop` of the last one's output.

        They may lie before the first frame or after the last: those are the zeros of a padded convolution.
        """
        ranges = []
        for index in range(len(counts) - 1, 0, -1):
            kernel, stride, padding = (
                each[index] for each in (self.shape.conv_kernels, self.shape.conv_strides, self.shape.conv_padding)
            )
            ranges.append((start * stride - padding, (stop - 1) * stride - padding + kernel))
            start, stop = _inside(ranges[-1], counts[index - 1])
        return ranges[::-1]

    def _positioned(self, x: Tensor) -> Tensor:
        y = x
        for position in self.positions:
            y = position(y)
        return x.float() + y


class _Linear:
    """A linear layer, with a GELU in the same pass where `gelu` names its kind."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, gelu: str | None = None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype).contiguous(), _EXPECTED_FRAMES)
        self.bias = None if bias is None else bias.to(dtype)
        self.fused = _fused(gelu)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *self.fused)


class _FirstConvolution:
    """Waveform to 512 channels: a product with every window of the waveform, in float32."""

    def __init__(self, block: ConvBlock, shape: EncoderShape, dtype: torch.dtype) -> None:
        self.shape, self.dtype, self.norm = shape, dtype, block.norm
        self.weight, self.bias = block.conv.weight[:, 0].contiguous(), block.conv.bias
        self.over_time = isinstance(block.norm, torch.nn.GroupNorm)
        self.kind = _gelu_kind(shape)

    def for_waveform(self, wav: Tensor) -> "_FirstConvolution._Bound":
        padding = self.shape.conv_padding[0]
        windows = F.pad(wav, (padding, padding)).unfold(0, self.shape.conv_kernels[0], self.shape.conv_strides[0])
        weight, bias = self._folded(windows) if self.over_time else (self.weight, self.bias)
        return self._Bound(self, windows, weight, bias)

    def _folded(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Weights that give the normalised output: mean and variance of a linear map of the windows, in float64."""
        windows = windows.double()
        mean = windows.mean(0)
        covariance = windows.T @ windows / len(windows) - mean[:, None] * mean
        weight = self.weight.double()
        variance = ((weight @ covariance) * weight).sum(1).clamp(min=0)
        scale = self.norm.weight.double() / (variance + self.norm.eps).sqrt()
        offset = self.norm.bias.double() - scale * (weight @ mean)
        return (weight * scale[:, None]).float(), offset.float()

    class _Bound:
        """The convolution with the weights for one waveform."""

        def __init__(self, owner: "_FirstConvolution", windows: Tensor, weight: Tensor, bias: Tensor | None) -> None:
            self.owner, self.windows, self.weight, self.bias = owner, windows, weight, bias

        def __call__(self, start: int, stop: int) -> Tensor:
            owner, windows = self.owner, self.windows[start:stop].contiguous()
            linear = torch.ops.mkldnn._linear_pointwise
            if owner.over_time:
                return linear(windows, self.weight, self.bias, *_fused(owner.kind)).to(owner.dtype)
            x = linear(windows, self.weight, self.bias, *_fused(None))
            if owner.norm is not None:
                x = owner.norm(x)
            return F.gelu(x.to(owner.dtype), approximate=owner.kind)


class _ConvBlock:
    """A convolution over (frames, channels), without padding of its own: a product with every window.

    Copying the windows out costs less than oneDNN's own convolution loses to its products.
    """

    def __init__(self, block: ConvBlock, shape: EncoderShape, dtype: torch.dtype) -> None:
        conv, self.norm, self.kind = block.conv, block.norm, _gelu_kind(shape)
        self.kernel, self.stride = conv.kernel_size[0], conv.stride[0]
        weight = conv.weight.transpose(1, 2).flatten(1)
        self.product = _Linear(weight, conv.bias, dtype, self.kind if self.norm is None else None)

    def __call__(self, x: Tensor) -> Tensor:
        windows = x.unfold(0, self.kernel, self.stride).transpose(1, 2).flatten(1)
        x = self.product(windows)
        return x if self.norm is None else F.gelu(_normed(x, self.norm), approximate=self.kind)


class _Position:
    """The positional convolution with its GELU, over (frames, channels), seen by oneDNN as an image of one row."""

    def __init__(self, position: torch.nn.Conv1d, shape: EncoderShape, dtype: torch.dtype) -> None:
        self.shape, self.dtype, self.kind = shape, dtype, _gelu_kind(shape)
        self.fused = _fused(self.kind if shape.position_depth == 1 else None)
        self.where = ([0, shape.position_kernel // 2], [1, 1], [1, 1], shape.position_groups)
        weight = position.weight.to(dtype)[:, :, None].contiguous(memory_format=torch.channels_last)
        size = [1, shape.dim, 1, _EXPECTED_FRAMES]
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.where, size)
        self.bias = position.bias.to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        frames = len(x)
        more = max(_SLOW_BELOW, frames + -frames % _POSITION_FRAMES) - frames
        x = F.pad(x.to(self.dtype), (0, 0, 0, more))  # zeros, as beyond any end
        image = x.view(1, 1, *x.shape).permute(0, 3, 1, 2)  # with its channels last
        image = torch.ops.mkldnn._convolution_pointwise(image, self.weight, self.bias, *self.where, *self.fused)
        x = image.permute(0, 2, 3, 1).reshape(image.shape[3], image.shape[1])[:frames]
        if self.shape.position_depth == 1:
            return x
        return F.gelu(F.layer_norm(x.float(), x.shape[-1:]), approximate=self.kind)


class _Layer:
    """One transformer layer."""

    def __init__(self, layer: Layer, shape: EncoderShape, dtype: torch.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        self.attention = _Attention(layer.attention, dtype)
        self.attention_norm, self.output_norm = layer.attention_norm, layer.output_norm
        self.up = _Linear(layer.up.weight, layer.up.bias, dtype, _gelu_kind(shape))
        self.down = _Linear(layer.down.weight, layer.down.bias, dtype)

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        if self.shape.pre_norm:
            x = x + self.attention(self.attention_norm(x), bias)
            return x + self.down(self.up(self.output_norm(x).to(self.dtype)))
        x = self.attention_norm(x + self.attention(x, bias))
        return self.output_norm(x + self.down(self.up(x.to(self.dtype))))


class _Attention:
    """Attention with one product for query, key and value, and the gates of WavLM where there are any."""

    def __init__(self, attention: Attention, dtype: torch.dtype) -> None:
        self.heads, self.dtype = attention.heads, dtype
        parts = (attention.query, attention.key, attention.value)
        scale = (attention.query.weight.shape[0] // self.heads) ** -0.5
        weights, biases = [part.weight for part in parts], [part.bias for part in parts]
        weights[0], biases[0] = weights[0] * scale, biases[0] * scale
        self.project = _Linear(torch.cat(weights), torch.cat(biases), dtype)
        self.out = _Linear(attention.out.weight, attention.out.bias, dtype)
        self.gates = None if attention.gate is None else _Gates(attention)

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        frames = len(x)
        query, key, value = self.project(x.to(self.dtype)).view(frames, 3, self.heads, -1).unbind(1)
        query, key = query.transpose(0, 1).contiguous(), key.transpose(0, 1).contiguous()
        value = value.permute(1, 2, 0).contiguous()  # (heads, size, frames): as the weights of a product
        gates = None if self.gates is None else self.gates(x).to(self.dtype)
        mixed = torch.empty(frames, self.heads, value.shape[1], dtype=self.dtype)
        rows = max(1, _MOST_SCORES // frames)
        heads = max(1, _CACHED_SCORES // (min(rows, frames) * frames))
        for start in range(0, frames, rows):
            part = slice(start, min(start + rows, frames))
            biases = None if bias is None else _bias_from_the_last(bias, part.start, part.stop)
            # So many heads at a time that their scores stay in the cache from the first product to the second.
            for first in range(0, self.heads, heads):
                some = slice(first, first + heads)
                if biases is None:
                    scores = _products(query[some, part], key[some])
                    of_heads = _products(scores.softmax(-1), value[some])
                else:
                    scores = _products(query[some, part].flip(1), key[some])
                    scores.addcmul_(gates[some, part].flip(1), biases[some])
                    of_heads = _products(scores.softmax(-1), value[some]).flip(1)
                mixed[part, some] = of_heads.transpose(0, 1)
        return self.out(mixed.view(frames, -1))


class _Gates:
    """WavLM's factors of the position bias, `Attention.gates`, with the sum over outputs made in the weights."""

    def __init__(self, attention: Attention) -> None:
        self.heads, self.scale = attention.heads, attention.gate_scale.view(-1)
        weight, bias = attention.gate.weight.unflatten(0, (2, 4)).sum(1), attention.gate.bias.view(2, 4).sum(1)
        self.product = _Linear(weight, bias, torch.float32)

    def __call__(self, x: Tensor) -> Tensor:
        """(heads, frames, 1), from (frames, dim)."""
        gates = self.product(x.reshape(len(x) * self.heads, -1)).sigmoid().view(len(x), self.heads, 2)
        update, reset = gates.unbind(-1)
        return (update * (reset * self.scale - 1) + 2).T[..., None]


def _bias_from_the_last(by_distance: Tensor, start: int, stop: int) -> Tensor:
    """(heads, queries, frames): the position bias of the queries from `stop - 1` down to `start`.

    In this order each row begins one value after the row before, so that it is a view, however many frames there are.
    """
    frames = (by_distance.shape[1] + 1) // 2
    return by_distance.unfold(1, frames, 1)[:, frames - stop : frames - start]


def _products(x: Tensor, weights: Tensor) -> Tensor:
    """x @ weights.T of each head."""
    if len(x) > 1:
        return torch.bmm(x, weights.transpose(1, 2))
    return torch.ops.mkldnn._linear_pointwise(x[0], weights[0], None, *_fused(None))[None]


def _inside(wanted: tuple[int, int], count: int) -> tuple[int, int]:
    return max(wanted[0], 0), min(wanted[1], count)


def _with_zeros(x: Tensor, wanted: tuple[int, int], count: int) -> Tensor:
    """Frames before the first and after the last, which a padded convolution sees as zeros."""
    before, after = max(0, -wanted[0]), max(0, wanted[1] - count)
    return F.pad(x, (0, 0, before, after)) if before or after else x


def _normed(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def _fused(gelu: str | None) -> tuple[str, list, str]:
    """What oneDNN does to a product before it leaves the registers, in the words of its operations."""
    return ("none", [], "") if gelu is None else ("gelu", [], gelu)


def _gelu_kind(shape: EncoderShape) -> str:
    return "tanh" if shape.tanh_gelu else "none"
