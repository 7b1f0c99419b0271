"""What is measured before a run: once, little of it, and without disturbing what follows."""

import json
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from feature_sets import counting, noise_corpus, request
from predicted_runs import MODEL, predicted, reading_of
from small_runs import SmallRuns, snapshot

import upstream
from benchmark.planning import rehearsals
from benchmark.planning.head_rehearsals import at, measured
from benchmark.planning.predictions import upstream_bytes
from benchmark.planning.rates import Rates
from benchmark.planning.training_times import learners_bytes
from upstream.audio import read_audio

CPU = torch.device("cpu")


@pytest.fixture
def runs(mini_data, tmp_path):
    """Results and cache of one's own."""
    return SmallRuns(mini_data, tmp_path)


def test_what_was_measured_is_not_measured_again(tmp_path):
    calls = []

    def measure():
        calls.append(1)
        return {"seconds": 0.5}

    for _ in range(2):
        assert Rates(tmp_path).of("a step", CPU, {"batch": 4}, measure)["seconds"] == 0.5
    assert len(calls) == 1
    Rates(tmp_path).of("a step", CPU, {"batch": 8}, measure)
    Rates(tmp_path).of("a look", CPU, {"batch": 4}, measure)
    torch.set_num_threads(2)
    try:
        Rates(tmp_path).of("a step", CPU, {"batch": 4}, measure)
    finally:
        torch.set_num_threads(1)
    assert len(calls) == 4


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', "\x00"])
def test_damaged_rates_are_measured_anew(tmp_path, content):
    (tmp_path / "rates.json").write_text(content)
    assert Rates(tmp_path).of("a step", CPU, {}, lambda: {"seconds": 2.0})["seconds"] == 2.0
    assert Rates(tmp_path).of("a step", CPU, {}, lambda: 1 / 0)["seconds"] == 2.0


def test_rates_of_two_processes_are_both_kept(tmp_path):
    one, other = Rates(tmp_path), Rates(tmp_path)
    one.of("a", CPU, {}, lambda: {"seconds": 1.0})
    other.of("b", CPU, {}, lambda: {"seconds": 2.0})
    assert len(json.loads((tmp_path / "rates.json").read_text())) == 2


def test_a_rehearsal_that_fails_says_why_and_is_not_tried_twice(tmp_path):
    rates, calls = Rates(tmp_path), []

    def broken():
        calls.append(1)
        raise RuntimeError("no such layer")

    assert [rates.of("a step", CPU, {}, broken) for _ in range(2)] == [None, None]
    assert (len(calls), rates.troubles) == (1, {"a step": "RuntimeError: no such layer"})
    assert not (tmp_path / "rates.json").exists()


def test_a_rehearsal_leaves_chance_and_threads_alone(tmp_path):
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    before = torch.random.get_rng_state()

    def careless():
        torch.rand(3)
        torch.set_num_threads(3)
        return {}

    Rates(tmp_path).of("a step", CPU, {}, careless)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == 1


def test_trials_go_from_the_middle_to_the_extremes():
    asked = []

    def one(place):
        asked.append(place)
        return 0.4, 0.1

    points = measured([3.0, 1.0, 2.0, 5.0, 4.0], one, 1.4, whole=10**6)
    assert asked == [0, 0, 1, 3]  # the middle warms up, and a trial ends what goes beyond 1.4 seconds
    assert points == [(1.0, 0.4, 0.1), (3.0, 0.4, 0.1), (5.0, 0.4, 0.1)]


def test_few_steps_are_not_rehearsed_by_many():
    asked = []
    measured([1.0] * 4, lambda place: asked.append(place) or (0.001, 0.0), 1.0, whole=4)
    assert len(asked) == 2
    asked.clear()
    measured([1.0] * 4, lambda place: asked.append(place) or (30.0, 0.0), 1.0, whole=10**6)
    assert len(asked) == 1  # a step of half a minute is not taken twice


@pytest.mark.parametrize(
    ("paces", "found"),
    [
        ([9.0, 1.0, 0.9], 0.9),
        ([9.0, 1.0, 1.1], 1.1),
        ([9.0, 1.0, 3.0, 1.1], 1.1),  # slower than before: something else had the disk or the cores
        ([9.0, 1.0, 3.0, 4.0], 3.0),
    ],
)
def test_a_disturbed_hearing_is_rehearsed_again(paces, found, tmp_path, monkeypatch):
    """The first warms up, the second says how many there is time for."""
    model, left = counting(), list(paces)
    asked = request(model, noise_corpus(tmp_path / "noise", 60, 0.2))

    def timed(work, device):
        before = model.calls
        work()
        return left.pop(0) * 0.1 * (model.calls - before)

    monkeypatch.setattr(rehearsals, "timed", timed)
    monkeypatch.setattr(rehearsals, "_SHARE", 1.0)
    [measured] = rehearsals.hearing(asked, np.full(60, 0.1), tmp_path / "cache").values()
    assert measured == pytest.approx(found)
    assert not left


def test_what_warms_up_is_no_measurement():
    """Even where it takes longer than there is time for."""
    left = [2.5, 1.0]
    assert measured([1.0, 1.0], lambda place: (left.pop(0), 0.0), 1.0, whole=10**6) == [(1.0, 1.0, 0.0)]
    assert not left


def test_times_of_other_works_lie_between():
    points = [(1.0, 2.0, 0.5), (3.0, 6.0, 0.5)]
    assert at(points, [2.0, 3.0], 1) == pytest.approx(4.0 + 6.0)
    assert at(points, [9.0], 2) == pytest.approx(0.5)
    assert at([(2.0, 3.0, 0.0)], [1.0, 4.0], 1) == pytest.approx(1.5 + 6.0)


@pytest.mark.parametrize("task", ["ks", "asr", "sd", "se", "asv", "qbe", "er"])
def test_every_kind_of_task_can_be_rehearsed_and_no_real_audio_is_heard(runs, task, monkeypatch):
    """Files are read, but what an upstream is given is never what is in them."""
    heard = []
    read = "downstream.represent.request.read_audio"
    model = upstream.load(MODEL, device="cpu")
    call = type(model).__call__
    monkeypatch.setattr(type(model), "__call__", lambda self, wavs: heard.extend(wavs) or call(self, wavs))
    real = []
    monkeypatch.setattr(read, lambda *words: real.append(read_audio(*words)) or real[-1])
    [prediction] = predicted(runs, task, Rates(runs.cache))
    assert prediction.troubles == {}
    assert heard and real
    starts = {tuple(wave[:64].tolist()) for wave in real}
    assert not any(tuple(wave[:64].tolist()) in starts for wave in heard)
    [hops] = prediction.way.cells.values()
    assert all(seconds >= 0 for seconds in hops.values()) and sum(hops.values()) > 0
    assert all(seconds >= 0 for seconds in prediction.way.hops.values())
    assert {path.name for path in runs.cache.iterdir()} == {"rates.json", ".rates.lock"}
    again = predicted(runs, task, Rates(runs.cache))[0]
    assert again.way.cells == prediction.way.cells


def test_a_task_that_cannot_be_rehearsed_is_told_and_planned_all_the_same(runs, monkeypatch):
    monkeypatch.setattr("benchmark.planning.training_times.Rehearsal", lambda *_: 1 / 0)
    [prediction] = predicted(runs, "asr", Rates(runs.cache))
    [(what, why)] = prediction.troubles.items()
    assert what.startswith("the heads of asr on ") and why == "ZeroDivisionError: division by zero"
    assert prediction.modes == {("asr", 1337): "frames"}
    assert prediction.cell_seconds == {("asr", 1337): 0.0}
    assert math.isnan(prediction.way.seconds)


def test_heads_that_memory_does_not_hold_are_not_made(runs):
    reading, model = reading_of(runs, "asr"), upstream.load(MODEL, device="cpu")
    size = learners_bytes(reading, model, 1337)
    learners = reading.objective.learners(model, reading.protocol, 1337, reading.folds[0].train.examples)
    assert size == sum(tensor.nbytes for tensor in learners.state().values())
    [prediction] = predicted(runs, "asr", Rates(runs.cache), memory_limit=size - 1)
    assert ["may be used. Fewer learning rates (--lr) take less." in why for why in prediction.troubles.values()] == [
        True
    ]


def test_the_size_of_an_upstream_is_that_of_its_parameters():
    model = SimpleNamespace(cost=lambda: SimpleNamespace(parameters=95_000_000))
    assert upstream_bytes(model) == int(95_000_000 * 4 * 1.3)


def test_a_whole_prediction_changes_nothing_but_the_rates(runs):
    before = snapshot(runs.data)
    predicted(runs, ["ks", "pr"], Rates(runs.cache))
    assert snapshot(runs.data) == before
    assert not runs.results.exists()
