"""What SD learns and how it is scored: whole steps against s3prl's training, DER against pyannote's, and a baseline."""

import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from oracles import import_s3prl
from s3prl_training import LayerSum, assert_learned_alike, make_batch, make_draw, now, parts, trained, upstream
from safetensors import safe_open
from test_diarization_error import SETTINGS, pyannote
from test_diarization_head import CHUNK, DIM, HIDDEN, make_turns, their_batch, their_chunks, their_head, their_labels

from downstream import protocols, tasks
from downstream.fit.diarization_head import activity
from downstream.metrics.activity import turns
from downstream.metrics.diarization import der, error
from downstream.metrics.turns import Turn, read_rttm
from downstream.objectives import Answers
from downstream.objectives.diarization import Activity
from downstream.types import Example, Manifest

pytestmark = pytest.mark.filterwarnings("ignore:'uem' was approximated")

HOP, RATES, SECONDS = 320, (1e-3, 1e-2), 4.0
CLIP = 0.1  # which every gradient here is longer than
PROTOCOL = replace(protocols.load("superb").task("sd"), hidden=HIDDEN, chunk_frames=CHUNK, rates=RATES, clip=CLIP)
SPEAKERS = ("908", "1272")  # of whom the second comes first, as names do


def make_example(number):
    made = make_turns(np.random.default_rng(number), SECONDS)
    return Example(
        f"r{number}", f"r{number}.wav", tuple(f"{SPEAKERS[who]} {start} {stop}" for who, start, stop in made)
    )


@pytest.fixture
def manifest(tmp_path):
    """Without an rttm: what is learned is scored by as well."""
    first = {"train": 0, "dev": 5, "test": 9}
    splits = {split: [make_example(number) for number in range(at, at + 4)] for split, at in first.items()}
    return Manifest("libri2mix_diarization", tmp_path, splits, {})


@pytest.fixture
def match_length(monkeypatch):
    """s3prl's way to make frames fit labels. What it writes predictions with is not needed for that."""
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace())
    expert = import_s3prl("s3prl.downstream.diarization.expert").DownstreamExpert
    return lambda frames, labels: expert._match_length(None, frames[None], labels[None])[0][0]


def objective(manifest, **changes):
    return tasks.get("sd").objective(manifest, replace(PROTOCOL, **changes))


def learners(one):
    return one.learners(upstream(DIM, HOP), PROTOCOL, 3, [])


def make_step(one, examples, number, sizes, labels, more):
    """Recordings of so many frames of labels, and so many frames more than that (or fewer) from the upstream."""
    frames = [count + extra for count, extra in zip(labels, more, strict=True)]
    batch = make_batch(frames, [count * HOP + 17 * number for count in labels], DIM, number, loudness=4.0)
    return batch, one.encode(examples[: len(labels)], "train"), make_draw(number, sizes)


def blurred(reference, frames, random):
    """What somebody says who listens for speech around each frame, and calls either speaker the first."""
    labels = activity(reference, HOP, frames).numpy()[:, random.permutation(2)]
    smooth = np.stack([np.convolve(own, np.full(9, 1 / 9), mode="same") for own in labels.T], axis=1)
    sure = np.clip(smooth + 0.1 * random.normal(size=smooth.shape), 0.02, 0.98).astype(np.float32)
    return np.log(sure / (1 - sure))


def answers(manifest, said):
    """Logits that a head is supposed to have for each recording."""

    def outputs(examples):
        for place in reversed(range(len(examples))):
            yield place, torch.from_numpy(said[examples[place].id]), None

    test, dev = manifest.splits["test"], manifest.splits["dev"]
    predicted = [Activity(said[example.id], HOP) for example in test]
    return Answers("all", test, predicted, outputs, dev, manifest.splits["train"], HOP)


# ---- What is learned


def test_every_step_is_that_of_s3prl(manifest, match_length):
    """Where frames are missing s3prl repeats the last one in the longest recording of a batch, and so it is done here
    for each; its other recordings get zeros. So it is given one at a time, before they are cut into chunks."""
    one, examples = objective(manifest), manifest.splits["train"]
    steps = [
        make_step(one, examples, 0, (2, 2), [14, 14, 15, 12], [-1, -1, 2, 0]),
        make_step(one, examples, 1, (2, 1), [9, 13, 8], [0, 0, -2]),
        make_step(one, examples, 2, (2,), [46, 31], [-2, 1]),  # several chunks
        make_step(one, examples, 3, (1, 2), [15, 16, 30], [1, -1, 0]),
        make_step(one, examples, 4, (3, 1), [10, 12, 11, 45], [0, 0, 0, -5]),
    ]
    grid = learners(one)
    start = now(grid, 0)
    losses = torch.stack([one.step(grid, *step) for step in steps])
    pit_loss = import_s3prl("s3prl.downstream.diarization.utils").pit_loss

    def loss_of(layers, head, batch, targets):
        counts = batch.samples // HOP
        labels = [their_labels(own, HOP, 0, count) for own, count in zip(targets, counts.tolist(), strict=True)]
        frames = [match_length(own, wanted) for own, wanted in zip(layers(batch), labels, strict=True)]
        return pit_loss(*their_batch(head, frames, counts, labels))[0]

    for point, rate in enumerate(RATES):
        layers, head = LayerSum(), their_head(learners(one).head(0).head)
        micro = [
            [lambda part=part: loss_of(layers, head, *part) for part in parts(batch, own, draw.sizes)]  # noqa: B023
            for batch, own, draw in steps
        ]
        their_losses = trained("sd", rate, CLIP, [layers, head], micro)
        assert losses[:, point].tolist() == pytest.approx(their_losses, rel=1e-5)
        renamed = {f"recurrent.{name}": own for name, own in head.rnn.named_parameters()}
        renamed |= {f"classifier.{name}": own for name, own in head.linear.named_parameters()}
        assert_learned_alike(now(grid, point), renamed | {"weights": layers.weights}, start)


@pytest.mark.parametrize("more", [-3, 0, 2])
def test_there_are_as_many_logits_as_labels(more, manifest, match_length):
    one = objective(manifest)
    grid, examples = learners(one), manifest.splits["train"]
    batch, targets, _ = make_step(one, examples, 3, (2,), [14, 12], [more, more])
    head = their_head(grid.head(0).head)
    [found, _] = one.predict(grid, batch, targets, best=True)
    for own, frames, count in zip(found, LayerSum()(batch), (14, 12), strict=True):
        expected = head(match_length(frames, torch.zeros(count, 2))[None])[0]
        assert own.hop == HOP
        torch.testing.assert_close(torch.from_numpy(own.logits), expected.detach())


def test_speakers_are_numbered_in_the_order_of_their_names(manifest):
    examples = manifest.splits["train"]
    for example, found in zip(examples, objective(manifest).encode(examples, "train"), strict=True):
        expected = [(sorted(SPEAKERS).index(who), float(a), float(b)) for who, a, b in map(str.split, example.target)]
        assert found == expected
        assert {number for number, *_ in found} == {0, 1}


# ---- The figure that chooses


def test_the_figure_is_the_accuracy_that_chooses_in_s3prl(manifest):
    """Its mean over chunks. Of a chunk in which nobody speaks s3prl says 0, here it counts as any other."""
    utils, one = import_s3prl("s3prl.downstream.diarization.utils"), objective(manifest)
    examples, random = manifest.splits["dev"], np.random.default_rng(0)
    targets = one.encode(examples, "dev")
    said = [blurred(own, frames, random) for own, frames in zip(targets, (200, 199, 150, 1), strict=True)]
    said[0] = random.normal(size=said[0].shape).astype(np.float32)
    shares = []
    for logits, own in zip(said, targets, strict=True):
        labels = their_labels(own, HOP, 0, len(logits))
        for first, last in their_chunks(len(logits)):
            part = torch.from_numpy(logits[None, first:last]), labels[None, first:last], torch.tensor([last - first])
            _, chosen, orders = utils.pit_loss(*part)
            right, frames, *_ = utils.calc_diarization_error(
                part[0], utils.get_label_perm(part[1], chosen, orders), part[2]
            )
            shares.append(right / frames)
    found = one.figure([Activity(logits, HOP) for logits in said], examples, targets, np.ones(4))
    assert found == pytest.approx(100 * float(np.mean(shares)), rel=1e-6)
    assert 60 < found < 99


# ---- DER


@pytest.fixture
def said(manifest):
    """Logits of dev and test; in test there is more doubt, so that another threshold is best."""
    one, random, made = objective(manifest), np.random.default_rng(3), {}
    for split, doubt in (("dev", 1.5), ("test", -0.5)):
        for example in manifest.splits[split]:
            made[example.id] = blurred(one.encode([example], split)[0], 250, random) + np.float32(doubt)
    return made


def posteriors(manifest, said, split):
    return {example.id: 1 / (1 + np.exp(-said[example.id])) for example in manifest.splits[split]}


def pyannotes_der(reference, hypothesis):
    """Of all recordings together."""
    found = [pyannote(reference[name], turns) for name, turns in hypothesis.items()]
    wrong = sum(one[kind] for one in found for kind in ("missed detection", "false alarm", "confusion"))
    return 100 * wrong / sum(one["total"] for one in found)


def test_the_lowest_der_on_test_and_that_of_the_setting_that_is_best_on_dev(manifest, said):
    one = objective(manifest)
    judgement = one.judge([answers(manifest, said)], 0, pytest.fail)
    settings = judgement.facts["settings"]
    assert [(row["median"], row["threshold"]) for row in settings] == SETTINGS
    for row in settings:
        for split in ("dev", "test"):
            sure = posteriors(manifest, said, split)
            heard = {name: turns(own, row["threshold"], row["median"], HOP) for name, own in sure.items()}
            assert row[split] == pytest.approx(pyannotes_der(one.reference, heard), abs=1e-4)
    lowest, honest = min(settings, key=lambda row: row["test"]), min(settings, key=lambda row: row["dev"])
    assert lowest["test"] < honest["test"]
    found = {score.metric: score for score in judgement.scores}
    assert list(found) == ["der", "der_dev"]
    assert (found["der"].value, found["der_dev"].value) == (lowest["test"], honest["test"])
    for name, row in (("der", lowest), ("der_dev", honest)):
        assert (found[name].n, found[name].direction, found[name].resampled) == (4, "lower", "recordings")
        assert sum(judgement.facts["errors"][name].values()) == pytest.approx(row["test"])
        lines = [line[name] for line in judgement.lines]
        wrong = sum(line["miss"] + line["false_alarm"] + line["confusion"] for line in lines)
        assert 100 * wrong / sum(line["total"] for line in lines) == pytest.approx(row["test"])
    assert [line["id"] for line in judgement.lines] == [example.id for example in manifest.splits["test"]]


def test_what_lies_beside_the_row_scores_the_same_again(manifest, said, tmp_path):
    judgement = objective(manifest).judge([answers(manifest, said)], 0, pytest.fail)
    for name, content in judgement.files.items():
        (tmp_path / name).write_bytes(content)
    reference = read_rttm(tmp_path / "reference.rttm")
    assert list(reference) == [example.id for example in manifest.splits["test"]]
    for score, name in zip(judgement.scores, ("hypothesis.rttm", "hypothesis_dev.rttm"), strict=True):
        assert pyannotes_der(reference, read_rttm(tmp_path / name)) == pytest.approx(score.value, abs=1e-4)
    with safe_open(tmp_path / "posteriors.safetensors", "np") as file:
        assert file.metadata() == {"frame_shift": str(HOP)}
        for name, expected in posteriors(manifest, said, "test").items():
            np.testing.assert_allclose(file.get_tensor(name), expected, rtol=1e-6)


def test_a_head_that_is_very_sure_is_heard_without_a_warning():
    logits = np.array([[-1e4, -80.0], [0.0, 80.0], [1e4, -20.0]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Activity(logits, HOP).posteriors
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.from_numpy(logits).sigmoid(), rtol=1e-5)


# ---- What must be beaten


def all_speech_der(manifest, split):
    """What it costs to say that both speak all the time."""
    reference = tasks.get("sd").objective(manifest, PROTOCOL).reference
    found = []
    for example in manifest.splits[split]:
        seconds = round(soundfile.info(manifest.path(example)).duration, 2)
        found.append(error(reference[example.id], [Turn(name, 0.0, seconds) for name in ("a", "b")]))
    return der(found)


def test_who_listens_is_better_than_who_says_that_both_speak_all_the_time(mini_manifest):
    small, random = mini_manifest("libri2mix_diarization"), np.random.default_rng(0)
    one, heard, always = objective(small), {}, {}
    for example in small.splits["dev"] + small.splits["test"]:
        frames = soundfile.info(small.path(example)).frames // HOP
        heard[example.id] = blurred(one.encode([example], "")[0], frames, random)
        always[example.id] = np.full((frames, 2), 9, dtype=np.float32)
    listening, talking = (one.judge([answers(small, said)], 0, pytest.fail).scores[0].value for said in (heard, always))
    baseline = all_speech_der(small, "test")
    assert talking == pytest.approx(baseline, abs=1)  # which the end of the last frame makes
    assert 0 < listening < baseline / 2


# ---- The digest


def test_the_digest_changes_with_what_is_scored_by(manifest):
    """What is learned from is in the corpus' own digest, and the settings are in the protocol."""
    whole = objective(manifest).digest()
    assert objective(manifest, medians=(1,)).digest() == whole
    moved = manifest.splits["test"][0].target
    others = set()
    for target in (moved[1:], (moved[0].replace("908", "909").replace("1272", "1273"), *moved[1:])):
        changed = [replace(manifest.splits["test"][0], target=target), *manifest.splits["test"][1:]]
        others.add(objective(replace(manifest, splits=manifest.splits | {"test": changed})).digest())
    assert len(others - {whole}) == 2
