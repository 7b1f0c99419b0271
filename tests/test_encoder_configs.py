"""Other libraries' configurations against these libraries, against the shapes by name, and against nonsense."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from weight_formats import FAIRSEQ, LARGE, SMALL, transformers_model

from upstream.encoder import configs, shape
from upstream.encoder.model import Encoder
from upstream.encoder.shape import EncoderShape, OutsideFamily
from upstream.errors import DataError, UsageError

KINDS = ["Wav2Vec2", "Hubert", "WavLM", "UniSpeech", "UniSpeechSat", "Data2VecAudio"]
BASES = {
    "wav2vec2": "wav2vec2_base",
    "hubert": "hubert_base",
    "wavlm": "wavlm_base",
    "unispeech": "wav2vec2_base",
    "unispeech-sat": "unispeech_sat_base",
    "data2vec-audio": "data2vec_base",
}


def meta_tensors(structure: EncoderShape) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return Encoder(structure).state_dict()


def parameters(tensors) -> int:
    return sum(tensor.numel() for tensor in tensors)


def test_configurations_are_read_without_torch():
    code = "import sys, upstream.encoder.configs, upstream.hub; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_as_many_parameters_as_in_transformers(kind, large):
    model = transformers_model(kind, **LARGE if large and kind != "Data2VecAudio" else {})
    ours = configs.from_transformers(model.config.to_dict(), None)
    # Not in ours: the mask, and the lengths of the weight norm, which data2vec does not have.
    extra = ours.dim + (0 if kind == "Data2VecAudio" else ours.position_kernel)
    assert parameters(meta_tensors(ours).values()) == parameters(model.parameters()) - extra
    assert ours.pre_norm == (large and kind != "Data2VecAudio")


@pytest.mark.parametrize("kind", BASES)
def test_what_a_file_leaves_out_is_the_librarys_default(kind):
    import transformers

    whole = transformers.AutoConfig.for_model(kind).to_dict()
    expected = shape.named(BASES[kind])
    assert configs.from_transformers(whole, None) == expected
    assert configs.from_transformers({"model_type": kind}, None) == expected


def test_normalisation_is_what_is_said_else_what_the_family_does():
    base, large = {"model_type": "hubert"}, {"model_type": "hubert", **LARGE}
    assert [configs.from_transformers(config, None).normalize for config in (base, large)] == [False, True]
    assert [
        configs.from_transformers(config, said).normalize for config in (base, large) for said in (True, False)
    ] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "whisper"}, "'whisper'"),
        ({"model_type": "wav2vec2-bert"}, "wav2vec2-bert"),
        ({}, "None"),
        ({"model_type": ["wav2vec2"]}, "wav2vec2"),
        ({"model_type": "wav2vec2", "adapter_attn_dim": 16}, "adapter_attn_dim"),
        ({"model_type": "hubert", "conv_pos_batch_norm": True}, "conv_pos_batch_norm"),
        ({"model_type": "wav2vec2", "hidden_act": "relu"}, "relu"),
        ({"model_type": "wav2vec2", "hidden_act": "gelu_new"}, "gelu, gelu_new"),
        ({"model_type": "wavlm", "layer_norm_eps": 1e-7}, "1e-07"),
        ({"model_type": "wav2vec2", "conv_dim": [512, 512, 512, 512, 512, 512, 256]}, "256"),
        ({"model_type": "data2vec-audio", "num_conv_pos_embeddings": 1}, "num_conv_pos_embeddings"),
    ],
)
def test_what_the_encoder_cannot_be_is_said(config, reason):
    with pytest.raises(OutsideFamily, match=reason):
        configs.from_transformers(config, None)


def test_tanh_gelu_throughout_is_tanh_gelu():
    config = {"model_type": "wav2vec2", "hidden_act": "gelu_new", "feat_extract_activation": "gelu_pytorch_tanh"}
    assert configs.from_transformers(config, None).tanh_gelu


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "768"),
        ("hidden_size", None),
        ("hidden_size", 768.0),
        ("num_hidden_layers", True),
        ("conv_bias", "false"),
        ("conv_bias", 0),
        ("conv_kernel", 10),
        ("conv_kernel", [10, "3"]),
        ("conv_dim", []),
        ("hidden_act", 3),
        ("num_buckets", {}),
    ],
)
def test_values_of_the_wrong_kind_are_named(key, value):
    with pytest.raises(DataError, match=key):
        configs.from_transformers({"model_type": "wavlm", key: value}, None)


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_size", 0), ("num_attention_heads", 7), ("conv_stride", [5]), ("feat_extract_norm", "x")]
)
def test_impossible_structures_are_refused(key, value):
    with pytest.raises(UsageError):
        configs.from_transformers({"model_type": "wavlm", key: value}, None)


# fairseq

LARGE_FAIRSEQ = {
    "encoder_layers": 24,
    "encoder_embed_dim": 1024,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "layer_norm_first": True,
    "extractor_mode": "layer_norm",
}
WAVLM = {"relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320, "max_distance": 800}


@pytest.mark.parametrize(
    ("model", "task", "name"),
    [
        ({"encoder_layers": 12}, {}, "wav2vec2_base"),
        ({"encoder_layers": 12}, {"normalize": False, "sample_rate": 16000}, "hubert_base"),
        ({"encoder_layers": 12, "normalize": False, **WAVLM}, {}, "wavlm_base"),
        ({**LARGE_FAIRSEQ, "normalize": True, **WAVLM}, {}, "wavlm_large"),
        (LARGE_FAIRSEQ, {"normalize": True}, "hubert_large"),
        ({**LARGE_FAIRSEQ, "conv_bias": True}, {"normalize": True}, "wav2vec2_large"),
        (
            {"_name": "data2vec_audio", "encoder_layers": 12, "extractor_mode": "layer_norm", "conv_pos": 95}
            | {"pos_conv_depth": 5},
            {"normalize": True},
            "data2vec_base",
        ),
    ],
)
def test_fairseqs_configurations_have_the_shapes_of_these_names(model, task, name):
    assert configs.from_fairseq(model, task) == shape.named(name)


def test_what_microsofts_configuration_leaves_out_is_s3prls_default():
    from oracles import import_s3prl

    gated = {"relative_position_embedding": True, "gru_rel_pos": True}
    default = vars(import_s3prl("s3prl.upstream.wavlm.WavLM").WavLMConfig(gated))
    assert configs.from_fairseq({"encoder_layers": 12, **gated}, {}) == configs.from_fairseq(default, {})


@pytest.mark.parametrize("nested", [True, False], ids=["today", "2020"])
def test_a_fine_tuned_model_keeps_its_encoders_configuration_inside(nested):
    inner = {"model": LARGE_FAIRSEQ, "task": {"normalize": False}} if nested else {**LARGE_FAIRSEQ, "normalize": True}
    outer = {"_name": "wav2vec_ctc", "w2v_path": "somewhere.pt", "w2v_args": inner, "encoder_embed_dim": 999}
    assert configs.from_fairseq(outer, {"normalize": True} if nested else {}) == shape.named("hubert_large")


@pytest.mark.parametrize(
    "change",
    [
        {"layer_type": "conformer"},
        {"activation_fn": "gelu_accurate"},
        {"crop_seq_to_multiple": 2},
        {"quantize_input": True},
        {"conv_pos_batch_norm": True},
        {"relative_position_embedding": True},
        {"gru_rel_pos": True},
        {"extractor_mode": "none"},
        {"encoder_embed_dim": 32},
        {"conv_feature_layers": "[(32,10,5)] + [(64,3,2)]"},
    ],
)
def test_structures_of_fairseq_that_the_encoder_lacks(change):
    configs.from_fairseq(FAIRSEQ, {})
    with pytest.raises(OutsideFamily):
        configs.from_fairseq(FAIRSEQ | change, {})


def test_a_configuration_of_something_else_is_outside():
    with pytest.raises(OutsideFamily, match="encoder_layers"):
        configs.from_fairseq({"conv_aggregator_layers": "[(512, 2, 1)]"}, {})


def test_values_of_the_wrong_kind_in_fairseqs_configuration_are_named():
    with pytest.raises(DataError, match="encoder_attention_heads"):
        configs.from_fairseq(FAIRSEQ | {"encoder_attention_heads": "four"}, {})
    with pytest.raises(DataError, match="normalize"):
        configs.from_fairseq(FAIRSEQ, {"normalize": "${task.normalize}"})


@pytest.mark.parametrize(
    "text",
    [
        "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
        "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]",
        " [(512,10,5), [512, 3, 2]]\n",
        "([(32, 10, 5)] + [(32, 3, 2)]) * 3",
    ],
)
def test_convolutions_are_read_as_python_reads_them(text):
    assert configs.parse_convolutions(text) == [tuple(layer) for layer in eval(text.strip())]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "512",
        "[(512,10)]",
        "[(512,10,-5)]",
        "[(512,10,0)]",
        "[(512,10,5.0)]",
        "[(512,10,True)]",
        "[(512,10,5)] * 1000000000",
        "[(1,1,1)] * 50 * 50 * 50 * 50",
        "[(512,10,5)] - [(512,10,5)]",
        "__import__('os').system('true')",
        "[(512, 10, __import__('os').system('true'))]",
        "[(512,10,5)" + "]" * 3,
        "(" * 900 + ")" * 90,
        "[(1,1,1)]" + " + [(1,1,1)]" * 1000,
        "\0",
    ],
)
def test_convolutions_of_nonsense_are_refused(text):
    with pytest.raises(DataError, match="conv_feature_layers"):
        configs.parse_convolutions(text)


# Without a configuration


@pytest.mark.parametrize("name", ["wavlm_base", "wavlm_large", "hubert_xlarge", "wav2vec2_large", "data2vec_base"])
def test_these_shapes_are_known_by_their_tensors(name):
    assert configs.from_tensors(meta_tensors(shape.named(name))) == shape.named(name)


def test_padding_does_not_show_and_is_told_by_the_layout():
    tensors = meta_tensors(shape.named("nanow2v2_base"))
    assert configs.nanow2v2(tensors) == shape.named("nanow2v2_base")
    assert not any("nanow2v2" in name for name in configs._unpadded_shapes())
    shallow = {name: tensor for name, tensor in tensors.items() if not name.startswith(("layers.1.", "layers.2."))}
    assert configs.nanow2v2(shallow) == replace(shape.named("nanow2v2_base"), layers=1)


def test_heads_of_a_narrower_nanow2v2_are_not_guessed():
    with pytest.raises(UsageError, match="heads"):
        configs.nanow2v2(meta_tensors(replace(shape.named("nanow2v2_base"), dim=384)))


def test_an_unknown_structure_wants_a_name():
    tensors = meta_tensors(configs.from_transformers({"model_type": "wav2vec2", **SMALL}, None))
    with pytest.raises(UsageError, match=r"no known shape: dim 64, layers 2, .*--weights FILE"):
        configs.from_tensors(tensors)


def test_known_shapes_that_differ_only_where_it_does_not_show_want_a_name(monkeypatch):
    base = shape.named("wav2vec2_base")
    known = {"a": base, "b": replace(base, heads=8), "c": replace(base, layers=3), "d": base}
    monkeypatch.setattr(configs, "_unpadded_shapes", lambda: known)
    with pytest.raises(UsageError, match=r"several known shapes: a \(heads 12\), b \(heads 8\), d \(heads 12\)\."):
        configs.from_tensors(meta_tensors(base))


def test_every_field_of_a_shape_either_shows_or_does_not():
    """A new field has to be put on one of the two lists."""
    seen = configs.visible(meta_tensors(shape.named("wavlm_large")))
    assert {*seen, *configs.INVISIBLE} == {field for field in EncoderShape.__dataclass_fields__}
    assert not {*seen} & {*configs.INVISIBLE}
