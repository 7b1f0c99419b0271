"""An example of what a row is about, for ears and eyes: audio files and a picture of their spectrograms."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmark.pictures import HOW_TO_GET, audio_bytes, spectrogram_picture
from downstream import files


def show(folder: Path, waves: dict[str, np.ndarray], say: Callable[[str], None]) -> None:
    """Write every wave as a file called like its title, and one picture of all."""
    for title, wave in waves.items():
        content, gain = audio_bytes(wave)
        path = folder / f"{title.replace(' ', '-')}.wav"
        files.write_bytes(path, content)
        if gain < 1:
            say(f"{path}: louder than full scale, written at {gain:.2f} of its level")
    if not spectrogram_picture(folder / "spectrograms.png", waves):
        say(f"no picture of {folder}: {HOW_TO_GET}")
