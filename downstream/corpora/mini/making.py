"""Makes the mini corpora that are not there yet."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from downstream.corpora.mini.espeak import require_espeak
from downstream.corpora.mini.folders import (
    building,
    disk_errors_named,
    is_whole,
    locked,
    remove_leftovers,
    write_marker,
)
from downstream.corpora.mini.plans import CORPORA, TOPS, plan
from downstream.corpora.mini.workers import Workers
from downstream.processes import cores
from upstream.errors import UsageError, unknown

MINI_VERSION = 2


def make(
    out: Path,
    corpora: Sequence[str] = CORPORA,
    seed: int = 0,
    jobs: int | None = None,
    progress: bool = True,
    scale: float = 1.0,
) -> dict[str, list[Path]]:
    """Make the corpora that are not under `out` yet, and say where each is.

    The same seed gives the same bytes, whatever the number of `jobs` (processes; by default one per core). `scale`
    makes everything smaller, for tests.
    """
    out = Path(out)
    for corpus in corpora:
        if corpus not in CORPORA:
            raise unknown("mini corpus", corpus, CORPORA)
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs is {jobs}; at least 1 process is needed")
    missing = _missing(out, corpora, seed, scale)
    if missing:
        require_espeak()
        with disk_errors_named(out), locked(out) as lock:
            remove_leftovers(out)
            missing = _missing(out, corpora, seed, scale)  # another process may have made them while we waited
            if missing:
                _make(out, missing, seed, scale, jobs or cores(), progress, lock.fileno())
    return {corpus: [out / top for top in TOPS[corpus]] for corpus in corpora}


def _identity(corpus: str, seed: int, scale: float) -> dict[str, object]:
    return {"corpus": corpus, "version": MINI_VERSION, "seed": seed, "scale": scale}


def _missing(out: Path, corpora: Sequence[str], seed: int, scale: float) -> list[str]:
    """Those that have to be made; an error if there is something else in the place of any."""
    whole = {
        corpus: [is_whole(out / top, _identity(corpus, seed, scale)) for top in TOPS[corpus]] for corpus in corpora
    }
    return [corpus for corpus in whole if not all(whole[corpus])]


def _make(out: Path, corpora: list[str], seed: int, scale: float, jobs: int, progress: bool, lock: int) -> None:
    plans = {corpus: plan(corpus, seed, scale) for corpus in corpora}
    clips = sum(len(made.clips) for made in plans.values())
    with Workers(jobs, lock) as workers, tqdm(total=clips, unit=" clips", disable=not progress) as bar:
        for corpus, content in plans.items():
            bar.set_description(corpus)
            with building(out, corpus) as folder:
                workers.make(folder, corpus, seed, scale, len(content.clips), bar.update)
                for path, text in content.texts.items():
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_text(text, encoding="utf-8", newline="")
                for top in content.tops:
                    found = {"counts": content.counts, "also": content.also}
                    write_marker(folder / top, _identity(corpus, seed, scale) | found)
                for top in content.tops:
                    if not (out / top).exists():
                        (out / top).parent.mkdir(parents=True, exist_ok=True)
                        (folder / top).rename(out / top)
