"""One optimizer for every task, against torch's own two and the one that s3prl wrote for separation."""

import pytest
import torch
from oracles import import_s3prl
from torch import nn

from downstream.fit.adam import Adam

STEPS, RATE = 20, 0.01
SHAPES = ((), (7,), (4, 5))  # a single number too


def parameters():
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]


def gradients(step, size):
    """Another size in every element, so that eps is something to some and nothing to others."""
    random = torch.Generator().manual_seed(100 + step)
    exponents = [torch.linspace(-9, 0, shape.numel()).reshape(shape) for shape in map(torch.Size, SHAPES)]
    return [size * torch.randn(shape, generator=random) * 10**e for shape, e in zip(SHAPES, exponents, strict=True)]


def theirs(make, size, steps=STEPS):
    """How far somebody else's optimizer moved each parameter after each step."""
    own, start = parameters(), parameters()
    optimizer = make(own)
    moved = []
    for step in range(steps):
        for p, gradient in zip(own, gradients(step, size), strict=True):
            p.grad = gradient
        optimizer.step()
        moved.append([(p - at).detach() for p, at in zip(own, start, strict=True)])
    return moved


def ours(adam, size, steps=STEPS, rate=RATE):
    own, start = [p.detach() for p in parameters()], parameters()
    first, second = ([torch.zeros_like(p) for p in own] for _ in range(2))
    counts = [torch.zeros(()) for _ in own]
    moved = []
    for step in range(steps):
        adam.step(own, gradients(step, size), first, second, counts, rate)
        moved.append([(p - at).detach() for p, at in zip(own, start, strict=True)])
    assert [float(count) for count in counts] == [steps] * len(own)
    return moved


def distance(found, expected):
    """The largest of all steps and elements, in single precision: parameters are of the order of one."""
    steps = zip(found, expected, strict=True)
    return max(float((a - b).abs().max()) for step in steps for a, b in zip(*step, strict=True))


def s3prls(**options):
    return lambda own: import_s3prl("s3prl.optimizers").AdamW(own, lr=RATE, **options)


OTHERS = {
    "Adam": (Adam(), lambda own: torch.optim.Adam(own, lr=RATE)),
    "Adam, another eps": (Adam(eps=1e-4), lambda own: torch.optim.Adam(own, lr=RATE, eps=1e-4)),
    "AdamW of verification": (Adam(weight_decay=0.01), lambda own: torch.optim.AdamW(own, lr=RATE)),
    "much weight decay": (Adam(weight_decay=0.3), lambda own: torch.optim.AdamW(own, lr=RATE, weight_decay=0.3)),
    "AdamW of separation": (Adam(eps=1e-7, early_eps=True), s3prls()),
    "a large early eps": (Adam(eps=1e-2, early_eps=True), s3prls(eps=1e-2)),
}


@pytest.mark.parametrize("size", [1.0, 1e-3])
@pytest.mark.parametrize("name", OTHERS)
def test_parameters_move_as_with_the_others(name, size):
    adam, make = OTHERS[name]
    assert distance(ours(adam, size), theirs(make, size)) < 5e-7


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_differ_by_more_than_that(name):
    """Else the test above could not tell them apart."""
    adam, _ = OTHERS[name]
    for other, (_, make) in OTHERS.items():
        if other != name:
            assert distance(ours(adam, 1e-3), theirs(make, 1e-3)) > 1e-4, other


def test_verifications_weight_decay_is_torchs_own_default():
    [group] = torch.optim.AdamW(parameters()).param_groups
    assert (group["weight_decay"], group["eps"], group["betas"]) == (0.01, 1e-8, (0.9, 0.999))


def test_separations_eps_is_s3prls_own_default():
    optimizers = import_s3prl("s3prl.optimizers")
    made = optimizers.get_AdamW([nn.Linear(2, 1)], lr=1e-4, total_steps=10)
    assert isinstance(made, optimizers.AdamW)
    [group] = made.param_groups
    assert (group["eps"], group["weight_decay"], group["betas"]) == (1e-7, 0.0, (0.9, 0.999))


def test_an_early_eps_is_larger_in_the_first_steps_alone():
    """By 1 / sqrt(1 - 0.999 ** step): 32 times in the first, 1.3 times after a thousand."""
    early = ours(Adam(eps=1e-3, early_eps=True), 1e-2, steps=1)
    assert distance(early, ours(Adam(eps=1e-3 / (1 - 0.999) ** 0.5), 1e-2, steps=1)) < 1e-6
    assert distance(early, ours(Adam(eps=1e-3), 1e-2, steps=1)) > 1e-3


def test_without_a_gradient_weight_decay_alone_moves():
    own = [torch.tensor([2.0, -4.0])]
    zeros = [torch.zeros(2)]
    Adam(weight_decay=0.1).step(own, zeros, [torch.zeros(2)], [torch.zeros(2)], [torch.zeros(())], rate=0.5)
    assert torch.allclose(own[0], torch.tensor([2.0, -4.0]) * 0.95)
