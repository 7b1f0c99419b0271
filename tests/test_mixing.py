"""The weighted layer sum of ragged frames and its derivative, against torch's own on padded tensors."""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from downstream.fit import mixing
from downstream.fit.mixing import mixed, weight_gradients
from downstream.represent.frame_features import FrameBatch

POINTS, DIM = 3, 5
LENGTHS = (7, 1, 12, 4)
# Values in a stretch: less than a frame of all layers has, one frame, a few, all.
STRETCHES = (1, 4 * DIM, 3 * 4 * DIM, 1 << 20)


def make_batch(layers, dtype, lengths=LENGTHS, scaled=True):
    random = torch.Generator().manual_seed(layers)
    values = [torch.randn(layers, length, DIM, generator=random).to(dtype) for length in lengths]
    exponents = torch.randint(-6, 7, (len(lengths), layers), generator=random)
    scales = torch.ldexp(torch.ones(exponents.shape), exponents if scaled else 0 * exponents)
    return FrameBatch(values, scales, torch.zeros(len(values)))


def make_weights(layers):
    return torch.randn(POINTS, layers, generator=torch.Generator().manual_seed(9)).softmax(-1)


def padded(batch):
    """(utterances, frames, layers, dim) in double precision, the scales multiplied in."""
    whole = [v.double() * s.double()[:, None, None] for v, s in zip(batch.values, batch.scales, strict=True)]
    return pad_sequence([one.transpose(0, 1) for one in whole], batch_first=True)


def plain(batch, weights):
    return (padded(batch)[None] * weights.double()[:, None, None, :, None]).sum(3)


def close(found, expected):
    """To single precision, relative to what is largest."""
    return float((found.double() - expected).abs().max()) <= 2e-6 * float(expected.abs().max())


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_sum_is_that_of_padded_tensors(dtype, layers, stretch, monkeypatch):
    monkeypatch.setattr(mixing, "_CACHED", stretch)
    batch, weights = make_batch(layers, dtype), make_weights(layers)
    found = mixed(batch, weights)
    assert found.shape == (POINTS, len(LENGTHS), max(LENGTHS), DIM)
    assert found.dtype == torch.float32
    assert close(found, plain(batch, weights))
    for number, length in enumerate(LENGTHS):
        assert (found[:, number, length:] == 0).all()
        assert (found[:, number, :length] != 0).any(-1).all()


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_derivative_is_that_of_autograd(dtype, layers, stretch, monkeypatch):
    monkeypatch.setattr(mixing, "_CACHED", stretch)
    batch, weights = make_batch(layers, dtype), make_weights(layers).double().requires_grad_()
    d_mixed = torch.randn(POINTS, len(LENGTHS), max(LENGTHS), DIM, generator=torch.Generator().manual_seed(1))
    (plain(batch, weights) * d_mixed.double()).sum().backward()
    found = weight_gradients(batch, d_mixed)
    assert found.shape == (POINTS, layers)
    assert close(found, weights.grad)


def test_what_lies_past_an_utterance_moves_no_weight():
    batch = make_batch(3, torch.float16)
    d_mixed = torch.randn(POINTS, len(LENGTHS), max(LENGTHS), DIM, generator=torch.Generator().manual_seed(1))
    expected = weight_gradients(batch, d_mixed)
    for number, length in enumerate(LENGTHS):
        d_mixed[:, number, length:] = torch.nan
    assert torch.equal(weight_gradients(batch, d_mixed), expected)


def test_scales_do_what_multiplied_values_would():
    """By powers of two, which change no digit: the same to the last byte, forward."""
    batch, weights = make_batch(4, torch.float32), make_weights(4)
    values = [value * scale[:, None, None] for value, scale in zip(batch.values, batch.scales, strict=True)]
    assert torch.equal(
        mixed(batch, weights), mixed(FrameBatch(values, torch.ones_like(batch.scales), batch.samples), weights)
    )


def test_halves_at_the_end_of_their_range_are_summed_in_single_precision():
    values = torch.full((2, 3, DIM), 60000.0, dtype=torch.float16)
    batch = FrameBatch([values], torch.tensor([[1.0, 2.0**10]]), torch.zeros(1))
    found = mixed(batch, torch.tensor([[0.5, 0.5]]))
    assert torch.allclose(found, torch.tensor(float(values[0, 0, 0]) * (1 + 2**10) / 2))
    d_mixed = torch.ones(1, 1, 3, DIM)
    expected = 3 * DIM * float(values[0, 0, 0]) * torch.tensor([[1.0, 2.0**10]])
    assert torch.allclose(weight_gradients(batch, d_mixed), expected)


def test_parts_of_a_batch_are_mixed_as_in_the_whole():
    batch, weights = make_batch(4, torch.float16), make_weights(4)
    whole, part = mixed(batch, weights), mixed(batch.part(1, 3), weights)
    assert len(batch.part(1, 3)) == 2
    assert batch.part(1, 3).lengths.tolist() == list(LENGTHS[1:3])
    assert torch.equal(part, whole[:, 1:3, : max(LENGTHS[1:3])])


def test_one_point_among_others_gets_what_it_gets_alone():
    batch, weights = make_batch(4, torch.float16), make_weights(4)
    together = mixed(batch, weights)
    for number in range(POINTS):
        assert torch.allclose(together[number], mixed(batch, weights[number : number + 1])[0], rtol=1e-6, atol=1e-6)
