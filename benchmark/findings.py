"""What the work on a cell comes to, whether something was learned or looked for, before it is put into a row."""

from dataclasses import dataclass, field

import numpy as np

from downstream.types import Example


@dataclass
class Findings:
    """`scored` are those of the cell's examples in its figures; `cost` is what was computed after they were heard.

    `lines` are the predictions, `files` lie beside the row, `waves` are examples to listen to.
    """

    metrics: dict[str, dict]
    selection: list[dict]
    selected: dict
    layer_weights: list[float]
    scored: list[Example]
    cost: dict[str, int]
    scoring: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lines: list[dict] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    waves: list[dict[str, np.ndarray]] = field(default_factory=list)
