"""Which provider answers to the name of an upstream. Nothing here imports torch: names can be listed at no cost."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path, PurePath

import yaml

from upstream.encoder import shape
from upstream.errors import UsageError, unknown

PROVIDERS = {
    "spectral": "upstream.spectral:provide",
    "file": "upstream.user_file:provide",
    "encoder": "upstream.encoder.provider:provide",
    "checkpoint": "upstream.encoder.provider:provide_checkpoint",
    "random": "upstream.encoder.provider:provide_random",
    "hf": "upstream.adapters.transformers:provide",
    "torchaudio": "upstream.adapters.torchaudio:provide",
    "s3prl": "upstream.adapters.s3prl:provide",
}


@dataclass(frozen=True)
class Prefix:
    """What may stand after a colon, and who takes it."""

    provider: str
    form: str
    example: str


PREFIXES = {
    "hf": Prefix("hf", "hf:ORG/NAME or hf:FOLDER", "hf:microsoft/wavlm-base"),
    "ckpt": Prefix("checkpoint", "ckpt:PATH", "ckpt:path/to/WavLM-Base.pt"),
    "torchaudio": Prefix("torchaudio", "torchaudio:BUNDLE", "torchaudio:WAVLM_BASE"),
    "s3prl": Prefix("s3prl", "s3prl:NAME", "s3prl:apc"),
    "random": Prefix("random", "random:SHAPE[@SEED] or random:CONFIG.json[@SEED]", "random:wavlm_base"),
}
OTHER_NAMES = (
    f"Besides plain names: {', '.join(prefix.form for prefix in PREFIXES.values())}, "
    "and path/to/mine.py for a model of your own."
)
FILE_SUFFIXES = (".py", ".json", ".pt", ".pth", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class Card:
    """What is known of a named upstream before it is loaded; None where it does not apply or is not known."""

    name: str
    provider: str
    summary: str
    params: int | None  # as the paper counts them
    layers: int  # hidden states given to a task
    dim: int
    hop: int  # samples per frame at 16 kHz
    shape: str | None = None  # its structure, of shapes.yaml
    hub: str | None = None  # where its weights are found, by provider: a hub id,
    s3prl: str | None = None  # an entry of s3prl's hub,
    torchaudio: str | None = None  # a bundle of torchaudio,
    fairseq: str | None = None  # or the file its authors published
    corpus: str | None = None  # what it was pretrained on
    hours: int | None = None  # how much of that there is
    hours_seen: int | None = None  # how much went through it, repetitions included
    licence: str | None = None  # of the weights
    paper: str | None = None  # arXiv number


@dataclass(frozen=True)
class Source:
    """Where an upstream comes from: its provider, and what the provider needs to find it.

    `ref` is what stands after the colon of a name with a prefix, `path` a user's own file.
    """

    name: str
    provider: str
    card: Card | None = None
    path: Path | None = None
    ref: str | None = None


def names() -> list[str]:
    """Every upstream that answers to a plain name, in the order of the cards."""
    return list(_cards())


def aliases() -> dict[str, str]:
    """Other plain names, and the name of the card that each of them means."""
    return _content()["aliases"]


def card(name: str) -> Card:
    name = aliases().get(name, name)
    if name not in _cards():
        raise unknown("upstream", name, [*names(), *aliases()], OTHER_NAMES)
    return _cards()[name]


def resolve(name: str) -> Source:
    """The source of an upstream; raises `UsageError` when nothing answers to the name."""
    prefix, colon, ref = name.partition(":")
    if colon and prefix in PREFIXES:
        return _prefixed(prefix, ref.strip())
    if name.endswith(".py"):
        path = Path(name).expanduser()
        return Source(path.stem, "file", path=path)
    if colon:
        raise UsageError(f"{unknown('prefix', prefix, PREFIXES)} It stands in upstream '{name}'. {OTHER_NAMES}")
    found = card(name)
    return Source(found.name, found.provider, card=found)


def random_parts(ref: str) -> tuple[str, int]:
    """SHAPE[@SEED] or FILE.json[@SEED], taken apart. Seed 0 where none is given."""
    structure, at, seed = ref.rpartition("@")
    if not at or ref.endswith(".json"):
        return ref, 0
    if not seed.isdecimal():
        raise UsageError(
            f"upstream 'random:{ref}': the seed '{seed}' is not a whole number. Type: random:{structure}@1"
        )
    return structure, int(seed)


def provider(source: Source) -> Callable:
    """The function that builds the model of a source. Its module, and torch with it, is imported here."""
    module, _, attribute = PROVIDERS[source.provider].partition(":")
    return getattr(import_module(module), attribute)


def folder_name(name: str) -> str:
    """The name of an upstream as that of a folder. Two names may share one: ids tell them apart."""
    return re.sub(r"[^\w.+@-]+", "-", name, flags=re.ASCII).strip(".-") or "upstream"


def _prefixed(prefix: str, ref: str) -> Source:
    known = PREFIXES[prefix]
    if not ref:
        raise UsageError(f"upstream '{prefix}:': nothing after the colon. Expected {known.form}, as in {known.example}")
    shown = ref
    if prefix == "random":
        structure, _ = random_parts(ref)
        _check_structure(structure)
        shown = _shortened(structure) + ref.removeprefix(structure)
    elif prefix in ("hf", "ckpt"):
        shown = _shortened(ref)
    return Source(f"{prefix}:{shown}", known.provider, ref=ref)


def _check_structure(structure: str) -> None:
    if structure in shape.names() or structure.endswith(".json"):
        return
    if structure in _cards() or structure in aliases():
        own = card(structure).shape
        hint = f"It has the shape of random:{own}" if own else "It is not of our encoder's family."
        raise UsageError(f"upstream 'random:{structure}': that is a model and not a shape. {hint}")
    raise unknown("shape", structure, shape.names(), "A structure of your own is given as random:path/to/config.json")


def _shortened(path: str) -> str:
    """A path as rows show it: its last two parts, without what only says that it is a file."""
    plain = PurePath(path)
    parts = [part for part in plain.parts if part not in (plain.anchor, ".", "..", "~")]
    last = PurePath(*(parts or Path(path).expanduser().resolve().parts)[-2:])
    return (last.with_suffix("") if last.suffix in FILE_SUFFIXES else last).as_posix()


@cache
def _content() -> dict[str, dict]:
    return yaml.safe_load(Path(__file__).with_name("cards.yaml").read_text(encoding="utf-8"))


@cache
def _cards() -> dict[str, Card]:
    return {name: Card(name=name, **fields) for name, fields in _content()["cards"].items()}
