"""Files that a stranger might send: ones that want to run something when they are opened."""

import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable
from copy import copy
from pathlib import Path

import torch


class Calls:
    """Pickled as the call of a function: whoever unpickles it calls that function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


class Named:
    """Pickled as the call of a function of a module that need not be installed here."""

    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self.module, self.name, self.arguments = module, name, arguments


def calling(proof: Path) -> dict[str, Calls]:
    """Objects that would leave a file `proof` behind, in several ways."""
    import os

    touch = f"touch {proof}"
    return {
        "os.system": Calls(os.system, touch),
        "builtins.exec": Calls(exec, f"open({str(proof)!r}, 'w')"),
        "builtins.eval": Calls(eval, f"open({str(proof)!r}, 'w')"),
        "builtins.open": Calls(open, str(proof), "w"),
        "subprocess.Popen": Calls(subprocess.Popen, ["touch", str(proof)]),
        "subprocess.getoutput": Calls(subprocess.getoutput, touch),
    }


def save_old(value: object, path: Path) -> Path:
    """As torch before 1.6 saved: no archive."""
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


def gadget(path: Path, module: str, name: str, argument: str) -> Path:
    """An archive whose pickle calls module.name(argument), written by hand: {"model": that}."""
    call = f"c{module}\n{name}\n".encode() + b"X" + struct.pack("<I", len(argument)) + argument.encode() + b"\x85R"
    content = b"\x80\x02}X\x05\x00\x00\x00model" + call + b"s."
    assert pickle.loads(b"\x80\x02}X\x05\x00\x00\x00modelX\x01\x00\x00\x00ys.") == {"model": "y"}
    _write_archive(path, content, zipfile.ZIP_STORED)
    return path


def bomb(path: Path, size: int) -> Path:
    """An archive of a few bytes that unpacks to `size`."""
    _write_archive(path, b"\x80\x02}." + bytes(size), zipfile.ZIP_DEFLATED)
    return path


def overlapping_bomb(path: Path, entries: int) -> Path:
    """An archive with many entries, not one of them compressed, that all have the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(100_000))
        for number in range(1, entries):
            again = copy(archive.filelist[1])
            again.filename = f"archive/data/{number}"
            archive.filelist.append(again)
    return path


def compressed(path: Path) -> Path:
    """The archive of torch.save once more, its entries compressed."""
    with zipfile.ZipFile(path) as good:
        contents = {entry: good.read(entry) for entry in good.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in contents.items():
            archive.writestr(entry, content)
    return path


def _write_archive(path: Path, content: bytes, compression: int) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
