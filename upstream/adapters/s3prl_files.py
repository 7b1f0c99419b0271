"""Where s3prl's files come from while it builds a model, in place of its own downloads and its own unpickling."""

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import torch

from upstream.adapters.downloads import fetched
from upstream.adapters.imports import import_s3prl
from upstream.encoder.weight_files import open_weights
from upstream.errors import DataError, MissingError, UsageError

# Settings of a checkpoint that s3prl evaluates as Python, and what they look like when they mean no harm.
EVALUATED = {
    *("conv_feature_layers", "conv_aggregator_layers", "extractor_conv_feature_layers"),
    *("override_encoder_layers", "xformers_att_config", "feat_type"),
}
HARMLESS = re.compile(r"\w*|[\d\s()\[\],+*.-]*")


class Files:
    """Finds the file of each URL that an entry asks for, and remembers all that were used."""

    def __init__(self, who: str, weights: Path | None) -> None:
        self.who = who
        self.weights = weights
        self.used: list[Path] = []
        self._stood_in_for: str | None = None

    def given(self) -> Path:
        """What --weights names, for an entry that has no URL of its own."""
        if self.weights is None:
            raise UsageError(f"{self.who} has no weights of its own. Type: --weights PATH")
        self.used.append(self.weights)
        return self.weights

    def of(self, url: str, cached: Path) -> Path:
        file = fetched(url, cached, self.who) if self.weights is None else self._local(url)
        if file not in self.used:
            self.used.append(file)
        return file

    def check_all_used(self) -> None:
        if self.weights is not None and not self.used:
            raise UsageError(f"{self.who} takes no weights. Leave out --weights {self.weights}")

    def _local(self, url: str) -> Path:
        name = unquote(Path(urlsplit(url).path).name)
        if self.weights.is_dir():
            if (self.weights / name).is_file():
                return self.weights / name
            raise MissingError(
                f"{self.who}: {name} (of {url}) is not in the folder {self.weights}. "
                "Put it there, or correct --weights."
            )
        if self._stood_in_for not in (None, name):
            raise MissingError(
                f"{self.who} needs more than one file: {self._stood_in_for} and {name} (of {url}). "
                "Put them into one folder under these names and type: --weights FOLDER"
            )
        self._stood_in_for = name
        return self.weights


@contextmanager
def supplied(files: Files) -> Iterator[None]:
    """While it lasts, s3prl downloads through `files`, and every torch.load is a safe one.

    s3prl computes the path of a file from its URL and opens that path, so a file that lies elsewhere is linked there.
    """
    s3prl_download = import_s3prl("s3prl.util.download")
    real_load = torch.load

    def download(path: Path, url: str, **_: object) -> None:
        file = files.of(url, path)
        if file != path and not path.is_symlink():
            path.symlink_to(file.resolve())

    def load(file: str | Path, *_: object, **__: object) -> dict[str, object]:
        with _replaced(torch, "load", real_load):
            content = open_weights(Path(file))
        _check_settings(content, file)
        return content

    with ExitStack() as stack:
        folder = s3prl_download._download_dir
        if files.weights is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(_replaced(s3prl_download, "get_dir", lambda: folder))
        stack.enter_context(_replaced(s3prl_download, "_download", download))
        stack.enter_context(_replaced(torch, "load", load))
        if "optimizers" not in sys.modules:  # an alias that s3prl makes to unpickle, and keeps when that fails
            stack.callback(sys.modules.pop, "optimizers", None)
        yield


def _check_settings(content: object, file: str | Path) -> None:
    todo, seen = [("", content)], set()
    while todo:
        key, value = todo.pop()
        if isinstance(value, (str, bytes)):
            text = value if isinstance(value, str) else value.decode("latin-1")
            if key in EVALUATED and not HARMLESS.fullmatch(text):
                raise DataError(
                    f"{file} asks for code to be run: its setting {key} is {text!r:.100}. "
                    "Use a file from another source."
                )
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else [(key, item) for item in value]
            todo += [(str(inner), item) for inner, item in items]


@contextmanager
def _replaced(owner: ModuleType, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
