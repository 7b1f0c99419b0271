"""`s3prl:NAME`: any entry of s3prl's hub, and the cards that only s3prl has, run by s3prl's own code.

s3prl builds a model from the files that its entry would download; `--weights` stands in for them: a file for the one
that is wanted, or a folder that holds all of them under the names they have in their URLs.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import Module

from upstream.adapters.alone import adapter_code, run_alone
from upstream.adapters.imports import import_s3prl, import_torchaudio, missing_package, quiet
from upstream.adapters.s3prl_files import Files, supplied
from upstream.adapters.unset import watch_unset
from upstream.devices import only_float32
from upstream.errors import BenchmarkError, ContractError, DataError, MissingError, UsageError
from upstream.fingerprint import paths_digest, tensors_digest
from upstream.loaded import Provided
from upstream.registry import Source

LOCAL = ("_local", "_custom")  # entries that are given a checkpoint instead of knowing one


def provide(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for `s3prl:` names, and for cards that come through s3prl."""
    only_float32(source.name, dtype)
    who = f"upstream '{source.name}'"
    name = source.ref or source.card.s3prl or source.card.name
    hub = import_s3prl()
    entry = _entry(hub, name, who)
    files = Files(who, weights)
    expert = _built(entry, name, files).to(device)
    facts = {
        "entry": name,
        "files": paths_digest(files.used),
        "s3prl": import_s3prl("s3prl").__version__,
        "torchaudio": import_torchaudio().__version__,
        "code": adapter_code(__file__),
    }
    return Provided(
        run=run_alone(who, lambda wav: _hear(expert, wav, who)),
        name=source.name,
        facts=lambda: {**facts, "weights": tensors_digest(_tensors(expert))},
        hop=_hop(expert),
        max_batch=1,
    )


def _entry(hub: ModuleType, name: str, who: str) -> Callable:
    """An entry by its name. The hub lists some of its own imports too; they are no models."""
    entries = {key: getattr(hub, key) for key in hub.options()}
    entries = {key: entry for key, entry in entries.items() if getattr(entry, "__module__", "").endswith(".hubconf")}
    if name not in entries:
        near = get_close_matches(name, entries, n=3, cutoff=0.5)
        known = f"Did you mean: {', '.join(near)}?" if near else f"It has {len(entries)}: see s3prl.hub.options()."
        raise UsageError(f"{who}: s3prl's hub has no entry '{name}'. {known}")
    if name.endswith("_url"):
        raise UsageError(f"{who} takes a URL. Type: --upstream s3prl:{name[:-4]}_local --weights PATH")
    return entries[name]


def _built(entry: Callable, name: str, files: Files) -> Module:
    arguments = {}
    if name.endswith(LOCAL):
        arguments["ckpt"] = str(files.given())
    try:
        # Seeded, though nothing that counts may stay as it was drawn: see `watch_unset`.
        with quiet(), supplied(files), torch.random.fork_rng(devices=[]), watch_unset() as unset:
            torch.manual_seed(0)
            expert = entry(**arguments)
    except BenchmarkError:
        raise
    except ModuleNotFoundError as error:
        raise missing_package(files.who, error) from error
    except Exception as error:
        raise _not_built(files, error, inspect.signature(entry)) from error
    if not isinstance(expert, Module):
        raise UsageError(f"{files.who} is a {type(expert).__name__}, not a model. Choose another entry of s3prl's hub.")
    files.check_all_used()
    expert.eval()
    unset.check(files.who, lambda wav: _hear(expert, wav, files.who))
    return expert


def _not_built(files: Files, error: Exception, takes: inspect.Signature) -> BenchmarkError:
    if "not installed" in str(error):  # some entries look for their packages themselves
        return MissingError(f"{files.who}: {error}. Install it, or choose another upstream.")
    made_of = f" from {', '.join(map(str, files.used))}" if files.used else f" (it takes {takes})"
    return DataError(
        f"{files.who}: s3prl could not build it{made_of}: {type(error).__name__}: {error}. "
        "Is this the checkpoint of this entry? Correct --weights, or the name."
    )


def _hear(expert: Module, wav: Tensor, who: str) -> list[Tensor]:
    states = expert([wav.clone()])["hidden_states"]
    if isinstance(states, Tensor):
        states = [states]
    layers = list(states.values() if isinstance(states, Mapping) else states)
    if any(layer.dim() != 3 or layer.shape[0] != 1 for layer in layers):
        sizes = [tuple(layer.shape) for layer in layers]
        raise ContractError(f"{who}: hidden states of {sizes} are no frames over time. Choose another upstream.")
    return layers


def _hop(expert: Module) -> int | None:
    return int(expert.get_downsample_rates("hidden_states")) if hasattr(expert, "get_downsample_rates") else None


def _tensors(expert: Module) -> Iterator[tuple[str, Tensor]]:
    return ((key, value) for key, value in expert.state_dict().items() if isinstance(value, Tensor))
