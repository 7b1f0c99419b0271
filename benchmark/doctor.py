"""What this machine has, what works on it and what does not, and why."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark import __version__
from benchmark.environment import package_version, processor
from benchmark.options import default_cache


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed` is False where only some commands want it."""

    name: str
    well: bool
    text: str
    needed: bool = True

    def line(self) -> str:
        mark = "ok  " if self.well else "FAIL" if self.needed else "-   "
        return f"{mark}  {self.name:<14} {self.text}"


def examine(cache: Path | None, results: Path) -> list[Finding]:
    """Look at everything; nothing that is wrong stops the rest."""
    looks: list[tuple[str, bool, Callable[[], str]]] = [
        ("sslbench", True, lambda: f"{__version__} on Python {platform.python_version()}"),
        ("machine", True, _machine),
        ("torch", True, _torch),
        ("audio", True, _audio),
        ("resampling", True, _resampling),
        ("cache", True, lambda: _writable(cache or default_cache())),
        ("results", True, lambda: _writable(results)),
        ("cuda", False, _cuda),
        ("espeak-ng", False, _espeak),
        ("flashlight", False, _flashlight),
        ("quality", False, _quality),
        ("numba", False, _numba),
        ("pictures", False, _pictures),
    ]
    findings = [_look(*look) for look in looks]
    for package, names in (("torchaudio", "torchaudio:"), ("s3prl", "s3prl:"), ("transformers", "hf:")):
        version = package_version(package)
        absent = f"not installed; models named {names}... need it: pip install 'sslbench[{package}]'"
        findings.append(Finding(package, version is not None, version or absent, False))
    return findings


def _look(name: str, needed: bool, work: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, work(), needed)
    except Exception as error:  # whatever it is, it is the finding
        return Finding(name, False, f"{type(error).__name__}: {error}", needed)


def _machine() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{processor()}, {pages / 2**30:.0f} GiB of memory"


def _torch() -> str:
    import torch

    from downstream.fit.grid import MeanLinearGrid

    grid = MeanLinearGrid(2, 8, (3,), 4, [0.1], 1.0, 0, torch.device("cpu"))
    loss = grid.step(torch.ones(2, 2, 8), torch.zeros(2, 1, dtype=torch.int64), torch.full((2,), 0.5))
    if not loss.isfinite().all():
        raise ArithmeticError("a training step gave a loss that is not finite")
    return f"{torch.__version__}, {torch.get_num_threads()} threads, a training step works"


def _audio() -> str:
    import soundfile

    from upstream.audio import SAMPLE_RATE, read_audio

    with tempfile.TemporaryDirectory() as folder:
        for kind in ("wav", "flac"):
            path = Path(folder, f"test.{kind}")
            soundfile.write(path, np.linspace(-0.5, 0.5, SAMPLE_RATE), SAMPLE_RATE)
            read_audio(path)
    return f"soundfile {soundfile.__version__} reads WAV and FLAC"


def _resampling() -> str:
    import soxr

    soxr.resample(np.zeros(800, dtype=np.float32), 8000, 16000)
    return f"soxr {soxr.__version__}"


def _writable(folder: Path) -> str:
    place = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    with tempfile.TemporaryFile(dir=place):
        pass
    return f"{folder} can be written, {shutil.disk_usage(place).free / 1e9:.0f} GB free"


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("no CUDA device; everything runs on the CPU")
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _espeak() -> str:
    version = package_version("espeakng-loader")
    if version is None:
        raise RuntimeError("not installed; --mini and `data mini` need it: pip install 'sslbench[mini]'")
    return f"espeakng-loader {version}, for small corpora"


def _flashlight() -> str:
    from downstream.decoding.beam import require_flashlight

    require_flashlight()
    return f"flashlight-text {package_version('flashlight-text')}, for ASR with a language model"


def _quality() -> str:
    from downstream.metrics.quality import MEASURES, require

    require(MEASURES)
    return f"pesq {package_version('pesq')} and pystoi {package_version('pystoi')}, for speech enhancement"


def _numba() -> str:
    from downstream.search.compiling import require_numba

    require_numba()
    return f"{package_version('numba')}, for query by example"


def _pictures() -> str:
    from benchmark.pictures import HOW_TO_GET

    version = package_version("matplotlib")
    if version is None:
        raise RuntimeError(HOW_TO_GET)
    return f"matplotlib {version}"
