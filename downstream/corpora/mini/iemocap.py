"""A small IEMOCAP: ten speakers in five sessions, talking in dialogs with changing feelings."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from downstream.corpora.mini.channel import Channel, draw_channel
from downstream.corpora.mini.plan import Clip, Plan, scaled
from downstream.corpora.mini.randomness import generator, pick
from downstream.corpora.mini.sentences import passage
from downstream.corpora.mini.voices import PLAIN_FEMALE, PLAIN_MALE, Voice, draw_voice
from upstream.audio import SAMPLE_RATE

TOPS = ("IEMOCAP_full_release",)
KEPT = ("neu", "hap", "exc", "ang", "sad")


@dataclass(frozen=True)
class Feeling:
    """What a feeling does to a voice (on average), and where its raters put it on valence, activation, dominance."""

    name: str
    share: float
    pace: float
    semitones: float
    pitch_range: float
    loudness_db: float
    tilt_db: float
    vad: tuple[float, float, float]


FEELINGS = {
    "neu": Feeling("Neutral", 0.25, 1.00, 0.0, 1.0, 0.0, 0.0, (3.0, 2.5, 2.5)),
    "hap": Feeling("Happiness", 0.10, 1.06, 2.0, 1.3, 2.0, 0.6, (4.0, 3.0, 3.0)),
    "exc": Feeling("Excited", 0.14, 1.15, 3.5, 1.5, 4.0, 1.0, (4.0, 4.0, 3.5)),
    "ang": Feeling("Anger", 0.18, 1.10, 1.0, 1.2, 7.0, 2.5, (1.5, 4.0, 4.0)),
    "sad": Feeling("Sadness", 0.18, 0.82, -2.0, 0.5, -5.0, -2.0, (2.0, 2.0, 2.0)),
    "fru": Feeling("Frustration", 0.08, 1.05, 0.5, 1.0, 3.0, 1.0, (2.0, 3.0, 3.5)),
    "sur": Feeling("Surprise", 0.03, 1.05, 4.0, 1.6, 2.0, 0.5, (3.0, 3.5, 2.5)),
    "xxx": Feeling("Other", 0.04, 1.00, 0.0, 1.0, 0.0, 0.0, (2.5, 3.0, 3.0)),
}

_DIALOGS = ("F_impro01", "F_impro02", "M_impro01", "M_impro02", "F_script01_1", "M_script01_1")
_TURNS = 24  # of each dialog
_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"


def make_plan(seed: int, scale: float) -> Plan:
    clips, texts, counts = [], {}, {}
    for number in range(1, 6):
        session = f"Session{number}"
        top = f"{TOPS[0]}/{session}"
        rng = generator(seed, "iemocap", session)
        voices = {"F": draw_voice(rng, PLAIN_FEMALE, 0.5), "M": draw_voice(rng, PLAIN_MALE, 0.5)}
        labels = iter(_labels(rng, len(_DIALOGS) * scaled(_TURNS, scale, 4)))
        counts[session] = 0
        for dialog in (f"Ses{number:02d}{name}" for name in _DIALOGS):
            rng = generator(seed, "iemocap", dialog)
            channel = draw_channel(rng, 1.0, (18, 24))
            texts[f"{top}/dialog/EmoEvaluation/{dialog}.txt"] = _HEADER
            turns = {"F": 0, "M": 0}
            clock = rng.uniform(2, 8)
            for turn in range(scaled(_TURNS, scale, 4)):
                sex, label = "FM"[turn % 2], next(labels)
                name = f"{dialog}_{sex}{turns[sex]:03d}"
                turns[sex] += 1
                counts[session] += label in KEPT
                seconds = rng.uniform(1.4, 3.2)
                texts[f"{top}/dialog/EmoEvaluation/{dialog}.txt"] += _evaluation(rng, clock, seconds, name, label)
                clock += seconds + rng.uniform(0.2, 2.0)
                render = partial(_say, voices[sex], FEELINGS[label], channel, seconds)
                clips.append(Clip(f"{top}/sentences/wav/{dialog}/{name}.wav", render))
    return Plan(TOPS, clips, texts, counts)


def _labels(rng: np.random.Generator, count: int) -> list[str]:
    """Every label at least once, and otherwise about as often as its share says."""
    labels = list(FEELINGS)
    rest = rng.choice(labels, size=count - len(labels), p=[feeling.share for feeling in FEELINGS.values()])
    return [str(label) for label in rng.permutation([*labels, *rest])]


def _evaluation(rng: np.random.Generator, start: float, seconds: float, name: str, label: str) -> str:
    """A turn as the corpus writes it: the verdict, then what each rater said of the feeling, then of its dimensions."""
    ratings = np.clip(np.round(np.array(FEELINGS[label].vad) + rng.normal(0, 0.6, (2, 3))), 1, 5).astype(int)
    mean = ", ".join(f"{value:.4f}" for value in ratings.mean(axis=0))
    lines = [f"[{start:.4f} - {start + seconds:.4f}]\t{name}\t{label}\t[{mean}]"]
    for rater in range(1, 4):
        other = str(pick(rng, tuple(FEELINGS))) if label == "xxx" or rng.random() < 0.15 else label
        lines.append(f"C-E{rater}:\t{FEELINGS[other].name};\t()")
    for rater, (valence, activation, dominance) in enumerate(ratings, start=1):
        lines.append(f"A-E{rater}:\tval {valence}; act {activation}; dom  {dominance};\t()")
    return "\n".join(lines) + "\n\n"


def _say(voice: Voice, feeling: Feeling, channel: Channel, seconds: float, rng: np.random.Generator) -> np.ndarray:
    strength = rng.uniform(0.5, 1.3)  # of the feeling: people do not always show what they feel
    mood = voice.altered(
        pace=feeling.pace**strength * rng.uniform(0.9, 1.1),
        semitones=feeling.semitones * strength + rng.normal(0, 1.0),
        pitch_range=feeling.pitch_range**strength,
        tilt_db=feeling.tilt_db * strength + rng.normal(0, 0.5),
    )
    samples = int(seconds * SAMPLE_RATE)
    text = passage(rng, int(seconds * mood.words_per_minute / 60))
    spoken = mood.say(text, seed=int(rng.integers(2**31)))[:samples]
    spoken = np.pad(spoken, (0, samples - len(spoken)))
    loudness = feeling.loudness_db * strength + rng.normal(0, 1.5)
    # Louder speech stands further out of the room's noise, which stays as it is.
    return channel.record(spoken, rng, level_db=-27 + loudness, tilt_db=mood.tilt_db, snr_db=loudness)
