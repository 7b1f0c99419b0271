"""Tensors that loading a checkpoint has left as they were drawn.

Some models are loaded leniently: keys that a checkpoint lacks are printed at best. Where such a tensor has a say in the
features, a number drawn at random would pass for a trained model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Module

from upstream.errors import DataError

PROBE = 8000  # samples: half a second


class Unset:
    """Which tensors of which modules are still unset, under the keys they were looked for."""

    def __init__(self) -> None:
        self._keys: dict[tuple[Module, str], str] = {}

    def note(self, module: Module, prefix: str, found: dict[str, Tensor], missing: list[str]) -> None:
        own = [*module._parameters, *module._buffers]
        for name in own:
            if prefix + name in found:
                self._keys.pop((module, name), None)
            elif prefix + name in missing:
                self._keys[module, name] = prefix + name

    @torch.no_grad()
    def check(self, who: str, hear: Callable[[Tensor], list[Tensor]]) -> None:
        """Raises `DataError` if the features depend on an unset tensor: changes them all, and listens."""
        if not self._keys:
            return
        wav = torch.sin(torch.arange(PROBE) / 7)
        tensors = [getattr(module, name) for module, name in self._keys]
        tensors = [tensor for tensor in tensors if tensor.is_floating_point()]
        kept = [tensor.clone() for tensor in tensors]
        before = hear(wav)
        for tensor in tensors:
            tensor.mul_(-1.5).add_(0.1)
        after = hear(wav)
        for tensor, value in zip(tensors, kept, strict=True):
            tensor.copy_(value)
        if all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            return
        keys = sorted(self._keys.values())
        some = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        raise DataError(
            f"{who}: the weights lack {len(keys)} tensors, which would stay random: {some}. "
            "Is this the checkpoint of this model? Correct --weights."
        )


@contextmanager
def watch_unset() -> Iterator[Unset]:
    """Watches every `load_state_dict` while it lasts."""
    unset = Unset()
    original = Module._load_from_state_dict

    def watched(
        self: Module, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing: list, *rest: list
    ) -> None:
        original(self, state_dict, prefix, local_metadata, strict, missing, *rest)
        unset.note(self, prefix, state_dict, missing)

    Module._load_from_state_dict = watched
    try:
        yield unset
    finally:
        Module._load_from_state_dict = original
