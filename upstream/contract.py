"""What every upstream promises, checked at each call, and measured once when it is loaded.

The clauses, by the names that messages use: `raises`, `returns`, `layers`, `shape`, `lengths`, `hop`, `finite`,
`declared`, `deterministic`, `batch`. `check-upstream` looks further, and has `gradient`, `input`, `dtype` and `device`
besides.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from upstream.audio import SAMPLE_RATE
from upstream.errors import ContractError
from upstream.types import HiddenStates

HOP_SLACK = 5  # frames by which a length may differ from samples / hop: windows, padding, rounding
PROBE_SECONDS = (0.6, 1.0, 1.7)  # their differences are whole numbers of the usual hops
BATCH_TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
RETURNS = (
    "Return (layers, lengths): a list of (batch, frames, dim) tensors, input side first, and the number of valid "
    "frames of each utterance"
)


@dataclass(frozen=True)
class Shape:
    """What does not change from call to call."""

    hop: int
    num_layers: int
    dim: int


@dataclass(frozen=True)
class Declared:
    """What an upstream says of itself; None where it says nothing."""

    hop: int | None = None
    num_layers: int | None = None
    dim: int | None = None


def breach(who: str, clause: str, found: str, todo: str) -> ContractError:
    return ContractError(f"{who} breaks the contract, clause '{clause}': {found}. {todo}.")


def clause_of(error: ContractError) -> str | None:
    """The clause that a message of `breach` names."""
    named = re.search(r"breaks the contract, clause '(\w+)'", str(error))
    return named[1] if named else None


def read_output(who: str, output: object, batch: int) -> tuple[list[Tensor], Tensor]:
    """Layers and lengths out of whatever an upstream returned: a pair, or an object with these two attributes."""
    if isinstance(output, (tuple, list)) and len(output) == 2:
        layers, lengths = output
    elif hasattr(output, "layers") and hasattr(output, "lengths"):
        layers, lengths = output.layers, output.lengths
    else:
        raise breach(who, "returns", f"a call returned {_in_words(output)}", RETURNS)
    if not isinstance(layers, (tuple, list)) or not layers or not all(isinstance(x, Tensor) for x in layers):
        raise breach(who, "returns", f"the layers are {_in_words(layers)}", RETURNS)
    layers = list(layers)
    for index, layer in enumerate(layers):
        if layer.dim() != 3 or layer.shape[0] != batch or layer.shape != layers[0].shape:
            beside = f" beside {tuple(layers[0].shape)} of layer 0" if index else ""
            found = f"layer {index} is {tuple(layer.shape)}{beside}, in a batch of {batch}"
            raise breach(who, "shape", found, "Give every layer as (batch, frames, dim)")
        if not layer.is_floating_point():
            raise breach(who, "shape", f"layer {index} holds {layer.dtype}", "Give every layer as floats")
    return layers, _read_lengths(who, lengths, batch, layers[0])


def check_call(who: str, states: HiddenStates, samples: list[int], shape: Shape) -> None:
    """The clauses that one call can break, cheap enough to be checked at every call."""
    if len(states.layers) != shape.num_layers:
        found = f"{len(states.layers)} layers for {samples} samples, {shape.num_layers} before"
        raise breach(who, "layers", found, "Return the same layers whatever the input")
    if states.dim != shape.dim:
        found = f"{states.dim} values per frame for {samples} samples, {shape.dim} before"
        raise breach(who, "shape", found, "Return the same dimension whatever the input")
    for index, (length, count) in enumerate(zip(states.lengths.tolist(), samples, strict=True)):
        if abs(length - count / shape.hop) > HOP_SLACK:
            found = (
                f"utterance {index} has {count} samples and {length} frames; "
                f"at a hop of {shape.hop} samples about {count / shape.hop:.0f} are expected"
            )
            raise breach(who, "hop", found, "Return the exact number of frames, or set `hop` in the class")
    check_finite(who, states)


def check_finite(who: str, states: HiddenStates) -> None:
    """Only valid frames count. One number a layer settles it, unless there is something to find."""
    totals = torch.stack([layer.sum(dtype=torch.float32) for layer in states.layers])
    if totals.isfinite().all():
        return
    for number, layer in enumerate(states.layers):
        for index, length in enumerate(states.lengths.tolist()):
            bad = (~layer[index, :length].isfinite()).any(dim=1).nonzero()
            if len(bad):
                found = f"layer {number} of utterance {index} holds a NaN or infinity, first in frame {int(bad[0])}"
                raise breach(who, "finite", found, "Look for a logarithm or a division of zero, or for an overflow")


def probe(
    who: str,
    call: Callable[[list[Tensor]], HiddenStates],
    declared: Declared,
    device: torch.device,
    dtype: torch.dtype,
    batches: bool,
) -> Shape:
    """Measures hop, layers and dim on made-up waveforms, and whether the features depend on anything but the waveform.

    `call` returns states that passed `read_output`. `batches` is False for an upstream that is only ever sent one
    utterance at a time.
    """
    wavs = [made_up(round(seconds * SAMPLE_RATE)).to(device) for seconds in PROBE_SECONDS]
    samples = [len(wav) for wav in wavs]
    alone = [call([wav]) for wav in wavs]
    declared = Declared(declared.hop or alone[0].hop or None, declared.num_layers, declared.dim)
    if declared.hop is None:
        _check_nothing_hidden(who, samples, alone)
    shape = Shape(
        _hop(who, samples, [int(states.lengths) for states in alone], declared.hop),
        len(alone[0].layers),
        alone[0].dim,
    )
    for key in ("num_layers", "dim"):
        said, measured = getattr(declared, key), getattr(shape, key)
        if said not in (None, measured):
            raise breach(who, "declared", f"`{key}` is declared as {said}, measured {measured}", f"Correct `{key}`")
    for count, states in zip(samples, alone, strict=True):
        check_call(who, states, [count], shape)
    _check_deterministic(who, alone[0], call([wavs[0]]))
    if batches:
        together = call(wavs)
        check_call(who, together, samples, shape)
        _check_batch(who, alone, together, dtype)
    return shape


def hop_bounds(frames_of: dict[int, int]) -> tuple[float, float]:
    """Between which hops frames = floor((samples + offset) / hop) gives all of these frames, at some offset.

    No hop does where the first bound is not below the second. (Each count confines the offset to an interval that
    depends on the hop; the hop is possible where every two of them meet.)
    """
    low, high = 0.0, math.inf
    counts = sorted(frames_of.items())
    for place, (samples, frames) in enumerate(counts):
        for more_samples, more_frames in counts[place + 1 :]:
            step, grown = more_samples - samples, more_frames - frames
            low = max(low, step / (grown + 1) if grown > -1 else math.inf)
            high = min(high, step / (grown - 1) if grown > 1 else math.inf)
    return low, high


def offsets(frames_of: dict[int, int], hop: int) -> range:
    """Every offset with which frames = floor((samples + offset) / hop) gives all of these frames."""
    first = max(frames * hop - samples for samples, frames in frames_of.items())
    return range(first, min((frames + 1) * hop - samples for samples, frames in frames_of.items()))


def _read_lengths(who: str, lengths: object, batch: int, layer: Tensor) -> Tensor:
    todo = "Return one number of valid frames per waveform, from 1 to the frames of the layers"
    try:
        given = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise breach(who, "lengths", f"the lengths are {_in_words(lengths)}", todo) from error
    whole = given.to(torch.int64)
    if given.shape != (batch,) or not torch.equal(whole.to(given.dtype), given):
        raise breach(who, "lengths", f"the lengths are {given.tolist()}, in a batch of {batch}", todo)
    if not 1 <= int(whole.min()) <= int(whole.max()) <= layer.shape[1]:
        raise breach(who, "lengths", f"the lengths are {whole.tolist()}, the layers have {layer.shape[1]} frames", todo)
    return whole.to(layer.device)


def _hop(who: str, samples: list[int], frames: list[int], declared: int | None) -> int:
    """Samples per frame from how frames grow with samples: the roundest number that explains all of them."""
    more_samples = [count - samples[0] for count in samples[1:]]
    more_frames = [count - frames[0] for count in frames[1:]]
    possible = [
        hop
        for hop in range(1, SAMPLE_RATE)
        if all(abs(n / hop - f) <= 1 for n, f in zip(more_samples, more_frames, strict=True))
    ]
    found = f"waveforms of {samples} samples gave {frames} frames"
    todo = "Return exact lengths, or set `hop` in the class to the samples per frame"
    if not possible:
        raise breach(who, "hop", f"{found}, which no hop explains", todo)
    if declared is None:
        return max(possible, key=lambda hop: math.gcd(hop, SAMPLE_RATE))
    if declared not in possible:
        measured = f"{possible[0]} to {possible[-1]}" if len(possible) > 1 else f"{possible[0]}"
        raise breach(who, "declared", f"`hop` is declared as {declared}, {found}: a hop of {measured}", "Correct `hop`")
    return declared


def _check_nothing_hidden(who: str, samples: list[int], alone: list[HiddenStates]) -> None:
    """Without a declared hop, lengths that are all too short by the same factor would pass for a larger hop."""
    for count, states in zip(samples, alone, strict=True):
        frames, length = states.layers[0].shape[1], int(states.lengths)
        if frames - length > HOP_SLACK:
            found = f"{count} samples alone gave {frames} frames, of which only {length} are said to be valid"
            todo = "Correct the lengths; or, if the rest is padding, set `hop` in the class"
            raise breach(who, "lengths", found, todo)


def _check_deterministic(who: str, first: HiddenStates, second: HiddenStates) -> None:
    same = len(first.layers) == len(second.layers) and torch.equal(first.lengths, second.lengths)
    worst = max(layer_differences(first, second, 0)) if same else math.inf
    if worst:
        found = f"the same waveform twice gave features {worst:.1e} apart (relative)"
        raise breach(who, "deterministic", found, "Call .eval() on the model, and use no dropout and no random numbers")


def _check_batch(who: str, alone: list[HiddenStates], together: HiddenStates, dtype: torch.dtype) -> None:
    todo = "Mask the padding, or set `max_batch = 1` in the class: utterances are then sent one at a time"
    for index, states in enumerate(alone):
        counts = int(states.lengths), int(together.lengths[index])
        if counts[0] != counts[1]:
            found = f"utterance {index} has {counts[0]} frames alone and {counts[1]} in a padded batch"
            raise breach(who, "batch", found, todo)
        worst = max(layer_differences(states, together, index))
        if worst > BATCH_TOLERANCE[dtype]:
            found = (
                f"utterance {index} of a padded batch differs from itself alone by {worst:.1e} (relative); "
                f"{BATCH_TOLERANCE[dtype]:.0e} is allowed"
            )
            raise breach(who, "batch", found, todo)


def layer_differences(alone: HiddenStates, other: HiddenStates, index: int) -> list[float]:
    """The relative difference of each layer, on the valid frames of one utterance."""
    length = int(alone.lengths)
    pairs = [(a[0, :length], b[index, :length]) for a, b in zip(alone.layers, other.layers, strict=True)]
    return [relative_difference(a, b) for a, b in pairs]


def relative_difference(expected: Tensor, found: Tensor) -> float:
    expected, found = expected.detach().double(), found.detach().double()
    return float((expected - found).norm() / expected.norm().clamp(min=1e-30))


def made_up(samples: int) -> Tensor:
    """A tone in noise, the same for the same number of samples."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    tone = torch.sin(torch.arange(samples) * (2 * math.pi * 220 / SAMPLE_RATE))
    return 0.03 * noise + 0.1 * tone


def _in_words(value: object) -> str:
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)} ({', '.join(type(item).__name__ for item in value[:4])})"
    return f"an object of type {type(value).__name__}"
