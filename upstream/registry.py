"""Which provider answers to the name of an upstream. Nothing here imports torch: names can be listed at no cost."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import yaml

from upstream.errors import UsageError, unknown

PROVIDERS = {
    "spectral": "upstream.spectral:provide",
    "file": "upstream.user_file:provide",
}
FILE_HINT = "A model of your own is given as the path of its Python file: path/to/mine.py."


@dataclass(frozen=True)
class Card:
    """What is known of a named upstream before it is loaded."""

    name: str
    provider: str
    params: int
    layers: int
    dim: int
    hop: int
    summary: str


@dataclass(frozen=True)
class Source:
    """Where an upstream comes from: its provider, and what the provider needs to find it (its card, or a file)."""

    name: str
    provider: str
    card: Card | None = None
    path: Path | None = None


def names() -> list[str]:
    """Every upstream that answers to a plain name, in the order of the cards."""
    return list(_cards())


def card(name: str) -> Card:
    if name not in _cards():
        raise unknown("upstream", name, names(), FILE_HINT)
    return _cards()[name]


def resolve(name: str) -> Source:
    """The source of an upstream; raises `UsageError` when nothing answers to the name."""
    if name in _cards():
        found = _cards()[name]
        return Source(name, found.provider, card=found)
    if name.endswith(".py"):
        path = Path(name).expanduser()
        return Source(path.stem, "file", path=path)
    prefix, colon, _ = name.partition(":")
    if colon:
        raise UsageError(
            f"upstream '{name}': this version has no provider '{prefix}'. "
            f"Known names: {', '.join(names())}. {FILE_HINT}"
        )
    raise unknown("upstream", name, names(), FILE_HINT)


def provider(source: Source) -> Callable:
    """The function that builds the model of a source. Its module, and torch with it, is imported here."""
    module, _, attribute = PROVIDERS[source.provider].partition(":")
    return getattr(import_module(module), attribute)


@cache
def _cards() -> dict[str, Card]:
    text = Path(__file__).with_name("cards.yaml").read_text(encoding="utf-8")
    return {name: Card(name=name, **fields) for name, fields in yaml.safe_load(text).items()}
