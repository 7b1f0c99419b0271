"""A small VoiceBank-DEMAND: sentences from a quiet room, and the same with a noise added at a known distance."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.noise import make_noise
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, pick
from downstream.corpora.mini.sentences import passage
from downstream.corpora.mini.voices import FEMALE, MALE, Voice, draw_voice
from downstream.corpora.mini.writing import to_int16
from downstream.corpora.voicebank_demand import CORPUS, DEV_SPEAKERS, KINDS, TEST, TRAINING
from upstream.audio import SAMPLE_RATE

TOPS = ("VoiceBank-DEMAND",)
PARTS = {"train": TRAINING, "dev": TRAINING, "test": TEST}
SPEAKERS = {"train": ("p228", "p243", "p231", "p256", "p268", "p279"), "dev": DEV_SPEAKERS, "test": ("p232", "p257")}
# Half of the test's kinds of noise are heard in training, none of its levels.
NOISES = {TRAINING: ("exercise_bike", "pink_noise", "running_tap", "white_noise")}
NOISES |= {TEST: ("exercise_bike", "running_tap", "doing_the_dishes", "dude_miaowing")}
SNRS_DB = {TRAINING: (0.0, 5.0, 10.0, 15.0), TEST: (2.5, 7.5, 12.5, 17.5)}

_WOMEN = ("p228", "p231", "p257", "p268")
_UTTERANCES = {"train": 200, "dev": 30, "test": 40}
_SECONDS = (2.0, 4.0)
_SILENCE = (0.1, 0.3)  # seconds before and after the speech
_LOUDEST = 0.97


@dataclass(frozen=True)
class _Utterance:
    name: str
    voice: Voice
    channel: Channel
    noise: str
    snr_db: float
    seed: int


def make_plan(seed: int, scale: float) -> Plan:
    clips, counts = [], {}
    for split, part in PARTS.items():
        names = SPEAKERS[split][: scaled(len(SPEAKERS[split]), scale, 2)]
        counts[split] = scaled(_UTTERANCES[split], scale, len(names))
        spoken = Counter()
        for number in range(counts[split]):
            speaker = names[number % len(names)]
            spoken[speaker] += 1
            utterance = _drawn(seed, part, speaker, f"{speaker}_{spoken[speaker]:03d}")
            clips += [  # beside each other: whoever makes one has the sound of the other
                Clip(f"{TOPS[0]}/{kind}_{part}_wav_16k/{utterance.name}.wav", partial(_render, utterance, kind))
                for kind in KINDS
            ]
    return Plan(TOPS, clips, {}, counts)


def _drawn(seed: int, part: str, speaker: str, name: str) -> _Utterance:
    voice, channel = _speaker(seed, speaker)
    rng = generator(seed, CORPUS, "noise", name)
    return _Utterance(name, voice, channel, str(pick(rng, NOISES[part])), float(pick(rng, SNRS_DB[part])), seed)


@lru_cache(maxsize=16)
def _speaker(seed: int, name: str) -> tuple[Voice, Channel]:
    rng = generator(seed, CORPUS, "speaker", name)
    return draw_voice(rng, FEMALE if name in _WOMEN else MALE, spread=1.0), draw_channel(rng, 0.3, (50, 55))


def _render(utterance: _Utterance, kind: str, _: np.random.Generator) -> np.ndarray:
    return _recorded(utterance)[KINDS.index(kind)]


@lru_cache(maxsize=1)
def _recorded(utterance: _Utterance) -> tuple[np.ndarray, np.ndarray]:
    """With noise and without, in int16. Not to be written to.

    The ratio of speech to noise is that of their power in the whole file. Where the sum would clip, both are turned
    down, so that what lies between them is the noise alone.
    """
    rng = generator(utterance.seed, CORPUS, "sound", utterance.name)
    clean = _say(utterance, rng)
    level_db = 10 * np.log10((clean**2).mean()) - utterance.snr_db
    noisy = clean + make_noise(utterance.noise, rng, len(clean), level_db)
    gain = min(1.0, _LOUDEST / max(np.abs(noisy).max(), np.abs(clean).max()))
    return to_int16(gain * noisy), to_int16(gain * clean)


def _say(utterance: _Utterance, rng: np.random.Generator) -> np.ndarray:
    """Speech between two silences, cut where it falls."""
    mood = utterance.voice.altered(pace=rng.uniform(0.95, 1.1), semitones=rng.normal(0, 0.7))
    before, after = (rng.uniform(*_SILENCE, 2) * SAMPLE_RATE).astype(int)
    samples = int(rng.uniform(*_SECONDS) * SAMPLE_RATE) - before - after
    words = int(samples / SAMPLE_RATE * mood.words_per_minute / 60 * 1.5) + 3  # more than fit
    spoken = mood.say(passage(rng, words), seed=int(rng.integers(2**31)))[:samples]
    padded = np.pad(spoken, (before, after))
    recorded = utterance.channel.record(padded, rng, level_db=rng.uniform(-27, -24), tilt_db=mood.tilt_db)
    return recorded / 32767
