"""From the words of the command line to a torch device and a torch dtype; and what the CPU likes."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from upstream.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """`auto` is the first CUDA device where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index.isdigit() or name == "cuda"):
        raise UsageError(f"unknown device '{name}'. Known: auto, cpu, cuda, cuda:0, cuda:1, ... Use --device cpu.")
    if not torch.cuda.is_available():
        raise UsageError(f"device '{name}' was asked for, but this machine has no CUDA device. Use --device cpu.")
    if int(index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device '{name}' was asked for, but there are {torch.cuda.device_count()} CUDA devices, counted from 0. "
            "Use --device cuda:0 or --device cpu."
        )
    return torch.device("cuda", int(index or 0))


def pick_dtype(name: str) -> torch.dtype:
    """`auto` is float32: the precision in which the published figures were made."""
    if name == "auto":
        return torch.float32
    if name not in DTYPES:
        raise UsageError(f"unknown dtype '{name}'. Known: auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def only_float32(upstream: str, dtype: torch.dtype) -> None:
    """For the providers that have one precision."""
    if dtype != torch.float32:
        raise UsageError(f"upstream '{upstream}' runs in float32 only, not {str(dtype)[6:]}. Use --dtype float32.")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch on the CPU with so many threads for a while.

    Small products are as fast on one thread, and many times faster when anything else runs on the machine: threads that
    wait for each other every few microseconds wait for the scheduler instead.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Float32 means float32 on CUDA too, where torch computes convolutions with 10 bits of mantissa by default."""
    if device.type != "cuda":
        yield
        return
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def tune_memory() -> None:
    """For this process: buffers that come and go are kept, and products of few lengths are remembered.

    Buffers of tens of megabytes would else be mapped and cleared anew every time. oneDNN prepares a product for each
    number of frames that it meets, and keeps a thousand of them, which comes to a gigabyte; it reads the limit when it
    is first used.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # no glibc
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 256 << 20)
