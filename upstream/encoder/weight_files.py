"""Opens files of weights, whoever wrote them, and runs nothing that is in them.

A safetensors file holds nothing but tensors. What torch.save wrote is a pickle, which may ask for any Python function;
it is read with `weights_only`, which knows tensors and plain containers. Training code keeps some of its own objects
beside the tensors: for those of a few packages a `Record` stands in, which holds what it is given and does nothing.
"""

import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from upstream.errors import BenchmarkError, DataError, MissingError

STAND_IN_FOR = ("argparse", "collections", "fairseq", "numpy", "omegaconf", "optimizers", "pathlib", "s3prl", "typing")
STAND_IN_FOR_NAMES = tuple(f"builtins.{kind}" for kind in ("bool", "dict", "float", "int", "list", "str", "tuple"))
# Files of torch before 1.6 are no archives, and cannot be asked beforehand what they want.
STAND_IN_IN_OLD_FILES = (
    "argparse.Namespace",
    "fairseq.data.dictionary.Dictionary",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
)
AGAIN = "Download it again, or give another file with --weights."


class Record:
    """Stands in for an object of some package: keeps its arguments and its state, and has no behaviour."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def open_weights(path: Path) -> dict[str, object]:
    """What a file holds: tensors by name, or whatever mapping torch.save was given. Records are made plain."""
    head = _head(path)
    try:
        if _is_safetensors(head):
            return _open_safetensors(path)
        if head.startswith(b"PK"):
            _check_archive(path)
        elif not head.startswith(b"\x80"):
            raise _no_weights(path, head)
        contents = plain(_open_torch(path))
    except (BenchmarkError, MemoryError):
        raise
    except Exception as error:  # a broken or hostile file can make its reader raise anything
        raise DataError(
            f"{path} cannot be read as weights: {type(error).__name__}: {_brief(error)}. {AGAIN}"
        ) from error
    if not isinstance(contents, dict) or not all(isinstance(name, str) for name in contents):
        raise DataError(f"{path} holds a {type(contents).__name__}, not tensors by name. {AGAIN}")
    return contents


def plain(value: object) -> object:
    """Containers and values in place of records: of a namespace its attributes, of omegaconf's nodes what they hold."""
    if isinstance(value, Record):
        state = value.state if isinstance(value.state, Mapping) else {}
        for content in ("_content", "_val"):
            if content in state:
                return plain(state[content])
        return plain(dict(state)) if state or len(value.arguments) != 1 else plain(value.arguments[0])
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except FileNotFoundError as error:
        raise MissingError(f"weights not found: {path}. Correct the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Correct the path or its permissions.") from error
    if not head:
        raise DataError(f"{path} is empty. {AGAIN}")
    return head


def _no_weights(path: Path, head: bytes) -> BenchmarkError:
    if head.startswith(b"version https://git-lfs"):
        return MissingError(
            f"{path} is a pointer of Git LFS, not the weights that it stands for. Fetch them: git lfs pull, in the "
            "folder of that repository."
        )
    if head.lstrip().startswith(b"<"):
        return DataError(f"{path} is a web page, not weights. {AGAIN}")
    return DataError(
        f"{path} holds no weights: it begins with {head[:16]!r}. Expected a safetensors or torch.save file. {AGAIN}"
    )


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 28


def _open_safetensors(path: Path) -> dict[str, object]:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict


def _check_archive(path: Path) -> None:
    """torch.save compresses nothing, and a mapped file is read as it lies: anything else would be taken for weights."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is cut short: the end of its archive is missing. {AGAIN}")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    size, unpacked = path.stat().st_size, sum(entry.file_size for entry in entries)
    if unpacked > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise DataError(
            f"{path} is a compressed archive, of {size} bytes and unpacked {unpacked}; torch.save makes none. {AGAIN}"
        )


def _open_torch(path: Path) -> object:
    archive = zipfile.is_zipfile(path)
    wanted = torch.serialization.get_unsafe_globals_in_checkpoint(path) if archive else STAND_IN_IN_OLD_FILES
    safe = [name for name in wanted if name.partition(".")[0] in STAND_IN_FOR or name in STAND_IN_FOR_NAMES]
    try:
        with torch.serialization.safe_globals([(Record, name) for name in safe]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols, which are read or refused all the same
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except UnpicklingError as error:
        refused = [name for name in wanted if name not in safe] or re.findall(r"GLOBAL ([\w.]+)", str(error))
        if not refused:
            raise
        raise _refused(path, refused) from error


def _refused(path: Path, names: list[str]) -> DataError:
    return DataError(
        f"{path} is refused: to be opened it wants to call {', '.join(sorted(names)[:10])}, which could run anything. "
        "If you trust where it came from, save its tensors, and the plain settings beside them if there are any, where "
        "the code that wrote it is installed. For instance:\n"
        f"    import torch; file = torch.load({path.name!r}, weights_only=False)\n"
        '    torch.save({"model": file["model"]}, "tensors.pt")\n'
        "and give that file, with the name of its upstream: --upstream NAME --weights tensors.pt"
    )


def _brief(error: Exception) -> str:
    # torch puts advice before it that nobody should follow: to load without weights_only.
    lines = str(error).rpartition("WeightsUnpickler error:")[2].strip().splitlines()
    return lines[0][:200].rstrip(". ") if lines else "no reason given"


def is_state(value: object) -> bool:
    """Whether this is a mapping of names to tensors; a few other things may stand among them."""
    return isinstance(value, Mapping) and any(isinstance(item, Tensor) for item in value.values())
