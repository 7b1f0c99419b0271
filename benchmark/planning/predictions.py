"""What the cells of an upstream and a hearing will take, kept or live, and which of the two it is to be."""

import math
from collections.abc import Collection
from functools import cached_property, partial

import numpy as np
import torch

from benchmark.cells import Cell, SearchReading
from benchmark.hearings import Hearing
from benchmark.options import AUTO, LIVE, POOLED, Options
from benchmark.planning.actuals import compared
from benchmark.planning.courses import courses, live_seconds
from benchmark.planning.durations import duration
from benchmark.planning.modes import cell_in, kept_mode, settled_cell, state_of
from benchmark.planning.rates import Rates
from benchmark.planning.rehearsals import hearing as rehearse_hearing
from benchmark.planning.rehearsals import reading as rehearse_reading
from benchmark.planning.training_times import Heads, Times
from benchmark.planning.ways import CellName, Prediction, Way
from benchmark.rows import DONE
from downstream.processes import free_memory, one_of, share
from downstream.protocols import Protocol
from downstream.represent.extraction import folder_of, missing, parts
from downstream.represent.features import Request
from downstream.represent.kept import Room
from downstream.represent.sizes import shown_size
from downstream.types import Example
from upstream.devices import threads
from upstream.errors import BenchmarkError
from upstream.loaded import LoadedUpstream

__all__ = ["CellName", "Prediction", "compared", "predict", "upstream_bytes"]

_COST_SECONDS = 50.0  # of audio that an upstream hears so that its cost is known
_CLEARLY = 1.5  # times as cheap must hearing anew be, so that frames are not kept
_MODEL_BYTES = 4 * 1.3  # of each parameter, with what a model holds besides


def predict(
    hearing: Hearing, upstream: LoadedUpstream, protocol: Protocol, options: Options, room: Room, rates: Rates
) -> Prediction:
    """Settle the mode of each of the cells, and measure what has to be known for that.

    With workers that is what one of them would measure; they hear together.
    """
    own = share(options.workers) if options.workers > 1 else torch.get_num_threads()  # of the cores that we have here
    with one_of(options.workers), threads(own):
        return _Predicting(hearing, upstream, protocol, options, room, rates).prediction()


def upstream_bytes(upstream: LoadedUpstream) -> int:
    """About how much memory a loaded upstream takes."""
    return int(_MODEL_BYTES * (upstream.cost().parameters or 0))


class _Predicting:
    """An upstream and a hearing, looked at."""

    def __init__(
        self,
        hearing: Hearing,
        upstream: LoadedUpstream,
        protocol: Protocol,
        options: Options,
        room: Room,
        rates: Rates,
    ) -> None:
        self._hearing, self._upstream, self._rates, self._room = hearing, upstream, rates, room
        self._options, self._protocol = options, protocol
        self._named = {reading.task.name: reading for reading in hearing.readings}
        self._troubles = frozenset(rates.troubles)  # of others
        self._memory = options.memory_limit or free_memory()
        self._times: dict[tuple[CellName, bool], Times] = {}

    def prediction(self) -> Prediction:
        names = [(task, seed) for task in self._named for seed in self._options.seed]
        settled = {name: self._settled(name) for name in names}
        todo = {name: cell for name, cell in settled.items() if cell is None or state_of(cell) != DONE}
        mode, why, way, other = self._chosen(todo)
        cells = {name: cell or self._cell(name, mode) for name, cell in settled.items()}
        return Prediction(
            hearing=self._hearing,
            upstream=self._upstream,
            cells=cells,
            states={name: state_of(cell) for name, cell in cells.items()},
            why=why,
            way=way,
            other=other,
            audio_seconds=self._whole if todo else 0.0,
            head_bytes={name: times.head_bytes for (name, _), times in self._times.items()},
            cost_seconds=0.0 if not todo or self._upstream.remembered().cost else _COST_SECONDS * self._pace,
            troubles={what: why for what, why in self._rates.troubles.items() if what not in self._troubles},
        )

    def _settled(self, name: CellName) -> Cell | None:
        task, seed = name
        return settled_cell(self._named[task], self._upstream, seed, self._protocol, self._options)

    def _cell(self, name: CellName, mode: str) -> Cell:
        task, seed = name
        return cell_in(mode, self._named[task], self._upstream, seed, self._protocol, self._options)

    @cached_property
    def _request(self) -> Request:
        return self._hearing.request(self._upstream)

    @cached_property
    def _lengths(self) -> np.ndarray:
        """How many seconds of each row are heard: not what the sizes of files promise, nor silence that is cut."""
        left = 1.0 if self._reading is None else self._reading["left"]
        return left * self._request.seconds

    @property
    def _whole(self) -> float:
        try:
            return float(self._lengths.sum())
        except BenchmarkError:
            return math.nan

    @cached_property
    def _seconds(self) -> dict[Example, float]:
        """The same by example, of each task its own."""
        found: dict[Example, float] = {}
        for reading in self._hearing.readings:
            rows = self._request.rows(reading.examples)
            found.update(zip(reading.examples, self._lengths[rows].tolist(), strict=True))
        return found

    @cached_property
    def _reading(self) -> dict | None:
        """What it takes to read audio."""
        request, manifest = self._request, self._hearing.readings[0].manifest
        facts = {"audio": [str(manifest.root), manifest.corpus, request.gain_db, request.trim]}
        what = f"reading {manifest.corpus}"
        return self._rates.of(what, self._upstream.device, facts, lambda: rehearse_reading(request))

    @cached_property
    def _pace(self) -> float:
        """Seconds that the upstream takes for a second of this audio."""
        request, corpus = self._request, self._hearing.readings[0].manifest.corpus
        what = f"{self._upstream.name} hearing audio like that of {corpus}"
        facts = {"upstream": self._upstream.fingerprint, "form": request.form, "like": corpus, "trim": request.trim}
        measure = partial(rehearse_hearing, request, self._lengths, self._options.cache_dir)
        found = self._rates.of(what, self._upstream.device, facts, measure)
        return math.nan if found is None else found["seconds"]

    @property
    def _opening(self) -> float:
        return math.nan if self._reading is None else self._reading["seconds"]

    @cached_property
    def _heads(self) -> Heads:
        return Heads(self._upstream, self._request, self._seconds, self._memory, self._rates)

    def _chosen(self, todo: dict[CellName, Cell | None]) -> tuple[str, str, Way, tuple[str, Way] | None]:
        """The mode for the cells that have none, why, what it takes, and what the other mode would take."""
        kept = kept_mode(self._hearing.readings[0])
        if not todo:
            return kept, "done", Way(), None
        if all(todo.values()):
            live = {name for name, cell in todo.items() if cell.mode == LIVE}
            modes = " and ".join(sorted({cell.mode for cell in todo.values()}))
            why = "as they were begun" if self._options.features == AUTO else "as asked for"
            return kept, f"{modes}: {why}", self._way(todo.keys() - live, live), None
        if not len(missing(self._request, self._options.cache_dir)):
            fixed = {name for name, cell in todo.items() if cell is not None and cell.mode == LIVE}
            return kept, f"{kept}: nothing is left to be heard", self._way(todo.keys() - fixed, fixed), None
        ways = {}
        for mode in (kept, LIVE):
            live = {name for name, cell in todo.items() if (mode if cell is None else cell.mode) == LIVE}
            ways[mode] = self._way(todo.keys() - live, live)
        return self._cheaper(kept, ways)

    def _cheaper(self, kept: str, ways: dict[str, Way]) -> tuple[str, str, Way, tuple[str, Way]]:
        keeping, live = ways[kept], ways[LIVE]
        if not self._room.fits(keeping.bytes, [folder_of(self._request, self._rates.folder)]):
            limit = self._options.cache_limit
            place = f"the {shown_size(limit)} of --cache-limit" if limit else f"what is free in {self._rates.folder}"
            mode, why = LIVE, f"{shown_size(keeping.bytes)} do not fit in {place}"
        elif kept != POOLED and self._clearly_cheaper(live, keeping):
            mode, why = LIVE, f"{duration(live.seconds)} instead of {duration(keeping.seconds)} with keeping features"
        else:
            share = live.audio_seconds / max(1e-9, keeping.audio_seconds)
            mode, why = kept, f"heard once instead of {share:.0f} times"
        other = LIVE if mode == kept else kept
        return mode, f"{mode}: {why}", ways[mode], (other, ways[other])

    @staticmethod
    def _clearly_cheaper(live: Way, keeping: Way) -> bool:
        """In seconds, or where they are not known in what is heard. What is near is kept: rates are never the same
        twice, and the mode of a row should be."""
        unknown = math.isnan(live.seconds) or math.isnan(keeping.seconds)
        ours, theirs = (way.audio_seconds if unknown else way.seconds for way in (live, keeping))
        return _CLEARLY * ours < theirs

    def _way(self, kept: Collection[CellName], live: Collection[CellName]) -> Way:
        way = Way(cells={name: dict(self._cell_times(name, True).hops) for name in kept})
        if kept:
            rows = missing(self._request, self._options.cache_dir)
            if len(rows):
                way.bytes = self._request.bytes_estimate(rows)
                lengths = self._lengths[rows]
                way.audio_seconds = float(lengths.sum())
                way.hops = self._hearing_hops(way.audio_seconds / self._options.workers, way.bytes)
                way.parts = parts(self._request, rows, lengths, self._options.workers)
        if live:
            self._add_live(way, live)
        return way

    def _hearing_hops(self, seconds: float, size: int) -> dict[str, float]:
        """Reading goes on beside hearing where that is done elsewhere; what writing adds to both is what they hide.

        The seconds are those of one worker, if all have as much to hear; all of them write to one disk.
        """
        if not size:
            return {}
        reading, hearing = seconds * self._opening, seconds * self._pace
        if self._upstream.device.type == "cuda":
            reading = max(0.0, reading - hearing)
        writing = size * self._heads.disk(size)["write"]
        return {"decode": reading, "hear": hearing, "write": max(0.0, writing - reading - hearing)}

    def _add_live(self, way: Way, live: Collection[CellName]) -> None:
        """Cells whose upstream hears every batch anew, all of them together."""
        alone = {name: self._live_audio([name])[1] for name in live}
        read, heard = self._live_audio(live)
        way.audio_seconds += heard
        cost, whole = read * self._opening + heard * self._pace, sum(alone.values()) or 1.0
        for name, own in alone.items():
            hops = dict(self._cell_times(name, False).hops)
            way.live[name] = cost * own / whole
            hops[next(iter(hops))] += way.live[name]
            way.cells[name] = hops

    def _live_audio(self, names: Collection[CellName]) -> tuple[float, float]:
        """Seconds of audio that are read and heard."""
        read = heard = 0.0
        folds: dict[int, list] = {}
        for task, seed in names:
            reading = self._named[task]
            if isinstance(reading, SearchReading):
                own = reading.search.passes * sum(self._seconds[example] for example in reading.examples)
                read, heard = read + own, heard + own
                continue
            for number, course in enumerate(courses(reading, seed, self._seconds)):
                folds.setdefault(number, []).append(course)
        for together in folds.values():
            found = live_seconds(together)
            read, heard = read + found[0], heard + found[1]
        return read, heard

    def _cell_times(self, name: CellName, kept: bool) -> Times:
        """Where all that is kept is there, audio is not needed: that it cannot be opened costs no more than this."""
        if (name, kept) not in self._times:
            task, seed = name
            try:
                self._times[name, kept] = self._heads.times(self._named[task], seed, kept)
            except BenchmarkError as error:
                self._rates.troubles[f"the cell of {task}, seed {seed}"] = str(error)
                self._times[name, kept] = Times({"fit": math.nan, "score": math.nan})
        return self._times[name, kept]
