"""Speech recognition out of domain: what volunteers read aloud for Common Voice, character by character."""

from collections.abc import Callable, Sequence
from functools import partial

from downstream.corpora import common_voice
from downstream.metrics.edits import Edits, characters, single_space_words
from downstream.objectives import Objective
from downstream.objectives.transcription import Figure, Tokens, Transcription, counted, spelled
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold, TrainedTask
from downstream.tasks.windows import windowed
from downstream.types import Example, Manifest

END, UNKNOWN = "<eos>", "<unk>"


def task(variant: str) -> TrainedTask:
    """The task of a language: Mandarin is scored by characters, the others by words."""
    short = variant[:2]
    metric = "cer" if short == "zh" else "wer"
    return TrainedTask(
        name=f"ood-asr-{short}",
        corpus=f"common_voice_{short}",
        metric=metric,
        objective=partial(_objective, variant, metric),
        folds=_folds,
    )


def _objective(variant: str, metric: str, manifest: Manifest, protocol: TaskProtocol) -> Transcription:
    vocabulary = common_voice.vocabulary(manifest, variant)
    tokens, known = ("<pad>", END, UNKNOWN, *vocabulary), set(vocabulary)
    strange = sum(not known.issuperset(example.target[0]) for example in manifest.examples())
    note = None if manifest.mini else common_voice.vocabulary_note(vocabulary, variant)
    manifest.notes += [note] if note else []
    if strange:
        manifest.notes.append(f"{strange} transcripts have characters outside of the vocabulary, scored as {UNKNOWN}")

    def spell(example: Example) -> Tokens:
        return [*(character if character in known else UNKNOWN for character in example.target[0]), END]

    count = characters if metric == "cer" else single_space_words
    return Transcription(
        tokens=tokens,
        end=END,
        targets=spelled(manifest, spell, tokens),
        text="".join,
        figures=(Figure(metric, counted(partial(_edits, count))),),
        recurrent=True,
        frame_samples=protocol.frame_samples,
    )


def _edits(
    count: Callable[[Sequence[str], Sequence[str]], Edits], hyps: Sequence[Tokens], refs: Sequence[Tokens]
) -> Edits:
    return count(["".join(hyp) for hyp in hyps], ["".join(ref) for ref in refs])


def _folds(manifest: Manifest, protocol: TaskProtocol, _: Objective) -> list[Fold]:
    return windowed(manifest, protocol)
