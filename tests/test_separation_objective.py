"""What SS and SE learn and how they are scored: whole steps against s3prl's, figures against mir_eval and pesq."""

from collections import defaultdict
from dataclasses import replace
from itertools import permutations

import numpy as np
import pesq
import pytest
import soundfile
import test_mask_head
import torch
from s3prl_training import LayerSum, assert_learned_alike, make_batch, make_draw, now, parts, trained, upstream
from test_mask_head import DIM, HIDDEN, make_waves, their_inputs, their_names, their_task
from test_separation_metrics import one_tap
from torch.nn.utils.rnn import pad_sequence

from downstream import protocols, tasks
from downstream.fit.spectra import opened, separated
from downstream.metrics import quality
from downstream.objectives import Answers, separation
from downstream.types import Example, Manifest
from upstream.errors import DataError

s3prl_tasks = test_mask_head.s3prl_tasks  # a fixture

HOP, RATES = 320, (1e-4, 1e-3)
SOURCES = {"ss": 2, "se": 1}
SAMPLES = [4800, 8090, 3200, 5500, 4000]
SUPERB = protocols.load("superb")
THEIR_NAMES = {"ss": "separation_stft", "se": "enhancement_stft"}
# Of each step the sizes of its micro-batches, and how many frames more than the spectrum's an upstream has.
STEPS = [((4,), (0, -1, 1, 0)), ((3,), (-4, 2, 0)), ((2, 2), (1, -1, -2, 0)), ((5,), (1,) * 5), ((4,), (-1,) * 4)]
both = pytest.mark.parametrize("task", SOURCES)


def protocol(task, **changes):
    return replace(SUPERB.task(task), hidden=HIDDEN, dropout=0.0, rates=RATES, **changes)


def put(path, wave):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(wave), 16000, subtype="FLOAT")


def manifest(root, task, samples=SAMPLES, silent=()):
    """Mixtures of so many samples; of those that are said to be the first source is silent."""
    examples = []
    for number, count in enumerate(samples):
        names = [f"{folder}/{number}.wav" for folder in ("mixed", "first", "second")[: 1 + SOURCES[task]]]
        mixture, sources = make_waves(count, SOURCES[task], seed=number)
        if number in silent:
            mixture, sources[0] = mixture - sources[0], sources[0] * 0
        for name, wave in zip(names, (mixture, *sources), strict=True):
            put(root / name, wave)
        examples.append(Example(f"u{number}", names[0], (), sources=tuple(names[1:])))
    return Manifest("mixtures", root, {"train": examples, "dev": examples, "test": examples}, {})


def objective(task, manifest):
    return tasks.get(task).objective(manifest, protocol(task))


def opened_targets(one, examples):
    return one.opened(one.encode(examples, "here"))


def mixture_of(waves, hop=HOP):
    return opened(torch.from_numpy(waves.mixture), [torch.from_numpy(source) for source in waves.sources], hop)


def perfect(waves, order=None):
    """The best masks there are, of the sources in another order where one is given."""
    mixture = mixture_of(waves)
    masks = (mixture.wanted / mixture.spectrum.abs().clamp(min=1e-6)).transpose(0, 1)
    return masks if order is None else masks[:, list(order)]


def improvement(waves, masks):
    """SI-SDRi as mir_eval's parts give it, for the best assignment; and that assignment."""
    estimates, places = separated(masks, mixture_of(waves), HOP), range(len(waves.sources))
    before = np.mean([one_tap(waves.sources, waves.mixture, place) for place in places])
    means = {
        order: np.mean([one_tap(waves.sources, estimates[order[place]], place) for place in places])
        for order in permutations(places)
    }
    best = max(means, key=means.get)
    return means[best] - before, best


class Masks:
    """Stands for trained heads: one list of masks a learning rate."""

    hop = HOP

    def __init__(self, *points):
        self.points = points

    def outputs(self, batch, best):
        return self.points


class Listeners:
    """Stands for the processes that measure, and remembers what they are given. Silence cannot be measured."""

    def __init__(self):
        self.pairs = []

    def measure(self, pairs, measures):
        self.pairs = list(pairs)
        values = [float(number) if pair.reference.any() else None for number, pair in enumerate(self.pairs)]
        return [dict.fromkeys(measures, value) for value in values]


def heard(targets, more=0):
    """So many frames more than the spectra have."""
    counts = [len(waves.mixture) for waves in targets]
    return make_batch([count // HOP + 1 + more for count in counts], counts, DIM, 0)


def answers(examples, targets, masks):
    """What a head is supposed to have said, in an order of its own."""

    def outputs(asked):
        assert asked == examples
        for place in np.random.default_rng(0).permutation(len(asked)):
            yield int(place), masks[place], targets[place]

    return Answers("all", examples, [None] * len(examples), outputs, hop=HOP)


@pytest.fixture
def listeners(monkeypatch):
    """Made-up numbers for STOI and PESQ."""
    made = Listeners()
    monkeypatch.setattr(separation, "_workers", lambda: made)
    return made


def judged(one, examples, targets, masks, say=pytest.fail):
    return one.judge([answers(examples, targets, masks)], 0, say)


# ---- What is learned


@both
@pytest.mark.parametrize("hop", [320, 160])
def test_every_step_is_that_of_s3prl(task, hop, s3prl_tasks, tmp_path):
    """Where the upstream gives other frames than the spectrum has, they are cut or continued with zeros."""
    of = manifest(tmp_path, task)
    one, examples, superb = objective(task, of), of.splits["train"], s3prl_tasks[THEIR_NAMES[task]]
    grid = one.learners(upstream(DIM, hop), protocol(task), 3, examples)
    start, steps = now(grid, 0), []
    for number, (sizes, more) in enumerate(STEPS):
        chosen = np.random.default_rng(number).permutation(len(examples))[: sum(sizes)]
        counts = [SAMPLES[place] for place in chosen]
        frames = [count // hop + 1 + extra for count, extra in zip(counts, more, strict=True)]
        batch = make_batch(frames, counts, DIM, number)
        steps.append((batch, opened_targets(one, [examples[place] for place in chosen]), make_draw(number, sizes)))
    losses = torch.stack([one.step(grid, *step) for step in steps])

    def loss_of(layers, expert, batch, targets):
        frames, mixtures = pad_sequence(layers(batch), batch_first=True), [mixture_of(waves, hop) for waves in targets]
        return expert("train", *their_inputs(superb, frames, batch.lengths, mixtures, hop), records=defaultdict(list))

    for point, rate in enumerate(RATES):
        head = one.learners(upstream(DIM, hop), protocol(task), 3, examples).head(0).head
        layers, expert = LayerSum(), their_task(superb, head, hop)
        micro = [
            [lambda part=part: loss_of(layers, expert, *part) for part in parts(batch, own, draw.sizes)]  # noqa: B023
            for batch, own, draw in steps
        ]
        their_losses = trained(task, rate, protocol(task).clip, [layers, expert], micro)
        assert losses[:, point].tolist() == pytest.approx(their_losses, rel=1e-5)
        learned = dict(expert.model.named_parameters())
        renamed = {ours: learned[name] for name, ours in their_names({n: n for n in start if n != "weights"}).items()}
        assert_learned_alike(now(grid, point), renamed | {"weights": layers.weights}, start)


@both
def test_targets_are_the_waves_of_the_mixture_and_of_its_sources(task, tmp_path):
    of = manifest(tmp_path, task)
    for number, waves in enumerate(opened_targets(objective(task, of), of.splits["test"])):
        mixture, sources = make_waves(SAMPLES[number], SOURCES[task], seed=number)
        assert np.array_equal(waves.mixture, mixture)
        assert np.array_equal(waves.sources, torch.stack(sources))


def test_a_source_of_another_length_than_its_mixture_is_refused(tmp_path):
    of = manifest(tmp_path, "ss")
    put(tmp_path / "second/1.wav", np.zeros(8089))
    with pytest.raises(DataError, match=r"second/1\.wav has 8089 samples and its mixture .*mixed/1\.wav has 8090"):
        opened_targets(objective("ss", of), of.splits["train"])


@both
@pytest.mark.parametrize("more", [-5, 5])
def test_frames_that_are_far_from_those_of_the_spectrum_are_refused(task, more, tmp_path):
    of = manifest(tmp_path, task, [4000])
    one, examples = objective(task, of), of.splits["train"]
    grid = one.learners(upstream(DIM, HOP), protocol(task), 3, examples)
    targets = opened_targets(one, examples)
    with pytest.raises(DataError, match=rf"mixed/0\.wav: the upstream gives {13 + more} frames.*has 13"):
        one.step(grid, heard(targets, more), targets, make_draw(0, (1,)))
    with pytest.raises(DataError, match=r"mixed/0\.wav"):
        one.predict(grid, heard(targets, more), targets, best=False)


# ---- The figure that chooses


def test_separation_is_chosen_by_what_mir_eval_finds_in_the_estimates(tmp_path):
    of = manifest(tmp_path, "ss")
    one = objective("ss", of)
    targets = opened_targets(one, of.splits["dev"])
    random = torch.Generator().manual_seed(0)
    good = [perfect(waves, order) for waves, order in zip(targets, [(1, 0), (0, 1)] * 3, strict=False)]
    bad = [mask * torch.rand(mask.shape, generator=random) + 0.5 for mask in good]
    found = one.predict(Masks(good, bad), heard(targets), targets, best=False)
    for own, masks in zip(found, (good, bad), strict=True):
        assert own == pytest.approx([improvement(*each)[0] for each in zip(targets, masks, strict=True)], abs=1e-6)
        assert one.figure(own, of.splits["dev"], None, None) == pytest.approx(np.mean(own))
    assert min(np.subtract(*found)) > 1


def test_of_what_is_undefined_nothing_is_in_the_figure(tmp_path):
    of = manifest(tmp_path, "ss", [4000, 6700], silent=(1,))
    one = objective("ss", of)
    targets = opened_targets(one, of.splits["dev"])
    [found] = one.predict(Masks([perfect(waves) for waves in targets]), heard(targets), targets, best=True)
    assert found[1] is None
    assert one.figure(found, of.splits["dev"], None, None) == found[0]
    with pytest.raises(DataError, match="si_sdri is undefined for all 2 utterances"):
        one.figure([None, None], of.splits["dev"], None, None)


def test_a_learning_rate_that_diverged_loses_and_the_others_go_on(tmp_path):
    of = manifest(tmp_path, "ss", [4000])
    one = objective("ss", of)
    targets = opened_targets(one, of.splits["dev"])
    good = [perfect(waves) for waves in targets]
    lost = [torch.full_like(mask, torch.nan) for mask in good]
    found = one.predict(Masks(lost, good), heard(targets), targets, best=False)
    assert found[0][0] < -70 < 0 < found[1][0]


def test_enhancement_is_chosen_by_pesq(tmp_path):
    """By processes that measure, which are there again for the next look."""
    of = manifest(tmp_path, "se", [16000, 24000])
    one, examples = objective("se", of), of.splits["dev"]
    targets = opened_targets(one, examples)
    better, same = [perfect(waves) for waves in targets], [torch.ones_like(perfect(waves)) for waves in targets]
    looks = [one.predict(Masks(better, same), heard(targets), targets, best=False)]
    looks.append(one.predict(Masks(same), heard(targets), targets, best=False))
    expected = [
        [
            pesq.pesq(16000, waves.sources[0], separated(mask, mixture_of(waves), HOP)[0], "wb")
            for waves, mask in zip(targets, masks, strict=True)
        ]
        for masks in (better, same)
    ]
    assert looks == [expected, expected[1:]]
    assert one.figure(looks[0][0], examples, None, None) > one.figure(looks[0][1], examples, None, None) + 0.1


# ---- Rows


def test_each_source_is_compared_with_the_estimate_that_belongs_to_it(tmp_path, listeners):
    of = manifest(tmp_path, "ss")
    one, examples = objective("ss", of), of.splits["test"]
    targets = opened_targets(one, examples)
    masks = [perfect(waves, order) for waves, order in zip(targets, [(1, 0), (0, 1)] * 3, strict=False)]
    judgement = judged(one, examples, targets, masks)
    expected = [improvement(*each) for each in zip(targets, masks, strict=True)]
    assert [order for _, order in expected] == [(1, 0), (0, 1), (1, 0), (0, 1), (1, 0)]
    assert [line["si_sdri"] for line in judgement.lines] == pytest.approx([gain for gain, _ in expected], abs=1e-6)

    place_of, numbers = {example.id: place for place, example in enumerate(examples)}, defaultdict(list)
    for number, pair in enumerate(listeners.pairs):
        place = place_of[pair.name]
        source = len(numbers[place])
        numbers[place].append(number)
        estimates = separated(masks[place], mixture_of(targets[place]), HOP)
        assert np.array_equal(pair.reference, targets[place].sources[source])
        assert np.array_equal(pair.estimate, estimates[expected[place][1][source]])
    assert list(place_of.values()) != list(numbers)  # they did not come in order, and each has found its line
    for place, line in enumerate(judgement.lines):
        assert (line["id"], line["fold"]) == (examples[place].id, "all")
        assert line["stoi"] == line["pesq"] == np.mean(numbers[place])

    found = {score.metric: score for score in judgement.scores}
    assert list(found) == ["si_sdri", "stoi", "pesq"]
    assert found["si_sdri"].value == pytest.approx(np.mean([gain for gain, _ in expected]), abs=1e-6)
    assert found["pesq"].value == pytest.approx(np.mean(range(10)))
    assert {(score.n, score.direction, score.resampled) for score in found.values()} == {(5, "higher", "utterances")}
    assert [score.unit for score in judgement.scores] == ["dB", "", ""]
    undefined = {"si_sdri": 0, "stoi": 0, "pesq": 0}
    assert judgement.facts == {"undefined": undefined, "clipped": 0, "silent_estimates": 0}


def test_the_example_has_each_estimate_beside_its_source(tmp_path, listeners):
    of = manifest(tmp_path, "ss", [9600, 4000])
    one, examples = objective("ss", of), of.splits["test"]
    targets = opened_targets(one, examples)
    waves = judged(one, examples, targets, [perfect(own, (1, 0)) for own in targets]).waves
    assert list(waves) == ["mixture", "estimate 1", "source 1", "estimate 2", "source 2"]
    assert np.array_equal(waves["mixture"], targets[0].mixture)
    estimates = separated(perfect(targets[0]), mixture_of(targets[0]), HOP)
    for number, (source, estimate) in enumerate(zip(targets[0].sources, estimates, strict=True), start=1):
        assert np.array_equal(waves[f"source {number}"], source)
        assert np.array_equal(waves[f"estimate {number}"], estimate)


def test_of_enhancement_there_is_one_estimate(tmp_path, listeners):
    of = manifest(tmp_path, "se", [9600, 4000])
    one, examples = objective("se", of), of.splits["test"]
    targets = opened_targets(one, examples)
    judgement = judged(one, examples, targets, [perfect(own) for own in targets])
    assert list(judgement.waves) == ["mixture", "estimate", "source"]
    assert sorted(pair.name for pair in listeners.pairs) == ["u0", "u1"]
    assert judgement.scores[0].value == pytest.approx(
        np.mean([improvement(w, perfect(w))[0] for w in targets]), abs=1e-6
    )


def test_what_is_too_loud_silent_or_undefined_is_counted(tmp_path, listeners):
    of = manifest(tmp_path, "ss", [4000, 6700, 8000, 9600], silent=(3,))
    one, examples, said = objective("ss", of), of.splits["test"], []
    targets = opened_targets(one, examples)
    masks = [perfect(waves) for waves in targets]
    masks[0] = 100 * masks[0]  # both estimates, of one utterance
    masks[1] = masks[1] * torch.tensor([0.0, 1.0])[:, None]
    judgement = judged(one, examples, targets, masks, said.append)
    assert said == ["left out of 4 utterances, as a source is silent or too short: si_sdri of 1, stoi of 1, pesq of 1"]
    undefined = {"si_sdri": 1, "stoi": 1, "pesq": 1}
    assert judgement.facts == {"undefined": undefined, "clipped": 1, "silent_estimates": 1}
    assert [(line["si_sdri"], line["pesq"]) == (None, None) for line in judgement.lines] == [False, False, False, True]
    assert {score.n for score in judgement.scores} == {3}
    assert judgement.lines[1]["si_sdri"] < -30  # silence is no way to be left out


def test_a_measure_whose_library_is_missing_is_told_and_left_out(tmp_path, monkeypatch, listeners):
    of = manifest(tmp_path, "ss", [4000, 6700])
    one, examples, said = objective("ss", of), of.splits["test"], []
    targets = opened_targets(one, examples)
    monkeypatch.setattr(quality, "available", lambda: {"stoi": "no pystoi", "pesq": "no pesq"})
    judgement = judged(one, examples, targets, [perfect(waves) for waves in targets], said.append)
    assert [score.metric for score in judgement.scores] == ["si_sdri"]
    assert list(judgement.lines[0]) == ["id", "fold", "si_sdri"]
    assert judgement.facts["not_measured"] == {"stoi": "no pystoi", "pesq": "no pesq"}
    assert said == ["not measured: no pystoi; no pesq"]
    assert listeners.pairs == []


def test_the_digest_tells_separation_from_enhancement(tmp_path):
    of = manifest(tmp_path, "ss", [4000])
    assert objective("ss", of).digest() == objective("ss", of).digest() != objective("se", of).digest()
