"""A small Libri2Mix: two synthesized speakers at a time, clean with their sources, and noisy with who speaks when.

As in the real one a mixture has the same name and the same sources in both modes. Only some are there in mode min,
of which three files are needed, or the corpus would take twice the room.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from downstream.corpora.librimix import kaldi, mixing
from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.libri2mix_speech import Utterance, draw_turns, spoken
from downstream.corpora.mini.noise import NOISES, make_noise
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, pick
from downstream.corpora.mini.voices import FEMALE, MALE, Voice, draw_voice

TOPS = ("Libri2Mix",)
PARTS = {"train": "train-100", "dev": "dev", "test": "test"}

_SPEAKERS = {"train": 24, "dev": 6, "test": 8}
_MIXTURES = {"train": 240, "dev": 40, "test": 60}
_SEPARATED = {"train": 100, "dev": 12, "test": 20}  # those that are there in mode min too
_HUNDREDTHS = (300, 601)  # how long a source is
_HUNDREDTHS_SEPARATED = (300, 376)
_QUIETEST_DB = -6.0
_SNR_DB = (10.0, 20.0)
_UNLIKE = 0.8  # of the mixtures are of a man and a woman
_NOISE_DB = -25.0


@dataclass
class _Speaker:
    name: str
    variants: tuple[str, ...]
    voice: Voice
    channel: Channel
    chapter: int
    numbers: Iterator[int]  # of utterances


@dataclass(frozen=True)
class _Mixture:
    sources: tuple[Utterance, Utterance]
    gains: tuple[float, float]

    @property
    def id(self) -> str:
        return "_".join(f"{source.speaker}-{source.name}" for source in self.sources)


def make_plan(seed: int, scale: float) -> Plan:
    clips, texts, counts, separated = [], {}, {}, {}
    names = generator(seed, "libri2mix", "names")
    numbers = zip(
        names.permutation(np.arange(19, 8976)).tolist(),
        names.permutation(np.arange(1000, 290000)).tolist(),
        strict=False,
    )
    for split, part in PARTS.items():
        speakers = _speakers(seed, scaled(_SPEAKERS[split], scale, 2), numbers)
        counts[split] = scaled(_MIXTURES[split], scale, 2)
        separated[split] = scaled(_SEPARATED[split], scale, 2)
        recordings, activity = [], {}
        for number in range(counts[split]):
            rng = generator(seed, "libri2mix", "mixture", split, number)
            mixture = _mixture(seed, rng, speakers, number < separated[split])
            clips += _clips(mixture, part, number < separated[split])
            samples = mixing.mixed_length([source.samples for source in mixture.sources], "max")
            recordings.append(kaldi.Recording(mixture.id, _path("max", part, "mix_both", mixture), samples))
            for source in mixture.sources:
                activity[source.name] = [(source.speaker, a / 100, b / 100) for a, b in source.turns]
        for name, text in kaldi.data_files(recordings, activity).items():
            texts[f"{TOPS[0]}/data/{kaldi.FOLDERS[part]}/{name}"] = text
    return Plan(TOPS, clips, texts, counts, {"libri2mix_diarization": counts, "libri2mix_separation": separated})


def _speakers(seed: int, count: int, numbers: Iterator[tuple[int, int]]) -> list[_Speaker]:
    """So many new speakers, men and women in turn, each with one chapter and one recording situation."""
    speakers = []
    for index, (speaker, chapter) in enumerate(itertools.islice(numbers, count)):
        rng = generator(seed, "libri2mix", "speaker", speaker)
        variants = (MALE, FEMALE)[index % 2]
        voice, channel = draw_voice(rng, variants, spread=1.0), draw_channel(rng, 0.8, (35, 45))
        speakers.append(_Speaker(str(speaker), variants, voice, channel, chapter, itertools.count()))
    return speakers


def _mixture(seed: int, rng: np.random.Generator, speakers: list[_Speaker], separated: bool) -> _Mixture:
    first = pick(rng, speakers)
    unlike = rng.random() < _UNLIKE
    others = [one for one in speakers if one is not first and (one.variants != first.variants or not unlike)]
    pair = (first, pick(rng, others))
    lengths = rng.integers(*(_HUNDREDTHS_SEPARATED if separated else _HUNDREDTHS), 2).tolist()
    sources = tuple(_utterance(seed, rng, one, length) for one, length in zip(pair, lengths, strict=True))
    gains = tuple((10 ** (rng.uniform(_QUIETEST_DB, 0, 2) / 20)).tolist())
    return _Mixture(sources, gains)


def _utterance(seed: int, rng: np.random.Generator, speaker: _Speaker, length: int) -> Utterance:
    name = f"{speaker.chapter}-{next(speaker.numbers):04d}"
    return Utterance(speaker.name, name, speaker.voice, speaker.channel, length, draw_turns(rng, length), seed)


def _clips(mixture: _Mixture, part: str, separated: bool) -> list[Clip]:
    """The files of a mixture beside each other: whoever makes one has the sources of the next."""
    wanted = [("min", name) for name in ("mix_clean", "s1", "s2") if separated] + [("max", "mix_both")]
    return [
        Clip(f"{TOPS[0]}/{_path(mode, part, name, mixture)}", partial(_mixed, mixture, mode, name))
        for mode, name in wanted
    ]


def _path(mode: str, part: str, name: str, mixture: _Mixture) -> str:
    return f"wav16k/{mode}/{part}/{name}/{mixture.id}.wav"


def _mixed(mixture: _Mixture, mode: str, name: str, rng: np.random.Generator) -> np.ndarray:
    sources = [spoken(source) for source in mixture.sources]
    if name not in mixing.NOISY:
        return mixing.pcm16(mixing.mix(sources, mixture.gains, mode)[name])
    noise = make_noise(str(pick(rng, tuple(NOISES))), rng, max(map(len, sources)), _NOISE_DB)
    clean = mixing.mix(sources, mixture.gains, mode)["mix_clean"]
    gain = 10 ** (-(_NOISE_DB + rng.uniform(*_SNR_DB)) / 20) * float(np.sqrt((clean**2).mean()))
    return mixing.pcm16(mixing.mix(sources, mixture.gains, mode, noise, gain)[name])
