"""Phoneme recognition on LibriSpeech: 69 phones with their stress, from a fixed lexicon's first pronunciations."""

from collections.abc import Sequence

from downstream.corpora import lexicon
from downstream.metrics import edits
from downstream.objectives.transcription import Figure, Tokens, Transcription, counted, spelled
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold, TrainedTask
from downstream.tasks.windows import windowed
from downstream.types import Example, Manifest

END = "<eos>"
TOKENS = ("<pad>", END, "<unk>", *lexicon.PHONES)


def _objective(manifest: Manifest, _: TaskProtocol) -> Transcription:
    words = lexicon.read(lexicon.find(manifest.root))

    def phones(example: Example) -> Tokens:
        return [*lexicon.pronounce(example.target[0], words, str(manifest.path(example))).split(), END]

    return Transcription(
        tokens=TOKENS,
        end=END,
        targets=spelled(manifest, phones, TOKENS),
        text=" ".join,
        figures=(Figure("per", counted(_phone_edits)),),
        recurrent=False,
        frame_samples=None,
    )


def _phone_edits(hyps: Sequence[Tokens], refs: Sequence[Tokens]) -> edits.Edits:
    return edits.single_space_words([" ".join(hyp) for hyp in hyps], [" ".join(ref) for ref in refs])


def _folds(manifest: Manifest, protocol: TaskProtocol, objective: Transcription) -> list[Fold]:
    return windowed(manifest, protocol, lambda example: len(objective.targets[example.id]))


TASK = TrainedTask(
    name="pr",
    corpus="librispeech",
    metric="per",
    objective=_objective,
    folds=_folds,
)
