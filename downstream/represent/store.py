"""Shards on disk: fixed-size pieces of a feature set that are written once, whole, and read record by record.

A shard is one file: the records (each a few arrays of numbers in a row), then an index with an entry for each record,
then a trailer that says how long the index is. A file without its trailer is no shard and is made again; so is one
whose records no longer give the checksums in the index, where these are looked at: all at once, or each record when it
is first read.
"""

import os
import resource
import struct
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from downstream.files import atomic
from downstream.processes import cores
from upstream.errors import BenchmarkError, ResourceError

_MAGIC = b"SSLBNCH2"
_TRAILER = struct.Struct("<QI8s")
_OTHER_FILES = 256  # that a process may want to open besides those it reads features from
# What an index says of each record: which part of which file it is of, and what that was when it was heard.
ENTRY = np.dtype(
    [
        ("identity", "<u8"),  # digest of the name of the audio file and of the part of it
        ("offset", "<i8"),  # bytes from the start of the shard
        ("samples", "<i8"),
        ("frames", "<i8"),
        ("blocks", "<i8"),
        ("size", "<i8"),  # of the audio file, in bytes
        ("mtime", "<i8"),  # of the audio file, in nanoseconds
        ("audio", "<u8"),  # digest of the samples that went into the upstream
        ("checksum", "<u4"),
        ("resampled", "?"),
        ("mixed_down", "?"),
    ]
)
_OWN = ("offset", "checksum")  # entries that the writer fills in


class ShardError(BenchmarkError):
    """A shard that cannot be used as it is."""


def write_shard(path: Path, records: Iterable[tuple[Sequence[np.ndarray], dict]]) -> np.recarray:
    """Write (arrays, facts) records to a new shard. Facts are the other entries of the index for that record."""
    entries, position = [], len(_MAGIC)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC)
        for arrays, facts in records:
            checksum, offset = 0, position
            for array in arrays:
                data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                checksum = zlib.crc32(data, checksum)
                file.write(data)
                position += data.nbytes
            own = dict(zip(_OWN, (offset, checksum), strict=True))
            entries.append(tuple((own if name in own else facts)[name] for name in ENTRY.names))
        index = np.array(entries, dtype=ENTRY).view(np.recarray)
        content = index.tobytes()
        file.write(content)
        file.write(_TRAILER.pack(len(content), zlib.crc32(content), _MAGIC))
        file.flush()
    return index


def read_index(path: Path, whole: bool = True) -> np.recarray:
    """The index of a shard, an `ENTRY` for each record; if the `whole` is to be checked, after reading every byte."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < len(_MAGIC) + _TRAILER.size:
                raise ShardError(f"only {size} bytes long")
            file.seek(size - _TRAILER.size)
            length, checksum, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC or length > size - _TRAILER.size - len(_MAGIC):
                raise ShardError("cut short, or no shard of this version")
            end = size - _TRAILER.size - length
            file.seek(end)
            content = file.read(length)
            if zlib.crc32(content) != checksum:
                raise ShardError("its index is damaged")
            index = np.frombuffer(content, dtype=ENTRY).view(np.recarray)
            if whole:
                file.seek(0)
                if file.read(len(_MAGIC)) != _MAGIC:
                    raise ShardError("its first bytes are damaged")
                _check_records(file, index, end)
            return index
    except (OSError, ValueError) as error:
        raise ShardError(f"unreadable ({error})") from error


def bytes_beside(count: int) -> int:
    """What a shard of so many records takes besides them."""
    return len(_MAGIC) + count * ENTRY.itemsize + _TRAILER.size


def _check_records(file: BinaryIO, index: np.ndarray, end: int) -> None:
    offsets = [*index["offset"].tolist(), end]
    for start, stop, expected in zip(offsets, offsets[1:], index["checksum"].tolist(), strict=False):
        file.seek(start)
        if zlib.crc32(file.read(stop - start)) != expected:
            raise ShardError("its records are damaged")


class ShardReader:
    """Reads records of many shards by number. Nothing is kept in memory but where things are.

    Numbers are those of `records` where they are given, which count the records of all shards in turn.
    """

    def __init__(self, paths: list[Path], indexes: Sequence[np.ndarray], records: np.ndarray | None = None) -> None:
        self._paths = paths
        self._files = _opened(paths)
        shard = np.repeat(np.arange(len(indexes), dtype=np.int32), [len(index) for index in indexes])
        entries = np.concatenate(indexes)
        if records is not None:
            shard, entries = shard[records], entries[records]
        self.shard = shard
        self.offset, self.samples, self.frames, self.blocks, self.audio, self.resampled, self.mixed_down = (
            np.ascontiguousarray(entries[name])
            for name in ("offset", "samples", "frames", "blocks", "audio", "resampled", "mixed_down")
        )
        self._checksum = np.ascontiguousarray(entries["checksum"])
        self._seen = np.zeros(len(entries), dtype=bool)

    def __len__(self) -> int:
        return len(self.offset)

    def read_into(self, outs: Sequence[np.ndarray], record: int, skip: int = 0) -> None:
        """Fill one array after the other with what a record holds, from its byte number `skip` on."""
        views = [memoryview(out).cast("B") for out in outs]
        wanted = sum(map(len, views))
        got = os.preadv(self._files[self.shard[record]], views, int(self.offset[record]) + skip)
        if got != wanted:
            raise ShardError(f"record {record} ended after {got} of {wanted} bytes; run the same command again")

    def read_whole(self, outs: Sequence[np.ndarray], record: int) -> None:
        """`read_into` for all that a record holds, which is checked the first time."""
        self.read_into(outs, record)
        if not self._seen[record]:
            checksum = 0
            for out in outs:
                checksum = zlib.crc32(out, checksum)
            if checksum != self._checksum[record]:
                path = self._paths[self.shard[record]]
                raise ShardError(f"{path} is damaged (record {record}). Delete it and run the same command again")
            self._seen[record] = True

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []


def _opened(paths: list[Path]) -> list[int]:
    _allow_files(len(paths))
    opened: list[int] = []
    try:
        for path in paths:
            opened.append(os.open(path, os.O_RDONLY))
    except OSError as error:
        for descriptor in opened:
            os.close(descriptor)
        raise ShardError(f"cannot open {path}: {error.strerror}. Run the same command again.") from error
    return opened


def _allow_files(count: int) -> None:
    """Let this process have that many more files open: every shard is one for as long as it is read from."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + sum(1 for _ in Path("/dev/fd").iterdir()) + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ResourceError(
            f"these features lie in {count} shards, and this process may open {hard} files at a time. Allow it more "
            f"(ulimit -Hn {wanted}), use fewer utterances with --limit N, or keep nothing with --features live."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def read_indexes(paths: list[Path], whole: bool = True) -> list[np.recarray | ShardError | None]:
    """For each path its index, what is wrong with it, or None where there is no file. Checks in parallel."""

    def one(path: Path) -> np.recarray | ShardError | None:
        if not path.exists():
            return None
        try:
            return read_index(path, whole)
        except ShardError as error:
            return error

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, paths))
