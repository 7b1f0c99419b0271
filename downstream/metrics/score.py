"""A figure with everything needed to read it: unit, direction, how many things it was measured on, how sure it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    metric: str
    value: float
    unit: str
    direction: str  # "higher" or "lower" is better
    n: int
    ci95: tuple[float, float]
    resampled: str  # what the bootstrap drew: speakers, utterances or trials

    def as_dict(self) -> dict:
        return {
            "value": self.value,
            "unit": self.unit,
            "direction": self.direction,
            "n": self.n,
            "ci95": list(self.ci95),
            "resampled": self.resampled,
        }
