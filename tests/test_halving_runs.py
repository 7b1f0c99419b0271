"""`--lr auto` from the command to the row: what is left of the whole grid, killed on the way or not."""

import signal
import time
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.torch import load_file
from small_runs import SHORT, SmallRuns, contents, folder_of, lines, wait_for

from benchmark.boards.entries import board_of
from benchmark.cli import main
from benchmark.plots.selection import groups
from benchmark.plots.training import curves
from benchmark.report.training import shown
from benchmark.rows import Row

UPSTREAM, STEPS, LOOK = "mel_no_cmvn", {"er": 120, "pr": 60}, {"er": 10, "pr": 5}
GRIDS = {"er": [0.1, 0.03, 0.01, 1e-5, 1e-6, 1e-7], "pr": [0.03, 0.01, 1e-6, 1e-7]}
NUMBERS = {"steps": STEPS, "eval_every": LOOK, "grid": GRIDS}
SETTINGS = (
    *("projector=16", *SHORT),
    *(f"{task}.{name}={value[task]}" for task in STEPS for name, value in NUMBERS.items()),
)
OFTEN = """
from downstream.fit import train
train._SAVE_SECONDS = -1.0
train._SAVING_SHARE = float("inf")"""


@dataclass
class Both:
    """Rows by their task, of the whole grid and halved."""

    runs: SmallRuns
    full: dict[str, Row]
    halved: dict[str, Row]


@pytest.fixture(scope="module")
def both(mini_data, tmp_path_factory):
    runs, rows = SmallRuns(mini_data, tmp_path_factory.mktemp("halving"), SETTINGS), []
    for lr in ("grid", "auto"):
        rows.append({row.task: row for row in runs.run(UPSTREAM, task=list(STEPS), lr=lr).rows})
    return Both(runs, *rows)


def dropped(row):
    """By fold and rate: when."""
    return {(entry["fold"], entry["lr"]): entry["dropped_at"] for entry in row.selection}


def looks_of(both, row):
    return {(look["fold"], look["step"]): look for look in lines(folder_of(both.runs, row) / "train.jsonl")}


@pytest.mark.parametrize("task", STEPS)
def test_some_points_are_dropped_and_two_are_left_at_least(task, both):
    when = dropped(both.halved[task])
    assert any(when.values())
    folds = {fold for fold, _ in when}
    for fold in folds:
        left = [rate for rate in GRIDS[task] if when[fold, rate] is None]
        assert 2 <= len(left) <= len(GRIDS[task])
    assert all(step is None or STEPS[task] / 8 <= step < STEPS[task] for step in when.values())
    assert all(step is None or step % LOOK[task] == 0 for step in when.values())
    assert not any("dropped_at" in entry for entry in both.full[task].selection)


@pytest.mark.parametrize("task", STEPS)
def test_who_is_not_dropped_ends_as_in_the_whole_grid(task, both):
    """To the last bit: losses, scores, layer weights; the others as they were until then."""
    full, halved = both.full[task], both.halved[task]
    when, ends = dropped(halved), looks_of(both, full)
    for (fold, step), look in looks_of(both, halved).items():
        for point, rate in enumerate(GRIDS[task]):
            gone = when[fold, rate] is not None and step > when[fold, rate]
            for name in ("dev", "train_loss"):
                assert look[name][point] == (None if gone else ends[fold, step][name][point]), (fold, step, rate)
    entries = zip(full.selection, halved.selection, strict=True)
    for whole, one in entries:
        if one["dropped_at"] is None:
            assert whole == {name: value for name, value in one.items() if name != "dropped_at"}


@pytest.mark.parametrize("task", STEPS)
def test_the_best_of_all_is_chosen_by_its_best_score_so_far(task, both):
    row, looks = both.halved[task], looks_of(both, both.halved[task])
    best = min if task == "pr" else max
    for entry in row.selection:
        point = GRIDS[task].index(entry["lr"])
        scores = [own["dev"][point] for (fold, _), own in looks.items() if fold == entry["fold"]]
        scores = [score for score in scores if score is not None]
        assert entry["dev"] == best(scores)
        assert entry["best_step"] == LOOK[task] * (1 + scores.index(best(scores)))
        assert entry["test"] is not None
    means = [np.mean([e["dev"] for e in row.selection if e["lr"] == rate]) for rate in GRIDS[task]]
    assert row.selected == {"lr": GRIDS[task][means.index(best(means))], "dev": pytest.approx(best(means))}


def test_the_row_says_so_and_stands_on_a_board_of_its_own(both):
    full, halved = both.full["er"], both.halved["er"]
    assert halved.protocol_changes == [*full.protocol_changes, "lr=auto"]
    assert halved.settings == full.settings | {"halving": True}
    assert halved.id != full.id
    assert board_of(halved) != board_of(full)
    steps = [STEPS["er"] if step is None else step for step in dropped(halved).values()]
    assert halved.cost["optimizer_steps"] == sum(steps)
    assert full.cost["optimizer_steps"] == 5 * STEPS["er"] * len(GRIDS["er"])


def test_curves_end_where_a_point_was_dropped(both):
    for task, row in both.halved.items():
        path, when = folder_of(both.runs, row) / "train.jsonl", dropped(row)
        [group] = groups(row)
        for rate, curve in curves(path, group).items():
            first = min(when[fold, rate] or STEPS[task] for fold in group.folds)
            assert curve.steps[np.isfinite(curve.dev)].max() == first
        assert "<svg" in shown(row, path)


@pytest.mark.parametrize("plot", ["lr", "training"])
def test_plots_and_reports_show_it(plot, both, tmp_path):
    results = ["--results", str(both.runs.results)]
    assert (
        main(["plot", plot, *results, "--board", board_of(both.halved["er"]), "--output", str(tmp_path / "p.svg")]) == 0
    )
    assert main(["report", *results, "--output", str(tmp_path / "report")]) == 0
    assert "dropped at" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("task", STEPS)
def test_killed_after_some_were_dropped_the_result_is_the_same(task, both, mini_data, tmp_path):
    killed = SmallRuns(mini_data, tmp_path, SETTINGS)
    process = killed.start("--upstream", UPSTREAM, "--task", task, "--lr", "auto", before=OFTEN)
    wait_for(tmp_path, "results/*/*/*/train.jsonl", process)
    [curves_path] = killed.results.rglob("train.jsonl")
    while "null" not in curves_path.read_text():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(killed.results.rglob("row.json"))
    states = [load_file(path) for path in killed.results.rglob("*.state")]
    assert any("dropped" in state for state in states)
    killed.run(UPSTREAM, task=task, lr="auto")
    row = both.halved[task]
    assert contents(killed.results) == {
        name: content for name, content in contents(both.runs.results).items() if row.id in name
    }


def test_with_a_head_for_each_layer_rates_are_halved_within_a_layer(mini_data, both, tmp_path):
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    [row] = runs.run(UPSTREAM, task="er", lr="auto", layers="each").rows
    assert row.protocol_changes[-2:] == ["lr=auto", "mix=each"]
    assert [entry["dropped_at"] for entry in row.selection] == list(dropped(both.halved["er"]).values())


def test_tensorboard_curves_end_there_too(mini_data, both, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    runs.run(UPSTREAM, task="er", lr="auto", tensorboard=tmp_path / "watched")
    when = dropped(both.halved["er"])
    [folder] = tmp_path.glob("watched/*/*/*/fold1")
    found = reading.EventAccumulator(str(folder))
    found.Reload()
    for rate in GRIDS["er"]:
        events = found.Scalars(f"dev/lr={rate:g}")
        assert events[-1].step == (when["fold1", rate] or STEPS["er"])
