"""What a person can look at and listen to: spectrograms of waves one above the other, and 16-bit audio.

Pictures need matplotlib, which is an extra; where it is missing none is made, and `HOW_TO_GET` says what to type.
"""

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from downstream.files import atomic
from upstream.audio import SAMPLE_RATE
from upstream.errors import DataError

HOW_TO_GET = "pictures need matplotlib. Type: pip install 'sslbench[plots]'"

_WINDOW = 512  # samples, 32 ms: the harmonics of a voice are seen apart
_RANGE = 60  # dB, a colour each, below the loudest point of all panels; what is softer is as dark as silence
_COLUMNS = 900  # about the pixels there are: more would not be seen


def spectrogram_picture(path: Path, waves: dict[str, np.ndarray]) -> bool:
    """A PNG with a panel for each wave under its title, all of one scale; False if matplotlib is missing."""
    if not waves:
        raise ValueError("there is no wave to draw")
    if find_spec("matplotlib") is None:
        return False
    seconds = max(len(wave) for wave in waves.values()) / SAMPLE_RATE
    hop = max(_WINDOW // 4, int(seconds * SAMPLE_RATE) // _COLUMNS)
    spectra = {title: _power(_finite(title, wave), hop) for title, wave in waves.items()}
    loudest = max(power.max() for power in spectra.values()) or 1.0
    panels = {title: _decibels(power / loudest) for title, power in spectra.items()}
    content = _drawn(panels, hop / SAMPLE_RATE, seconds)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return True


def audio_bytes(wave: np.ndarray) -> tuple[bytes, float]:
    """A 16-bit WAV file at 16 kHz, and the gain: 1, or less where the wave was too loud and is turned down whole."""
    wave = _finite("the wave", wave)
    loudest = float(np.abs(wave).max(initial=0))
    gain = 1 / loudest if loudest > 1 else 1.0
    samples = np.clip(np.round(wave * (gain * 32768)), -32768, 32767).astype(np.int16)
    content = BytesIO()
    soundfile.write(content, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return content.getvalue(), gain


def _finite(title: str, wave: np.ndarray) -> np.ndarray:
    if not np.isfinite(wave).all():
        raise DataError(f"{title} holds NaN or infinite samples. Look at what made it.")
    return np.asarray(wave, np.float64)


def _power(wave: np.ndarray, hop: int) -> np.ndarray:
    """(frequencies, frames) power; frame i is centred on sample i * hop, and the last sample is within a frame."""
    padded = np.pad(wave, (_WINDOW // 2, _WINDOW // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: len(wave) + hop // 2 + 1 : hop]
    return np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1).T) ** 2


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 10 ** (-_RANGE / 10)))


def _drawn(panels: dict[str, np.ndarray], step: float, seconds: float) -> bytes:
    """The picture's PNG, by matplotlib's objects alone: pyplot would keep figures and ask for a display."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.0 + 1.7 * len(panels)), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    colours = colormaps["magma"].resampled(_RANGE)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, decibels) in zip(axes, panels.items(), strict=True):
        edges = (-step / 2, (decibels.shape[1] - 0.5) * step, 0, SAMPLE_RATE / 2000)
        picture = axis.imshow(decibels, colours, origin="lower", aspect="auto", extent=edges, vmin=-_RANGE, vmax=0)
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_yticks(range(0, SAMPLE_RATE // 2000 + 1, 2))
    axes[-1].set_xlim(0, seconds or step)
    axes[-1].set_xlabel("time (s)")
    figure.supylabel("frequency (kHz)", fontsize=10)
    figure.colorbar(
        picture, ax=list(axes), label="level (dB, 0 is the loudest point)", aspect=12 * len(panels), pad=0.01
    )
    canvas.draw()
    return _as_png(np.asarray(canvas.buffer_rgba())[..., :3], colours(np.arange(_RANGE), bytes=True)[:, :3])


def _as_png(pixels: np.ndarray, colours: np.ndarray) -> bytes:
    """With a palette of these colours, and of greys for what is written: half the size of a picture without."""
    from PIL import Image  # comes with matplotlib

    greys = np.linspace(0, 255, 256 - len(colours)).round().astype(np.uint8)
    palette = np.concatenate([colours, np.stack([greys] * 3, axis=1)])
    codes, positions = np.unique(pixels @ np.array([65536, 256, 1]), return_inverse=True)
    there = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    nearest = np.abs(there[:, None] - palette).sum(axis=2).argmin(axis=1).astype(np.uint8)
    image = Image.fromarray(nearest[positions].reshape(pixels.shape[:2]))
    image.putpalette(palette.tobytes())
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return content.getvalue()
