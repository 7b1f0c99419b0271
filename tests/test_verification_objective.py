"""What ASV learns and how it is scored: whole steps against s3prl's training, figures against its EER."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles import import_s3prl
from s3prl_training import LayerSum, assert_learned_alike, make_batch, make_draw, now, parts, trained, upstream
from test_verification import naive_cost
from test_xvector import Theirs, their_names
from torch.nn.functional import cosine_similarity
from torch.nn.utils.rnn import pad_sequence

from downstream import protocols, tasks
from downstream.objectives import Answers
from downstream.types import Example, Manifest
from upstream.errors import DataError, UsageError

DIM, PROJECTOR, HOP = 6, 16, 320
RATES = (1e-4, 1e-3)
HELD = 3
CLIP = 10.0  # which every gradient here is longer than
PROTOCOL = replace(
    protocols.load("superb").task("asv"), projector=PROJECTOR, dev_speakers=HELD, dev_trials=24, rates=RATES, clip=CLIP
)
LIST = "voxceleb1_test_v2.txt"


def utterances(part, first, speakers):
    """Of each speaker two videos with three utterances."""
    return [
        Example(f"{name}-{video}-{number}", f"{part}/wav/{name}/{video}/{number}.wav", (name,), name)
        for name in (f"id{first + speaker}" for speaker in range(speakers))
        for video in ("Aa", "b-_")
        for number in ("00001", "00002", "00003")
    ]


def listed(example):
    return example.audio.partition("/wav/")[2]


def put_list(root, pairs):
    lines = [f"{int(a.group == b.group)} {listed(a)} {listed(b)}\n" for a, b in pairs]
    (root / LIST).write_text("".join(lines))


@pytest.fixture
def manifest(tmp_path):
    """Eight speakers of training and three of the test, of whom a list has many pairs, some of them both ways round."""
    test, random = utterances("test", 10270, 3), np.random.default_rng(0)
    pairs = [(a, b) for number, a in enumerate(test) for b in test[:number] if random.random() < 0.7]
    put_list(tmp_path, pairs + [(b, a) for a, b in pairs[::5]])
    return Manifest("voxceleb1_verification", tmp_path, {"train": utterances("dev", 10001, 8), "test": test}, {})


def objective(manifest, **changes):
    return tasks.get("asv").objective(manifest, replace(PROTOCOL, **changes))


def folds(manifest, one):
    return tasks.get("asv").folds(manifest, PROTOCOL, one)


def learners(one, examples):
    return one.learners(upstream(DIM, HOP), PROTOCOL, 3, examples)


def vectors_of(examples, seed=0):
    """Embeddings that say something of who speaks, by the names of the utterances."""
    random, made = np.random.default_rng(seed), {}
    speakers = {name: random.normal(size=8) for name in sorted({example.group for example in examples})}
    for example in examples:
        vector = speakers[example.group] + random.normal(size=8)
        made[example.id] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return made


def cosine(vectors, a, b):
    return float(cosine_similarity(torch.from_numpy(vectors[a]), torch.from_numpy(vectors[b]), dim=0))


def trials_of(manifest, vectors):
    """Read from the list, those whose utterances there are: what it says of each, and the names of the two."""
    ids = {listed(example): example.id for example in manifest.splits["test"]}
    rows = [line.split() for line in (manifest.root / LIST).read_text().splitlines()]
    return [(label == "1", ids[a], ids[b]) for label, a, b in rows if {ids[a], ids[b]} <= vectors.keys()]


def drawn(trials):
    pairs = zip(trials.first, trials.second, trials.same, strict=True)
    return [(bool(same), trials.examples[a].id, trials.examples[b].id) for a, b, same in pairs]


def superb_eer(trials, scores):
    same = np.array([same for same, *_ in trials])
    return 100 * import_s3prl("s3prl.downstream.sv_voxceleb1.utils").EER(same, np.array(scores))[0]


def answers(manifest, fold, vectors, said_of_train):
    """What a head is supposed to say of a fold. Of whole splits it speaks in an order of its own."""

    def outputs(examples):
        for place in np.random.default_rng(0).permutation(len(examples)):
            yield int(place), torch.from_numpy(said_of_train[examples[place].id]), None

    examples = fold.test.examples
    predicted = [vectors[example.id] for example in examples]
    return Answers(fold.name, examples, predicted, outputs, fold.dev.examples, fold.train.examples, HOP)


# ---- What is learned


@pytest.mark.parametrize("held", [False, True])
def test_every_step_is_that_of_s3prl(held, manifest):
    """For utterances of one length: of the shorter ones of a batch s3prl pools a frame too many (see test_xvector)."""
    one = objective(manifest)
    examples = folds(manifest, one)[held].train.examples
    grid, sizes, random = learners(one, examples), (3, 2), np.random.default_rng(0)
    start, targets = now(grid, 0), one.encode(examples, "train")
    steps = []
    for number, frames in enumerate((20, 29, 31, 24, 40)):
        chosen = random.permutation(len(examples))[: sum(sizes)]
        batch = make_batch([frames] * sum(sizes), [frames * HOP] * sum(sizes), DIM, number)
        steps.append((batch, targets[chosen], make_draw(number, sizes)))
    losses = torch.stack([one.step(grid, *step) for step in steps])

    def loss_of(layers, theirs, batch, targets):
        numbers = torch.tensor([target.number for target in targets])
        frames = pad_sequence(layers(batch), batch_first=True)
        return theirs.objective(theirs.vectors(frames, batch.lengths), numbers)

    for point, rate in enumerate(RATES):
        layers, theirs = LayerSum(), Theirs(learners(one, examples).head(0).head)
        micro = [
            [lambda part=part: loss_of(layers, theirs, *part) for part in parts(batch, own, sizes)]  # noqa: B023
            for batch, own, _ in steps
        ]
        their_losses = trained("asv", rate, CLIP, [layers, theirs], micro)
        assert losses[:, point].tolist() == pytest.approx(their_losses, rel=1e-4)
        learned = dict(theirs.named_parameters())
        renamed = {ours: learned[f"model.{name}"] for name, ours in their_names({name: name for name in start}).items()}
        renamed |= {name: learned[name] for name in ("connector.weight", "connector.bias")}
        renamed |= {"speakers": learned["objective.W"], "weights": layers.weights}
        assert_learned_alike(now(grid, point), renamed, start)


def test_those_who_are_held_out_are_numbered_last_and_have_no_output(manifest):
    one = objective(manifest)
    everybody, honest = folds(manifest, one)
    assert (everybody.suffix, everybody.selected_on, honest.suffix, honest.selected_on) == ("", "test", "_dev", "dev")
    held = {example.group for example in honest.dev.examples}
    assert held == set(list(one.numbers)[-HELD:])
    assert held.isdisjoint(example.group for example in honest.train.examples)
    for fold, speakers in ((everybody, 8), (honest, 5)):
        numbers = {target.number for target in one.encode(fold.train.examples, "train")}
        assert numbers == set(range(speakers))
        assert learners(one, fold.train.examples).head(0).head.speakers.shape == (PROJECTOR, speakers)
    assert {target.number for target in one.encode(everybody.test.examples, "test")} == {-1}
    assert one.encode(honest.train.examples, "train")[0].audio == manifest.root / honest.train.examples[0].audio


def test_of_a_part_of_the_utterances_every_speaker_has_an_output(manifest):
    """The numbers are those of all speakers, also where --limit leaves out some of them."""
    one, sizes = objective(manifest), (2,)
    few = manifest.splits["train"][-1:] + manifest.splits["train"][:1]
    batch = make_batch([20, 20], [20 * HOP] * 2, DIM, 0)
    assert one.step(learners(one, few), batch, one.encode(few, "train"), make_draw(0, sizes)).isfinite().all()


def test_without_held_out_speakers_there_is_one_fold(manifest):
    one = objective(manifest, dev_speakers=None)
    [fold] = folds(manifest, one)
    assert one.dev is None
    assert list(one.numbers) == sorted(one.numbers)
    assert fold.train.examples == manifest.splits["train"]
    assert fold.dev.examples == fold.test.examples


def test_an_utterance_that_the_head_swallows_whole_is_refused_with_its_file(manifest):
    one = objective(manifest)
    examples = manifest.splits["train"][:2]
    grid, targets = learners(one, examples), one.encode(examples, "train")
    batch = make_batch([20, 14], [20 * HOP, 14 * HOP], DIM, 0)
    with pytest.raises(DataError, match=r"Aa/00002\.wav: 14 frames once silence is taken out.*needs 15"):
        one.step(grid, batch, targets, make_draw(0, (2,)))
    with pytest.raises(DataError, match=r"Aa/00002\.wav: 14 frames"):
        one.predict(grid, batch, targets, best=False)
    short = make_batch([15], [15 * HOP], DIM, 0)
    [[vector], [other]] = one.predict(grid, short, targets[:1], best=True)
    assert vector.shape == (PROJECTOR,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(vector, other)  # neither has learned


# ---- How it is scored


def test_the_figure_is_s3prls_eer_of_the_trials_whose_utterances_there_are(manifest):
    one, test = objective(manifest), manifest.splits["test"]
    for examples in (test, test[::-1], test[::2], test[3:]):
        vectors = vectors_of(examples)
        trials = trials_of(manifest, vectors)
        expected = superb_eer(trials, [cosine(vectors, a, b) for _, a, b in trials])
        found = one.figure([vectors[example.id] for example in examples], examples, None, None)
        assert found == pytest.approx(expected, abs=1e-6)
        assert 2 < found < 50
    one_speaker = test[:6]
    with pytest.raises(DataError, match="trials are of the same speaker"):
        one.figure(list(vectors_of(one_speaker).values()), one_speaker, None, None)


def test_a_learning_rate_that_diverged_is_the_worst(manifest):
    one = objective(manifest)
    test = folds(manifest, one)[0].test.examples
    lost = [np.full(8, np.nan, dtype=np.float32) for _ in test]
    assert one.figure(lost, test, None, None) == 100.0


def test_speakers_who_are_held_out_are_judged_by_their_own_trials(manifest):
    one = objective(manifest)
    examples = folds(manifest, one)[1].dev.examples[::-1]
    vectors, trials = vectors_of(examples, seed=2), drawn(one.dev)
    assert len(trials) == PROTOCOL.dev_trials
    assert all(same == (a.partition("-")[0] == b.partition("-")[0]) for same, a, b in trials)
    expected = superb_eer(trials, [cosine(vectors, a, b) for _, a, b in trials])
    assert one.figure([vectors[e.id] for e in examples], examples, None, None) == pytest.approx(expected, abs=1e-6)


def test_a_row_has_the_figures_of_the_list_and_a_line_for_each_of_its_trials(manifest):
    one = objective(manifest)
    fold = folds(manifest, one)[1]
    vectors = vectors_of(fold.test.examples)
    judgement = one.judge([answers(manifest, fold, vectors, {})], 0, pytest.fail)
    trials = trials_of(manifest, vectors)
    scores = [cosine(vectors, a, b) for _, a, b in trials]
    found = {score.metric: score for score in judgement.scores}
    assert list(found) == ["eer", "min_dcf"]
    assert found["eer"].value == pytest.approx(superb_eer(trials, scores), abs=1e-6)
    assert found["min_dcf"].value == pytest.approx(
        naive_cost(np.array([same for same, *_ in trials]), np.array(scores))
    )
    for score in found.values():
        assert (score.n, score.resampled, score.direction) == (len(trials), "speakers", "lower")
        assert score.ci95[0] < score.value < score.ci95[1]
    assert [line["id"] for line in judgement.lines] == [f"{a}_{b}" for _, a, b in trials]
    assert [line["target"] for line in judgement.lines] == [int(same) for same, *_ in trials]
    assert [line["predicted"] for line in judgement.lines] == pytest.approx(scores, abs=1e-6)
    assert {line["fold"] for line in judgement.lines} == {"held-out"}
    assert judgement.facts["trials"] == {"list": LIST, "scored": len(trials), "listed": len(one.test.same)}
    assert "held out" in judgement.facts["selection"]


def test_without_held_out_speakers_nothing_is_said_of_them(manifest):
    one = objective(manifest, dev_speakers=None)
    [fold] = folds(manifest, one)
    judgement = one.judge([answers(manifest, fold, vectors_of(fold.test.examples), {})], 0, pytest.fail)
    assert "lowest on the test trials" in judgement.facts["selection"]
    assert "eer_dev" not in judgement.facts["selection"]


def plain_snorm(trials, vectors, cohort, top):
    def normed(score, name):
        nearest = np.sort(cohort @ vectors[name].astype(float))[-top:]
        return (score - nearest.mean()) / nearest.std()

    scores = [(cosine(vectors, a, b), a, b) for _, a, b in trials]
    return [(normed(score, a) + normed(score, b)) / 2 for score, a, b in scores]


@pytest.mark.parametrize(("cohort", "top"), [(4, 4), (300, 8)])
def test_snorm_is_by_the_training_speakers_each_the_mean_of_five_utterances(cohort, top, manifest):
    one = objective(manifest, cohort=cohort)
    fold = folds(manifest, one)[0]
    vectors, of_train = vectors_of(fold.test.examples), vectors_of(fold.train.examples, seed=7)
    for number, example in enumerate(fold.train.examples[5::6]):  # the sixth of each speaker, which has no say
        of_train[example.id] = 100 * vectors[fold.test.examples[number].id]
    judgement = one.judge([answers(manifest, fold, vectors, of_train)], 0, pytest.fail)
    means = []
    for speaker in sorted({example.group for example in fold.train.examples}):
        own = [of_train[e.id].astype(float) for e in fold.train.examples if e.group == speaker]
        assert len(own) == 6
        mean = np.mean(own[:5], axis=0)
        means.append(mean / np.linalg.norm(mean))
    trials = trials_of(manifest, vectors)
    expected = superb_eer(trials, plain_snorm(trials, vectors, np.stack(means), top))
    found = {score.metric: score.value for score in judgement.scores}
    assert list(found) == ["eer", "min_dcf", "eer_snorm"]
    assert found["eer_snorm"] == pytest.approx(expected, abs=1e-6)
    assert found["eer_snorm"] != found["eer"]
    assert judgement.facts["cohort"].startswith(f"the {top} nearest of 8 training speakers")


def test_a_cohort_of_one_is_refused_before_the_training(manifest):
    with pytest.raises(UsageError, match=r"cohort is 1.*2"):
        objective(manifest, cohort=1)


# ---- The digest


def test_the_digest_changes_with_all_that_is_learned_or_scored(manifest):
    def digest(**changes):
        return objective(manifest, **changes).digest()

    whole = digest()
    assert digest() == whole == digest(cohort=4)  # which the protocol says
    others = {digest(dev_speakers=2), digest(dev_speakers=None), digest(dev_trials=20)}
    path = manifest.root / LIST
    lines = path.read_text().splitlines(keepends=True)
    label, first, second = lines[0].split()
    for changed in (lines[1:], lines[1:] + lines[:1], [f"{label} {second} {first}\n", *lines[1:]]):
        path.write_text("".join(changed))
        others.add(digest())
    assert len(others - {whole}) == 6
