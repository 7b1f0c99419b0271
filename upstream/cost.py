"""What an upstream costs: its size, its arithmetic, and its time on this machine.

Multiply-adds are counted while the model hears ten seconds, by the operations that torch runs: matrix products,
convolutions, attention, recurrent layers and Fourier transforms. What works on one element at a time (activations,
norms, sums) is not counted, as is usual. An operation that may be a product and is not known makes the count unknown; a
provider whose model uses such operations says the number itself (`Provided.macs`).
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from upstream.audio import SAMPLE_RATE
from upstream.contract import made_up

COST_SECONDS = 10
_REPEATS = 3
_READABLE = ("aten", "prim", "prims", "profiler")  # libraries whose products are counted, but for these:
_UNREADABLE = {
    *("_trilinear", "_euclidean_dist", "_cdist_forward", "addbmm", "_addmm_activation", "_int_mm", "conv_tbc"),
    *("_native_multi_head_attention", "_transformer_encoder_layer_fwd", "miopen_rnn"),
    *("_weight_int8pack_mm", "_weight_int4pack_mm"),
}


@dataclass(frozen=True)
class Cost:
    """None where a figure cannot be known; `note` says why. Multiply-adds and time are those of 10 s of audio."""

    parameters: int | None
    macs_per_second: int | None
    real_time_factor: float | None
    device: str
    threads: int
    note: str | None = None


@dataclass(frozen=True)
class Count:
    """What one call was seen to do."""

    macs: int
    parameters: int
    unknown: tuple[str, ...]  # operations whose arithmetic cannot be told


@dataclass(frozen=True)
class Timing:
    seconds: float
    core_seconds: float  # of this process, all of its threads together


def measure(
    call: Callable[[list[Tensor]], object],
    device: torch.device,
    threads: int,
    parameters: Callable[[], int] | None,
    macs: Callable[[int], int] | None,
) -> Cost:
    """The cost of an upstream; what its provider does not say is counted. No failure here is worth the row."""
    samples = COST_SECONDS * SAMPLE_RATE
    wavs = [made_up(samples).to(device)]
    size, products, note = parameters and parameters(), macs and macs(samples), None
    if size is None or products is None:
        try:
            seen = count(lambda: call(wavs))
        except Exception as error:  # some models that work well cannot be watched
            note = f"nothing could be counted: {type(error).__name__}: {error}"
        else:
            size = (seen.parameters or None) if size is None else size
            if products is None:
                products, note = _known(seen)
    per_second = None if products is None else round(products / COST_SECONDS)
    factor = None
    try:
        factor = float(f"{timed(lambda: call(wavs), device).seconds / COST_SECONDS:.3g}")
    except Exception as error:  # it may serve shorter audio all the same
        note = f"{COST_SECONDS} s of audio could not be heard: {type(error).__name__}: {error}"
    return Cost(size, per_second, factor, str(device), threads, note)


def _known(seen: Count) -> tuple[int | None, str | None]:
    if seen.unknown:
        return None, f"multiply-adds not counted: they cannot be told of {', '.join(seen.unknown)}"
    if not seen.macs:
        return None, "multiply-adds not counted: torch was not seen to do any products"
    return seen.macs, None


def count(call: Callable[[], object]) -> Count:
    """Multiply-adds of a call, and the parameters that took part in it, each once."""
    seen = _Seen()
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation for a whole layer, which nothing can look into
    try:
        with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter, seen:
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    parameters = sum(parameter.numel() for parameter in seen.parameters.values())
    return Count(counter.get_total_flops() // 2, parameters, tuple(sorted(seen.unknown)))


def timed(call: Callable[[], object], device: torch.device) -> Timing:
    """Medians of three calls, after one that warms up."""
    timings = []
    for _ in range(1 + _REPEATS):
        _finish(device)
        start, cores = time.perf_counter(), time.process_time()
        call()
        _finish(device)
        timings.append((time.perf_counter() - start, time.process_time() - cores))
    return Timing(*(median(column) for column in zip(*timings[1:], strict=True)))


def parameters_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Seen(TorchDispatchMode):
    """Remembers the parameters that operations were given, and the operations that cannot be counted."""

    def __init__(self) -> None:
        super().__init__()
        self.parameters: dict[int, nn.Parameter] = {}
        self.unknown: set[str] = set()

    def __torch_dispatch__(
        self, operation: torch._ops.OpOverload, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        library, _, name = operation._schema.name.partition("::")
        if library not in _READABLE or name in _UNREADABLE:
            self.unknown.add(operation._schema.name)
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, nn.Parameter):
                self.parameters[id(value)] = value
        return operation(*args, **kwargs)


# Floating point operations by the shapes of the arguments, for what torch's own counter (as of 2.13) does not know.


def _attention(query: Iterable[int], key: Iterable[int], value: Iterable[int], *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _recurrent_layer(x: torch.Size, *weights: object, **_: object) -> int:
    """One layer, one direction: every matrix is applied at every step."""
    return 2 * math.prod(x[:-1]) * _matrices(weights[:4])


def _recurrent_stack(x: torch.Size, weights: list, *_: object, **__: object) -> int:
    return 2 * math.prod(x[:-1]) * _matrices(weights)


def _matrices(shapes: Iterable) -> int:
    return sum(math.prod(shape) for shape in shapes if isinstance(shape, torch.Size) and len(shape) == 2)


def _matrix_vector(matrix: torch.Size, *_: object, **__: object) -> int:
    return 2 * math.prod(matrix)


def _added_matrix_vector(_: torch.Size, matrix: torch.Size, *__: object, **___: object) -> int:
    return 2 * math.prod(matrix)


def _complex_fft(x: torch.Size, dims: list[int], *_: object, **__: object) -> int:
    """5 n log2 n for n points, the usual count of the radix-2 algorithm."""
    return round(5 * math.prod(x) * math.log2(math.prod(x[dim] for dim in dims)))


def _real_fft(x: torch.Size, dims: list[int], *_: object, **__: object) -> int:
    return _complex_fft(x, dims) // 2


def _inverse_real_fft(_: torch.Size, dims: list[int], *__: object, out_shape: torch.Size, **___: object) -> int:
    return _complex_fft(out_shape, dims) // 2


_aten = torch.ops.aten
_FORMULAS = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten.mkldnn_rnn_layer: _recurrent_layer,
    _aten._cudnn_rnn: _recurrent_stack,
    _aten.mv: _matrix_vector,
    _aten.addmv: _added_matrix_vector,
    _aten.dot: _matrix_vector,
    _aten._fft_r2c: _real_fft,
    _aten._fft_c2c: _complex_fft,
    _aten._fft_c2r: _inverse_real_fft,
}
