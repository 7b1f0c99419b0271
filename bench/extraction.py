"""Pooled features of an hour of 15 s files: peak memory, speed, and how long the model has nothing to hear.

    python bench/extraction.py [UPSTREAM]

UPSTREAM is `random:wavlm_base` unless another is named. Besides the hour of 16 kHz files: ten minutes of 44.1 kHz
stereo, which have to be decoded and resampled, and half an hour in one file, which is heard in pieces. Each has a
process of its own. Its peak holds the interpreter, torch and the model; what these came to is printed too. For Linux.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from common import report

import upstream
from downstream.represent.extraction import stored
from downstream.represent.features import Request
from downstream.types import Example, Manifest
from upstream.loaded import LoadedUpstream
from upstream.types import HiddenStates

# files, seconds of each, rate, channels, suffix
CASES = {
    "an hour of 15 s": (240, 15, 16000, 1, "wav"),
    "ten minutes of 15 s, 44.1 kHz stereo": (40, 15, 44100, 2, "flac"),
    "half an hour in one file": (1, 1800, 16000, 1, "wav"),
}


def make_files(folder: Path, count: int, seconds: int, rate: int, channels: int, suffix: str) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        wave = random.standard_normal((seconds * rate, channels), dtype=np.float32) * 0.05
        soundfile.write(folder / f"{number:03d}.{suffix}", wave, rate, subtype="PCM_16")


class Timed:
    """A loaded upstream that notes how long each of its calls took."""

    def __init__(self, inner: LoadedUpstream) -> None:
        self._inner, self.seconds = inner, []

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def __call__(self, wavs: list[torch.Tensor]) -> HiddenStates:
        start = time.perf_counter()
        states = self._inner(wavs)
        self.seconds.append(time.perf_counter() - start)
        return states


def peak() -> float:
    """Megabytes. What `resource` says starts at the peak of the parent process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(name: str, folder: Path) -> dict[str, float]:
    model = Timed(upstream.load(name))
    side_by_side = torch.get_num_threads() if model.concurrent else 1
    examples = [Example(path.stem, path.name, ("any",)) for path in sorted(folder.iterdir())]
    manifest = Manifest("noise", folder, {"train": examples}, {"train": len(examples)})
    request = Request(model, manifest, examples, np.zeros(len(examples), dtype=bool))
    loaded = peak()
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        features = stored(request, Path(cache), progress=False)
        seconds = time.perf_counter() - start
    return {
        "peak MB": peak(),
        "peak MB before the first file": loaded,
        "seconds": seconds,
        "audio seconds per second": float(features.samples.sum() / 16000 / seconds),
        "utterances side by side": side_by_side,
        "time the model had nothing to hear (%)": 100 * (1 - sum(model.seconds) / (side_by_side * seconds)),
    }


def main() -> None:
    if len(sys.argv) == 3:  # the measuring process: a fresh one, so that its peak is its own
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
        return
    name = sys.argv[1] if len(sys.argv) == 2 else "random:wavlm_base"
    for case, shape in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            make_files(Path(folder), *shape)
            command = [sys.executable, __file__, name, folder]
            result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        report(f"Extraction of pooled features, {name}, {case}", json.loads(result.splitlines()[-1]))


if __name__ == "__main__":
    main()
