"""Does a model keep the contract, and how fast is it: a wider look than the one at every loading."""

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

import upstream
from upstream.audio import SAMPLE_RATE
from upstream.contract import BATCH_TOLERANCE, breach, layer_differences, made_up, relative_difference
from upstream.cost import COST_SECONDS, timed
from upstream.errors import BenchmarkError, ContractError, UsageError
from upstream.finding import NOTE, OK, Finding, Refused, failed, found, hear, in_samples, obscure, who
from upstream.frames import masked_mean
from upstream.loaded import LoadedUpstream
from upstream.sweep import Sweep
from upstream.types import HiddenStates

TOO_SHORT = (1, 100, 399)  # samples; some models make a frame of them
_BATCH = {40_321: 3.0, 5_001: 0.1, 100_000: 3.0, 16_000: 1.0}  # samples: gain; a loud neighbour would be noticed
_EXACT_SECONDS = (3, 10)  # of audio on which a lower precision is compared with float32
_FAST_SECONDS = 2.0  # what hears 10 s in this time is also timed on 30 s


def check(name: str, weights: str | Path | None, device: str, dtype: str) -> Iterator[Finding]:
    """Load a model and look into everything that the contract promises. Usage errors and missing files are raised."""
    start = time.perf_counter()
    try:
        loaded = upstream.load(name, weights, device, dtype)
    except ContractError as error:
        yield failed("loads", error)
        return
    except BenchmarkError:
        raise
    except Exception as error:
        yield failed("loads", obscure(f"upstream '{name}'", "loading it ended", error))
        return
    shape = f"{loaded.num_layers} x {loaded.dim}, a frame every {loaded.hop} samples"
    text = f"{shape}, {_word(loaded.dtype)} on {loaded.device}, in {time.perf_counter() - start:.1f} s"
    facts = {"layers": loaded.num_layers, "dim": loaded.dim, "hop": loaded.hop, "fingerprint": loaded.fingerprint}
    yield Finding("loads", OK, text, figures=facts)

    sweep = Sweep(loaded)
    yield found("layers", sweep.layers)
    yield found("lengths", sweep.lengths)
    yield found("batch", lambda: _batch(loaded, sweep.shortest))
    yield found("deterministic", lambda: _deterministic(loaded))
    yield found("gradient", lambda: _gradient(loaded))
    yield found("finite", lambda: _finite(loaded))
    yield found("short", lambda: _short(loaded))
    yield found("input", lambda: _input(loaded))
    yield found("dtype", lambda: _dtype(loaded, name, weights))
    yield found("device", lambda: _device(loaded, name, weights, dtype))
    yield from _costs(loaded)


def _batch(loaded: LoadedUpstream, shortest: int) -> Finding:
    if loaded.max_batch == 1:
        return Finding("batch", OK, "sent one utterance at a time (max_batch = 1)")
    wavs = [made_up(samples) * gain for samples, gain in {shortest: 0.1, **_BATCH}.items()]
    value, layer, samples = _worst_in_batch(loaded, *wavs)
    allowed = BATCH_TOLERANCE[loaded.dtype]
    text = f"worst relative difference {value:.1e} (layer {layer} of {samples:,} samples); {allowed:.0e} is allowed"
    return Finding("batch", OK, text, figures={"worst": value, "layer": layer, "samples": samples, "allowed": allowed})


def _worst_in_batch(loaded: LoadedUpstream, *wavs: Tensor) -> tuple[float, int, int]:
    """The largest difference between an utterance alone and in this batch, and its layer and samples."""
    together = hear(loaded, *wavs)
    worst = (0.0, 0, len(wavs[0]))
    for index, wav in enumerate(wavs):
        alone = hear(loaded, wav)
        counts = int(alone.lengths), int(together.lengths[index])
        if counts[0] != counts[1]:
            text = f"{in_samples(wav)} gave {counts[0]} frames alone and {counts[1]} in a batch"
            raise breach(who(loaded), "batch", text, "Count the frames of each utterance from its own samples")
        differences = layer_differences(alone, together, index)
        worst = max(worst, *((value, layer, len(wav)) for layer, value in enumerate(differences)))
    value, layer, samples = worst
    if not value <= BATCH_TOLERANCE[loaded.dtype]:
        text = f"layer {layer} of {samples:,} samples differs by {value:.1e} (relative) between alone and in a batch"
        raise breach(who(loaded), "batch", text, "Mask the padding, or set `max_batch = 1`")
    return worst


def _deterministic(loaded: LoadedUpstream) -> Finding:
    """Not only twice in a row: what it heard in between must not stay in it."""
    wav = made_up(SAMPLE_RATE)
    before = hear(loaded, wav)
    hear(loaded, made_up(2 * SAMPLE_RATE) * 3)
    difference = max(layer_differences(before, hear(loaded, wav), 0))
    if difference:
        text = f"the same waveform before and after another gave features {difference:.1e} apart (relative)"
        raise breach(who(loaded), "deterministic", text, "Call .eval(), use no random numbers, keep nothing of a call")
    return Finding("deterministic", OK, "the same waveform gives the same bytes, whatever was heard in between")


def _gradient(loaded: LoadedUpstream) -> Finding:
    for number, layer in enumerate(hear(loaded, made_up(SAMPLE_RATE)).layers):
        if layer.requires_grad:
            text = f"layer {number} carries a gradient"
            raise breach(who(loaded), "gradient", text, "Leave torch.enable_grad out: the model is frozen")
    return Finding("gradient", OK, "none is carried")


def _finite(loaded: LoadedUpstream) -> Finding:
    click = torch.zeros(SAMPLE_RATE)
    click[SAMPLE_RATE // 2] = 1
    odd = {
        "silence": torch.zeros(SAMPLE_RATE),
        "clipped noise at full scale": made_up(SAMPLE_RATE).sign(),
        "a click": click,
    }
    for title, wav in odd.items():
        try:
            hear(loaded, wav)
        except (ContractError, Refused) as error:
            return failed("finite", error, f"on {title}: ")
    return Finding("finite", OK, f"no NaN and no infinity on {', '.join(odd)}")


def _short(loaded: LoadedUpstream) -> Finding:
    """Alone and beside a long utterance: valid frames, the same in both, or clear words."""
    told: dict[str, list[str]] = {}
    for samples in sorted({*TOO_SHORT, (loaded.min_samples or 2) - 1}):
        try:
            told.setdefault(_outcome(loaded, made_up(samples)), []).append(f"{samples:,}")
        except (ContractError, Refused) as error:
            return failed("short", error, f"on {in_samples(made_up(samples))}: ")
    return Finding("short", OK, "; ".join(f"{', '.join(counts)} samples: {what}" for what, counts in told.items()))


def _outcome(loaded: LoadedUpstream, wav: Tensor) -> str:
    beside = made_up(SAMPLE_RATE)
    try:
        frames = int(hear(loaded, wav).lengths)
    except Refused:
        try:
            hear(loaded, wav, beside)
        except Refused:
            return "refused"
        text = f"{in_samples(wav)} are refused alone and taken beside a longer utterance"
        raise breach(who(loaded), "batch", text, "Refuse an utterance whatever its company") from None
    _worst_in_batch(loaded, wav, beside)
    return f"{frames} frame{'s' if frames > 1 else ''}"


def _input(loaded: LoadedUpstream) -> Finding:
    wavs = [made_up(SAMPLE_RATE).to(loaded.device), made_up(2 * SAMPLE_RATE).to(loaded.device)]
    kept = [wav.clone() for wav in wavs]
    hear(loaded, wavs[0])
    hear(loaded, *wavs)
    if not all(torch.equal(wav, copy) for wav, copy in zip(wavs, kept, strict=True)):
        raise breach(who(loaded), "input", "the waveforms of the caller were changed in place", "Work on a copy")
    return Finding("input", OK, "the waveforms of the caller are as they were")


def _dtype(loaded: LoadedUpstream, name: str, weights: str | Path | None) -> Finding:
    """What comes out is as precise as asked for; less precise arithmetic is measured against float32."""
    for number, layer in enumerate(hear(loaded, made_up(SAMPLE_RATE)).layers):
        if layer.dtype not in (loaded.dtype, torch.float32):
            text = f"layer {number} is {_word(layer.dtype)}, where {_word(loaded.dtype)} was asked for"
            raise breach(who(loaded), "dtype", text, "Return float32, or the dtype asked for")
    if loaded.dtype == torch.float32:
        return Finding("dtype", OK, "float32")
    reference = upstream.load(name, weights, str(loaded.device), "float32")
    wavs = [made_up(seconds * SAMPLE_RATE) for seconds in _EXACT_SECONDS]
    exact, states = ([hear(model, wav) for wav in wavs] for model in (reference, loaded))
    pairs = list(zip(exact, states, strict=True))
    (worst, layer) = max(_worst(layer_differences(a, b, 0)) for a, b in pairs)
    (mean, mean_layer) = max(_worst(_mean_differences(a, b)) for a, b in pairs)
    text = (
        f"{_word(loaded.dtype)} against float32, relative: {worst:.1e} in the worst layer ({layer}), "
        f"{mean:.1e} in the worst time mean (layer {mean_layer})"
    )
    return Finding("dtype", OK, text, figures={"worst_layer": worst, "worst_time_mean": mean})


def _worst(differences: list[float]) -> tuple[float, int]:
    return max((value, layer) for layer, value in enumerate(differences))


def _mean_differences(exact: HiddenStates, states: HiddenStates) -> list[float]:
    pairs = zip(exact.layers, states.layers, strict=True)
    return [relative_difference(masked_mean(a, exact.lengths), masked_mean(b, states.lengths)) for a, b in pairs]


def _device(loaded: LoadedUpstream, name: str, weights: str | Path | None, dtype: str) -> Finding:
    """What comes out is where it was asked for. Where there is a GPU, it and the CPU are compared."""
    states = hear(loaded, made_up(SAMPLE_RATE))
    for number, layer in enumerate(states.layers):
        if layer.device != loaded.device:
            text = f"layer {number} is on {layer.device}, where {loaded.device} was asked for"
            raise breach(who(loaded), "device", text, "Make tensors on the device of the waveforms")
    if not torch.cuda.is_available():
        return Finding("device", OK, f"{loaded.device} (there is no CUDA device to try)")
    other = "cpu" if loaded.device.type == "cuda" else "cuda"
    try:
        elsewhere = hear(upstream.load(name, weights, other, dtype), made_up(SAMPLE_RATE))
    except UsageError as error:
        return Finding("device", NOTE, f"{loaded.device}; not {other}: {error}")
    worst, layer = _worst(layer_differences(_on_cpu(states), _on_cpu(elsewhere), 0))
    text = f"{loaded.device}; {other} differs by {worst:.1e} (relative) in the worst layer ({layer})"
    return Finding("device", OK, text, figures={"worst": worst, "layer": layer})


def _on_cpu(states: HiddenStates) -> HiddenStates:
    return HiddenStates([layer.cpu() for layer in states.layers], states.lengths.cpu(), states.hop)


def _costs(loaded: LoadedUpstream) -> Iterator[Finding]:
    cost = loaded.cost()
    size = "unknown" if cost.parameters is None else f"{cost.parameters:,}"
    yield Finding("parameters", NOTE, size, figures=asdict(cost))
    macs = cost.note
    if cost.macs_per_second is not None:
        macs = f"{cost.macs_per_second / 1e6:,.1f} million multiply-adds per second of audio"
    yield Finding("arithmetic", NOTE, macs)
    if cost.real_time_factor is None:
        yield Finding("speed", NOTE, cost.note)
        return
    where = f"{cost.device}, threads: {cost.threads}"
    yield Finding("speed", NOTE, f"real-time factor {cost.real_time_factor:.3g} ({where})")
    yield found("speed", lambda: _speed(loaded, 1))
    yield found("speed", lambda: _speed(loaded, COST_SECONDS))
    if cost.real_time_factor * COST_SECONDS < _FAST_SECONDS:
        yield found("speed", lambda: _speed(loaded, 30))
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    yield Finding("memory", NOTE, f"{peak / 1e9:.2f} GB at most in this process", figures={"peak_bytes": peak})


def _speed(loaded: LoadedUpstream, seconds: int) -> Finding:
    wav = made_up(seconds * SAMPLE_RATE).to(loaded.device)
    try:
        timing = timed(lambda: hear(loaded, wav), loaded.device)
    except Refused as refusal:
        return Finding("speed", NOTE, f"{seconds} s of audio: refused ({refusal})")
    figures = {"per_second": seconds / timing.seconds, "per_core_second": seconds / timing.core_seconds}
    text = f"{seconds} s of audio: {figures['per_second']:,.1f} s of it a second"
    if loaded.device.type == "cpu":
        text += f", {figures['per_core_second']:,.1f} a core-second"
    return Finding("speed", NOTE, text, figures={"audio_seconds": seconds, **figures})


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
