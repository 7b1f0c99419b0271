"""A training as s3prl's runner does it, for parity of whole steps: its layer sum, its optimizers, its order of things.

The runner itself wants a command line, a corpus and a GPU; what it does with a batch are the few lines of `trained`.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from oracles import import_s3prl
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence

from downstream.fit.sampling import Draw
from downstream.fit.sequence_grid import SequenceGrid
from downstream.represent.frame_features import FrameBatch

LAYERS = 3
OPTIMIZERS = {  # as its configuration files call them
    "asv": {"name": "TorchOptim", "torch_optim_name": "AdamW"},
    "sd": {"name": "TorchOptim", "torch_optim_name": "Adam"},
    "ss": {"name": "AdamW"},
    "se": {"name": "AdamW"},
}


class LayerSum(nn.Module):
    """s3prl's Featurizer as far as it learns: the weighted sum of padded layers."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(LAYERS))
        self.layer_num, self.normalize = LAYERS, False

    def forward(self, batch: FrameBatch) -> list[Tensor]:
        """The frames of each utterance."""
        states = [
            value.float() * scales[:, None, None] for value, scales in zip(batch.values, batch.scales, strict=True)
        ]
        padded = pad_sequence([one.transpose(0, 1) for one in states], batch_first=True)
        summed = import_s3prl("s3prl.upstream.interfaces").Featurizer._weighted_sum(self, list(padded.unbind(2)))
        return [own[:length] for own, length in zip(summed, batch.lengths, strict=True)]


def trained(
    task: str, rate: float, clip: float, models: Sequence[nn.Module], steps: Sequence[Sequence[Callable[[], Tensor]]]
) -> list[float]:
    """Of each step the mean loss of its micro-batches. Every gradient has to be one that is clipped."""
    optimizer = import_s3prl("s3prl.optimizers").get_optimizer(list(models), None, OPTIMIZERS[task] | {"lr": rate})
    parameters = [p for model in models for p in model.parameters()]
    losses = []
    for micro_batches in steps:
        losses.append(0.0)
        for loss_of in micro_batches:
            loss = loss_of() / len(micro_batches)
            loss.backward()
            losses[-1] += loss.item()
        assert clip_grad_norm_(parameters, clip) > clip
        optimizer.step()
        optimizer.zero_grad()
    return losses


def upstream(dim: int, hop: int) -> SimpleNamespace:
    """As much of an upstream as an objective asks for."""
    return SimpleNamespace(num_layers=LAYERS, dim=dim, device=torch.device("cpu"), hop=hop)


def make_batch(frames: Sequence[int], samples: Sequence[int], dim: int, seed: int, loudness: float = 1.0) -> FrameBatch:
    """Random frames as a store gives them: in half precision, with a scale for each layer of each utterance."""
    random = torch.Generator().manual_seed(seed)
    values = [torch.randn(LAYERS, count, dim, generator=random).half() for count in frames]
    scales = loudness * torch.ldexp(
        torch.ones(len(frames), LAYERS), torch.randint(-1, 2, (len(frames), LAYERS), generator=random)
    )
    return FrameBatch(values, scales, torch.tensor(samples))


def make_draw(step: int, sizes: Sequence[int]) -> Draw:
    """A step of so many micro-batches, weighed as the sampler weighs them."""
    weights = np.concatenate([np.full(size, 1 / size / len(sizes), dtype=np.float32) for size in sizes])
    return Draw(step, np.arange(sum(sizes)), weights, np.full(sum(sizes), -1), list(sizes))


def parts(batch: FrameBatch, targets: Sequence, sizes: Sequence[int]) -> list[tuple[FrameBatch, Sequence]]:
    """The micro-batches of a step."""
    ends = np.cumsum(sizes).tolist()
    return [(batch.part(end - size, end), targets[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def now(grid: SequenceGrid, point: int) -> dict[str, Tensor]:
    """A copy of a point's parameters."""
    prefix, state = f"{point}.now.", grid.state()
    own = {name.removeprefix(prefix): value.clone() for name, value in state.items() if name.startswith(prefix)}
    return {name.removeprefix("head."): value for name, value in own.items()}


def assert_learned_alike(ours: dict[str, Tensor], theirs: dict[str, Tensor], start: dict[str, Tensor]) -> None:
    """Both have come the same way, each parameter to 0.2% of it and nine numbers of ten to 0.01%.

    Of a gradient of almost zero Adam makes a step as long as of any other. Where rounding decides its sign, single
    numbers go apart.
    """
    assert ours.keys() == theirs.keys() == start.keys()
    for name, own in theirs.items():
        way, apart = own.detach() - start[name], ours[name] - own.detach()
        assert apart.norm() < 2e-3 * way.norm(), name
        assert apart.abs().flatten().quantile(0.9) < 1e-4 * way.abs().mean(), name
