"""Making the store that kept features are read from: shard by shard, resumable, by any number of processes."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import numpy as np
from tqdm import tqdm

from downstream import files
from downstream.represent import store
from downstream.represent.all_frames import AllFrames, Frames
from downstream.represent.features import FRAMES, MEANS, PooledFeatures, Request
from downstream.represent.frame_features import FrameFeatures
from downstream.represent.hearing import Clip, Keeper, Listener, about_pieces, in_pieces
from downstream.represent.pooling import Pooled, RunningSums
from upstream import registry
from upstream.errors import ResourceError

# Few enough that a kill costs seconds to a minute, enough that a corpus has few files. Frames take a thousand times the
# space of means, and as long to hear.
_SHARD_RECORDS = {MEANS: 512, FRAMES: 64}
_MOST_SHARDS = 512  # each holds a file descriptor open while reading


def stored(
    request: Request, cache: Path, progress: bool = True, say: Callable[[str], None] = print
) -> PooledFeatures | FrameFeatures:
    """Open the store of a request; make the shards that are missing, damaged or older than their audio."""
    folder = _folder(request, cache)
    spans = _spans(request)
    paths = [_shard(folder, number) for number in range(len(spans))]
    whole = request.form == MEANS  # frames are too many to be read for nothing: they are checked when they are used
    indexes = store.read_indexes(paths, whole)
    todo = []
    for number, (index, span) in enumerate(zip(indexes, spans, strict=True)):
        trouble = _trouble(index, request, span)
        if trouble:
            say(f"{paths[number]}: {trouble}; made again")
        if trouble or index is None:
            todo.append(number)
    if todo:
        _check_space(request, folder, len(todo) / len(spans))
        _write_meta(request, folder)
        _make_shards(request, [(n, paths[n], spans[n]) for n in todo], folder, progress, say)
        for number in todo:
            indexes[number] = store.read_index(paths[number], whole)
    digest = blake2b(digest_size=16)
    for index in indexes:
        digest.update("".join(index.audio).encode())
    features = (FrameFeatures if request.form == FRAMES else PooledFeatures)(
        request,
        store.ShardReader(paths, indexes),
        folder,
        digest.hexdigest(),
        sum(index.resampled for index in indexes),
        sum(index.mixed_down for index in indexes),
    )
    long = int(in_pieces(features.samples).sum())
    if todo and long:
        say(about_pieces(request.upstream.name, long))
    return features


def bytes_to_write(request: Request, cache: Path) -> int:
    """About how much `stored` would write, from how many shards are not there."""
    spans = _spans(request)
    folder = _folder(request, cache)
    missing = sum(not _shard(folder, number).exists() for number in range(len(spans)))
    return int(request.bytes_estimate() * missing / len(spans)) if missing else 0


def _folder(request: Request, cache: Path) -> Path:
    return cache / "features" / registry.folder_name(request.upstream.name) / request.key


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.shard"


def _spans(request: Request) -> list[range]:
    count = len(request.examples)
    size = max(_SHARD_RECORDS[request.form], -(-count // _MOST_SHARDS))
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def _trouble(index: store.ShardIndex | store.ShardError | None, request: Request, span: range) -> str | None:
    if index is None:
        return None
    if isinstance(index, store.ShardError):
        return str(index)
    if len(index) != len(span):
        return f"{len(index)} records where {len(span)} belong"
    changed = sum(tuple(stamp) != request.stamps[row] for stamp, row in zip(index.stamp, span, strict=True))
    return f"{changed} of its audio files changed since" if changed else None


def _check_space(request: Request, folder: Path, share: float) -> None:
    place = next(parent for parent in [folder, *folder.parents] if parent.exists())
    need, free = int(request.bytes_estimate() * share), shutil.disk_usage(place).free
    if need > free:
        raise ResourceError(
            f"the features of {request.upstream.name} on {request.manifest.corpus} need about {need / 1e6:.1f} MB, and "
            f"{place} has {free / 1e6:.1f} MB free. Free some space, choose another place with --cache DIR, or keep "
            "nothing with --features live."
        )


def _write_meta(request: Request, folder: Path) -> None:
    meta = {
        "upstream": request.upstream.name,
        "fingerprint": request.upstream.fingerprint,
        "corpus": request.manifest.corpus,
        "examples": len(request.examples),
        "form": request.form,
        "layers": request.upstream.num_layers,
        "dim": request.upstream.dim,
        "hop": request.upstream.hop,
        "gain_db": request.gain_db,
        "crop_seconds": request.crop_seconds,
        "trim": request.trim,
        "least_samples": request.least_samples,
    }
    lock = files.Lock(folder / "locks" / "meta")
    lock.acquire(wait=True)
    try:
        files.remove_partials(folder, "meta.json")
        files.write_text(folder / "meta.json", json.dumps(meta, indent=1) + "\n")
    finally:
        lock.release()


def _make_shards(
    request: Request, todo: list[tuple[int, Path, range]], folder: Path, progress: bool, say: Callable[[str], None]
) -> None:
    """Make shards, each under its own lock, so that several processes share the work and none does it twice."""

    def keeper(clips: list[Clip]) -> Keeper:
        if request.form == FRAMES:
            return AllFrames(halve=True)
        return RunningSums(request.block_frames if any(clip.blocks for clip in clips) else None)

    listener = Listener(request.upstream, keeper, say)
    title = f"{request.upstream.name} hears {request.manifest.corpus}"
    bar = tqdm(total=sum(len(span) for *_, span in todo), desc=title, unit="utt", disable=not progress, leave=False)
    with bar:
        waiting, patient = todo, False
        while waiting:
            held_elsewhere = []
            for number, path, span in waiting:
                lock = files.Lock(folder / "locks" / f"{number:05d}")
                if not lock.acquire(wait=patient):
                    held_elsewhere.append((number, path, span))
                    continue
                try:
                    files.remove_partials(folder, path.name)
                    if _trouble_of(path, request, span) is not None:
                        with closing(_records(request, listener, span, bar)) as records:
                            store.write_shard(path, records)
                    else:
                        bar.update(len(span))
                finally:
                    lock.release()
            waiting, patient = held_elsewhere, True


def _trouble_of(path: Path, request: Request, span: range) -> str | None:
    """Why a shard must be made: another process may have made it while this one waited for the lock."""
    index = store.read_indexes([path], request.form == MEANS)[0]
    return "missing" if index is None else _trouble(index, request, span)


def _records(request: Request, listener: Listener, span: range, bar: tqdm) -> Iterator[tuple[list[np.ndarray], dict]]:
    def read(row: int) -> Clip:
        clip = request.clip(row)
        clip.facts["stamp"] = request.stamps[row]
        clip.facts["audio"] = blake2b(clip.wave.numpy(), digest_size=8).hexdigest()
        return clip

    with closing(listener.hear(read, span, request.seconds[span.start : span.stop])) as heard:
        for clip, of in heard:
            yield _record(clip, of)
            bar.update()


def _record(clip: Clip, of: Pooled | Frames | None) -> tuple[list[np.ndarray], dict]:
    if of is None:
        return [], {**clip.facts, "frames": 0, "blocks": 0}
    if isinstance(of, Frames):
        values, blocks = [of.norms, of.scales, of.values], 0
    else:
        values, blocks = [of.norms, of.mean], 0
        if clip.blocks:
            values.append(of.edges)
            blocks = len(of.edges) - 1
    return [value.numpy() for value in values], {**clip.facts, "frames": of.frames, "blocks": blocks}
