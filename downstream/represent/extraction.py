"""Making the stores that kept features are read from: shard by shard, resumable, by any number of processes."""

import json
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downstream import files
from downstream.represent import code, kept, store
from downstream.represent.features import PooledFeatures
from downstream.represent.frame_features import FrameFeatures
from downstream.represent.hearing import about_pieces, in_pieces
from downstream.represent.hours import AudioBar
from downstream.represent.ledger import Ledger
from downstream.represent.passing import AudioPass, Heard, Span, listener_of
from downstream.represent.pool import NONE, Pool
from downstream.represent.request import FRAMES, MEANS, Request
from upstream import registry
from upstream.errors import ResourceError

# Few enough that a kill costs a minute or two and that processes find something to share, enough that a corpus has few
# files. Frames take a thousand times the space of means, and as long to hear.
_SHARD_RECORDS = {MEANS: 512, FRAMES: 64}
_SHARD_SECONDS = 900.0  # of audio


@dataclass
class _Set:
    """A feature set that is in use, and what a request lacks of it."""

    request: Request
    pool: Pool
    use: kept.InUse


def stored(
    request: Request,
    cache: Path,
    progress: bool = True,
    say: Callable[[str], None] = print,
    room: kept.Room | None = None,
    ledger: Ledger | None = None,
) -> PooledFeatures | FrameFeatures:
    """Open the features of a request; hear what is missing, damaged or older than its audio."""
    own = _taken(request, cache, say)
    try:
        lacking = len(own.pool.missing)
        if lacking:
            _hear([own], progress, say, room, ledger, (0, 1))
            own.pool.look()
        gone = int((own.pool.records == NONE).sum())
        if gone:
            raise store.ShardError(
                f"{own.pool.folder}: {gone} records vanished while they were wanted. Run the same command again."
            )
        kind = FrameFeatures if request.form == FRAMES else PooledFeatures
        features = kind(request, own.pool.reader(), own.pool.folder, own.use)
    except BaseException:
        own.use.release()
        raise
    long = int(in_pieces(features.samples).sum())
    if lacking and long:
        say(about_pieces(request.upstream.name, long))
    return features


def hear(
    requests: list[Request],
    cache: Path,
    *,
    progress: bool = True,
    say: Callable[[str], None] = print,
    room: kept.Room | None = None,
    ledger: Ledger | None = None,
    part: tuple[int, int] = (0, 1),
) -> Heard:
    """Make what is missing of the features of requests that differ by their upstream alone, in one pass over the audio.

    Of the n parts of a `part` (k, n) the k-th is done first, then what nobody else is doing. What others are doing then
    is left to them: all is there when the processes of all parts have ended, if nothing stopped one.
    """
    requests = list({folder_of(request, cache): request for request in requests}.values())
    first = requests[0]
    for other in requests[1:]:
        if other.preparation != first.preparation or not np.array_equal(other.identities, first.identities):
            raise ValueError("only requests that differ by their upstream alone can be heard together")
    with ExitStack() as stack:
        sets = []
        for request in requests:
            sets.append(_taken(request, cache, say))
            stack.callback(sets[-1].use.release)
        return _hear(sets, progress, say, room, ledger, part)


def missing(request: Request, cache: Path) -> np.ndarray:
    """The rows that `stored` would hear. Damage to what is kept shows when it is opened."""
    pool = Pool(folder_of(request, cache), request)
    pool.look(check=False)
    return pool.missing


def bytes_to_write(request: Request, cache: Path) -> int:
    """About how much `stored` would write."""
    return request.bytes_estimate(missing(request, cache))


def folder_of(request: Request, cache: Path) -> Path:
    """Where the features of a request are kept, with all others that were made alike."""
    return cache / "features" / registry.folder_name(request.upstream.name) / request.key


def _taken(request: Request, cache: Path, say: Callable[[str], None]) -> _Set:
    """The feature set of a request, in use from now on."""
    folder = folder_of(request, cache)
    if not folder.exists():  # nothing is made where there is no space
        _check_space([(request, np.arange(len(request.examples)))], folder)
    use = kept.in_use(folder)
    use.acquire()
    try:
        pool = Pool(folder, request)
        pool.look()
        pool.remove_useless(say)
        if pool.stale:
            say(f"{folder}: {pool.stale} of its audio files changed since; heard again")
    except BaseException:
        use.release()
        raise
    return _Set(request, pool, use)


def _hear(
    sets: list[_Set],
    progress: bool,
    say: Callable[[str], None],
    room: kept.Room | None,
    ledger: Ledger | None,
    part: tuple[int, int],
) -> Heard:
    lacking = [(one.request, one.pool.missing) for one in sets]
    spans = _spans([rows for _, rows in lacking], _shards(sets[0].request))
    if not spans:
        return Heard()
    _check_space(lacking, sets[0].pool.folder)
    for one in sets:
        _write_meta(one.request, one.pool.folder)
    k, n = part
    own = spans[k::n]
    others = [span for number, span in enumerate(spans) if number % n != k]
    names = " and ".join(one.request.upstream.name for one in sets)
    everything = sum(float(one.request.seconds.sum()) for one in sets)
    todo = sum(float(request.seconds[rows].sum()) for request, rows in lacking)
    title = f"{names} hear{'s' if len(sets) == 1 else ''} {sets[0].request.manifest.corpus}"
    with AudioBar(title, everything, everything - todo, progress) as bar:
        listeners = [listener_of(one.request, say) for one in sets]
        going = AudioPass([(one.request, one.pool.folder) for one in sets], listeners, room, ledger, bar)
        going.make([*own, *reversed(others)], wait=n == 1)  # from behind: whoever has them first begins in front
    return going.done


def parts(request: Request, rows: np.ndarray, seconds: np.ndarray, processes: int) -> list[float]:
    """How many seconds each process hears, when some share these rows: nobody has a part of a shard."""
    shards = np.bincount(_shards(request)[rows], weights=seconds)
    shards = shards[shards > 0]
    return [float(shards[number::processes].sum()) for number in range(processes)]


def _shards(request: Request) -> np.ndarray:
    """The number of the shard that each row is for: places in the request are cut alike, whatever is there."""
    by_count = np.arange(len(request.examples)) // _SHARD_RECORDS[request.form]
    by_seconds = np.cumsum(request.seconds) // _SHARD_SECONDS
    cuts = (np.diff(by_count, prepend=0) != 0) | (np.diff(by_seconds, prepend=0) != 0)
    return np.cumsum(cuts)


def _spans(lacking: list[np.ndarray], shards: np.ndarray) -> list[Span]:
    """What each set lacks, in pieces for a shard each."""
    spans: dict[int, Span] = {}
    for number, rows in enumerate(lacking):
        for part in np.split(rows, np.flatnonzero(np.diff(shards[rows])) + 1) if len(rows) else ():
            spans.setdefault(int(shards[part[0]]), {})[number] = part
    return [spans[shard] for shard in sorted(spans)]


def _check_space(lacking: Iterable[tuple[Request, np.ndarray]], folder: Path) -> None:
    place = next(parent for parent in [folder, *folder.parents] if parent.exists())
    free = shutil.disk_usage(place).free
    need = {request.upstream.name: request.bytes_estimate(rows) for request, rows in lacking}
    if sum(need.values()) > free:
        request = next(request for request, _ in lacking)
        raise ResourceError(
            f"the features of {' and '.join(need)} on {request.manifest.corpus} need about "
            f"{sum(need.values()) / 1e6:.1f} MB, and {place} has {free / 1e6:.1f} MB free. Free some space, choose "
            "another place with --cache DIR, or keep nothing with --features live."
        )


def _write_meta(request: Request, folder: Path) -> None:
    meta = {
        "upstream": request.upstream.name,
        "fingerprint": request.upstream.fingerprint,
        "corpus": request.manifest.corpus,
        "form": request.form,
        "layers": request.upstream.num_layers,
        "dim": request.upstream.dim,
        "hop": request.upstream.hop,
        "gain_db": request.gain_db,
        "crop_seconds": request.crop_seconds,
        "trim": request.trim,
        "least_samples": request.least_samples,
        "code": code.digest(),
    }
    lock = files.Lock(folder / "locks" / "meta")
    lock.acquire(wait=True)
    try:
        files.remove_partials(folder, "meta.json")
        files.write_text(folder / "meta.json", json.dumps(meta, indent=1) + "\n")
    finally:
        lock.release()
