"""Successive halving: who is dropped when, that no one else can tell, and what a row says of it."""

from functools import partial

import pytest
import torch
from test_grid import DIM as MEAN_DIM
from test_grid import PROJECTOR, make_batch
from test_sequence_grid import AUGMENT, make_step

from downstream import protocols
from downstream.fit.ctc_grid import CtcGrid
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.halving import dropped_at, to_drop
from downstream.fit.sequence_heads import Recurrent
from upstream.errors import UsageError

CPU = torch.device("cpu")
RATES = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001]
STEPS = 1600  # with a look every 100 steps

# Who is dropped


def looks(*scores, layers=None):
    told = {"layer": layers} if layers else {}
    return [{"step": 100 * (number + 1), "dev": list(own), **told} for number, own in enumerate(scores)]


CLEAR = [90, 20, 80, 10, 70, 10, 60]  # its best half is points 0, 2, 4 and 6


def test_the_worse_half_goes_after_an_eighth_of_the_steps():
    assert to_drop(looks(CLEAR, CLEAR), STEPS, True) == [1, 3, 5]


def test_where_less_is_better_it_is_the_other_half():
    assert to_drop(looks(CLEAR, CLEAR), STEPS, False) == [0, 2, 4]  # 60 is kept: a half is rounded up


def test_half_of_the_others_go_after_half_of_the_steps():
    rest = [90, None, 80, None, 70, None, 60]
    history = [CLEAR, CLEAR, *[rest] * 5]
    assert to_drop(looks(*history), STEPS, True) == []
    assert to_drop(looks(*history, rest), STEPS, True) == [4, 6]


def test_what_counts_is_the_best_so_far():
    assert to_drop(looks([50, 20, 10, 40], [50, 20, 60, 40]), STEPS, True) == []  # its changes: 0 and 50
    assert to_drop(looks([50, 20, 10, 40], [50, 20, 30, 0]), STEPS, True) == []  # 50 - 20 is no more than 2 x 20
    assert to_drop(looks([50, 20, 10, 40], [50, 15, 30, 35]), STEPS, True) == [1, 2]  # 30 is more than 2 x 2.5


def test_of_equals_the_earlier_stay():
    assert to_drop(looks([10, 50, 50, 50, 50], [10, 50, 50, 50, 50]), STEPS, True) == [0, 4]


def test_while_all_are_at_chance_nobody_goes():
    """The best is ahead of the worst by 3, those that would stay change by 2 from look to look."""
    chance = [[8, 10, 9, 8], [10, 8, 11, 8]]
    assert to_drop(looks(*chance), STEPS, True) == []
    assert to_drop(looks([100.0] * 7, [100.0] * 7), STEPS, False) == []


def test_a_halving_that_was_not_clear_is_made_as_soon_as_it_is():
    chance, learned = [[8, 10, 9, 8], [10, 8, 11, 8], [9, 8, 10, 8]], [8, 60, 50, 8]
    assert to_drop(looks(*chance), STEPS, True) == []
    assert to_drop(looks(*chance, learned, learned), STEPS, True) == [0, 3]  # 52, of changes of 0, 2, 2, 40 or 52


@pytest.mark.parametrize("history", [[CLEAR], [CLEAR] * 16])
def test_neither_at_the_first_look_nor_at_the_last(history):
    assert to_drop(looks(*history), 100 * max(8, len(history)), True) == []


@pytest.mark.parametrize("scores", [[90], [90, 10]])
def test_two_are_always_trained_to_the_end(scores):
    assert to_drop(looks(*[scores] * 10), STEPS, True) == []
    three = [90, 10, *[None] * 5]
    assert to_drop(looks(CLEAR, CLEAR, *[three] * 10), STEPS, True) == []


def test_each_layer_is_halved_among_its_own():
    scores, layers = [90, 80, 70, 60, 4, 3, 2, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    assert to_drop(looks(scores, scores, layers=layers), STEPS, True) == [2, 3, 6, 7]


def test_when_a_point_was_dropped_is_in_the_history():
    history = looks([1, 2, 3], [1, 2, 3], [1, None, 3], [1, None, None])
    assert dropped_at(history) == [None, 200, 300]
    assert dropped_at(history[:2]) == [None, None, None]


# The grids


def means_grid(layers, only=(), slots=(5, 3)):
    rates = [0.1, 0.01] * layers if only else RATES
    return MeanLinearGrid(layers, MEAN_DIM, slots, PROJECTOR, rates, 1.0, 3, CPU, only)


def recurrent_grid(layers, only=()):
    make = partial(Recurrent, 6, 8, 5, 2, 0.2, False, 1, 7)
    rates = [0.1, 0.01] * layers if only else RATES
    return CtcGrid(layers, make, rates, 0.1, 5, CPU, 160, AUGMENT, only)


def of_means(layers, number):
    return make_batch(layers, (5, 3), 12, seed=number)


def of_frames(layers, number):
    return make_step(number, layers=layers)


GRIDS = {"means": (means_grid, of_means), "frames": (recurrent_grid, of_frames)}


def trained(kind, layers, drops, steps=8, only=(), grid=None, first=0):
    make, batch = GRIDS[kind]
    grid, losses = grid or make(layers, only), []
    for number in range(first, steps):
        losses.append(grid.step(*batch(layers, number)))
        if number == 0:
            for point in grid.live:
                grid.keep(point)
        if number in drops:
            grid.drop(drops[number])
    return grid, torch.stack(losses)


def answers(kind, grid, layers, best=False):
    batch = GRIDS[kind][1](layers, 99)[0]
    if kind == "means":
        return list(grid.predict(batch, best))
    return [torch.cat(point) for point in grid.outputs(batch, best)]


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("drops", [{1: [0]}, {1: [5, 6]}, {1: [0, 3, 6], 4: [1, 2]}, {1: [4, 5, 6], 3: [0], 5: [2]}])
def test_no_point_can_tell_that_others_were_dropped(kind, layers, drops):
    full, expected = trained(kind, layers, {})
    halved, losses = trained(kind, layers, drops)
    gone = sorted(point for points in drops.values() for point in points)
    assert halved.live == [point for point in range(len(RATES)) if point not in gone]
    assert torch.equal(losses[:, halved.live], expected[:, halved.live])
    every = answers(kind, full, layers)
    for mine, point in zip(answers(kind, halved, layers), halved.live, strict=True):
        assert torch.equal(mine, every[point])
    for point in halved.live:
        full.keep(point)
        halved.keep(point)
    for mine, theirs in zip(answers(kind, halved, layers, True), answers(kind, full, layers, True), strict=True):
        assert torch.equal(mine, theirs)  # of those that are gone too: theirs were kept before
    for point in range(len(RATES)):
        heads = (grid.head(point).state_dict() for grid in (full, halved))
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(*(head.values() for head in heads), strict=True))


@pytest.mark.parametrize("kind", GRIDS)
def test_with_a_head_for_each_layer_too(kind):
    only = [layer for layer in range(3) for _ in range(2)]
    _, expected = trained(kind, 3, {}, only=only)
    halved, losses = trained(kind, 3, {1: [0, 3], 3: [5]}, only=only)
    assert halved.live == [1, 2, 4]
    assert torch.equal(losses[:, halved.live], expected[:, halved.live])
    assert halved.only_layers == only


@pytest.mark.parametrize("kind", GRIDS)
def test_the_loss_of_a_dropped_point_is_no_number(kind):
    _, losses = trained(kind, 2, {3: [1, 4]})
    assert losses[:4].isfinite().all()
    assert losses[4:].isnan().nonzero()[:, 1].unique().tolist() == [1, 4]


@pytest.mark.parametrize("kind", GRIDS)
def test_a_half_dropped_grid_continues_from_its_state_to_the_same_bytes(kind):
    drops = {1: [0, 6], 3: [2]}
    straight, losses = trained(kind, 3, drops)
    before, _ = trained(kind, 3, drops, steps=5)
    state = {name: tensor.clone() for name, tensor in before.state().items()}
    fresh = GRIDS[kind][0](3)
    fresh.restore(state)
    assert fresh.live == [1, 3, 4, 5]
    assert fresh.threads == straight.threads
    _, rest = trained(kind, 3, {}, grid=fresh, first=5)
    assert torch.equal(rest[:, fresh.live], losses[5:, fresh.live])
    ends = straight.state(), fresh.state()
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("kind", GRIDS)
def test_a_state_of_another_shape_leaves_a_grid_as_it_was(kind):
    other, _ = trained(kind, 3, {1: [0, 6]}, steps=3)
    fresh = GRIDS[kind][0](2)
    with pytest.raises(ValueError, match="another shape"):
        fresh.restore(other.state())
    assert fresh.live == list(range(len(RATES)))
    missing = {name: tensor for name, tensor in other.state().items() if name != "dropped"}
    with pytest.raises(ValueError, match="another shape"):
        GRIDS[kind][0](3).restore(missing)


def test_nothing_is_kept_of_a_dropped_point_but_its_best():
    grid = means_grid(3)
    whole = sum(tensor.numel() for name, tensor in grid.state().items() if not name.startswith("best"))
    grid.drop([0, 1, 2, 3])
    part = sum(t.numel() for n, t in grid.state().items() if not n.startswith(("best", "dropped")))
    assert 7 * part == 3 * whole
    grid = recurrent_grid(3)
    grid.drop([1])
    assert {name.split(".")[1] for name in grid.state() if name.startswith("1.")} == {"best"}
    assert {name.split(".")[1] for name in grid.state() if name.startswith("2.")} == {
        *("best", "now", "first", "second", "steps")
    }


def test_nothing_is_computed_of_a_dropped_point(monkeypatch):
    heard, forward = [], Recurrent.forward
    monkeypatch.setattr(Recurrent, "forward", lambda self, *rest: heard.append(self) or forward(self, *rest))
    grid = recurrent_grid(3)
    grid.step(*of_frames(3, 0))
    assert len(set(map(id, heard))) == 7
    grid.drop([1, 3, 6])
    heard.clear()
    grid.step(*of_frames(3, 1))
    grid.outputs(of_frames(3, 2)[0], best=False)
    assert len(set(map(id, heard))) == 4


# The word of --lr


def test_auto_is_the_grid_of_the_protocol_halved():
    protocol = protocols.load("superb", lr=["auto"])
    full = protocols.load("superb").task("ks")
    assert protocol.task("ks").rates == full.rates
    assert protocol.task("ks").settings() == full.settings() | {"halving": True}
    assert protocol.changes_of("ks") == ("lr=auto",)
    assert protocol.changes_of("qbe") == ()
    own = protocols.load("superb", ["ks.grid=[0.1, 0.01, 0.001]"], ["auto"])
    assert own.task("ks").rates == (0.1, 0.01, 0.001)
    assert own.changes_of("ks") == ("grid=[0.1, 0.01, 0.001]", "lr=auto")


def test_a_grid_of_which_none_would_be_dropped_stays_the_protocols_own():
    protocol = protocols.load("mini", lr=["auto"])
    assert protocol.task("asr") == protocols.load("mini").task("asr")  # two rates
    assert protocol.changes_of("asr") == ()
    assert protocol.changes_of("pr") == ("lr=auto",)  # three


@pytest.mark.parametrize("words", [["auto", "0.1"], ["grid", "auto"]])
def test_auto_stands_alone(words):
    with pytest.raises(UsageError, match=r"--lr .*auto.*: 'auto' halves the protocol's own grid: give it alone"):
        protocols.load("superb", lr=words)
