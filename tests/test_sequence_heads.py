"""The CTC heads against s3prl's with the same weights: logits, loss and every gradient."""

import copy

import pytest
import torch
from oracles import import_s3prl
from torch.nn.functional import ctc_loss

from downstream.fit.sequence_heads import FrameLinear, Recurrent

DIM, PROJECTOR, HIDDEN, CLASSES = 13, 20, 16, 9
LENGTHS = [41, 24, 33, 17]
# The configurations of ASR and SF, and of OOD-ASR on features of 20 ms and of 10 ms.
CONFIGURATIONS = {
    "asr": {"project": False, "rate": 160, "total_rate": -1, "every": 1},
    "ood 20 ms": {"project": True, "rate": 320, "total_rate": 320, "every": 1},
    "ood 10 ms": {"project": True, "rate": 160, "total_rate": 320, "every": 2},
}
configurations = pytest.mark.parametrize("name", CONFIGURATIONS)


def make_recurrent(name, dropout=0.0, layers=2, seed=0):
    config = CONFIGURATIONS[name]
    head = Recurrent(DIM, PROJECTOR, HIDDEN, layers, dropout, config["project"], config["every"], CLASSES)
    head.reset(torch.Generator().manual_seed(seed))
    return head


def make_linear(seed=0):
    head = FrameLinear(DIM, PROJECTOR, CLASSES)
    head.reset(torch.Generator().manual_seed(seed))
    return head


def make_batch(lengths=LENGTHS):
    random = torch.Generator().manual_seed(0)
    frames = torch.randn(len(lengths), max(lengths), DIM, generator=random)
    for row, length in zip(frames, lengths, strict=True):
        row[length:] = 0
    return frames, torch.tensor(lengths)


class TheirRecurrent(torch.nn.Module):
    """s3prl's projector and RNNs, in its order, with our weights."""

    def __init__(self, head, name, dropout=0.0, layers=2):
        super().__init__()
        config = CONFIGURATIONS[name]
        self.projector = copy.deepcopy(head.projector)
        self.rnns = import_s3prl("s3prl.downstream.asr.model").RNNs(
            PROJECTOR,
            CLASSES,
            config["rate"],
            module="LSTM",
            bidirection=True,
            dim=[HIDDEN] * layers,
            dropout=[dropout] * layers,
            layer_norm=[False] * layers,
            proj=[config["project"]] * layers,
            sample_rate=[1] * layers,
            sample_style="drop",
            total_rate=config["total_rate"],
        )
        self.rnns.load_state_dict(their_names(head.state_dict()))

    def forward(self, frames, lengths):
        return self.rnns(self.projector(frames), lengths)


def their_names(state):
    """What s3prl's RNNs call the same tensors."""
    renamed = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        number, _, parameter = rest.partition(".")
        if part == "layers":
            renamed[f"rnns.{number}.layer.{parameter}"] = tensor
        elif part == "projections":
            renamed[f"rnns.{number}.pj.{parameter}"] = tensor
        elif part == "classifier":
            renamed[f"linear.{rest}"] = tensor
    return renamed


class TheirLinear(torch.nn.Module):
    def __init__(self, head):
        super().__init__()
        self.projector = copy.deepcopy(head.projector)
        self.model = import_s3prl("s3prl.downstream.model").FrameLevel(PROJECTOR, CLASSES)
        self.model.linear.load_state_dict(head.classifier.state_dict())

    def forward(self, frames, lengths):
        return self.model(self.projector(frames), lengths)


def loss_of(logits, lengths):
    targets = torch.arange(12).view(4, 3) % (CLASSES - 1) + 1
    probabilities = logits.log_softmax(-1).transpose(0, 1)
    return ctc_loss(probabilities, targets, lengths, torch.tensor([3, 2, 3, 1]), blank=0, zero_infinity=True)


def assert_same(head, theirs):
    """Logits, lengths, CTC loss, and the gradients of all parameters and of the frames, to 1e-5 of their largest."""
    frames, lengths = make_batch()
    ours, expected = frames.clone().requires_grad_(), frames.clone().requires_grad_()
    (logits, kept), (their_logits, their_kept) = head(ours, lengths), theirs(expected, lengths)
    assert torch.equal(kept, their_kept)
    assert logits.shape == their_logits.shape
    assert_close(logits, their_logits)
    loss, their_loss = loss_of(logits, kept), loss_of(their_logits, their_kept)
    loss.backward()
    their_loss.backward()
    assert loss.item() == pytest.approx(their_loss.item(), rel=1e-5)
    assert_close(ours.grad, expected.grad)
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    return gradients, {name: parameter.grad for name, parameter in theirs.named_parameters()}


def assert_close(ours, theirs):
    off = (ours - theirs).detach().abs().max()
    assert float(off) <= 1e-5 * float(theirs.detach().abs().max())


@configurations
def test_the_recurrent_head_is_that_of_s3prl(name):
    head = make_recurrent(name)
    gradients, expected = assert_same(head, TheirRecurrent(head, name))
    renamed = {f"rnns.{their}": gradient for their, gradient in their_names(gradients).items()}
    renamed |= {their: gradients[their] for their in ("projector.weight", "projector.bias")}
    assert renamed.keys() == expected.keys()
    for their, gradient in expected.items():
        assert_close(renamed[their], gradient)


def test_the_linear_head_is_that_of_s3prl():
    head = make_linear()
    gradients, expected = assert_same(head, TheirLinear(head))
    for name, their in {"projector": "projector", "classifier": "model.linear"}.items():
        assert_close(gradients[f"{name}.weight"], expected[f"{their}.weight"])
        assert_close(gradients[f"{name}.bias"], expected[f"{their}.bias"])


@configurations
def test_with_the_same_dropout_masks_training_is_that_of_s3prl(name, monkeypatch):
    head, batch = make_recurrent(name, dropout=0.2), make_batch()
    theirs = TheirRecurrent(head, name, dropout=0.2)
    random = torch.Generator().manual_seed(5)
    logits, _ = head(*batch, random)

    def dropped(values, p, training, inplace):
        assert (p, training, inplace) == (0.2, True, False)
        return values * (torch.rand(values.shape, generator=random) >= p) / (1 - p)

    random.manual_seed(5)
    monkeypatch.setattr(torch.nn.functional, "dropout", dropped)
    assert_close(logits, theirs(*batch)[0])


def test_dropout_drops_a_fifth_after_every_layer_and_keeps_the_mean(monkeypatch):
    head, (frames, lengths) = make_recurrent("asr", dropout=0.2), make_batch([400, 400])
    for layer in head.layers:
        monkeypatch.setattr(layer, "forward", lambda *_: torch.ones(2, 400, 2 * HIDDEN))
    seen = []
    head.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(frames, lengths, torch.Generator().manual_seed(0))
    assert seen[0].unique().tolist() == [0, 1.25]
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.2, abs=0.01)


def test_without_a_generator_nothing_is_dropped():
    batch = make_batch()
    assert torch.equal(make_recurrent("asr", dropout=0.2)(*batch)[0], make_recurrent("asr")(*batch)[0])


def test_a_training_step_can_be_taken_again_from_its_seed():
    head, batch = make_recurrent("ood 10 ms", dropout=0.2), make_batch()

    def logits(seed):
        torch.rand(1)  # what else draws random numbers does not matter
        return head(*batch, torch.Generator().manual_seed(seed))[0]

    assert torch.equal(logits(3), logits(3))
    assert not torch.equal(logits(3), logits(4))


@configurations
def test_an_utterance_gets_the_same_alone_and_in_a_batch(name):
    head, (frames, lengths) = make_recurrent(name), make_batch()
    together, kept = head(frames, lengths)
    alone, _ = head(frames[3:, :17], lengths[3:])
    torch.testing.assert_close(alone[0, : kept[3]], together[3, : kept[3]])


def test_of_the_shortest_utterance_the_first_frame_is_kept():
    head, (frames, lengths) = make_recurrent("ood 10 ms"), make_batch([8, 1, 5])
    logits, kept = head(frames, lengths)
    assert kept.tolist() == [4, 1, 2]
    alone, _ = head(frames[1:2, :1], lengths[1:2])
    torch.testing.assert_close(alone[0, :1], logits[1, :1])


@pytest.mark.parametrize("make", [make_linear, lambda seed: make_recurrent("ood 20 ms", seed=seed)])
def test_the_start_is_drawn_from_the_generator_alone(make):
    first, again, other = (make(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_the_start_is_spread_as_torch_spreads_it():
    with torch.random.fork_rng():
        torch.manual_seed(1)  # torch's own start is drawn from what all tests before have left
        head = FrameLinear(900, 200, 40)
    expected = {name: tensor.abs() for name, tensor in head.state_dict().items()}
    head.reset(torch.Generator().manual_seed(0))
    for name, tensor in head.state_dict().items():
        assert float(tensor.abs().max()) == pytest.approx(float(expected[name].max()), rel=0.1)
        assert float(tensor.abs().mean()) == pytest.approx(float(expected[name].mean()), rel=0.2)
