"""`cache`: what is kept, whether it is whole, and what can go."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli import warn
from upstream.errors import UsageError

if TYPE_CHECKING:
    from benchmark.caches.listing import Cache, KeptSet
    from benchmark.caches.verifying import Fault

_LEFTOVERS = "leftovers of killed processes"


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(metavar="list|verify|prune", required=True)
    listing = what.add_parser("list", help="feature sets and small corpora: sizes, ages, last use; changes nothing")
    verifying = what.add_parser("verify", help="read every byte against its checksum; exit code 1 if any is damaged")
    pruning = what.add_parser("prune", help="remove feature sets, those not used for longest first; never one in use")
    for own in (listing, verifying, pruning):
        own.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (~/.cache/sslbench)")
        own.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=_list)

    verifying.add_argument(
        "--repair",
        action="store_true",
        help=f"remove damaged shards, which the next run makes again, and {_LEFTOVERS}; exit code 0 if all could go",
    )
    verifying.set_defaults(command=_verify)

    wish = pruning.add_mutually_exclusive_group(required=True)
    wish.add_argument("--limit", metavar="SIZE", help="until feature sets take no more than this: 20GB, 500MB, 1.5TB")
    wish.add_argument("--older-than", type=float, metavar="DAYS", help="those not used for so many days")
    wish.add_argument("--all", action="store_true", help="all feature sets; small corpora stay")
    pruning.add_argument("--upstream", nargs="+", default=[], metavar="NAME", help="look at theirs alone")
    pruning.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    pruning.set_defaults(command=_prune)


def _read(arguments: argparse.Namespace) -> "Cache":
    from benchmark.caches.listing import read_cache
    from benchmark.options import default_cache

    return read_cache(arguments.cache.expanduser() if arguments.cache else default_cache())


def _list(arguments: argparse.Namespace) -> int:
    from benchmark.boards import plain_table
    from benchmark.boards.wording import printable
    from downstream.represent.sizes import shown_size

    cache = _read(arguments)
    if arguments.json:
        print(json.dumps(_as_object(cache), indent=1))
        return 0
    if cache.sets:
        print(plain_table(_HEAD, [_line(one) for one in cache.sets]) + "\n")
    if cache.mini:
        lines = [
            [f"{one.folder.parent.name}/{one.folder.name}", shown_size(one.bytes), one.state] for one in cache.mini
        ]
        print(plain_table(["small corpora", "size", "state"], lines) + "\n")
    if cache.folder.exists():
        mini = shown_size(sum(one.bytes for one in cache.mini))
        sets = _count(len(cache.sets), "feature set")
        print(printable(f"{cache.folder}: {sets}, {shown_size(cache.bytes)}; small corpora, {mini}."))
    else:
        print(printable(f"{cache.folder}: nothing is kept there."))
    if cache.leftovers:
        print(f"{len(cache.leftovers)} {_LEFTOVERS}: `cache prune` and `cache verify --repair` remove them.")
    for path in cache.others:
        print(printable(f"{path}: {'a link' if path.is_symlink() else 'not ours'}, left alone"))
    return 0


_HEAD = ["upstream", "corpus", "kept", "utterances", "hours", "size", "made", "last used", "set", "state"]


def _line(one: "KeptSet") -> list[str]:
    from downstream.represent.sizes import shown_size

    unknown = one.utterances is None
    counts = ["?", "?"] if unknown else [str(one.utterances), f"{one.audio_seconds / 3600:.2f}"]
    times = [time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) for when in (one.made, one.used)]
    return [
        one.upstream,
        one.corpus,
        one.preparation,
        *counts,
        shown_size(one.bytes),
        *times,
        one.folder.name[:8],
        one.state,
    ]


def _as_object(cache: "Cache") -> dict:
    return {
        "cache": str(cache.folder),
        "bytes": cache.bytes,
        "sets": [
            {
                **{"folder": str(one.folder), "upstream": one.upstream, "corpus": one.corpus, "kept": one.preparation},
                **{"utterances": one.utterances, "audio_seconds": one.audio_seconds, "bytes": one.bytes},
                **{"made": one.made, "last_used": one.used, "in_use": one.in_use, "out_of_date": one.out_of_date},
                **{"shards": len(one.shards), "state": one.state},
            }
            for one in cache.sets
        ],
        "mini": [{"folder": str(one.folder), "bytes": one.bytes, "state": one.state} for one in cache.mini],
        "leftovers": list(map(str, cache.leftovers)),
        "others": list(map(str, cache.others)),
    }


def _verify(arguments: argparse.Namespace) -> int:
    from benchmark.caches.verifying import repair, verify
    from downstream.represent.sizes import shown_size

    found = verify(_read(arguments), progress=not arguments.json)
    if arguments.repair:
        repair(found)
    if arguments.json:
        faults = {"damaged": found.damaged, "leftovers": found.leftovers}
        shown = {name: [_fault_object(fault) for fault in some] for name, some in faults.items()}
        print(
            json.dumps(
                {"shards": found.shards, "bytes": found.bytes, "out_of_date": found.out_of_date, **shown}, indent=1
            )
        )
        return 0 if found.well else 1
    for fault in (*found.damaged, *found.leftovers):
        warn(_fault_line(fault, arguments.repair))
    print(f"{_count(found.shards, 'shard')}, {shown_size(found.bytes)}: {len(found.damaged) or 'none'} damaged.")
    if found.out_of_date:
        print(f"{_count(found.out_of_date, 'feature set')} out of date, not read: `cache prune` removes these first.")
    if (found.damaged or found.leftovers) and not arguments.repair:
        print("`cache verify --repair` removes these; the next run makes damaged shards again, and only them.")
    return 0 if found.well else 1


def _fault_object(fault: "Fault") -> dict:
    return {
        **{"path": str(fault.path), "trouble": fault.trouble, "bytes": fault.bytes},
        **{"removed": fault.removed, "left": fault.left},
    }


def _fault_line(fault: "Fault", repaired: bool) -> str:
    ending = (f"; left: {fault.left}" if fault.left else "; removed") if repaired else ""
    return f"{fault.path}: {fault.trouble}{ending}"


def _prune(arguments: argparse.Namespace) -> int:
    from benchmark.boards.wording import printable
    from benchmark.caches.pruning import Wish, prune
    from downstream.represent.sizes import shown_size, size

    if arguments.older_than is not None and not arguments.older_than >= 0:
        raise UsageError(f"--older-than {arguments.older_than}: expected a number of days, 0 or more.")
    limit = None if arguments.limit is None else size(arguments.limit)
    wish = Wish(limit, arguments.older_than, tuple(arguments.upstream), arguments.dry_run)
    done = prune(_read(arguments), wish, warn)
    if arguments.json:
        print(
            json.dumps(
                {
                    "removed": [str(one.folder) for one in done.removed],
                    "skipped": [{"folder": str(one.folder), "why": why} for one, why in done.skipped],
                    **{"leftovers": done.leftovers, "freed": done.freed, "left": done.left},
                    "dry_run": arguments.dry_run,
                },
                indent=1,
            )
        )
        return 0 if done.well else 1
    verb = "would be removed" if arguments.dry_run else "removed"
    for one in done.removed:
        print(printable(f"{one.folder}: {verb} ({shown_size(one.bytes)}, {one.upstream}, {one.corpus})"))
    for one, why in done.skipped:
        warn(f"{one.folder}: left ({why}, {shown_size(one.bytes)}, {one.upstream}, {one.corpus})")
    if done.leftovers:
        print(f"{done.leftovers} {_LEFTOVERS} {verb}")
    print(f"{_count(len(done.removed), 'feature set')} {verb}, {shown_size(done.freed)}; {shown_size(done.left)} left.")
    if limit is not None and not done.well:
        warn(
            f"error: {shown_size(done.left)} are left, more than --limit {shown_size(limit)}. The rest may not go now."
        )
    return 0 if done.well else 1


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
