"""Shards on disk: fixed-size pieces of a feature set that are written once, whole, and read record by record.

A shard is one file: the records (float32), then an index as JSON, then a trailer that says how long the index is. A
file without its trailer, or whose records no longer give the checksum in the index, is no shard and is made again.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from downstream.files import atomic
from upstream.errors import BenchmarkError

_MAGIC = b"SSLBENCH"
_TRAILER = struct.Struct("<QI8s")
_CHUNK = 1 << 22


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
    checksum: int = 0

    def __len__(self) -> int:
        return len(self.offset)


def write_shard(path: Path, records: Iterable[tuple[np.ndarray, dict]]) -> ShardIndex:
    """Write (values, facts) records to a new shard. Facts are the index's entries for that record."""
    index, position = ShardIndex(), len(_MAGIC)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC)
        for values, facts in records:
            data = np.ascontiguousarray(values, dtype="<f4").tobytes()
            index.offset.append(position)
            for name, value in facts.items():
                if name in ("resampled", "mixed_down"):
                    setattr(index, name, getattr(index, name) + value)
                else:
                    getattr(index, name).append(value)
            index.checksum = zlib.crc32(data, index.checksum)
            file.write(data)
            position += len(data)
        text = json.dumps(asdict(index)).encode()
        file.write(text)
        file.write(_TRAILER.pack(len(text), zlib.crc32(text), _MAGIC))
        file.flush()
    return index


def read_index(path: Path) -> ShardIndex:
    """The index of a shard after checking that every byte of the file is what was written."""
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
            file.seek(len(_MAGIC))
            checksum, left = 0, end - len(_MAGIC)
            while left and (chunk := file.read(min(left, _CHUNK))):
                checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
            if left or checksum != index.checksum:
                raise ShardError("its records are damaged")
            return index
    except (OSError, ValueError, TypeError) as error:
        raise ShardError(f"unreadable ({error})") from error


class ShardReader:
    """Reads records of many shards by number. Nothing is kept in memory but where things are."""

    def __init__(self, paths: list[Path], indexes: list[ShardIndex]) -> None:
        self._files = [os.open(path, os.O_RDONLY) for path in paths]
        self.shard = np.repeat(np.arange(len(indexes)), [len(index) for index in indexes])
        self.offset, self.samples, self.frames, self.blocks = (
            np.concatenate([np.asarray(getattr(index, name), dtype=np.int64) for index in indexes])
            for name in ("offset", "samples", "frames", "blocks")
        )

    def __len__(self) -> int:
        return len(self.offset)

    def read_into(self, out: np.ndarray, record: int, skip: int = 0) -> None:
        """Fill `out` with float32 values of a record, from its value number `skip` on."""
        view = memoryview(out).cast("B")
        place = int(self.offset[record]) + 4 * skip
        got = os.preadv(self._files[self.shard[record]], [view], place)
        if got != len(view):
            raise ShardError(f"record {record} ended after {got} of {len(view)} bytes; run the same command again")

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []


def read_indexes(paths: list[Path]) -> list[ShardIndex | ShardError | None]:
    """For each path its index, what is wrong with it, or None where there is no file. Checks in parallel."""

    def one(path: Path) -> ShardIndex | ShardError | None:
        if not path.exists():
            return None
        try:
            return read_index(path)
        except ShardError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, paths))
