"""Members of the family by name, from a file or folder, or with random weights."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from upstream import hub
from upstream.encoder import shape as shapes
from upstream.encoder.checkpoints import read
from upstream.encoder.configs import from_transformers
from upstream.encoder.model import Encoder
from upstream.encoder.packed import PackedEncoder, available
from upstream.encoder.shape import EncoderShape, OutsideFamily
from upstream.encoder.untrained import untrained
from upstream.errors import MissingError, UsageError
from upstream.fingerprint import paths_digest, tensors_digest
from upstream.loaded import Provided
from upstream.model_folder import read_json
from upstream.registry import Source, random_parts

_CODE = sorted(Path(__file__).parent.glob("*.py"))
_CUDA_BYTES_PER_SECOND = 64e6  # of padded audio: the activations of the convolutions, generously
_CUDA_MOST_SECONDS = 240.0  # in one batch; a device is busy long before


def provide(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for cards of the family: weights from a file, else from the hub."""
    path = weights or hub.locate(source.card.hub, source.name)
    try:
        shape, tensors = read(path, shapes.named(source.card.shape), source.name)
    except OutsideFamily as error:
        raise UsageError(f"{path}: {error}. Give weights of {source.name} with --weights PATH.") from error
    return provided(source.name, shape, tensors, device, dtype)


def provide_checkpoint(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for `ckpt:PATH`."""
    if weights is not None:
        raise UsageError(f"upstream '{source.name}' names its weights itself. Leave out --weights {weights}.")
    path = Path(source.ref).expanduser()
    if not path.exists():
        raise MissingError(f"weights of upstream '{source.name}' not found: {path}. Correct the path after 'ckpt:'.")
    try:
        return from_folder(source, path, device, dtype)
    except OutsideFamily as error:
        raise UsageError(
            f"{path}: {error}. ckpt: loads the wav2vec 2.0 / HuBERT / WavLM family only. Another model's transformers "
            "folder is loaded with hf:FOLDER, a model of s3prl with s3prl:NAME and --weights."
        ) from error


def from_folder(source: Source, path: Path, device: torch.device, dtype: torch.dtype) -> Provided:
    """A folder of transformers, or any file that `checkpoints` reads; raises `OutsideFamily` for other structures."""
    shape, tensors = read(path)
    return provided(source.name, shape, tensors, device, dtype)


def provide_random(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for `random:SHAPE[@SEED]` and `random:path/to/config.json`."""
    if weights is not None:
        raise UsageError(f"upstream '{source.name}' has random weights. Leave out --weights {weights}.")
    name, seed = random_parts(source.ref)
    shape = _shape_of_file(Path(name).expanduser()) if name.endswith(".json") else shapes.named(name)
    return provided(source.name, shape, untrained(shape, seed), device, dtype)


def _shape_of_file(path: Path) -> EncoderShape:
    if not path.is_file():
        raise MissingError(f"config file not found: {path}. Correct the path after 'random:'.")
    try:
        return from_transformers(read_json(path), normalize=None)
    except OutsideFamily as error:
        raise UsageError(f"{path}: {error}. random: builds the wav2vec 2.0 / HuBERT / WavLM family only.") from error


def provided(
    name: str, shape: EncoderShape, tensors: dict[str, Tensor], device: torch.device, dtype: torch.dtype
) -> Provided:
    """An encoder of this shape with these tensors, named as in `Encoder`, laid out for the device."""
    if device.type == "cpu" and dtype == torch.float16:
        raise UsageError(f"upstream '{name}': float16 is for CUDA devices. Use --dtype float32 or bfloat16.")
    facts = {
        "shape": asdict(shape),
        "tensors": tensors_digest(sorted(tensors.items())),
        "code": paths_digest(_CODE),
    }
    parameters = sum(tensor.numel() for tensor in tensors.values())
    with torch.device("meta"):
        encoder = Encoder(shape)
    encoder.load_state_dict(tensors, assign=True)
    encoder.eval().requires_grad_(False)
    if device.type == "cpu" and available():
        run = PackedEncoder(encoder, dtype)
        facts["layout"] = "packed"
    else:
        run = encoder.to(device).in_precision(dtype)
        facts["layout"] = "plain"
    return Provided(
        run=run,
        name=name,
        facts=lambda: facts,
        hop=shape.hop,
        num_layers=shape.layers + 1,
        dim=shape.dim,
        min_samples=shape.min_samples,
        receptive_field=shape.receptive_field,
        batch_seconds=_batch_seconds(device),
        concurrent=True,
        parameters=lambda: parameters,
        macs=shape.macs,
    )


def _batch_seconds(device: torch.device) -> float:
    """Seconds of padded audio to send at once: on the CPU one utterance at a time is fastest."""
    if device.type != "cuda":
        return 0.0
    memory = torch.cuda.get_device_properties(device).total_memory  # not what is free now: batches are to be repeatable
    return min(_CUDA_MOST_SECONDS, 0.4 * memory / _CUDA_BYTES_PER_SECOND)
