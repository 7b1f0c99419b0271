"""Work shared out among threads of Python, each of which computes alone."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from upstream.devices import threads

Part = TypeVar("Part")
Result = TypeVar("Result")


def workers(device: torch.device) -> int:
    """How many parts of a work can be done at once: on the CPU as many as torch has threads."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part], device: torch.device) -> list[Result]:
    """The results of all parts in their order.

    Threads that share the small steps of one part would wait for each other at every one, and for whoever else wants a
    core.
    """
    count = min(len(parts), workers(device))
    if count < 2:
        return [work(part) for part in parts]
    with threads(1), ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(work, parts))
