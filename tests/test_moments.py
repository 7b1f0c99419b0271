"""Mean and deviation put together from utterances, against torch over all frames at once in double precision."""

from functools import reduce
from operator import add

import pytest
import torch

from downstream.search.moments import Moments

LAYERS, DIM = 2, 3
LENGTHS = {"one": [7], "many": [3, 40, 8, 120, 2], "of one frame": [1, 1, 1, 1], "mixed": [1, 50, 1, 9]}


def drawn(lengths, mean=0.0, deviation=1.0, dtype=torch.float32, seed=0):
    """(values, scales) of each utterance; no two layers and no two utterances have the same scale."""
    random = torch.Generator().manual_seed(seed)
    found = []
    for number, length in enumerate(lengths):
        values = mean + deviation * torch.randn(LAYERS, length, DIM, generator=random)
        found.append((values.to(dtype), torch.tensor([1.0, 0.25]) * 2.0**number))
    return found


def scaling(utterances):
    total = reduce(add, [Moments.of(values, scales) for values, scales in utterances])
    return total.scaling(torch.device("cpu"))


def assert_like_torch(utterances, tolerance=1e-6):
    """Single precision, in which the answer comes, has 6e-8 of a value."""
    whole = torch.cat([values.double() * scales.double()[:, None, None] for values, scales in utterances], dim=1)
    mean, deviation = scaling(utterances)
    assert mean.dtype == deviation.dtype == torch.float32 and mean.shape == deviation.shape == (LAYERS, DIM)
    spread = whole.std(dim=1)
    assert float(((mean - whole.mean(dim=1)) / spread).abs().max()) <= tolerance
    assert float((deviation / spread - 1).abs().max()) <= tolerance


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_as_of_all_frames_at_once(lengths, dtype):
    assert_like_torch(drawn(lengths, mean=0.5, dtype=dtype))


def test_a_mean_far_from_zero_takes_no_digits_from_the_deviation():
    # Squares summed in double precision, less that of the mean, would keep 16 - 2 * 7 = 2 digits of the deviation.
    utterances = drawn([30, 1, 70], mean=1e7, dtype=torch.float64)
    utterances = [(values, torch.ones(LAYERS)) for values, _ in utterances]
    whole = torch.cat([values for values, _ in utterances], dim=1)
    mean, deviation = scaling(utterances)
    torch.testing.assert_close(deviation.double(), whole.std(dim=1), rtol=1e-6, atol=0)
    torch.testing.assert_close(mean, whole.mean(dim=1).float(), rtol=0, atol=0)


def test_utterances_that_are_far_apart():
    near, far = drawn([20, 30], seed=1), drawn([40], mean=1000.0, seed=2)
    assert_like_torch([*near, *far])


def test_it_does_not_matter_what_is_put_together_first():
    parts = [Moments.of(values, scales) for values, scales in drawn([5, 1, 9, 30])]
    forwards, in_pairs = reduce(add, parts), (parts[3] + parts[1]) + (parts[0] + parts[2])
    assert forwards.frames == in_pairs.frames == 45
    for one, other in zip(vars(forwards).values(), vars(in_pairs).values(), strict=True):
        torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), rtol=1e-12, atol=1e-12)


def test_by_hand():
    # Values 1 3 | 8 with scales 1 | 0.5: frames 1 3 4, mean 8/3, squares 25/9 + 1/9 + 16/9 = 42/9, over 2 frames 7/3.
    first = Moments.of(torch.tensor([[[1.0], [3.0]]]), torch.tensor([1.0]))
    both = first + Moments.of(torch.tensor([[[8.0]]]), torch.tensor([0.5]))
    assert both.frames == 3
    mean, deviation = both.scaling(torch.device("cpu"))
    assert mean.item() == pytest.approx(8 / 3, rel=1e-7) and deviation.item() == pytest.approx((7 / 3) ** 0.5, rel=1e-7)


@pytest.mark.parametrize("lengths", [[5, 6], [1]])
def test_what_never_changes_has_the_least_deviation(lengths):
    # One frame has none at all: s3prl would divide by NaN there.
    mean, deviation = scaling([(torch.full((LAYERS, length, DIM), 0.3), torch.ones(LAYERS)) for length in lengths])
    assert torch.equal(mean, torch.full((LAYERS, DIM), 0.3))
    assert torch.equal(deviation, torch.full((LAYERS, DIM), 1e-9))


def test_values_are_left_as_they_were():
    ((values, scales),) = drawn([9], dtype=torch.float64)
    before = values.clone()
    Moments.of(values, scales)
    assert torch.equal(values, before)
