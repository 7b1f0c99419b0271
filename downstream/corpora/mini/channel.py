"""What lies between a mouth and a file: a room, a microphone, a noise."""

from dataclasses import dataclass

import numpy as np

from downstream.corpora.mini.writing import to_int16
from upstream.audio import SAMPLE_RATE

_BLOCK = 2048  # transforms are done at multiples of this, which are fast
_BANDS_HZ = (60.0, 150.0, 300.0, 600.0, 1000.0, 1600.0, 2500.0, 4000.0, 6000.0, 8000.0)
_ACTIVE = 0.1  # of the loudest sample; what lies below counts as pause when the level of speech is measured


@dataclass(frozen=True)
class Channel:
    """A recording situation. `gains_db` are the microphone's, at `_BANDS_HZ`; `noise_tilt_db` is per octave."""

    gains_db: tuple[float, ...]
    lowest_hz: float
    highest_hz: float
    echo: tuple[float, ...]
    noise_tilt_db: float
    snr_db: float

    def record(
        self, speech: np.ndarray, rng: np.random.Generator, level_db: float, tilt_db: float, snr_db: float = 0.0
    ) -> np.ndarray:
        """The speech at `level_db` under full scale as this channel hears it, in int16.

        `tilt_db` is the voice's, per octave; `snr_db` comes on top of the channel's.
        """
        size = -(-len(speech) // _BLOCK) * _BLOCK
        hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
        octaves = np.log2(np.maximum(hertz, 60.0) / 1000.0)
        edges = 1 / (1 + (self.lowest_hz / np.maximum(hertz, 1.0)) ** 4) / (1 + (hertz / self.highest_hz) ** 8)
        microphone = edges * _amplitude(np.interp(hertz, _BANDS_HZ, self.gains_db))

        spectrum = np.fft.rfft(speech / _active_level(speech), size)
        spectrum *= microphone * _amplitude(tilt_db * octaves) * np.fft.rfft(self.echo, size)

        noise = microphone * _amplitude(self.noise_tilt_db * octaves)
        noise *= _amplitude(-self.snr_db - snr_db) * size / np.sqrt(2 * (noise**2).sum())
        spectrum += noise * rng.standard_normal((len(hertz), 2), dtype=np.float32).view(np.complex64)[:, 0]

        wave = np.fft.irfft(spectrum, size)[: len(speech)] * _amplitude(level_db)
        return to_int16(wave)


def draw_channel(rng: np.random.Generator, spread_db: float, snr_db: tuple[float, float]) -> Channel:
    """A new recording situation. Situations differ as much as `spread_db` says; 0 to 5 is sensible."""
    decay = rng.uniform(0.03, 0.12)
    delays = np.arange(int(0.2 * SAMPLE_RATE))
    echo = rng.standard_normal(len(delays)) * np.exp(-delays / (decay * SAMPLE_RATE))
    echo *= rng.uniform(0, 0.1 * spread_db) / np.sqrt((echo**2).sum())
    echo[0] = 1.0
    return Channel(
        gains_db=tuple(rng.normal(0, spread_db, len(_BANDS_HZ))),
        lowest_hz=rng.uniform(40, 60 + 20 * spread_db),
        highest_hz=rng.uniform(9000 - 900 * spread_db, 9000),
        echo=tuple(echo),
        noise_tilt_db=rng.normal(-3, 0.3 * spread_db),
        snr_db=rng.uniform(*snr_db),
    )


def _amplitude(db: float | np.ndarray) -> float | np.ndarray:
    return 10 ** (np.asarray(db) / 20)


def _active_level(wave: np.ndarray) -> float:
    loud = wave[np.abs(wave) > _ACTIVE * np.abs(wave).max()]
    return float(np.sqrt((loud**2).mean()))
