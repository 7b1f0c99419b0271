"""A small LibriSpeech: sentences read by speakers of one split each, with lexicons and a language model."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from downstream.corpora.lexicon import FILES
from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.librispeech_words import (
    ACTIONS,
    ENDINGS,
    MORE_PRONUNCIATIONS,
    OPENINGS,
    PEOPLE,
    PLACES,
    PRONUNCIATIONS,
    THINGS,
)
from downstream.corpora.mini.ngram import arpa_text
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, pick
from downstream.corpora.mini.voices import VERY_PLAIN, Voice, draw_voice

TOPS = ("LibriSpeech",)
FOLDERS = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
LETTER_LEXICON = "librispeech_lexicon.lst"
LANGUAGE_MODEL = "4-gram.arpa"  # named like the real one, though of order 3

_SPEAKERS = {"train": 12, "dev": 4, "test": 6}
_UTTERANCES = {"train": 640, "dev": 64, "test": 128}
_CHAPTERS = 2  # of each speaker
_ORDER = 3
_ALWAYS = (PEOPLE, ACTIONS, THINGS)


@dataclass(frozen=True)
class _Chapter:
    folder: str
    name: str
    voice: Voice
    channel: Channel


def make_plan(seed: int, scale: float) -> Plan:
    clips, texts, counts = [], {}, {}
    spoken: dict[str, list[str]] = {}
    speakers = iter(generator(seed, "librispeech", "speakers").permutation(np.arange(19, 8976)).tolist())
    for split, folder in FOLDERS.items():
        chapters = _chapters(seed, f"{TOPS[0]}/{folder}", scaled(_SPEAKERS[split], scale, 2), speakers)
        counts[split] = scaled(_UTTERANCES[split], scale, len(chapters))
        each, left_over = divmod(counts[split], len(chapters))
        spoken[split] = []
        for i, chapter in enumerate(chapters):
            lines = []
            for number in range(each + (i < left_over)):
                name = f"{chapter.name}-{number:04d}"
                sentence = _sentence(generator(seed, "librispeech", "sentence", name))
                clips.append(Clip(f"{chapter.folder}/{name}.flac", partial(_say, sentence, chapter)))
                lines.append(f"{name} {sentence}\n")
                spoken[split].append(sentence)
            texts[f"{chapter.folder}/{chapter.name}.trans.txt"] = "".join(lines)
    model = arpa_text([sentence.split() for sentence in spoken["train"]], _ORDER)
    shipped = _lexicons() | {LANGUAGE_MODEL: model}
    return Plan(TOPS, clips, texts | {f"{TOPS[0]}/{name}": text for name, text in shipped.items()}, counts)


def _chapters(seed: int, folder: str, count: int, speakers: Iterator[int]) -> list[_Chapter]:
    """Those of so many new speakers, each with one voice and one recording situation."""
    chapters = []
    for speaker in itertools.islice(speakers, count):
        rng = generator(seed, "librispeech", "speaker", speaker)
        voice = replace(draw_voice(rng, VERY_PLAIN, 0.15), accent="en-us")  # that of the pronunciations
        channel = draw_channel(rng, 0.4, (28, 32))
        for number in sorted(rng.choice(np.arange(1000, 290000), _CHAPTERS, replace=False).tolist()):
            chapters.append(_Chapter(f"{folder}/{speaker}/{number}", f"{speaker}-{number}", voice, channel))
    return chapters


def _sentence(rng: np.random.Generator) -> str:
    more = pick(rng, (OPENINGS, PLACES, ENDINGS, None))
    kinds = (OPENINGS, PEOPLE, ACTIONS, THINGS, PLACES, ENDINGS)
    return " ".join(str(pick(rng, kind)) for kind in kinds if kind is more or kind in _ALWAYS)


def _lexicons() -> dict[str, str]:
    """The pronunciations of phoneme recognition in their two files, and the spellings that a decoder reads."""
    tables = dict(zip(FILES, (PRONUNCIATIONS, MORE_PRONUNCIATIONS), strict=True))
    texts = {name: "".join(f"{word}\t{phones}\n" for word, phones in table) for name, table in tables.items()}
    words = sorted({word for word, _ in (*PRONUNCIATIONS, *MORE_PRONUNCIATIONS)})
    texts[LETTER_LEXICON] = "".join(f"{word}\t{' '.join(word)} |\n" for word in words)
    return texts


def _say(sentence: str, chapter: _Chapter, rng: np.random.Generator) -> np.ndarray:
    mood = chapter.voice.altered(pace=rng.uniform(1.0, 1.1), semitones=rng.normal(0, 0.5))
    spoken = mood.say(sentence.lower(), seed=int(rng.integers(2**31)))
    before, after = rng.integers(2400, 6400, 2)
    padded = np.pad(spoken, (before, after))
    return chapter.channel.record(padded, rng, level_db=rng.uniform(-25, -23), tilt_db=mood.tilt_db)
