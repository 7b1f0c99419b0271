"""Protocols: the numbers of every task's training, read from one YAML file each."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import yaml

from upstream.errors import MissingError, UsageError, unknown

_HERE = Path(__file__).parent
_KEYS = ("name", "base", "grid", "defaults", "tasks")


@dataclass(frozen=True)
class TaskProtocol:
    """How one task is trained. `superb.yaml` says what each number means."""

    steps: int
    eval_every: int
    batch: int
    accumulate: int
    lr: float
    clip: float
    projector: int
    balanced: bool
    drop_last: bool
    gain_db: float
    crop_seconds: float | None
    rates: tuple[float, ...] = ()  # the learning rates to train: the grid of the protocol, or those asked for


@dataclass(frozen=True)
class Protocol:
    """A named set of task protocols, and what was changed in each from the command line."""

    name: str
    grid: tuple[float, ...]
    tasks: dict[str, TaskProtocol]
    changes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def task(self, name: str) -> TaskProtocol:
        if name not in self.tasks:
            raise UsageError(f"protocol '{self.name}' has no task '{name}'. It has: {', '.join(self.tasks)}.")
        return self.tasks[name]

    def changes_of(self, task: str) -> tuple[str, ...]:
        """What makes this task's training another than the protocol's, in words."""
        rates = self.task(task).rates
        other_rates = () if rates == self.grid else (f"lr={','.join(f'{rate:g}' for rate in rates)}",)
        return (*self.changes.get(task, ()), *other_rates)


def names() -> list[str]:
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load(name: str, changes: Iterable[str] = (), lr: Iterable[str] = ("grid",)) -> Protocol:
    """A protocol by its name or from a YAML file, with --set changes and the learning rates of --lr."""
    protocol = _read(name, ())
    for change in changes:
        protocol = _changed(protocol, change)
    tasks = {task: replace(p, rates=_rates(lr, protocol.grid, p.lr)) for task, p in protocol.tasks.items()}
    return replace(protocol, tasks=tasks)


def _read(name: object, readers: tuple[Path, ...]) -> Protocol:
    """A protocol and its bases; `readers` are the files that are being read, of which none can be its own base."""
    if not isinstance(name, str):
        raise UsageError(f"{readers[-1]}: base is {name!r}; expected the name or the path of one protocol.")
    path = _HERE / f"{name}.yaml"
    if not path.is_file():
        path = Path(name).expanduser()
        if path.suffix not in (".yaml", ".yml"):
            raise unknown("protocol", name, names(), "A protocol of your own is given as the path of its YAML file.")
        if not path.is_file():
            raise MissingError(f"protocol file not found: {path}")
    if path.resolve() in readers:
        raise UsageError(f"{path}: is its own base. Take one of: {', '.join(names())}.")
    content = _content(path)
    base = _read(content["base"], (*readers, path.resolve())) if "base" in content else Protocol("", (), {})
    own_name = str(content.get("name", path.stem))
    if own_name in names() and path.parent != _HERE:
        raise UsageError(f"{path}: the name '{own_name}' belongs to a built-in protocol. Give it a `name:` of its own.")
    grid = content.get("grid", list(base.grid))
    if not isinstance(grid, list) or not grid:
        raise UsageError(f"{path}: grid is {grid!r}; expected a list of learning rates, here or in its base.")
    tasks = dict(base.tasks)
    defaults = _mapping(content.get("defaults", {}), f"{path}: defaults")
    for task, values in content["tasks"].items():
        where = f"{path}: {task}"
        given = {} if values is None else _mapping(values, where)
        tasks[task] = _task(_plain(tasks.get(task)) | defaults | given, where)
    return Protocol(own_name, tuple(_value("lr", float, rate, f"{path}: grid") for rate in grid), tasks)


def _content(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("tasks"), dict):
        raise UsageError(f"{path} is not a protocol: expected the keys {', '.join(_KEYS)}. See superb.yaml.")
    for key in content:
        if key not in _KEYS:
            raise unknown(f"key in {path}", str(key), _KEYS)
    return content


def _mapping(values: object, where: str) -> dict:
    if not isinstance(values, dict):
        raise UsageError(f"{where} is {values!r}; expected keys with values, or {{}}.")
    return values


def _plain(task: TaskProtocol | None) -> dict:
    """The values of a task that a file or --set may give."""
    return {} if task is None else {key: value for key, value in asdict(task).items() if key != "rates"}


def _task(values: dict, where: str) -> TaskProtocol:
    kinds = {field.name: field.type for field in fields(TaskProtocol) if field.name != "rates"}
    for key in values:
        if key not in kinds:
            raise unknown(f"key in {where}", str(key), kinds)
    missing = [key for key in kinds if key not in values]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} not given.")
    return TaskProtocol(**{key: _value(key, kind, values[key], f"{where}.{key}") for key, kind in kinds.items()})


def _value(key: str, kind: object, value: object, where: str) -> object:
    """A value of its field's kind and meaning: everything but a gain is above zero."""
    if kind is bool:
        expected, fits = "true or false", isinstance(value, bool)
    elif kind is int:
        expected, fits = "a whole number above 0", type(value) is int and value > 0
    else:
        optional = kind is not float
        expected = ("a number" if key == "gain_db" else "a number above 0") + (" or null" if optional else "")
        try:
            value = None if value is None else float(value) if type(value) in (int, float, str) else math.nan
        except ValueError:  # YAML reads 1e-3 as text, and anything else too
            raise UsageError(f"{where} is {value!r}; expected {expected}.") from None
        fits = optional if value is None else math.isfinite(value) and (key == "gain_db" or value > 0)
    if not fits:
        raise UsageError(f"{where} is {value!r}; expected {expected}.")
    return value


def _changed(protocol: Protocol, change: str) -> Protocol:
    """Apply one --set KEY=VALUE (to every task) or --set TASK.KEY=VALUE."""
    name, equals, text = change.partition("=")
    if not equals:
        raise UsageError(f"--set {change}: expected KEY=VALUE or TASK.KEY=VALUE, such as ks.steps=1000.")
    task, dot, key = name.rpartition(".")
    if dot and task not in protocol.tasks:
        raise unknown(f"task in --set {change}", task, protocol.tasks)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {change}: '{text}' is no number, word or null.") from None
    tasks, changes = dict(protocol.tasks), dict(protocol.changes)
    for touched in [task] if dot else tasks:
        tasks[touched] = _task(_plain(tasks[touched]) | {key: value}, f"--set {touched}")
        changes[touched] = (*changes.get(touched, ()), f"{key}={text}")
    return replace(protocol, tasks=tasks, changes=changes)


def _rates(asked: Iterable[str], grid: tuple[float, ...], default: float) -> tuple[float, ...]:
    rates: list[float] = []
    for word in asked:
        if word in ("grid", "default"):
            rates += grid if word == "grid" else (default,)
            continue
        try:
            rate = float(word)
        except ValueError:
            rate = math.nan
        if not (0 < rate < math.inf):
            raise UsageError(f"--lr {word}: expected learning rates above 0, or 'grid' for the protocol's own.")
        rates.append(rate)
    return tuple(dict.fromkeys(rates))
