"""Batches by length, against SUPERB's rules told again, item by item."""

import random

import numpy as np
import pytest

from downstream.fit.sampling import Groups, Pool, Sampler, Windows
from downstream.types import Example

HALVE = 300_000


def lengths_of(count, seed=0, high=400_000):
    """Distinct, so that there is one descending order."""
    return np.random.default_rng(seed).choice(np.arange(3000, high), size=count, replace=False)


def retold_window(index, ordered, samples, size):
    """What the reference's data set gives for an index, and what its collation makes of that in training."""
    index = max(0, min(len(ordered) - size, index))
    items = ordered[index : index + size]
    if samples[items[0]] > HALVE and len(items) > 1:
        items = items[: len(items) // 2]
    return items


def retold_groups(samples, bucket, half_from=2000):
    """The reference fills a bucket after the other from its table, which is sorted by length, and halves long ones."""
    found, filling = [], []
    for item in sorted(range(len(samples)), key=lambda i: -samples[i]):
        filling.append(item)
        if len(filling) == bucket:
            if bucket >= 2 and max(samples[i] for i in filling) > half_from:
                found += [filling[: bucket // 2], filling[bucket // 2 :]]
            else:
                found.append(filling)
            filling = []
    return found + ([filling] if len(filling) > 1 else [])


def plain(batches):
    return [[int(i) for i in batch] for batch in batches]


@pytest.mark.parametrize("size", [1, 2, 5, 16])
@pytest.mark.parametrize("count", [1, 2, 5, 15, 16, 17, 60])
@pytest.mark.parametrize("by", ["audio", "targets"])
def test_windows_are_those_of_superb(by, count, size):
    samples = lengths_of(count)
    targets = None if by == "audio" else lengths_of(count, seed=1, high=5000)
    keys = samples if targets is None else targets
    ordered = sorted(range(count), key=lambda i: -keys[i])
    expected = [retold_window(index, ordered, samples, size) for index in range(count)]
    assert plain(Windows(targets, HALVE).arrange(samples, size)) == expected


def test_the_last_windows_are_all_the_same_one():
    windows = plain(Windows().arrange(lengths_of(40), 16))
    assert len(windows) == 40
    assert all(window == windows[-1] for window in windows[24:])
    assert windows[23] != windows[-1]
    assert all(len(window) == 16 for window in windows)
    counts = np.bincount(np.concatenate(windows), minlength=40)
    ordered = np.argsort(-lengths_of(40))
    assert counts[ordered[:16]].tolist() == list(range(1, 17))  # the first ones are seen least


def test_a_window_is_halved_for_its_first_utterance_alone():
    """Sorted by targets, the longest audio may come anywhere."""
    targets, long, short = np.array([9, 8, 7, 6, 5, 4]), HALVE + 1, 1000
    samples = np.array([short, long, short, short, HALVE, short])
    windows = plain(Windows(targets, HALVE).arrange(samples, 3))
    assert windows == [[0, 1, 2], [1], [2, 3, 4], [3, 4, 5], [3, 4, 5], [3, 4, 5]]
    assert plain(Windows(targets, HALVE).arrange(samples, 4))[1] == [1, 2]
    alone = np.array([long])
    assert plain(Windows(np.array([3]), HALVE).arrange(alone, 16)) == [[0]]


def test_equal_lengths_keep_the_order_of_the_corpus():
    equal = np.full(6, 7)
    assert plain(Windows().arrange(equal, 2))[:3] == [[0, 1], [1, 2], [2, 3]]
    assert plain(Groups().arrange(equal, 1)) == [[0], [1], [2], [3], [4], [5]]


@pytest.mark.parametrize("batch", [1, 2, 16])
@pytest.mark.parametrize("count", [2, 7, 31, 32, 33, 34, 63, 64, 65, 200])
def test_groups_are_those_of_superb(count, batch):
    samples = lengths_of(count)
    assert plain(Groups().arrange(samples, batch)) == retold_groups(samples, 2 * batch)


def test_the_groups_of_librispeech():
    """28539 utterances: 891 buckets of 32, each cut in two, and 27 that are left over and stay together."""
    batches = Groups().arrange(lengths_of(28539), 16)
    sizes = [len(batch) for batch in batches]
    assert sizes == [16] * 1782 + [27]
    assert len(set(np.concatenate(batches))) == 28539


def test_a_single_utterance_that_is_left_over_is_left_out():
    batches = Groups().arrange(lengths_of(33), 16)
    assert [len(batch) for batch in batches] == [16, 16]
    assert int(np.argmin(lengths_of(33))) not in np.concatenate(batches)


def sampler(batches, count=40, batch=4, accumulate=1, seed=7):
    pool = Pool([Example(str(i), f"{i}.wav", ("a",)) for i in range(count)], batches=batches)
    samples = np.zeros(count + 100, dtype=int)
    samples[100:] = lengths_of(count)
    return Sampler(pool, np.arange(count) + 100, samples, batch, accumulate, False, None, seed)


def drawn(sampler, steps):
    """The micro-batches of some steps, as positions in the pool."""
    found = []
    for step in steps:
        draw = sampler(step)
        assert sum(draw.sizes) == len(draw.rows) == len(draw.weights)
        found += plain(np.split(draw.rows - 100, np.cumsum(draw.sizes)[:-1]))
    return found


@pytest.mark.parametrize("batches", [Windows(halve_samples=HALVE), Groups()])
def test_every_epoch_has_each_batch_once_in_another_order(batches):
    expected = plain(batches.arrange(lengths_of(40), 4))
    draw, size = sampler(batches), len(expected)
    epochs = [drawn(draw, range(epoch * size, (epoch + 1) * size)) for epoch in range(4)]
    assert all(sorted(epoch) == sorted(expected) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) == 4
    assert expected not in epochs
    assert drawn(sampler(batches, seed=8), range(size)) != epochs[0]


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("batches", [Windows(halve_samples=HALVE), Groups()])
def test_any_step_can_be_taken_again(batches, accumulate):
    draw = sampler(batches, accumulate=accumulate)
    forward = [drawn(draw, [step]) for step in range(60)]
    steps = list(range(60))
    random.Random(0).shuffle(steps)
    assert all(drawn(draw, [step]) == forward[step] for step in steps)
    assert all(drawn(sampler(batches, accumulate=accumulate), [step]) == forward[step] for step in (0, 31, 59))


def test_micro_batches_flow_across_the_borders_of_epochs():
    """An epoch of 9 batches, two a step: one step is of two epochs, and nothing is lost or taken twice."""
    expected = sorted(plain(Groups().arrange(lengths_of(35), 4)))
    assert len(expected) == 9
    one, two = (sampler(Groups(), count=35, accumulate=accumulate) for accumulate in (1, 2))
    found = drawn(two, range(9))
    assert found == drawn(one, range(18))
    assert sorted(found[:9]) == sorted(found[9:]) == expected
    sizes = [two(step).sizes for step in range(9)]
    assert [size for step in sizes for size in step] == [len(batch) for batch in found]
    assert sorted(map(sum, sizes)) == [7] * 2 + [8] * 7


def test_each_utterance_weighs_as_in_the_mean_of_its_micro_batch():
    """SUPERB takes the mean of each micro-batch and divides it by how many there are."""
    draw = sampler(Windows(halve_samples=HALVE), batch=5, accumulate=2)
    seen = set()
    for step in range(40):
        one = draw(step)
        expected = np.concatenate([np.full(size, 1 / size / 2) for size in one.sizes])
        assert np.allclose(one.weights, expected)
        assert one.weights.dtype == np.float32
        assert np.isclose(one.weights.sum(), 1)
        assert (one.starts == -1).all()
        assert one.step == step
        seen.add(tuple(one.sizes))
    assert seen == {(2, 2), (2, 5), (5, 2), (5, 5)}
