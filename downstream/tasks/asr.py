"""Speech recognition on LibriSpeech: letters, words between bars; greedily, and with a word language model."""

from collections.abc import Sequence

from downstream.decoding import language_model
from downstream.decoding.beam import BeamSettings, require_flashlight
from downstream.fit.ctc import BLANK
from downstream.fit.sampling import Groups, Pool
from downstream.metrics import edits
from downstream.objectives import Objective
from downstream.objectives.transcription import Figure, Search, Tokens, Transcription, counted, spelled
from downstream.protocols import TaskProtocol
from downstream.tasks import Fold, TrainedTask
from downstream.types import Example, Manifest

BAR, END = "|", "</s>"
TOKENS = ("<s>", "<pad>", END, "<unk>", BAR, *"ETAONIHSRDLUMCWFGYPBVK'XJQZ")  # letters by how often they occur


def words(tokens: Tokens) -> list[str]:
    return "".join(tokens).replace(BAR, " ").split()


def _text(tokens: Tokens) -> str:
    return " ".join(words(tokens))


def _word_edits(hyps: Sequence[Tokens], refs: Sequence[Tokens]) -> edits.Edits:
    return edits.words([_text(hyp) for hyp in hyps], [_text(ref) for ref in refs])


def _unit_edits(hyps: Sequence[Tokens], refs: Sequence[Tokens]) -> edits.Edits:
    return edits.units([" ".join(hyp) for hyp in hyps], [" ".join(ref) for ref in refs])


def _objective(manifest: Manifest, protocol: TaskProtocol) -> Transcription:
    return Transcription(
        tokens=TOKENS,
        end=END,
        targets=spelled(manifest, _letters, TOKENS),
        text=_text,
        figures=(
            Figure("wer", counted(_word_edits)),
            Figure("uer", counted(_unit_edits)),
        ),
        recurrent=True,
        frame_samples=protocol.frame_samples,
        search=_search(manifest, protocol),
        in_tokens=True,
    )


def _letters(example: Example) -> Tokens:
    return [*example.target[0].replace(" ", BAR), BAR, END]


def _search(manifest: Manifest, protocol: TaskProtocol) -> Search | None:
    """None where there is no language model; the corpus is told to say so."""
    found = language_model.find(manifest.root)
    if found is None:
        manifest.notes.append(f"no WER with a language model: {language_model.where_to_get()}")
        return None
    require_flashlight()
    found.check(TOKENS, BLANK, BAR)
    protocol.need("beam", "beam_threshold", "lm_weight", "word_score")
    settings = BeamSettings(protocol.beam, protocol.beam_threshold, protocol.lm_weight, protocol.word_score)
    return Search(found, settings, BAR, words)


def _folds(manifest: Manifest, _: TaskProtocol, __: Objective) -> list[Fold]:
    train, dev, test = (manifest.splits[split] for split in ("train", "dev", "test"))
    return [Fold("all", Pool(train, batches=Groups()), Pool(dev), Pool(test))]


TASK = TrainedTask(
    name="asr",
    corpus="librispeech",
    metric="wer",
    objective=_objective,
    folds=_folds,
)
