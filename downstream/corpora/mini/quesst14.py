"""A small QUESST 2014: phrases said alone, and sentences in three languages that hold some of them.

Whoever says a query says no document. Dev and test search for different phrases in the same documents.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle

import numpy as np

from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.quesst14_lists import scoring_texts
from downstream.corpora.mini.quesst14_phrases import LANGUAGES, Language
from downstream.corpora.mini.quesst14_speech import Utterance, say_document, say_query
from downstream.corpora.mini.randomness import generator, pick
from downstream.corpora.mini.voices import VERY_PLAIN, Voice, draw_voice
from downstream.corpora.quesst14 import LANGUAGE

TOPS = ("quesst14Database",)
RATE = 8000

_PARTS = {"dev": "dev", "test": "eval"}  # what the corpus calls the splits
_SPEAKERS = {"documents": 12, "dev": 8, "test": 8}  # of each language
_ROOM = 2  # for phrases in a sentence
_HOLDING_NOTHING = 0.2  # of the documents, the least
_SNR_DB = (11, 15)  # with less noise spectral features find nearly everything


def make_plan(seed: int, scale: float) -> Plan:
    documents: list[Utterance] = []
    queries: dict[str, list[Utterance]] = {part: [] for part in _PARTS.values()}
    for language in LANGUAGES:
        each = scaled(language.queries, scale, 2)
        phrases = _shuffled(language.phrases, seed, language.key, "phrases")
        for number, (split, part) in enumerate(_PARTS.items()):
            speakers = _speakers(language, split, seed, scale)
            of_part = phrases[number * each : (number + 1) * each]
            queries[part] += [Utterance(language.key, phrase, *next(speakers)) for phrase in of_part]
        searched, others = phrases[: len(_PARTS) * each], phrases[len(_PARTS) * each :]
        documents += _documents(language, _spread(language, searched, seed, scale), others, seed, scale)

    named_documents = _named("quesst14_{:05d}", documents, seed)
    named_queries = {part: _named(f"quesst14_{part}_{{:04d}}", of_part, seed) for part, of_part in queries.items()}
    clips = _clips("Audio", say_document, named_documents)
    for part, of_part in named_queries.items():
        clips += _clips(f"{part}_queries", say_query, of_part)
    texts = scoring_texts(named_documents, named_queries)
    read = {"documents": documents} | {split: queries[part] for split, part in _PARTS.items()}
    counts = {split: sum(one.language == LANGUAGE for one in utterances) for split, utterances in read.items()}
    return Plan(TOPS, clips, {f"{TOPS[0]}/scoring/{path}": text for path, text in texts.items()}, counts)


def _shuffled(items: Sequence, seed: int, *key: str) -> list:
    return [items[i] for i in generator(seed, "quesst14", *key).permutation(len(items))]


def _speakers(language: Language, split: str, seed: int, scale: float) -> Iterator[tuple[Voice, Channel]]:
    """The speakers of a split, each of them again and again."""
    rng = generator(seed, "quesst14", language.key, "speakers", split)
    speakers = []
    for _ in range(scaled(_SPEAKERS[split], scale, 2)):
        voice = replace(draw_voice(rng, VERY_PLAIN, 0.5), accent=str(pick(rng, language.accents)))
        speakers.append((voice, draw_channel(rng, 1.0, _SNR_DB)))
    return cycle(speakers)


def _spread(language: Language, searched: list[str], seed: int, scale: float) -> list[list[str]]:
    """What each document holds: of the searched phrases none, one or two."""
    rng = generator(seed, "quesst14", language.key, "holders")
    count = scaled(language.documents, scale, language.fewest_documents)
    empty = round(_HOLDING_NOTHING * count)
    held: list[list[str]] = [[] for _ in range(count - empty)]
    for phrase, holders in zip(searched, cycle(language.holders), strict=False):
        emptiest_first = sorted(rng.permutation(len(held)).tolist(), key=lambda i: len(held[i]))
        for i in emptiest_first[:holders]:
            held[i].append(phrase)
    return held + [[] for _ in range(empty)]


def _documents(
    language: Language, held: list[list[str]], others: list[str], seed: int, scale: float
) -> list[Utterance]:
    """A document for each list of phrases; where there is room left, phrases that nobody searches fill it."""
    speakers = _speakers(language, "documents", seed, scale)
    documents = []
    for number, phrases in enumerate(held):
        rng = generator(seed, "quesst14", language.key, "document", number)
        fillers = [others[i] for i in rng.permutation(len(others))[: _ROOM - len(phrases)]]
        said = [*phrases, *fillers]
        sentence = str(pick(rng, language.frames)).format(*(said[i] for i in rng.permutation(_ROOM)))
        documents.append(Utterance(language.key, sentence, *next(speakers), frozenset(phrases)))
    return documents


def _named(pattern: str, utterances: list[Utterance], seed: int) -> dict[str, Utterance]:
    """Numbered from 1 in an order that has nothing to do with language or content."""
    shuffled = _shuffled(utterances, seed, "names", pattern)
    return {pattern.format(number): utterance for number, utterance in enumerate(shuffled, start=1)}


def _clips(
    folder: str, say: Callable[[Utterance, np.random.Generator], np.ndarray], utterances: dict[str, Utterance]
) -> list[Clip]:
    return [Clip(f"{TOPS[0]}/{folder}/{name}.wav", partial(say, one), RATE) for name, one in utterances.items()]
