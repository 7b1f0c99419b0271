"""What is mixed in the small Libri2Mix: utterances with pauses in them, of which it is known when somebody speaks."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from downstream.corpora.mini.channel import Channel
from downstream.corpora.mini.randomness import generator
from downstream.corpora.mini.sentences import passage
from downstream.corpora.mini.voices import Voice
from upstream.audio import SAMPLE_RATE

_SAMPLES = SAMPLE_RATE // 100  # in a hundredth of a second, the unit of all times here
_LEAD = (10, 50)
_TURN = (70, 200)
_PAUSE = (25, 110)
_SHORTEST_TURN = 40
_TAIL = 10


@dataclass(frozen=True)
class Utterance:
    """Who speaks and when: `turns` are (start, stop), and like `length` in hundredths of a second."""

    speaker: str
    name: str  # chapter-utterance
    voice: Voice
    channel: Channel
    length: int
    turns: tuple[tuple[int, int], ...]
    seed: int

    @property
    def samples(self) -> int:
        return self.length * _SAMPLES


def draw_turns(rng: np.random.Generator, length: int) -> tuple[tuple[int, int], ...]:
    """When an utterance of that length is spoken and when there is a pause."""
    turns = []
    start = int(rng.integers(*_LEAD))
    while start + _SHORTEST_TURN <= length - _TAIL:
        stop = min(start + int(rng.integers(*_TURN)), length - _TAIL)
        turns.append((start, stop))
        start = stop + int(rng.integers(*_PAUSE))
    return tuple(turns)


@lru_cache(maxsize=2)  # the files of one mixture are made one after the other
def spoken(utterance: Utterance) -> np.ndarray:
    """The utterance in float32, as if read from its file. Not to be written to."""
    rng = generator(utterance.seed, "libri2mix", "utterance", utterance.speaker, utterance.name)
    mood = utterance.voice.altered(pace=rng.uniform(0.95, 1.1), semitones=rng.normal(0, 0.7))
    wave = np.zeros(utterance.samples, dtype=np.float32)
    for start, stop in utterance.turns:
        wave[start * _SAMPLES : stop * _SAMPLES] = _turn(rng, mood, (stop - start) * _SAMPLES)
    recorded = utterance.channel.record(wave, rng, level_db=rng.uniform(-26, -24), tilt_db=mood.tilt_db)
    return recorded.astype(np.float32) / np.float32(32768)


def _turn(rng: np.random.Generator, voice: Voice, samples: int) -> np.ndarray:
    """Speech without a pause in it, cut where the turn ends."""
    words = int(samples / SAMPLE_RATE * voice.words_per_minute / 60 * 1.5) + 3
    wave = np.zeros(0, dtype=np.float32)
    while len(wave) < samples:
        text = passage(rng, words).replace(".", "").replace(",", "")  # punctuation is where the synthesizer pauses
        wave = voice.say(text, seed=int(rng.integers(2**31)))
        words *= 2
    wave = wave[:samples].copy()
    wave[-_SAMPLES:] *= np.linspace(1, 0, _SAMPLES, dtype=np.float32)  # no click
    return wave
