"""Speech models by name: waveforms in, hidden states out. Importing this package does not import torch."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upstream.loaded import LoadedUpstream

__all__ = ["load"]


def load(name: str, weights: str | Path | None = None, device: str = "auto", dtype: str = "auto") -> "LoadedUpstream":
    """The upstream of that name (or of that Python file), ready to be called with a list of 1-D 16 kHz waveforms."""
    from upstream.loaded import load_upstream

    return load_upstream(name, weights, device, dtype)
