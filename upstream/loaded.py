"""A loaded upstream: a provider's model behind one interface, with the contract checked at every call."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor
from torch.nn.functional import pad

from upstream import registry
from upstream.contract import Declared, Shape, check_call, probe, read_output
from upstream.cost import Cost, measure, parameters_of
from upstream.devices import full_float32, pick_device, pick_dtype, threads
from upstream.errors import BenchmarkError, ContractError, DataError, MissingError, ResourceError, UsageError
from upstream.fingerprint import fingerprint
from upstream.types import HiddenStates


@dataclass
class Provided:
    """What a provider hands over: a model, what it says of itself, and all that its features depend on.

    `run` takes a list of waveforms on the device and returns anything `contract.read_output` understands. `facts` is
    called after the first forward passes, when everything is in memory; its values are hashed into the fingerprint.
    `source_file` is the user's own file, so that an exception can be traced to its line.
    """

    run: Callable[[list[Tensor]], object]
    name: str
    facts: Callable[[], Mapping[str, object]]
    hop: int | None = None
    num_layers: int | None = None
    dim: int | None = None
    max_batch: int | None = None
    source_file: Path | None = None
    one_thread: bool = False  # its work on the CPU is too small to be shared
    min_samples: int | None = None  # shorter waveforms are refused before they reach it
    parameters: Callable[[], int] | None = None  # how many; None: those that a call is seen to use
    macs: Callable[[int], int] | None = None  # multiply-adds for so many samples; None: counted by watching a call
    receptive_field: int | None = None  # samples that one frame hears; known where frames can be joined exactly
    batch_seconds: float = 0.0  # padded seconds that a batch may hold; 0: one utterance at a time is fastest
    concurrent: bool = False  # calls may run at the same time, each on a thread of its own
    note: str | None = None  # what whoever reads a row should know of how it hears


@dataclass
class Remembered:
    """What is known of a loaded upstream without its model: enough to plan with, and to find what it heard before."""

    name: str
    fingerprint: str
    shape: Shape
    max_batch: int | None
    min_samples: int | None
    receptive_field: int | None
    batch_seconds: float
    note: str | None
    concurrent: bool
    one_thread: bool
    cost: Cost | None = None

    def as_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict) -> "Remembered":
        cost = content["cost"]
        return cls(**content | {"shape": Shape(**content["shape"]), "cost": cost and Cost(**cost)})


class LoadedUpstream:
    """Call it with a list of 1-D 16 kHz waveforms; it returns `HiddenStates`.

    `fingerprint` changes with everything that changes the bytes of the features. Where it can be provided `again`, its
    model may be let go of in between, or may not have been loaded yet in this process.
    """

    def __init__(
        self,
        provided: Provided | Remembered,
        provider: str,
        device: torch.device,
        dtype: torch.dtype,
        again: Callable[[], Provided] | None = None,
    ) -> None:
        self._provider, self.device, self.dtype, self._again = provider, device, dtype, again
        self._provided: Provided | None = None
        self._loading = Lock()
        self.name = provided.name
        known = provided if isinstance(provided, Remembered) else self._met(provided)
        self.fingerprint, self.shape = known.fingerprint, known.shape
        self.hop, self.num_layers, self.dim = self.shape.hop, self.shape.num_layers, self.shape.dim
        self.max_batch, self.min_samples = known.max_batch, known.min_samples
        self.receptive_field, self.batch_seconds = known.receptive_field, known.batch_seconds
        self.note, self.concurrent = known.note, known.concurrent
        self._one_thread, self._cost = known.one_thread, known.cost
        self._threads = self._threads_of(known.one_thread)

    def _met(self, provided: Provided) -> Remembered:
        """A model that was just loaded, after a look at what it does."""
        self._provided = provided
        who, declared = f"upstream '{provided.name}'", Declared(provided.hop, provided.num_layers, provided.dim)
        with torch.no_grad(), threads(self._threads_of(provided.one_thread)):
            shape = probe(who, self._run, declared, self.device, self.dtype, batches=provided.max_batch != 1)
        facts = {
            **provided.facts(),
            "provider": self._provider,
            "name": provided.name,
            "dtype": str(self.dtype),
            "device": self.device.type,
            "torch": torch.__version__,
        }
        return Remembered(
            name=provided.name,
            fingerprint=fingerprint(facts),
            shape=shape,
            max_batch=provided.max_batch,
            min_samples=provided.min_samples,
            receptive_field=provided.receptive_field,
            batch_seconds=provided.batch_seconds,
            note=provided.note,
            concurrent=provided.concurrent and self.device.type == "cpu",
            one_thread=provided.one_thread,
        )

    @staticmethod
    def _threads_of(one_thread: bool) -> int:
        return 1 if one_thread else torch.get_num_threads()

    def remembered(self) -> Remembered:
        """What another process needs to know instead of loading the model to find it out."""
        return Remembered(
            name=self.name,
            fingerprint=self.fingerprint,
            shape=self.shape,
            max_batch=self.max_batch,
            min_samples=self.min_samples,
            receptive_field=self.receptive_field,
            batch_seconds=self.batch_seconds,
            note=self.note,
            concurrent=self.concurrent,
            one_thread=self._one_thread,
            cost=self._cost,
        )

    @property
    def in_memory(self) -> bool:
        return self._provided is not None

    def release(self) -> None:
        """Let go of the model; it is loaded again when it is wanted."""
        if self._again is not None:
            self._provided = None

    def _model(self) -> Provided:
        """The model, loaded again where it was let go of; that it is the same one is looked at."""
        with self._loading:
            if self._provided is None and self._met(self._again()).fingerprint != self.fingerprint:
                self._provided = None
                raise DataError(f"{self._who} has changed since this command began. Run the command again.")
            return self._provided

    def __repr__(self) -> str:
        return f"LoadedUpstream({self.name!r}, {self.num_layers} x {self.dim} every {self.hop} samples, {self.device})"

    # no_grad and not inference_mode: heads are trained on what comes out of here.
    @torch.no_grad()
    def __call__(self, wavs: list[Tensor]) -> HiddenStates:
        _check_waveforms(wavs)
        self._check_long_enough(wavs)
        self._model()
        wavs = [wav.to(self.device, torch.float32) for wav in wavs]
        size = self.max_batch or len(wavs)
        # Its own number of threads, whoever calls: the same sums in the same order. Calls side by side share the cores.
        with threads(min(self._threads, torch.get_num_threads()) if self.concurrent else self._threads):
            return _merged([self._checked(wavs[start : start + size]) for start in range(0, len(wavs), size)])

    def cost(self) -> Cost:
        """Parameters, arithmetic and time on ten seconds of audio; measured when first asked for."""
        if self._cost is None:
            model = self._model()
            parameters = model.parameters
            if parameters is None and isinstance(model.run, torch.nn.Module):
                parameters = partial(parameters_of, model.run)
            self._cost = measure(self, self.device, self._threads, parameters, model.macs)
        return self._cost

    @property
    def _who(self) -> str:
        return f"upstream '{self.name}'"

    def _check_long_enough(self, wavs: list[Tensor]) -> None:
        for index, wav in enumerate(wavs):
            if self.min_samples is not None and len(wav) < self.min_samples:
                raise DataError(
                    f"waveform {index} of {len(wavs)} has {len(wav)} samples; {self._who} needs at least "
                    f"{self.min_samples} samples. Remove it, or use an upstream with a shorter window."
                )

    def _checked(self, wavs: list[Tensor]) -> HiddenStates:
        states = self._run(wavs)
        states.hop = self.hop
        check_call(self._who, states, [len(wav) for wav in wavs], self.shape)
        return states

    def _run(self, wavs: list[Tensor]) -> HiddenStates:
        model = self._provided
        try:
            with full_float32(self.device):
                output = model.run(wavs)
        except BenchmarkError:
            raise
        except Exception as error:
            if out_of_memory(error):
                longest = max(map(len, wavs))
                raise ResourceError(
                    f"{self._who} ran out of memory on {len(wavs)} waveforms of up to {longest} samples: {error}. "
                    "Use smaller batches or --device cpu."
                ) from error
            if model.source_file is None:
                raise
            raise _raised_by_user(self._who, error, model.source_file) from error
        layers, lengths = read_output(self._who, output, len(wavs))
        hop = getattr(output, "hop", None)
        return HiddenStates(layers, lengths, hop if isinstance(hop, int) else 0)


def load_upstream(name: str, weights: str | Path | None, device: str, dtype: str) -> LoadedUpstream:
    """See `upstream.load`."""
    again, *where = _provider_of(name, weights, device, dtype)
    return LoadedUpstream(again(), *where, again)


def recall_upstream(
    known: Remembered, name: str, weights: str | Path | None, device: str, dtype: str
) -> LoadedUpstream:
    """An upstream that is known from before; its model is loaded when it is first asked to hear something."""
    again, *where = _provider_of(name, weights, device, dtype)
    return LoadedUpstream(known, *where, again)


def _provider_of(
    name: str, weights: str | Path | None, device: str, dtype: str
) -> tuple[Callable[[], Provided], str, torch.device, torch.dtype]:
    source = registry.resolve(name)
    if weights is not None and not Path(weights).expanduser().exists():
        raise MissingError(f"weights of upstream '{name}' not found: {weights}. Correct --weights.")
    chosen_device, chosen_dtype = pick_device(device), pick_dtype(dtype)
    path = Path(weights).expanduser() if weights else None
    again = partial(registry.provider(source), source, path, chosen_device, chosen_dtype)
    return again, source.provider, chosen_device, chosen_dtype


def user_line(error: BaseException, file: Path) -> str:
    """Where in the user's file an exception came from: the deepest line of it in the traceback."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}, line {lines[-1].lineno}: {lines[-1].line}" if lines else str(file)


def out_of_memory(error: Exception) -> bool:
    """On the CPU torch raises a plain RuntimeError."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _raised_by_user(who: str, error: Exception, file: Path) -> ContractError:
    return ContractError(
        f"{who} breaks the contract, clause 'raises': its code raised {type(error).__name__}: {error} "
        f"({user_line(error, file)}). Correct the file and run again."
    )


def _check_waveforms(wavs: list[Tensor]) -> None:
    if not isinstance(wavs, (list, tuple)) or not wavs:
        raise UsageError("an upstream is called with a list of 1-D float tensors, at least one of them.")
    for index, wav in enumerate(wavs):
        if not isinstance(wav, Tensor) or wav.dim() != 1 or not wav.is_floating_point():
            found = f"{tuple(wav.shape)} {wav.dtype}" if isinstance(wav, Tensor) else type(wav).__name__
            raise UsageError(
                f"waveform {index} is {found}; an upstream is called with a list of 1-D float tensors at 16 kHz."
            )


def _merged(parts: list[HiddenStates]) -> HiddenStates:
    """One batch out of several, padded with zeros to the longest."""
    if len(parts) == 1:
        return parts[0]
    frames = max(part.layers[0].shape[1] for part in parts)
    layers = [
        torch.cat([pad(layer, (0, 0, 0, frames - layer.shape[1])) for layer in same])
        for same in zip(*(part.layers for part in parts), strict=True)
    ]
    return HiddenStates(layers, torch.cat([part.lengths for part in parts]), parts[0].hop)
