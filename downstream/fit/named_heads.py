"""The heads of the speaker tasks by the names that a protocol calls them.

Another head (ECAPA-TDNN, a Conformer separator) takes the place of one here by an entry of its own: what it is made
from is the width of the frames, how many things it tells apart, and the numbers of the protocol. What it gives must be
what the loss of its task takes: see `am_softmax_losses`, `activity_losses` and `mask_losses`.

Importing this imports no torch: names are looked up before anything is heard.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from downstream.protocols import TaskProtocol
from upstream.errors import unknown

if TYPE_CHECKING:
    from downstream.fit.head import Head


def _xvector(dim: int, speakers: int, numbers: TaskProtocol) -> "Head":
    from downstream.fit.xvector import XVector

    numbers.need("projector")
    return XVector(dim, speakers, numbers.projector)


def _lstm(dim: int, speakers: int, numbers: TaskProtocol) -> "Head":
    from downstream.fit.diarization_head import FrameLSTM

    numbers.need("hidden", "layers", "chunk_frames")
    return FrameLSTM(dim, numbers.hidden, numbers.layers, speakers, numbers.chunk_frames)


def _mask_lstm(dim: int, sources: int, numbers: TaskProtocol) -> "Head":
    from downstream.fit.mask_head import MaskLSTM

    numbers.need("hidden", "layers", "dropout")
    return MaskLSTM(dim, numbers.hidden, numbers.layers, numbers.dropout, sources)


HEADS: "dict[str, dict[str, Callable[[int, int, TaskProtocol], Head]]]" = {
    "asv": {"xvector": _xvector},
    "sd": {"lstm": _lstm},
    "ss": {"mask_lstm": _mask_lstm},
    "se": {"mask_lstm": _mask_lstm},
}


def check(task: str, numbers: TaskProtocol) -> None:
    """Refuse a name that no head has."""
    numbers.need("head")
    if numbers.head not in HEADS[task]:
        raise unknown(f"head of task '{task}'", numbers.head, HEADS[task])


def maker(task: str, dim: int, outputs: int, numbers: TaskProtocol) -> "Callable[[], Head]":
    """Makes the head that a task's protocol names."""
    check(task, numbers)
    return lambda: HEADS[task][numbers.head](dim, outputs, numbers)
