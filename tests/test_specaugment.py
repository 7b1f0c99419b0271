"""SpecAugment against s3prl's: the same output for the same draws, and draws of the same distribution."""

from dataclasses import replace

import pytest
import torch
from oracles import import_s3prl
from scipy.stats import chi2_contingency
from torch.nn.functional import interpolate

from downstream.fit.specaugment import Draws, SpecAugment

SUPERB = SpecAugment(time_warp=5, freq_masks=4, freq_width=50, time_masks=2, time_width=40)
SMALL = SpecAugment(time_warp=3, freq_masks=2, freq_width=6, time_masks=2, time_width=8)
LENGTHS, DIM = [29, 12, 6], 13  # the last one is too short for a warp


def s3prl_augment(ours):
    return import_s3prl("s3prl.downstream.specaug").SpecAug(
        time_warp_window=ours.time_warp,
        freq_mask_width_range=(0, ours.freq_width),
        num_freq_mask=ours.freq_masks,
        time_mask_width_range=(0, ours.time_width),
        num_time_mask=ours.time_masks,
    )


class Listening:
    """torch.randint, remembering what it gave."""

    def __init__(self, monkeypatch):
        self._randint, self._given = torch.randint, []
        monkeypatch.setattr(torch, "randint", self)

    def __call__(self, *arguments, **options):
        self._given.append(self._randint(*arguments, **options))
        return self._given[-1]

    def draws(self, lengths, window):
        """s3prl's draws of one batch, which come in this order: a warp an utterance, then the masks."""
        given, self._given = iter(self._given), []
        warps = [(int(next(given)), int(next(given)) + 1) if length > 2 * window else (0, 0) for length in lengths]
        (freq_widths, freq_starts, time_widths, time_starts) = given
        return Draws(*torch.tensor(warps).T, freq_starts, freq_widths, time_starts, time_widths)


def make_frames(lengths, dim, seed=0):
    random = torch.Generator().manual_seed(seed)
    utterances = [torch.randn(length, dim, generator=random) for length in lengths]
    return utterances, torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True), torch.tensor(lengths)


def drawn(augment, lengths, dim, count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [augment.draw(torch.tensor(lengths), dim, random) for _ in range(count)]


# The output


@pytest.mark.parametrize(
    ("augment", "lengths", "dim"),
    [(SMALL, LENGTHS, DIM), (SUPERB, [130, 90, 11, 10, 1], 64), (SUPERB, [120, 50], 13)],
    ids=["small", "superb", "masks wider than the features"],
)
def test_the_same_draws_give_the_output_and_gradient_of_s3prl(augment, lengths, dim, monkeypatch):
    theirs, listening = s3prl_augment(augment), Listening(monkeypatch)
    for seed in range(10):
        utterances, frames, numbers = make_frames(lengths, dim, seed)
        frames.requires_grad_()
        leaves = [utterance.requires_grad_() for utterance in utterances]
        expected, _ = theirs(leaves)
        found = augment.apply(frames, numbers, listening.draws(lengths, augment.time_warp))
        weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(seed))
        (found * weights).sum().backward()
        sum((row * weight[: len(row)]).sum() for row, weight in zip(expected, weights, strict=True)).backward()
        for number, length in enumerate(lengths):
            torch.testing.assert_close(found[number, :length], expected[number], rtol=0, atol=1e-5)
            torch.testing.assert_close(frames.grad[number, :length], leaves[number].grad, rtol=0, atol=1e-4)
            assert not found[number, length:].any()


@pytest.mark.parametrize(("length", "center", "warped"), [(40, 7, 3), (40, 20, 24), (11, 5, 10), (11, 5, 1), (9, 6, 6)])
def test_a_warp_is_torchs_bicubic_interpolation_of_both_sides(length, center, warped):
    frames = make_frames([length], 5)[1].double()
    halves = ((frames[:, None, :center], warped), (frames[:, None, center:], length - warped))
    expected = torch.cat([interpolate(half, (size, 5), mode="bicubic")[:, 0] for half, size in halves], dim=1)
    warp = replace(SMALL, freq_masks=0, time_masks=0)
    draws = replace(drawn(warp, [length], 5, 1)[0], centers=torch.tensor([center]), warped=torch.tensor([warped]))
    found = warp.apply(frames, torch.tensor([length]), draws)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_frames_given_are_left_as_they_are():
    _, frames, lengths = make_frames(LENGTHS, DIM)
    before = frames.clone()
    found = SMALL.apply(frames, lengths, drawn(SMALL, LENGTHS, DIM, 1)[0])
    assert torch.equal(frames, before)
    assert not torch.equal(found, before)


def test_with_everything_switched_off_nothing_changes():
    _, frames, lengths = make_frames(LENGTHS, DIM)
    for off in (SpecAugment(0, 0, 50, 0, 40), SpecAugment(0, 4, 0, 2, 0)):
        assert torch.equal(off.apply(frames, lengths, drawn(off, LENGTHS, DIM, 1)[0]), frames)


# The draws


def test_the_same_seed_gives_the_same_draws():
    def numbers(seed):
        draws = drawn(SUPERB, [100, 70], 80, 1, seed)[0]
        return torch.cat([tensor.flatten() for tensor in vars(draws).values()])

    assert torch.equal(numbers(1), numbers(1))
    assert not torch.equal(numbers(1), numbers(2))


def test_an_utterance_of_twice_the_window_is_not_warped_and_one_frame_more_is():
    for draws in drawn(SUPERB, [10, 11], 80, 200):
        assert (int(draws.centers[0]), int(draws.warped[0])) == (0, 0)
        assert int(draws.centers[1]) == 5
        assert 1 <= int(draws.warped[1]) <= 10


def test_masks_wider_than_the_features_all_start_at_the_first():
    draws = drawn(replace(SUPERB, freq_masks=40), [100], 13, 20)
    assert all(int(each.freq_widths.max()) >= 13 for each in draws)
    assert not any(each.freq_starts.any() for each in draws)


def test_draws_are_distributed_as_those_of_s3prl(monkeypatch):
    """Only one number of each kind is taken of a batch: those of one batch depend on each other."""
    count, lengths = 2500, [26, 17]
    theirs, listening = s3prl_augment(SMALL), Listening(monkeypatch)
    utterances, _, _ = make_frames(lengths, DIM)
    torch.manual_seed(0)
    expected = []
    for _ in range(count):
        theirs(utterances)
        expected.append(listening.draws(lengths, SMALL.time_warp))
    found = drawn(SMALL, lengths, DIM, 4 * count)
    kinds = {
        "center": lambda draws: draws.centers[0],
        "center of the short one": lambda draws: draws.centers[1],
        "shift": lambda draws: draws.warped[0] - draws.centers[0],
        "width of a frequency mask": lambda draws: draws.freq_widths[1, 1],
        "start of a frequency mask": lambda draws: draws.freq_starts[0, 1],
        "width of a time mask": lambda draws: draws.time_widths[1, 0],
        "start of a time mask in the short one": lambda draws: draws.time_starts[1, 0],
        "end of a time mask": lambda draws: draws.time_starts[0, 1] + draws.time_widths[0, 1],
        "frames masked": lambda draws: covered(draws.time_starts[1], draws.time_widths[1]),
        "dimensions masked": lambda draws: covered(draws.freq_starts[0], draws.freq_widths[0]),
    }
    for name, kind in kinds.items():
        ours, others = ([int(kind(draws)) for draws in many] for many in (found, expected))
        assert likely_the_same(ours, others), name


def covered(starts, widths):
    """How many places the masks of an utterance cover together."""
    return len({place for start, width in zip(starts, widths, strict=True) for place in range(start, start + width)})


def likely_the_same(ours, others):
    """Whether two samples of whole numbers may come of one distribution, by a chi-square test.

    Numbers that either sample lacks count as much as any: the first and last are where an implementation goes wrong.
    """
    counts = torch.stack([torch.bincount(torch.tensor(sample), minlength=60) for sample in shifted(ours, others)])
    return chi2_contingency(counts[:, counts.sum(0) > 0]).pvalue > 0.001


def shifted(*samples):
    lowest = min(min(sample) for sample in samples)
    return [[value - lowest for value in sample] for sample in samples]


def test_the_test_of_distributions_notices_a_range_that_is_one_too_long():
    random = torch.Generator().manual_seed(0)
    right, same, wrong = (torch.randint(0, n, (2500,), generator=random).tolist() for n in (20, 20, 21))
    assert likely_the_same(right, same)
    assert not likely_the_same(right, wrong)
