"""A user's own upstream: one Python file with one class, or one function, that turns waveforms into layers and lengths.

The class is made with no arguments, or with `weights=` where it takes them. It may declare `hop`, `num_layers`, `dim`,
`max_batch`, `name` and `fingerprint` as attributes. The features are keyed by the file, by the modules it imports from
its own folder, by the tensors its object holds, by the weights file and by `fingerprint`: whatever else decides what
the model computes (an option read from the environment, a file it opens by itself without keeping its tensors) belongs
into `fingerprint`.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from upstream import registry
from upstream.devices import only_float32
from upstream.errors import BenchmarkError, ContractError, MissingError, UsageError
from upstream.fingerprint import paths_digest, tensors_digest
from upstream.loaded import Provided, user_line
from upstream.registry import Source

T = TypeVar("T")
PREFERRED = ("Upstream", "upstream")
OWN_PACKAGES = ("upstream", "downstream", "benchmark")
_LOADED_COMPANIONS: set[str] = set()


def provide(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for paths that end in .py."""
    path = source.path.resolve()
    if not path.is_file():
        raise MissingError(f"upstream file not found: {source.path} (looked for {path}). Correct --upstream.")
    only_float32(source.name, dtype)
    with _neighbours(path) as before:
        module = import_file(path)
        entry = find_entry(module, path)
        model = _construct(entry, path, weights)
    if isinstance(model, torch.nn.Module):
        model = model.eval().to(device)

    def facts() -> dict[str, object]:
        return {
            "files": paths_digest([path, *_companions(before, path)]),
            "entry": getattr(entry, "__qualname__", type(entry).__qualname__),
            "tensors": tensors_digest(held_tensors(model, module)),
            "weights": paths_digest([weights]) if weights else None,
            "declared": _declared(model, "fingerprint", str, path),
        }

    def run(wavs: list[Tensor]) -> object:
        # Copies: a file that normalises in place must not change the caller's audio.
        return model([wav.clone() for wav in wavs])

    return Provided(
        run=run,
        name=_name(_declared(model, "name", str, path) or source.name, path),
        facts=facts,
        hop=_declared(model, "hop", int, path),
        # Of the class, not of the object: there these are everyday names for other things.
        num_layers=_declared(entry, "num_layers", int, path),
        dim=_declared(entry, "dim", int, path),
        max_batch=_declared(model, "max_batch", int, path),
        min_samples=_declared(model, "min_samples", int, path),
        source_file=path,
    )


def import_file(path: Path) -> ModuleType:
    """The file as a module; what goes wrong in it is reported with its line."""
    module = ModuleType(f"user_upstream_{path.stem}")
    module.__file__ = str(path)
    # Registered while it runs: dataclasses and pickles look their module up by name.
    sys.modules[module.__name__] = module
    try:
        # Compiled here and not by the import system, whose caches may miss a change made a moment ago.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except SyntaxError as error:
        raise UsageError(
            f"{error.filename}, line {error.lineno}: {error.msg}: {(error.text or '').strip()}. Correct the file."
        ) from error
    except BenchmarkError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{path} cannot be imported: {type(error).__name__}: {error} ({user_line(error, path)}). "
            "Correct the file, or install what it imports."
        ) from error
    return module


def find_entry(module: ModuleType, path: Path) -> Callable:
    """`Upstream` or `upstream` where there is one, else the only public class of the file, else its only function."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    preferred = [value for name, value in vars(module).items() if name in PREFERRED and callable(value)]
    classes = {name: value for name, value in own.items() if inspect.isclass(value)}
    functions = {name: value for name, value in own.items() if inspect.isfunction(value)}
    found = preferred or list(classes.values()) or list(functions.values())
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{path} defines no class and no function that could be the upstream. Write a class `Upstream` whose "
            "__call__ takes a list of 1-D waveforms and returns (layers, lengths)."
        )
    names = ", ".join(getattr(value, "__name__", str(value)) for value in found)
    raise UsageError(
        f"{path} has {len(found)} candidates for the upstream: {names}. Name the one to use `Upstream`, "
        "or start the names of the others with an underscore."
    )


def held_tensors(model: object, module: ModuleType) -> Iterator[tuple[str, Tensor]]:
    """Every tensor within reach of the model and of the file's globals: weights count wherever they were read from."""
    seen = set()

    def visit(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            raw = value.reshape(-1).copy().view(np.uint8)
            yield f"{name} {value.dtype} {value.shape}", torch.from_numpy(raw)
        elif id(value) not in seen:
            seen.add(id(value))
            for inner, item in _inside(value, module):
                yield from visit(f"{name}.{inner}", item)

    yield from visit("model", model)
    yield from visit("globals", {name: value for name, value in vars(module).items() if not name.startswith("__")})


def _inside(value: object, module: ModuleType) -> Iterable[tuple[object, object]]:
    """What a container holds: lists, dicts, torch modules, and objects of the user's own classes."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, (list, tuple)):
        return enumerate(value)
    if isinstance(value, torch.nn.Module):
        registered = ("_parameters", "_buffers", "_modules")
        plain = [(name, item) for name, item in vars(value).items() if name not in registered]
        tensors = [*value.named_parameters(recurse=False), *value.named_buffers(recurse=False)]
        return [*tensors, *value.named_children(), *plain]
    return vars(value).items() if type(value).__module__ == module.__name__ and hasattr(value, "__dict__") else ()


def _construct(entry: Callable, path: Path, weights: Path | None) -> Callable:
    if not inspect.isclass(entry):
        if weights is not None:
            raise UsageError(
                f"{path}: '{getattr(entry, '__name__', entry)}' is no class and takes no weights. "
                f"Make it a class whose __init__ takes `weights`, or leave out --weights {weights}."
            )
        return entry
    parameters = inspect.signature(entry.__init__).parameters
    takes = "weights" in parameters
    if weights is not None and not takes:
        raise UsageError(
            f"{path}: class {entry.__name__} does not take weights. Add `weights` to its __init__, "
            f"or leave out --weights {weights}."
        )
    arguments = {"weights": str(weights)} if weights is not None else {}
    try:
        model = entry(**arguments)
    except BenchmarkError:
        raise
    except Exception as error:
        hint = "It takes weights: give them with --weights. " if takes and weights is None else ""
        raise ContractError(
            f"{path}: class {entry.__name__} could not be made: {type(error).__name__}: {error} "
            f"({user_line(error, path)}). {hint}It is made with no arguments, or with weights=PATH."
        ) from error
    if not callable(model):
        raise ContractError(
            f"{path}: an object of class {entry.__name__} cannot be called. Give it a "
            "__call__(self, waveforms), or forward in a torch.nn.Module, that returns (layers, lengths)."
        )
    return model


def _declared(owner: object, name: str, kind: type[T], path: Path) -> T | None:
    value = getattr(owner, name, None)
    if value is None:
        return None
    if type(value) is not kind or value in ("", 0) or (kind is int and value < 1):
        wanted = "a whole number from 1 up" if kind is int else "a text"
        raise UsageError(f"{path}: `{name}` is {value!r}; it must be {wanted}, or be left out.")
    return value


def _name(name: str, path: Path) -> str:
    """Names become folders and rows of a table, so they are plain, and nobody takes the name of another."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        wanted = "letters, digits, dots, dashes and underscores"
    elif name in (*registry.names(), *registry.aliases()):
        wanted = "a name of its own, since that one belongs to a built-in upstream"
    else:
        return name
    raise UsageError(f"{path}: the upstream would be called '{name}'. Set `name` in the class: {wanted}.")


@contextmanager
def _neighbours(path: Path) -> Iterator[frozenset[str]]:
    """A file finds its neighbours while it is imported, as it would if it were run. Gives the modules loaded before.

    The neighbours of files loaded earlier are dropped, so that `import net` finds the net.py beside this file.
    """
    while _LOADED_COMPANIONS:
        sys.modules.pop(_LOADED_COMPANIONS.pop(), None)
    before = frozenset(sys.modules)
    invalidate_caches()
    sys.path.insert(0, str(path.parent))
    try:
        yield before
    finally:
        sys.path.remove(str(path.parent))
        _companions(before, path)


def _companions(before: frozenset[str], path: Path) -> list[Path]:
    """The neighbours that a user's file has imported: files below its folder, installed packages excluded."""
    files = []
    for name in set(sys.modules) - before:
        file = Path(getattr(sys.modules[name], "__file__", None) or "/").resolve()
        ours = name.partition(".")[0] in OWN_PACKAGES
        if not ours and file != path and file.is_relative_to(path.parent) and "site-packages" not in file.parts:
            files.append(file)
            _LOADED_COMPANIONS.add(name)
    return sorted(files)
