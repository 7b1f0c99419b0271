"""Speaker verification on VoxCeleb1: are two utterances of one speaker, neither of whom was met in training."""

from downstream.corpora import voxceleb1_verification as voxceleb1
from downstream.corpora.trials import LISTS, drawn_trials, held_out, trials
from downstream.fit import named_heads
from downstream.fit.sampling import Pool
from downstream.objectives.verification import Verification
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold, TrainedTask
from downstream.types import Manifest
from upstream.errors import UsageError


def _objective(manifest: Manifest, protocol: TaskProtocol) -> Verification:
    protocol.need("trials")
    if protocol.cohort == 1:
        raise UsageError("cohort is 1; s-norm compares with 2 speakers or more. --set asv.cohort=null is for none.")
    named_heads.check("asv", protocol)
    train = manifest.splits["train"]
    test = trials(manifest, protocol.trials)
    speakers = sorted({example.group for example in train})
    listed = LISTS[protocol.trials].trials
    if manifest.mini is None and len(test.same) != listed:
        manifest.notes.append(f"{test.source} has {len(test.same)} trials, and the list '{protocol.trials}' {listed}")
    known = sorted(set(test.speakers) & set(speakers))
    if known:
        manifest.notes.append(
            f"{len(known)} of {len(test.speakers)} speakers of the trials in {test.source} are learned from: their "
            "figures are not those of unknown speakers"
        )
    held, dev = (), None
    if protocol.dev_speakers is not None:
        protocol.need("dev_trials")
        if protocol.dev_speakers > len(speakers) - 2:
            raise UsageError(
                f"dev_speakers is {protocol.dev_speakers}, of {len(speakers)} training speakers in {manifest.root}. "
                "Hold out fewer, or none with --set asv.dev_speakers=null."
            )
        held = held_out(train, protocol.dev_speakers)
        dev = drawn_trials([example for example in train if example.group in held], protocol.dev_trials)
    ordered = [*(name for name in speakers if name not in held), *held]
    numbers = {name: number for number, name in enumerate(ordered)}
    return Verification(manifest.root, numbers, test, dev, protocol.cohort)


def _folds(manifest: Manifest, _: TaskProtocol, objective: Verification) -> list[Fold]:
    """SUPERB's training on every speaker, which the test trials choose a step of; and an honest one."""
    there = {example.id for examples in manifest.splits.values() for example in examples}
    train = manifest.splits["train"]
    test = Pool([example for example in objective.test.examples if example.id in there])
    folds = [Fold("superb", Pool(train), test, test, selected_on="test")]
    if objective.dev is not None:
        dev = [example for example in objective.dev.examples if example.id in there]
        held = {example.group for example in objective.dev.examples}
        rest = Pool([example for example in train if example.group not in held])
        folds.append(Fold("held-out", rest, Pool(dev), test, suffix="_dev"))
    return folds


TASK = TrainedTask(
    name="asv",
    corpus=voxceleb1.CORPUS,
    metric="eer",
    objective=_objective,
    folds=_folds,
)
