"""A small VoxCeleb1: speakers met in several videos, each with a microphone, a room and a noise of its own."""

from functools import partial
from itertools import combinations

import numpy as np

from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, token
from downstream.corpora.mini.sentences import passage
from downstream.corpora.mini.voices import FEMALE, MALE, Voice, draw_voice
from upstream.audio import SAMPLE_RATE

TOPS = ("VoxCeleb1",)
LIST = "veri_test_class.txt"
TRIALS = "voxceleb1_test_v2.txt"

_SPEAKERS = {"dev": 32, "test": 8}  # by folder, which has nothing to do with the splits of identification
_LEAST = {"dev": 4, "test": 2}  # two to hold out for verification, and two of whom to learn
_FIRST_ID = {"dev": 10001, "test": 10270}
_VIDEOS = (("train", 3), ("train", 3), ("train", 3), ("dev", 2), ("test", 2), ("test", 2))  # split and clips of each
_SPLIT_NUMBERS = {"train": 1, "dev": 2, "test": 3}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SECONDS = (3.0, 11.0)


def make_plan(seed: int, scale: float) -> Plan:
    clips, lines, counts = [], [], {"train": 0, "dev": 0, "test": 0}
    files: dict[str, list[str]] = {folder: [] for folder in _SPEAKERS}
    for folder, speakers in _SPEAKERS.items():
        for number in range(scaled(speakers, scale, _LEAST[folder])):
            name = f"id{_FIRST_ID[folder] + number}"
            voice = draw_voice(generator(seed, "voxceleb1", name), MALE + FEMALE, spread=1.0)
            for video, (split, utterances) in enumerate(_VIDEOS):
                rng = generator(seed, "voxceleb1", name, video)
                title = token(rng, _LETTERS, 11)
                channel = draw_channel(rng, 2.5, (12, 28))
                mood = voice.altered(pace=rng.uniform(0.9, 1.15), semitones=rng.normal(0, 1.0))
                for utterance in range(1, utterances + 1):
                    path = f"{name}/{title}/{utterance:05d}.wav"
                    lines.append(f"{_SPLIT_NUMBERS[split]} {path}\n")
                    counts[split] += 1
                    files[folder].append(path)
                    clips.append(Clip(f"{TOPS[0]}/{folder}/wav/{path}", partial(_say, mood, channel)))
    texts = {
        f"{TOPS[0]}/{LIST}": "".join(sorted(lines, key=lambda line: line[2:])),
        f"{TOPS[0]}/{TRIALS}": _trials(files["test"], generator(seed, "voxceleb1", "trials")),
    }
    verification = {"train": len(files["dev"]), "test": len(files["test"])}
    return Plan(TOPS, clips, texts, counts, also={"voxceleb1_verification": verification})


def _trials(files: list[str], rng: np.random.Generator) -> str:
    """All pairs of one speaker in two videos, and as many of two speakers, for verification."""
    pairs = [(first.split("/"), second.split("/")) for first, second in combinations(files, 2)]
    same = [pair for pair in pairs if pair[0][0] == pair[1][0] and pair[0][1] != pair[1][1]]
    different = [pair for pair in pairs if pair[0][0] != pair[1][0]]
    drawn = [different[i] for i in rng.choice(len(different), len(same), replace=False)]
    lines = []
    for own, other in zip(same, drawn, strict=True):
        lines += [f"{label} {' '.join(map('/'.join, pair))}\n" for label, pair in ((1, own), (0, other))]
    return "".join(lines)


def _say(voice: Voice, channel: Channel, rng: np.random.Generator) -> np.ndarray:
    seconds = rng.uniform(*_SECONDS)
    words = int(seconds * voice.words_per_minute / 60 * 1.5)  # more than fit: the cut falls where it falls
    spoken = voice.say(passage(rng, words), seed=int(rng.integers(2**31)))[: int(seconds * SAMPLE_RATE)]
    return channel.record(spoken, rng, level_db=rng.uniform(-30, -20), tilt_db=voice.tilt_db + rng.normal(0, 0.5))
