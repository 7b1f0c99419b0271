"""Protocols: the numbers of every task's training, read from one YAML file each."""

import math
from collections.abc import Iterable
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import get_args, get_origin

import yaml

from upstream.errors import MissingError, UsageError, unknown

_HERE = Path(__file__).parent
_KEYS = ("name", "base", "grid", "defaults", "tasks")
_ANY_NUMBER = ("gain_db", "lm_weight", "word_score", "default_score", "yes_above")
_FROM_ZERO = ("dropout", "time_warp", "freq_masks", "freq_width", "time_masks", "time_width", "weight_decay", "margin")


class Numbers:
    """How one task is done. `superb.yaml` says what each number means."""

    def settings(self) -> dict[str, object]:
        """What there is to say of it: without what the task does not have."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class SearchProtocol(Numbers):
    """How a task is done that looks for something and learns nothing."""

    gain_db: float
    normalize: bool
    distance: str
    precision: str
    shortest_query: int
    yes_above: float
    false_alarm_cost: float
    default_score: float


@dataclass(frozen=True)
class TaskProtocol(Numbers):
    """How one task is trained."""

    steps: int
    eval_every: int
    batch: int
    accumulate: int
    lr: float
    clip: float
    projector: int | None
    balanced: bool
    drop_last: bool
    gain_db: float
    crop_seconds: float | None
    # What only some tasks have; None for the others.
    halve_seconds: float | None = None
    hidden: int | None = None
    layers: int | None = None
    dropout: float | None = None
    project: bool | None = None
    frame_samples: int | None = None
    time_warp: int | None = None
    freq_masks: int | None = None
    freq_width: int | None = None
    time_masks: int | None = None
    time_width: int | None = None
    beam: int | None = None
    beam_threshold: float | None = None
    lm_weight: float | None = None
    word_score: float | None = None
    head: str | None = None
    trim: bool | None = None
    min_seconds: float | None = None
    weight_decay: float | None = None
    eps: float | None = None
    early_eps: bool | None = None
    scale: float | None = None
    margin: float | None = None
    trials: str | None = None
    dev_speakers: int | None = None
    dev_trials: int | None = None
    cohort: int | None = None
    chunk_frames: int | None = None
    thresholds: tuple[float, ...] | None = None
    medians: tuple[int, ...] | None = None
    grid: tuple[float, ...] | None = None  # where a task has another one than its protocol
    rates: tuple[float, ...] = ()  # the learning rates to train: those of the grid, or those asked for
    halving: bool | None = None  # whether rates that fall behind on dev are dropped on the way
    mix: str | None = None  # `each`: a head for every layer alone, at every rate; None: a learned mix of all layers

    def heads(self, layers: int) -> tuple[list[float], list[int]]:
        """The learning rate of every head that is trained; and the only layer of each, or none where they mix all."""
        if self.mix is None:
            return list(self.rates), []
        pairs = [(rate, layer) for layer in range(layers) for rate in self.rates]
        return [rate for rate, _ in pairs], [layer for _, layer in pairs]

    def need(self, *keys: str) -> None:
        """Refuse a protocol that leaves out what a task of this kind must have."""
        missing = [key for key in keys if getattr(self, key) is None]
        if missing:
            raise UsageError(f"the protocol gives no {', '.join(missing)}. Add them, or take `base: superb`.")


@dataclass(frozen=True)
class Protocol:
    """A named set of task protocols, and what was changed in each from the command line."""

    name: str
    grid: tuple[float, ...]
    tasks: dict[str, Numbers]
    changes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def task(self, name: str) -> Numbers:
        if name not in self.tasks:
            raise UsageError(f"protocol '{self.name}' has no task '{name}'. It has: {', '.join(self.tasks)}.")
        return self.tasks[name]

    def changes_of(self, task: str) -> tuple[str, ...]:
        """What makes this task's training another than the protocol's, in words."""
        numbers, changes = self.task(task), self.changes.get(task, ())
        if not isinstance(numbers, TaskProtocol):
            return changes
        if numbers.halving:
            changes = (*changes, f"lr={HALVED}")
        elif numbers.rates != (numbers.grid or self.grid):
            changes = (*changes, f"lr={','.join(f'{rate:g}' for rate in numbers.rates)}")
        return changes if numbers.mix is None else (*changes, f"mix={numbers.mix}")


_SEARCHES = ("qbe",)  # the tasks that are not trained
_ASKED = ("rates", "halving", "mix")  # what neither a file nor --set gives, but --lr and --layers
MIXES = {"mixed": None, "each": "each"}  # by the word of --layers
HALVED = "auto"  # the word of --lr
_HALVED_FROM = 3  # rates: of fewer none is ever dropped


def _kind(task: str) -> type[Numbers]:
    return SearchProtocol if task in _SEARCHES else TaskProtocol


def names() -> list[str]:
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load(name: str, changes: Iterable[str] = (), lr: Iterable[str] = ("grid",), layers: str = "mixed") -> Protocol:
    """A protocol by its name or from a YAML file, with --set changes, the learning rates of --lr, and --layers."""
    protocol = _read(name, ())
    for change in changes:
        protocol = _changed(protocol, change)
    tasks = dict(protocol.tasks)
    for task, numbers in tasks.items():
        if isinstance(numbers, TaskProtocol):
            rates = _rates(lr, numbers.grid or protocol.grid, numbers.lr)
            halving = True if HALVED in lr and len(rates) >= _HALVED_FROM else None
            tasks[task] = replace(numbers, rates=rates, halving=halving, mix=MIXES[layers])
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
    grid = _list(
        "lr", float, content.get("grid", list(base.grid)), f"{path}: grid", " of learning rates, here or in its base"
    )
    tasks = dict(base.tasks)
    defaults = _mapping(content.get("defaults", {}), f"{path}: defaults")
    for task, values in content["tasks"].items():
        where = f"{path}: {task}"
        given = {} if values is None else _mapping(values, where)
        own = {key: value for key, value in defaults.items() if key in _known(_kind(task)) or key not in _KNOWN}
        tasks[task] = _task(_kind(task), _plain(tasks.get(task)) | own | given, where)
    return Protocol(own_name, grid, tasks)


def _list(key: str, kind: type, values: object, where: str, of_what: str = "") -> tuple:
    if not isinstance(values, (list, tuple)) or not values:
        raise UsageError(f"{where} is {values!r}; expected a list{of_what}.")
    return tuple(_value(key, kind, value, where) for value in values)


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


def _plain(task: Numbers | None) -> dict:
    """The values of a task that a file or --set may give."""
    return {} if task is None else {key: value for key, value in asdict(task).items() if key not in _ASKED}


def _known(kind: type[Numbers]) -> dict[str, Field]:
    """What a file or --set may give of a task."""
    return {field.name: field for field in fields(kind) if field.name not in _ASKED}


_KNOWN = _known(TaskProtocol) | _known(SearchProtocol)


def _task(kind: type[Numbers], values: dict, where: str) -> Numbers:
    known = _known(kind)
    for key in values:
        if key not in known:
            raise unknown(f"key in {where}", str(key), known)
    missing = [key for key, of in known.items() if key not in values and of.default is MISSING]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} not given.")
    return kind(**{key: _value(key, known[key].type, value, f"{where}.{key}") for key, value in values.items()})


def _value(key: str, kind: object, value: object, where: str) -> object:
    """A value of its field's kind and meaning: most are above zero."""
    optional = type(None) in get_args(kind)
    if value is None and optional:
        return None
    kind = next((one for one in get_args(kind) if one is not type(None)), kind) if optional else kind
    if get_origin(kind) is tuple:
        return _list(key, get_args(kind)[0], value, where, " of learning rates" if key == "grid" else " of numbers")
    if kind is str:
        if not isinstance(value, str):
            raise UsageError(f"{where} is {value!r}; expected a name{' or null' if optional else ''}.")
        return value
    above = "" if key in _ANY_NUMBER else " from 0 up" if key in _FROM_ZERO else " above 0"
    if kind is bool:
        expected, number = "true or false", math.nan
    elif kind is int:
        expected, number = f"a whole number{above}", value if type(value) is int else math.nan
    else:
        expected, number = f"a number{above}", _as_number(value)
        value = value if math.isnan(number) else number
    fits = math.isfinite(number) and (not above or number > 0 or (number == 0 and key in _FROM_ZERO))
    if not (isinstance(value, bool) if kind is bool else fits):
        raise UsageError(f"{where} is {value!r}; expected {expected}{' or null' if optional else ''}.")
    return value


def _as_number(value: object) -> float:
    """A number however YAML read it: it takes 1e-3 for text."""
    try:
        return float(value) if type(value) in (int, float, str) else math.nan
    except ValueError:
        return math.nan


def _changed(protocol: Protocol, change: str) -> Protocol:
    """Apply one --set KEY=VALUE (to every task that has such a number) or --set TASK.KEY=VALUE."""
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
    for touched in [task] if dot else _having(key, tasks):
        tasks[touched] = _task(_kind(touched), _plain(tasks[touched]) | {key: value}, f"--set {touched}")
        changes[touched] = (*changes.get(touched, ()), f"{key}={text}")
    return replace(protocol, tasks=tasks, changes=changes)


def _having(key: str, tasks: dict[str, Numbers]) -> list[str]:
    """The tasks whose protocols have a number; all that could have it where it is theirs or nobody's."""
    able = {name: task for name, task in tasks.items() if key in _known(type(task))} or tasks
    some_only = key in _KNOWN and _KNOWN[key].default is None
    return [name for name, task in able.items() if getattr(task, key) is not None] if some_only else list(able)


def _rates(asked: Iterable[str], grid: tuple[float, ...], default: float) -> tuple[float, ...]:
    asked = list(asked)
    if HALVED in asked:
        if len(asked) > 1:
            raise UsageError(f"--lr {' '.join(asked)}: '{HALVED}' halves the protocol's own grid: give it alone.")
        return grid
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
            raise UsageError(
                f"--lr {word}: expected learning rates above 0, or 'grid' for the protocol's own, or 'auto'."
            )
        rates.append(rate)
    return tuple(dict.fromkeys(rates))
