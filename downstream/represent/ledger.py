"""The ledger of a command: how often each utterance passed each upstream, and how often its audio was opened."""

import base64
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from downstream.represent.request import Request

_ENTRY = np.dtype([("identity", "<u8"), ("passes", "<u4"), ("seconds", "<f4")])
_PENDING = 1 << 16  # entries that are kept as they came before they are counted


@dataclass
class _Passes:
    """How often each utterance passed."""

    counted: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=_ENTRY))
    pending: list[np.ndarray] = field(default_factory=list)
    waiting: int = 0

    def add(self, entries: np.ndarray) -> None:
        self.pending.append(entries)
        self.waiting += len(entries)
        if self.waiting > max(_PENDING, len(self.counted)):
            self.entries()

    def entries(self) -> np.ndarray:
        """One entry for each utterance."""
        if self.pending:
            everything = np.concatenate([self.counted, *self.pending])
            _, first, place = np.unique(everything["identity"], return_index=True, return_inverse=True)
            self.counted = everything[first]
            self.counted["passes"] = np.bincount(place, everything["passes"], len(first))
            self.pending, self.waiting = [], 0
        return self.counted


class Ledger:
    """Counts by upstream and hearing: a corpus and how its audio is prepared. The name of no upstream is empty: it
    stands for the opening of the audio."""

    def __init__(self) -> None:
        self._passes: dict[tuple[str, str], _Passes] = {}

    def heard(self, upstream_name: str, request: Request, rows: np.ndarray) -> None:
        """Some rows of a request have passed an upstream."""
        self._add(_in_words(request), upstream_name, _entries(request, rows))

    def decoded(self, request: Request, rows: np.ndarray) -> None:
        """The audio of some rows of a request was read."""
        self._add(_in_words(request), "", _entries(request, rows))

    def as_dict(self) -> dict:
        """For JSON: by hearing and upstream, the entries as text."""
        told: dict[str, dict[str, str]] = {}
        for (hearing, name), passes in self._passes.items():
            content = zlib.compress(passes.entries().tobytes(), 1)
            told.setdefault(hearing, {})[name] = base64.b85encode(content).decode()
        return told

    def merge(self, told: dict) -> None:
        """Add what another ledger's `as_dict` says."""
        for hearing, upstreams in told.items():
            for name, text in upstreams.items():
                entries = np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype=_ENTRY)
                self._add(hearing, name, entries)

    def lines(self) -> list[str]:
        """A table: for each hearing how often its audio was opened, and how often each upstream heard it."""
        table = [["audio", "upstream", "utterances", "hours", "passes of each"]]
        for hearing in dict.fromkeys(hearing for hearing, _ in self._passes):
            names = [name for other, name in self._passes if other == hearing]
            listeners = [name for name in names if name]
            for name in sorted(names, key=lambda name: (name == "", names.index(name))):
                entries = self._passes[hearing, name].entries()
                hours = float((entries["seconds"] * entries["passes"]).sum(dtype=np.float64)) / 3600
                passes = _passes_in_words(entries["passes"])
                if not name and len(listeners) > 1:
                    passes += f", for {len(listeners)} upstreams"
                table.append([hearing, name or "(files read)", f"{len(entries):,}", f"{hours:.2f}", passes])
        return _aligned(table) if len(table) > 1 else []

    def _add(self, hearing: str, name: str, entries: np.ndarray) -> None:
        if len(entries):
            self._passes.setdefault((hearing, name), _Passes()).add(entries)


def _entries(request: Request, rows: np.ndarray) -> np.ndarray:
    entries = np.empty(len(rows), dtype=_ENTRY)
    entries["identity"], entries["passes"] = request.identities[rows], 1
    entries["seconds"] = request.seconds[rows]
    return entries


def _in_words(request: Request) -> str:
    parts = [request.form]
    if request.gain_db:
        parts.append(f"{request.gain_db:+g} dB")
    if request.trim:
        parts.append("silence taken out")
    if request.least_samples:
        parts.append(f"over {request.least_samples} samples")
    if request.crop_seconds is not None:
        parts.append(f"for crops of {request.crop_seconds:g} s")
    return f"{request.manifest.corpus}: {', '.join(parts)}"


def _passes_in_words(passes: np.ndarray) -> str:
    least, most = int(passes.min()), int(passes.max())
    if most == 1:
        return "once"
    if least == most:
        return f"{most} times"
    return f"{least} to {most} times, {passes.mean():.1f} on average"


def _aligned(table: Iterable[list[str]]) -> list[str]:
    table = list(table)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in (2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
