"""A small Fluent Speech Commands: orders to a house, by speakers of which none is in two splits."""

import csv
from functools import partial
from io import StringIO
from uuid import UUID

import numpy as np

from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.fluent_phrases import INTENTS
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, pick, token
from downstream.corpora.mini.voices import VERY_PLAIN, Voice, draw_voice

TOPS = ("fluent_speech_commands_dataset",)
HEADER = ("", "path", "speakerId", "transcription", "action", "object", "location")

_SPEAKERS = {"train": 40, "valid": 8, "test": 10}
_CLIPS_PER_INTENT = {"train": 44, "valid": 6, "test": 9}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SPLIT_NAMES = {"train": "train", "valid": "dev", "test": "test"}


def make_plan(seed: int, scale: float) -> Plan:
    clips, texts, counts = [], {}, {}
    for split, per_intent in _CLIPS_PER_INTENT.items():
        speakers = _speakers(seed, split, scaled(_SPEAKERS[split], scale, 2))
        rows = []
        for intent, phrases in INTENTS.items():
            for i in range(scaled(per_intent, scale)):
                rng = generator(seed, "fluent_speech_commands", split, *intent, i)
                name, voice, channel = pick(rng, speakers)
                phrase = str(pick(rng, phrases))
                path = f"wavs/speakers/{name}/{UUID(bytes=rng.bytes(16), version=1)}.wav"
                rows.append((path, name, phrase, *intent))
                clips.append(Clip(f"{TOPS[0]}/{path}", partial(_say, phrase, voice, channel)))
        texts[f"{TOPS[0]}/data/{split}_data.csv"] = _table(sorted(rows))
        counts[_SPLIT_NAMES[split]] = len(rows)
    return Plan(TOPS, clips, texts, counts)


def _speakers(seed: int, split: str, count: int) -> list[tuple[str, Voice, Channel]]:
    rng = generator(seed, "fluent_speech_commands", "speakers", split)
    return [
        (token(rng, _LETTERS, 16), draw_voice(rng, VERY_PLAIN, 0.15), draw_channel(rng, 0.4, (22, 24)))
        for _ in range(count)
    ]


def _table(rows: list[tuple[str, ...]]) -> str:
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((number, *row) for number, row in enumerate(rows))
    return text.getvalue()


def _say(phrase: str, voice: Voice, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    mood = voice.altered(pace=rng.uniform(0.95, 1.1), semitones=rng.normal(0, 0.5))
    spoken = mood.say(phrase, seed=int(rng.integers(2**31)))
    before, after = rng.integers(400, 1600, 2)
    return channel.record(np.pad(spoken, (before, after)), rng, level_db=rng.uniform(-25, -23), tilt_db=mood.tilt_db)
