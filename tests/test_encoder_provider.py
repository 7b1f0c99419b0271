"""Members of the family by name: random weights, files, cards, and everything that can be wrong with them."""

import json

import pytest
import torch
from encoders import VARIANTS, enliven, s3prl_peer, speechlike, structure_of, torchaudio_peer, transformers_peer, worst

import upstream
from upstream.encoder.packed import available
from upstream.errors import DataError, MissingError, UsageError

TINY = {
    "model_type": "wavlm",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": [32] * 7,
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    return path


def states(model, wav):
    with torch.no_grad():
        return [layer[0] for layer in model([wav]).layers]


def test_a_random_model_of_any_size_comes_from_a_config_file(config):
    model = upstream.load(f"random:{config}")
    assert (model.num_layers, model.dim, model.hop, model.min_samples) == (3, 64, 320, 400)
    assert model([speechlike(16000), speechlike(8000)]).lengths.tolist() == [49, 24]
    config.write_text(json.dumps(TINY | {"num_hidden_layers": 5, "hidden_size": 128}))
    wider = upstream.load(f"random:{config}")
    assert (wider.num_layers, wider.dim) == (6, 128)


def test_the_seed_is_part_of_the_name_and_of_the_fingerprint(config):
    first, again, other = (upstream.load(f"random:{config}{seed}") for seed in ("", "@0", "@1"))
    wav = speechlike(16000)
    assert worst(states(first, wav), states(again, wav)) == 0
    assert worst(states(first, wav), states(other, wav)) > 0.1
    assert len({first.fingerprint, other.fingerprint}) == 2


def test_its_parameters_are_those_of_the_structure(config):
    convolutions = 32 * 10 + 6 * 32 * 32 * 3 - 2 * 32 * 32 + 2 * 32
    projection = 2 * 32 + 32 * 64 + 64
    positions = 64 * 64 // 16 * 128 + 64
    layer = 4 * (64 * 64 + 64) + 2 * 64 * 96 + 96 + 64 + 4 * 64 + (16 * 8 + 8) + 4
    parameters = upstream.load(f"random:{config}").cost().parameters
    assert parameters == convolutions + projection + positions + 2 * 64 + 320 * 4 + 2 * layer


@pytest.mark.parametrize("make", [s3prl_peer, transformers_peer])
@pytest.mark.parametrize("variant", [VARIANTS[0], VARIANTS[5]], ids=str)
def test_a_checkpoint_by_its_path(make, variant, tmp_path):
    peer = make(variant)
    path = peer.save(tmp_path)
    model = upstream.load(f"ckpt:{path}")
    wav = speechlike(20000)
    with torch.no_grad():
        assert worst(states(model, wav), peer.hidden(wav)) < 1e-5


def test_a_changed_weight_changes_the_fingerprint(tmp_path):
    peer = transformers_peer(VARIANTS[0])
    before = upstream.load(f"ckpt:{peer.save(tmp_path)}").fingerprint
    assert upstream.load(f"ckpt:{peer.save(tmp_path)}").fingerprint == before
    peer.module.encoder.layers[1].feed_forward.output_dense.bias[3] += 1e-3
    assert upstream.load(f"ckpt:{peer.save(tmp_path)}").fingerprint != before


def test_a_file_of_another_structure_is_not_taken_for_a_card(tmp_path):
    path = transformers_peer(VARIANTS[0]).save(tmp_path)
    with pytest.raises(UsageError, match=r"its dim is 64, .*wavlm_base.* has 768"):
        upstream.load("wavlm_base", weights=path)


def test_a_state_dict_that_says_nothing_needs_a_name(tmp_path):
    variant = VARIANTS[4]
    path = torchaudio_peer(variant).save(tmp_path)
    assert structure_of(variant).dim == 64
    with pytest.raises(UsageError, match="--weights"):
        upstream.load(f"ckpt:{path}")


@pytest.mark.parametrize(
    ("name", "weights", "error", "words"),
    [
        ("random:wavlm_bse", None, UsageError, "wavlm_base"),
        ("random:nowhere/config.json", None, MissingError, "nowhere/config.json"),
        ("random:wavlm_base@x", None, UsageError, "seed 'x'"),
        ("ckpt:nowhere.pt", None, MissingError, "nowhere.pt"),
        ("ckpt:", None, UsageError, "ckpt:"),
    ],
)
def test_names_that_lead_nowhere(name, weights, error, words):
    with pytest.raises(error, match=words):
        upstream.load(name, weights=weights)


def test_weights_are_given_once(config):
    for name in (f"random:{config}", f"ckpt:{config}"):
        with pytest.raises(UsageError, match="--weights"):
            upstream.load(name, weights=config)


def test_a_config_of_another_kind_or_of_none(config):
    config.write_text("{")
    with pytest.raises(DataError, match=r"config.json cannot be read"):
        upstream.load(f"random:{config}")
    config.write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match="bert"):
        upstream.load(f"random:{config}")


def test_half_precision_is_for_devices_that_have_it(config):
    with pytest.raises(UsageError, match="float16"):
        upstream.load(f"random:{config}", device="cpu", dtype="float16")


@pytest.mark.skipif(not available(), reason="this torch has no oneDNN operations")
def test_bfloat16_on_request_is_another_upstream_with_nearly_the_same_features(config):
    exact, low = (upstream.load(f"random:{config}", device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert exact.fingerprint != low.fingerprint
    wav = speechlike(32000)
    assert 1e-5 < worst(states(low, wav), states(exact, wav)) < 3e-2


def test_a_computer_without_onednn_computes_the_same(config, monkeypatch):
    fast = upstream.load(f"random:{config}")
    monkeypatch.setattr("upstream.encoder.provider.available", lambda: False)
    plain = upstream.load(f"random:{config}")
    assert plain.fingerprint != fast.fingerprint
    wav = speechlike(32000)
    assert worst(states(plain, wav), states(fast, wav)) < 1e-5


def test_too_short_audio_is_refused_by_number(config):
    model = upstream.load(f"random:{config}")
    with pytest.raises(DataError, match=r"waveform 1 of 2 has 399 samples.*at least 400"):
        model([torch.zeros(400), torch.zeros(399)])


def test_weights_of_a_lively_model_pass_the_probe(tmp_path):
    """The probe's batch clause, on weights under which padding would show."""
    peer = s3prl_peer(VARIANTS[4])
    enliven(peer.module, seed=3)
    model = upstream.load(f"ckpt:{peer.save(tmp_path)}")
    assert model.num_layers == 4


def test_a_checkpoint_of_another_kind_of_model_says_where_to_go(config):
    config.write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(UsageError, match=r"'whisper'.*hf:FOLDER"):
        upstream.load(f"ckpt:{config.parent}")
    with pytest.raises(UsageError, match=r"'whisper'.*--weights"):
        upstream.load("wavlm_base", weights=config.parent)
