"""Digests of everything that changes the bytes of a feature, so that a changed model never reads an old one."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

import torch

_CHUNK = 1 << 22


def fingerprint(facts: Mapping[str, object]) -> str:
    """One short hex string for a mapping of plain values, whatever the order of its keys."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def paths_digest(paths: Iterable[Path]) -> str:
    """Digest of the contents of files, and of all files below folders, in the order given. Dates do not count."""
    digest = blake2b(digest_size=16)
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
            with file.open("rb") as content:
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()


def tensors_digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Digest of named tensors: the weights a model really holds, wherever it read them from."""
    digest = blake2b(digest_size=16)
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
