"""The training loop: it learns, keeps the earliest best, and goes on where it was stopped to the same bytes."""

import dataclasses
import json
import shutil
import signal
import threading

import numpy as np
import pytest
import torch
from safetensors import safe_open

from downstream.fit import grid, stepping
from downstream.fit import train as loop
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.looking import predict
from downstream.fit.running import Split, Training
from downstream.fit.sampling import Pool
from downstream.fit.stopping import Interrupted
from downstream.fit.train import fit
from downstream.objectives.classification import Classification
from downstream.protocols import load
from downstream.tasks import Fold
from downstream.types import Example
from upstream.devices import threads
from upstream.errors import DataError

CPU = torch.device("cpu")
CLASSES, LAYERS, DIM = 3, 2, 8
STEPS, LOOK = 40, 10
PROTOCOL = dataclasses.replace(load("superb").task("ic"), steps=STEPS, eval_every=LOOK, batch=6, projector=16)


OBJECTIVE = Classification((tuple("abc"),))


class Memory:
    """Features that need no audio; may do something at one of the batches that training asks for."""

    mode, eval_rows, ahead = "pooled", 256, 0

    def __init__(self, means, samples=1000, at=None, then=None):
        self.means, self.samples = means, np.full(len(means), samples)
        self.asked, self._at, self._then = [], at, then

    def batch(self, rows, starts=None):
        self.asked.append((rows, starts))
        if len(self.asked) == self._at:
            self._then()
        return self.means[rows]


def clouds(count=60, seed=0):
    """Means around one point a class, well apart, and their classes. Layer 1 is noise."""
    random = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(100))
    targets = torch.arange(count) % CLASSES
    good = centres[targets] + 0.5 * torch.randn(count, DIM, generator=random)
    return torch.stack([good, torch.randn(count, DIM, generator=random)], dim=1), targets[:, None]


class Learning:
    """A training on clouds: rows 0 to 39 to learn from, the others to be selected on."""

    def __init__(self, checkpoint, rates=(1e-1, 1e-3), protocol=PROTOCOL, grid=None, at=None, then=None, seed=0):
        means, targets = clouds()
        self.features = Memory(means, at=at, then=then)
        self.grid = grid or MeanLinearGrid(LAYERS, DIM, (CLASSES,), protocol.projector, list(rates), 1.0, seed, CPU)
        examples = [Example(str(i), "", ("x",)) for i in range(60)]
        self.fold = Fold("all", Pool(examples[:40]), Pool(examples[40:]), Pool([]))
        parts = (np.arange(40), np.arange(40, 60))
        self.splits = [
            Split(Pool([examples[r] for r in rows]), rows, targets[rows], np.ones(len(rows))) for rows in parts
        ]
        self.rest, self.crop_samples, self.checkpoint = (protocol, seed, checkpoint), None, checkpoint

    def training(self, on_look=lambda history: None):
        return Training(self.fold, OBJECTIVE, self.grid, *self.splits, *self.rest, on_look)

    def __call__(self, on_look=lambda history: None):
        """Alone; its progress, or the error with which it ended."""
        training = self.training(on_look)
        [error] = fit([training], self.features, self.crop_samples, progress_bar=False)
        if error:
            raise error
        return training.progress


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """An undisturbed training, and the bytes it leaves."""
    one = Learning(tmp_path_factory.mktemp("straight") / "all.state")
    progress = one()
    return progress, one.checkpoint.read_bytes()


def test_it_learns(straight):
    progress, _ = straight
    assert progress.step == STEPS
    assert [look["step"] for look in progress.history] == [10, 20, 30, 40]
    assert progress.best_dev[0] >= 95
    first, *_, last = (look["train_loss"][0] for look in progress.history)
    assert last < first / 3
    assert all(look["lr"] == [0.1, 0.001] for look in progress.history)


def test_the_layer_that_helps_gets_the_weight(tmp_path):
    one = Learning(tmp_path / "all.state", protocol=dataclasses.replace(PROTOCOL, steps=100, eval_every=100))
    one()
    assert one.grid.layer_weights(0)[0] > 0.8


def test_training_sees_the_targets_of_the_rows_it_drew(tmp_path):
    """Rows of the feature set that are neither the first ones nor in order."""
    means, targets = clouds(200)
    features = Memory(means)
    rows = np.random.default_rng(0).permutation(200)[:80]
    seen = []

    class Watched(MeanLinearGrid):
        def step(self, means, targets, weights):
            seen.append((means, targets))
            return super().step(means, targets, weights)

    grid = Watched(LAYERS, DIM, (CLASSES,), 16, [0.01], 1.0, 0, CPU)
    examples = [Example(str(row), "", ("x",)) for row in rows]
    fold = Fold("all", Pool(examples), Pool(examples[:9]), Pool([]))
    splits = [Split(Pool(examples[: len(r)]), r, targets[r], np.ones(len(r))) for r in (rows, rows[:9])]
    training = Training(fold, OBJECTIVE, grid, *splits, PROTOCOL, 0, tmp_path / "all.state")
    assert fit([training], features, None, progress_bar=False) == [None]
    assert len(seen) == STEPS
    of_row = {tuple(mean.flatten().tolist()): target for mean, target in zip(means, targets, strict=True)}
    assert all(
        torch.equal(of_row[tuple(m.flatten().tolist())], t) for batch in seen for m, t in zip(*batch, strict=True)
    )


def test_crops_are_asked_for_in_training_only(tmp_path):
    one = Learning(tmp_path / "all.state")
    one.crop_samples = 300
    one()
    starts = [s for _, s in one.features.asked]
    assert sum(s is None for s in starts) == STEPS // LOOK
    assert all(0 <= start <= 700 for s in starts if s is not None for start in s)


# Selection


class Scripted:
    """A grid whose points predict as the script says: so many right out of the 20 of dev, look by look."""

    def __init__(self, *scripts):
        self.scripts, self.look, self.kept = scripts, -1, []
        self.rates, self.only_layers, self.device, self.threads = [0.1] * len(scripts), [], CPU, 1
        self.live = list(range(len(scripts)))
        self.losses = iter(float(n) for n in range(1000))

    def parts(self, count):
        return [self]

    def step(self, means, targets, weights):
        value = next(self.losses)
        return torch.tensor([value, float("nan") if value == 15 else 2 * value][: len(self.scripts)])

    def predict(self, means, best):
        self.look += 1
        target = clouds()[1][40:]
        right = [script[self.look] for script in self.scripts]
        return torch.stack([torch.where(torch.arange(20)[:, None] < n, target, target + 1) for n in right])

    def keep(self, point):
        self.kept.append((point, self.look))

    def state(self):
        return {"look": torch.tensor([self.look])}


def test_only_what_is_strictly_better_is_kept(tmp_path):
    """Of equals the earliest stays; the first look is kept even at zero."""
    grid = Scripted([10, 15, 15, 12, 16, 16], [0, 0, 3, 3, 2, 1])
    progress = Learning(tmp_path / "x", protocol=dataclasses.replace(PROTOCOL, steps=60), grid=grid)()
    assert [look for point, look in grid.kept if point == 0] == [0, 1, 4]
    assert [look for point, look in grid.kept if point == 1] == [0, 2]
    assert progress.best_step == [50, 30]
    assert progress.best_dev == [80.0, 15.0]
    assert [look["dev"] for look in progress.history[:2]] == [[50.0, 0.0], [75.0, 0.0]]


def test_the_loss_told_is_the_mean_since_the_last_look(tmp_path):
    progress = Learning(tmp_path / "x", grid=Scripted([1] * 4, [1] * 4))()
    assert [look["train_loss"][0] for look in progress.history] == [4.5, 14.5, 24.5, 34.5]
    assert [look["train_loss"][1] for look in progress.history] == [9.0, None, 49.0, 69.0]  # JSON has no NaN


def test_the_last_step_is_looked_at_whatever_the_interval(tmp_path):
    protocol = dataclasses.replace(PROTOCOL, steps=25)
    progress = Learning(tmp_path / "x", protocol=protocol, grid=Scripted([1, 2, 3]))()
    assert [look["step"] for look in progress.history] == [10, 20, 25]
    assert progress.history[-1]["train_loss"] == [22.0]


def test_dev_counts_weigh_the_score_and_zeros_are_not_computed(tmp_path):
    one = Learning(tmp_path / "x", grid=Scripted([15] * 4))
    one.splits[1].counts = np.array([0.0] * 10 + [1.0] * 5 + [3.0] * 5)  # of the last ten five are right, at one each
    one.grid.predict = lambda means, best: Scripted.predict(one.grid, means, best)[:, 10:]
    assert one().best_dev == [25.0]
    assert [len(rows) for rows, _ in one.features.asked if len(rows) > 6] == [10] * 4


# Stopping and going on


def stop():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("at", [1, 7, 14, 22, 29, 44])  # batches asked for: training steps, and looks at dev among them
def test_ctrl_c_saves_and_the_same_training_ends_with_the_same_bytes(at, straight, tmp_path):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    first = Learning(tmp_path / "all.state", at=at, then=stop)
    with pytest.raises(Interrupted):
        first()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    with safe_open(first.checkpoint, "pt") as file:
        step = json.loads(file.metadata()["progress"])["step"]
    second = Learning(tmp_path / "all.state")
    progress = second()
    assert len(second.features.asked) == (STEPS - step) + (4 - step // LOOK)  # nothing done twice
    assert progress == straight[0]
    assert second.checkpoint.read_bytes() == straight[1]


@pytest.mark.parametrize("at", [None, 1, 7, 22, 25, 44])
def test_parts_of_the_grid_side_by_side_end_with_the_same_bytes(at, tmp_path, monkeypatch):
    """Some steps at a time; whatever was begun is taken to its end when it is stopped."""
    rates = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    whole = Learning(tmp_path / "whole.state", rates)
    progress = whole()
    monkeypatch.setattr(grid, "_PARTS_ABOVE", 0)
    monkeypatch.setattr(stepping, "_AT_ONCE", 4)  # looks come in the middle of them
    taken, one = [], MeanLinearGrid.step

    def step(part, *batch):
        taken.append((part.live, threading.get_ident()))
        return one(part, *batch)

    monkeypatch.setattr(MeanLinearGrid, "step", step)
    with threads(2):
        if at is not None:
            with pytest.raises(Interrupted):
                Learning(tmp_path / "parts.state", rates, at=at, then=stop)()
        again = Learning(tmp_path / "parts.state", rates)
        assert again() == progress
    assert again.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert sorted(live for live, _ in taken) == STEPS * [[0, 1]] + STEPS * [[2, 3, 4]]
    assert threading.get_ident() not in {thread for _, thread in taken}


def test_parts_of_a_grid_that_drops_points_end_with_the_same_bytes(tmp_path, monkeypatch):
    """Of what was dropped there is no loss to tell, whichever part it was in; the rest is divided anew."""
    protocol, rates = dataclasses.replace(PROTOCOL, halving=True), [10.0**-power for power in range(8)]
    whole = Learning(tmp_path / "whole.state", rates, protocol)
    progress = whole()
    assert [None in look["train_loss"] for look in progress.history][-1]
    monkeypatch.setattr(grid, "_PARTS_ABOVE", 0)
    with threads(2):
        parts = Learning(tmp_path / "parts.state", rates, protocol)
        assert parts() == progress
    assert parts.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_sigterm_saves_too(straight, tmp_path):
    with pytest.raises(Interrupted):
        Learning(tmp_path / "all.state", at=17, then=lambda: signal.raise_signal(signal.SIGTERM))()
    again = Learning(tmp_path / "all.state")
    assert again() == straight[0]
    assert again.checkpoint.read_bytes() == straight[1]


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    seen = []

    def twice():
        stop()
        seen.append("still here after the first")
        stop()
        seen.append("and after the second")

    with pytest.raises(KeyboardInterrupt) as caught:
        Learning(tmp_path / "all.state", at=5, then=twice)()
    assert not isinstance(caught.value, Interrupted)
    assert seen == ["still here after the first"]


@pytest.mark.parametrize("look", [1, 2, 3])
def test_a_crash_goes_back_to_the_last_save(look, straight, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_SECONDS", -1.0)
    monkeypatch.setattr(loop, "_SAVING_SHARE", float("inf"))

    def crash(history):
        if len(history) == look:
            raise MemoryError

    first = Learning(tmp_path / "all.state")
    with pytest.raises(MemoryError):
        first(crash)
    second = Learning(tmp_path / "all.state")
    assert second() == straight[0]
    assert len(second.features.asked) == (STEPS - look * LOOK) + 4 - look
    assert second.checkpoint.read_bytes() == straight[1]


def test_a_finished_training_is_not_trained_again(straight, tmp_path):
    (tmp_path / "all.state").write_bytes(straight[1])
    one = Learning(tmp_path / "all.state")
    assert one() == straight[0]
    assert one.features.asked == []
    assert one.grid.head(0).from_means(clouds()[0]).argmax(-1).eq(clouds()[1][:, 0]).float().mean() > 0.9


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "no progress", "of another grid"])
def test_a_damaged_checkpoint_is_said_and_the_training_starts_again(damage, straight, tmp_path, capsys):
    path, whole = tmp_path / "all.state", straight[1]
    if damage == "of another grid":
        Learning(path, rates=(0.1, 0.01, 0.001))()
    else:
        renamed = whole.replace(b'"progress"', b'"regressp"')
        path.write_bytes({"empty": b"", "cut": whole[:-9], "noise": b"\x9c" * 900, "no progress": renamed}[damage])
    one = Learning(path)
    assert one() == straight[0]
    assert path.read_bytes() == whole
    said = capsys.readouterr()
    assert f"{path}: cannot be continued from" in said.out + said.err
    assert "starts again" in said.out + said.err


def test_outside_the_main_thread_it_runs_without_signals(straight, tmp_path):
    results = []
    one = Learning(tmp_path / "all.state")
    thread = threading.Thread(target=lambda: results.append(one()))
    thread.start()
    thread.join()
    assert results == [straight[0]]


# Around it


def test_predictions_of_many_rows_come_in_their_order():
    means, _ = clouds(600)
    grid = MeanLinearGrid(LAYERS, DIM, (CLASSES, 2), 16, [0.1, 0.01], 1.0, 0, CPU)
    rows = np.random.default_rng(0).permutation(600)
    objective = Classification((tuple("abc"), ("x", "y")))
    found = predict(objective, grid, Memory(means), rows, rows)
    assert np.array_equal(np.array(found), grid.predict(means[rows]).numpy())


def test_utterances_of_similar_length_are_looked_at_together():
    """The longest first, so that they share their padding; the answers come in the order of the rows all the same."""
    means, _ = clouds(40)
    features = Memory(means)
    features.samples, features.eval_rows = np.random.default_rng(1).permutation(40), 8
    grid = MeanLinearGrid(LAYERS, DIM, (CLASSES,), 16, [0.1], 1.0, 0, CPU)
    rows = np.arange(5, 40)
    found = predict(OBJECTIVE, grid, features, rows, rows)
    assert np.array_equal(np.array(found), grid.predict(means[rows]).numpy())
    lengths = [features.samples[batch] for batch, _ in features.asked]
    assert [len(batch) for batch in lengths] == [8, 8, 8, 8, 3]
    assert np.array_equal(np.concatenate(lengths), np.sort(features.samples[rows])[::-1])


def test_what_is_read_ahead_trains_to_the_same_bytes(straight, tmp_path):
    one = Learning(tmp_path / "all.state")
    one.features.ahead = 2
    assert one() == straight[0]
    assert one.checkpoint.read_bytes() == straight[1]


def test_class_names_become_numbers():
    objective = Classification((("on", "off"), ("none", "kitchen", "hall")))
    examples = [Example("a", "", ("off", "hall")), Example("b", "", ("on", "none")), Example("c", "", ("on", "attic"))]
    assert objective.encode(examples[:2], "here").tolist() == [[1, 2], [0, 0]]
    with pytest.raises(DataError, match="here: label 'attic' is not among the labels of the training split"):
        objective.encode(examples, "here")


def test_a_checkpoint_of_another_shape_leaves_no_trace(tmp_path):
    Learning(tmp_path / "a")()
    small = dataclasses.replace(PROTOCOL, projector=12)
    expected = Learning(tmp_path / "b", protocol=small)()
    shutil.copy(tmp_path / "a", tmp_path / "c")
    assert Learning(tmp_path / "c", protocol=small)() == expected


def test_a_damaged_tensor_in_a_checkpoint_is_noticed(tmp_path, capsys):
    one = Learning(tmp_path / "a")
    one()
    content = bytearray((tmp_path / "a").read_bytes())
    content[-1000] ^= 0x40
    (tmp_path / "a").write_bytes(content)
    again = Learning(tmp_path / "a")
    again()
    assert again.features.asked
