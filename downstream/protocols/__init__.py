"""Protocols: the numbers of every task's training, read from one YAML file each."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import yaml

from upstream.errors import MissingError, UsageError, unknown

_HERE = Path(__file__).parent


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
    """A named set of task protocols, and what was changed in it from the command line."""

    name: str
    grid: tuple[float, ...]
    tasks: dict[str, TaskProtocol]
    changed: tuple[str, ...] = ()

    def task(self, name: str) -> TaskProtocol:
        if name not in self.tasks:
            raise UsageError(f"protocol '{self.name}' has no task '{name}'. It has: {', '.join(self.tasks)}.")
        return self.tasks[name]


def names() -> list[str]:
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load(name: str, changes: Iterable[str] = (), lr: Iterable[str] = ("grid",)) -> Protocol:
    """A protocol by its name or from a YAML file, with --set changes and the learning rates of --lr."""
    protocol = _read(name)
    changes = tuple(changes)
    for change in changes:
        protocol = _changed(protocol, change)
    tasks = {task: replace(p, rates=_rates(lr, protocol.grid, p.lr)) for task, p in protocol.tasks.items()}
    return replace(protocol, tasks=tasks, changed=changes)


def _read(name: str) -> Protocol:
    path = _HERE / f"{name}.yaml"
    if not path.is_file():
        path = Path(name).expanduser()
        if path.suffix not in (".yaml", ".yml"):
            raise unknown("protocol", name, names(), "A protocol of your own is given as the path of its YAML file.")
        if not path.is_file():
            raise MissingError(f"protocol file not found: {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("tasks"), dict):
        raise UsageError(f"{path} is not a protocol: expected keys name, base or grid, and tasks. See superb.yaml.")
    unknown_keys = set(content) - {"name", "base", "grid", "defaults", "tasks"}
    if unknown_keys:
        raise UsageError(f"{path}: unknown key '{min(unknown_keys)}'. Known: name, base, grid, defaults, tasks.")
    base = _read(content["base"]) if "base" in content else Protocol(path.stem, (), {})
    grid = tuple(_number(float, rate, f"{path}: grid") for rate in content.get("grid", base.grid))
    if not grid:
        raise UsageError(f"{path} has no grid of learning rates and no base that has one.")
    tasks = dict(base.tasks)
    for task, values in content["tasks"].items():
        start = asdict(tasks[task]) if task in tasks else {}
        values = {**content.get("defaults", {}), **(values or {})}
        tasks[task] = _task({**start, **values}, f"{path}: {task}")
    return Protocol(str(content.get("name", path.stem)), grid, tasks)


def _task(values: dict, where: str) -> TaskProtocol:
    kinds = {field.name: field.type for field in fields(TaskProtocol) if field.name != "rates"}
    values = {key: value for key, value in values.items() if key != "rates"}
    for key in values:
        if key not in kinds:
            raise unknown(f"key in {where}", key, kinds)
    missing = [key for key in kinds if key not in values]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} not given.")
    return TaskProtocol(**{key: _number(kind, values[key], f"{where}.{key}") for key, kind in kinds.items()})


def _number(kind: type, value: object, where: str) -> object:
    """A value of the field's kind, within its meaning: counts and rates are above zero."""
    expected = {int: "a whole number above 0", float: "a number", bool: "true or false"}.get(kind, "a number or null")
    if kind is bool:
        fits = isinstance(value, bool)
    elif kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool) and value > 0
    else:
        if isinstance(value, str):  # YAML reads 1e-3 as text
            try:
                value = float(value)
            except ValueError:
                raise UsageError(f"{where} is '{value}'; expected {expected}.") from None
        fits = (value is None and kind is not float) or (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    if not fits:
        raise UsageError(f"{where} is {value!r}; expected {expected}.")
    return float(value) if kind is not bool and kind is not int and value is not None else value


def _changed(protocol: Protocol, change: str) -> Protocol:
    """Apply one --set KEY=VALUE (to every task) or --set TASK.KEY=VALUE."""
    name, equals, text = change.partition("=")
    if not equals:
        raise UsageError(f"--set {change}: expected KEY=VALUE or TASK.KEY=VALUE, such as ks.steps=1000.")
    task, dot, key = name.rpartition(".")
    if dot and task not in protocol.tasks:
        raise unknown(f"task in --set {change}", task, protocol.tasks)
    touched = [task] if dot else list(protocol.tasks)
    value = yaml.safe_load(text)
    tasks = {
        t: _task({**asdict(p), key: value}, f"--set {t}") if t in touched else p for t, p in protocol.tasks.items()
    }
    return replace(protocol, tasks=tasks)


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
