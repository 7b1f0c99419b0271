"""A small Speech Commands v0.01 and its test set: single words by many speakers, and background noise."""

from functools import partial

import numpy as np

from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.noise import NOISES, make_noise
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, pick, token
from downstream.corpora.mini.voices import PLAIN_FEMALE, PLAIN_MALE, Voice, draw_voice
from downstream.corpora.mini.writing import to_int16
from downstream.corpora.speech_commands import (
    KEYWORDS,
    NOISE_FOLDER,
    OTHER_WORDS,
    SILENCE,
    TEST_FOLDER,
    TRAIN_FOLDER,
    UNKNOWN,
    share,
)
from upstream.audio import SAMPLE_RATE

TOPS = (TRAIN_FOLDER, TEST_FOLDER)

_SPEAKERS = {"train": 60, "dev": 14, "test": 16}
_CLIPS_PER_KEYWORD = {"train": 100, "dev": 20, "test": 36, "discarded": 1}
_CLIPS_PER_OTHER_WORD = {"train": 24, "dev": 5, "test": 2, "discarded": 0}
_SILENT_TEST_CLIPS = 40
_NOISE_SECONDS = (15, 20)
_SHARES = {"dev": (0, 10), "test": (10, 20), "train": (20, 100)}  # of the speaker hash, in percent
_ENDINGS = (".", "?", "!", ",")  # each has an intonation of its own


def make_plan(seed: int, scale: float) -> Plan:
    clips, counts = [], {"train": 0, "dev": 0, "test": 0}
    taken: dict[tuple[str, str], int] = {}  # by folder and speaker: the n of _nohash_<n>
    speakers = {split: _speakers(seed, split, scaled(count, scale, 3)) for split, count in _SPEAKERS.items()}
    for part in ("train", "dev", "test", "discarded"):
        for word in KEYWORDS + OTHER_WORDS:
            count = (_CLIPS_PER_KEYWORD if word in KEYWORDS else _CLIPS_PER_OTHER_WORD)[part]
            for i in range(scaled(count, scale) if count else 0):
                rng = generator(seed, "speech_commands", part, word, i)
                name, voice, channel = pick(rng, speakers["test" if part == "discarded" else part])
                folder = f"{TOPS[part == 'test']}/{UNKNOWN if part == 'test' and word in OTHER_WORDS else word}"
                n = taken[folder, name] = taken.get((folder, name), -1) + 1
                clips.append(Clip(f"{folder}/{name}_nohash_{n}.wav", partial(_say, word, voice, channel)))
                if part in counts:
                    counts[part] += 1
    for i in range(scaled(_SILENT_TEST_CLIPS, scale)):
        rng = generator(seed, "speech_commands", "silence", i)
        clips.append(Clip(f"{TOPS[1]}/{SILENCE}/{token(rng, '0123456789abcdef', 8)}_nohash_{i}.wav", _hush))
        counts["test"] += 1
    for kind in NOISES:
        rng = generator(seed, "speech_commands", "noise", kind)
        samples = int(max(2.0, scale * rng.uniform(*_NOISE_SECONDS)) * SAMPLE_RATE)
        clips.append(Clip(f"{TOPS[0]}/{NOISE_FOLDER}/{kind}.wav", partial(_background, kind, samples)))
    return Plan(TOPS, clips, {}, counts)


def _speakers(seed: int, split: str, count: int) -> list[tuple[str, Voice, Channel]]:
    """Speakers whose names the corpus's own hash rule puts into the split."""
    low, high = _SHARES[split]
    speakers = []
    rng = generator(seed, "speech_commands", "speakers", split)
    while len(speakers) < count:
        name = token(rng, "0123456789abcdef", 8)
        if low <= share(name) < high:
            speakers.append((name, draw_voice(rng, PLAIN_MALE + PLAIN_FEMALE, 0.3), draw_channel(rng, 0.8, (18, 22))))
    return speakers


def _say(word: str, voice: Voice, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    mood = voice.altered(pace=rng.uniform(0.8, 1.25), semitones=rng.normal(0, 1.0), tilt_db=rng.normal(0, 0.3))
    spoken = mood.say(word + str(pick(rng, _ENDINGS)), seed=int(rng.integers(2**31)))
    samples = SAMPLE_RATE if rng.random() > 0.08 else int(rng.integers(11000, SAMPLE_RATE))
    spoken = spoken[:samples]
    clip = np.zeros(samples, dtype=np.float32)
    start = int(rng.integers(samples - len(spoken) + 1))
    clip[start : start + len(spoken)] = spoken
    return channel.record(clip, rng, level_db=rng.uniform(-27, -22), tilt_db=mood.tilt_db, snr_db=rng.uniform(-2, 2))


def _hush(rng: np.random.Generator) -> np.ndarray:
    kind = str(pick(rng, tuple(NOISES)))
    samples = 2 * SAMPLE_RATE  # more than is kept, so that the crop may begin anywhere in it
    start = int(rng.integers(SAMPLE_RATE))
    wave = make_noise(kind, rng, samples, level_db=rng.uniform(-60, -20))
    return to_int16(wave[start : start + SAMPLE_RATE])


def _background(kind: str, samples: int, rng: np.random.Generator) -> np.ndarray:
    return to_int16(make_noise(kind, rng, samples, level_db=-22))
