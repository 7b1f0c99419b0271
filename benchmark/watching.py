"""Training curves in the files that TensorBoard reads, written while a training goes on.

Such a file is a row of records, of a length, a checksum of it, a message, a checksum of that; a message is a protocol
buffer of a few fields. `tensorboard` is not needed to write them.
"""

import math
import struct
import time
from functools import cache
from pathlib import Path

from benchmark.rows import Row
from downstream import files

_NAME = "events.out.tfevents.sslbench"  # TensorBoard looks for the word in the middle
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # how a field is written
_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_HEAD = _LENGTH.size + _CHECKSUM.size  # before the message of a record


def prepare(folder: Path) -> None:
    """Make the folder, and try to write into it, before anything is trained."""
    probe = folder / ".writable"
    files.write_bytes(probe, b"\n")
    probe.unlink()


def write_looks(folder: Path, history: list[dict]) -> None:
    """Add the looks at dev that the file of a training has not got yet, one record each, after that of its version.

    What a killed process left of a record is overwritten, and so are looks that came out otherwise when they were taken
    again. Looks of which the history knows nothing yet stay: a training that goes on from a checkpoint takes them next.
    """
    path, records = folder / _NAME, [_version(), *(_event(look["step"], _scalars(look)) for look in history)]
    with files.told(path):
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.seek(0)
            count, end = _known(file.read(), records)
            file.truncate(end)
            file.write(b"".join(records[count:]))


def write_results(folder: Path, row: Row) -> None:
    """The metrics of a row, at the last step of its training."""
    scalars = {f"test/{name}": score["value"] for name, score in row.metrics.items()}
    event = _event(row.settings.get("steps", 0), scalars)
    files.write_bytes(folder / _NAME, _version() + event)


def _scalars(look: dict) -> dict[str, float]:
    """The figures of every point that is trained, by their tags. A loss that was no number stays one."""
    found = {}
    for point, rate in enumerate(look["lr"]):
        if look["dev"][point] is None:
            continue
        layer = f"layer={look['layer'][point]}," if "layer" in look else ""
        for name in ("dev", "train_loss"):
            value = look[name][point]
            found[f"{name}/{layer}lr={rate:g}"] = math.nan if value is None else value
    return found


def _known(content: bytes, records: list[bytes]) -> tuple[int, int]:
    """How many whole records a file begins with that are these, but for their times, or come after them all; and where
    the last of them ends."""
    count = end = 0
    while len(content) >= end + _LENGTH.size:
        (length,) = _LENGTH.unpack_from(content, end)
        message = content[end + _HEAD : end + _HEAD + length]
        record = _record(message)
        if content[end : end + len(record)] != record or len(message) < length:
            break
        if count < len(records) and _untimed(record) != _untimed(records[count]):
            break
        count, end = count + 1, end + len(record)
    return count, end


def _untimed(record: bytes) -> bytes:
    """The message of a record without its first field, which is when it was written."""
    return record[_HEAD + len(_number(1, 0)) : -_CHECKSUM.size]


def _version() -> bytes:
    return _record(_number(1, time.time()) + _field(3, b"brain.Event:2"))


def _event(step: int, scalars: dict[str, float]) -> bytes:
    values = (_field(1, tag.encode()) + _number(2, value, _FLOAT) for tag, value in scalars.items())
    summary = b"".join(_field(1, value) for value in values)
    return _record(_number(1, time.time()) + _key(2, _VARINT) + _varint(step) + _field(5, summary))


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _number(number: int, value: float, kind: int = _DOUBLE) -> bytes:
    return _key(number, kind) + struct.pack("<d" if kind == _DOUBLE else "<f", value)


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _record(message: bytes) -> bytes:
    length = _LENGTH.pack(len(message))
    return length + _checksum(length) + message + _checksum(message)


def _checksum(content: bytes) -> bytes:
    """CRC-32C, turned by 15 bits and moved on by a constant, as TFRecord files have it."""
    crc, table = 0xFFFFFFFF, _table()
    for byte in content:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> list[int]:
    """The checksums of single bytes."""
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 if crc & 1 else crc >> 1
        table.append(crc)
    return table
