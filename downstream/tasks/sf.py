"""Slot filling on Audio SNIPS: what is said, letter by letter, with a tag before and after the value of each slot."""

from collections.abc import Callable, Sequence
from functools import partial

from downstream.corpora import audio_snips
from downstream.corpora.snips_text import END, outputs, slots, text_of_tokens, tokens_of_text
from downstream.metrics.edits import Counts
from downstream.metrics.slots import FIGURES
from downstream.objectives.transcription import Figure, Tokens, Transcription, spelled
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold, TrainedTask
from downstream.tasks.windows import windowed
from downstream.types import Example, Manifest


def _objective(manifest: Manifest, protocol: TaskProtocol) -> Transcription:
    tokens = outputs(slots(manifest.root / audio_snips.SLOTS))
    return Transcription(
        tokens=tokens,
        end=END,
        targets=spelled(manifest, _spell, tokens),
        text=text_of_tokens,
        figures=tuple(Figure(name, partial(_of_texts, count), better) for name, count, better in FIGURES),
        recurrent=True,
        frame_samples=protocol.frame_samples,
    )


def _spell(example: Example) -> Tokens:
    return tokens_of_text(example.target[0])


def _of_texts(count: Callable[..., Counts], hyps: Sequence[Tokens], refs: Sequence[Tokens]) -> Counts:
    return count([text_of_tokens(hyp) for hyp in hyps], [text_of_tokens(ref) for ref in refs])


def _folds(manifest: Manifest, protocol: TaskProtocol, objective: Transcription) -> list[Fold]:
    return windowed(manifest, protocol, lambda example: len(objective.targets[example.id]))


TASK = TrainedTask(
    name="sf",
    corpus="audio_snips",
    metric="slot_f1",
    objective=_objective,
    folds=_folds,
)
