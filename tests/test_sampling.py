"""Which examples a step sees: a pure function of seed and step, with the weights of SUPERB's accumulation."""

import numpy as np
import pytest
import torch
from small_runs import SEARCHES
from torch.nn.functional import cross_entropy

from downstream import tasks
from downstream.fit.sampling import Pool, Sampler
from downstream.protocols import load
from downstream.types import Example

SEED = 7


def pool(count, **weights):
    return Pool([Example(str(i), f"{i}.wav", (str(i % 3),)) for i in range(count)], **weights)


def sampler(pool, batch=4, accumulate=1, drop_last=False, crop=None, seed=SEED, rows=None, samples=None):
    rows = np.arange(len(pool.examples)) + 100 if rows is None else rows
    samples = np.full(rows.max() + 1, 1000) if samples is None else samples
    return Sampler(pool, rows, samples, batch, accumulate, drop_last, crop, seed)


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("rows", "weights", "starts"))


def test_a_step_depends_on_nothing_but_its_number():
    options = {"accumulate": 2, "crop": 300}
    for examples in (pool(11), pool(11, weights=np.arange(1.0, 12), draws=9)):
        one = sampler(examples, **options)
        forward = [one(step) for step in range(30)]
        another = sampler(examples, **options)
        order = np.random.default_rng(0).permutation(30)
        assert all(same(another(step), forward[step]) for step in order)
        assert all(same(sampler(examples, **options)(step), forward[step]) for step in (0, 17, 29))
        assert same(one(5), one(5))


def test_other_seeds_draw_otherwise():
    for examples in (pool(40), pool(40, weights=np.ones(40), draws=40)):
        orders = {tuple(sampler(examples, batch=40, seed=seed)(0).rows) for seed in range(5)}
        assert len(orders) == 5
    starts = {tuple(sampler(pool(9), batch=9, crop=10, seed=seed)(0).starts) for seed in range(5)}
    assert len(starts) == 5


def test_an_epoch_has_every_example_once_and_the_next_one_another_order():
    draw = sampler(pool(10), batch=4)
    rows = [np.concatenate([draw(3 * epoch + i).rows for i in range(3)]) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(100, 110)) for epoch in rows)
    assert len({tuple(epoch) for epoch in rows}) == 4
    assert [len(draw(step).rows) for step in range(6)] == [4, 4, 2, 4, 4, 2]


def test_the_last_smaller_micro_batch_can_be_left_out():
    draw = sampler(pool(10), batch=4, drop_last=True)
    assert [len(draw(step).rows) for step in range(6)] == [4] * 6
    epochs = [np.concatenate([draw(2 * epoch + i).rows for i in range(2)]) for epoch in range(20)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len(set(np.concatenate(epochs))) == 10  # nobody is left out for good
    small = sampler(pool(3), batch=4, drop_last=True)  # fewer than a batch: all there are
    assert sorted(small(9).rows) == [100, 101, 102]


def test_micro_batches_flow_across_the_borders_of_epochs():
    """Ten examples in fours: 4 4 2, and a step takes two of those. SUPERB's counter goes on the same way."""
    draw = sampler(pool(10), batch=4, accumulate=2)
    sizes = [len(draw(step).rows) for step in range(3)]
    assert sizes == [8, 6, 6]
    expected = [[1 / 8] * 8, [1 / 4] * 2 + [1 / 8] * 4, [1 / 8] * 4 + [1 / 4] * 2]
    for step, weights in enumerate(expected):
        assert np.allclose(draw(step).weights, weights)
        assert draw(step).weights.dtype == np.float32
    assert sorted([*draw(0).rows, *draw(1).rows[:2]]) == list(range(100, 110))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("count", "batch", "accumulate"), [(10, 4, 1), (10, 4, 3), (17, 8, 4), (9, 2, 8), (5, 8, 2)])
def test_the_weighted_loss_is_that_of_the_accumulation_loop(count, batch, accumulate, drop_last):
    """Against the loop as SUPERB runs it: loss.mean() / accumulate, backward, over micro-batches of a data loader."""
    random = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(count, 6, generator=random), torch.arange(count) % 3
    model = torch.nn.Linear(6, 3)
    draw = sampler(pool(count), batch, accumulate, drop_last, rows=np.arange(count))
    one_by_one = sampler(pool(count), batch, 1, drop_last, rows=np.arange(count))
    for step in range(5):
        model.zero_grad()
        expected = 0.0
        for i in range(accumulate):
            rows = one_by_one(step * accumulate + i).rows
            loss = cross_entropy(model(inputs[rows]), targets[rows]) / accumulate
            loss.backward()
            expected += loss.item()
        gradient = model.weight.grad.clone()
        model.zero_grad()
        drawn = draw(step)
        losses = cross_entropy(model(inputs[drawn.rows]), targets[drawn.rows], reduction="none")
        (losses * torch.from_numpy(drawn.weights)).sum().backward()
        assert float((losses.detach() * torch.from_numpy(drawn.weights)).sum()) == pytest.approx(expected, rel=1e-5)
        assert torch.allclose(model.weight.grad, gradient, rtol=1e-4, atol=1e-6)


# Weighted pools


def test_weighted_draws_come_near_the_weights():
    weights = np.array([1.0, 2.0, 5.0, 0.0])
    drawn = np.concatenate([pool(4, weights=weights, draws=500).epoch(SEED, number) for number in range(20)])
    assert len(drawn) == 10_000
    shares = np.bincount(drawn, minlength=4) / 10_000
    # A share of 10,000 draws has a standard deviation of 0.005 at most; five of them.
    assert np.abs(shares - weights / 8).max() < 0.025
    assert shares[3] == 0


def test_keyword_spotting_draws_its_classes_evenly(mini_manifest):
    """Twelve classes with very different numbers of clips; silence by file, then by crop."""
    task, manifest, protocol = tasks.get("ks"), mini_manifest("speech_commands"), load("superb").task("ks")
    objective = task.objective(manifest, protocol)
    (fold,) = task.folds(manifest, protocol, objective)
    (classes,) = objective.classes
    words, silence = manifest.splits["train"], manifest.splits["silence"]
    assert fold.train.draws == len(words) + len({e.audio for e in silence})
    drawn = np.concatenate([fold.train.epoch(SEED, number) for number in range(300)])
    labels = np.array([classes.index(e.target[0]) for e in fold.train.examples])
    shares = np.bincount(labels[drawn], minlength=12) / len(drawn)
    assert len(drawn) > 10_000
    assert np.abs(shares - 1 / 12).max() < 5 * np.sqrt(1 / 12 / len(drawn))
    noises = sorted({e.audio for e in silence})
    of_noise = [noises.index(e.audio) for e in np.array(fold.train.examples, dtype=object)[drawn] if e in set(silence)]
    shares = np.bincount(of_noise) / len(of_noise)
    assert np.abs(shares - 1 / len(noises)).max() < 5 * np.sqrt(1 / len(noises) / len(of_noise))
    assert {e.target for e in fold.test.examples} == {(name,) for name in classes}
    assert fold.test.weights is None


def test_other_tasks_and_an_unbalanced_protocol_draw_everything_once(mini_manifest):
    protocol = load("superb", ["ks.balanced=false", "asv.dev_speakers=2"])
    for name in (name for name in tasks.TASKS if name not in SEARCHES):
        task, numbers = tasks.get(name), protocol.task(name)
        manifest = mini_manifest(task.corpus)
        for fold in task.folds(manifest, numbers, task.objective(manifest, numbers)):
            assert all(part.weights is None for part in fold.pools)
            assert (fold.dev.dev_counts(SEED) == 1).all()


def test_dev_counts_are_one_epoch_the_same_at_every_look():
    examples = pool(6, weights=np.array([1.0, 1.0, 1.0, 1.0, 1.0, 7.0]), draws=600)
    counts = examples.dev_counts(SEED)
    assert counts.sum() == 600
    assert np.array_equal(counts, examples.dev_counts(SEED))
    assert not np.array_equal(counts, examples.dev_counts(SEED + 1))
    assert counts[5] > 3 * counts[:5].max()
    # Not what training draws: its epochs come from another stream.
    assert not any(np.array_equal(counts, np.bincount(examples.epoch(SEED, n), minlength=6)) for n in range(50))


# Crops


def test_crops_start_anywhere_they_fit_and_short_ones_are_left_whole():
    samples = np.array([0] * 100 + [500, 501, 502, 900, 100])
    draw = sampler(pool(5), batch=5, crop=500, samples=samples)
    seen = {row: set() for row in range(100, 105)}
    for step in range(300):
        drawn = draw(step)
        for row, start in zip(drawn.rows, drawn.starts, strict=True):
            seen[row].add(int(start))
    assert seen[100] == seen[104] == {-1}  # as long as a crop, and shorter
    assert seen[101] == {0, 1}  # both ends are reached
    assert seen[102] == {0, 1, 2}
    assert min(seen[103]) >= 0
    assert max(seen[103]) <= 400
    assert len(seen[103]) > 150


def test_no_crops_where_none_are_asked_for():
    assert (sampler(pool(5), batch=5)(0).starts == -1).all()
