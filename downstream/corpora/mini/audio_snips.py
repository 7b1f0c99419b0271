"""A small Audio SNIPS: orders to an assistant, each in sixteen voices, of which every split has its own."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from downstream.corpora.audio_snips import FOLDERS, SENTENCES, SLOTS, VOICES
from downstream.corpora.mini.audio_snips_phrases import INTENTS, VALUES
from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator
from downstream.corpora.mini.voices import VERY_PLAIN, Voice, draw_voice
from downstream.corpora.snips_text import OUTSIDE

TOPS = ("SNIPS",)
TRANSCRIPTS = "all-trans.txt"

_SENTENCES = {"train": 72, "dev": 12, "test": 24}
_TEMPLATES = tuple((intent, template) for intent, templates in INTENTS.items() for template in templates)

Sentence = tuple[list[str], list[str], str]  # words, their tags, and the intent


def make_plan(seed: int, scale: float) -> Plan:
    counts, tagged, transcribed, clips = {}, [], [], []
    voices = {split: names[: scaled(len(names), scale, 2)] for split, names in VOICES.items()}
    sounds = {name: _voice(seed, name) for names in voices.values() for name in names}
    slots: Counter[str] = Counter()
    said: set[str] = set()
    for split, folder in FOLDERS.items():
        count = scaled(_SENTENCES[split], scale, 2)
        sentences = _sentences(generator(seed, "audio_snips", "sentences", split), count, said)
        slots.update(tag for _, tags, _ in sentences for tag in tags if tag != OUTSIDE)
        counts[split] = count * len(voices[split])
        for name in sorted(sounds):
            for number, (words, tags, intent) in enumerate(sentences):
                utterance, text = f"{name}-snips-{folder}-{number}", " ".join(words)
                tagged.append(f"{utterance} BOS {text} EOS\t{' '.join((OUTSIDE, *tags, intent))}\n")
                transcribed.append(f"{utterance} {text}\n")
                clips.append(Clip(f"{TOPS[0]}/{folder}/{utterance}.wav", partial(_say, text, *sounds[name])))
    texts = {
        f"{TOPS[0]}/{SENTENCES}": "".join(tagged),
        f"{TOPS[0]}/{TRANSCRIPTS}": "".join(transcribed),
        f"{TOPS[0]}/{SLOTS}": "\n".join((OUTSIDE, *(slot for slot, _ in slots.most_common()))),
    }
    return Plan(TOPS, clips, texts, counts)


def _voice(seed: int, name: str) -> tuple[Voice, Channel]:
    rng = generator(seed, "audio_snips", "voice", name)
    return replace(draw_voice(rng, VERY_PLAIN, 0.15), accent="en-us"), draw_channel(rng, 0.4, (28, 32))


def _sentences(rng: np.random.Generator, count: int, said: set[str]) -> list[Sentence]:
    """So many sentences that were not said yet, every template about equally often, and every value of a slot."""
    templates = _in_turn(rng, _TEMPLATES)
    values = {slot: _in_turn(rng, of_slot) for slot, of_slot in VALUES.items()}
    sentences = []
    while len(sentences) < count:
        intent, template = next(templates)
        words, tags = _filled(template, values)
        while " ".join(words) in said:
            words, tags = _filled(template, values)
        said.add(" ".join(words))
        sentences.append((words, tags, intent))
    return sentences


def _filled(template: str, values: dict[str, Iterator[str]]) -> tuple[list[str], list[str]]:
    words, tags = [], []
    for piece in template.split():
        slot = piece.strip("{}")
        said = [piece] if slot == piece else next(values[slot]).split()
        words += said
        tags += [OUTSIDE if slot == piece else slot] * len(said)
    return words, tags


def _in_turn(rng: np.random.Generator, items: tuple) -> Iterator:
    """All of the items in a random order, and again in another, without an end."""
    while True:
        for i in rng.permutation(len(items)):
            yield items[i]


def _say(sentence: str, voice: Voice, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    mood = voice.altered(pace=rng.uniform(0.9, 1.0), semitones=rng.normal(0, 0.5))
    spoken = mood.say(sentence.lower(), seed=int(rng.integers(2**31)))
    before, after = rng.integers(2400, 6400, 2)
    return channel.record(np.pad(spoken, (before, after)), rng, level_db=rng.uniform(-25, -23), tilt_db=mood.tilt_db)
