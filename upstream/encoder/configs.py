"""From what other libraries say of a model's structure to an `EncoderShape`. Nothing here imports torch."""

import ast
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import TypeVar

from upstream.encoder import shape as shapes
from upstream.encoder.shape import EncoderShape, OutsideFamily
from upstream.errors import DataError, UsageError

T = TypeVar("T")
EXACT_GELU = ("gelu", "gelu_python")
TANH_GELU = ("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh")
LONGEST_CONV_TEXT = 1000
MOST_CONVOLUTIONS = 100
FAIRSEQ_CONVOLUTIONS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
# What no tensor shows. A padded convolution has the tensors of a plain one, four heads those of twelve.
INVISIBLE = ("heads", "pre_norm", "normalize", "conv_strides", "conv_padding", "relative_distance", "tanh_gelu")
NANOW2V2 = "nanow2v2_base"

# What the members of the family that transformers knows have in common, with its defaults: files leave these out.
_COMMON = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
    "conv_dim": (512,) * 7,
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_bias": False,
    "num_conv_pos_embedding_groups": 16,
}
_WAV2VEC2 = {**_COMMON, "feat_extract_norm": "group", "do_stable_layer_norm": False, "num_conv_pos_embeddings": 128}
_MEMBERS = {
    "wav2vec2": _WAV2VEC2,
    "unispeech": _WAV2VEC2,
    "unispeech-sat": _WAV2VEC2,
    "hubert": {**_WAV2VEC2, "feat_proj_layer_norm": True},
    "wavlm": {**_WAV2VEC2, "num_buckets": 320, "max_bucket_distance": 800},
    "data2vec-audio": {**_COMMON, "num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19},
}


def from_transformers(config: Mapping[str, object], normalize: bool | None) -> EncoderShape:
    """The shape of a config.json. `normalize` is what its preprocessor says; None where it says nothing."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise OutsideFamily(f"model type {kind!r} is not one of {', '.join(_MEMBERS)}")
    if config.get("adapter_attn_dim") is not None:
        raise OutsideFamily("it has adapters inside its layers (adapter_attn_dim)")
    if config.get("conv_pos_batch_norm"):
        raise OutsideFamily("it has a batch norm before its positional convolution (conv_pos_batch_norm)")
    said = _Said({**_MEMBERS[kind], **config}, "config.json")
    if said.number("layer_norm_eps") != 1e-5:
        raise OutsideFamily(f"its layer_norm_eps is {said.number('layer_norm_eps')}, not 1e-5")
    stacked = kind == "data2vec-audio"
    channels = said.numbers("conv_dim")
    conv_norm = "layer" if stacked else said.text("feat_extract_norm")
    depth = said.whole("num_conv_pos_embeddings") if stacked else 1
    if stacked and depth < 2:
        raise OutsideFamily("a single positional convolution with a LayerNorm (num_conv_pos_embeddings)")
    return EncoderShape(
        dim=said.whole("hidden_size"),
        layers=said.whole("num_hidden_layers"),
        heads=said.whole("num_attention_heads"),
        ffn=said.whole("intermediate_size"),
        conv_norm=conv_norm,
        conv_bias=said.switch("conv_bias"),
        pre_norm=not stacked and said.switch("do_stable_layer_norm"),
        # The family's custom where nothing is said: waveforms are normalised where every convolution is.
        normalize=conv_norm == "layer" if normalize is None else normalize,
        conv_channels=_same(channels),
        conv_kernels=said.numbers("conv_kernel"),
        conv_strides=said.numbers("conv_stride"),
        conv_padding=(0,) * len(channels),
        project_norm=said.switch("feat_proj_layer_norm") if kind == "hubert" else True,
        position_kernel=said.whole("conv_pos_kernel_size" if stacked else "num_conv_pos_embeddings"),
        position_groups=said.whole("num_conv_pos_embedding_groups"),
        position_depth=depth,
        relative_buckets=said.whole("num_buckets") if kind == "wavlm" else 0,
        relative_distance=said.whole("max_bucket_distance") if kind == "wavlm" else 0,
        tanh_gelu=_tanh_gelu({said.text("hidden_act"), said.text("feat_extract_activation")}),
    )


def from_fairseq(model: Mapping[str, object], task: Mapping[str, object]) -> EncoderShape:
    """The shape of a fairseq configuration, or of the flat one of Microsoft's files (`task` is empty there)."""
    if isinstance(model.get("w2v_args"), Mapping):  # fine-tuned: the encoder's own configuration is kept inside
        inner = model["w2v_args"]
        return from_fairseq(inner.get("model") or inner, task or inner.get("task") or {})
    if "encoder_layers" not in model:
        raise OutsideFamily("its configuration names no encoder_layers")
    said = _Said(model, "the configuration in the file")
    for name, ours in (("layer_type", "transformer"), ("activation_fn", "gelu"), ("crop_seq_to_multiple", 1)):
        if model.get(name, ours) != ours:
            raise OutsideFamily(f"its {name} is {model[name]!r}, not {ours!r}")
    for name in ("quantize_input", "conv_pos_batch_norm"):
        if model.get(name):
            raise OutsideFamily(f"it has {name}")
    biased, gated = (said.switch(name, False) for name in ("relative_position_embedding", "gru_rel_pos"))
    if biased != gated:
        raise OutsideFamily("its relative position bias is not gated (relative_position_embedding without gru_rel_pos)")
    mode = said.text("extractor_mode", "default")
    if mode not in ("default", "layer_norm"):
        raise OutsideFamily(f"its extractor_mode is {mode!r}")
    convolutions = parse_convolutions(said.text("conv_feature_layers", FAIRSEQ_CONVOLUTIONS))
    channels, kernels, strides = zip(*convolutions, strict=True)
    dim = said.whole("encoder_embed_dim", 768)
    if dim == channels[-1] and model.get("_name") != "data2vec_audio":
        raise OutsideFamily(f"it has no projection between convolutions and layers, both of {dim} channels")
    depth, kernel = said.whole("pos_conv_depth", 1), said.whole("conv_pos", 128)
    return EncoderShape(
        dim=dim,
        layers=said.whole("encoder_layers"),
        heads=said.whole("encoder_attention_heads", 12),
        ffn=said.whole("encoder_ffn_embed_dim", 3072),
        conv_norm="group" if mode == "default" else "layer",
        conv_bias=said.switch("conv_bias", False),
        pre_norm=said.switch("layer_norm_first", False),
        normalize=_Said({**model, **task}, said.where).switch("normalize", False),
        conv_channels=_same(channels),
        conv_kernels=kernels,
        conv_strides=strides,
        conv_padding=(0,) * len(channels),
        position_kernel=kernel if depth == 1 else max(3, kernel // max(1, depth)),
        position_groups=said.whole("conv_pos_groups", 16),
        position_depth=depth,
        relative_buckets=said.whole("num_buckets", 320) if biased else 0,
        relative_distance=said.whole("max_distance", 1280) if biased else 0,
    )


def parse_convolutions(text: str) -> list[tuple[int, int, int]]:
    """(channels, kernel, stride) of each layer out of fairseq's Python expression, which is read and not evaluated."""
    try:
        if len(text) > LONGEST_CONV_TEXT:
            raise ValueError("too long")
        layers = _listed(ast.parse(text.strip(), mode="eval").body)
        if not layers:
            raise ValueError("no layers")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(
            f"conv_feature_layers is {text[:100]!r}: {error}. Expected lists of (channels, kernel, stride) that are "
            f"added and repeated, such as {FAIRSEQ_CONVOLUTIONS}. Correct the configuration in the file."
        ) from error
    return layers


def visible(tensors: Mapping[str, object]) -> dict[str, object]:
    """What the shapes of an encoder's tensors, under our names, tell of its structure: fields of `EncoderShape`."""

    def count(pattern: str) -> int:
        return next(number for number in range(len(tensors) + 1) if pattern.format(number) not in tensors)

    def size(name: str, axis: int) -> int | None:
        shape = tuple(tensors[name].shape) if name in tensors else ()
        return shape[axis] if axis < len(shape) else None

    convolutions = count("convolutions.{}.conv.weight")
    dim, per_group = size("project.weight", 0), size("positions.0.weight", 1)
    seen = {
        "dim": dim,
        "layers": count("layers.{}.attention_norm.weight") or None,
        "ffn": size("layers.0.up.weight", 0),
        "conv_norm": "layer" if "convolutions.1.norm.weight" in tensors else "group",
        "conv_bias": "convolutions.0.conv.bias" in tensors,
        "conv_channels": size("convolutions.0.conv.weight", 0),
        "conv_kernels": tuple(size(f"convolutions.{index}.conv.weight", 2) for index in range(convolutions)) or None,
        "project_norm": "project_norm.weight" in tensors,
        "position_kernel": size("positions.0.weight", 2),
        "position_groups": dim // per_group if dim and per_group else None,
        "position_depth": count("positions.{}.weight") or None,
        "relative_buckets": size("relative_bias.weight", 0) or 0,
    }
    return {name: value for name, value in seen.items() if value is not None}


def from_tensors(tensors: Mapping[str, object]) -> EncoderShape:
    """The shape of an encoder that comes without a configuration: the only known one that looks like it."""
    seen = visible(tensors)
    alike = {name: shape for name, shape in _unpadded_shapes().items() if _agrees(shape, seen)}
    hidden = {name: {field: getattr(shape, field) for field in INVISIBLE} for name, shape in alike.items()}
    differing = [field for field in INVISIBLE if len({fields[field] for fields in hidden.values()}) > 1]
    if alike and not differing:
        return next(iter(alike.values()))
    if alike:
        of_each = [f"{name} ({', '.join(f'{field} {hidden[name][field]}' for field in differing)})" for name in alike]
        found = f"fit several known shapes: {', '.join(of_each)}"
    else:
        found = f"fit no known shape: {', '.join(f'{name} {value}' for name, value in seen.items())}"
    raise UsageError(
        f"the weights come without a configuration, and {found}. Give the name of the upstream with them, --upstream "
        "wav2vec2_large_ll60k --weights FILE, or put the model's config.json beside them."
    )


def nanow2v2(tensors: Mapping[str, object]) -> EncoderShape:
    """The shape of a model of the batch-size study: its code knows one, up to the number of layers and their width."""
    base, seen = shapes.named(NANOW2V2), visible(tensors)
    if seen.get("dim") != base.dim or seen.get("conv_norm") != base.conv_norm:
        raise UsageError(
            f"these nanow2v2 weights have dim {seen.get('dim')} and conv_norm {seen.get('conv_norm')!r}, and how many "
            f"heads go with them cannot be seen. Known is {NANOW2V2}: {base.dim} and {base.conv_norm!r}. Load the "
            "model with its own code, from a Python file of yours: --upstream path/to/mine.py"
        )
    return replace(base, **seen)


class _Said:
    """A configuration from a file, each value of which must be of the kind that belongs there."""

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self.values = values
        self.where = where

    def whole(self, name: str, default: int | None = None) -> int:
        return self._of_type(name, (int,), "a whole number", default)

    def number(self, name: str) -> float:
        return self._of_type(name, (int, float), "a number")

    def switch(self, name: str, default: bool | None = None) -> bool:
        return self._of_type(name, (bool,), "true or false", default)

    def text(self, name: str, default: str | None = None) -> str:
        return self._of_type(name, (str,), "a text", default)

    def numbers(self, name: str) -> tuple[int, ...]:
        values = tuple(self._of_type(name, (list, tuple), "a list of whole numbers"))
        if not values or any(type(value) is not int for value in values):
            raise self._wrong(name, "a list of whole numbers")
        return values

    def _of_type(self, name: str, kinds: tuple[type, ...], wanted: str, default: T | None = None) -> T:
        value = self.values.get(name, default)
        if type(value) not in kinds:
            raise self._wrong(name, wanted)
        return value

    def _wrong(self, name: str, wanted: str) -> DataError:
        return DataError(f"{name} is {self.values.get(name)!r:.100}; expected {wanted}. Correct {self.where}.")


def _listed(node: ast.expr) -> list[tuple[int, int, int]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _listed(node.left) + _listed(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        layers, times = _listed(node.left), _whole(node.right)
        if len(layers) * times > MOST_CONVOLUTIONS:
            raise ValueError(f"{len(layers) * times} layers")
        return layers * times
    if isinstance(node, ast.List):
        return [_layer(item) for item in node.elts]
    raise ValueError("something else than lists, + and *")


def _layer(node: ast.expr) -> tuple[int, int, int]:
    if not isinstance(node, (ast.Tuple, ast.List)) or len(node.elts) != 3:
        raise ValueError("a layer is no group of three numbers")
    channels, kernel, stride = (_whole(item) for item in node.elts)
    return channels, kernel, stride


def _whole(node: ast.expr) -> int:
    if not isinstance(node, ast.Constant) or type(node.value) is not int or node.value < 1:
        raise ValueError("something that is no whole number from 1 up")
    return node.value


def _same(channels: tuple[int, ...]) -> int:
    if len(set(channels)) != 1:
        raise OutsideFamily(f"its convolutions have different numbers of channels: {channels}")
    return channels[0]


def _tanh_gelu(activations: set[str]) -> bool:
    """The activation is one for the whole encoder."""
    if activations <= set(EXACT_GELU):
        return False
    if activations <= set(TANH_GELU):
        return True
    raise OutsideFamily(f"its activations are {', '.join(sorted(activations))}")


@cache
def _unpadded_shapes() -> dict[str, EncoderShape]:
    """Padded ones have the tensors of others, and are told apart by the names of their tensors (`nanow2v2`)."""
    known = {name: shapes.named(name) for name in shapes.names()}
    return {name: shape for name, shape in known.items() if not any(shape.conv_padding)}


def _agrees(shape: EncoderShape, seen: Mapping[str, object]) -> bool:
    visible_fields = [field.name for field in fields(shape) if field.name not in INVISIBLE]
    return all(getattr(shape, name) == seen.get(name) for name in visible_fields)
