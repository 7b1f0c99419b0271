"""What is predicted of the cells of an upstream and a hearing."""

import math
from dataclasses import dataclass, field

from benchmark.cells import Cell
from benchmark.hearings import Hearing
from upstream.loaded import LoadedUpstream

CellName = tuple[str, int]  # its task and its seed


@dataclass
class Way:
    """One way to come by the features of the cells that are to be computed, and what it takes."""

    bytes: int = 0  # to write
    audio_seconds: float = 0.0  # that pass the upstream, each time counted
    hops: dict[str, float] = field(default_factory=dict)  # seconds of hearing what is kept, for the mean worker
    parts: list[float] = field(default_factory=list)  # seconds of audio that each worker hears of that
    cells: dict[CellName, dict[str, float]] = field(default_factory=dict)  # the rest, by hop
    live: dict[CellName, float] = field(default_factory=dict)  # of that, seconds of hearing

    def hearing(self, name: CellName) -> float:
        """Seconds of hearing that a cell is charged with: its share of what is kept, or what it needs live."""
        kept = len(self.cells) - len(self.live)
        return self.live[name] if name in self.live else sum(self.hops.values()) / kept

    def learning(self, name: CellName) -> dict[str, float]:
        """Seconds of a cell's own work by hop, without hearing."""
        hops = dict(self.cells[name])
        hops[next(iter(hops))] -= self.live.get(name, 0.0)
        return hops

    def written(self, name: CellName) -> int:
        """A cell's share of what is written."""
        return 0 if name in self.live else round(self.bytes / (len(self.cells) - len(self.live)))

    @property
    def seconds(self) -> float:
        return sum(self.hops.values()) + sum(sum(hops.values()) for hops in self.cells.values())


@dataclass
class Prediction:
    """The cells of an upstream and a hearing: what each is, what the rest of them will take, and why in those modes.

    Seconds that could not be measured are no numbers in `way`; `hearing_seconds` and `cell_seconds` have 0 for them.
    """

    hearing: Hearing
    upstream: LoadedUpstream
    cells: dict[CellName, Cell]
    states: dict[CellName, str]
    why: str
    way: Way
    other: tuple[str, Way] | None  # the mode that was not taken
    audio_seconds: float  # of the hearing, once
    head_bytes: dict[CellName, int]
    cost_seconds: float  # until the cost of the upstream is known
    troubles: dict[str, str]  # why something could not be predicted, by what

    @property
    def modes(self) -> dict[CellName, str]:
        return {name: cell.mode for name, cell in self.cells.items()}

    @property
    def bytes(self) -> int:
        return self.way.bytes

    @property
    def hearing_seconds(self) -> float:
        return _known(sum(self.way.hops.values()))

    @property
    def cell_seconds(self) -> dict[CellName, float]:
        return {name: _known(sum(self.way.cells.get(name, {}).values())) for name in self.cells}


def _known(seconds: float) -> float:
    return 0.0 if math.isnan(seconds) else seconds
