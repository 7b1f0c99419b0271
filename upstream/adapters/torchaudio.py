"""`torchaudio:BUNDLE`: the wav2vec 2.0, HuBERT and WavLM bundles of torchaudio.pipelines, run by our own encoder.

torchaudio says which structure a bundle has and where its weights are. Its own `extract_features` has neither SUPERB's
first state nor the final LayerNorm of its last one, and takes no lengths for WavLM.
"""

from pathlib import Path
from types import ModuleType

import torch

from upstream.adapters.downloads import fetched
from upstream.adapters.imports import import_torchaudio
from upstream.encoder.checkpoints import read
from upstream.encoder.provider import provided
from upstream.encoder.shape import EncoderShape
from upstream.errors import UsageError, unknown
from upstream.loaded import Provided
from upstream.registry import Source

URL = "https://download.pytorch.org/torchaudio/models/"


def provide(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for `torchaudio:` names."""
    who = f"upstream '{source.name}'"
    bundles = _bundles(import_torchaudio())
    if source.ref not in bundles:
        raise unknown("bundle of torchaudio.pipelines", source.ref, bundles)
    bundle = bundles[source.ref]
    if weights is not None and weights.is_dir():
        raise UsageError(f"{who}: --weights {weights} is a folder; a state dict file of this bundle is expected.")
    shape, tensors = read(weights or _cached(bundle._path, who), _shape(bundle), who)
    return provided(source.name, shape, tensors, device, dtype)


def _bundles(torchaudio: ModuleType) -> dict[str, object]:
    pipelines = torchaudio.pipelines
    return {name: value for name, value in vars(pipelines).items() if isinstance(value, pipelines.Wav2Vec2Bundle)}


def _cached(path: str, who: str) -> Path:
    url = path if path.startswith("https://") else URL + path
    return fetched(url, Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2], who)


def _shape(bundle: object) -> EncoderShape:
    """The structure of a bundle, in our words. Its letters, if it was fine-tuned, are no part of it."""
    said = bundle._params
    channels, kernels, strides = zip(*said["extractor_conv_layer_config"], strict=True)
    return EncoderShape(
        dim=said["encoder_embed_dim"],
        layers=said["encoder_num_layers"],
        heads=said["encoder_num_heads"],
        ffn=said["encoder_ff_interm_features"],
        conv_norm=said["extractor_mode"].removesuffix("_norm"),
        conv_bias=said["extractor_conv_bias"],
        pre_norm=said["encoder_layer_norm_first"],
        normalize=bundle._normalize_waveform,
        conv_channels=channels[0],
        conv_kernels=kernels,
        conv_strides=strides,
        position_kernel=said["encoder_pos_conv_kernel"],
        position_groups=said["encoder_pos_conv_groups"],
        relative_buckets=said.get("encoder_num_buckets", 0),
        relative_distance=said.get("encoder_max_distance", 0),
    )
