"""One set of weights is one encoder, in whichever library's format it comes."""

import json
from dataclasses import replace

import pytest
import torch
from encoders import (
    VARIANTS,
    enliven,
    s3prl_peer,
    speechlike,
    structure_of,
    torchaudio_peer,
    transformers_hidden,
    worst,
)
from oracles import import_s3prl, import_torchaudio
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from weight_formats import (
    FAIRSEQ,
    LARGE,
    hidden_states,
    nanow2v2_state,
    pretended,
    save_fairseq_of_2020,
    save_hubert_of_fairseq,
    save_transformers,
    saved,
    transformers_model,
)

from upstream.encoder import shape
from upstream.encoder.checkpoints import read
from upstream.errors import DataError, UsageError

BASE, LARGE_HUBERT = VARIANTS[0], VARIANTS[3]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def fairseq_state() -> dict[str, torch.Tensor]:
    """A small wav2vec 2.0 under fairseq's names, its quantizer and heads included."""
    return s3prl_peer(BASE).module.state_dict()


@pytest.fixture
def expected(fairseq_state, tmp_path) -> dict[str, torch.Tensor]:
    path = tmp_path / "expected.pt"
    torch.save({"model_weight": fairseq_state, "model_cfg": FAIRSEQ, "task_cfg": {"normalize": False}}, path)
    structure, tensors = read(path)
    assert structure == structure_of(BASE)
    return tensors


def assert_same(tensors, others):
    assert tensors.keys() == others.keys()
    for name in tensors:
        torch.testing.assert_close(tensors[name], others[name], rtol=0, atol=0, msg=name)


# The same weights through the libraries' own converters


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=str)
def test_fairseqs_weights_converted_by_torchaudio_are_the_same_tensors(variant, tmp_path):
    import_torchaudio()
    from torchaudio.models.wav2vec2.utils import import_fairseq

    peer = s3prl_peer(variant)
    converted = import_fairseq._convert_state_dict(peer.module.state_dict())
    _, ours = read(peer.save(tmp_path))
    _, theirs = read(saved(converted, tmp_path / "torchaudio.pth"), structure_of(variant))
    assert_same(ours, theirs)


@pytest.mark.parametrize("large", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
def test_transformers_weights_converted_by_torchaudio_are_the_same_tensors(kind, large, tmp_path):
    import_torchaudio()
    from torchaudio.models.wav2vec2.utils import import_huggingface_model

    model = transformers_model(kind, **large)
    structure, ours = read(save_transformers(model, tmp_path))
    _, theirs = read(saved(import_huggingface_model(model).state_dict(), tmp_path / "ta.pth"), structure)
    assert_same(ours, theirs)


def test_tensors_are_where_they_belong(tmp_path):
    """By hand, for one file."""
    model = transformers_model("WavLM", **LARGE)
    structure, ours = read(save_transformers(model, tmp_path))
    assert (structure.relative_buckets, structure.relative_distance, structure.normalize) == (320, 800, True)
    layer = model.encoder.layers[1]
    assert ours["layers.1.attention.query.weight"].equal(layer.attention.q_proj.weight)
    assert ours["layers.1.attention.value.bias"].equal(layer.attention.v_proj.bias)
    assert ours["layers.1.attention.gate_scale"].equal(layer.attention.gru_rel_pos_const)
    assert ours["layers.1.up.weight"].equal(layer.feed_forward.intermediate_dense.weight)
    assert ours["layers.1.output_norm.bias"].equal(layer.final_layer_norm.bias)
    assert ours["relative_bias.weight"].equal(model.encoder.layers[0].attention.rel_attn_embed.weight)
    assert ours["convolutions.6.norm.weight"].equal(model.feature_extractor.conv_layers[6].layer_norm.weight)
    assert ours["positions.0.weight"].equal(model.encoder.pos_conv_embed.conv.weight)


# Members of the family that have no parity test elsewhere

ODD = {
    "UniSpeech": {},
    "UniSpeechSat": LARGE,
    "Data2VecAudio": {"conv_pos_kernel_size": 7, "num_conv_pos_embeddings": 3},
    "Hubert": {"feat_proj_layer_norm": False},
}


@pytest.mark.parametrize("kind", ODD)
def test_hidden_states_are_those_of_transformers(kind, tmp_path):
    model = transformers_model(kind, **ODD[kind])
    structure, tensors = read(save_transformers(model, tmp_path))
    wav = speechlike(16000)
    theirs = transformers_hidden(model, F.layer_norm(wav, wav.shape) if structure.normalize else wav)
    assert len(theirs) == 3
    assert worst(hidden_states(structure, tensors, wav), theirs) < 1e-5


def test_hidden_states_of_s3prls_data2vec_are_the_same(tmp_path):
    """Its file holds the teacher too, as a dictionary of its own."""
    module = import_s3prl("s3prl.upstream.data2vec.data2vec_model")
    merge = import_s3prl("s3prl.upstream.utils").merge_with_parent
    config = FAIRSEQ | {"_name": "data2vec_audio", "extractor_mode": "layer_norm", "conv_pos": 95, "pos_conv_depth": 5}
    model = enliven(module.Data2VecAudioModel(merge(module.Data2VecAudioConfig, config)))
    model.feature_grad_mult = 0.0
    state = model.state_dict()
    state["_ema"] = dict(model.encoder.state_dict())
    file = {"model_cfg": config, "task_cfg": {"normalize": True}, "model_weight": state}
    structure, tensors = read(saved(file, tmp_path / "data2vec.pt"))
    assert (structure.position_depth, structure.position_kernel, structure.normalize) == (5, 19, True)
    wav = speechlike(16000)
    last = model.extract_features(F.layer_norm(wav, wav.shape)[None], None)["x"][0]
    assert worst(hidden_states(structure, tensors, wav)[-1:], [last]) < 1e-5


# The formats


@pytest.mark.parametrize("kind", ["Wav2Vec2", "WavLM", "UniSpeechSat", "Data2VecAudio"])
@pytest.mark.parametrize("head", ["ForCTC", "ForSequenceClassification", "ForXVector"])
def test_heads_are_left_out(kind, head, tmp_path):
    model = transformers_model(kind, head, tdnn_dim=(8, 8), tdnn_kernel=(2, 2), tdnn_dilation=(1, 1))
    _, whole = read(save_transformers(model, tmp_path / "whole"))
    _, encoder = read(save_transformers(model.base_model, tmp_path / "encoder"))
    assert_same(whole, encoder)


@pytest.mark.parametrize("kind", ["Wav2Vec2", "UniSpeech", "UniSpeechSat"])
def test_what_was_for_pretraining_is_left_out(kind, tmp_path):
    model = transformers_model(kind, "ForPreTraining")
    _, whole = read(save_transformers(model, tmp_path / "whole"))
    _, encoder = read(save_transformers(model.base_model, tmp_path / "encoder"))
    assert_same(whole, encoder)


def test_an_adapter_after_the_last_layer_is_left_out(tmp_path):
    model = transformers_model("Wav2Vec2", add_adapter=True)
    assert any(name.startswith("adapter.") for name in model.state_dict())
    read(save_transformers(model, tmp_path))


def test_a_folder_may_hold_its_weights_in_any_of_the_usual_ways(tmp_path):
    model = transformers_model("WavLM")
    whole = save_transformers(model, tmp_path / "whole")
    structure, expected = read(whole)

    def folder(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes((whole / "config.json").read_bytes())
        return tmp_path / name

    sharded = save_transformers(model, tmp_path / "sharded", max_shard_size="200KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 1
    pickled = folder("pickled")
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    old = folder("old")
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = load_file(whole / "model.safetensors")
    for new, before in names.items():
        state[f"encoder.pos_conv_embed.conv.{before}"] = state.pop(f"encoder.pos_conv_embed.conv.{new}")
    save_file(state, old / "model.safetensors")
    parts = folder("parts")
    torch.save(dict(list(state.items())[::2]), parts / "pytorch_model-00001-of-00002.bin")
    torch.save(dict(list(state.items())[1::2]), parts / "pytorch_model-00002-of-00002.bin")
    index = {name: f"pytorch_model-0000{number % 2 + 1}-of-00002.bin" for number, name in enumerate(state)}
    (parts / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))

    for path in (sharded, pickled, old, parts, whole / "model.safetensors", pickled / "pytorch_model.bin"):
        found, tensors = read(path)
        assert found == structure
        assert_same(tensors, expected)


def test_fairseqs_files_of_all_times(fairseq_state, expected, tmp_path):
    config = {"model": FAIRSEQ, "task": {"normalize": False}, "common": {"seed": 1}}
    today = {"args": None, "cfg": config, "model": fairseq_state, "extra_state": {"epoch": 3}}
    fine_tuned = {f"w2v_encoder.w2v_model.{name}": value for name, value in fairseq_state.items()}
    fine_tuned |= {"w2v_encoder.proj.weight": torch.ones(8, 64), "w2v_encoder.proj.bias": torch.ones(8)}
    outer = {"model": {"_name": "wav2vec_ctc", "w2v_path": "x.pt", "w2v_args": config}, "task": {"normalize": False}}
    files = [
        saved(today, tmp_path / "today.pt"),
        save_fairseq_of_2020(fairseq_state, tmp_path / "2020.pt"),
        save_hubert_of_fairseq(fairseq_state, tmp_path / "hubert.pt"),
        save_hubert_of_fairseq(fairseq_state, tmp_path / "old_hubert.pt", old=True),
        saved({"cfg": outer, "model": fine_tuned}, tmp_path / "fine_tuned.pt"),
        saved({"cfg": FAIRSEQ | {"normalize": False}, "model": fairseq_state}, tmp_path / "microsoft.pt"),
    ]
    for path in files:
        structure, tensors = read(path)
        assert structure == structure_of(BASE), path
        assert_same(tensors, expected)


def test_a_fine_tuned_file_may_leave_its_encoders_configuration_elsewhere(fairseq_state, expected, tmp_path):
    state = {f"w2v_encoder.w2v_model.{name}": value for name, value in fairseq_state.items()}
    model = {"_name": "wav2vec_ctc", "w2v_path": "elsewhere.pt", "w2v_args": None, "normalize": False}
    path = saved({"cfg": {"model": model, "task": {}}, "model": state}, tmp_path / "fine_tuned.pt")
    _, tensors = read(path, structure_of(BASE))
    assert_same(tensors, expected)
    with pytest.raises(UsageError, match="without a configuration"):
        read(path)


def test_a_file_with_omegaconf_and_numpy_in_it(fairseq_state, expected, tmp_path):
    numpy, omegaconf = pytest.importorskip("numpy"), pytest.importorskip("omegaconf")
    with pretended("fairseq.dataclass.constants", "MODE") as mode:
        mode.__reduce__ = lambda self: (mode, ("default",))
        mode.__init__ = lambda self, *value: None
        config = omegaconf.OmegaConf.create(
            {"model": FAIRSEQ | {"mask": [1, {"a": None}]}, "task": {"normalize": False}}
        )
        file = {"cfg": config, "model": fairseq_state, "best": numpy.float64(3.5), "mode": mode()}
        path = saved(file, tmp_path / "omegaconf.pt")
    structure, tensors = read(path)
    assert structure == structure_of(BASE)
    assert_same(tensors, expected)


def test_a_structured_configuration_with_an_enumeration_in_it(fairseq_state, tmp_path):
    """fairseq keeps its choices as enumerations of its own; such a value is read as what it was made from."""
    with pretended("fairseq.dataclass.constants", "EXTRACTOR_MODE") as mode:
        mode.__reduce__ = lambda self: (mode, ("layer_norm",))
        mode.__init__ = lambda self, *value: None
        config = {"model": FAIRSEQ | {"extractor_mode": mode()}, "task": {"normalize": False}}
        path = saved({"cfg": config, "model": fairseq_state}, tmp_path / "enum.pt")
    with pytest.raises(DataError, match=r"12 missing: convolutions\.1\.norm\.weight"):  # which a layer_norm one has
        read(path)


def test_torchaudios_models_with_something_around_them(tmp_path):
    peer = torchaudio_peer(LARGE_HUBERT)
    structure, state = structure_of(LARGE_HUBERT), peer.module.state_dict()
    _, expected = read(peer.save(tmp_path), structure)
    wrapped = {f"model.{name}": value for name, value in state.items()}
    wrapped |= {"model.aux.weight": torch.ones(8, 64), "model.aux.bias": torch.ones(8)}
    pretrained = {f"model.wav2vec2.{name}": value for name, value in state.items()}
    pretrained |= {
        "model.mask_generator.mask_embedding": torch.ones(64),
        "model.logit_generator.label_embeddings": torch.ones(8, 16),
        "model.logit_generator.final_proj.weight": torch.ones(16, 64),
    }
    for number, file in enumerate((wrapped, {"state_dict": pretrained, "epoch": 1})):
        _, tensors = read(saved(file, tmp_path / f"{number}.ckpt"), structure)
        assert_same(tensors, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype, tmp_path):
    state = {name: value.to(dtype) for name, value in transformers_model("Hubert").state_dict().items()}
    folder = save_transformers(transformers_model("Hubert"), tmp_path)
    save_file(state, folder / "model.safetensors")
    _, tensors = read(folder)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert tensors["project.weight"].equal(state["feature_projection.projection.weight"].float())


def test_what_is_read_is_not_tied_to_the_file(tmp_path):
    for peer, name in ((s3prl_peer(BASE), "s3prl"), (torchaudio_peer(BASE), "torchaudio")):
        path = peer.save(tmp_path)
        _, tensors = read(path, structure_of(BASE))
        before = {key: tensor.clone() for key, tensor in tensors.items()}
        content = bytearray(path.read_bytes())
        with path.open("r+b") as file:  # the same inode, as a copy on top of it would be
            file.write(b"\xff" * len(content))
        assert_same(tensors, before)
        assert all(tensor.untyped_storage().nbytes() == tensor.numel() * 4 for tensor in tensors.values()), name


# nanow2v2


def test_nanow2v2_against_its_own_arithmetic(tmp_path):
    """Its published model, written down once more: keys before queries, paddings, tanh GELUs."""
    state = nanow2v2_state(layers=2, ffn=64, channels=16)
    file = {"network": state, "current_step": torch.tensor(1), "validation_history": [1.0], "optimizer": {}}
    structure, tensors = read(saved(file, tmp_path / "nano.ckpt"))
    known = shape.named("nanow2v2_base")
    assert structure == replace(known, layers=2, ffn=64, conv_channels=16)

    def module(name, leaf="weight"):
        return state[f"w2v2.{name}.{leaf}"]

    def linear(x, name):
        return F.linear(x, module(name), module(name, "bias"))

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], module(name), module(name, "bias"))

    wav = speechlike(6417)
    x = wav[None, None]
    for index, (stride, padding) in enumerate(zip((5, 2, 2, 2, 2, 2, 2), (3, 1, 1, 1, 1, 0, 0), strict=True)):
        name = f"conv_network.conv_layers.{index}"
        x = F.conv1d(x, module(f"{name}.conv"), stride=stride, padding=padding)
        if index == 0:
            x = F.group_norm(x, 16, module(f"{name}.norm"), module(f"{name}.norm", "bias"))
        x = F.gelu(x, approximate="tanh")
    assert x.shape[-1] == 6417 // 320
    x = linear(norm(x.mT, "project_speech_feature_norm"), "project_speech_feature")
    v, g = module("rel_pos_layer.conv", "weight_v"), module("rel_pos_layer.conv", "weight_g")
    kernel = v / v.square().sum((0, 1), keepdim=True).sqrt() * g
    around = F.conv1d(x.mT, kernel, module("rel_pos_layer.conv", "bias"), padding=64, groups=16)[..., :-1]
    x = norm(x + F.gelu(around, approximate="tanh").mT, "rel_pos_layer.norm")
    states = [x]
    for layer in range(2):
        name = f"transformer_network.{layer}"
        both = linear(x, f"{name}.attention.attention_projection").unflatten(-1, (3, 12, 64))
        key, query, value = both.permute(2, 0, 3, 1, 4)
        scores = (query @ key.mT / 8).softmax(-1)
        mixed = (scores @ value).transpose(1, 2).flatten(2)
        x = norm(x + linear(mixed, f"{name}.attention.out_projection"), f"{name}.norm_att")
        up = F.gelu(linear(x, f"{name}.ffn.fc1"), approximate="tanh")
        x = norm(x + linear(up, f"{name}.ffn.fc2"), f"{name}.norm_ffn")
        states.append(x)
    assert worst(hidden_states(structure, tensors, wav), [state[0] for state in states]) < 1e-5


def test_nanow2v2_is_not_taken_for_a_wav2vec2_of_the_same_tensors(tmp_path):
    path = saved({"network": nanow2v2_state(layers=1, ffn=64, channels=16)}, tmp_path / "nano.ckpt")
    asked = replace(shape.named("wav2vec2_base"), layers=1, ffn=64, conv_channels=16)
    with pytest.raises(UsageError, match=r"its conv_padding is \(3, 1, 1, 1, 1, 0, 0\), w has \(0, 0, .*tanh_gelu is"):
        read(path, asked, "w")
    assert read(path, replace(asked, conv_padding=(3, 1, 1, 1, 1, 0, 0), tanh_gelu=True))
