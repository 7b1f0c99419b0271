"""What heads on frames compute with fewer or larger products than their formula has: the same numbers as that gives."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from downstream.fit import xvector
from downstream.fit.sequence_heads import FrameLinear
from downstream.fit.xvector import XVector, am_softmax_losses

WIDTH, SPEAKERS = 24, 7


def assert_close(found, expected):
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize(("projector", "products"), [(20, 13 * 9), (5, 13 * 5 + 5 * 9)])
def test_two_linears_are_one_where_that_takes_fewer_products(projector, products):
    # One: 13 x 9 = 117 a frame. Two: 13 x 20 + 20 x 9 = 440, or 13 x 5 + 5 x 9 = 110.
    head = FrameLinear(13, projector, 9)
    head.reset(torch.Generator().manual_seed(0))
    frames = torch.randn(2, 6, 13, generator=torch.Generator().manual_seed(1), requires_grad=True)
    expected = functional.linear(
        functional.linear(frames, head.projector.weight, head.projector.bias),
        head.classifier.weight,
        head.classifier.bias,
    )
    wanted = [frames, *head.parameters()]
    of_expected = torch.autograd.grad(expected.square().sum(), wanted)
    with FlopCounterMode(display=False) as counter:
        found, _ = head(frames, torch.tensor([6, 6]))
    joined = 2 * 9 * 13 * projector + 2 * 9 * projector if products == 13 * 9 else 0
    assert counter.get_total_flops() == pytest.approx(2 * 12 * products + joined, abs=2 * 9 * projector)
    assert_close(found, expected)
    for gradient, own in zip(torch.autograd.grad(found.square().sum(), wanted), of_expected, strict=True):
        assert_close(gradient, own)


def vectors(lengths, rows, cached, monkeypatch):
    """What the head says of some of the utterances, and all gradients."""
    monkeypatch.setattr(xvector, "_CACHED", cached)
    head = XVector(13, SPEAKERS, WIDTH, wide=20)
    head.reset(torch.Generator().manual_seed(0))
    frames = torch.randn(len(lengths), max(lengths), 13, generator=torch.Generator().manual_seed(1))
    for row, length in zip(frames, lengths, strict=True):
        row[length:] = float("nan")
    frames = frames[rows].requires_grad_()
    cosines, _ = head(frames, torch.tensor(lengths)[rows])
    am_softmax_losses(cosines, None, torch.arange(len(lengths))[rows], 30.0, 0.4).sum().backward()
    return cosines.detach(), frames.grad, [parameter.grad for parameter in head.parameters()]


# All that fit, two of 40 frames that become 24 wide, none: utterances go together with others of their length only.
@pytest.mark.parametrize("cached", [10**6, 2 * 40 * WIDTH, 1])
def test_utterances_that_go_together_give_what_they_give_alone(cached, monkeypatch):
    lengths = [40, 25, 40, 61, 40, 25]
    cosines, d_frames, gradients = vectors(lengths, list(range(6)), cached, monkeypatch)
    alone = [vectors(lengths, [row], cached, monkeypatch) for row in range(6)]
    for row, (own, d_own, _) in enumerate(alone):
        assert_close(cosines[row], own[0])
        assert_close(d_frames[row, : lengths[row]], d_own[0, : lengths[row]])
        assert not d_frames[row, lengths[row] :].any()
    for together, *apart in zip(gradients, *(own for _, _, own in alone), strict=True):
        assert_close(together, sum(apart))


def test_utterances_of_one_length_go_together_as_far_as_the_cache_holds_them(monkeypatch):
    monkeypatch.setattr(xvector, "_CACHED", 2 * 40 * WIDTH)
    counts = [40, 25, 40, 61, 40, 25]
    order = [3, 0, 2, 4, 1, 5]  # the longest first
    # 61 x 24 fits once, 40 x 24 twice, 25 x 24 three times.
    assert xvector._together(order, counts, WIDTH) == [[3], [0, 2], [4], [1, 5]]
