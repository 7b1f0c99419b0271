"""One utterance at a time: other libraries' models are batch invariant only where a batch holds one utterance."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from upstream import frames as frame_arithmetic
from upstream.audio import SAMPLE_RATE
from upstream.errors import BenchmarkError, ContractError, DataError
from upstream.fingerprint import paths_digest
from upstream.loaded import out_of_memory

FEW_FRAMES = 2


def run_alone(who: str, hear: Callable[[Tensor], list[Tensor]]) -> Callable[[list[Tensor]], tuple]:
    """`Provided.run` for `max_batch=1`, from a function from one waveform to its layers, (1, frames, dim) each."""

    def run(wavs: list[Tensor]) -> tuple[list[Tensor], list[int]]:
        [wav] = wavs
        try:
            layers = hear(wav)
        except BenchmarkError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise _unheard(who, wav, f"{type(error).__name__}: {error}") from error
        sizes = [tuple(layer.shape) for layer in layers]
        if len(set(sizes)) != 1:
            raise ContractError(
                f"{who}: its hidden states have the sizes {sizes}; a weighted sum needs equal ones. "
                "Choose another upstream, or wrap it in a Python file of your own that picks layers."
            )
        frames = sizes[0][1]
        if frames == 0:
            raise _unheard(who, wav, "it makes no frame")
        # The variance of one frame is no number. Of many frames that would be a fault, and the contract says so.
        if frames <= FEW_FRAMES and not all(layer.isfinite().all() for layer in layers):
            raise _unheard(who, wav, f"{frames} frames are too few to be normalised")
        return layers, [frames]

    return run


def adapter_code(*files: str) -> str:
    """Digest of the code that decides what an adapter's features are."""
    return paths_digest([Path(__file__), Path(frame_arithmetic.__file__), *map(Path, files)])


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one frame of a chain of unpadded convolutions is computed from."""
    field = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        field = (field - 1) * stride + kernel
    return field


def _unheard(who: str, wav: Tensor, reason: str) -> DataError:
    return DataError(
        f"{who} cannot hear an utterance of {len(wav)} samples ({len(wav) / SAMPLE_RATE:.3f} s): {reason}. "
        "If it is too short or too long for this model, leave it out of the corpus or use another upstream."
    )
