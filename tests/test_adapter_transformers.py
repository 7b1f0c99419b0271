"""Encoders of transformers through the adapter, against the same models called by hand."""

import json
import os

import numpy as np
import pytest
import torch
from states import assert_states
from user_files import wavs

import upstream
from upstream import hub
from upstream.adapters.imports import import_transformers
from upstream.errors import DataError, MissingError, UsageError

LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
CONVOLUTIONS = {
    "conv_dim": [24] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "vocab_size": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "num_mel_bins": 80,
}
KINDS = {
    "conformer": ("Wav2Vec2Conformer", {**LAYERS, **CONVOLUTIONS, "position_embeddings_type": "relative"}),
    "conformer_rotary": ("Wav2Vec2Conformer", {**LAYERS, **CONVOLUTIONS, "position_embeddings_type": "rotary"}),
    "sew": ("SEW", {**LAYERS, **CONVOLUTIONS, "squeeze_factor": 2}),
    "sew_d": ("SEWD", {**LAYERS, **CONVOLUTIONS, "squeeze_factor": 3}),
    "outside": ("Wav2Vec2", {**LAYERS, **CONVOLUTIONS, "adapter_attn_dim": 8}),  # like MMS's models of many languages
    "bert": ("Wav2Vec2Bert", {**LAYERS, "feature_projection_input_dim": 160}),
    "whisper": ("Whisper", WHISPER),
}


def made(folder, kind, extractor=None, **changes):
    """A random model of that kind and its folder."""
    transformers = import_transformers()
    name, config = KINDS[kind]
    torch.manual_seed(4)
    cls = "WhisperForConditionalGeneration" if name == "Whisper" else f"{name}Model"
    model = getattr(transformers, cls)(getattr(transformers, f"{name}Config")(**{**config, **changes})).eval()
    model.save_pretrained(folder)
    if extractor:
        getattr(transformers, extractor)().save_pretrained(folder)
    return model


def load(folder):
    return upstream.load(f"hf:{folder}", device="cpu")


@torch.no_grad()
def layer_inputs(layers, call):
    """What enters each layer, caught on the way, and what `call` returns."""
    caught = []
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, named: caught.append((*inputs, *named.values())[0]), with_kwargs=True
        )
        for layer in layers
    ]
    output = call()
    for hook in hooks:
        hook.remove()
    return caught, output


def normalized(wav, eps=1e-5):
    return (wav - wav.mean()) / (wav.var(unbiased=False) + eps).sqrt()


@pytest.mark.parametrize("kind", ["conformer", "conformer_rotary", "outside"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_models_of_waveforms(tmp_path, kind, norm):
    """Without a preprocessor the waveform is normalised where every convolution is."""
    model = made(tmp_path, kind, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer")
    loaded = load(tmp_path)
    assert (loaded.hop, loaded.num_layers, loaded.dim, loaded.max_batch) == (320, 3, 32, 1)
    for wav in wavs(400, 719, 720, 16000):
        wav = 0.01 * wav + 0.1
        heard = normalized(wav) if norm == "layer" else wav
        inputs, output = layer_inputs(model.encoder.layers, lambda heard=heard: model(heard[None]))
        assert_states(loaded([wav]), [*inputs, output.last_hidden_state])


@pytest.mark.parametrize("said", [True, False])
def test_the_preprocessor_has_the_say_on_normalisation(tmp_path, said):
    model = made(tmp_path, "conformer", feat_extract_norm="layer", conv_bias=True)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": said}))
    [wav] = wavs(9000)
    wav = 0.001 * wav + 0.001  # so quiet that the eps of the normalisation shows
    with torch.no_grad():
        expected = model((normalized(wav) if said else wav)[None]).last_hidden_state
    assert_states(_last(load(tmp_path)([wav])), [expected])


@pytest.mark.parametrize(("kind", "factor"), [("sew", 2), ("sew_d", 3)])
def test_squeezed_models_are_heard_at_the_rate_of_their_layers(tmp_path, kind, factor):
    model = made(tmp_path, kind)
    loaded = load(tmp_path)
    assert (loaded.hop, loaded.num_layers) == (320 * factor, 3)
    layers = model.encoder.layers if kind == "sew" else model.encoder.encoder.layer
    for wav in wavs(400 + (factor - 1) * 320, 5000, 16079):
        inputs, _ = layer_inputs([*layers, model.encoder.upsample], lambda wav=wav: model(wav[None]))
        states = loaded([wav])
        assert_states(states, inputs)
        assert int(states.lengths) == (1 + (len(wav) - 400) // 320) // factor


def test_an_utterance_without_a_squeezed_frame_is_told(tmp_path):
    made(tmp_path, "sew")
    with pytest.raises(DataError, match="719 samples"):
        load(tmp_path)(wavs(719))


def test_wav2vec2_bert_counts_pairs_of_whole_frames(tmp_path):
    model = made(tmp_path, "bert", "SeamlessM4TFeatureExtractor")
    extractor = import_transformers().SeamlessM4TFeatureExtractor.from_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.hop, loaded.num_layers, loaded.dim) == (320, 3, 32)
    for wav in wavs(560, 720, 9000, 9160, 16000):
        frames = (1 + (len(wav) - 400) // 160) // 2
        given = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt")
        inputs, output = layer_inputs(model.encoder.layers, lambda given=given: model(**given))
        assert_states(loaded([wav]), [state[:, :frames] for state in (*inputs, output.last_hidden_state)])
    with pytest.raises(DataError, match="559 samples"):
        loaded(wavs(559))


@pytest.mark.parametrize("kind", ["conformer", "sew", "sew_d", "bert"])
def test_what_a_frame_hears_is_exact(tmp_path, kind):
    """So that long audio can be cut where its frames follow on each other."""
    made(tmp_path, kind, "SeamlessM4TFeatureExtractor" if kind == "bert" else None)
    loaded = load(tmp_path)
    for frames in (1, 2, 5):
        samples = (frames - 1) * loaded.hop + loaded.receptive_field
        assert int(loaded(wavs(samples)).lengths) == frames
        assert int(loaded(wavs(samples + loaded.hop - 1)).lengths) == frames


def by_whisper(model, extractor, wav):
    mel = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    inputs, output = layer_inputs(model.model.encoder.layers, lambda: model.model.encoder(mel))
    frames = -(-len(wav) // 320)
    return [state[:, :frames] for state in (*inputs, output.last_hidden_state)]


def test_whisper_gives_the_frames_that_hold_audio(tmp_path):
    model = made(tmp_path, "whisper", "WhisperFeatureExtractor")
    extractor = import_transformers().WhisperFeatureExtractor()
    loaded = load(tmp_path)
    assert (loaded.hop, loaded.num_layers, loaded.dim, loaded.max_batch) == (320, 3, 32, 1)
    for wav in wavs(1, 320, 321, 16000, 480_000):
        assert_states(loaded([wav]), by_whisper(model, extractor, wav))
    mask = extractor(np.zeros(16_079), sampling_rate=16000, return_attention_mask=True).attention_mask
    assert int(loaded(wavs(16_079)).lengths) == model._get_feat_extract_output_lengths(int(mask.sum()))


def test_whisper_hears_what_is_longer_than_30_seconds_in_pieces(tmp_path):
    model = made(tmp_path, "whisper", "WhisperFeatureExtractor")
    extractor = import_transformers().WhisperFeatureExtractor()
    [wav] = wavs(2 * 480_000 + 700)
    pieces = [by_whisper(model, extractor, piece) for piece in wav.split(480_000)]
    joined = [torch.cat(same, dim=1) for same in zip(*pieces, strict=True)]
    states = load(tmp_path)([wav])
    assert int(states.lengths) == 1500 + 1500 + 3
    assert_states(states, joined)


def test_members_of_our_family_run_in_our_encoder(tmp_path):
    from upstream.encoder.provider import from_folder  # noqa: F401 - the door they go through

    transformers = import_transformers()
    torch.manual_seed(5)
    model = transformers.HubertModel(transformers.HubertConfig(**LAYERS, **CONVOLUTIONS)).eval()
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.max_batch is None
    [wav] = wavs(16000)
    with torch.no_grad():
        assert_states(loaded([wav]), model(wav[None], output_hidden_states=True).hidden_states, tolerance=1e-5)


def test_an_adapter_after_the_encoder_is_left_out(tmp_path):
    with_adapter = made(tmp_path / "with", "conformer", add_adapter=True, num_adapter_layers=1)
    assert with_adapter.adapter is not None
    loaded = load(tmp_path / "with")
    [wav] = wavs(9000)
    inputs, _ = layer_inputs(with_adapter.encoder.layers, lambda: with_adapter(wav[None]))
    states = loaded([wav])
    assert int(states.lengths) == 27
    assert_states(_first(states, 2), inputs)


def test_weights_names_a_folder_in_place_of_the_hub(tmp_path):
    made(tmp_path, "conformer")
    named = upstream.load("hf:nobody/nothing", weights=tmp_path, device="cpu")
    assert named.name == "hf:nobody/nothing"
    assert_states(named(wavs(5000)), load(tmp_path)(wavs(5000)).layers)
    with pytest.raises(UsageError, match="is a file"):
        upstream.load("hf:nobody/nothing", weights=tmp_path / "config.json", device="cpu")


def test_what_is_no_folder_is_a_hub_id(tmp_path, monkeypatch):
    made(tmp_path, "conformer")
    asked = []
    monkeypatch.setattr(hub, "locate", lambda *said: asked.append(said) or tmp_path)
    assert upstream.load("hf:nobody/nothing", device="cpu").num_layers == 3
    assert asked == [("nobody/nothing", "hf:nobody/nothing")]


def test_a_model_of_text_is_refused(tmp_path):
    transformers = import_transformers()
    config = transformers.BertConfig(**LAYERS, vocab_size=10)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"'bert'.*no speech encoder.*whisper.*mine\.py") as caught:
        load(tmp_path)
    assert caught.value.exit_code == 2


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(MissingError, match=r"config\.json"):
        load(tmp_path)
    with pytest.raises(MissingError, match="no folder"):
        load(tmp_path / "a" / "b" / "c")


def test_weights_that_are_missing(tmp_path):
    made(tmp_path, "conformer")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"model\.safetensors"):
        load(tmp_path)


def test_a_missing_extractor_is_asked_for(tmp_path):
    made(tmp_path, "whisper")
    with pytest.raises(MissingError, match=r"preprocessor_config\.json.*WhisperFeatureExtractor"):
        load(tmp_path)


def test_a_tensor_that_the_file_lacks_is_not_left_random(tmp_path):
    from safetensors.torch import load_file, save_file

    made(tmp_path, "conformer")
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layers.1.ffn1.output_dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lack 1 tensors.*layers\.1\.ffn1\.output_dense\.weight"):
        load(tmp_path)


def test_half_precision_weights_are_heard_in_single(tmp_path):
    model = made(tmp_path, "conformer").half()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model.float()(wavs(5000)[0][None]).last_hidden_state
    assert_states(_last(load(tmp_path)(wavs(5000))), [expected])


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_what_is_in_a_bin_file_is_not_run(tmp_path):
    made(tmp_path, "conformer")
    (tmp_path / "model.safetensors").unlink()
    torch.save({"a": Evil(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="could not load"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    made(tmp_path, "conformer")
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_fingerprint_follows_weights_and_preprocessor(tmp_path):
    model = made(tmp_path, "conformer")
    prints = [load(tmp_path).fingerprint]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    prints.append(load(tmp_path).fingerprint)
    with torch.no_grad():
        model.encoder.layer_norm.bias[0] += 1e-3
    model.save_pretrained(tmp_path)
    prints.append(load(tmp_path).fingerprint)
    assert len(set(prints)) == 3
    assert load(tmp_path).fingerprint == prints[2]


def test_nothing_is_printed(tmp_path, capfd):
    made(tmp_path, "whisper", "WhisperFeatureExtractor")
    capfd.readouterr()
    load(tmp_path)
    assert capfd.readouterr() == ("", "")


def _last(states):
    states.layers = states.layers[-1:]
    return states


def _first(states, count):
    states.layers = states.layers[:count]
    return states
