"""The padded LSTM against torch's own on packed sequences: the same results and the same gradients."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from downstream.fit.head import reset
from downstream.fit.recurrent import BidirectionalLSTM

INPUTS, HIDDEN = 12, 16
LENGTHS = {
    "ragged": [23, 1, 17, 40, 2],
    "equal": [9, 9, 9],
    "one utterance": [31],
    "one frame each": [1, 1],
    "longest last": [1, 2, 30],
}


def make_layer(seed=0):
    layer = BidirectionalLSTM(INPUTS, HIDDEN)
    reset(layer, torch.Generator().manual_seed(seed))
    return layer


def make_batch(lengths, beyond=0, seed=0):
    """Frames with numbers in the padding too, which no result may depend on."""
    random = torch.Generator().manual_seed(seed)
    frames = torch.randn(len(lengths), max(lengths) + beyond, INPUTS, generator=random)
    return frames, torch.tensor(lengths)


def torch_layer(layer):
    theirs = torch.nn.LSTM(INPUTS, HIDDEN, batch_first=True, bidirectional=True)
    theirs.load_state_dict(layer.state_dict())

    def run(frames, lengths):
        packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=frames.shape[1])[0]

    return theirs, run


def results(run, layer, frames, lengths):
    """The output, and the gradients of a sum that weighs every number of it differently."""
    frames = frames.clone().requires_grad_()
    output = run(frames, lengths)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((output * weights).sum(), [frames, *layer.parameters()])
    names = ["input", *dict(layer.named_parameters())]
    return {"output": output.detach()} | dict(zip(names, gradients, strict=True))


def assert_close(ours, theirs, tolerance=1e-5):
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        off, scale = float((ours[name] - expected).abs().max()), float(expected.abs().max())
        assert off <= tolerance * scale, f"{name} is off by {off:.1e} of {scale:.1e}"


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_outputs_and_all_gradients_are_those_of_packed_sequences(lengths):
    layer = make_layer()
    theirs, run = torch_layer(layer)
    batch = make_batch(lengths)
    assert_close(results(layer, layer, *batch), results(run, theirs, *batch))


def test_more_frames_than_the_longest_utterance_has_come_out_as_zeros():
    layer = make_layer()
    theirs, run = torch_layer(layer)
    batch = make_batch([4, 7], beyond=5)
    assert_close(results(layer, layer, *batch), results(run, theirs, *batch))
    assert layer(*batch).shape[1] == 12
    assert not layer(*batch)[:, 7:].any()


def test_everything_past_a_length_is_zero():
    frames, lengths = make_batch([3, 8])
    assert not make_layer()(frames, lengths)[0, 3:].any()


def test_the_packed_way_of_other_devices_is_the_same_function():
    layer, batch = make_layer(), make_batch([3, 9, 1], beyond=2)
    assert_close(results(layer, layer, *batch), results(layer._packed, layer, *batch))


def test_gradients_are_right_in_a_module_that_is_set_to_evaluate():
    layer, batch = make_layer(), make_batch([3, 9, 1])
    trained = results(layer, layer, *batch)
    assert_close(results(layer.eval(), layer, *batch), trained, tolerance=1e-7)


def test_results_without_gradients_are_the_same():
    layer, batch = make_layer(), make_batch([3, 9, 1])
    with torch.inference_mode():
        found = layer(*batch)
    assert torch.equal(found, layer(*batch).detach())


def test_an_utterance_gets_the_same_alone_and_in_a_batch():
    layer = make_layer()
    frames, lengths = make_batch([5, 20])
    torch.testing.assert_close(layer(frames[:1, :5], lengths[:1])[0], layer(frames, lengths)[0, :5])


def test_the_start_is_drawn_from_the_generator_alone():
    torch.manual_seed(0)
    first = make_layer(seed=3).state_dict()
    torch.manual_seed(1)
    again, other = make_layer(seed=3).state_dict(), make_layer(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_the_start_is_spread_as_torch_spreads_it():
    layer = BidirectionalLSTM(300, 100)
    expected = {name: tensor.abs() for name, tensor in layer.state_dict().items()}
    reset(layer, torch.Generator().manual_seed(0))
    for name, tensor in layer.state_dict().items():
        assert float(tensor.abs().max()) == pytest.approx(float(expected[name].max()), rel=0.03)
        assert float(tensor.abs().mean()) == pytest.approx(float(expected[name].mean()), rel=0.15)
