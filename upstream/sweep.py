"""One utterance after the other, of many lengths: are the layers always the same, do the frames follow the samples."""

from upstream.audio import SAMPLE_RATE
from upstream.contract import breach, clause_of, hop_bounds, made_up, offsets
from upstream.errors import ContractError
from upstream.finding import NOTE, OK, Finding, Refused, hear, who
from upstream.loaded import LoadedUpstream

SHORTEST, LONGEST = 400, 200_000  # samples
_OF_LENGTHS = ("lengths", "hop")  # clauses


class Sweep:
    def __init__(self, loaded: LoadedUpstream) -> None:
        self._loaded = loaded
        self.frames: dict[int, int] = {}
        self.refused: dict[int, str] = {}
        self._errors: list[ContractError] = []
        for samples in sweep_lengths(loaded.hop, loaded.min_samples):
            try:
                self.frames[samples] = int(hear(loaded, made_up(samples)).lengths)
            except Refused as refusal:
                self.refused[samples] = str(refusal)
            except ContractError as error:
                self._errors.append(error)

    @property
    def shortest(self) -> int:
        """The shortest waveform that was taken."""
        return min(self.frames, default=SAMPLE_RATE)

    def layers(self) -> Finding:
        """Everything that one call can break, lengths aside."""
        for error in self._errors:
            if clause_of(error) not in _OF_LENGTHS:
                raise error
        shape = f"{self._loaded.num_layers} x {self._loaded.dim}"
        return Finding("layers", OK, f"{shape} at {self._lengths_taken()}")

    def lengths(self) -> Finding:
        for error in self._errors:
            if clause_of(error) in _OF_LENGTHS:
                raise error
        refused = max(self.refused, default=0)
        if refused > self.shortest or not self.frames:
            text = f"{refused:,} samples are refused: {self.refused.get(refused)}"
            raise self._breach(text, "Take every length up to 200,000 samples from the shortest that makes a frame")
        low, high = hop_bounds(self.frames)
        if low >= high:
            raise self._breach(self._irregular(), "Return the exact number of frames")
        hop, figures = self._loaded.hop, {"frames": self.frames, "refused": sorted(self.refused)}
        if not low < hop < high:
            text = f"a frame every {low:.2f} to {high:.2f} samples, where the hop is {hop}: over hours they drift apart"
            return Finding("lengths", NOTE, text, figures=figures)
        text = f"{_formula(offsets(self.frames, hop), hop)} frames at {self._lengths_taken()}"
        if self.refused:
            text += f"; {refused:,} samples are refused"
        return Finding("lengths", OK, text, figures=figures)

    def _lengths_taken(self) -> str:
        return f"{len(self.frames)} lengths from {self.shortest:,} to {max(self.frames, default=0):,} samples"

    def _irregular(self) -> str:
        """The shortest length that does not go with the others."""
        hop = self._loaded.hop
        possible = {frames * hop - samples for samples, frames in self.frames.items()}
        by_offset = {
            offset: [samples for samples, frames in self.frames.items() if (samples + offset) // hop != frames]
            for offset in sorted(possible)
        }
        offset = min(by_offset, key=lambda offset: len(by_offset[offset]))
        odd, total = by_offset[offset], len(self.frames)
        samples = odd[0]
        return (
            f"{samples:,} samples gave {self.frames[samples]} frames and not {(samples + offset) // hop}, though "
            f"{_formula(range(offset, offset + 1), hop)} holds at {total - len(odd)} of {total} lengths"
        )

    def _breach(self, found: str, todo: str) -> ContractError:
        return breach(who(self._loaded), "lengths", found, todo)


def sweep_lengths(hop: int, min_samples: int | None) -> list[int]:
    """Some at and beside multiples of the hop, some at and beside a window and some hops more, some anywhere."""
    least = max(SHORTEST, min_samples or 0)
    multiples = [round(samples / hop) * hop for samples in (2_000, 6_000, 20_000, 60_000)]
    beside = [samples + step for samples in (*multiples, least + hop, least + 40 * hop) for step in (-1, 0, 1)]
    anywhere = [least, least + 1, 1_000, 3_333, 12_345, 33_333, 100_001, LONGEST - 1, LONGEST]
    return sorted({samples for samples in (*beside, *anywhere) if least <= samples <= LONGEST})


def _formula(possible: range, hop: int) -> str:
    low, high = possible[0], possible[-1]
    offset = f"{'-' if low < 0 else '+'} {abs(low)}" if low == high else f"+ {low} to {high}"
    return f"floor((samples {offset}) / {hop})"
