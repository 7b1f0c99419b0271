"""How far a training is, on disk and back."""

import json
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as packed
from tqdm import tqdm

from downstream.files import atomic
from downstream.fit.learners import Learners


@dataclass
class Progress:
    """How far a training is: what a checkpoint holds besides the parameters."""

    step: int = 0
    loss_sum: list[float] = field(default_factory=list)
    loss_steps: int = 0
    best_dev: list[float | None] = field(default_factory=list)
    best_step: list[int | None] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)
    too_short: list[int] = field(default_factory=list)  # rows whose frames cannot hold their targets


def save(path: Path, learners: Learners, progress: Progress) -> None:
    with atomic(path) as temporary:
        state = learners.state()
        told = json.dumps({"checksum": _checksum(state), **vars(progress)})
        temporary.write_bytes(packed(state, metadata={"progress": told}))


def load(path: Path, learners: Learners) -> Progress | None:
    """Continue from a checkpoint; one that cannot be read is as good as none, since it is only ever replaced whole."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            told = json.loads(file.metadata()["progress"])
            if told.pop("checksum") != _checksum(state):
                raise ValueError("its numbers are damaged")
            progress = Progress(**told)
        learners.restore(state)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        path.unlink()
        tqdm.write(f"{path}: cannot be continued from ({error}); this training starts again", sys.stderr)
        return None
    return progress


def _checksum(state: dict[str, torch.Tensor]) -> int:
    checksum = 0
    for name in sorted(state):
        checksum = zlib.crc32(state[name].cpu().numpy().tobytes(), checksum)
    return checksum
