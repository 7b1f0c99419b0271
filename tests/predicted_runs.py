"""Predictions of small runs, and rates that are what a test says."""

import upstream
from benchmark.cells import load_protocol, read_task
from benchmark.hearings import hearings
from benchmark.options import Options
from benchmark.planning.predictions import predict
from benchmark.planning.rates import Rates
from downstream.represent.kept import Room
from upstream.audio import read_header

MODEL = "mel_no_cmvn"


class SetRates(Rates):
    """Rates that are what a test says: a second of audio takes so long to read and to hear, all else nothing."""

    def __init__(self, folder, reading=0.0, hearing=1.0, step=0.0):
        super().__init__(folder)
        self._figures = (
            ("reading", {"seconds": reading, "left": 1.0}),
            ("mel", {"seconds": hearing}),
            ("the heads", {"steps": [[1.0, step, 0.0]], "looks": [[1.0, 0.0, 0.0]], "figure": 0.0, "state_bytes": 0}),
            ("the search", {"seconds": 0.0}),
            ("the cache", {"write": 0.0, "read": 0.0, "record": 0.0}),
        )

    def of(self, what, device, facts, measure):
        figures = next(figures for name, figures in self._figures if what.startswith(name))
        return figures | {"judged": [[1, 0.0]]}


def predicted(runs, task, rates=None, limit=None, **options):
    """The predictions of some tasks, one a hearing."""
    asked = Options.of(**runs.options(MODEL, task=task, cache_limit=limit, **options))
    protocol = load_protocol(asked)
    model = upstream.load(MODEL, device="cpu")
    readings = [read_task(name, runs.data, protocol, None) for name in asked.task]
    room = Room(runs.cache, asked.cache_limit, print)
    rates = rates or SetRates(runs.cache)
    return [predict(hearing, model, protocol, asked, room, rates) for hearing in hearings(readings)]


def reading_of(runs, task, **options):
    asked = Options.of(**runs.options(MODEL, task=task, **options))
    return read_task(task, runs.data, load_protocol(asked), None)


def lengths(reading):
    seconds = {}
    for example in reading.examples:
        stop = read_header(reading.manifest.path(example)).samples if example.stop is None else example.stop
        seconds[example] = (stop - example.start) / 16000
    return seconds
