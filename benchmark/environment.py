"""What a row was computed with, as far as it can change a figure."""

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmark import __version__

PACKAGES = ("torch", "numpy", "soundfile", "soxr", "safetensors", "rapidfuzz", "flashlight-text", "numba")


def environment(device: torch.device) -> dict:
    """Versions, processor, device and threads."""
    return {
        "sslbench": __version__,
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file of ours
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or 'unknown'} ({os.cpu_count()} cores)"
