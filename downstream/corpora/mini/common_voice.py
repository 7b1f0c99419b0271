"""A small Common Voice in any language: sentences from templates, each once, by few speakers with quiet microphones."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, pick, token
from downstream.corpora.mini.voices import VERY_PLAIN, Voice, draw_voice

RELEASE = "cv-corpus-7.0-2021-07-21"
HEADER = (
    *("client_id", "path", "sentence", "up_votes", "down_votes"),
    *("age", "gender", "accent", "locale", "segment"),
)

Template = tuple[tuple[str, ...], ...]  # for each place in a sentence what may stand there; the last is how it ends

_SPEAKERS = {"train": 8, "dev": 3, "test": 4}
_HEX = "0123456789abcdef"
_QUOTED = 0.05  # of the sentences: the lists have quotation marks in them that quote nothing


@dataclass(frozen=True)
class Language:
    """What is read aloud and how. `left_out` are (sentence, accent) that no reader keeps; all are in each split."""

    variant: str
    voice: str  # espeak-ng's
    accent: str  # of those who are kept, as the volunteers gave it
    templates: tuple[Template, ...]
    left_out: tuple[tuple[str, str], ...]
    clips: dict[str, int]

    @property
    def corpus(self) -> str:
        return f"common_voice_{self.variant[:2]}"

    @property
    def top(self) -> str:
        return f"{RELEASE}/{self.variant}"


def plan_of(language: Language, seed: int, scale: float) -> Plan:
    """The plan of a language: lists and clips as in the real corpus, with rows that a reader leaves out."""
    clips, texts, counts = [], {}, {}
    rng = generator(seed, language.corpus, "lists")
    number = int(rng.integers(17_000_000, 27_000_000))
    sentences = _sentences(language, rng)
    for split, count in language.clips.items():
        counts[split] = scaled(count, scale, 2)
        speakers = _speakers(language, seed, split)
        kept = [(next(sentences), language.accent) for _ in range(counts[split])]
        rows = []
        for sentence, accent in (*kept, *language.left_out):
            number += int(rng.integers(1, 40))
            name = f"common_voice_{language.variant}_{number}.mp3"
            speaker, voice, channel = pick(rng, speakers)
            rows.append(
                (
                    *(speaker, name, sentence, str(rng.integers(2, 6)), str(rng.integers(2))),
                    *("", "", accent, language.variant, ""),
                )
            )
            clips.append(Clip(f"{language.top}/clips/{name}", partial(_say, sentence, voice, channel)))
        texts[f"{language.top}/{split}.tsv"] = "".join("\t".join(row) + "\n" for row in (HEADER, *sorted(rows)))
    return Plan((language.top,), clips, texts, counts)


def _sentences(language: Language, rng: np.random.Generator) -> Iterator[str]:
    """No sentence twice: what is heard in the test split was not read in the training split."""
    used: set[str] = set()
    while True:
        *slots, endings = pick(rng, language.templates)
        sentence = "".join(pick(rng, slot) for slot in slots)
        if sentence not in used:
            used.add(sentence)
            sentence += pick(rng, endings)
            yield f'"{sentence}"' if rng.random() < _QUOTED else sentence


def _speakers(language: Language, seed: int, split: str) -> list[tuple[str, Voice, Channel]]:
    rng = generator(seed, language.corpus, "speakers", split)
    return [
        (
            token(rng, _HEX, 128),
            replace(draw_voice(rng, VERY_PLAIN, 0.15), accent=language.voice),
            draw_channel(rng, 0.4, (22, 24)),
        )
        for _ in range(_SPEAKERS[split])
    ]


def _say(sentence: str, voice: Voice, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    mood = voice.altered(pace=rng.uniform(0.95, 1.1), semitones=rng.normal(0, 0.5))
    spoken = mood.say(sentence, seed=int(rng.integers(2**31)))
    before, after = rng.integers(400, 1600, 2)
    return channel.record(np.pad(spoken, (before, after)), rng, level_db=rng.uniform(-25, -23), tilt_db=mood.tilt_db)
