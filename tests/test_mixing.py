"""The weighted layer sum of ragged frames and its derivative, against torch's own on padded tensors; and as many frames
as a head is to see, where an upstream gives more or fewer."""

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from downstream.fit import mixing
from downstream.fit.diarization_head import FrameLSTM
from downstream.fit.mask_head import MaskLSTM
from downstream.fit.mixing import fitted, mixed, weight_gradients
from downstream.fit.sampling import Draw
from downstream.fit.sequence_grid import SequenceGrid
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


# ---- As many frames as are wanted

WANTED = (5, 3, 12, 6)  # of LENGTHS: less, more, just as many, more
HOP = 10


def one_by_one(utterances, wanted, repeat_last):
    """Each utterance alone: cut, or continued frame after frame."""
    found = []
    for own, count in zip(utterances, wanted, strict=True):
        more = own[-1:] if repeat_last else torch.zeros_like(own[-1:])
        found.append(torch.cat([own, *[more] * (count - len(own))])[:count])
    return found


def random_utterances(dtype=torch.float32):
    random = torch.Generator().manual_seed(2)
    return [torch.randn(length, DIM, generator=random, dtype=dtype) for length in LENGTHS]


@pytest.mark.parametrize("repeat_last", [False, True])
@pytest.mark.parametrize("wanted", [WANTED, LENGTHS, (1, 1, 1, 1), (20, 2, 13, 30), (7, 9, 1, 4)])
def test_every_utterance_has_the_frames_that_are_wanted(wanted, repeat_last):
    utterances = random_utterances()
    found = fitted(pad_sequence(utterances, batch_first=True), torch.tensor(LENGTHS), torch.tensor(wanted), repeat_last)
    assert found.shape == (len(LENGTHS), max(wanted), DIM)
    for own, expected in zip(found, one_by_one(utterances, wanted, repeat_last), strict=True):
        assert torch.equal(own[: len(expected)], expected)


@pytest.mark.parametrize("repeat_last", [False, True])
def test_frames_learn_of_all_places_that_they_were_put_in(repeat_last):
    """By finite differences, and as autograd has it where utterances are fitted one by one."""
    lengths, wanted = torch.tensor(LENGTHS), torch.tensor(WANTED)
    utterances = [own.requires_grad_() for own in random_utterances(torch.float64)]

    def padded_and_fitted(*own):
        return fitted(pad_sequence(list(own), batch_first=True), lengths, wanted, repeat_last)

    assert torch.autograd.gradcheck(padded_and_fitted, utterances)
    d_found = torch.randn(len(LENGTHS), max(WANTED), DIM, generator=torch.Generator().manual_seed(3)).double()
    d_found[torch.arange(max(WANTED)) >= wanted[:, None]] = 0  # no head looks at what lies past an utterance
    found = torch.autograd.grad(padded_and_fitted(*utterances), utterances, d_found)
    apart = one_by_one(utterances, WANTED, repeat_last)
    parts = [d[:count] for d, count in zip(d_found, WANTED, strict=True)]
    expected = torch.autograd.grad(apart, utterances, parts)
    assert all(torch.allclose(a, b) for a, b in zip(found, expected, strict=True))
    assert (found[0][WANTED[0] :] == 0).all()  # cut off
    assert torch.equal(found[1][0], d_found[1, : 3 if repeat_last else 1].sum(0))


def squared_errors(found, lengths, targets):
    pairs = zip(found, lengths.tolist(), targets, strict=True)
    return torch.stack([(own[:length] - target).square().sum() for own, length, target in pairs])


HEADS = {
    "repeated": (lambda: FrameLSTM(DIM, 4, speakers=2, chunk=8), True),  # one utterance is longer than a chunk
    "zeros": (lambda: MaskLSTM(DIM, 4, 2, 0.0, sources=2, bins=3), False),
}


def fitted_grid(name, layers=3):
    """It wants of each utterance what WANTED says: a frame every HOP samples, of which there are as many as that."""
    make, repeat_last = HEADS[name]
    wanted = {"wanted": lambda samples: samples // HOP, "repeat_last": repeat_last}
    grid = SequenceGrid(layers, make, squared_errors, [1e-3, 1e-2], 1e9, 5, torch.device("cpu"), HOP, **wanted)
    for number, point in enumerate(grid._points):  # away from equal weights
        point.model.weights.data = torch.linspace(-1, 1 + number, layers)
    return grid


def fitted_batch(layers=3):
    batch = make_batch(layers, torch.float16)
    return FrameBatch(batch.values, batch.scales / 8, HOP * torch.tensor(WANTED) + 7)


@pytest.mark.parametrize("name", HEADS)
def test_an_utterance_gets_the_same_answer_alone_and_in_company(name):
    grid, batch = fitted_grid(name), fitted_batch()
    for point, together in enumerate(grid.outputs(batch, best=False)):
        for number, count in enumerate(WANTED):
            [alone] = grid.outputs(batch.part(number, number + 1), best=False, points=[point])[0]
            assert len(alone) == len(together[number]) == count
            assert torch.allclose(alone, together[number], atol=1e-6)
        model = grid._points[point].model
        [sums] = mixed(batch, model.weights.detach().softmax(0)[None])
        utterances = [own[:length] for own, length in zip(sums, LENGTHS, strict=True)]
        apart = one_by_one(utterances, WANTED, HEADS[name][1])
        for own, answer in zip(apart, together, strict=True):
            expected, _ = model.head(own[None], torch.tensor([len(own)]))
            assert torch.allclose(answer, expected[0], atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_layer_weights_learn_of_repeated_frames_what_autograd_says(name):
    """From the sum of layers on, in two micro-batches; Adam's first moment is a tenth of the gradient after a step."""
    grid, batch = fitted_grid(name), fitted_batch()
    random, outputs = torch.Generator().manual_seed(6), (2,) if name == "repeated" else (2, 3)
    targets = [torch.randn(count, *outputs, generator=random) for count in WANTED]
    shares = np.array([0.2, 0.2, 0.3, 0.3], dtype=np.float32)
    expected = []
    for point in grid._points:
        model = point.model
        sums = (padded(batch).float() * model.weights.softmax(0)[:, None]).sum(2)
        utterances = [own[:length] for own, length in zip(sums, LENGTHS, strict=True)]
        apart = one_by_one(utterances, WANTED, HEADS[name][1])
        answers = [model.head(own[None], torch.tensor([len(own)]))[0][0] for own in apart]
        losses = torch.stack([(own - target).square().sum() for own, target in zip(answers, targets, strict=True)])
        expected.append(torch.autograd.grad((losses * torch.from_numpy(shares)).sum(), list(model.parameters())))
    grid.step(batch, targets, Draw(0, np.arange(4), shares, np.full(4, -1), [2, 2]))
    for point, gradients in zip(grid._points, expected, strict=True):
        assert gradients[0].abs().max() > 1e-3
        for (parameter, _), moment, gradient in zip(
            point.model.named_parameters(), point.first, gradients, strict=True
        ):
            assert float((10 * moment - gradient).abs().max()) <= 2e-5 * float(gradient.abs().max()), parameter


def test_repeated_frames_are_no_zeros_to_the_layer_weights():
    """Else the test above could not tell whether anything flowed through them."""
    moments = {}
    for repeat_last in (True, False):
        grid, batch = fitted_grid("repeated"), fitted_batch()
        grid._repeat_last = repeat_last
        targets = [torch.zeros(count, 2) for count in WANTED]
        grid.step(batch, targets, Draw(0, np.arange(4), np.full(4, 0.25, dtype=np.float32), np.full(4, -1), [4]))
        moments[repeat_last] = grid._points[0].first[0]
    assert not torch.allclose(moments[True], moments[False], rtol=0.01)
