"""What is said in the small QUESST 2014: phrases alone, and sentences as long as its lists say."""

from dataclasses import dataclass

import numpy as np

from downstream.corpora.mini.channel import Channel
from downstream.corpora.mini.voices import Voice
from upstream.audio import SAMPLE_RATE

_LETTERS_A_WORD = 5.0  # a little fewer than voices say in the time of what they count as a word
_SECONDS_AROUND = 0.4
_LEAD = (0.1, 0.25)  # seconds before a sentence
_MARGIN = (0.05, 0.12)  # seconds before and after a phrase


@dataclass(frozen=True)
class Utterance:
    """A query or a document: what is said by whom. `holds` has the searched phrases in a document, of both splits."""

    language: str
    text: str
    voice: Voice
    channel: Channel
    holds: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        """How long a document is made, whoever says it: the lists are written before anything is said."""
        minutes = len(self.text) / _LETTERS_A_WORD / self.voice.words_per_minute
        return round(60 * minutes + _SECONDS_AROUND, 2)


def say_query(query: Utterance, rng: np.random.Generator) -> np.ndarray:
    mood = _mood(query, rng)
    spoken = mood.say(query.text, seed=int(rng.integers(2**31)))
    before, after = (rng.uniform(*_MARGIN, 2) * SAMPLE_RATE).astype(int)
    return _recorded(query, mood, np.pad(spoken, (before, after)), rng)


def say_document(document: Utterance, rng: np.random.Generator) -> np.ndarray:
    """The sentence and then nobody, until the document is as long as it should be."""
    mood = _mood(document, rng)
    spoken = mood.say(document.text, seed=int(rng.integers(2**31)))
    before = int(rng.uniform(*_LEAD) * SAMPLE_RATE)
    after = max(0, round(document.seconds * SAMPLE_RATE) - before - len(spoken))
    return _recorded(document, mood, np.pad(spoken, (before, after)), rng)


def _mood(utterance: Utterance, rng: np.random.Generator) -> Voice:
    return utterance.voice.altered(pace=rng.uniform(0.95, 1.1), semitones=rng.normal(0, 0.5))


def _recorded(utterance: Utterance, mood: Voice, wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return utterance.channel.record(wave, rng, level_db=rng.uniform(-27, -24), tilt_db=mood.tilt_db)
