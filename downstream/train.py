"""The one training loop, and the one way to look at a split: for every task, every grid, kept features or live ones."""

import json
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm import tqdm

from downstream.features import Features
from downstream.files import atomic
from downstream.grid import MeanLinearGrid
from downstream.metrics.accuracy import accuracy
from downstream.protocols import TaskProtocol
from downstream.sampling import Sampler
from downstream.tasks import Fold
from upstream.devices import threads
from upstream.errors import DataError

_EVAL_ROWS = 256
_ONE_THREAD_BELOW = 1_000_000  # parameters, of all points together
_SAVE_SECONDS = 5.0  # between checkpoints, which are taken after a look at dev
_LONGEST_UNSAVED = 60.0  # unless looks are rarer than this, as they are with live features


@dataclass
class Split:
    """A pool of examples as a fold needs it: rows of the feature set, class numbers, and counts in a score."""

    rows: np.ndarray
    targets: torch.Tensor  # (examples, slots)
    counts: np.ndarray


@dataclass
class Progress:
    """How far a training is: what a checkpoint holds besides the parameters."""

    step: int = 0
    loss_sum: list[float] = field(default_factory=list)
    loss_steps: int = 0
    best_dev: list[float | None] = field(default_factory=list)
    best_step: list[int | None] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM reached a training, which has saved where it was."""


def encode(examples_targets: list[tuple[str, ...]], classes: tuple[tuple[str, ...], ...], where: str) -> torch.Tensor:
    """Class names to class numbers, (examples, slots)."""
    numbers = [{name: i for i, name in enumerate(slot)} for slot in classes]
    try:
        return torch.tensor([[n[t] for n, t in zip(numbers, target, strict=True)] for target in examples_targets])
    except KeyError as error:
        raise DataError(f"{where}: label {error} is not among the labels of the training split") from error


def predict(grid: MeanLinearGrid, features: Features, rows: np.ndarray, best: bool = False) -> np.ndarray:
    """(points, rows, slots) predicted class numbers."""
    parts = [
        grid.predict(features.batch(rows[first : first + _EVAL_ROWS]).to(grid.device), best).cpu()
        for first in range(0, len(rows), _EVAL_ROWS)
    ]
    return torch.cat(parts, dim=1).numpy()


def fit(
    fold: Fold,
    grid: MeanLinearGrid,
    features: Features,
    train: Split,
    dev: Split,
    protocol: TaskProtocol,
    crop_samples: int | None,
    seed: int,
    checkpoint: Path,
    progress_bar: bool,
    on_look: Callable[[list[dict]], None] = lambda history: None,
) -> Progress:
    """Train every point of a grid on a fold, from its checkpoint if there is one, and keep each point's best.

    `on_look` is told the history so far after each look at dev.
    """
    sampler = Sampler(
        fold.train,
        train.rows,
        features.samples,
        protocol.batch,
        protocol.accumulate,
        protocol.drop_last,
        crop_samples,
        seed,
    )
    position = np.full(int(train.rows.max()) + 1, -1)  # from a row of the feature set back to the split
    position[train.rows] = np.arange(len(train.rows))
    points = len(grid.rates)
    progress = _load(checkpoint, grid) or Progress(
        loss_sum=[0.0] * points, best_dev=[None] * points, best_step=[None] * points
    )
    losses = torch.tensor(progress.loss_sum, dtype=torch.float64, device=grid.device)
    saved = time.monotonic()

    def save() -> None:
        progress.loss_sum = losses.tolist()
        _save(checkpoint, grid, progress)

    bar = tqdm(
        total=protocol.steps,
        initial=progress.step,
        desc=f"train {fold.name}",
        unit="step",
        leave=False,
        disable=not progress_bar or progress.step >= protocol.steps,
    )
    with bar, threads(fitting_threads(grid)), _asked_to_stop() as stop:
        while progress.step < protocol.steps:
            draw = sampler(progress.step)
            means = features.batch(draw.rows, draw.starts if crop_samples else None).to(grid.device)
            targets = train.targets[position[draw.rows]].to(grid.device)
            losses += grid.step(means, targets, torch.from_numpy(draw.weights).to(grid.device)).double()
            progress.step += 1
            progress.loss_steps += 1
            bar.update()
            last = progress.step == protocol.steps
            look = last or progress.step % protocol.eval_every == 0
            if look:
                _look(grid, features, dev, progress, losses)
                losses.zero_()
                progress.loss_steps = 0
                bar.set_postfix_str(_best_so_far(grid, progress))
            if last or stop.is_set() or time.monotonic() - saved > (_SAVE_SECONDS if look else _LONGEST_UNSAVED):
                save()
                saved = time.monotonic()
            if look:
                on_look(progress.history)
            if stop.is_set():
                raise Interrupted
    return progress


def _look(grid: MeanLinearGrid, features: Features, dev: Split, progress: Progress, losses: torch.Tensor) -> None:
    """Score every point on dev; keep those that are strictly better than they ever were."""
    counted = dev.counts > 0
    predicted = predict(grid, features, dev.rows[counted])
    target = dev.targets.numpy()[counted]
    scores = [accuracy(point, target, dev.counts[counted]) for point in predicted]
    for point, value in enumerate(scores):
        best = progress.best_dev[point]
        if best is None or value > best:
            progress.best_dev[point], progress.best_step[point] = value, progress.step
            grid.keep(point)
    mean_loss = (losses / progress.loss_steps).tolist()
    progress.history.append(
        {
            "step": progress.step,
            "lr": grid.rates,
            "train_loss": [loss if np.isfinite(loss) else None for loss in mean_loss],
            "dev": scores,
        }
    )


def _best_so_far(grid: MeanLinearGrid, progress: Progress) -> str:
    best = max(range(len(grid.rates)), key=lambda point: progress.best_dev[point])
    return f"best dev {progress.best_dev[best]:.2f} at lr {grid.rates[best]:g}"


def _save(path: Path, grid: MeanLinearGrid, progress: Progress) -> None:
    with atomic(path) as temporary:
        state = grid.state()
        told = json.dumps({"checksum": _checksum(state), **vars(progress)})
        temporary.write_bytes(save(state, metadata={"progress": told}))


def _checksum(state: dict[str, torch.Tensor]) -> int:
    checksum = 0
    for name in sorted(state):
        checksum = zlib.crc32(state[name].cpu().numpy().tobytes(), checksum)
    return checksum


def _load(path: Path, grid: MeanLinearGrid) -> Progress | None:
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
        grid.restore(state)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        path.unlink()
        tqdm.write(f"{path}: cannot be continued from ({error}); this training starts again")
        return None
    return progress


def fitting_threads(grid: MeanLinearGrid) -> int:
    """How many threads a grid is trained with: a step of a small one is over before a second could help."""
    return 1 if grid.device.type == "cpu" and grid.size < _ONE_THREAD_BELOW else torch.get_num_threads()


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step in progress ends well. A second Ctrl-C does not wait."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {}

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
