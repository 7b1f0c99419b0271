"""The files that the family's weights come in, around the tensors of small random models."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from encoders import enliven
from oracles import import_torchaudio
from torch import Tensor, nn

from upstream.encoder.model import Encoder
from upstream.encoder.shape import EncoderShape

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embedding_groups": 4,
    "layerdrop": 0.0,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAIRSEQ = {
    "_name": "wav2vec2",
    "extractor_mode": "default",
    "encoder_layers": 3,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 128,
    "encoder_attention_heads": 4,
    "conv_feature_layers": "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32,2,2)] + [(32,2,2)]",
    "layer_norm_first": False,
    "conv_bias": False,
}


def saved(value: object, path: Path) -> Path:
    torch.save(value, path)
    return path


def hidden_states(structure: EncoderShape, tensors: dict[str, Tensor], wav: Tensor) -> list[Tensor]:
    """What our encoder makes of one waveform with these weights."""
    encoder = Encoder(structure)
    encoder.load_state_dict(tensors)
    return [layer[0] for layer in encoder.eval()([wav])[0]]


def transformers_model(kind: str, head: str = "Model", seed: int = 0, **config: object) -> nn.Module:
    """A small model of transformers: `kind` is the stem of its class names."""
    import_torchaudio()  # transformers imports it where it is installed
    import transformers

    made = getattr(transformers, f"{kind}Config")(**SMALL | config)
    return enliven(getattr(transformers, f"{kind}{head}")(made), seed)


def save_transformers(model: nn.Module, folder: Path, **how: object) -> Path:
    model.save_pretrained(folder, **how)
    return folder


@contextmanager
def pretended(module: str, name: str) -> Iterator[type]:
    """A class of a package that is not installed, for as long as something of it is written."""
    kind = type(name, (), {"__module__": module})
    parts = module.split(".")
    names = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
    before = {part: sys.modules.get(part) for part in names}
    for part in names:
        sys.modules[part] = ModuleType(part)
    setattr(sys.modules[module], name, kind)
    try:
        yield kind
    finally:
        for part, old in before.items():
            if old is None:
                del sys.modules[part]
            else:
                sys.modules[part] = old


def save_hubert_of_fairseq(state: dict[str, Tensor], path: Path, old: bool = False) -> Path:
    """With the dictionary of its targets, an object of fairseq, beside the weights."""
    with pretended("fairseq.data.dictionary", "Dictionary") as kind:
        dictionary = kind()
        dictionary.__dict__ = {"symbols": ["a", "b"], "count": [1, 2], "indices": {"a": 0, "b": 1}, "bos_word": "<s>"}
        file = {
            "cfg": {"model": FAIRSEQ | {"_name": "hubert"}, "task": {"normalize": False}},
            "args": None,
            "model": state,
            "task_state": {"dictionaries": [dictionary]},
        }
        torch.save(file, path, _use_new_zipfile_serialization=not old)
    return path


def save_fairseq_of_2020(state: dict[str, Tensor], path: Path, **more: object) -> Path:
    """Its arguments are a namespace, and the file is no archive."""
    args = Namespace(**FAIRSEQ | {"arch": "wav2vec2", "normalize": False} | more)
    torch.save({"args": args, "model": state, "extra_state": {}}, path, _use_new_zipfile_serialization=False)
    return path


def nanow2v2_state(layers: int, ffn: int, channels: int, seed: int = 0) -> dict[str, Tensor]:
    """A state dict of the batch-size study, as its own listing names and shapes it; smaller where that can be seen."""
    dim, generator = 768, torch.Generator().manual_seed(seed)

    def random(*shape: int, gain: float = 1.0) -> Tensor:
        return gain * torch.randn(shape, generator=generator)

    def norm(size: int) -> dict[str, Tensor]:
        return {"weight": 1 + random(size, gain=0.2), "bias": random(size, gain=0.1)}

    def linear(rows: int, columns: int) -> dict[str, Tensor]:
        return {"weight": random(rows, columns, gain=1.3 * columns**-0.5), "bias": random(rows, gain=0.1)}

    modules = {
        "conv_network.conv_layers.0.norm": norm(channels),
        "project_speech_feature_norm": norm(channels),
        "project_speech_feature": linear(dim, channels),
        "rel_pos_layer.conv": {
            "bias": random(dim, gain=0.1),
            "weight_g": 1 + random(1, 1, 128, gain=0.2),
            "weight_v": random(dim, dim // 16, 128),
        },
        "rel_pos_layer.norm": norm(dim),
    }
    for index, kernel in enumerate((10, 3, 3, 3, 3, 2, 2)):
        inputs = channels if index else 1
        weight = random(channels, inputs, kernel, gain=(2 / (inputs * kernel)) ** 0.5)
        modules[f"conv_network.conv_layers.{index}.conv"] = {"weight": weight}
    for layer in range(layers):
        place = f"transformer_network.{layer}"
        modules[f"{place}.attention.attention_projection"] = linear(3 * dim, dim)
        modules[f"{place}.attention.out_projection"] = linear(dim, dim)
        modules[f"{place}.norm_att"] = norm(dim)
        modules[f"{place}.ffn.fc1"] = linear(ffn, dim)
        modules[f"{place}.ffn.fc2"] = linear(dim, ffn)
        modules[f"{place}.norm_ffn"] = norm(dim)
    state = {f"w2v2.{module}.{leaf}": value for module, leaves in modules.items() for leaf, value in leaves.items()}
    unused = {
        "w2v2.masking_vector": random(dim),
        "quantization_layer.quantization_choices": random(8, 4),
        "quantization_layer.temp": torch.tensor(2.0),
        "quantization_layer.classification_layer.weight": random(8, channels),
        "project_context_feature.weight": random(4, dim),
        "project_quantized_feature.weight": random(4, 8),
    }
    return state | unused
