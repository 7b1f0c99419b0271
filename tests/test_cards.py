"""What the cards and shapes say, against published tables and against other libraries' own models."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import fields
from functools import partial
from math import prod
from pathlib import Path

import pytest
import torch

import benchmark.reference
from benchmark.cli import main
from upstream import registry
from upstream.adapters.imports import import_s3prl, import_torchaudio, import_transformers
from upstream.encoder import shape as shapes

ABLATIONS = {"wavlm_base_without_denoising", "wavlm_base_without_structure"}  # no weights of these were published
CARDS = {name: registry.card(name) for name in registry.names()}
FAMILY = sorted(name for name, card in CARDS.items() if card.provider == "encoder")
BUNDLES = sorted(name for name, card in CARDS.items() if card.torchaudio)
PRETRAINING_DIM = {"wav2vec2_base": 256, "xls_r_1b": 1024, "xls_r_2b": 1024, "mms_1b": 1024}


def published():
    with Path(benchmark.reference.__file__).with_name("superb.csv").open(newline="") as file:
        return [line for line in csv.DictReader(file) if line["upstream"] not in ABLATIONS]


def transformers_class(name):
    """transformers' name of the family of a shape; its configuration and models are called after it."""
    found = {"wavlm": "WavLM", "hubert": "Hubert", "mhubert": "Hubert", "data2vec": "Data2VecAudio"}
    return "UniSpeechSat" if name.startswith("unispeech_sat") else found.get(name.partition("_")[0], "Wav2Vec2")


def transformers_config(name):
    """The structure of a shape in transformers' words."""
    s, kind = shapes.named(name), transformers_class(name)
    words = {
        "hidden_size": s.dim,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "intermediate_size": s.ffn,
        "conv_bias": s.conv_bias,
        "conv_dim": (s.conv_channels,) * len(s.conv_kernels),
        "conv_kernel": s.conv_kernels,
        "conv_stride": s.conv_strides,
        "num_conv_pos_embeddings": s.position_kernel,
        "num_conv_pos_embedding_groups": s.position_groups,
    }
    if kind == "Data2VecAudio":
        words |= {"num_conv_pos_embeddings": s.position_depth, "conv_pos_kernel_size": s.position_kernel}
    else:
        words |= {"feat_extract_norm": s.conv_norm, "do_stable_layer_norm": s.pre_norm}
    if kind == "WavLM":
        words |= {"num_buckets": s.relative_buckets, "max_bucket_distance": s.relative_distance}
    if kind == "Wav2Vec2":
        words |= dict.fromkeys(("codevector_dim", "proj_codevector_dim"), PRETRAINING_DIM.get(name, 768))
    return getattr(import_transformers(), f"{kind}Config")(**words)


def test_every_model_of_the_published_table_has_a_card():
    assert len(published()) == 17
    for line in published():
        card = CARDS[line["upstream"]]
        assert card.params == round(float(line["parameters"].removesuffix("M")) * 1e6)
        if card.corpus is None:
            assert line["pretraining"] == "-"
            continue
        short, hours = re.fullmatch(r"(\w+) (\d+k?) hr", line["pretraining"]).groups()
        assert {"LS": "LibriSpeech", "LL": "Libri-Light"}.get(
            short, "Libri-Light, GigaSpeech, VoxPopuli"
        ) == card.corpus
        if card.name != "tera":
            assert card.hours == int(hours.replace("k", "000"))


def test_cards_are_consistent():
    hubs = [card.hub for card in CARDS.values() if card.hub]
    assert len(set(hubs)) == len(hubs)
    for name, card in CARDS.items():
        assert (card.provider == "spectral") == (card.corpus is None) == (card.paper is None)
        assert (card.provider == "encoder") == (card.shape is not None) == (card.hub is not None)
        assert card.provider != "s3prl" or card.s3prl == name
        assert card.hub is None or re.fullmatch(r"[\w-]+/[\w-]+", card.hub)
        assert card.paper is None or re.fullmatch(r"\d{4}\.\d{5}", card.paper)
        assert card.hours_seen is None or card.hours_seen > card.hours


@pytest.mark.parametrize("name", FAMILY)
def test_cards_of_the_family_agree_with_their_shapes(name):
    card, shape = CARDS[name], shapes.named(CARDS[name].shape)
    assert (card.layers, card.dim, card.hop) == (shape.layers + 1, shape.dim, prod(shape.conv_strides))


@pytest.mark.parametrize("name", FAMILY)
def test_parameters_are_those_of_transformers(name):
    """With the heads of pretraining where they are known: the others have less than half a percent of their model."""
    card = CARDS[name]
    kind = transformers_class(card.shape)
    build = getattr(import_transformers(), kind + ("ForPreTraining" if kind == "Wav2Vec2" else "Model"))
    config = transformers_config(card.shape)
    with torch.device("meta"):
        model = build(config)
    counted = sum(parameter.numel() for parameter in model.parameters())
    if kind == "Data2VecAudio":
        counted += card.dim * (card.dim + 1)  # one projection
    if kind in ("Wav2Vec2", "Data2VecAudio"):
        assert card.params == pytest.approx(counted, rel=1e-4)
    else:
        assert counted - 5000 < card.params < 1.004 * counted  # 5000: rounding


@pytest.mark.parametrize("name", ["wav2vec2_base", "hubert_base", "wavlm_base", "unispeech_sat_base", "data2vec_base"])
def test_base_shapes_are_the_defaults_of_transformers(name):
    config = transformers_config(name)
    default, ours = (c.to_dict() for c in (type(config)(), config))
    for key in ("codevector_dim", "proj_codevector_dim"):  # of the heads
        default.pop(key, None), ours.pop(key, None)
    assert ours == default


@pytest.mark.parametrize("name", BUNDLES)
def test_shapes_are_those_of_torchaudio(name):
    import_torchaudio()
    from torchaudio import pipelines

    shape, bundle = shapes.named(CARDS[name].shape), getattr(pipelines, CARDS[name].torchaudio)
    theirs = bundle._params
    assert theirs == {
        **theirs,
        "extractor_mode": f"{shape.conv_norm}_norm",
        "extractor_conv_layer_config": [
            (shape.conv_channels, *conv) for conv in zip(shape.conv_kernels, shape.conv_strides, strict=True)
        ],
        "extractor_conv_bias": shape.conv_bias,
        "encoder_embed_dim": shape.dim,
        "encoder_num_layers": shape.layers,
        "encoder_num_heads": shape.heads,
        "encoder_ff_interm_features": shape.ffn,
        "encoder_pos_conv_kernel": shape.position_kernel,
        "encoder_pos_conv_groups": shape.position_groups,
        "encoder_layer_norm_first": shape.pre_norm,
    }
    assert theirs.get("encoder_num_buckets", 0) == shape.relative_buckets
    assert theirs.get("encoder_max_distance", 0) == shape.relative_distance
    assert bundle._normalize_waveform == shape.normalize


def test_what_normalises_the_waveform():
    """Where no bundle says it: fairseq's configurations, and what the makers of mHuBERT-147 trained it with."""
    normalised = {name for name in shapes.names() if shapes.named(name).normalize}
    assert normalised == {
        *("wav2vec2_large", "xls_r_300m", "xls_r_1b", "xls_r_2b", "mms_300m", "mms_1b", "hubert_large"),
        *("hubert_xlarge", "wavlm_large", "unispeech_sat_large", "data2vec_base", "data2vec_large", "mhubert_147"),
    }


def test_s3prl_has_the_entries_that_cards_name():
    entries = set(import_s3prl().options())
    assert {card.s3prl for card in CARDS.values() if card.s3prl} <= entries
    assert set(registry.aliases()) <= entries


# How to build them. What is imported on the way must not be on the meta device, so it is imported first.


def apc(vq=None):
    return partial(import_s3prl("s3prl.upstream.apc.apc").APC, 80, 512, 3, 0.0, residual=True, vq=vq)


def vq_apc():
    return apc({"codebook_size": [512], "code_dim": [512], "gumbel_temperature": 0.5})


def npc():
    vq = {"codebook_size": [64] * 4, "code_dim": [128] * 4, "gumbel_temperature": 1.0}
    return partial(
        import_s3prl("s3prl.upstream.npc.npc").NPC, 80, 512, 4, 0.1, True, kernel_size=15, mask_size=5, vq=vq
    )


def transformer(layers):
    config = dict(hidden_size=768, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=3072)
    config |= dict(hidden_act="gelu", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, initializer_range=0.02)
    config |= dict(layer_norm_eps=1e-12, share_layer=False, pre_layer_norm=False)
    model = import_s3prl("s3prl.upstream.mockingjay.model")
    return partial(model.TransformerModel, model.TransformerConfig(config), 80)


def modified_cpc():
    parts = import_s3prl("s3prl.upstream.cpc.feature_loader")
    model = import_s3prl("s3prl.upstream.cpc.model").CPCModel
    config = import_s3prl("s3prl.upstream.cpc.cpc_default_config").get_default_cpc_config()
    return lambda: model(parts.getEncoder(config), parts.getAR(config))


def wav2vec():
    module = import_s3prl("s3prl.upstream.wav2vec.wav2vec_model")
    config = module.Wav2VecConfig(infonce=True)
    config.conv_feature_layers = "[(512,10,5),(512,8,4)] + [(512,4,2)] * 3 + [(512,1,1)] * 2"
    return partial(module.Wav2VecModel, config)


def decoar2():
    return import_s3prl("s3prl.upstream.decoar2.decoar2").Decoar2


OLDER = {
    "apc": (apc, lambda model: len(model.rnn_layers)),
    "vq_apc": (vq_apc, lambda model: len(model.rnn_layers)),
    "npc": (npc, lambda model: len(model.blocks) + len(model.masked_convs) + 1),
    "tera": (lambda: transformer(3), lambda model: len(model.encoder.layer) + 1),
    "mockingjay": (lambda: transformer(12), lambda model: len(model.encoder.layer) + 1),
    "modified_cpc": (modified_cpc, lambda model: len([model.gEncoder, model.gAR])),
    "wav2vec": (wav2vec, lambda model: 1 + len(model.feature_aggregator.conv_layers)),
    "decoar2": (decoar2, lambda model: len(model.encoder.layers) + 1),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", OLDER)
def test_older_models_are_those_of_s3prl(name):
    """Built by s3prl's own code in the published size: the parameters of the table, and the states that it hooks."""
    prepare, states = OLDER[name]
    build = prepare()
    with torch.device("meta"):
        model = build()
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == pytest.approx(CARDS[name].params, abs=5000)
    assert states(model) == CARDS[name].layers


def test_upstreams_are_listed_for_people(capsys):
    assert main(["list", "upstreams"]) == 0
    out = capsys.readouterr().out
    table, _, notes = out.partition("\n\n")
    assert max(map(len, table.splitlines())) <= 150
    row = next(line for line in table.splitlines() if line.startswith("wavlm_large "))
    shown = "wavlm_large encoder 316.62M 25 x 1024 320 Libri-Light, GigaSpeech, VoxPopuli, 94k h CC-BY-SA-3.0"
    assert " ".join(row.split()) == shown
    assert "LibriSpeech, 960 h" in next(line for line in table.splitlines() if line.startswith("hubert_base "))
    assert "hubert (hubert_base)" in notes
    for prefix in registry.PREFIXES:
        assert f"{prefix}:" in notes


def test_upstreams_are_listed_for_programs(capsys):
    assert main(["list", "upstreams", "--json"]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert list(listed) == registry.names()
    assert all(set(item) == {field.name for field in fields(registry.Card)} for item in listed.values())
    assert listed["hubert_base"]["hub"] == "facebook/hubert-base-ls960"
    assert listed["fbank"]["hours"] is None


def test_listing_upstreams_imports_no_torch():
    code = "import sys; from benchmark.cli import main; main(['list', 'upstreams']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
