"""What is wrong with the weights in a readable file, or with what they are asked to be, is named."""

import json
from dataclasses import replace

import pytest
import torch
from encoders import (
    VARIANTS,
    s3prl_peer,
    speechlike,
    structure_of,
    torchaudio_peer,
    worst,
)
from safetensors.torch import load_file, save_file
from weight_formats import (
    FAIRSEQ,
    LARGE,
    hidden_states,
    save_transformers,
    saved,
    transformers_model,
)

from upstream.encoder.checkpoints import read
from upstream.encoder.shape import OutsideFamily
from upstream.errors import DataError, UsageError

BASE = VARIANTS[0]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def fairseq_state() -> dict[str, torch.Tensor]:
    """A small wav2vec 2.0 under fairseq's names, its quantizer and heads included."""
    return s3prl_peer(BASE).module.state_dict()


def test_another_model_than_asked_for_is_named_difference_by_difference(tmp_path):
    path = s3prl_peer(BASE).save(tmp_path)
    asked = replace(structure_of(BASE), layers=12, pre_norm=True)
    with pytest.raises(UsageError) as caught:
        read(path, asked, "hubert_x")
    assert "its layers is 3, hubert_x has 12; its pre_norm is False, hubert_x has True" in str(caught.value)
    assert f"--upstream ckpt:{path}" in str(caught.value)


def test_another_model_is_named_where_only_the_tensors_tell(tmp_path):
    path = torchaudio_peer(BASE).save(tmp_path)
    with pytest.raises(UsageError, match="its layers is 3, the upstream has 2; its ffn is 128, the upstream has 64"):
        read(path, replace(structure_of(BASE), layers=2, ffn=64))


def test_whether_waveforms_are_normalised_is_for_the_upstream_to_say(tmp_path):
    """The preprocessors of some base models ask for what SUPERB did not do."""
    folder = save_transformers(transformers_model("Wav2Vec2"), tmp_path)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true}')
    alone, _ = read(folder)
    asked, _ = read(folder, replace(alone, normalize=False))
    assert (alone.normalize, asked.normalize) == (True, False)
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text('{"feature_extractor": {"do_normalize": true}}')
    assert read(folder)[0].normalize
    (folder / "processor_config.json").write_text('{"feature_extractor": {"do_normalize": "yes"}}')
    with pytest.raises(DataError, match="do_normalize"):
        read(folder)


def test_convolution_biases_of_zero_are_none(tmp_path):
    model = transformers_model("Hubert", **LARGE)
    for layer in model.feature_extractor.conv_layers:
        layer.conv.bias.zero_()
    folder = save_transformers(model, tmp_path)
    alone, biased = read(folder)
    structure, tensors = read(folder, replace(alone, conv_bias=False))
    assert alone.conv_bias
    assert set(biased) - set(tensors) == {f"convolutions.{index}.conv.bias" for index in range(7)}
    wav = speechlike(5000)
    assert worst(hidden_states(structure, tensors, wav), hidden_states(alone, biased, wav)) == 0
    model.feature_extractor.conv_layers[3].conv.bias[5] = 0.1
    with pytest.raises(DataError, match=r"7 unexpected: convolutions\.0\.conv\.bias"):
        read(save_transformers(model, tmp_path), replace(alone, conv_bias=False))


def test_every_tensor_that_does_not_fit_is_named(tmp_path):
    folder = save_transformers(transformers_model("Wav2Vec2"), tmp_path)
    state = load_file(folder / "model.safetensors")
    del state["encoder.layers.1.attention.k_proj.bias"]
    state["encoder.layers.0.layer_norm.weight"] = torch.ones(63)
    state["encoder.layers.2.layer_norm.weight"] = torch.ones(64)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(DataError) as caught:
        read(folder)
    for part in (
        "1 missing: layers.1.attention.key.bias",
        "1 unexpected: layers.2.attention_norm.weight",
        "1 of another shape: layers.0.attention_norm.weight (63,) instead of (64,)",
        str(folder),
    ):
        assert part in str(caught.value)


def test_a_long_list_is_cut_short(tmp_path):
    folder = save_transformers(transformers_model("Wav2Vec2"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(DataError, match=r"32 missing: layers\.2\.[^:]* and 22 more"):
        read(folder)


def test_names_without_a_place_are_errors(fairseq_state, tmp_path):
    more = {"encoder.layers.0.adapter.weight": torch.ones(2), "surprise": torch.ones(2)}
    file = {"model": {**fairseq_state, **more}, "cfg": FAIRSEQ}
    with pytest.raises(DataError, match=r"no place .*: encoder\.layers\.0\.adapter\.weight, surprise\. Use"):
        read(saved(file, tmp_path / "x.pt"))


def test_two_encoders_and_none_are_errors(fairseq_state, tmp_path):
    both = {f"{who}.{name}": value for who in ("student", "teacher") for name, value in fairseq_state.items()}
    with pytest.raises(DataError, match=r"2 encoders, under student\., teacher\."):
        read(saved(both, tmp_path / "both.pt"))
    with pytest.raises(DataError, match=r"no encoder of the wav2vec 2\.0 family.*\(a\.weight\)"):
        read(saved({"a.weight": torch.ones(2)}, tmp_path / "none.pt"))


def test_one_tensor_under_two_names_is_an_error(fairseq_state, tmp_path):
    twice = {**fairseq_state, "feature_projection.projection.bias": torch.ones(64)}
    with pytest.raises(DataError, match=r"two tensors for project\.bias"):
        read(saved({"model": twice, "cfg": FAIRSEQ}, tmp_path / "x.pt"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value, fairseq_state, tmp_path):
    state = dict(fairseq_state)
    state["encoder.layers.2.fc1.bias"] = state["encoder.layers.2.fc1.bias"].clone()
    state["encoder.layers.2.fc1.bias"][7] = value
    with pytest.raises(DataError, match=r"layers\.2\.up\.bias has NaN or infinity"):
        read(saved({"model": state, "cfg": FAIRSEQ}, tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(128, dtype=torch.int64), "no plain tensor of floats"),
        (torch.ones(128).to_sparse(), "no plain tensor of floats"),
        (torch.ones(1).expand(128), "no plain tensor of floats"),
        ([1.0] * 128, "is no tensor but a list"),
    ],
)
def test_what_is_no_plain_tensor_is_refused(value, message, fairseq_state, tmp_path):
    """A tensor may claim any size over a storage of one number."""
    file = {"model": {**fairseq_state, "encoder.layers.2.fc1.bias": value}, "cfg": FAIRSEQ}
    with pytest.raises(DataError, match=message):
        read(saved(file, tmp_path / "x.pt"))


def test_a_weight_norm_of_the_wrong_axis_is_an_error(fairseq_state, tmp_path):
    state = {**fairseq_state, "encoder.pos_conv.0.weight_g": torch.ones(64, 1, 1)}
    with pytest.raises(DataError, match=r"weight norm .* \(64, 1, 1\)"):
        read(saved({"model": state, "cfg": FAIRSEQ}, tmp_path / "x.pt"))


def test_without_a_configuration_the_structure_must_be_known(tmp_path):
    with pytest.raises(UsageError, match="no known shape: dim 64, layers 3"):
        read(torchaudio_peer(BASE).save(tmp_path))


def test_other_models_are_outside_the_family(fairseq_state, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(OutsideFamily, match="whisper"):
        read(tmp_path)
    with pytest.raises(OutsideFamily, match="conformer"):
        read(saved({"model": fairseq_state, "cfg": FAIRSEQ | {"layer_type": "conformer"}}, tmp_path / "x.pt"))


def test_a_configuration_beside_a_file_is_not_asked_where_it_may_belong_to_another(tmp_path):
    """A folder of downloads has everything in it."""
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    path = torchaudio_peer(BASE).save(tmp_path)
    assert read(path, structure_of(BASE))
