"""Small random checkpoints in the formats that s3prl's models are published in, made from s3prl's own classes."""

from argparse import Namespace
from pathlib import Path

import torch
from oracles import import_s3prl

AUDIO = {"feat_type": "fbank", "feat_dim": 20, "frame_length": 25, "frame_shift": 10, "decode_wav": False, "cmvn": True}
MEL = {
    "win_ms": 25,
    "hop_ms": 10,
    "n_freq": 201,
    "n_mels": 20,
    "n_mfcc": 13,
    "input": {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True},
    "target_level": -25,
}
TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "hidden_act": "gelu",
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.2,
    "layer_norm_eps": 1e-12,
    "share_layer": False,
    "pre_layer_norm": False,
}


def apc(vq: bool = False) -> dict:
    paras = {"hidden_size": 16, "num_layers": 3, "dropout": 0.1, "residual": True}
    if vq:
        paras["vq"] = {"codebook_size": [8], "code_dim": [16], "gumbel_temperature": 0.5}
    model = import_s3prl("s3prl.upstream.apc.apc").APC(AUDIO["feat_dim"], **paras)
    return {"config": {"data": {"audio": dict(AUDIO)}, "model": {"paras": paras}}, "model": model.state_dict()}


def npc() -> dict:
    paras = {"hidden_size": 16, "n_blocks": 2, "dropout": 0.1, "residual": True, "kernel_size": 15, "mask_size": 5}
    model = import_s3prl("s3prl.upstream.npc.npc").NPC(AUDIO["feat_dim"], **paras)
    return {"config": {"data": {"audio": dict(AUDIO)}, "model": {"paras": paras}}, "model": model.state_dict()}


def transformer() -> dict:
    """Mockingjay and TERA. The published files hold the arguments of their training run too."""
    module = import_s3prl("s3prl.upstream.mockingjay.model")
    model = module.TransformerModel(module.TransformerConfig(TRANSFORMER), MEL["n_mels"])
    config = {"transformer": TRANSFORMER, "audio": MEL, "task": {"sequence_length": 1500}}
    return {"Config": config, "Paras": Namespace(seed=1337), "Transformer": model.state_dict()}


def distiller() -> dict:
    """DistilHuBERT. Its file, too, holds more than weights."""
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 2}
    config = {**sizes, "final_dim": 16, "n_tasks": 3, "pred_layer_id": [4, 8, 12]}
    config["extractor_conv_feature_layers"] = "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2"
    module = import_s3prl("s3prl.upstream.distiller.model")
    model = module.DistillerModel(module.DistillerConfig(config))
    return {"Config": {"distiller": config}, "Paras": Namespace(seed=1337), "Distiller": model.state_dict()}


def modified_cpc() -> dict:
    loader = import_s3prl("s3prl.upstream.cpc.feature_loader")
    config = {"hiddenEncoder": 16, "hiddenGar": 16, "nLevelsGRU": 2}
    args = import_s3prl("s3prl.upstream.cpc.cpc_default_config").get_default_cpc_config()
    loader.loadArgs(args, Namespace(**config))
    model = import_s3prl("s3prl.upstream.cpc.model").CPCModel(loader.getEncoder(args), loader.getAR(args))
    return {"config": config, "weights": model.state_dict()}


def wav2vec(**settings: object) -> dict:
    module = import_s3prl("s3prl.upstream.wav2vec.wav2vec_model")
    config = {
        "infonce": True,
        "conv_feature_layers": "[(16, 10, 5), (16, 8, 4), (16, 4, 2), (16, 4, 2), (16, 4, 2)]",
        "conv_aggregator_layers": "[(16, 2, 1), (16, 3, 1), (16, 4, 1)]",
        **settings,
    }
    model = module.Wav2VecModel(module.Wav2VecConfig(**config))
    return {"task_cfg": {"sample_rate": 16000}, "model_cfg": config, "model_weight": model.state_dict()}


MAKERS = {
    "apc": apc,
    "vq_apc": lambda: apc(vq=True),
    "npc": npc,
    "mockingjay": transformer,
    "tera": transformer,
    "modified_cpc": modified_cpc,
    "distilhubert": distiller,
    "wav2vec": wav2vec,
    "vq_wav2vec": lambda: wav2vec(vq_type="gumbel", vq_vars=8, vq_groups=2),
}


def write(name: str, folder: Path) -> Path:
    torch.manual_seed(1)
    path = folder / f"{name}.ckpt"
    torch.save(MAKERS[name](), path)
    return path
