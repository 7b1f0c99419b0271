"""What is predicted of cells: how much is heard, what was measured, which mode is taken and why."""

import math

import pytest
import torch
from predicted_runs import MODEL, SetRates, lengths, predicted, reading_of
from small_runs import SmallRuns

import upstream
from benchmark import engine
from benchmark.options import Options
from benchmark.planning.actuals import compared
from benchmark.planning.courses import DRAWS, courses, live_seconds
from benchmark.planning.durations import duration
from benchmark.planning.elapsed import elapsed
from downstream.processes import cores
from downstream.represent.extraction import missing, stored
from downstream.represent.features import FRAMES


@pytest.fixture
def runs(mini_data, tmp_path):
    """Results and cache of one's own."""
    return SmallRuns(mini_data, tmp_path)


# How much is heard


def test_live_audio_is_what_every_step_and_look_wants(runs):
    """Fewer steps than are sampled are counted draw by draw: four of four, two looks at dev, one at test."""
    reading = reading_of(runs, "asr")
    assert reading.protocol.steps == 4 <= DRAWS
    seconds = lengths(reading)
    [course] = courses(reading, 1, seconds)
    drawn = 0.0
    for step in range(4):
        rows = set(course.sampler(step).rows.tolist())
        drawn += sum(seconds[reading.folds[0].train.examples[row]] for row in rows)
    dev, test = (sum(seconds[e] for e in pool.examples) for pool in reading.folds[0].pools[1:])
    read, heard = live_seconds([course])
    assert heard == pytest.approx(drawn + 2 * dev + test)
    assert read == heard


def test_crops_are_heard_and_whole_files_are_read(runs):
    reading = reading_of(runs, "sid", set=("sid.steps=8", "sid.eval_every=8", "sid.crop_seconds=0.5"))
    seconds = lengths(reading)
    [course] = courses(reading, 1, seconds)
    dev, test = (sum(seconds[e] for e in pool.examples) for pool in reading.folds[0].pools[1:])
    read, heard = live_seconds([course])
    crops = sum(len(set(zip(draw.rows, draw.starts, strict=True))) for draw in map(course.sampler, range(8)))
    assert min(seconds.values()) > 0.5
    assert heard == pytest.approx(0.5 * crops + dev + test)
    assert read > heard + 8


def test_trainings_side_by_side_share_what_they_hear(runs):
    """The same seed twice draws the same; another seed shares dev and test alone."""
    reading = reading_of(runs, "pr")
    seconds = lengths(reading)
    alone, twin, other = (courses(reading, seed, seconds)[0] for seed in (1, 1, 2))
    assert live_seconds([alone, twin]) == pytest.approx(live_seconds([alone]))
    shared = sum(2 * seconds[e] for e in alone.dev) + sum(seconds[e] for e in alone.fold.test.examples)
    both = live_seconds([alone, other])[1]
    assert live_seconds([alone])[1] < both <= live_seconds([alone])[1] + live_seconds([other])[1] - shared + 1e-6


def test_the_work_of_a_batch_counts_its_padding(runs):
    reading = reading_of(runs, "pr")
    [course] = courses(reading, 1, lengths(reading))
    draw = course.draws[0]
    heard, sizes = [length for _, length in course.heard(draw)], draw.sizes
    assert len(sizes) == reading.protocol.accumulate == 2
    halves = heard[: sizes[0]], heard[sizes[0] :]
    assert course.work(draw) == pytest.approx(sum(len(half) * max(half) for half in halves))
    pooled = reading_of(runs, "ks")
    [course] = courses(pooled, 1, lengths(pooled))
    assert course.work(course.draws[0]) == len(course.draws[0].rows)


# Which mode, and why


def test_tasks_of_one_hearing_are_decided_together(runs):
    [prediction] = predicted(runs, ["pr", "asr"], seed=[1, 2])
    assert set(prediction.modes.items()) == {((task, seed), "frames") for task in ("pr", "asr") for seed in (1, 2)}
    assert prediction.why.startswith("frames: heard once instead of ")
    assert prediction.other[0] == "live"
    once = sum(lengths(reading_of(runs, "pr")).values())
    assert prediction.way.audio_seconds == pytest.approx(once, rel=0.05)
    assert prediction.hearing_seconds == pytest.approx(once, rel=0.05)  # at one second for a second
    assert sum(map(prediction.way.hearing, prediction.cells)) == pytest.approx(prediction.hearing_seconds)


def test_what_was_heard_is_not_heard_again(runs):
    model, reading = upstream.load(MODEL, device="cpu"), reading_of(runs, "pr")
    request = reading.request(model)
    [before] = predicted(runs, ["pr"])
    assert before.bytes == request.bytes_estimate(missing(request, runs.cache)) > 0
    stored(request, runs.cache, False, print).close()
    [prediction] = predicted(runs, ["pr"])
    assert (prediction.bytes, prediction.hearing_seconds, prediction.way.audio_seconds) == (0, 0.0, 0.0)
    assert (prediction.why, prediction.other) == ("frames: nothing is left to be heard", None)


@pytest.mark.parametrize(("task", "kept"), [("pr", "frames"), ("ks", "pooled")])
def test_what_does_not_fit_is_heard_live(runs, task, kept):
    [prediction] = predicted(runs, task, limit="20KB")
    assert prediction.modes == {(task, 1337): "live"}
    assert prediction.why.endswith("do not fit in the 20.0 KB of --cache-limit")
    assert (prediction.bytes, prediction.other[0], prediction.other[1].bytes > 20_000) == (0, kept, True)
    assert prediction.way.hops == {}
    assert prediction.cell_seconds[task, 1337] == pytest.approx(prediction.way.audio_seconds)


@pytest.mark.parametrize(
    ("task", "share", "mode"),
    [("pr", 1.6, "live"), ("pr", 1.4, "frames"), ("ks", 1.6, "pooled"), ("ks", 0.1, "pooled")],
)
def test_frames_are_not_kept_where_hearing_anew_is_much_cheaper(runs, monkeypatch, task, share, mode):
    """Means are always kept: they are small, and their crops are not the same ones as live."""
    whole = sum(lengths(reading_of(runs, task)).values())
    monkeypatch.setattr("benchmark.planning.predictions.live_seconds", lambda _: (whole / share, whole / share))
    [prediction] = predicted(runs, task)
    assert prediction.modes[task, 1337] == mode
    if mode == "live":
        assert " instead of " in prediction.why


def test_what_is_asked_for_is_done(runs):
    for mode in ("frames", "live"):
        [prediction] = predicted(runs, "pr", features=mode)
        assert (prediction.modes["pr", 1337], prediction.why) == (mode, f"{mode}: as asked for")


def test_what_is_done_or_begun_in_a_mode_stays_in_it(runs):
    [row] = runs.run(MODEL, task="pr", features="live").rows
    [prediction] = predicted(runs, ["pr", "asr"], SetRates(runs.cache))
    assert prediction.modes == {("pr", 1337): "live", ("asr", 1337): "frames"}
    assert prediction.states == {("pr", 1337): "done", ("asr", 1337): "to do"}
    assert list(prediction.way.cells) == [("asr", 1337)]
    begun = prediction.cells["asr", 1337]
    [live] = predicted(runs, "asr", features="live")
    folder = live.cells["asr", 1337].folder
    folder.mkdir(parents=True)
    (folder / "all.state").touch()
    [prediction] = predicted(runs, ["pr", "asr"])
    assert prediction.modes == {("pr", 1337): "live", ("asr", 1337): "live"}
    assert prediction.states["asr", 1337] == "begun"
    assert prediction.cells["asr", 1337].id != begun.id
    assert prediction.why == "live: as they were begun"
    assert row.features["mode"] == "live"


# Predicted and actual


def test_predictions_lie_beside_what_came_of_them(runs):
    """At one second to hear a second, 0.5 s a step: the table by hand."""
    outcome = engine.run(Options.of(**runs.options(MODEL, task=["pr", "asr"])))
    rows = outcome.rows
    fresh = SmallRuns(runs.data, runs.folder / "other")
    [prediction] = predicted(fresh, ["pr", "asr"], SetRates(fresh.cache, hearing=2.0, step=0.5))
    for row, heard, fit in zip(rows, (10.0, 30.0), (4.0, 1.0), strict=True):
        row.seconds = {"represent": heard, "fit": fit, "score": 0.5, "cost": 0.25}
    text = compared([prediction], rows, 1, 47.0)
    assert text[0].split() == ["cell", "hop", "predicted", "actual", "actual", "/", "predicted"]
    once = prediction.way.audio_seconds
    [hearing] = [line for line in text if " hear " in line]
    assert hearing.split()[-5:] == [*duration(2 * once).split(), "40.0", "s", f"{40 / (2 * once):.2f}"]
    [steps] = [line for line in text if line.split()[2:7] == ["pr", "/", "seed", "1337", "fit"]]
    assert steps.split()[-3:-1] == ["4.0", "s"]
    told = text[-1].split()
    assert text[-1].startswith("from start to end  ")
    assert told[-5:-3] == duration(elapsed([prediction], 1)).split()
    assert told[-3:] == ["47.0", "s", f"{47 / elapsed([prediction], 1):.2f}"]
    assert compared([], rows, 1, 1.0) == []


def test_two_workers_hear_together_and_then_take_the_longest_first(runs, monkeypatch):
    """Cells of 4 and 1 seconds and their scoring; a shard an utterance, so that each worker hears about half."""
    monkeypatch.setattr("downstream.represent.extraction._SHARD_RECORDS", {FRAMES: 1})
    tasks = ["pr", "asr"]
    (alone,) = predicted(runs, tasks, SetRates(runs.cache, hearing=2.0, step=0.5))
    (halved,) = predicted(runs, tasks, SetRates(runs.cache, hearing=2.0, step=0.5), workers=2)
    lengths_of = halved.hearing.request(halved.upstream).seconds
    assert sum(halved.way.hops.values()) == pytest.approx(2.0 * lengths_of.sum() / 2)
    assert sum(alone.way.hops.values()) == pytest.approx(2.0 * lengths_of.sum())
    learning = [sum(hops.values()) for hops in halved.way.cells.values()]
    heard = 2.0 * max(lengths_of[0::2].sum(), lengths_of[1::2].sum())
    assert elapsed([halved], 2) == pytest.approx(heard + max(learning[0] + halved.cost_seconds, learning[1]))
    whole = sum(sum(hops.values()) for hops in alone.way.cells.values())
    assert elapsed([alone], 1) == pytest.approx(sum(alone.way.hops.values()) + whole + alone.cost_seconds)


def test_what_workers_do_is_rehearsed_with_their_share_of_the_cores(runs, monkeypatch):
    """Four of 16 cores for each of four."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    seen = set()

    class Watching(SetRates):
        def of(self, what, *others):
            seen.add((torch.get_num_threads(), cores()))
            return super().of(what, *others)

    predicted(runs, "pr", Watching(runs.cache), workers=4)
    assert seen == {(4, 4)}
    assert (torch.get_num_threads(), cores()) == (1, 16)


def test_cells_that_hear_together_are_one_job(runs):
    """Two workers take no less for it than one."""
    rates = SetRates(runs.cache, hearing=2.0, step=0.5)
    alone, two = (predicted(runs, ["pr", "asr"], rates, features="live", workers=n) for n in (1, 2))
    cells = [sum(hops.values()) for hops in two[0].way.cells.values()]
    assert len(cells) == len(two[0].way.live) == 2
    assert elapsed(two, 2) == pytest.approx(sum(cells) + two[0].cost_seconds)
    assert elapsed(alone, 1) == pytest.approx(
        sum(s for o in alone[0].way.cells.values() for s in o.values()) + alone[0].cost_seconds
    )


def test_one_shard_is_heard_by_one_worker(runs):
    """However many there are; what another has it is done beside."""
    assert all(len(reading_of(runs, task).examples) < 64 for task in ("pr", "ood-asr-es"))
    rates = SetRates(runs.cache, hearing=1000.0)
    both = predicted(runs, ["pr", "ood-asr-es"], rates, features="frames", workers=2)
    ends = []
    for one in both:
        (fit,) = (sum(hops.values()) for hops in one.way.cells.values())
        ends.append(1000.0 * one.audio_seconds + fit)
        assert 2 * sum(one.way.hops.values()) == pytest.approx(1000.0 * one.audio_seconds)
        assert elapsed([one], 2) == pytest.approx(ends[-1] + one.cost_seconds)
    assert elapsed(both, 2) == pytest.approx(max(ends[0] + both[0].cost_seconds, ends[1]))


def test_unknown_times_are_question_marks_and_not_counted(runs):
    rows = engine.run(Options.of(**runs.options(MODEL, task="pr"))).rows
    fresh = SmallRuns(runs.data, runs.folder / "other")
    [prediction] = predicted(fresh, "pr", SetRates(fresh.cache, hearing=math.nan))
    text = compared([prediction], rows, 2, 60.0)
    [hearing] = [line for line in text if " hear " in line]
    assert hearing.split().count("?") == 2
    assert text[-1].startswith("from start to end, but for what was not predicted  ")
    assert duration(60.0 - rows[0].seconds["represent"] / 2) in text[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (90, "1.5 min"), (7200, "2.0 h"), (2 * 86400, "2.0 days"), (math.nan, "?")],
)
def test_times_are_told_in_units_that_suit_them(seconds, text):
    assert duration(seconds) == text
