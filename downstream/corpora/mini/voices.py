"""Made-up speakers: an accent, a voice, a vocal tract, and habits of pitch and pace."""

from dataclasses import dataclass, replace
from math import log2

import numpy as np
import soxr

from downstream.corpora.mini.espeak import ESPEAK_RATE, synthesize
from downstream.corpora.mini.randomness import pick
from upstream.audio import SAMPLE_RATE

ACCENTS = ("en", "en-us", "en-029", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc")

# Left out: whispers, croaks, robots and echoes, and every voice on the `klatt 6` synthesizer, whose breath noise comes
# from the C library's rand() and is not the same twice.
MALE = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "Alex", "Denis", "Diogo", "Gene", "Mario", "Michael", "Mike"),
    *("antonio", "boris", "edward", "gustave", "john", "klatt3", "klatt4", "marcelo", "max", "michel", "miguel"),
    *("norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "victor"),
)
FEMALE = (
    *("f1", "f2", "f3", "f4", "f5", "Alicia", "Andrea", "Annie", "anika", "aunty", "belinda", "grandma", "linda"),
    *("shelby", "steph"),
)

# Those whose long-term spectra are alike. From the others a listener hears who speaks before what is said.
PLAIN_MALE = ("m1", "m2", "m3", "m5", "m6", "Alex", "boris", "max")
PLAIN_FEMALE = ("f1", "f2", "f3", "f4", "f5")
VERY_PLAIN = ("m1", "m3", "max", "f1", "f2", "f5")

_WORDS_PER_MINUTE = (80, 420)  # beyond these espeak-ng leaves its own synthesis for a time stretcher
_SILENCE = 0.01  # of the loudest sample; the synthesizer's own pauses are exact zeros


@dataclass(frozen=True)
class Voice:
    """How a speaker sounds when nothing is the matter. `tract` scales all formants; `tilt_db` is per octave."""

    accent: str
    variant: str
    words_per_minute: float
    semitones: float
    pitch_range: float
    tract: float
    tilt_db: float

    def altered(
        self, pace: float = 1.0, semitones: float = 0.0, pitch_range: float = 1.0, tilt_db: float = 0.0
    ) -> "Voice":
        """The same speaker, faster, higher, livelier, more strained."""
        return replace(
            self,
            words_per_minute=self.words_per_minute * pace,
            semitones=self.semitones + semitones,
            pitch_range=self.pitch_range * pitch_range,
            tilt_db=self.tilt_db + tilt_db,
        )

    def say(self, text: str, seed: int) -> np.ndarray:
        """Speech at 16 kHz without the pauses before and after; its level depends on the voice and means nothing."""
        slowest, fastest = _WORDS_PER_MINUTE
        wave = synthesize(
            text,
            f"{self.accent}+{self.variant}",
            # A shorter tract is played faster: what it adds to pace and pitch is taken off beforehand.
            words_per_minute=round(float(np.clip(self.words_per_minute / self.tract, slowest, fastest))),
            pitch=round(float(np.clip(50 + 50 * (self.semitones / 12 - log2(self.tract)), 0, 99))),
            pitch_range=round(float(np.clip(self.pitch_range, 0, 99))),
            seed=seed,
        )
        wave = soxr.resample(wave, ESPEAK_RATE * self.tract, SAMPLE_RATE, quality="MQ")
        heard = np.flatnonzero(np.abs(wave) > _SILENCE * np.abs(wave).max())
        return wave[heard[0] : heard[-1] + 1]


def draw_voice(rng: np.random.Generator, variants: tuple[str, ...], spread: float) -> Voice:
    """A new speaker. At a spread of 1 speakers of the same variant are easily told apart."""
    return Voice(
        accent=str(pick(rng, ACCENTS)),
        variant=str(pick(rng, variants)),
        words_per_minute=170 + spread * rng.uniform(-30, 30),
        semitones=rng.normal(0, 2.0 * spread),
        pitch_range=50 + spread * rng.uniform(-15, 20),
        tract=float(np.exp(rng.normal(0, 0.06 * spread))),
        tilt_db=rng.normal(0, spread),
    )
