"""A head for every layer, trained side by side: each learns exactly what it would on a model of that one layer."""

import signal
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_runs import SHORT, SmallRuns, contents, lines, plain, wait_for
from test_grid import DIM as MEAN_DIM
from test_grid import PROJECTOR, SHAPES, make_batch, parameters
from test_sequence_grid import AUGMENT, now, same
from user_files import write_file

from benchmark.cells import read_task
from benchmark.cli import main
from downstream import protocols
from downstream.fit.adam import Adam
from downstream.fit.ctc_grid import CtcGrid
from downstream.fit.grid import MeanLinearGrid
from downstream.fit.sampling import Draw
from downstream.fit.sequence_grid import SequenceGrid
from downstream.fit.sequence_heads import Recurrent
from downstream.fit.xvector import XVector, am_softmax_losses
from downstream.represent.frame_features import FrameBatch
from downstream.tasks import TASKS as TASKS_OF_ALL
from upstream.errors import UsageError

CPU = torch.device("cpu")
DIM, OUTPUTS, HOP = 16, 7, 160  # so that all layers lie in memory alike: their sums are the same to the last bit
LAYERS, RATES = 3, [0.1, 0.001]
POINTS = [(layer, rate) for layer in range(LAYERS) for rate in RATES]
EACH = {"only_layers": [layer for layer, _ in POINTS]}
ALL_RATES = [rate for _, rate in POINTS]

# Hidden states of different worth, four figures a frame. A file is made of it for both of them, and one for each.
MODEL = """
    import torch

    class Upstream:
        def __call__(self, wavs):
            frames = [wav.unfold(0, 320, 320) for wav in wavs]
            of_frame = lambda own: torch.stack([own.square().mean(1), own[:, 0], own[:, 7], own.std(1)], dim=1)
            feats = torch.nn.utils.rnn.pad_sequence([of_frame(own) for own in frames], batch_first=True)
            layers = [3 * feats, (feats + 1e-3).abs().log()]
            return [layers[n] for n in LAYERS], [len(own) for own in frames]
"""
SETTINGS = ("sid.steps=40", "sid.eval_every=20", "er.steps=30", "er.eval_every=10", "projector=16", *SHORT)
SETTINGS = (*SETTINGS, "asr.grid=[0.01, 0.001]", "sid.grid=[0.1, 0.01]", "er.grid=[0.1, 0.01]", "asv.weight_decay=0.3")
TASKS = ("sid", "er", "asr", "asv")


# The grids


@pytest.mark.parametrize(("layers", "slots", "size"), [shape for shape in SHAPES if shape[0] == 4])
@pytest.mark.parametrize("clip", [0.05, 1.0, 1e9])
def test_heads_on_means_learn_what_they_learn_of_a_single_layer(layers, slots, size, clip):
    points = [(layer, rate) for layer in range(layers) for rate in RATES]
    shape, seed = (MEAN_DIM, slots, PROJECTOR), 3
    rates, only = [rate for _, rate in points], [layer for layer, _ in points]
    each = MeanLinearGrid(layers, *shape, rates, clip, seed, CPU, only)
    alone = [MeanLinearGrid(1, *shape, RATES, clip, seed, CPU) for _ in range(layers)]
    for number in range(10):
        means, *rest = make_batch(layers, slots, size, seed=number, scale=1 + number % 3)
        losses = each.step(means, *rest)
        expected = torch.cat([grid.step(means[:, [layer]], *rest) for layer, grid in enumerate(alone)])
        assert torch.allclose(losses, expected, rtol=1e-6)
    means, *_ = make_batch(layers, slots, 50, seed=99)
    for point, (layer, _) in enumerate(points):
        mine, theirs = (parameters(grid, number) for grid, number in ((each, point), (alone[layer], point % 2)))
        for name in set(mine) - {"mix.weights"}:
            assert torch.allclose(mine[name], theirs[name], rtol=1e-5, atol=1e-6), name
        assert each.layer_weights(point) == [float(n == layer) for n in range(layers)]
        assert torch.equal(each.head(point).from_means(means), from_one(each.head(point), means, layer))
        assert torch.equal(each.predict(means)[point], alone[layer].predict(means[:, [layer]])[point % 2])
    assert not torch.equal(parameters(each, 0)["projector.weight"], parameters(each, 2)["projector.weight"])


def from_one(head, means, layer):
    return head.classifier(head.projector(means[:, layer]))


def of_one_layer(batch, layer):
    one = slice(layer, layer + 1)
    return FrameBatch([values[one] for values in batch.values], batch.scales[:, one], batch.samples)


def make_step(number, layers=LAYERS):
    """A batch in two parts, numbers to write down or speakers to tell, and its draw."""
    random = torch.Generator().manual_seed(number)
    lengths = torch.randint(15, 30, (5,), generator=random)
    values = [torch.randn(layers, length, DIM, generator=random).half() for length in lengths.tolist()]
    scales = torch.ldexp(torch.ones(5, layers), torch.randint(-1, 2, (5, layers), generator=random))
    targets = [torch.randint(1, OUTPUTS, (2 + i % 4,), generator=random) for i in range(5)]
    draw = Draw(number, np.arange(5), np.full(5, 0.2, dtype=np.float32), np.full(5, -1), [3, 2])
    return FrameBatch(values, scales, HOP * lengths), targets, draw


def xvector_grid(layers, rates, **only):
    make = partial(XVector, DIM, OUTPUTS, 16, 16)
    losses = partial(am_softmax_losses, scale=30.0, margin=0.4)
    return SequenceGrid(layers, make, losses, rates, 0.1, 5, CPU, HOP, optimizer=Adam(weight_decay=0.5), **only)


def ctc_grid(layers, rates, **only):
    make = partial(Recurrent, DIM, 8, 5, 2, 0.2, False, 1, OUTPUTS)
    return CtcGrid(layers, make, rates, 0.1, 5, CPU, HOP, AUGMENT, **only)


@pytest.mark.parametrize("make", [ctc_grid, xvector_grid])
def test_heads_on_frames_learn_what_they_learn_of_a_single_layer(make):
    """To the last bit, with SpecAugment, dropout and clipping, and with a weight decay that would move every weight."""
    each, alone = make(LAYERS, ALL_RATES, **EACH), [make(1, RATES) for _ in range(LAYERS)]
    for number in range(5):
        batch, targets, draw = make_step(number)
        targets = torch.arange(5) if make is xvector_grid else targets
        losses = each.step(batch, targets, draw)
        expected = [grid.step(of_one_layer(batch, layer), targets, draw) for layer, grid in enumerate(alone)]
        assert torch.equal(losses, torch.cat(expected))
    batch, *_ = make_step(99)
    answers = each.outputs(batch, best=False)
    for point, (layer, _) in enumerate(POINTS):
        mine, theirs = now(each, point), now(alone[layer], point % 2)
        weights = mine.pop("weights")
        assert theirs.pop("weights") == 0
        assert same(mine, theirs)
        assert weights.softmax(0).tolist() == [float(n == layer) for n in range(LAYERS)]
        expected = alone[layer].outputs(of_one_layer(batch, layer), best=False)[point % 2]
        assert all(torch.equal(one, other) for one, other in zip(answers[point], expected, strict=True))
        each.keep(point)
        assert each.layer_weights(point) == [float(n == layer) for n in range(LAYERS)]
        [again] = each.outputs(batch, best=True, points=[point])
        assert all(torch.equal(one, other) for one, other in zip(again, expected, strict=True))
    assert not torch.equal(answers[0][0], answers[2][0])


@pytest.mark.parametrize("make", [ctc_grid, xvector_grid])
def test_a_grid_of_one_layer_is_the_same_either_way(make):
    each, mixed = make(1, RATES, only_layers=[0, 0]), make(1, RATES)
    batch, targets, draw = make_step(0, layers=1)
    targets = torch.arange(5) if make is xvector_grid else targets
    assert torch.equal(each.step(batch, targets, draw), mixed.step(batch, targets, draw))
    assert same(each.state(), mixed.state())


# Runs


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A file with two layers, and a file for each of them."""
    folder = tmp_path_factory.mktemp("models")
    kept = {"both": (0, 1), "first": (0,), "second": (1,)}
    text = {name: MODEL.replace("LAYERS", repr(layers)) for name, layers in kept.items()}
    return {name: write_file(folder, own, f"{name}.py") for name, own in text.items()}


@pytest.fixture(scope="module")
def runs(models, mini_data, tmp_path_factory):
    """Both layers side by side, and each as a model of its own, whose mix is of one."""
    runs = SmallRuns(mini_data, tmp_path_factory.mktemp("single-layers"), SETTINGS)
    runs.run(models["both"], task=TASKS, layers="each", seed=5)
    runs.run(models["first"], models["second"], task=TASKS, seed=5)
    return runs


@pytest.fixture(scope="module")
def rows(runs):
    from benchmark.rows import read_rows

    return {(row.upstream, row.task): row for row in read_rows(runs.results, print)}


@pytest.mark.parametrize("task", TASKS)
def test_every_layer_of_a_row_is_as_the_row_of_a_model_with_that_layer_alone(task, rows):
    row = rows["both", task]
    for layer, name in enumerate(("first", "second")):
        mine = [entry for entry in row.selection if entry["layer"] == layer]
        theirs = rows[name, task].selection
        assert len(mine) == len(theirs) == len(row.selection) / 2
        for one, other in zip(mine, theirs, strict=True):
            assert one == other | {"layer": layer, "layer_weights": [float(n == layer) for n in range(2)]}


@pytest.mark.parametrize("task", TASKS)
def test_the_layer_and_rate_that_are_best_on_dev_are_the_score(task, rows, runs):
    """Over all folds that are scored together, by the mean of their dev scores. Whatever that layer's own row says of
    the best rate is what this one says."""
    row = rows["both", task]
    better = max if task in ("sid", "er") else min
    suffix = "_dev" if task == "asv" else ""
    dev = {}
    for entry in row.selection:
        if entry["selected_on"] == "dev":
            dev.setdefault((entry["layer"], entry["lr"]), []).append(entry["dev"])
    means = {point: float(np.mean(values)) for point, values in dev.items()}
    best = better(means, key=means.get)
    assert (row.selected[f"layer{suffix}"], row.selected[f"lr{suffix}"]) == best
    assert row.selected[f"dev{suffix}"] == pytest.approx(means[best])
    theirs = rows[("first", "second")[best[0]], task]
    if theirs.selected[f"lr{suffix}"] == best[1]:
        assert row.metrics[row.primary + suffix]["value"] == theirs.metrics[row.primary + suffix]["value"]
    assert row.layer_weights == [float(n == row.selected["layer"]) for n in range(2)]
    assert list(row.selected)[:3] == ["layer", "lr", "dev"]


def test_asv_s_figure_on_test_and_its_honest_twin_choose_a_layer_each(rows):
    row = rows["both", "asv"]
    assert {"layer", "lr", "dev", "layer_dev", "lr_dev", "dev_dev"} == row.selected.keys()
    assert row.metrics["eer"]["value"] == min(e["test"] for e in row.selection if e["selected_on"] == "test")


@pytest.mark.parametrize("task", [task for task in TASKS_OF_ALL if task != "qbe"])
def test_every_task_that_learns_has_a_head_for_each_layer(task, mini_data):
    protocol = protocols.load("mini", SHORT, ["0.1", "0.01"], layers="each")
    reading = read_task(task, mini_data, protocol, None)
    upstream = SimpleNamespace(num_layers=LAYERS, dim=8, device=CPU, hop=320)
    learners = reading.objective.learners(upstream, reading.protocol, 0, reading.folds[0].train.examples)
    assert learners.only_layers == [0, 0, 1, 1, 2, 2]
    assert learners.rates == [0.1, 0.01] * 3
    assert learners.layer_weights(3) == [0, 1, 0]


def test_a_row_says_that_each_layer_had_its_head(rows, runs):
    row = rows["both", "sid"]
    assert row.settings["mix"] == "each"
    assert row.protocol_changes[-1] == "mix=each"
    assert "mix" not in rows["first", "sid"].settings
    assert row.cost["optimizer_steps"] == 40 * 4
    [*looks] = lines(runs.results / "both" / "sid" / row.id / "train.jsonl")
    for look in looks:
        assert look["layer"] == [0, 0, 1, 1]
        assert look["lr"] == [0.1, 0.01] * 2
        assert len(look["dev"]) == len(look["train_loss"]) == 4
    assert plain(row)["selected"] == row.selected


def test_the_head_that_is_kept_hears_its_layer_alone(rows, runs):
    from safetensors.torch import load_file

    row = rows["both", "sid"]
    head = load_file(runs.results / "both" / "sid" / row.id / "head-all.safetensors")
    assert head["mix.weights"].softmax(0).tolist() == row.layer_weights


def test_a_learned_mix_is_another_cell_and_a_search_is_the_same(models, mini_data, tmp_path, capsys):
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    asked = [runs.run(models["both"], task=["sid", "qbe"], layers=how) for how in ("mixed", "each")]
    assert [outcome.fresh for outcome in asked] == [2, 1]
    (mixed, search), (each, same_search) = (outcome.rows for outcome in asked)
    assert mixed.id != each.id
    assert search.id == same_search.id
    assert "mix" not in search.settings
    assert "4 heads side by side, 2 layers at 2 learning rates each: " in capsys.readouterr().err
    assert "layer" not in mixed.selected and "layer" not in mixed.selection[0]


def test_one_layer_can_be_probed_too(models, mini_data, tmp_path):
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    each, mixed = (runs.run(models["first"], task="sid", layers=how).rows[0] for how in ("each", "mixed"))
    assert each.metrics == mixed.metrics
    assert each.selected == {"layer": 0} | mixed.selected
    assert each.layer_weights == mixed.layer_weights == [1.0]


def test_plan_says_how_many_heads(models, mini_data, tmp_path, capsys):
    runs = SmallRuns(mini_data, tmp_path, SETTINGS)
    command = runs.arguments("plan", "--upstream", models["both"], "--task", "sid", "qbe", "--layers", "each")
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "40 steps x 2 learning rates x 2 layers: 4 heads side by side" in said
    assert "pairs to compare, all layers together" in said
    assert main([*command, "--lr", "0.1"]) == 0
    assert "40 steps x 1 learning rates x 2 layers: 2 heads side by side" in capsys.readouterr().out
    assert main([*command, "--lr", "auto", "--set", "sid.grid=[0.1, 0.01, 0.001]"]) == 0
    assert "at most 40 steps x 3 learning rates x 2 layers: 6 heads side by side" in capsys.readouterr().out


def test_layers_are_mixed_or_each(runs):
    with pytest.raises(UsageError, match=r"unknown word for --layers 'eahc'. Did you mean: each"):
        runs.run("fbank", task="sid", layers="eahc")
    with pytest.raises(UsageError, match="unknown key in --set ks 'mix'"):
        runs.run("fbank", task="sid", set=["ks.mix=each"])


OFTEN = """
from downstream.fit import train
train._SAVE_SECONDS = -1.0
train._SAVING_SHARE = float("inf")"""


@pytest.mark.parametrize(("task", "change"), [("er", "er.steps=400"), ("asr", "asr.steps=40")])
def test_killed_in_the_middle_the_result_is_the_same(task, change, models, mini_data, tmp_path):
    straight, killed = (SmallRuns(mini_data, tmp_path / n, (*SETTINGS, change)) for n in ("straight", "killed"))
    straight.run(models["both"], task=task, layers="each")
    cell = ("--upstream", models["both"], "--task", task, "--layers", "each")
    process = killed.start(*cell, before=OFTEN)
    wait_for(killed.folder, "results/*/*/*/*.state", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(killed.results.rglob("row.json"))
    assert killed.run(models["both"], task=task, layers="each").fresh == 1
    assert contents(killed.results) == contents(straight.results)
