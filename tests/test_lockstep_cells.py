"""Cells that are computed together: each leaves, to the last byte, what it leaves alone."""

from contextlib import closing

import pytest
from small_runs import SHORT, SmallRuns, contents
from test_resume import killed_at_write

from benchmark.cells import Cell, load_protocol, read_task
from benchmark.compute import compute
from benchmark.hearings import Hearing
from benchmark.options import Options
from benchmark.rows import DONE
from benchmark.trained_fold import Curves, TrainedFold
from downstream.fit.train import fit
from downstream.represent.extraction import stored
from downstream.represent.frame_features import LiveFrames
from upstream import load
from upstream.errors import BenchmarkError, DataError

SETTINGS = (*SHORT, "asr.steps=5", "asr.eval_every=3", "grid=[0.01, 0.001]", "er.steps=12", "er.eval_every=4")
SETTINGS = (*SETTINGS, "projector=16")


@pytest.fixture(scope="module")
def runs(mini_data, tmp_path_factory):
    return SmallRuns(mini_data, tmp_path_factory.mktemp("together"), SETTINGS)


@pytest.fixture(scope="module")
def upstream():
    return load("mel_no_cmvn")


def cells(runs, upstream, tasks, seeds, mode, folder):
    """Those of ASR are of a few utterances alone, so that what the others hear besides is seen where it should not."""
    protocol = load_protocol(Options.of(**runs.options("mel_no_cmvn", task=list(tasks))))
    limits = {task: 3 if task == "asr" else None for task in tasks}
    readings = [read_task(task, runs.data, protocol, limits[task]) for task in tasks]
    return [
        Cell(upstream, reading, protocol, seed, mode, limits[reading.task.name], folder / "results")
        for reading in readings
        for seed in seeds
    ]


class Counted(LiveFrames):
    """Counts how many utterances it hears."""

    heard = 0

    def _hear(self, rows, starts=None):
        self.heard += len(rows)
        return super()._hear(rows, starts)


def live(group):
    return Counted(Hearing(tuple(cell.reading for cell in group)).request(group[0].upstream))


def kept(group, runs):
    request = Hearing(tuple({cell.reading.task.name: cell.reading for cell in group}.values())).request(
        group[0].upstream
    )
    return stored(request, runs.cache, False, lambda line: None)


def compute_all(group, features):
    with closing(features):
        return compute(group, features, 1.5, False, lambda line: None)


def of_first_fold(cell, features):
    """Its training, not yet begun."""
    fold = TrainedFold(cell, cell.reading.folds[0], features, Curves(cell))
    fold.training.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    return fold.training


def test_two_tasks_on_one_live_pass_have_the_parameters_that_each_has_alone(runs, upstream, tmp_path):
    """All that a checkpoint holds: parameters now and at their best, moments, losses, scores on dev."""
    alone, heard = {}, 0
    for cell in cells(runs, upstream, ("pr", "asr"), (1,), "live", tmp_path / "alone"):
        features = live([cell])
        training = of_first_fold(cell, features)
        assert fit([training], features, None, progress_bar=False) == [None]
        alone[cell.reading.task.name] = training.checkpoint.read_bytes()
        heard += features.heard
    both = cells(runs, upstream, ("pr", "asr"), (1,), "live", tmp_path / "both")
    features = live(both)
    trainings = [of_first_fold(cell, features) for cell in both]
    assert fit(trainings, features, None, progress_bar=False) == [None, None]
    for cell, training in zip(both, trainings, strict=True):
        assert training.checkpoint.read_bytes() == alone[cell.reading.task.name]
    assert features.heard < heard


@pytest.fixture(scope="module")
def speech_alone(runs, upstream, tmp_path_factory):
    """What two tasks leave that are computed one after the other, each hearing its own audio."""
    folder = tmp_path_factory.mktemp("speech")
    for cell in cells(runs, upstream, ("pr", "asr"), (1,), "live", folder):
        [row] = compute_all([cell], live([cell]))
        assert row.status == DONE
    return contents(folder)


def test_two_tasks_on_one_live_pass_leave_what_each_leaves_alone(runs, upstream, speech_alone, tmp_path):
    """Whichever comes first. The rows tell of their own audio, not of what was heard besides."""
    for names in (("pr", "asr"), ("asr", "pr")):
        both = cells(runs, upstream, names, (1,), "live", tmp_path / names[0])
        rows = compute_all(both, live(both))
        assert [(row.task, row.seconds["represent"]) for row in rows] == [(name, 1.5) for name in names]
        assert contents(tmp_path / names[0]) == speech_alone


def test_a_row_of_kept_features_tells_of_its_own_audio_alone(runs, upstream, tmp_path):
    asr, pr = cells(runs, upstream, ("asr", "pr"), (1,), "frames", tmp_path)
    [together] = compute_all([asr], kept([pr, asr], runs))
    left = contents(tmp_path)
    asr.row_path.unlink()
    compute_all([asr], kept([asr], runs))
    assert contents(tmp_path) == left
    assert together.cost["examples"] == len(asr.reading.examples) < len(pr.reading.examples)


def of_task(left, name):
    return {path: content for path, content in left.items() if f"/{name}/" in path}


def test_one_that_fails_has_its_error_and_the_other_its_row(runs, upstream, speech_alone, tmp_path):
    """At its third step; the same command goes on with it alone."""
    both = cells(runs, upstream, ("pr", "asr"), (1,), "live", tmp_path)
    objective = both[1].reading.objective

    def step(learners, batch, targets, draw):
        if draw.step == 2:
            raise DataError("this one alone")
        return type(objective).step(objective, learners, batch, targets, draw)

    object.__setattr__(objective, "step", step)  # which is frozen
    row, error = compute_all(both, live(both))
    assert row.task == "pr"
    assert isinstance(error, DataError)
    assert not both[1].row_path.exists()
    assert of_task(contents(tmp_path), "pr") == of_task(speech_alone, "pr")
    object.__delattr__(objective, "step")
    compute_all(both[1:], live(both))
    assert contents(tmp_path) == speech_alone


def test_features_that_cannot_be_had_are_the_error_of_both(runs, upstream, tmp_path):
    both = cells(runs, upstream, ("pr", "asr"), (1,), "live", tmp_path)
    features = live(both)
    features._hear = lambda rows, starts=None: (_ for _ in ()).throw(BenchmarkError("broken"))
    assert [str(error) for error in compute_all(both, features)] == ["broken", "broken"]


def test_seeds_of_kept_features_leave_what_each_leaves_alone_and_share_their_looks(runs, upstream, tmp_path):
    """All five folds of ER, each with three looks at dev and one at test: two seeds in three read nothing for them."""
    reads = []

    def counted(features):
        read = features.batch

        def batch(rows, starts=None):
            reads.append(len(rows))
            return read(rows, starts)

        features.batch = batch
        return features

    for seed in (1, 2, 3):
        [cell] = cells(runs, upstream, ("er",), (seed,), "pooled", tmp_path / "alone")
        [row] = compute_all([cell], counted(kept([cell], runs)))
        assert row.status == DONE
    apart, shared = sum(reads), sum(3 * len(fold.dev.examples) + len(fold.test.examples) for fold in cell.reading.folds)
    reads.clear()
    three = cells(runs, upstream, ("er",), (1, 2, 3), "pooled", tmp_path / "together")
    rows = compute_all(three, counted(kept(three, runs)))
    assert [row.seed for row in rows] == [1, 2, 3]
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert apart - sum(reads) == 2 * shared


def test_killed_in_the_middle_of_writes_both_end_with_the_same_bytes(runs, upstream, speech_alone, tmp_path):
    """Each time a few writes further, so that sometimes one of them is done and the other under way."""

    def work():
        both = cells(runs, upstream, ("pr", "asr"), (1,), "live", tmp_path)
        todo = [cell for cell in both if not cell.row_path.exists()]
        if todo:
            assert not [row for row in compute_all(todo, live(both)) if isinstance(row, Exception)]

    kills = 0
    while killed_at_write(3 * kills + 1, work):
        kills += 1
        assert kills < 60
    assert kills > 3
    assert contents(tmp_path) == speech_alone
