"""Shards on disk: fixed-size pieces of a feature set that are written once, whole, and read record by record.

A shard is one file: the records (each a few arrays of numbers in a row), then an index as JSON, then a trailer that
says how long the index is. A file without its trailer is no shard and is made again; so is one whose records no longer
give the checksums in the index, where these are looked at: all at once, or each record when it is first read.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from downstream.files import atomic
from upstream.errors import BenchmarkError

_MAGIC = b"SSLBENCH"
_TRAILER = struct.Struct("<QI8s")


class ShardError(BenchmarkError):
    """A shard that cannot be used as it is."""


@dataclass
class ShardIndex:
    """Where each record of a shard lies and what it was made from."""

    offset: list[int] = field(default_factory=list)  # bytes from the start of the file
    samples: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    stamp: list[tuple[int, int]] = field(default_factory=list)  # size and modification time of the audio file
    audio: list[str] = field(default_factory=list)  # digest of the samples that went into the upstream
    resampled: int = 0
    mixed_down: int = 0
    checksum: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offset)


def write_shard(path: Path, records: Iterable[tuple[Sequence[np.ndarray], dict]]) -> ShardIndex:
    """Write (arrays, facts) records to a new shard. Facts are the index's entries for that record."""
    index, position = ShardIndex(), len(_MAGIC)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC)
        for arrays, facts in records:
            index.offset.append(position)
            for name, value in facts.items():
                if name in ("resampled", "mixed_down"):
                    setattr(index, name, getattr(index, name) + value)
                else:
                    getattr(index, name).append(value)
            checksum = 0
            for array in arrays:
                data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                checksum = zlib.crc32(data, checksum)
                file.write(data)
                position += data.nbytes
            index.checksum.append(checksum)
        text = json.dumps(asdict(index)).encode()
        file.write(text)
        file.write(_TRAILER.pack(len(text), zlib.crc32(text), _MAGIC))
        file.flush()
    return index


def read_index(path: Path, whole: bool = True) -> ShardIndex:
    """The index of a shard; if the `whole` is to be checked, after seeing that every byte is what was written."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < len(_MAGIC) + _TRAILER.size:
                raise ShardError(f"only {size} bytes long")
            file.seek(size - _TRAILER.size)
            length, checksum, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC or length > size - _TRAILER.size - len(_MAGIC):
                raise ShardError("cut short")
            end = size - _TRAILER.size - length
            file.seek(end)
            text = file.read(length)
            if zlib.crc32(text) != checksum:
                raise ShardError("its index is damaged")
            index = ShardIndex(**json.loads(text))
            if whole:
                _check_records(file, index, end)
            return index
    except (OSError, ValueError, TypeError) as error:
        raise ShardError(f"unreadable ({error})") from error


def _check_records(file: BinaryIO, index: ShardIndex, end: int) -> None:
    for start, stop, expected in zip(index.offset, [*index.offset[1:], end], index.checksum, strict=True):
        file.seek(start)
        if zlib.crc32(file.read(stop - start)) != expected:
            raise ShardError("its records are damaged")


class ShardReader:
    """Reads records of many shards by number. Nothing is kept in memory but where things are."""

    def __init__(self, paths: list[Path], indexes: list[ShardIndex]) -> None:
        self._paths = paths
        self._files = [os.open(path, os.O_RDONLY) for path in paths]
        self.shard = np.repeat(np.arange(len(indexes)), [len(index) for index in indexes])
        self.offset, self.samples, self.frames, self.blocks = (
            np.concatenate([np.asarray(getattr(index, name), dtype=np.int64) for index in indexes])
            for name in ("offset", "samples", "frames", "blocks")
        )
        self._checksum = np.concatenate([np.asarray(index.checksum, dtype=np.int64) for index in indexes])
        self._seen = np.zeros(len(self.offset), dtype=bool)

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


def read_indexes(paths: list[Path], whole: bool = True) -> list[ShardIndex | ShardError | None]:
    """For each path its index, what is wrong with it, or None where there is no file. Checks in parallel."""

    def one(path: Path) -> ShardIndex | ShardError | None:
        if not path.exists():
            return None
        try:
            return read_index(path, whole)
        except ShardError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, paths))
