"""The grid against torch's own modules, optimizer and clipping, one rate at a time, and against s3prl's head."""

import copy

import pytest
import torch
from oracles import import_s3prl
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from downstream.fit import grid as grid_module
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.heads import MeanLinear

RATES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]
CPU = torch.device("cpu")
# (layers, slots, batch): one layer and several; one thing to predict and three; fewer classes than utterances and more,
# which the grid computes in two different orders.
SHAPES = [(1, (12,), 32), (4, (12,), 8), (4, (3,), 16), (3, (6, 14, 4), 32), (3, (6, 14, 4), 20), (1, (2, 3), 7)]
DIM, PROJECTOR = 40, 24


def make_grid(layers, slots, rates=RATES, clip=1.0, seed=0):
    return MeanLinearGrid(layers, DIM, slots, PROJECTOR, rates, clip, seed, CPU)


def make_batch(layers, slots, size, seed=0, scale=1.0):
    random = torch.Generator().manual_seed(seed)
    means = scale * torch.randn(size, layers, DIM, generator=random)
    targets = torch.stack([torch.randint(0, count, (size,), generator=random) for count in slots], dim=1)
    weights = torch.rand(size, generator=random) + 0.1
    return means, targets, weights / weights.sum()


class Alone:
    """One learning rate as anyone would write it: a module, autograd, `clip_grad_norm_`, `torch.optim.Adam`."""

    def __init__(self, head, slots, rate, clip=1.0):
        self.head, self.slots, self.clip = head, slots, clip
        self.adam = torch.optim.Adam(head.parameters(), lr=rate)

    def gradients(self, means, targets, weights):
        self.adam.zero_grad()
        blocks = self.head.from_means(means).split(self.slots, dim=-1)
        losses = sum(cross_entropy(b, t, reduction="none") for b, t in zip(blocks, targets.T, strict=True))
        loss = (losses * weights).sum()
        loss.backward()
        return loss.detach()

    def step(self, means, targets, weights):
        loss = self.gradients(means, targets, weights)
        norm = clip_grad_norm_(self.head.parameters(), self.clip)
        if not torch.isnan(norm):
            self.adam.step()
        return loss


def side_by_side(layers, slots, clip=1.0, seed=0):
    grid = make_grid(layers, slots, clip=clip, seed=seed)
    return grid, [Alone(grid.head(point), slots, rate, clip) for point, rate in enumerate(grid.rates)]


def parameters(grid, point):
    """A point's parameters as they are now."""
    grid.keep(point)
    return grid.head(point).state_dict()


def distance(state, other):
    return max(float((state[name] - other[name]).abs().max()) for name in state)


def stepped_along(grid):
    """The gradient of the first point after one step, seen from outside: Adam's first moment is a tenth of it then."""
    moments = (value[0].flatten() for name, value in grid.state().items() if name.startswith("first_moment"))
    return 10 * torch.cat(list(moments))


# One step


@pytest.mark.parametrize(("layers", "slots", "size"), SHAPES)
def test_one_step_is_that_of_torch(layers, slots, size):
    """Adam's first step is lr x gradient / (|gradient| + 1e-8). Rounding moves a gradient by some 1e-9, which shows
    only where the gradient itself is no larger than that: a few 1e-6 of lr were seen, and 1e-7 is the rounding of the
    parameters themselves."""
    grid, alone = side_by_side(layers, slots)
    start = parameters(grid, 0)
    batch = make_batch(layers, slots, size)
    losses = grid.step(*batch)
    for point, one in enumerate(alone):
        assert float(losses[point]) == pytest.approx(float(one.step(*batch)), rel=1e-5)
        after, expected = parameters(grid, point), one.head.state_dict()
        assert distance(after, expected) < 0.01 * grid.rates[point] + 1e-7
        moved = sum(float((after[name] - start[name]).abs().gt(0.5 * grid.rates[point]).sum()) for name in after)
        if grid.rates[point] >= 1e-6:  # below that a step is lost in the rounding of the parameters themselves
            assert moved > 0.9 * sum(value.numel() for name, value in after.items() if layers > 1 or "mix" not in name)


@pytest.mark.parametrize(("layers", "slots", "size"), SHAPES)
@pytest.mark.parametrize("clip", [0.05, 1e9])
def test_gradients_are_those_of_autograd(layers, slots, size, clip):
    """Of all parameters, clipped and not."""
    grid, (alone, *_) = side_by_side(layers, slots, clip)
    batch = make_batch(layers, slots, size)
    alone.gradients(*batch)
    norm = float(clip_grad_norm_(alone.head.parameters(), clip))
    grid.step(*batch)
    mine = stepped_along(grid)
    theirs = torch.cat([p.grad.flatten() for p in alone.head.parameters()])
    assert norm > 0.05  # so that the small clip does clip
    assert float(mine.norm()) == pytest.approx(min(norm, clip), rel=1e-5)
    # In whatever order a grid keeps its numbers, sorted they are the same.
    assert torch.allclose(mine.sort().values, theirs.sort().values, rtol=1e-4, atol=2e-6 * min(norm, clip))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize(("layers", "slots", "size"), SHAPES[1:4])
def test_the_whole_gradient_is_clipped_together(layers, slots, size, scale):
    """Also where it is tiny or huge: the grid takes the norm of a product from its factors."""
    grid, (alone, *_) = side_by_side(layers, slots)
    batch = make_batch(layers, slots, size, scale=scale)
    alone.gradients(*batch)
    norm = float(clip_grad_norm_(alone.head.parameters(), 1.0))
    grid.step(*batch)
    assert float(stepped_along(grid).double().norm()) == pytest.approx(min(norm, 1.0), rel=1e-4)


# Many steps


@pytest.mark.parametrize(("layers", "slots", "size"), SHAPES)
def test_twenty_steps_drift_no_further_than_adam_lets_rounding_grow(layers, slots, size):
    """Adam divides by the size of the gradient, so rounding moves a parameter by a share of the learning rate, not of
    the gradient. Seen were 2e-6 of the way that twenty steps can go at full speed, and 2e-4 with heads of full size. A
    norm that is wrong by 1 % shows as 2e-3, no clipping at all as 0.2."""
    grid, alone = side_by_side(layers, slots)
    for number in range(20):
        batch = make_batch(layers, slots, size, seed=number, scale=1 + number % 3)
        losses = grid.step(*batch)
        expected = [one.step(*batch) for one in alone]
        assert torch.allclose(losses, torch.stack(expected), rtol=1e-4, atol=1e-5)
    for point, one in enumerate(alone):
        assert distance(parameters(grid, point), one.head.state_dict()) < 5e-4 * 20 * grid.rates[point] + 2e-7


def test_points_start_alike_from_torch_s_own_initialisation():
    grid = make_grid(3, (5, 4), seed=3)
    start = parameters(grid, 0)
    assert all(distance(parameters(grid, point), start) == 0 for point in range(len(RATES)))
    assert distance(parameters(make_grid(3, (5, 4), seed=3), 0), start) == 0
    assert distance(parameters(make_grid(3, (5, 4), seed=4), 0), start) > 0.01
    assert not start["mix.weights"].any()
    fresh = MeanLinear(3, DIM, PROJECTOR, 9).state_dict()
    assert {name: value.shape for name, value in fresh.items()} == {name: value.shape for name, value in start.items()}
    for name, fan_in in (("projector", DIM), ("classifier", PROJECTOR)):
        for kind in ("weight", "bias"):
            values = start[f"{name}.{kind}"]
            assert values.abs().max() <= fan_in**-0.5
            assert values.abs().max() > 0.6 * fan_in**-0.5


def test_a_point_has_the_same_result_alone_and_in_a_grid():
    """Not to the last bit, since products of other sizes are added up in another order."""
    layers, slots, size = 4, (12,), 32
    grid = make_grid(layers, slots)
    singles = [make_grid(layers, slots, [rate]) for rate in RATES]
    for number in range(20):
        batch = make_batch(layers, slots, size, seed=number)
        for one in (grid, *singles):
            one.step(*batch)
    for point, single in enumerate(singles):
        assert distance(parameters(grid, point), parameters(single, 0)) < 5e-4 * 20 * RATES[point] + 2e-7
    assert distance(parameters(grid, 0), parameters(grid, 1)) > 0.1  # and the points differ from each other


# What is wrong with one point stays with it


@pytest.mark.parametrize(("layers", "slots", "size"), SHAPES)
@pytest.mark.parametrize("count", [2, 3])
def test_parts_that_are_trained_apart_leave_the_bytes_of_the_whole(count, layers, slots, size, monkeypatch):
    monkeypatch.setattr(grid_module, "_PARTS_ABOVE", 0)
    whole, divided = make_grid(layers, slots), make_grid(layers, slots)
    for step in range(12):
        if step == 6:  # the points that are left are divided anew
            for one in (whole, divided):
                one.keep(1)
                one.drop([1, 4])
        parts = divided.parts(count)
        assert [point for part in parts for point in part.live] == divided.live
        assert len(parts) == (count if step < 6 else 2)  # each has two points at least
        batch = make_batch(layers, slots, size, seed=step)
        losses = whole.step(*batch)
        for part in parts:
            assert torch.equal(part.step(*batch)[part.live], losses[part.live])
    ends = whole.state(), divided.state()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert torch.equal(whole.predict(batch[0]), divided.predict(batch[0]))


def test_what_is_small_or_has_few_points_is_not_divided():
    assert make_grid(4, (12,)).parts(2)[0].live == list(range(7))
    large = [MeanLinearGrid(1, 768, (12,), 2000, RATES[:points], 1.0, 0, CPU) for points in (3, 4)]
    assert [len(one.parts(8)) for one in large] == [1, 2]
    assert len(large[1].parts(1)) == 1


def test_a_nan_in_one_point_skips_that_point_alone():
    """A diverged point has NaN gradients: its update is skipped, as in s3prl, and the others go on as if alone."""
    layers, slots = 2, (3,)
    grid, others = make_grid(layers, slots, [1e-3, 1e-2, 1e-1]), make_grid(layers, slots, [1e-3, 1e-2, 1e-1])
    before = [parameters(grid, point) for point in range(3)]
    poisoned = {name: value.clone() for name, value in grid.state().items()}
    for name, value in poisoned.items():
        if name.startswith("now."):
            value[1].view(-1)[-1] = float("nan")
    grid.restore(poisoned)
    damaged = parameters(grid, 1)
    for number in range(3):
        batch = make_batch(layers, slots, 16, seed=number)
        losses = grid.step(*batch)
        expected = others.step(*batch)
        assert losses[1].isnan()
        assert torch.equal(losses[[0, 2]], expected[[0, 2]])
    for point in (0, 2):
        assert distance(parameters(grid, point), parameters(others, point)) == 0
        assert distance(parameters(grid, point), before[point]) > 1e-4
    after = parameters(grid, 1)
    assert all(torch.equal(after[name], damaged[name]) or damaged[name].isnan().any() for name in after)
    assert all(torch.equal(after[name].nan_to_num(7.0), damaged[name].nan_to_num(7.0)) for name in after)


def test_a_batch_of_nan_changes_nothing():
    grid = make_grid(2, (3,))
    grid.step(*make_batch(2, (3,), 16))
    before = {name: value.clone() for name, value in grid.state().items()}
    means, targets, weights = make_batch(2, (3,), 16)
    assert grid.step(means * float("nan"), targets, weights).isnan().all()
    after = grid.state()
    assert all(torch.equal(before[name], after[name]) for name in before)


# Kept, saved, restored


@pytest.mark.parametrize(("layers", "slots", "size"), [(3, (6, 14, 4), 20), (1, (3,), 32)])
def test_a_restored_grid_goes_on_with_the_same_bits(layers, slots, size):
    batches = [make_batch(layers, slots, size, seed=number) for number in range(10)]
    straight = make_grid(layers, slots)
    halfway = make_grid(layers, slots)
    for batch in batches[:5]:
        straight.step(*batch)
        halfway.step(*batch)
    halfway.keep(2)
    straight.keep(2)
    saved = copy.deepcopy(halfway.state())
    resumed = make_grid(layers, slots, seed=99)
    resumed.restore(saved)
    for batch in batches[5:]:
        assert torch.equal(straight.step(*batch), resumed.step(*batch))
    assert straight.state().keys() == resumed.state().keys()
    for name, value in straight.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_a_state_of_another_shape_is_refused():
    state = make_grid(2, (3,)).state()
    with pytest.raises((ValueError, RuntimeError)):
        make_grid(2, (4,)).restore(state)
    with pytest.raises((ValueError, RuntimeError)):
        make_grid(2, (3,)).restore(dict(list(state.items())[1:]))


def test_what_is_kept_stays_as_it_was():
    layers, slots = 3, (4, 2)
    grid = make_grid(layers, slots)
    grid.step(*make_batch(layers, slots, 16))
    grid.keep(0)
    kept, weights = grid.head(0).state_dict(), grid.layer_weights(0)
    other = grid.head(1).state_dict()  # never kept: the start
    means, *_ = make_batch(layers, slots, 50, seed=5)
    predicted = grid.predict(means, best=True)
    for number in range(1, 6):
        grid.step(*make_batch(layers, slots, 16, seed=number))
    assert distance(grid.head(0).state_dict(), kept) == 0
    assert distance(grid.head(1).state_dict(), other) == 0
    assert torch.equal(grid.predict(means, best=True), predicted)
    assert not torch.equal(grid.predict(means), predicted)
    assert grid.layer_weights(0) == weights
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    assert len(weights) == layers
    assert grid.layer_weights(1) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("slots", [(12,), (6, 14, 4)])
def test_predictions_are_the_largest_logit_of_every_slot(slots):
    grid = make_grid(4, slots)
    for number in range(5):
        grid.step(*make_batch(4, slots, 16, seed=number))
    means, *_ = make_batch(4, slots, 40, seed=9)
    now = grid.predict(means)
    assert now.shape == (len(RATES), 40, len(slots))
    for point in range(len(RATES)):
        grid.keep(point)
        logits = grid.head(point).from_means(means)
        expected = torch.stack([block.argmax(-1) for block in logits.split(slots, dim=-1)], dim=-1)
        assert (expected == now[point]).float().mean() > 0.99  # a tie within rounding may fall otherwise


# s3prl


def test_s3prl_s_own_head_on_padded_frames_gives_the_same_loss_and_gradients():
    """Its keyword spotting head: projector on frames, mean over the length, linear; its objective, cross entropy."""
    model = import_s3prl("s3prl.downstream.model")
    grid = MeanLinearGrid(1, DIM, (12,), PROJECTOR, [1e-3], 1e9, 5, CPU)
    head = grid.head(0)
    projector = torch.nn.Linear(DIM, PROJECTOR)
    theirs = model.UtteranceLevel(PROJECTOR, 12, pooling="MeanPooling", activation="ReLU")
    pairs = [(projector, head.projector), (theirs.post_net.linear, head.classifier)]
    for copied, ours in pairs:
        copied.load_state_dict(ours.state_dict())
    random = torch.Generator().manual_seed(0)
    lengths = torch.tensor([98, 60, 1, 97, 33, 12])
    frames = torch.zeros(6, 98, DIM)
    for i, length in enumerate(lengths):
        frames[i, :length] = torch.randn(int(length), DIM, generator=random) + 0.5
    labels = torch.arange(6)
    logits, _ = theirs(projector(frames), lengths)
    loss = cross_entropy(logits, labels)
    loss.backward()
    means = frames.sum(1, keepdim=True) / lengths[:, None, None]
    assert torch.allclose(head.from_means(means), logits, rtol=1e-5, atol=1e-6)
    ours = grid.step(means, labels[:, None], torch.full((6,), 1 / 6))
    assert float(ours) == pytest.approx(loss.item(), rel=1e-6)
    mine = stepped_along(grid)
    gradients = [p.grad.flatten() for copied, _ in pairs for p in copied.parameters()]
    expected = torch.cat([*gradients, torch.zeros(1)])  # and the weight of the only layer, which has no gradient
    assert torch.allclose(mine.sort().values, expected.sort().values, rtol=1e-4, atol=1e-6)
