"""Spectral upstreams: equal to s3prl's, frame for frame, and well behaved where s3prl's are not."""

from functools import cache

import pytest
import torch
from oracles import s3prl_features

import upstream
from upstream import registry
from upstream.errors import DataError
from upstream.frames import centred_frames, snip_edges_frames
from upstream.loaded import LoadedUpstream

KALDI = [f"{name}{ending}" for name in ("fbank", "mfcc", "spectrogram") for ending in ("", "_no_cmvn")]
CENTRED = ["mel", "mel_no_cmvn", "linear", "linear_no_cmvn", "stft_mag", "log_stft_mag"]
NAMES = KALDI + CENTRED
NORMALISED = ["fbank", "mfcc", "spectrogram", "mel", "linear"]
SAMPLES = (560, 1000, 1679, 16000, 52345)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Work this small only gets slower when threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def loaded(name: str) -> LoadedUpstream:
    return upstream.load(name, device="cpu")


def features(name: str, wav: torch.Tensor) -> torch.Tensor:
    states = loaded(name)([wav])
    assert states.layers[0].shape[1] == int(states.lengths)
    return states.layers[0][0]


def noise(samples: int, level: float = 0.1) -> torch.Tensor:
    return level * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


def speech_like(samples: int) -> torch.Tensor:
    """Harmonics of a gliding pitch with pauses of digital silence, over very little noise; no silence at the end."""
    time = torch.arange(samples) / 16000
    phase = torch.cumsum(2 * torch.pi * (120 + 40 * torch.sin(4.4 * time)) / 16000, 0)
    voice = sum(torch.sin(k * phase + k * k) / k**1.2 for k in range(1, 25)) + 0.1 * noise(samples, 1.0)
    wav = 0.1 * voice * (torch.sin(14 * time) + 0.3).clamp(0, 1)
    wav[-1] = 0.01
    return wav


SIGNALS = {
    "noise": noise,
    "quiet": lambda samples: noise(samples, 3e-4),
    "loud": lambda samples: noise(samples, 2.0).clamp(-1, 1),
    "speech": speech_like,
}


def test_every_spectral_name_is_tested():
    assert sorted(name for name in registry.names() if registry.card(name).provider == "spectral") == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_s3prl(name):
    for signal, make in SIGNALS.items():
        for samples in SAMPLES:
            wav = make(samples)
            ours, theirs = features(name, wav), s3prl_features(name, wav)
            assert ours.shape == theirs.shape, (signal, samples)
            assert ours.isfinite().all()
            if name in NORMALISED:
                # A dimension that hardly varies is rounding noise over rounding noise: there is no right answer.
                before = s3prl_features(f"{name}_no_cmvn", wav)
                varies = before.amax(0) - before.amin(0) > 1e-2
                ours, theirs = ours[:, varies], theirs[:, varies]
            difference = (ours - theirs).abs().max() if ours.numel() else 0.0
            assert difference < (5e-4 if name in NORMALISED else 1e-4), (signal, samples)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NORMALISED])
def test_one_frame_equal_to_s3prl(name):
    wav = noise(300 if name in CENTRED else 400)[: 319 if name == "stft_mag" else None]
    torch.testing.assert_close(features(name, wav), s3prl_features(name, wav), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_frame_counts_are_a_function_of_samples(name):
    model = loaded(name)
    for samples in [*range(400, 1100, 13), 15999, 16000, 16001]:
        centred = name in CENTRED
        expected = centred_frames(samples, model.hop) if centred else snip_edges_frames(samples, 400, 160)
        assert len(features(name, noise(samples))) == expected


@pytest.mark.parametrize("name", NAMES)
def test_card_batches_and_contract(name):
    model, card = loaded(name), registry.card(name)
    assert (model.name, model.hop, model.num_layers, model.dim) == (name, card.hop, card.layers, card.dim)
    assert model.max_batch is None
    wavs = [noise(16000), speech_like(7000), noise(401), speech_like(30000)]
    states = model(wavs)
    assert states.hop == card.hop
    assert states.layers[0].dtype == torch.float32
    assert not states.layers[0].requires_grad
    for index, wav in enumerate(wavs):
        length = int(states.lengths[index])
        assert torch.equal(states.layers[0][index, :length], features(name, wav))
        assert not states.layers[0][index, length:].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", [400, 479, 16000])
def test_silence_and_constants_stay_finite(name, samples):
    for wav in (torch.zeros(samples), torch.full((samples,), 0.3), torch.cat([noise(400), torch.zeros(samples)])):
        assert features(name, wav).isfinite().all()
    if name in NORMALISED:
        assert not features(name, torch.zeros(samples)).any()


@pytest.mark.parametrize("name", ["fbank", "mfcc", "spectrogram"])
def test_one_frame_normalises_to_zero(name):
    one = features(name, noise(400))
    assert len(one) == 1
    assert not one.any()


@pytest.mark.parametrize("name", ["mel", "linear"])
def test_silence_at_the_end_keeps_its_frames(name):
    wav = torch.cat([speech_like(8000), torch.zeros(8000)])
    assert len(features(name, wav)) == 101
    assert len(s3prl_features(name, wav)) < 60


@pytest.mark.parametrize(("name", "samples", "least"), [("fbank", 399, 400), ("mel", 200, 201), ("stft_mag", 256, 257)])
def test_too_short(name, samples, least):
    assert loaded(name)([noise(least)]).lengths.tolist() == [2 if name == "mel" else 1]
    with pytest.raises(DataError, match=rf"utterance 1 of a batch of 2 has {samples} samples.* at least {least}"):
        loaded(name)([noise(16000), noise(samples)])


def test_normalised_features_have_zero_mean_and_unit_variance():
    values = features("fbank", speech_like(40000)).double()
    assert values.mean(0).abs().max() < 1e-5
    torch.testing.assert_close(values.var(0), torch.ones(240, dtype=torch.float64), atol=1e-4, rtol=0)


def test_fingerprints_tell_the_names_apart_and_are_stable():
    marks = [loaded(name).fingerprint for name in NAMES]
    assert len(set(marks)) == len(NAMES)
    assert upstream.load("mfcc", device="cpu").fingerprint == loaded("mfcc").fingerprint
