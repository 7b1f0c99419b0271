"""torchaudio's bundles through the adapter, against transformers' code on the same weights."""

from urllib.error import URLError

import pytest
import torch
from oracles import import_torchaudio
from states import assert_states
from user_files import wavs

import upstream
from upstream.adapters import downloads
from upstream.adapters import torchaudio as adapter
from upstream.adapters.imports import import_transformers
from upstream.encoder.model import Encoder
from upstream.errors import DataError, MissingError, UsageError

SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [24] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 9,
}
POST_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False}
PRE_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
# The parameters of torchaudio's bundles for the same structures.
PARAMS = {
    "extractor_conv_layer_config": [(24, 10, 5), *[(24, 3, 2)] * 4, *[(24, 2, 2)] * 2],
    "encoder_embed_dim": 32,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 48,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.1,
    "aux_num_out": None,
}
POST_NORM_PARAMS = {"extractor_mode": "group_norm", "extractor_conv_bias": False, "encoder_layer_norm_first": False}
PRE_NORM_PARAMS = {"extractor_mode": "layer_norm", "extractor_conv_bias": True, "encoder_layer_norm_first": True}
CASES = {
    "wav2vec2_base": ("Wav2Vec2", POST_NORM, POST_NORM_PARAMS),
    "wav2vec2_large": ("Wav2Vec2", PRE_NORM, PRE_NORM_PARAMS),
    "wavlm_base": ("WavLM", POST_NORM, POST_NORM_PARAMS),
    "wavlm_large": ("WavLM", PRE_NORM, PRE_NORM_PARAMS),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path, monkeypatch):
    """A model of transformers, and a bundle of torchaudio called TINY with its weights in a file."""
    kind, config, params = CASES[request.param]
    transformers, torchaudio = import_transformers(), import_torchaudio()
    torch.manual_seed(2)
    theirs = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**SIZE, **config)).eval()
    from torchaudio.models.wav2vec2.utils import import_huggingface_model

    torch.save(import_huggingface_model(theirs).state_dict(), tmp_path / "tiny.pth")
    wavlm = {"encoder_num_buckets": 320, "encoder_max_distance": 800} if kind == "WavLM" else {}
    bundle = torchaudio.pipelines.Wav2Vec2Bundle(
        _path="tiny.pth",
        _params={**PARAMS, **params, **wavlm},
        _sample_rate=16000,
        _normalize_waveform=config is PRE_NORM,
        _model_type=kind,
    )
    monkeypatch.setattr(torchaudio.pipelines, "TINY", bundle, raising=False)
    return theirs, tmp_path / "tiny.pth", config is PRE_NORM


@torch.no_grad()
def by_transformers(model, normalized, wav):
    if normalized:
        wav = (wav - wav.mean()) / (wav.var(unbiased=False) + 1e-5).sqrt()
    output = model(wav[None], output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


def test_states_are_those_of_transformers(case):
    model, file, normalized = case
    loaded = upstream.load("torchaudio:TINY", weights=file, device="cpu")
    assert (loaded.num_layers, loaded.dim, loaded.hop) == (3, 32, 320)
    for wav in wavs(400, 719, 720, 16000):
        assert_states(loaded([0.1 * wav + 0.3]), by_transformers(model, normalized, 0.1 * wav + 0.3))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A bundle with random weights of its own."""
    torchaudio = import_torchaudio()
    torch.manual_seed(3)
    params = {**PARAMS, **POST_NORM_PARAMS}
    torch.save(torchaudio.models.wav2vec2_model(**params).state_dict(), tmp_path / "tiny.pth")

    def make(**changes):
        fields = {"_path": "tiny.pth", "_params": params, "_sample_rate": 16000, "_normalize_waveform": False}
        bundle = torchaudio.pipelines.Wav2Vec2Bundle(**{**fields, "_model_type": "Wav2Vec2", **changes})
        monkeypatch.setattr(torchaudio.pipelines, "TINY", bundle, raising=False)
        return tmp_path / "tiny.pth"

    return make


def test_the_letters_of_a_fine_tuned_model_are_left_out(tiny, tmp_path):
    file = tiny()
    plain = upstream.load("torchaudio:TINY", weights=file, device="cpu")
    state = torch.load(file)
    torch.save({**state, "aux.weight": torch.ones(29, 32), "aux.bias": torch.ones(29)}, tmp_path / "asr.pth")
    tiny(_params={**PARAMS, **POST_NORM_PARAMS, "aux_num_out": 29})
    tuned = upstream.load("torchaudio:TINY", weights=tmp_path / "asr.pth", device="cpu")
    assert_states(tuned(wavs(5000)), plain(wavs(5000)).layers)


def test_the_fingerprint_follows_normalisation_and_weights(tiny, tmp_path):
    file = tiny()
    before = upstream.load("torchaudio:TINY", weights=file, device="cpu").fingerprint
    tiny(_normalize_waveform=True)
    normalized = upstream.load("torchaudio:TINY", weights=file, device="cpu").fingerprint
    tiny()
    state = torch.load(file)
    state["encoder.transformer.layer_norm.bias"][0] += 1e-3
    torch.save(state, tmp_path / "other.pth")
    changed = upstream.load("torchaudio:TINY", weights=tmp_path / "other.pth", device="cpu").fingerprint
    assert len({before, normalized, changed}) == 3


def test_a_file_in_the_cache_of_torch_is_used(tiny, tmp_path, monkeypatch):
    file = tiny()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    file.rename(tmp_path / "checkpoints" / "tiny.pth")
    assert upstream.load("torchaudio:TINY", device="cpu").num_layers == 3


def test_offline_the_wanted_file_is_named_with_the_way_out(tiny, tmp_path, monkeypatch):
    tiny()

    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(downloads, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MissingError) as caught:
        upstream.load("torchaudio:TINY", device="cpu")
    wanted = "https://download.pytorch.org/torchaudio/models/tiny.pth"
    for part in ("torchaudio:TINY", wanted, str(tmp_path / "checkpoints" / "tiny.pth"), "--weights PATH"):
        assert part in str(caught.value)


def test_the_bundles_of_torchaudio_are_what_we_take_them_for():
    """The names and fields that the adapter reads, of the real ones."""
    pipelines = import_torchaudio().pipelines
    assert pipelines.WAVLM_LARGE._normalize_waveform and not pipelines.WAVLM_BASE._normalize_waveform
    assert pipelines.WAVLM_LARGE._path == "wavlm_large.pth"
    assert pipelines.HUBERT_BASE._params["encoder_num_layers"] == 12


def test_an_unknown_bundle_is_told_with_the_near_ones():
    with pytest.raises(UsageError, match="WAVLM_LARGE"):
        upstream.load("torchaudio:WAVLM_LARG", device="cpu")
    with pytest.raises(UsageError, match="unknown"):  # a pipeline, but no encoder
        upstream.load("torchaudio:TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH", device="cpu")


def test_wrong_weights_name_every_tensor(tiny, tmp_path):
    state = torch.load(tiny())
    torch.save({**state, "extra": torch.ones(1)}, tmp_path / "wrong.pth")
    with pytest.raises(DataError, match="extra"):
        upstream.load("torchaudio:TINY", weights=tmp_path / "wrong.pth", device="cpu")
    del state["encoder.transformer.layers.1.attention.k_proj.weight"]
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(DataError, match=r"1 missing: layers\.1\.attention\.key\.weight"):
        upstream.load("torchaudio:TINY", weights=tmp_path / "wrong.pth", device="cpu")


def test_a_whole_bundle_fits_its_structure():
    """Every real bundle: each tensor of torchaudio's own model has its place in our encoder, with the same shape."""
    torchaudio = import_torchaudio()
    factories = {"Wav2Vec2": torchaudio.models.wav2vec2_model, "WavLM": torchaudio.models.wavlm_model}
    for bundle in adapter._bundles(torchaudio).values():
        with torch.device("meta"):
            theirs = factories[bundle._model_type](**bundle._params).state_dict()
            ours = Encoder(adapter._shape(bundle)).state_dict()
        assert sum(map(torch.numel, _read(theirs))) == sum(map(torch.numel, ours.values()))


def _read(state):
    """Their tensors without heads, and without the lengths of the weight norm, which is multiplied out in ours."""
    left_out = ("aux.", "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original0")
    return [tensor for name, tensor in state.items() if not name.startswith(left_out)]


def test_too_short_an_utterance_is_told(tiny):
    loaded = upstream.load("torchaudio:TINY", weights=tiny(), device="cpu")
    with pytest.raises(DataError, match="399 samples"):
        loaded(wavs(399))
