"""Error rates: how many words, phones or characters have to be changed to make the reference of the hypothesis.

Corpus level, as SUPERB counts: all errors over all reference lengths, not the mean of the utterances' rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from downstream.metrics.bootstrap import percentage
from upstream.errors import DataError

Counts = tuple[np.ndarray, np.ndarray]  # above and below the line of a ratio, one entry an utterance


@dataclass(frozen=True)
class Edits:
    """Of every utterance the errors (substitutions, deletions and insertions) and the length of its reference."""

    errors: np.ndarray
    lengths: np.ndarray

    @property
    def counts(self) -> Counts:
        """What is above and below the line of an error rate."""
        return self.errors, self.lengths

    @property
    def rate(self) -> float:
        """In percent; above 100 where insertions abound."""
        return percentage(self.errors, self.lengths)


def single_space_words(hyps: Sequence[str], refs: Sequence[str]) -> Edits:
    """PER, and the WER of OOD-ASR and of SF's tagged text: what stands between single spaces counts.

    So an empty text is one empty word, and two spaces in a row hold one between them, in references too.
    """
    if not any(refs):
        raise DataError(
            f"nothing to score: the references of all {len(refs)} utterances are empty. "
            "Look at the transcripts of the split that is scored."
        )
    return compare([hyp.split(" ") for hyp in hyps], [ref.split(" ") for ref in refs])


def words(hyps: Sequence[str], refs: Sequence[str]) -> Edits:
    """The WER of ASR: words are what white space separates, and an empty text has none."""
    return compare([hyp.split() for hyp in hyps], [ref.split() for ref in refs])


def units(hyps: Sequence[str], refs: Sequence[str]) -> Edits:
    """The UER of ASR, of texts whose units (letters and |) are separated by spaces."""
    return words(hyps, refs)


def characters(hyps: Sequence[str], refs: Sequence[str]) -> Edits:
    """CER: every code point counts, spaces too."""
    return compare(hyps, refs)


def compare(hyps: Sequence[Sequence[str]], refs: Sequence[Sequence[str]]) -> Edits:
    """Edits between sequences of any tokens, one pair an utterance."""
    errors = [Levenshtein.distance(hyp, ref) for hyp, ref in zip(hyps, refs, strict=True)]
    return Edits(np.array(errors, dtype=np.int64), np.array([len(ref) for ref in refs], dtype=np.int64))
