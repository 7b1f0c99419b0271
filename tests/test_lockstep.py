"""Trainings in lockstep: each learns, to the last byte, what it learns alone, and what they share is heard once."""

import dataclasses
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_train import CLASSES, CPU, DIM, LAYERS, LOOK, OBJECTIVE, PROTOCOL, STEPS, Memory, clouds, stop

from downstream.fit import checkpoints
from downstream.fit import train as loop
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.looking import Question, predict, predict_all
from downstream.fit.running import Split, Training
from downstream.fit.sampling import Pool
from downstream.fit.stopping import Interrupted
from downstream.fit.train import fit
from downstream.objectives.classification import Classification
from downstream.represent.frame_features import FrameBatch
from downstream.tasks import Fold
from downstream.types import Example
from upstream.errors import ContractError, DataError

EXAMPLES = [Example(str(number), "", ("x",)) for number in range(60)]
SLOWER = dataclasses.replace(PROTOCOL, steps=33, eval_every=15, batch=4)  # comes to its looks at 15, 30 and 33


class Live(Memory):
    mode = "live"


def training(folder, seed, protocol=PROTOCOL, objective=OBJECTIVE, dev=range(40, 60), on_look=lambda history: None):
    """On clouds: rows 0 to 39 to learn from, others to be selected on."""
    _, targets = clouds()
    grid = MeanLinearGrid(LAYERS, DIM, (CLASSES,), protocol.projector, [1e-1, 1e-3], 1.0, seed, CPU)
    pools = [Pool([EXAMPLES[row] for row in rows]) for rows in (range(40), dev, [])]
    splits = [
        Split(pool, np.array(rows), targets[list(rows)], np.ones(len(rows)))
        for pool, rows in zip(pools, (range(40), dev), strict=False)
    ]
    return Training(Fold("all", *pools), objective, grid, *splits, protocol, seed, folder / f"{seed}.state", on_look)


def alone(folder, **options):
    """What trainings leave that never met another one: by seed, checkpoint and progress."""
    left = {}
    for seed in (1, 2, 3):
        one = training(folder, seed, **options)
        assert fit([one], Live(clouds()[0]), None, progress_bar=False) == [None]
        left[seed] = one.checkpoint.read_bytes(), one.progress
    return left


def left_by(trainings):
    return {one.seed: (one.checkpoint.read_bytes(), one.progress) for one in trainings}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return alone(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def two_paces(tmp_path_factory):
    """The second looks at dev at other steps than the first, and ends before it."""
    folder = tmp_path_factory.mktemp("paces")
    return {1: alone(folder / "first")[1], 2: alone(folder / "second", protocol=SLOWER)[2]}


def of_two_paces(folder, **options):
    return [training(folder, 1, **options), training(folder, 2, protocol=SLOWER, **options)]


# What they share


@pytest.mark.parametrize("features", [Memory, Live])
def test_three_seeds_learn_what_each_learns_alone(features, three, tmp_path):
    trainings = [training(tmp_path, seed) for seed in (1, 2, 3)]
    assert fit(trainings, features(clouds()[0]), None, progress_bar=False) == [None] * 3
    assert left_by(trainings) == three


def test_each_step_is_heard_once_for_all_and_so_is_dev(tmp_path):
    features = Live(clouds()[0])
    trainings = [training(tmp_path, seed) for seed in (1, 2, 3)]
    fit(trainings, features, None, progress_bar=False)
    assert len(features.asked) == STEPS + STEPS // LOOK
    looks = [rows for rows, _ in features.asked if len(rows) == 20]
    assert [sorted(rows) for rows in looks] == [list(range(40, 60))] * (STEPS // LOOK)
    steps = [rows.tolist() for rows, _ in features.asked if len(rows) != 20]
    assert all(len(set(rows)) == len(rows) <= 3 * PROTOCOL.batch for rows in steps)
    assert sum(map(len, steps)) < 3 * STEPS * PROTOCOL.batch  # some were drawn by two of them at once


def test_of_kept_features_each_reads_its_own_steps_and_dev_is_read_once(tmp_path):
    """Steps take turns from look to look: 10 of the one, 10 of the other, and then dev for both."""
    features = Memory(clouds()[0])
    fit([training(tmp_path, seed) for seed in (1, 2)], features, None, progress_bar=False)
    assert [len(rows) == 20 for rows, _ in features.asked] == ([False] * 20 + [True]) * 4


def test_one_that_is_at_a_look_waits_for_the_other(two_paces, tmp_path):
    """The first looks at steps 10, 20, 30 and 40, the second at 15, 30 and 33. They step together as far as they can:
    10 times, then the second 5 times alone; once more 10 and 5; 3 together, then the first 7 times alone; and the first
    its last 10."""
    features = Live(clouds()[0])
    trainings = of_two_paces(tmp_path)
    assert fit(trainings, features, None, progress_bar=False) == [None, None]
    assert left_by(trainings) == two_paces
    looks = [number for number, (rows, _) in enumerate(features.asked) if len(rows) == 20]
    assert np.diff([-1, *looks]).tolist() == [16, 16, 11, 11]


def test_crops_are_shared_only_where_they_start_alike(tmp_path):
    protocol = dataclasses.replace(PROTOCOL, batch=40)
    features = Live(clouds()[0], samples=1000)
    fit([training(tmp_path, seed, protocol) for seed in (1, 2)], features, 990, progress_bar=False)
    steps = [np.stack(asked) for asked in features.asked if asked[1] is not None]
    assert all(np.array_equal(np.unique(pairs, axis=1), pairs) for pairs in steps)  # none is asked for twice
    assert 40 < np.mean([pairs.shape[1] for pairs in steps]) < 80  # of 11 starts one in 11 is the same
    alone = Live(clouds()[0], samples=1000)
    fit([training(tmp_path / "alone", 1, protocol)], alone, 990, progress_bar=False)
    drawn = [set(zip(*asked, strict=True)) for asked in alone.asked if asked[1] is not None]
    assert all(own <= set(zip(*both, strict=True)) for own, both in zip(drawn, steps, strict=True))


class Spy:
    """An objective that predicts of each row its first feature, and remembers which batches it was given."""

    form, higher = "means", True

    def __init__(self):
        self.batches = []

    def opened(self, targets):
        return targets

    def predict(self, learners, batch, targets, best):
        values = batch if isinstance(batch, torch.Tensor) else torch.stack([v.flatten() for v in batch.values])
        self.batches.append((values.flatten().tolist(), list(targets)))
        return [values.flatten().tolist()]


class Numbered:
    """Features that are the number of their row, of lengths with many equals; tensors or frames."""

    mode, eval_rows, ahead = "live", 8, 0

    def __init__(self, frames):
        self.frames, self.samples = frames, np.random.default_rng(3).integers(1, 9, 100)
        self.asked = []

    def batch(self, rows, starts=None):
        self.asked += rows.tolist()
        values = torch.from_numpy(rows).float()
        if not self.frames:
            return values[:, None, None]
        return FrameBatch([value.view(1, 1, 1) for value in values], torch.ones(len(rows), 1), torch.from_numpy(rows))


ONE_HEAD = SimpleNamespace(rates=[0.1], live=[0])


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("ahead", [0, 2])
def test_a_look_at_rows_that_overlap_reads_each_once_and_gives_each_its_own_batches(frames, ahead):
    random = np.random.default_rng(5)
    asked = [random.permutation(100)[:70], random.permutation(100)[:30], random.permutation(100)[:1]]
    expected = []
    for rows in asked:
        spy = Spy()
        assert predict(spy, ONE_HEAD, Numbered(frames), rows, rows * 10) == [rows.tolist()]
        expected.append(spy.batches)
    features, spies = Numbered(frames), [Spy() for _ in asked]
    features.ahead = ahead
    questions = [Question(spy, ONE_HEAD, rows, rows * 10) for spy, rows in zip(spies, asked, strict=True)]
    assert predict_all(questions, features) == [[rows.tolist()] for rows in asked]
    assert [spy.batches for spy in spies] == expected
    assert sorted(features.asked) == sorted(set(np.concatenate(asked).tolist()))


# Errors


class Failing(Classification):
    """Fails at one of its own calls."""

    def __init__(self, where, at):
        super().__init__(OBJECTIVE.classes)
        object.__setattr__(self, "calls", {"where": where, "at": at, "so far": 0})

    def _count(self, where):
        self.calls["so far"] += where == self.calls["where"]
        if where == self.calls["where"] and self.calls["so far"] == self.calls["at"]:
            raise DataError("this one alone")

    def opened(self, targets):
        self._count("opened")
        return targets

    def step(self, *arguments):
        self._count("step")
        return super().step(*arguments)

    def predict(self, *arguments):
        self._count("predict")
        return super().predict(*arguments)

    def figure(self, *arguments):
        self._count("figure")
        return super().figure(*arguments)


@pytest.mark.parametrize("where", ["opened", "step", "predict", "figure"])
@pytest.mark.parametrize("features", [Memory, Live])
@pytest.mark.parametrize("ahead", [0, 2])
def test_one_that_fails_ends_alone(where, features, ahead, three, tmp_path):
    shared = features(clouds()[0])
    shared.ahead = ahead
    at = 3 if where in ("predict", "figure") else 27
    trainings = [training(tmp_path, 1), training(tmp_path, 2, objective=Failing(where, at)), training(tmp_path, 3)]
    first, second, third = fit(trainings, shared, None, progress_bar=False)
    assert (first, third) == (None, None)
    assert isinstance(second, DataError)
    assert left_by([trainings[0], trainings[2]]) == {1: three[1], 3: three[3]}
    assert trainings[1].progress.step < STEPS


def test_one_whose_curves_cannot_be_written_ends_alone(three, tmp_path):
    def refuse(history):
        raise OSError("no space")

    trainings = [training(tmp_path, 1), training(tmp_path, 2, on_look=refuse)]
    first, second = fit(trainings, Live(clouds()[0]), None, progress_bar=False)
    assert first is None
    assert isinstance(second, OSError)
    assert left_by(trainings[:1]) == {1: three[1]}


def test_features_that_cannot_be_had_end_all_that_are_not_done(three, tmp_path):
    def break_down():
        raise ContractError("broken")

    (tmp_path / "3.state").write_bytes(three[3][0])
    trainings = [training(tmp_path, seed) for seed in (1, 2, 3)]
    first, second, third = fit(trainings, Live(clouds()[0], at=15, then=break_down), None, progress_bar=False)
    assert isinstance(first, ContractError)
    assert isinstance(second, ContractError)
    assert third is None
    assert left_by(trainings[2:]) == {3: three[3]}


def test_features_that_cannot_be_had_for_an_answer_end_it(tmp_path):
    def break_down():
        raise ContractError("broken")

    one = training(tmp_path, 1)
    question = Question(OBJECTIVE, one.learners, one.dev.rows, one.dev.targets)
    with pytest.raises(ContractError, match="broken"):
        predict_all([question], Live(clouds()[0], at=1, then=break_down))


# Stopping and going on


@pytest.mark.parametrize("features", [Memory, Live])
@pytest.mark.parametrize("at", [1, 7, 11, 13, 16, 17, 30, 40])
def test_ctrl_c_saves_all_of_them_and_they_end_with_the_same_bytes(features, at, two_paces, tmp_path):
    """Also where one of them waits for the other at a look."""
    first = of_two_paces(tmp_path)
    with pytest.raises(Interrupted):
        fit(first, features(clouds()[0], at=at, then=stop), None, progress_bar=False)
    second, again = of_two_paces(tmp_path), features(clouds()[0])
    assert fit(second, again, None, progress_bar=False) == [None, None]
    assert left_by(second) == two_paces
    straight = features(clouds()[0])
    fit(of_two_paces(tmp_path / "straight"), straight, None, progress_bar=False)
    assert len(again.asked) == len(straight.asked) - at  # nothing is done twice


def test_what_went_wrong_before_ctrl_c_is_told(tmp_path, capsys):
    trainings = [training(tmp_path, 1), training(tmp_path, 2, objective=Failing("step", 4))]
    with pytest.raises(Interrupted):
        fit(trainings, Live(clouds()[0], at=9, then=stop), None, progress_bar=False)
    assert "2.state: this one alone" in capsys.readouterr().err


def test_trainings_at_different_steps_go_on_together(three, tmp_path):
    """One was stopped at a step that is no look, one is done, one is new."""
    with pytest.raises(Interrupted):
        fit([training(tmp_path, 1)], Live(clouds()[0], at=18, then=stop), None, progress_bar=False)
    (tmp_path / "2.state").write_bytes(three[2][0])
    trainings = [training(tmp_path, seed) for seed in (1, 2, 3)]
    assert fit(trainings, Live(clouds()[0]), None, progress_bar=False) == [None] * 3
    assert left_by(trainings) == three


def killed_at_save(number, work):
    """Does some work in a copy of this process, which dies in the middle of its save of that number. False when it made
    fewer."""
    child = os.fork()
    if child == 0:
        packed, saves = checkpoints.packed, iter(range(1, 1000))

        def packed_or_die(*arguments, **options):
            if next(saves) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return packed(*arguments, **options)

        checkpoints.packed = packed_or_die
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("features", [Memory, Live])
def test_killed_at_every_save_they_end_with_the_same_bytes(features, two_paces, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_SECONDS", -1.0)
    monkeypatch.setattr(loop, "_LONGEST_UNSAVED", -1.0)
    monkeypatch.setattr(loop, "_SAVING_SHARE", float("inf"))
    kills = 0
    while killed_at_save(kills % 5 + 1, lambda: fit(of_two_paces(tmp_path), features(clouds()[0]), None, False)):
        kills += 1
        assert kills < 200
    assert kills > 20
    assert {seed: (tmp_path / f"{seed}.state").read_bytes() for seed in (1, 2)} == {
        seed: content for seed, (content, _) in two_paces.items()
    }
