"""What an upstream costs, against arithmetic done by hand."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from user_files import GOOD, load, variant, wavs, write_file

import upstream
from upstream import cost
from upstream.cost import count
from upstream.encoder.model import Encoder
from upstream.encoder.shape import named
from upstream.encoder.untrained import untrained
from upstream.loaded import LoadedUpstream, Provided

CPU = torch.device("cpu")


@pytest.fixture
def write(tmp_path):
    return partial(write_file, tmp_path)


def attention(batch, heads, queries, keys, size):
    """Scores, and the values weighted by them."""
    return 2 * batch * heads * queries * keys * size


def transformer_layer(frames, dim, ffn):
    """Four projections, attention, two layers of a feed-forward net; a batch of two, two heads."""
    return 2 * frames * (4 * dim * dim + 2 * dim * ffn) + attention(2, 2, frames, frames, dim // 2)


# A call on random input, and the multiply-adds it takes.
CALLS = {
    # 2 utterances x 8 filters x 49 places x (3 inputs x 5 samples)
    "convolution": (nn.Conv1d(3, 8, 5, stride=2), [(2, 3, 101)], 2 * 8 * 49 * 15),
    # each of 8 filters sees 2 of the 8 inputs
    "grouped convolution": (nn.Conv1d(8, 8, 5, groups=4, padding=2), [(2, 8, 100)], 2 * 8 * 100 * 10),
    "transposed convolution": (nn.ConvTranspose1d(8, 6, 5), [(2, 8, 100)], 2 * 100 * 8 * 6 * 5),
    "linear": (nn.Linear(6, 7), [(3, 4, 6)], 3 * 4 * 6 * 7),
    "linear without bias": (nn.Linear(6, 7, bias=False), [(12, 6)], 12 * 6 * 7),
    "batched product": (torch.bmm, [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    "einsum": (partial(torch.einsum, "bij,bjk->bik"), [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    "matrix and vector": (torch.mv, [(3, 4), (4,)], 3 * 4),
    "linear on one vector": (nn.Linear(6, 7), [(6,)], 6 * 7),
    "two vectors": (torch.dot, [(9,), (9,)], 9),
    "attention": (
        nn.functional.scaled_dot_product_attention,
        [(2, 4, 10, 8), (2, 4, 12, 8), (2, 4, 12, 8)],
        attention(2, 4, 10, 12, 8),
    ),
    "masked attention": (
        lambda q, k, v: nn.functional.scaled_dot_product_attention(q, k, v, torch.zeros(10, 12)),
        [(2, 4, 10, 8), (2, 4, 12, 8), (2, 4, 12, 8)],
        attention(2, 4, 10, 12, 8),
    ),
    "fused transformer layer": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(),
        [(2, 10, 8)],
        transformer_layer(10, 8, 16),
    ),
    # per step and direction: four gates of 5 that see 6 inputs (later 2 x 5) and 5 outputs
    "LSTM": (nn.LSTM(6, 5, batch_first=True).eval(), [(2, 7, 6)], 2 * 7 * 4 * 5 * (6 + 5)),
    "LSTM, two layers, both directions": (
        nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True).eval(),
        [(2, 7, 6)],
        2 * 7 * 2 * 4 * 5 * ((6 + 5) + (10 + 5)),
    ),
    "GRU": (nn.GRU(6, 5, batch_first=True).eval(), [(2, 7, 6)], 2 * 7 * 3 * 5 * (6 + 5)),
    # 2.5 n log2 n operations, two to a multiply-add
    "real Fourier transform": (torch.fft.rfft, [(3, 512)], 3 * 512 * 9 * 2.5 / 2),
    "and back": (lambda x: torch.fft.irfft(torch.complex(x, x)), [(3, 257)], 3 * 512 * 9 * 2.5 / 2),
    "complex Fourier transform": (lambda x: torch.fft.fft(torch.complex(x, x)), [(3, 512)], 3 * 512 * 9 * 5 / 2),
    "element by element": (lambda x: (x.abs() + 1).log().softmax(-1).mean(), [(3, 512)], 0),
}


@pytest.mark.parametrize("kind", CALLS)
def test_multiply_adds_are_those_done_by_hand(kind):
    call, shapes, expected = CALLS[kind]
    inputs = [torch.randn(shape) for shape in shapes]
    with torch.no_grad():
        seen = count(lambda: call(*inputs))
    assert (seen.macs, seen.unknown) == (expected, ())
    assert seen.parameters == (sum(p.numel() for p in call.parameters()) if isinstance(call, nn.Module) else 0)


def test_packed_sequences_count_their_own_steps():
    """The first step sees two utterances, the last three one; biases cost no products."""
    lstm = nn.LSTM(6, 5).eval()
    packed = nn.utils.rnn.pack_sequence([torch.randn(7, 6), torch.randn(4, 6)])
    with torch.no_grad():
        assert count(lambda: lstm(packed)).macs == 11 * 4 * 5 * (6 + 5)


def test_counting_changes_nothing_that_stays():
    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(ZeroDivisionError):
        count(lambda: 1 / 0)
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_inference_mode_and_scripts_are_counted_too():
    inner = nn.Sequential(nn.Conv1d(3, 8, 5), nn.ReLU()).eval()
    x = torch.randn(2, 3, 101)
    with torch.inference_mode():
        assert count(lambda: inner(x)).macs == 2 * 8 * 97 * 15
    scripted = torch.jit.script(inner)
    seen = count(lambda: scripted(x))
    assert (seen.macs, seen.parameters) == (2 * 8 * 97 * 15, 8 * 15 + 8)


# Upstreams


CONVOLUTION = """
    import torch

    class Upstream:
        hop = 320

        def __init__(self):
            torch.manual_seed(0)
            self.conv = torch.nn.Conv1d(1, 6, 400, 320)
            self.unused = torch.nn.Linear(1000, 1000)

        def __call__(self, wavs):
            feats = [self.conv(wav[None, None])[0].T for wav in wavs]
            return [torch.nn.utils.rnn.pad_sequence(feats, batch_first=True)], [len(feat) for feat in feats]
"""


def test_a_user_file_costs_what_its_call_uses(write):
    found = load(write(CONVOLUTION)).cost()
    assert found.parameters == 6 * 400 + 6
    assert found.macs_per_second == round(499 * 6 * 400 / 10)  # 10 s are 499 frames
    assert 0 < found.real_time_factor < 10
    assert (found.device, found.threads, found.note) == ("cpu", torch.get_num_threads(), None)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("fbank", 998 * (512 * 9 * 2.5 / 2 + 257 * 80)),
        ("mfcc", 998 * (512 * 9 * 2.5 / 2 + 257 * 23 + 23 * 13)),
        ("stft_mag", 501 * 512 * 9 * 2.5 / 2),
    ],
)
def test_spectral_features_have_no_parameters_and_are_counted(name, macs):
    found = upstream.load(name, device="cpu").cost()
    assert (found.parameters, found.macs_per_second, found.threads) == (0, round(macs / 10), 1)


def test_what_torch_does_not_do_is_not_known(write):
    found = load(write(GOOD)).cost()
    assert (found.parameters, found.macs_per_second) == (None, None)
    assert "torch was not seen to do any products" in found.note


def test_an_operation_that_nobody_knows_makes_the_count_unknown(write):
    """A model with operations of its own: their products would be left out of the sum, so there is no sum."""
    own = [
        "import torch",
        "@torch.library.custom_op('sslbench_test::scaled', mutates_args=())",
        "def _scaled(x: torch.Tensor) -> torch.Tensor: return x * 2",
    ]
    found = load(write(variant("layers = [_scaled(x) for x in layers]", *own))).cost()
    assert found.macs_per_second is None
    assert found.note == "multiply-adds not counted: they cannot be told of sslbench_test::scaled"


SMALL = {"layers": 2, "dim": 48, "heads": 4, "ffn": 96, "conv_channels": 32}


@pytest.mark.parametrize("name", ["wav2vec2_base", "wav2vec2_large", "wavlm_base", "data2vec_base", "nanow2v2_base"])
def test_what_the_encoder_says_is_what_it_is_seen_to_do(name):
    """Its fast layout runs operations that nobody can look into, so it says the number; the plain one is counted."""
    shape = replace(named(name), **SMALL)
    encoder = Encoder(shape).eval()
    encoder.load_state_dict(untrained(shape, 0))
    with torch.no_grad():
        seen = count(lambda: encoder(wavs(40_000)))
    assert (seen.macs, seen.unknown) == (shape.macs(40_000), ())
    assert seen.parameters == sum(parameter.numel() for parameter in encoder.parameters())


def made(run, **fields):
    provided = Provided(run, "made", dict, **fields)
    return LoadedUpstream(provided, "test", CPU, torch.float32)


def frames_of_320(wavs):
    frames = [wav.unfold(0, 320, 320) for wav in wavs]
    return [nn.utils.rnn.pad_sequence(frames, batch_first=True)], [len(f) for f in frames]


def test_what_a_provider_says_goes_before_what_is_seen():
    found = made(frames_of_320, parameters=lambda: 7, macs=lambda samples: samples * 3).cost()
    assert (found.parameters, found.macs_per_second, found.note) == (7, 16000 * 3, None)
    found = made(frames_of_320, macs=lambda samples: samples * 3).cost()
    assert (found.parameters, found.macs_per_second) == (None, 48000)


def test_all_parameters_of_a_module_count_used_or_not():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(10, 10)

        def forward(self, wavs):
            return frames_of_320(wavs)

    assert made(Net()).cost().parameters == 110


def test_measured_once_with_the_threads_of_the_upstream():
    calls = []

    def run(wavs):
        calls.append((len(wavs[0]), torch.get_num_threads()))
        return frames_of_320(wavs)

    model = made(run, one_thread=True, parameters=lambda: 0, macs=lambda samples: 0)
    loading = len(calls)
    torch.set_num_threads(2)
    try:
        first = model.cost()
    finally:
        torch.set_num_threads(1)
    assert calls[loading:] == [(160_000, 1)] * 4  # once to warm up, then three times
    assert model.cost() is first
    assert len(calls) == loading + 4
    assert first.threads == 1


def test_the_time_is_the_median_of_three(monkeypatch):
    clock = iter([0, 50, 0, 3, 0, 1, 0, 2])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    model = made(frames_of_320, parameters=lambda: 0, macs=lambda samples: 0)
    assert model.cost().real_time_factor == 0.2  # 2 s for 10


def test_no_figure_where_ten_seconds_are_refused():
    """It may be used on a corpus of shorter utterances all the same."""

    def run(wavs):
        if len(wavs[0]) > 100_000:
            raise ValueError("too long")
        return frames_of_320(wavs)

    found = made(run).cost()
    assert (found.parameters, found.macs_per_second, found.real_time_factor) == (None, None, None)
    assert found.note == "10 s of audio could not be heard: ValueError: too long"


def test_features_are_the_same_before_and_after_counting(write):
    model = load(write(CONVOLUTION))
    before = model(wavs(16000)).layers[0]
    model.cost()
    assert torch.equal(model(wavs(16000)).layers[0], before)
