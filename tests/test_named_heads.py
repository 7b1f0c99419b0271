"""Heads by name: each fits the loss of its task, a wrong name is told at once, and a new one takes an entry alone."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SmallRuns, folder_of
from torch import nn
from torch.nn import functional

from benchmark.cli import main
from downstream import protocols, tasks
from downstream.fit.diarization_head import activity_losses
from downstream.fit.head import Head
from downstream.fit.mask_head import mask_losses
from downstream.fit.named_heads import HEADS, check, maker
from downstream.fit.spectra import opened
from downstream.fit.xvector import am_softmax_losses
from upstream.errors import UsageError
from upstream.frames import valid_mask

ROOT = Path(__file__).parents[1]
DIM, HOP = 6, 320
LENGTHS = torch.tensor([31, 24, 17])
OUTPUTS = {"asv": 5, "sd": 2, "ss": 2, "se": 1}
VERIFICATION = (
    *("asv.steps=2", "asv.eval_every=1", "asv.batch=4", "asv.accumulate=1", "asv.projector=8"),
    *("asv.crop_seconds=1.0", "asv.dev_speakers=2", "asv.dev_trials=40"),
)
ALL = [(task, name) for task, own in HEADS.items() for name in own]


class Averages(Head):
    """What another head for verification may look like: a speaker is near the mean of what was heard of him."""

    def __init__(self, dim: int, speakers: int) -> None:
        super().__init__()
        self.speakers = nn.Linear(dim, speakers, bias=False)

    def forward(self, frames, lengths, random=None):
        vectors, _ = self.answer(frames, lengths)
        return vectors @ functional.normalize(self.speakers.weight.T, dim=0), lengths

    def answer(self, frames, lengths):
        valid = valid_mask(lengths, frames.shape[1])[..., None]
        return functional.normalize((frames * valid).sum(1) / lengths[:, None], dim=1), lengths


@pytest.fixture
def averages(monkeypatch):
    """A new name in the table, for the time of a test, and the widths that it was made with."""
    made = []

    def make(dim, speakers, numbers):
        made.append((dim, speakers))
        return Averages(dim, speakers)

    monkeypatch.setitem(HEADS["asv"], "ecapa", make)
    return made


@pytest.fixture
def runs(mini_data, tmp_path):
    return SmallRuns(mini_data, tmp_path, VERIFICATION)


def small(task, **changes):
    """SUPERB's numbers for a task with a head of a few numbers."""
    numbers = protocols.load("superb").task(task)
    sizes = {"projector": 8, "hidden": 7, "layers": min(2, numbers.layers or 1)}
    return replace(
        numbers, **{name: size for name, size in sizes.items() if getattr(numbers, name) is not None} | changes
    )


def losses_of(task):
    """The loss of a task, given what a head says and how long that is."""
    random = torch.Generator().manual_seed(4)
    if task == "asv":
        return partial(am_softmax_losses, targets=torch.tensor([4, 0, 2]), scale=30.0, margin=0.4)
    if task == "sd":
        labels = [torch.randint(0, 2, (length, 2), generator=random).float() for length in LENGTHS.tolist()]
        return partial(activity_losses, targets=labels)
    waves = [torch.randn(OUTPUTS[task], HOP * (length - 1), generator=random) for length in LENGTHS.tolist()]
    return partial(mask_losses, targets=[opened(own.sum(0), list(own), HOP) for own in waves])


def frames():
    return torch.randn(len(LENGTHS), int(LENGTHS.max()), DIM, generator=torch.Generator().manual_seed(3))


# ---- Those that there are


def test_every_task_about_speakers_has_the_head_that_its_protocols_name():
    assert set(HEADS) == set(OUTPUTS)
    for protocol in map(protocols.load, protocols.names()):
        for task in HEADS:
            check(task, protocol.task(task))


@pytest.mark.parametrize(("task", "name"), ALL)
def test_every_head_learns_by_the_loss_of_its_task(task, name):
    """Started from a seed, it gives each utterance a loss, and the loss reaches every parameter."""
    make = maker(task, DIM, OUTPUTS[task], small(task, head=name))
    heads = make(), make()
    assert isinstance(heads[0], Head)
    assert heads[0] is not heads[1]
    for head in heads:
        head.reset(torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(heads[0].parameters(), heads[1].parameters(), strict=True))
    found, kept = heads[0](frames(), LENGTHS, torch.Generator().manual_seed(2))
    losses = losses_of(task)(found, kept)
    assert losses.shape == LENGTHS.shape
    assert losses.isfinite().all()
    losses.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in heads[0].parameters())


@pytest.mark.parametrize(("task", "name"), ALL)
def test_what_a_head_says_of_an_utterance_does_not_depend_on_its_company(task, name):
    head = maker(task, DIM, OUTPUTS[task], small(task, head=name))()
    head.reset(torch.Generator().manual_seed(1))
    together, kept = head.answer(frames(), LENGTHS)
    assert kept.tolist() == LENGTHS.tolist()
    for number, length in enumerate(LENGTHS.tolist()):
        alone, _ = head.answer(frames()[number : number + 1, :length], LENGTHS[number : number + 1])
        own = together[number] if together.dim() == 2 else together[number, :length]
        assert torch.allclose(alone[0], own, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "size"),
    [
        ("asv", 512 * (DIM + 1) + 512 * (5 * 512 + 1) + 2 * 512 * (3 * 512 + 1) + 512 * 513 + 1500 * 513 + 512 * 3001
         + 512 * 513 + 5 * 512),
        ("sd", 4 * 512 * (DIM + 512 + 2) + 2 * 513),
        ("ss", 8 * 896 * (DIM + 896 + 2) + 2 * 8 * 896 * (3 * 896 + 2) + 2 * 257 * 1793),
        ("se", 8 * 896 * (DIM + 896 + 2) + 2 * 8 * 896 * (3 * 896 + 2) + 257 * 1793),
    ],
)  # fmt: skip
def test_the_numbers_of_superb_give_heads_of_its_size(task, size):
    with torch.device("meta"):
        head = maker(task, DIM, OUTPUTS[task], protocols.load("superb").task(task))()
    assert sum(p.numel() for p in head.parameters()) == size


@pytest.mark.parametrize(
    ("task", "key"), [("asv", "projector"), ("sd", "hidden"), ("sd", "chunk_frames"), ("ss", "dropout")]
)
def test_a_number_that_a_head_needs_is_asked_for(task, key):
    with pytest.raises(UsageError, match=f"gives no {key}"):
        maker(task, DIM, 2, small(task, **{key: None}))()


def test_names_are_looked_up_without_torch():
    code = (
        f"import sys; from downstream import tasks; [*map(tasks.get, {list(HEADS)})]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# ---- A name that there is not


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        ("asv", "xvectr", "unknown head of task 'asv' 'xvectr'. Did you mean: xvector?"),
        ("asv", "ecapa", "unknown head of task 'asv' 'ecapa'. Known: xvector."),
        ("sd", "mask_lstm", "unknown head of task 'sd' 'mask_lstm'. Did you mean: lstm?"),
    ],
)
def test_a_name_that_no_head_has_is_told_before_anything_is_heard(task, name, said, runs, capsys):
    command = runs.arguments("run", "--upstream", "fbank_no_cmvn", "--task", task)
    assert main([*command, f"{task}.head={name}"]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert not list(runs.cache.rglob("*.shard"))
    assert not list(runs.results.rglob("row.json"))


@pytest.mark.parametrize("task", HEADS)
def test_no_task_takes_a_name_that_it_does_not_know(task, mini_manifest):
    numbers = replace(protocols.load("mini").task(task), head="conformer", dev_speakers=None)
    with pytest.raises(UsageError, match=f"unknown head of task '{task}' 'conformer'"):
        tasks.get(task).objective(mini_manifest(tasks.get(task).corpus), numbers)


# ---- A new one


def test_a_new_entry_is_all_that_another_head_needs(averages, runs, capsys):
    runs.set = (*VERIFICATION, "asv.head=ecapa")
    outcome = runs.run("fbank_no_cmvn", task="asv", lr=["0.01"])
    assert outcome.exit_code == 0, capsys.readouterr().err
    [row] = outcome.rows
    dims, counts = {dim for dim, _ in averages}, {speakers for _, speakers in averages}
    assert dims == {row.features["dim"]}
    assert len(counts) == 2  # without the speakers that are held out, and with them
    assert row.settings["head"] == "ecapa"
    assert "head=ecapa" in row.protocol_changes
    assert row.cost["head_parameters"] == row.features["layers"] + row.features["dim"] * max(counts)
    for fold, speakers in (("superb", max(counts)), ("held-out", min(counts))):
        kept = load_file(folder_of(runs, row) / f"head-{fold}.safetensors")
        assert {name: tuple(value.shape) for name, value in kept.items()} == {
            "weights": (row.features["layers"],),
            "head.speakers.weight": (speakers, row.features["dim"]),
        }
    runs.set = VERIFICATION
    [other] = runs.run("fbank_no_cmvn", task="asv", lr=["0.01"]).rows
    assert other.id != row.id
    assert other.fingerprints["features"] == row.fingerprints["features"]
    assert other.metrics["eer"]["value"] != row.metrics["eer"]["value"]
