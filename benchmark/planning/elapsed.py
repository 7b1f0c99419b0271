"""How long a command takes from start to end, by one process or by several."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.planning.ways import Prediction


@dataclass(frozen=True)
class _Work:
    """Something one process does. It waits for others by their numbers; what is urgent is begun first."""

    seconds: float
    urgency: float
    after: frozenset[int] = frozenset()


def elapsed(predictions: Sequence[Prediction], workers: int) -> float:
    """Seconds of all that is known. Audio is read once for all upstreams, and each says once what it costs."""
    work: list[_Work] = []
    met: set[str] = set()
    hearings: dict[tuple[str, ...], list[Prediction]] = {}
    for prediction in predictions:
        hearings.setdefault(prediction.hearing.tasks, []).append(prediction)
    for together in hearings.values():
        kept: list[float] = []  # of jobs that wait for what is kept
        for one in together:
            seconds = {name: _known(hops.values()) for name, hops in one.way.cells.items()}
            if seconds and one.upstream.name not in met:
                met.add(one.upstream.name)
                seconds[next(iter(seconds))] += _known([one.cost_seconds])
            kept += [taken for name, taken in seconds.items() if name not in one.way.live]
            live = sum(seconds[name] for name in one.way.live)  # one job, in which all of them hear together
            work += [_Work(live, live)] if live else []
        hearing, heard = _heard(together), frozenset[int]()
        if hearing:
            heard = frozenset(range(len(work), len(work) + workers))
            urgency = hearing + max(kept, default=0.0)
            work += [_Work(share * hearing, urgency) for share in _shares(together, workers)]
        work += [_Work(taken, taken, heard) for taken in kept]
    return _end(work, workers)


def _heard(together: Sequence[Prediction]) -> float:
    """Seconds in which the mean worker hears what some upstreams keep of a hearing."""
    seconds, read = 0.0, False
    for hops in (one.way.hops for one in together if one.way.hops):
        seconds += _known(took for hop, took in hops.items() if not (read and hop == "decode"))
        read = True
    return seconds


def _shares(together: Sequence[Prediction], workers: int) -> list[float]:
    """What each worker has to hear, of what the mean worker has."""
    parts = [sum(seconds) for seconds in zip(*(one.way.parts for one in together if one.way.parts), strict=True)]
    whole = sum(parts)
    return [workers * part / whole for part in parts] if whole > 0 else [1.0] * workers


def _known(seconds: Iterable[float]) -> float:
    return sum(own for own in seconds if not math.isnan(own))


def _end(work: Sequence[_Work], workers: int) -> float:
    """When the last of some work ends, if as many processes always begin the most urgent thing that can begin."""
    waiting, now = dict(enumerate(work)), 0.0
    ends: dict[int, float] = {}  # of what is being done
    while waiting or ends:
        able = [number for number, one in waiting.items() if not one.after & (waiting.keys() | ends.keys())]
        if able and len(ends) < workers:
            number = max(able, key=lambda number: (waiting[number].urgency, -number))
            ends[number] = now + waiting.pop(number).seconds
        else:
            number = min(ends, key=ends.__getitem__)
            now = ends.pop(number)
    return now
