"""The six kinds of background noise of Speech Commands, under its file names."""

from collections.abc import Callable

import numpy as np

from upstream.audio import SAMPLE_RATE


def _coloured(rng: np.random.Generator, samples: int, slope: float, lowest: float = 30.0) -> np.ndarray:
    """Noise whose amplitude goes with frequency to the power `slope`, of unit power."""
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum = rng.standard_normal((len(hertz), 2)).view(np.complex128)[:, 0]
    wave = np.fft.irfft(spectrum * (hertz > lowest) * np.maximum(hertz, lowest) ** slope, samples)
    return wave / wave.std()


def _slow(rng: np.random.Generator, samples: int, every: float) -> np.ndarray:
    """A smooth positive random curve, with a new value each `every` seconds."""
    points = int(samples / SAMPLE_RATE / every) + 2
    where = np.linspace(0, points - 1.001, samples)
    return np.interp(where, np.arange(points), rng.uniform(0.2, 1.0, points))


def _white(rng: np.random.Generator, samples: int) -> np.ndarray:
    return rng.standard_normal(samples)


def _pink(rng: np.random.Generator, samples: int) -> np.ndarray:
    return _coloured(rng, samples, -0.5)


def _tap(rng: np.random.Generator, samples: int) -> np.ndarray:
    return _coloured(rng, samples, 0.4, lowest=400.0) * _slow(rng, samples, 0.03)


def _dishes(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Water, and things that ring when they are struck."""
    wave = 0.15 * _tap(rng, samples)
    for start in np.flatnonzero(rng.random(samples) < 3 / SAMPLE_RATE):
        time = np.arange(min(SAMPLE_RATE // 4, samples - start)) / SAMPLE_RATE
        for hertz in rng.uniform(1500, 6500, 4):
            wave[start : start + len(time)] += (
                rng.uniform(0.2, 1.0) * np.sin(2 * np.pi * hertz * time) * np.exp(-time * rng.uniform(20, 80))
            )
    return wave


def _miaowing(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Gliding harmonic calls over a quiet room."""
    hertz = 250 + 600 * _slow(rng, samples, 0.4)
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    call = sum(np.sin(k * phase) / k for k in range(1, 7))
    return call * np.maximum(0, _slow(rng, samples, 0.5) - 0.5) + 0.02 * _pink(rng, samples)


def _bike(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A rumble that comes round with the pedals, and a hum."""
    time = np.arange(samples) / SAMPLE_RATE
    turn = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1.2, 2.0) * time)
    hum = np.sin(2 * np.pi * rng.uniform(90, 140) * time)
    return _coloured(rng, samples, -0.8) * (0.3 + turn**2) + 0.4 * hum


NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "doing_the_dishes": _dishes,
    "dude_miaowing": _miaowing,
    "exercise_bike": _bike,
    "pink_noise": _pink,
    "running_tap": _tap,
    "white_noise": _white,
}


def make_noise(kind: str, rng: np.random.Generator, samples: int, level_db: float) -> np.ndarray:
    """Noise of a kind at a level in decibels under full scale."""
    wave = NOISES[kind](rng, samples)
    return wave * (10 ** (level_db / 20) / np.sqrt((wave**2).mean()))
