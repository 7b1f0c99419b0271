"""The models that a command is about, given by name or as a checkpoint series: a small YAML or CSV file.

    series: batch sizes                           # the name of the series; without it that of the file
    defaults: {upstream: wav2vec2_base_960}       # what all checkpoints share; may be left out
    checkpoints:
      - {weights: 87s/100k.pt, batch_seconds: 87.5, step: 100000}
      - {weights: 87s/200k.pt, batch_seconds: 87.5, step: 200000, hours: 4711}
      - {weights: other.pt, hours: 60000, hours_are: upper bound, name: other}

Each checkpoint is an `upstream`, named as for --upstream, with `weights` (relative to the file) where it takes any. The
audio it heard are `hours`, `measured` unless `hours_are` says `upper bound`; without `hours` they are the upper bound
batch_seconds * step / 3600. `name` is what rows call it; without it that is the upstream's own name, or, of one with
`weights`, the series with batch and step. A CSV has these fields as its columns, and a cell may be empty.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmark.imports.tables import csv_lines
from benchmark.pretraining import MEASURED, heard, known
from upstream import load, registry
from upstream.errors import MissingError, UsageError, unknown

if TYPE_CHECKING:
    from upstream.loaded import LoadedUpstream, Remembered

FIELDS = ("upstream", "weights", "batch_seconds", "step", "hours", "hours_are", "name")
_KEYS = ("series", "defaults", "checkpoints")
_SEE = (
    "An example: checkpoints: [{upstream: wav2vec2_base_960, weights: 100k.pt, batch_seconds: 87.5, step: 100000}], or "
    "a CSV with these columns."
)


@dataclass(frozen=True)
class Model:
    """An upstream to run. `label` is what rows call it; None: what it calls itself."""

    upstream: str
    weights: Path | None
    label: str | None
    pretraining: dict

    def __str__(self) -> str:
        return self.label or self.upstream

    def load(self, device: str, dtype: str) -> "LoadedUpstream":
        loaded = load(self.upstream, self.weights, device, dtype)
        if self.label is not None:
            loaded.name = self.label
        return loaded

    def recall(self, known: "Remembered", device: str, dtype: str) -> "LoadedUpstream":
        """The model as it was known before, loaded when it is wanted."""
        from upstream.loaded import recall_upstream

        return recall_upstream(known, self.upstream, self.weights, device, dtype)


def named(upstream: str, weights: Path | None) -> Model:
    """The model of a name on the command line."""
    return Model(upstream, weights, None, known(upstream))


def read_series(path: Path) -> list[Model]:
    """The checkpoints of a series; a file in which anything is wrong is refused before anything runs."""
    if not path.is_file():
        raise MissingError(f"no series file {path}. Correct --series.")
    series, entries = _read_csv(path) if path.suffix.lower() == ".csv" else _read_yaml(path)
    if not entries:
        raise UsageError(f"{path} has no checkpoints. Each needs {', '.join(FIELDS[:4])}. {_SEE}")
    models = [_model(entry, series, path, where) for where, entry in entries]
    _refuse_alike(models, [where for where, _ in entries])
    return models


def _read_yaml(path: Path) -> tuple[str, list[tuple[str, dict]]]:
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"--series {path}: a series is a file that ends in .yaml, .yml or .csv.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is no series: expected the keys {', '.join(_KEYS)}. {_SEE}")
    for key in content:
        if key not in _KEYS:
            raise unknown(f"key in {path}", str(key), _KEYS)
    defaults, checkpoints = content.get("defaults") or {}, content.get("checkpoints") or []
    if not isinstance(defaults, dict) or not isinstance(checkpoints, list):
        raise UsageError(f"{path}: expected `checkpoints` as a list, and `defaults` with fields and values. {_SEE}")
    entries = []
    for position, entry in enumerate(checkpoints, 1):
        where = f"{path}, checkpoint {position}"
        if not isinstance(entry, dict):
            raise UsageError(f"{where} is {entry!r}; expected fields with values: {', '.join(FIELDS)}.")
        entries.append((where, defaults | entry))
    return _text(content, "series", str(path)) or path.stem, entries


def _read_csv(path: Path) -> tuple[str, list[tuple[str, dict]]]:
    entries = [(where, {key: value for key, value in line.items() if value}) for where, line in csv_lines(path)]
    return path.stem, entries


def _model(entry: dict, series: str, path: Path, where: str) -> Model:
    for key in entry:
        if key not in FIELDS:
            raise unknown(f"field in {where}:", str(key), FIELDS)
    upstream, name, weights = (_text(entry, key, where) for key in ("upstream", "name", "weights"))
    if upstream is None:
        raise UsageError(f"{where}: no upstream. Write one of `list upstreams`, as in upstream: wav2vec2_base_960")
    audio = heard(entry, where, MEASURED)
    if audio.hours is None:
        missing = [key for key in ("batch_seconds", "step") if entry.get(key) is None]
        raise UsageError(f"{where}: no {' and no '.join(missing)}. Write batch_seconds and step, or hours.")
    try:
        source = registry.resolve(upstream)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    files = Path(path.parent, Path(weights).expanduser()) if weights else None
    if files is not None and not files.exists():
        raise MissingError(f"{where}: weights not found: {files}. Correct `weights`, a path from the folder of {path}.")
    if (own := _own_file(source)) is not None and not own.exists():
        raise MissingError(f"{where}: {own} not found. Correct `upstream`; its path is that of the command line.")
    if name is not None and name in (*registry.names(), *registry.aliases()) and (files or name != source.name):
        raise UsageError(f"{where}: the name '{name}' belongs to a built-in upstream. Write another one.")
    # A Python file may give itself a name, which is known once it is loaded.
    itself = None if source.provider == "file" else source.name
    label = name or (f"{series}, {audio}" if files else itself)
    facts = {key: value for key, value in asdict(audio).items() if value is not None}
    return Model(upstream, files, label, facts | {"series": series})


def _own_file(source: registry.Source) -> Path | None:
    """The file that the name of an upstream names."""
    if source.path is not None:
        return source.path
    if source.provider == "checkpoint":
        return Path(source.ref).expanduser()
    if source.provider == "random":
        structure, _ = registry.random_parts(source.ref)
        return Path(structure).expanduser() if structure.endswith(".json") else None
    return None


def _refuse_alike(models: list[Model], places: list[str]) -> None:
    seen: dict[object, str] = {}
    for model, where in zip(models, places, strict=True):
        for key, what in (((model.upstream, model.weights), "upstream and weights"), (str(model), "name")):
            if key in seen:
                raise UsageError(
                    f"{where}: the same {what} as {seen[key]} ({model}). Leave one out, or tell them apart with "
                    f"`{'name' if what == 'name' else 'weights'}`."
                )
            seen[key] = where


def _text(given: dict, key: str, where: str) -> str | None:
    value = given.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise UsageError(f"{where}: {key} is {value!r}; expected a text.")
    return value
