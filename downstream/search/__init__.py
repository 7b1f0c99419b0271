"""Looking for spoken queries in spoken documents, without training. Importing this imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from downstream.objectives import Judgement
from downstream.types import Example

if TYPE_CHECKING:
    from downstream.represent.features import Features


@dataclass
class Found:
    """What a search comes to: how it is judged, the figures of every layer, the layer that was taken and why."""

    judgement: Judgement
    selection: list[dict]
    selected: dict
    layer: int
    notes: list[str]


class Search(Protocol):
    """What is looked for, in what, and how good that is: all that a run needs to know of a task without training."""

    form: str  # of the features: `means` or `frames`
    passes: int  # over the audio, where nothing of it is kept
    parts: dict[str, list[Example]]

    def digest(self) -> str:
        """Changes with everything beside the corpus and the protocol that changes what is found or scored."""

    def pairs(self) -> int:
        """How many comparisons there are on each layer."""

    def run(
        self,
        features: "Features",
        rows: dict[str, np.ndarray],
        folder: Path,
        seed: int,
        progress: bool,
    ) -> Found:
        """The whole search; `rows` are those of the parts, `folder` is where it leaves what it goes on from."""
