"""The encoder against s3prl, transformers and torchaudio, against itself in batches, and against arithmetic."""

from dataclasses import replace

import pytest
import torch
from encoders import (
    PEERS,
    VARIANTS,
    enliven,
    s3prl_peer,
    speechlike,
    structure_of,
    transformers_hidden,
    transformers_peer,
    worst,
)
from oracles import import_torchaudio
from torch import nn

from upstream import frames
from upstream.cost import count
from upstream.encoder import model, packed, shape
from upstream.encoder.checkpoints import read
from upstream.encoder.model import Encoder
from upstream.encoder.packed import PackedEncoder
from upstream.encoder.shape import EncoderShape
from upstream.encoder.untrained import untrained
from upstream.errors import UsageError

TOLERANCE = 1e-5
torch_only = pytest.mark.skipif(not packed.available(), reason="this torch has no oneDNN operations")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def built(structure: EncoderShape, tensors: dict[str, torch.Tensor]) -> Encoder:
    encoder = Encoder(structure)
    encoder.load_state_dict(tensors)
    return encoder.eval().requires_grad_(False)


def small(name: str) -> EncoderShape:
    """A named shape with its structure and with few numbers."""
    return replace(shape.named(name), dim=64, layers=2, heads=4, ffn=96, conv_channels=32)


def both(encoder: Encoder) -> list:
    return [encoder, PackedEncoder(encoder, torch.float32)] if packed.available() else [encoder]


def alone(run, wav):
    layers, lengths = run([wav])
    assert lengths.tolist() == [layers[0].shape[1]]
    return [layer[0] for layer in layers]


@pytest.mark.parametrize("library", PEERS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_hidden_states_are_those_of_the_library_whose_weights_they_are(variant, library, tmp_path):
    peer = PEERS[library](variant)
    structure, tensors = read(peer.save(tmp_path), structure_of(variant) if library == "torchaudio" else None)
    for samples in (16000, 35713):
        wav = speechlike(samples)
        theirs = peer.hidden(wav)
        assert len(theirs) == variant.layers + 1
        for run in both(built(structure, tensors)):
            assert worst(alone(run, wav), theirs) < TOLERANCE


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Data2VecAudio", {}),
        ("UniSpeechSat", {"feat_extract_norm": "group"}),
        ("UniSpeechSat", {"feat_extract_norm": "layer", "do_stable_layer_norm": True}),
        ("UniSpeech", {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}),
        ("Hubert", {"feat_extract_norm": "group", "feat_proj_layer_norm": False}),  # DistilHuBERT
        ("Wav2Vec2", {"feat_extract_norm": "group", "hidden_act": "gelu_new", "feat_extract_activation": "gelu_new"}),
    ],
)
def test_other_members_of_the_family_as_in_transformers(kind, options, tmp_path):
    import_torchaudio()  # transformers imports it where it is installed
    import transformers

    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    config = getattr(transformers, f"{kind}Config")(**sizes, conv_dim=(32,) * 7, layerdrop=0.0, **options)
    module = enliven(getattr(transformers, f"{kind}Model")(config))
    module.save_pretrained(tmp_path)
    structure, tensors = read(tmp_path)
    wav = speechlike(31234)
    normalised = nn.functional.layer_norm(wav, wav.shape) if structure.normalize else wav
    for run in both(built(structure, tensors)):
        assert worst(alone(run, wav), transformers_hidden(module, normalised)) < TOLERANCE


def test_a_weight_that_is_off_by_a_thousandth_shows(tmp_path):
    peer = transformers_peer(VARIANTS[4])
    encoder = built(*read(peer.save(tmp_path)))
    encoder.layers[0].attention.value.weight.mul_(1.001)
    wav = speechlike(16000)
    for run in both(encoder):
        ours, theirs = alone(run, wav), peer.hidden(wav)
        assert worst(ours[:1], theirs[:1]) < TOLERANCE < 10 * TOLERANCE < worst(ours[1:2], theirs[1:2])


def test_quiet_audio_is_normalised_as_in_the_paper_and_not_as_in_transformers(tmp_path):
    variant = VARIANTS[5]
    peer = s3prl_peer(variant)
    encoder = built(*read(peer.save(tmp_path)))
    quiet = 0.01 * speechlike(16000)
    for run in both(encoder):
        assert worst(alone(run, quiet), peer.hidden(quiet)) < TOLERANCE
    their_eps = (quiet - quiet.mean()) / (quiet.var(unbiased=False) + 1e-7).sqrt()
    assert worst(alone(encoder, quiet)[:1], peer.hidden(their_eps / their_eps.std() * 1e3)[:1]) > 100 * TOLERANCE


@pytest.mark.parametrize("name", shape.names())
def test_an_utterance_has_the_same_features_in_any_company(name):
    structure = small(name)
    encoder = enliven(built(structure, untrained(structure, 0)))
    wavs = [speechlike(samples, seed) for seed, samples in enumerate((8000, 41234, 400, 23456))]
    apart = [alone(encoder, wav) for wav in wavs]
    for run in both(encoder):
        layers, lengths = run(wavs)
        assert lengths.tolist() == [structure.frames(len(wav)) for wav in wavs]
        for index, (length, expected) in enumerate(zip(lengths.tolist(), apart, strict=True)):
            assert worst([layer[index, :length] for layer in layers], expected) < TOLERANCE


@pytest.mark.parametrize("precision", [torch.bfloat16])
@pytest.mark.parametrize("name", ["wavlm_base", "wavlm_large", "data2vec_base"])
def test_low_precision_is_near_but_not_equal(name, precision):
    structure = small(name)
    encoder = enliven(built(structure, untrained(structure, 0)))
    wav = speechlike(30000)
    exact = alone(encoder, wav)
    runs = [PackedEncoder(encoder, precision)] if packed.available() else []
    for run in [*runs, encoder.in_precision(precision)]:
        low = alone(run, wav)
        assert all(layer.dtype == torch.float32 for layer in low)
        assert 1e-4 < worst(low, exact) < 3e-2


def test_frames_are_those_of_the_convolutions():
    for name in ("wav2vec2_base", "nanow2v2_base"):
        structure = shape.named(name)
        for samples in [*range(structure.min_samples, 1500), *range(1500, 200_001, 997), 16000, 160_000, 200_000]:
            assert structure.frames(samples) == _frames_by_torch(structure, samples)
        assert structure.hop == 320
    plain = shape.named("wav2vec2_base")
    assert (plain.receptive_field, plain.min_samples) == (400, 400)
    assert all(plain.frames(n) == frames.snip_edges_frames(n, 400, 320) for n in range(300, 5000))
    assert all(shape.named("nanow2v2_base").frames(n) == (n + 76) // 320 for n in range(300, 5000))


def _frames_by_torch(structure: EncoderShape, samples: int) -> int:
    x = torch.empty(1, 1, samples, device="meta")
    for kernel, stride, padding in zip(
        structure.conv_kernels, structure.conv_strides, structure.conv_padding, strict=True
    ):
        x = nn.Conv1d(1, 1, kernel, stride, padding, device="meta")(x)
    return x.shape[-1]


def test_padded_convolutions_and_tanh_gelu_as_in_the_batch_size_study(tmp_path):
    """Its network, made from transformers' by moving the padding in and exchanging the activation."""
    peer = transformers_peer(VARIANTS[0], feat_extract_activation="gelu_pytorch_tanh", hidden_act="gelu_pytorch_tanh")
    folder = peer.save(tmp_path)
    structure, tensors = read(folder)
    structure = replace(structure, conv_padding=(3, 1, 1, 1, 1, 0, 0))
    assert structure.tanh_gelu
    for layer, padding in zip(peer.module.feature_extractor.conv_layers, structure.conv_padding, strict=True):
        layer.conv.padding = (padding,)
    for samples in (16000, 40001, 70123):
        wav = speechlike(samples)
        theirs = peer.hidden(wav)
        assert len(theirs[0]) == structure.frames(samples)
        for run in both(built(structure, tensors)):
            assert worst(alone(run, wav), theirs) < TOLERANCE


@pytest.mark.parametrize("name", ["wavlm_base", "wav2vec2_large"])
def test_attention_in_blocks_is_the_same_attention(name, monkeypatch):
    structure = small(name)
    encoder = built(structure, untrained(structure, 0))
    wav = speechlike(64000)
    whole = alone(encoder, wav)
    monkeypatch.setattr(model, "_MOST_SCORES", 4 * 199 * 30)
    monkeypatch.setattr(packed, "_MOST_SCORES", 199 * 30)
    for run in both(encoder):
        assert worst(alone(run, wav), whole) < TOLERANCE


@torch_only
@pytest.mark.parametrize("name", ["wav2vec2_base", "wavlm_base"])
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_attention_of_some_heads_at_a_time_is_the_same_attention(heads, name, monkeypatch):
    """One by one, as in long utterances; three of four and then the last; all at once, as in short ones."""
    structure = small(name)
    assert structure.heads == 4
    encoder = built(structure, untrained(structure, 0))
    wav, seen, products = speechlike(64000), [], packed._products
    whole = alone(encoder, wav)
    monkeypatch.setattr(packed, "_CACHED_SCORES", heads * 199 * 199)
    monkeypatch.setattr(packed, "_products", lambda x, weights: seen.append(len(x)) or products(x, weights))
    assert worst(alone(PackedEncoder(encoder, torch.float32), wav), whole) < TOLERANCE
    assert set(seen) == {1: {1}, 3: {3, 1}, 4: {4}}[heads]


@torch_only
def test_convolutions_in_chunks_are_the_same_convolutions(monkeypatch):
    for name in ("wav2vec2_base", "hubert_large", "nanow2v2_base"):
        structure = small(name)
        encoder = built(structure, untrained(structure, 0))
        wav = speechlike(50_000)
        whole = alone(encoder, wav)
        for chunk in (1, 7, 1000):
            monkeypatch.setattr(packed, "_CHUNK_FRAMES", chunk)
            assert worst(alone(PackedEncoder(encoder, torch.float32), wav), whole) < TOLERANCE


def test_silence_and_a_constant_are_finite():
    for name in ("wav2vec2_base", "wavlm_large"):
        structure = small(name)
        for run in both(built(structure, untrained(structure, 0))):
            for wav in (torch.zeros(5000), torch.full((5000,), 0.5), torch.ones(400)):
                assert all(layer.isfinite().all() for layer in alone(run, wav))


def test_multiply_adds_and_parameters_are_those_that_torch_sees():
    for name in ("wavlm_base", "hubert_large", "nanow2v2_base", "data2vec_base"):
        structure = small(name)
        encoder = built(structure, untrained(structure, 0))
        seen = count(lambda encoder=encoder: encoder([torch.zeros(48_000)]))
        assert not seen.unknown
        assert seen.macs == structure.macs(48_000)


def test_a_base_model_takes_7_4_billion_multiply_adds_a_second():
    assert shape.named("wavlm_base").macs(160_000) / 10 == pytest.approx(7.4e9, rel=0.02)
    assert shape.named("wavlm_large").macs(160_000) / 10 == pytest.approx(19.2e9, rel=0.02)


def test_random_weights_depend_on_the_seed_and_on_nothing_else():
    structure = small("wavlm_base")
    before = torch.get_rng_state()
    first, again, other = untrained(structure, 0), untrained(structure, 0), untrained(structure, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name, tensor in first.items() if tensor.std() > 0]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)
    deeper = untrained(replace(structure, layers=3), 0)
    assert all(torch.equal(first[name], deeper[name]) for name in first)


def test_random_weights_have_the_spread_they_start_pretraining_with():
    tensors = untrained(shape.named("wav2vec2_base"), 0)
    assert tensors["layers.3.up.weight"].std() == pytest.approx(0.02, rel=0.02)
    assert tensors["convolutions.1.conv.weight"].std() == pytest.approx((2 / (3 * 512)) ** 0.5, rel=0.02)
    assert tensors["positions.0.weight"].std() == pytest.approx(2 / (128 * 768) ** 0.5, rel=0.02)
    assert tensors["project.weight"].abs().max() <= 512**-0.5
    assert (tensors["norm.weight"] == 1).all() and (tensors["layers.0.up.bias"] == 0).all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"heads": 5}, "5 heads"),
        ({"conv_norm": "batch"}, "conv_norm"),
        ({"conv_padding": (0,)}, "conv_padding"),
        ({"layers": 0}, "whole number"),
        ({"relative_buckets": 320, "relative_distance": 80}, "relative_buckets"),
    ],
)
def test_impossible_shapes_are_refused(wrong, named):
    with pytest.raises(UsageError, match=named):
        replace(shape.named("wav2vec2_base"), **wrong)
