"""Removing feature sets that are not worth their space."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmark.caches.listing import IN_USE, Cache, KeptSet
from downstream.represent.kept import bytes_of, finish_removal, is_in_use, remove
from upstream.errors import ResourceError

_DAY = 86400


@dataclass
class Pruned:
    """What was removed (or would be), and what should have been and is still there, with the reason."""

    removed: list[KeptSet] = field(default_factory=list)
    skipped: list[tuple[KeptSet, str]] = field(default_factory=list)
    leftovers: int = 0
    freed: int = 0
    left: int = 0  # bytes of the sets that were looked at, or of all in the place of feature sets
    well: bool = True  # whether nothing is left that should have gone


@dataclass(frozen=True)
class Wish:
    """What should go: sets not used for some days, as many as a limit in bytes asks for, or, with neither, all."""

    limit: int | None = None
    older_than_days: float | None = None
    upstreams: tuple[str, ...] = ()
    dry_run: bool = False


def prune(cache: Cache, wish: Wish, say: Callable[[str], None]) -> Pruned:
    """Remove sets that no code asks for any more first, then those not used for longest; never one in use."""
    done = Pruned()
    looked_at = cache.of(wish.upstreams)
    if not wish.dry_run:
        _finish_removals(cache, done, say)
    done.left = sum(one.bytes for one in looked_at) if wish.upstreams else cache.bytes - done.freed
    for one in sorted(looked_at, key=lambda one: (not one.out_of_date, one.used, one.folder)):
        if wish.limit is not None and done.left <= wish.limit:
            break
        if wish.older_than_days is not None and time.time() - one.used < wish.older_than_days * _DAY:
            continue
        trouble = _trouble(one, wish.dry_run)
        if trouble:
            done.skipped.append((one, trouble))
            continue
        done.removed.append(one)
        done.freed += one.bytes
        done.left -= one.bytes
    done.well = not done.skipped if wish.limit is None else done.left <= wish.limit
    return done


def _finish_removals(cache: Cache, done: Pruned, say: Callable[[str], None]) -> None:
    """Of processes that were killed while they removed a set."""
    for aside in cache.leftovers:
        size = bytes_of(aside)
        try:
            finished = finish_removal(aside)
        except ResourceError as error:
            say(f"{aside}: {error}")
            continue
        if finished:
            done.leftovers += 1
            done.freed += size


def _trouble(one: KeptSet, dry_run: bool) -> str:
    """Remove a set; or why it stays."""
    try:
        gone = not is_in_use(one.folder) if dry_run else remove(one.folder)
    except (ResourceError, OSError) as error:
        return str(error)
    return "" if gone or not one.folder.exists() else IN_USE
