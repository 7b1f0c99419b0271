"""The x-vector head of SUPERB's speaker verification: frames to one vector for each utterance, and its AM-softmax loss.

Nearly all its time goes into convolutions over time, so those are computed here with fewer multiplications than usual
(see `_Convolution`), forwards and backwards, for each utterance alone: what belongs to a single utterance stays in the
processor's cache, and no padding is ever looked at. Short utterances of the same length, as crops are, go together as
far as the cache allows.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from downstream.fit.head import Head, reset
from downstream.fit.side_by_side import side_by_side, workers

_CONTEXTS = ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1))  # how many frames a layer looks at, and how far apart they are
_TOGETHER = 4  # frames of output that share their multiplications
_POINTS = (0, 1, -1, 2, -2, 1 / 2, -1 / 2)  # whose powers are exact numbers
_CACHE_LINE = 16  # float32 numbers
_CACHED = 1 << 18  # numbers that a layer may give of utterances that go together


class XVector(Head):
    """Linear, five TDNN layers, mean and standard deviation over time, two Linears. A column of `speakers` a speaker.

    The weights of a TDNN layer are those of a Linear on the frames that it looks at, laid end to end.
    """

    least_frames = 1 + sum((context - 1) * dilation for context, dilation in _CONTEXTS)

    def __init__(
        self, dim: int, speakers: int, width: int = 512, wide: int = 1500, scale: float = 30.0, margin: float = 0.4
    ) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.connector = nn.Linear(dim, width)
        widths = [width] * (len(_CONTEXTS) - 1) + [wide]
        self.layers = nn.ModuleList(
            nn.Linear(context * width, out) for (context, _), out in zip(_CONTEXTS, widths, strict=True)
        )
        self.embedding = nn.Linear(2 * wide, width)
        self.training_vector = nn.Linear(width, width)
        self.speakers = nn.Parameter(torch.empty(width, speakers))
        nn.init.xavier_normal_(self.speakers)

    def reset(self, random: torch.Generator) -> None:
        """Torch's default for the Linears, normal numbers for the speakers, as in SUPERB."""
        reset(self, random)
        nn.init.xavier_normal_(self.speakers, generator=random)

    def forward(self, frames: Tensor, lengths: Tensor, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) to the cosines (batch, speakers) between each utterance and each speaker."""
        vectors = self.training_vector(self._embedded(frames, lengths)).relu()
        return functional.normalize(vectors, dim=1) @ functional.normalize(self.speakers, dim=0), lengths

    def answer(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, time, dim) to embeddings (batch, width) of length one, whose products are cosines."""
        return functional.normalize(self._embedded(frames, lengths), dim=1), lengths

    def _embedded(self, frames: Tensor, lengths: Tensor) -> Tensor:
        counts = lengths.tolist()
        if min(counts) < self.least_frames:
            raise ValueError(f"an utterance has {min(counts)} frames: the x-vector needs at least {self.least_frames}")
        layers, weights = self._layers()
        statistics = _Statistics.apply(frames, counts, layers, torch.is_grad_enabled(), *weights)
        wide = self.embedding.in_features // 2
        return self.embedding(statistics[..., :wide].flatten(1)).relu()

    def _layers(self) -> tuple[list["_Layer"], list[Tensor]]:
        """The layers on frames, and for each what frames are multiplied by and its bias.

        Nothing comes between the connector and the first TDNN layer, so that both can be a single one. That saves
        multiplications where the connector makes frames wider: there it becomes part of the first layer's weights.

        The last layer gets outputs that are always zero: products are a third faster when rows fill whole cache lines.
        """
        layers = [_Convolution(*looks) if looks[0] > 1 else _Layer() for looks in _CONTEXTS]
        weights = [one.weight.unflatten(1, (-1, self.connector.out_features)) for one in self.layers]
        biases = [one.bias for one in self.layers]
        if self.connector.in_features < self.connector.out_features:
            biases[0] = biases[0] + weights[0].sum(1) @ self.connector.bias
            weights[0] = weights[0] @ self.connector.weight
        else:
            layers.insert(0, _Layer(rectified=False))
            weights.insert(0, self.connector.weight[:, None])
            biases.insert(0, self.connector.bias)
        more = -biases[-1].numel() % _CACHE_LINE
        weights[-1] = functional.pad(weights[-1], (0, 0, 0, 0, 0, more))
        biases[-1] = functional.pad(biases[-1], (0, more))
        products = [layer.product_weights(weight) for layer, weight in zip(layers, weights, strict=True)]
        return layers, [tensor for pair in zip(products, biases, strict=True) for tensor in pair]


def am_softmax_losses(cosines: Tensor, lengths: Tensor, targets: Tensor, scale: float, margin: float) -> Tensor:
    """Of each utterance: the cross entropy of its scaled cosines, after that of its own speaker is made smaller."""
    own = functional.one_hot(targets, cosines.shape[1]).to(cosines.dtype)
    return functional.cross_entropy(scale * (cosines - margin * own), targets, reduction="none")


class _Layer:
    """A layer on the (utterances, frames, dim) of some of one length, followed by a ReLU where it is `rectified`."""

    def __init__(self, rectified: bool = True) -> None:
        self._rectified = rectified

    def product_weights(self, weight: Tensor) -> Tensor:
        """(out, context, in) to what frames are multiplied by."""
        return weight.squeeze(1)

    def __call__(self, x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        y = self._sums(x, weights, bias)
        return y.relu_() if self._rectified else y

    def backward(
        self, x: Tensor, weights: Tensor, y: Tensor, d_y: Tensor, d_weights: Tensor, d_bias: Tensor, wanted: bool
    ) -> Tensor | None:
        """Adds to the gradients of weights and bias, writes over that of `y`, and returns that of `x` if wanted."""
        if self._rectified:
            torch.ops.aten.threshold_backward.grad_input(d_y, y, 0, grad_input=d_y)
        d_bias += d_y.flatten(0, 1).sum(0)
        return self._sums_backward(x, weights, d_y, d_weights, wanted)

    def _sums(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.addmm(bias, x.flatten(0, 1), weight.T).unflatten(0, x.shape[:2])

    def _sums_backward(self, x: Tensor, weight: Tensor, d_y: Tensor, d_weight: Tensor, wanted: bool) -> Tensor | None:
        d_weight.addmm_(d_y.flatten(0, 1).T, x.flatten(0, 1))
        return d_y @ weight if wanted else None


class _Convolution(_Layer):
    """A layer that looks at several frames at once: a convolution over time, without padding.

    Four neighbouring frames of output with a context of 3 are sums of 12 products of a frame and a matrix. The same
    sums can be had of 6 products, of frames that are added up with certain factors and of matrices that are; with a
    context of 5 it is 8 products instead of 20. Adding up is cheap beside a product, and in float32 the result is
    within a few roundings of the plain sums.

    With a dilation of d, blocks of d frames stand for single frames.
    """

    def __init__(self, context: int, dilation: int) -> None:
        super().__init__()
        self._of_inputs, self._of_weights, self._of_outputs = _factors(context)
        self._context, self._dilation = context, dilation

    def product_weights(self, weight: Tensor) -> Tensor:
        """(out, context, in) to (products, out, in)."""
        return torch.einsum("pc,oci->poi", weight.new_tensor(self._of_weights), weight)

    def _sums(self, x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        missing, frames = self._missing(x.shape[1]), self._frames(x.shape[1])
        y = bias.repeat(len(x), frames + missing, 1)
        inputs, outputs = self._inputs(_lengthened(x, missing)), self._outputs(y)
        for of_inputs, weight, of_outputs in zip(self._of_inputs, weights, self._of_outputs, strict=True):
            product = _sum(inputs, of_inputs).view(-1, x.shape[2]) @ weight.T
            _add(product.view_as(outputs[0]), of_outputs, outputs)
        return y[:, :frames]

    def _sums_backward(self, x: Tensor, weights: Tensor, d_y: Tensor, d_weights: Tensor, wanted: bool) -> Tensor | None:
        missing = self._missing(x.shape[1])
        lengthened = _lengthened(x, missing)
        inputs, d_outputs = self._inputs(lengthened), self._outputs(_lengthened(d_y, missing))
        d_x = torch.zeros_like(lengthened) if wanted else None
        for number, (of_inputs, of_outputs) in enumerate(zip(self._of_inputs, self._of_outputs, strict=True)):
            d_product = _sum(d_outputs, of_outputs).view(-1, d_y.shape[2])
            d_weights[number].addmm_(d_product.T, _sum(inputs, of_inputs).view(-1, x.shape[2]))
            if wanted:
                d_inputs = self._inputs(d_x)
                _add((d_product @ weights[number]).view_as(d_inputs[0]), of_inputs, d_inputs)
        return d_x[:, : x.shape[1]] if wanted else None

    def _frames(self, frames: int) -> int:
        """How many come out."""
        return frames - (self._context - 1) * self._dilation

    def _missing(self, frames: int) -> int:
        """How many more would come out if only as many were computed as are computed together."""
        return -self._frames(frames) % (_TOGETHER * self._dilation)

    def _inputs(self, x: Tensor) -> list[Tensor]:
        """For all groups of outputs at once the first block that they depend on, the second, and so on."""
        blocks = x.view(len(x), -1, self._dilation * x.shape[2])
        count = _TOGETHER + self._context - 1
        return [blocks[:, first : blocks.shape[1] - count + first + 1 : _TOGETHER] for first in range(count)]

    def _outputs(self, y: Tensor) -> list[Tensor]:
        """For all groups the first block of outputs, the second, and so on."""
        blocks = y.view(len(y), -1, self._dilation * y.shape[2])
        return [blocks[:, first::_TOGETHER] for first in range(_TOGETHER)]


@cache
def _factors(context: int) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """For every product the factors of the inputs, of the weights, and of it in the outputs; by Toom and Cook.

    Two polynomials can be multiplied by multiplying their values at enough points (one of which is infinity, where the
    highest coefficient is the value) and finding the polynomial that has these values: by the inverse of a matrix. A
    convolution over time is the transpose of that.
    """
    count = _TOGETHER + context - 1

    def values(size: int) -> list[list[float]]:
        return [[point**power for power in range(size)] for point in _POINTS[: count - 1]] + [[0] * (size - 1) + [1]]

    inverse = torch.linalg.inv(torch.tensor(values(count), dtype=torch.float64)).T
    inverse[inverse.abs() < 1e-9] = 0  # what is zero but for rounding
    return inverse.tolist(), values(context), values(_TOGETHER)


def _lengthened(frames: Tensor, more: int) -> Tensor:
    return functional.pad(frames, (0, 0, 0, more))


def _sum(parts: list[Tensor], factors: list[float]) -> Tensor:
    """Tensors of one shape, each times its factor."""
    used = [(part, factor) for part, factor in zip(parts, factors, strict=True) if factor]
    used.sort(key=lambda pair: pair[1] != 1)  # what is taken once saves a multiplication of its own
    (first, its_factor), *others = used
    if others and its_factor == 1:
        (second, factor), *others = others
        total = torch.add(first, second, alpha=factor)
    else:
        total = first * its_factor
    for part, factor in others:
        total.add_(part, alpha=factor)
    return total


def _add(term: Tensor, factors: list[float], parts: list[Tensor]) -> None:
    """Add a tensor to several, each time with another factor."""
    for part, factor in zip(parts, factors, strict=True):
        if factor:
            part.add_(term, alpha=factor)


class _Statistics(torch.autograd.Function):
    """All layers on frames: (batch, 2, outputs), the mean and the standard deviation over each utterance's own frames.

    By hand and not by autograd, which would add up the gradients of all weights anew for every utterance.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        frames: Tensor,
        counts: list[int],
        layers: list[_Layer],
        learning: bool,
        *weights: Tensor,
    ) -> Tensor:
        statistics = frames.new_empty(len(counts), 2, len(weights[-1]))
        shares = [_together(share, counts, len(weights[1])) for share in _shares(counts, frames.device)]

        @torch.no_grad()  # which is said to each thread
        def share(groups: list[list[int]]) -> list[list[Tensor]]:
            found = []
            for group in groups:
                steps = [frames[group, : counts[group[0]]]]
                for layer, products, bias in zip(layers, weights[::2], weights[1::2], strict=True):
                    steps = [*(steps if learning else []), layer(steps[-1], products, bias)]
                statistics[group] = _mean_and_deviation(steps[-1])
                found.append(steps if learning else [])
            return found

        ctx.found = side_by_side(share, shares, frames.device)
        ctx.shares, ctx.layers, ctx.statistics = shares, layers, statistics.detach()
        ctx.save_for_backward(frames, *weights)
        return statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_statistics: Tensor) -> tuple[Tensor | None, ...]:
        frames, *weights = ctx.saved_tensors
        d_frames = torch.zeros_like(frames) if ctx.needs_input_grad[0] else None

        @torch.no_grad()
        def share(number: int) -> list[Tensor]:
            d_weights = [torch.zeros_like(weight) for weight in weights]
            for group, found in zip(ctx.shares[number], ctx.found[number], strict=True):
                d_y = _mean_and_deviation_backward(found[-1], ctx.statistics[group], d_statistics[group])
                for at, layer in reversed(list(enumerate(ctx.layers))):
                    gradients, wanted = d_weights[2 * at : 2 * at + 2], at > 0 or d_frames is not None
                    d_y = layer.backward(found[at], weights[2 * at], found[at + 1], d_y, *gradients, wanted)
                if d_frames is not None:
                    d_frames[group, : d_y.shape[1]] = d_y
            return d_weights

        first, *others = side_by_side(share, range(len(ctx.shares)), frames.device)
        for d_weights in others:
            torch._foreach_add_(first, d_weights)
        return d_frames, None, None, None, *first


def _mean_and_deviation(y: Tensor) -> Tensor:
    """(utterances, 2, outputs) over time, unbiased. A single frame has a deviation of zero."""
    mean = y.mean(1, keepdim=True)
    variance = (y - mean).square_().sum(1, keepdim=True) / max(y.shape[1] - 1, 1)
    return torch.cat([mean, variance.sqrt()], dim=1)


def _mean_and_deviation_backward(y: Tensor, statistics: Tensor, d_statistics: Tensor) -> Tensor:
    """What never changes has a deviation without a slope."""
    (mean, deviation), (d_mean, d_deviation) = statistics.split(1, dim=1), d_statistics.split(1, dim=1)
    frames = y.shape[1]
    slope = torch.where(deviation > 0, d_deviation / deviation, 0) / max(frames - 1, 1)
    return torch.addcmul(d_mean / frames - slope * mean, y, slope)


def _shares(counts: list[int], device: torch.device) -> list[list[int]]:
    """Utterances of so many frames shared out evenly among threads: the longest first, each to who has least to do.

    Which thread gets which depends on their lengths alone, so that sums over them are always made in the same order.
    """
    shares = [[] for _ in range(min(len(counts), workers(device)))]
    frames = [0] * len(shares)
    for number in sorted(range(len(counts)), key=lambda number: -counts[number]):
        idlest = frames.index(min(frames))
        shares[idlest].append(number)
        frames[idlest] += counts[number]
    return shares


def _together(numbers: list[int], counts: list[int], width: int) -> list[list[int]]:
    """Those that follow on each other and have as many frames, as far as the cache holds what a layer gives of them."""
    groups: list[list[int]] = []
    for number in numbers:
        count = counts[number]
        if groups and counts[groups[-1][0]] == count and (len(groups[-1]) + 1) * count * width <= _CACHED:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
