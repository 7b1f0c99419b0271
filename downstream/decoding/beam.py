"""The words of an utterance, by a beam search that weighs sound and language."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from downstream.decoding.language_model import LanguageModel, read_spellings
from upstream.errors import DataError, MissingError

UNKNOWN = "<unk>"


@dataclass(frozen=True, slots=True)
class BeamSettings:
    """How wide to search and how to weigh; as in SUPERB, unless changed.

    A hypothesis scores the sum of its frames, `lm_weight` times the language model's logarithms of base 10, and
    `word_score` for each word.
    """

    beam: int = 5
    threshold: float = 25.0
    lm_weight: float = 2.0
    word_score: float = -1.0


def require_flashlight() -> None:
    """Say what to install where the library that searches is not there."""
    try:
        import flashlight.lib.text.decoder.kenlm  # noqa: F401
    except ImportError as error:
        raise MissingError(
            f"decoding with a language model needs flashlight-text ({error}). Install it: pip install 'sslbench[lm]'"
        ) from error


class Decoder:
    """Flashlight's search over the words of a lexicon, with KenLM. Paths that meet keep the better score."""

    def __init__(
        self,
        tokens: Sequence[str],
        blank: int,
        silence: str,
        language_model: LanguageModel,
        settings: BeamSettings,
    ) -> None:
        require_flashlight()
        from flashlight.lib.text import decoder as flashlight
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import create_word_dict

        spellings = read_spellings(language_model.lexicon, tokens, blank, silence)
        self._words = create_word_dict({word: [] for word in (UNKNOWN, *spellings)})
        self._size = len(tokens)
        try:
            ngrams = KenLM(str(language_model.arpa), self._words)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise DataError(
                f"KenLM cannot read {language_model.arpa}: {error}. Copy, download or make the file again."
            ) from error
        start = ngrams.start(False)
        unknown = self._words.get_index(UNKNOWN)
        _, unknown_score = ngrams.score(start, unknown)
        trie = flashlight.Trie(self._size, tokens.index(silence))
        known = 0
        for word, ways in spellings.items():
            index = self._words.get_index(word)
            _, score = ngrams.score(start, index)
            known += score != unknown_score
            for way in ways:
                trie.insert(way, index, score)
        if not known:
            raise DataError(
                f"{language_model.arpa} has not one of the words of {language_model.lexicon}. "
                "Do they differ in language, or in upper and lower case?"
            )
        trie.smear(flashlight.SmearingMode.MAX)
        options = flashlight.LexiconDecoderOptions(
            beam_size=settings.beam,
            beam_size_token=self._size,
            beam_threshold=settings.threshold,
            lm_weight=settings.lm_weight,
            word_score=settings.word_score,
            unk_score=float("-inf"),
            sil_score=0.0,
            log_add=False,
            criterion_type=flashlight.CriterionType.CTC,
        )
        self._search = flashlight.LexiconDecoder(
            options, trie, ngrams, tokens.index(silence), blank, unknown, [], False
        )

    def decode(self, log_probs: np.ndarray) -> list[str] | None:
        """The words of one utterance from its (frames, tokens) log-probabilities; None when nothing was found."""
        frames = np.ascontiguousarray(log_probs, dtype=np.float32)
        if frames.ndim != 2 or frames.shape[1] != self._size:
            raise ValueError(f"expected (frames, {self._size}) log-probabilities, got the shape {log_probs.shape}")
        if not np.isfinite(frames).all():  # no softmax of finite numbers gives them, and the search would go astray
            raise DataError(
                "the log-probabilities of an utterance have a NaN or an infinity. Has training diverged? Lower --lr."
            )
        if not len(frames):
            return None
        found = self._search.decode(frames.ctypes.data, len(frames), self._size)
        return [self._words.get_entry(word) for word in found[0].words if word >= 0] if found else None
