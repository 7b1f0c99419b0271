"""Weights of the family from any library's file: which layout it has, which structure it claims, and its tensors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from upstream import model_folder
from upstream.encoder import configs
from upstream.encoder.keymap import canonical, is_nanow2v2, listing
from upstream.encoder.model import Encoder
from upstream.encoder.shape import EncoderShape, OutsideFamily
from upstream.encoder.weight_files import is_state, open_weights
from upstream.errors import DataError, MissingError, UsageError

# Decided elsewhere: SUPERB did not normalise for base models whose preprocessors do, and says which upstreams are
# normalised; some configurations claim convolution biases that are all zero, and the tensors know.
UNDISPUTED = ("normalize", "conv_bias")
# Under which key a file keeps its state dict: s3prl; fairseq and Microsoft; nanow2v2; trainers of torchaudio models.
STATE_KEYS = ("model_weight", "model", "network", "state_dict")


@dataclass
class _Contents:
    """A state dict under its library's names, and the shape that its configuration describes, if it has one."""

    state: Mapping[str, object]
    shape: EncoderShape | None


def read(
    path: Path, shape: EncoderShape | None = None, who: str = "the upstream"
) -> tuple[EncoderShape, dict[str, Tensor]]:
    """The shape of a checkpoint and its tensors under our names, float32, complete and finite.

    `path` is a weights file, or a folder with a config.json. Where `shape` is given, it belongs to `who`, and the file
    must have that structure; whether waveforms are normalised is then for `shape` to say. Raises `OutsideFamily` where
    the configuration is of a model that the encoder cannot be.
    """
    contents = _folder(path) if path.is_dir() else _file(path, shape)
    nano = is_nanow2v2(contents.state)
    tensors = canonical(contents.state, str(path))
    with _about(path):
        stated = configs.nanow2v2(tensors) if nano else contents.shape
        given, shape = shape, shape or stated or configs.from_tensors(tensors)
    del contents
    if given:
        _compare(asdict(stated) if stated else configs.visible(tensors), shape, path, who)
    if not shape.conv_bias:
        _drop_zero_biases(tensors)
    _check_names(tensors, shape, path)
    return shape, {name: _float32(name, tensors.pop(name), path) for name in list(tensors)}


def _folder(path: Path) -> _Contents:
    shape = _shape_of_folder(path)
    state: dict[str, object] = {}
    for file in model_folder.weight_files(path):
        state.update(open_weights(file))
    return _Contents(state, shape)


def _file(path: Path, asked: EncoderShape | None) -> _Contents:
    if not path.exists():
        raise MissingError(f"weights not found: {path}. Correct the path.")
    file = open_weights(path)
    key = next((key for key in STATE_KEYS if is_state(file.get(key))), None)
    state = file[key] if key else file
    if not is_state(state):
        raise DataError(
            f"{path} holds no tensors by name, but {listing(file)}. Expected a state dict, alone or under "
            f"{', '.join(STATE_KEYS)}. Give another file with --weights."
        )
    with _about(path):
        shape = _inner_shape(file)
    # A file that says nothing may be a part of a transformers folder.
    told = shape is None and (path.parent / model_folder.CONFIG).is_file()
    if told and (asked is None or path.name in model_folder.WHOLE):
        shape = _shape_of_folder(path.parent)
    return _Contents(state, shape)


def _shape_of_folder(folder: Path) -> EncoderShape:
    config, normalize = model_folder.read_config(folder), model_folder.stated_normalization(folder)
    with _about(folder / model_folder.CONFIG):
        return configs.from_transformers(config, normalize)


def _inner_shape(file: Mapping[str, object]) -> EncoderShape | None:
    """What a configuration inside of the file says: s3prl's, fairseq's of today, Microsoft's, or fairseq's of 2020."""
    model = file.get("model_cfg") or file.get("cfg") or file.get("args")
    task = file.get("task_cfg")
    if isinstance(model, Mapping) and isinstance(model.get("model"), Mapping):
        model, task = model["model"], model.get("task")
    if not isinstance(model, Mapping):
        return None
    if "w2v_path" in model and not isinstance(model.get("w2v_args"), Mapping):
        return None  # fine-tuned from a file that is not here
    return configs.from_fairseq(model, task if isinstance(task, Mapping) else {})


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """What is found out from a file's content is told with its name."""
    try:
        yield
    except (UsageError, DataError, OutsideFamily) as error:
        raise type(error)(f"{path}: {error}") from error


def _compare(found: Mapping[str, object], shape: EncoderShape, path: Path, who: str) -> None:
    asked = asdict(shape)
    differences = [
        f"its {name} is {value}, {who} has {asked[name]}"
        for name, value in found.items()
        if name not in UNDISPUTED and value != asked[name]
    ]
    if differences:
        raise UsageError(
            f"{path} holds another model than {who}: {'; '.join(differences)}. Give the upstream that these weights "
            f"belong to, or load them as what they are: --upstream ckpt:{path}"
        )


def _drop_zero_biases(tensors: dict[str, Tensor]) -> None:
    """Biases that are all zero are none: some files have them in place of none."""
    names = [name for name in tensors if name.startswith("convolutions.") and name.endswith(".conv.bias")]
    if not any(tensors[name].any() for name in names):
        for name in names:
            del tensors[name]


def _check_names(tensors: Mapping[str, Tensor], shape: EncoderShape, path: Path) -> None:
    sizes = (shape.dim, shape.ffn, shape.conv_channels, shape.position_kernel, shape.relative_buckets)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if max(shape.layers, shape.position_depth) > len(tensors) or max(sizes) > numbers:
        raise DataError(
            f"{path} holds {len(tensors)} tensors with {numbers} numbers, too little for {shape.layers} layers of "
            f"{shape.dim}. Give weights that belong to this upstream, or an undamaged file."
        )
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in Encoder(shape).state_dict().items()}
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {size}"
        for name, size in expected.items()
        if name in tensors and tuple(tensors[name].shape) != size
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    problems = [f"{len(names)} {kind}: {listing(names)}" for kind, names in kinds.items() if names]
    if problems:
        raise DataError(
            f"{path} does not fit an encoder of {shape.layers} layers of {shape.dim} (names are ours, not the file's). "
            f"{'. '.join(problems)}. Give weights that belong to this upstream, or an undamaged file."
        )


def _float32(name: str, tensor: Tensor, path: Path) -> Tensor:
    """A copy in memory of its own, since the file may be mapped, and change."""
    held = tensor.untyped_storage().nbytes() if tensor.layout == torch.strided else 0
    if not tensor.is_floating_point() or held < tensor.numel() * tensor.element_size():
        raise DataError(f"{path}: {name} is no plain tensor of floats but {tensor.dtype}. Use an undamaged file.")
    copied = tensor.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if not copied.isfinite().all():
        raise DataError(f"{path}: {name} has NaN or infinity in it. Use an undamaged file.")
    return copied
