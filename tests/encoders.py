"""Small encoders of other people's libraries, with lively random weights, and their hidden states as SUPERB's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from oracles import import_s3prl, import_torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from upstream.encoder.shape import EncoderShape

CONVOLUTIONS = [(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32, 2, 2)] * 2


@dataclass(frozen=True)
class Variant:
    """One of the six structures: a family, and whether it is built like the base or the large models."""

    family: str
    large: bool
    conv_bias: bool = False
    dim: int = 64
    heads: int = 4
    ffn: int = 128
    layers: int = 3
    convolutions: tuple = tuple(CONVOLUTIONS)

    @property
    def norm(self) -> str:
        return "layer" if self.large else "group"

    def __str__(self) -> str:
        return f"{self.family}-{'large' if self.large else 'base'}"


VARIANTS = [
    Variant("wav2vec2", False),
    Variant("wav2vec2", True, conv_bias=True),
    Variant("hubert", False),
    Variant("hubert", True),
    Variant("wavlm", False),
    Variant("wavlm", True),
]


@dataclass(frozen=True)
class Peer:
    """A library's model: its hidden states for one waveform, and how it is saved in that library's format."""

    module: nn.Module
    hidden: Callable[[Tensor], list[Tensor]]
    save: Callable[[Path], Path]


@torch.no_grad()
def enliven(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights under which every part matters: no zero biases, no unit gains, attention that prefers some frames."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith(("weight_g", "original0")):
            parameter.mul_(1 + 0.2 * noise)
        elif parameter.dim() > 1 and parameter.numel() > max(parameter.shape):
            is_table = "rel_attn_embed" in name or "attention_bias" in name
            parameter.copy_(noise if is_table else noise * 1.4 * parameter[0].numel() ** -0.5)
        elif name.endswith("weight") or parameter.dim() > 1:
            parameter.copy_(1 + 0.2 * noise)
        else:
            parameter.copy_(0.05 * noise)
    return module.eval().requires_grad_(False)


def s3prl_peer(variant: Variant, seed: int = 0) -> Peer:
    common = {
        "extractor_mode": "layer_norm" if variant.large else "default",
        "encoder_layers": variant.layers,
        "encoder_embed_dim": variant.dim,
        "encoder_ffn_embed_dim": variant.ffn,
        "encoder_attention_heads": variant.heads,
        "layer_norm_first": variant.large,
        "conv_bias": variant.conv_bias,
        "conv_feature_layers": str(list(variant.convolutions)),
        "encoder_layerdrop": 0.0,
    }
    task = {"normalize": variant.large}
    if variant.family == "wavlm":
        source = import_s3prl("s3prl.upstream.wavlm.WavLM")
        config = common | task | {"relative_position_embedding": True, "num_buckets": 320, "max_distance": 800}
        config |= {"gru_rel_pos": True}
        module, saved = source.WavLM(source.WavLMConfig(config)), {"cfg": config}
    else:
        merge = import_s3prl("s3prl.upstream.utils").merge_with_parent
        config = common | {"final_dim": 32}
        if variant.family == "wav2vec2":
            source = import_s3prl("s3prl.upstream.wav2vec2.wav2vec2_model")
            config |= {"quantize_targets": True}
            module = source.Wav2Vec2Model(merge(source.Wav2Vec2Config, config))
        else:
            source = import_s3prl("s3prl.upstream.hubert.hubert_model")
            config |= {"label_rate": 50.0}
            pretraining = source.HubertPretrainingConfig(label_rate=50.0, **task)
            module = source.HubertModel(merge(source.HubertConfig, config), pretraining, [[0] * 10])
        saved = {"task_cfg": task, "model_cfg": config}
    enliven(module, seed).feature_grad_mult = 0.0

    def hidden(wav: Tensor) -> list[Tensor]:
        states, hooks = [], []
        for layer in module.encoder.layers:
            hooks.append(layer.register_forward_hook(lambda _, given, __: states.append(given[0].transpose(0, 1)[0])))
        hooks.append(module.encoder.register_forward_hook(lambda _, __, output: states.append(output[0][0])))
        wavs = _normalized(wav, variant.large)[None]
        mask = torch.zeros(wavs.shape, dtype=torch.bool)
        if variant.family == "wav2vec2":
            module.extract_features(wavs, mask)
        else:
            module.extract_features(wavs, padding_mask=mask, mask=False)
        for hook in hooks:
            hook.remove()
        frames = min(map(len, states))
        return [state[:frames] for state in states]

    def save(folder: Path) -> Path:
        weights = "model" if variant.family == "wavlm" else "model_weight"
        torch.save(saved | {weights: module.state_dict()}, folder / "s3prl.pt")
        return folder / "s3prl.pt"

    return Peer(module, hidden, save)


def transformers_peer(variant: Variant, seed: int = 0, **more: object) -> Peer:
    import_torchaudio()  # transformers imports it where it is installed
    import transformers

    name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}[variant.family]
    if variant.family == "wavlm":
        more |= {"num_buckets": 320, "max_bucket_distance": 800}
    dims, kernels, strides = zip(*variant.convolutions, strict=True)
    config = getattr(transformers, f"{name}Config")(
        hidden_size=variant.dim,
        num_hidden_layers=variant.layers,
        num_attention_heads=variant.heads,
        intermediate_size=variant.ffn,
        conv_dim=dims,
        conv_kernel=kernels,
        conv_stride=strides,
        conv_bias=variant.conv_bias,
        feat_extract_norm=variant.norm,
        do_stable_layer_norm=variant.large,
        layerdrop=0.0,
        **more,
    )
    module = enliven(getattr(transformers, f"{name}Model")(config), seed)

    def save(folder: Path) -> Path:
        module.save_pretrained(folder / "transformers")
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=variant.large)
        extractor.save_pretrained(folder / "transformers")
        return folder / "transformers"

    return Peer(module, lambda wav: transformers_hidden(module, _normalized(wav, variant.large)), save)


def transformers_hidden(module: nn.Module, wav: Tensor) -> list[Tensor]:
    """The last state of transformers 5 is taken before the final LayerNorm; SUPERB's is what the model returns."""
    output = module(wav[None], output_hidden_states=True)
    return [*(state[0] for state in output.hidden_states[:-1]), output.last_hidden_state[0]]


def torchaudio_peer(variant: Variant, seed: int = 0) -> Peer:
    models = import_torchaudio().models
    make, more = models.wav2vec2_model, {}
    if variant.family == "wavlm":
        make, more = models.wavlm_model, {"encoder_num_buckets": 320, "encoder_max_distance": 800}
    module = make(
        extractor_mode=f"{variant.norm}_norm",
        extractor_conv_layer_config=list(variant.convolutions),
        extractor_conv_bias=variant.conv_bias,
        encoder_embed_dim=variant.dim,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_layers=variant.layers,
        encoder_num_heads=variant.heads,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=variant.ffn,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=variant.large,
        encoder_layer_drop=0.0,
        aux_num_out=None,
        **more,
    )
    enliven(module, seed)

    def hidden(wav: Tensor) -> list[Tensor]:
        """Neither what enters the first layer nor the final LayerNorm is in torchaudio's list."""
        first = []
        layer = module.encoder.transformer.layers[0]
        hook = layer.register_forward_hook(lambda _, given, __: first.append(given[0][0]))
        states = module.extract_features(_normalized(wav, variant.large)[None])[0]
        hook.remove()
        last = module.encoder.transformer.layer_norm(states[-1]) if variant.large else states[-1]
        return [*first, *(state[0] for state in states[:-1]), last[0]]

    def save(folder: Path) -> Path:
        torch.save(module.state_dict(), folder / "torchaudio.pth")
        return folder / "torchaudio.pth"

    return Peer(module, hidden, save)


def structure_of(variant: Variant) -> EncoderShape:
    """The shape of a variant: a file of torchaudio says nothing of it."""
    wavlm = variant.family == "wavlm"
    return EncoderShape(
        dim=variant.dim,
        layers=variant.layers,
        heads=variant.heads,
        ffn=variant.ffn,
        conv_norm=variant.norm,
        conv_bias=variant.conv_bias,
        pre_norm=variant.large,
        normalize=variant.large,
        conv_channels=variant.convolutions[0][0],
        relative_buckets=320 if wavlm else 0,
        relative_distance=800 if wavlm else 0,
    )


def full_size(variant: Variant) -> Variant:
    """The variant in the size of the published models."""
    layers, dim, heads, ffn = (24, 1024, 16, 4096) if variant.large else (12, 768, 12, 3072)
    convolutions = tuple((512, kernel, stride) for _, kernel, stride in CONVOLUTIONS)
    return replace(variant, layers=layers, dim=dim, heads=heads, ffn=ffn, convolutions=convolutions)


PEERS = {"s3prl": s3prl_peer, "transformers": transformers_peer, "torchaudio": torchaudio_peer}


def speechlike(samples: int, seed: int = 0) -> Tensor:
    """Harmonics of a gliding pitch and some noise, under an envelope with pauses."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples, dtype=torch.float64) / 16000
    pitch = 120 + 40 * torch.sin(2 * torch.pi * 0.7 * time + seed)
    phase = 2 * torch.pi * pitch.cumsum(0) / 16000
    tone = sum(torch.sin(k * phase) / k for k in range(1, 20))
    envelope = (torch.sin(2 * torch.pi * 2.3 * time + seed) + 0.3).clamp(min=0.01)
    wav = (tone + 0.5 * torch.randn(samples, generator=generator, dtype=torch.float64)) * envelope
    return (0.06 * wav / wav.square().mean().sqrt()).float()


def worst(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest relative difference of a layer. Shapes must agree."""
    assert [tuple(x.shape) for x in ours] == [tuple(x.shape) for x in theirs]
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in zip(ours, theirs, strict=True))


def _normalized(wav: Tensor, normalize: bool) -> Tensor:
    return F.layer_norm(wav, wav.shape) if normalize else wav
