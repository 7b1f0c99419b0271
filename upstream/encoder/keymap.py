"""One table from the names that other libraries give an encoder's tensors to the names of ours."""

import re
from collections.abc import Iterable, Mapping
from functools import cache

import torch
from torch import Tensor

from upstream.errors import DataError

# Ours: fairseq's (also s3prl's and Microsoft's), transformers', torchaudio's, nanow2v2's; where two agree, once.
# A `+` joins tensors that a library keeps in one, in the order of its rows.
TABLE = {
    "convolutions.{i}.conv.{leaf}": (
        "feature_extractor.conv_layers.{i}.0.{leaf}",
        "feature_extractor.conv_layers.{i}.conv.{leaf}",
        "conv_network.conv_layers.{i}.conv.{leaf}",
    ),
    "convolutions.{i}.norm.{leaf}": (
        "feature_extractor.conv_layers.{i}.2.{leaf}",
        "feature_extractor.conv_layers.{i}.2.1.{leaf}",
        "feature_extractor.conv_layers.{i}.layer_norm.{leaf}",
        "conv_network.conv_layers.{i}.norm.{leaf}",
    ),
    "project_norm.{leaf}": (
        "layer_norm.{leaf}",
        "feature_projection.layer_norm.{leaf}",
        "encoder.feature_projection.layer_norm.{leaf}",
        "project_speech_feature_norm.{leaf}",
    ),
    "project.{leaf}": (
        "post_extract_proj.{leaf}",
        "feature_projection.projection.{leaf}",
        "encoder.feature_projection.projection.{leaf}",
        "project_speech_feature.{leaf}",
    ),
    "positions.0.{leaf}": (
        "encoder.pos_conv.0.{leaf}",
        "encoder.pos_conv_embed.conv.{leaf}",
        "encoder.transformer.pos_conv_embed.conv.{leaf}",
        "rel_pos_layer.conv.{leaf}",
    ),
    # The two halves of a weight norm, under the names of old and of new versions of torch.
    "positions.0.length": (
        "encoder.pos_conv.0.weight_g",
        "encoder.pos_conv.0.parametrizations.weight.original0",
        "encoder.pos_conv_embed.conv.weight_g",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "encoder.transformer.pos_conv_embed.conv.weight_g",
        "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original0",
        "rel_pos_layer.conv.weight_g",
        "rel_pos_layer.conv.parametrizations.weight.original0",
    ),
    "positions.0.direction": (
        "encoder.pos_conv.0.weight_v",
        "encoder.pos_conv.0.parametrizations.weight.original1",
        "encoder.pos_conv_embed.conv.weight_v",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        "encoder.transformer.pos_conv_embed.conv.weight_v",
        "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original1",
        "rel_pos_layer.conv.weight_v",
        "rel_pos_layer.conv.parametrizations.weight.original1",
    ),
    # data2vec's stack of them
    "positions.{i}.{leaf}": (
        "encoder.pos_conv.{i}.0.{leaf}",
        "encoder.pos_conv_embed.layers.{i}.conv.{leaf}",
    ),
    "norm.{leaf}": (
        "encoder.layer_norm.{leaf}",
        "encoder.transformer.layer_norm.{leaf}",
        "rel_pos_layer.norm.{leaf}",
    ),
    "relative_bias.weight": (
        "encoder.layers.0.self_attn.relative_attention_bias.weight",
        "encoder.layers.0.attention.rel_attn_embed.weight",
        "encoder.transformer.layers.0.attention.rel_attn_embed.weight",
    ),
    "layers.{i}.attention.query.{leaf}": (
        "encoder.layers.{i}.self_attn.q_proj.{leaf}",
        "encoder.layers.{i}.attention.q_proj.{leaf}",
        "encoder.transformer.layers.{i}.attention.q_proj.{leaf}",
    ),
    "layers.{i}.attention.key.{leaf}": (
        "encoder.layers.{i}.self_attn.k_proj.{leaf}",
        "encoder.layers.{i}.attention.k_proj.{leaf}",
        "encoder.transformer.layers.{i}.attention.k_proj.{leaf}",
    ),
    "layers.{i}.attention.value.{leaf}": (
        "encoder.layers.{i}.self_attn.v_proj.{leaf}",
        "encoder.layers.{i}.attention.v_proj.{leaf}",
        "encoder.transformer.layers.{i}.attention.v_proj.{leaf}",
    ),
    # torchaudio's WavLM
    "layers.{i}.attention.query+key+value.{leaf}": (
        "encoder.transformer.layers.{i}.attention.attention.in_proj_{leaf}",
    ),
    # As nanow2v2's model splits them; its own converter to fairseq takes the last two for each other.
    "layers.{i}.attention.key+query+value.{leaf}": ("transformer_network.{i}.attention.attention_projection.{leaf}",),
    "layers.{i}.attention.out.{leaf}": (
        "encoder.layers.{i}.self_attn.out_proj.{leaf}",
        "encoder.layers.{i}.attention.out_proj.{leaf}",
        "encoder.transformer.layers.{i}.attention.out_proj.{leaf}",
        "encoder.transformer.layers.{i}.attention.attention.out_proj.{leaf}",
        "transformer_network.{i}.attention.out_projection.{leaf}",
    ),
    "layers.{i}.attention.gate.{leaf}": (
        "encoder.layers.{i}.self_attn.grep_linear.{leaf}",
        "encoder.layers.{i}.attention.gru_rel_pos_linear.{leaf}",
        "encoder.transformer.layers.{i}.attention.gru_rel_pos_linear.{leaf}",
    ),
    "layers.{i}.attention.gate_scale": (
        "encoder.layers.{i}.self_attn.grep_a",
        "encoder.layers.{i}.attention.gru_rel_pos_const",
        "encoder.transformer.layers.{i}.attention.gru_rel_pos_const",
    ),
    "layers.{i}.attention_norm.{leaf}": (
        "encoder.layers.{i}.self_attn_layer_norm.{leaf}",
        "encoder.layers.{i}.layer_norm.{leaf}",
        "encoder.transformer.layers.{i}.layer_norm.{leaf}",
        "transformer_network.{i}.norm_att.{leaf}",
    ),
    "layers.{i}.up.{leaf}": (
        "encoder.layers.{i}.fc1.{leaf}",
        "encoder.layers.{i}.feed_forward.intermediate_dense.{leaf}",
        "encoder.transformer.layers.{i}.feed_forward.intermediate_dense.{leaf}",
        "transformer_network.{i}.ffn.fc1.{leaf}",
    ),
    "layers.{i}.down.{leaf}": (
        "encoder.layers.{i}.fc2.{leaf}",
        "encoder.layers.{i}.feed_forward.output_dense.{leaf}",
        "encoder.transformer.layers.{i}.feed_forward.output_dense.{leaf}",
        "transformer_network.{i}.ffn.fc2.{leaf}",
    ),
    "layers.{i}.output_norm.{leaf}": (
        "encoder.layers.{i}.final_layer_norm.{leaf}",
        "encoder.transformer.layers.{i}.final_layer_norm.{leaf}",
        "transformer_network.{i}.norm_ffn.{leaf}",
    ),
}

# Tensors that no hidden state depends on, and what they do. Anything else without a place in the table is an error.
UNUSED = {
    "stand in for masked frames while pretraining": (
        "mask_emb",
        "masked_spec_embed",
        "masking_vector",
        "mask_generator",
    ),
    "make the targets of pretraining": ("quantizer", "quantization_layer", "_ema"),
    "compare predictions with targets": (
        "project_q",
        "project_hid",
        "project_context_feature",
        "project_quantized_feature",
        "final_proj",
        "target_glu",
        "logit_generator",
        "label_embs_concat",
        "label_embeddings_concat",
    ),
    "tell speakers apart while pretraining": (
        "spk_proj",
        "speaker_proj",
        "layer_norm_for_extract",
        "encoder.layer_norm_for_extract",
    ),
    "belong to a head that was trained on the last layer": (
        "lm_head",
        "ctc_proj",
        "aux",
        "proj",
        "projector",
        "classifier",
        "layer_weights",
        "tdnn",
        "feature_extractor.weight",  # the one of transformers' x-vectors; the convolutions are conv_layers below it
        "feature_extractor.bias",
        "objective",
    ),
    "shorten the output of the last layer": ("adapter",),
}

_NANOW2V2 = "conv_network.conv_layers.0."
_FIRST = ("feature_extractor.conv_layers.0.", _NANOW2V2)


def canonical(state: Mapping[str, object], where: str) -> dict[str, Tensor]:
    """The tensors of a state dict under our names; weight norms are multiplied out, what is not needed is left out.

    The encoder may be a part of the model: its names all begin with the same prefix. `where` is named in errors.
    """
    prefix = _prefix(state, where)
    ours: dict[str, Tensor] = {}
    unknown = []
    for name, value in state.items():
        found = _our_name(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if found is None:
            if not _unused(name, prefix):
                unknown.append(name)
        elif not isinstance(value, Tensor):
            raise DataError(f"{where}: '{name}' is no tensor but a {type(value).__name__}. Use an undamaged file.")
        else:
            _add(ours, found, value, name, where)
    if unknown:
        raise DataError(
            f"{where} holds what has no place in an encoder of the wav2vec 2.0 family: {listing(unknown)}. Use the "
            "weights of such a model, or load this one with its own library: --upstream hf:FOLDER or s3prl:NAME."
        )
    if "positions.0.length" in ours and "positions.0.direction" in ours:
        length, direction = ours.pop("positions.0.length"), ours.pop("positions.0.direction")
        ours["positions.0.weight"] = _multiplied(length, direction, where)
    return ours


def is_nanow2v2(state: Mapping[str, object]) -> bool:
    return any(_NANOW2V2 in name for name in state)


def listing(names: Iterable[str], most: int = 10) -> str:
    """The first few of many names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _prefix(state: Mapping[str, object], where: str) -> str:
    """What stands before the names of the encoder: nothing, or for instance 'wav2vec2.' in a model with a head."""
    prefixes = {name[: name.index(first)] for name in state for first in _FIRST if first in name}
    if len(prefixes) == 1:
        return prefixes.pop()
    if not prefixes:
        raise DataError(
            f"{where} holds no encoder of the wav2vec 2.0 family: none of its {len(state)} names has "
            f"'{_FIRST[0]}' in it ({listing(state, 3)}). Use the weights of such a model."
        )
    raise DataError(
        f"{where} holds {len(prefixes)} encoders, under {listing(sorted(prefixes))}. Save the one you want in a file "
        "of its own."
    )


def _our_name(name: str) -> str | None:
    for pattern, ours in _patterns():
        if match := pattern.fullmatch(name):
            return ours.format(**match.groupdict())
    return None


@cache
def _patterns() -> list[tuple[re.Pattern, str]]:
    def pattern(theirs: str) -> re.Pattern:
        text = re.escape(theirs)
        text = text.replace(r"\{i\}", "(?P<i>0|[1-9][0-9]{0,5})").replace(r"\{leaf\}", "(?P<leaf>weight|bias)")
        return re.compile(text)

    return [(pattern(theirs), ours) for ours, spellings in TABLE.items() for theirs in spellings]


def _unused(name: str, prefix: str) -> bool:
    """What is not needed stands beside the encoder's parts, or beside the encoder, however deep that is."""
    *above, _ = prefix.split(".")
    places = [".".join([*above[:depth], ""]) for depth in range(len(above) + 1)]
    rests = [name.removeprefix(place) for place in places if name.startswith(place)]
    return any(
        rest == entry or rest.startswith(f"{entry}.")
        for rest in rests
        for entries in UNUSED.values()
        for entry in entries
    )


def _add(ours: dict[str, Tensor], found: str, value: Tensor, name: str, where: str) -> None:
    if "+" in found:
        before, leaf = found.rsplit(".", 1)
        before, parts = before.rsplit(".", 1)
        parts = parts.split("+")
        if value.dim() == 0 or value.shape[0] % len(parts):
            raise DataError(f"{where}: '{name}' of shape {tuple(value.shape)} is not {' + '.join(parts)}.")
        pieces = {f"{before}.{part}.{leaf}": piece for part, piece in zip(parts, value.chunk(len(parts)), strict=True)}
    else:
        pieces = {found: value}
    for key, piece in pieces.items():
        if key in ours:
            raise DataError(f"{where} has two tensors for {key}; '{name}' is the second. Use an undamaged file.")
        ours[key] = piece


def _multiplied(length: Tensor, direction: Tensor, where: str) -> Tensor:
    """A weight norm over the kernel's positions: each has a direction, and a length of its own."""
    if direction.dim() != 3 or length.shape != (1, 1, direction.shape[2]):
        raise DataError(
            f"{where}: the weight norm of the positional convolution has shapes {tuple(length.shape)} and "
            f"{tuple(direction.shape)}; expected (1, 1, kernel) and (dim, dim / groups, kernel)."
        )
    return torch._weight_norm(direction.float(), length.float(), 2)
