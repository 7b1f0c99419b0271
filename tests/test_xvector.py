"""The x-vector head and its loss against s3prl's with the same weights: vectors, losses and every gradient."""

import copy

import pytest
import torch
from oracles import import_s3prl
from torch import nn
from torch.nn import functional

from downstream.fit.xvector import XVector, am_softmax_losses

WIDTH, WIDE, SPEAKERS = 24, 20, 7  # neither of the last two fills whole cache lines
SCALE, MARGIN = 30.0, 0.4
NARROW, BROAD = 13, 30  # frames that the connector makes wider, and frames that it does not
dims = pytest.mark.parametrize("dim", [NARROW, BROAD])


def make_head(dim=NARROW, seed=0, **sizes):
    head = XVector(dim, SPEAKERS, **{"width": WIDTH, "wide": WIDE} | sizes)
    head.reset(torch.Generator().manual_seed(seed))
    return head


def make_batch(lengths, dim=NARROW, dtype=torch.float32, past=0.0):
    random = torch.Generator().manual_seed(0)
    frames = torch.randn(len(lengths), max(lengths), dim, generator=random, dtype=dtype)
    for row, length in zip(frames, lengths, strict=True):
        row[length:] = past
    return frames, torch.tensor(lengths)


class Theirs(nn.Module):
    """s3prl's connector, model and objective, from the weights of ours."""

    def __init__(self, head):
        super().__init__()
        module = import_s3prl("s3prl.downstream.sv_voxceleb1.model")
        width, wide = head.connector.out_features, head.layers[-1].out_features
        config = {"agg_dim": wide, "dropout_p": 0.0, "batch_norm": False}
        self.connector = copy.deepcopy(head.connector)
        self.model = module.Model(width, wide, "SP", "XVector", "UtteranceExtractor", config)
        self.model.load_state_dict(their_names(head.state_dict()))
        self.objective = module.AMSoftmaxLoss(*head.speakers.shape, s=SCALE, m=MARGIN)
        self.objective.W = nn.Parameter(head.speakers.detach().clone())
        self.to(head.speakers.dtype)

    def vectors(self, frames, lengths, run=None, fewer=0):
        """`fewer` valid frames than there are, in the mask that s3prl's expert makes."""
        valid = torch.arange(frames.shape[1] - 14) < lengths[:, None] - 14 - fewer
        mask = (1.0 - valid.to(frames.dtype)) * -100000.0
        return (run or self.model)(self.connector(frames), mask)

    def embeddings(self, frames, lengths, **options):
        return functional.normalize(self.vectors(frames, lengths, self.model.inference, **options), dim=-1)


def their_names(state):
    """What s3prl's model calls the same tensors."""
    outer = {"embedding": "linear1", "training_vector": "linear2"}
    renamed = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        if part == "layers":
            number, _, parameter = rest.partition(".")
            renamed[f"framelevel_feature_extractor.module.{number}.kernel.{parameter}"] = tensor
        elif part in outer:
            renamed[f"utterancelevel_feature_extractor.{outer[part]}.{rest}"] = tensor
    return renamed


def assert_close(ours, theirs, within=1e-5):
    """To a fraction of the largest."""
    assert ours.shape == theirs.shape
    assert float((ours - theirs).detach().abs().max()) <= within * float(theirs.detach().abs().max())


def assert_same_step(head, frames, lengths, within):
    """Cosines, embeddings, loss, and the gradients of all parameters and of the frames."""
    theirs, targets = Theirs(head), torch.arange(len(frames)) % SPEAKERS
    ours, expected = frames.clone().requires_grad_(), frames.clone().requires_grad_()
    cosines, kept = head(ours, lengths)
    vectors = theirs.vectors(expected, lengths)
    assert torch.equal(kept, lengths)
    assert_close(cosines, functional.normalize(vectors) @ functional.normalize(theirs.objective.W, dim=0), within)
    assert_close(head.answer(frames, lengths)[0], theirs.embeddings(frames, lengths), within)

    loss = am_softmax_losses(cosines, kept, targets, SCALE, MARGIN).mean()
    their_loss = theirs.objective(vectors, targets)
    assert loss.item() == pytest.approx(their_loss.item(), rel=within)
    loss.backward()
    their_loss.backward()
    assert_close(ours.grad, expected.grad, within)
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    renamed = {f"model.{their}": gradient for their, gradient in their_names(gradients).items()}
    renamed |= {"objective.W": gradients["speakers"]}
    renamed |= {name: gradients[name] for name in ("connector.weight", "connector.bias")}
    assert renamed.keys() == dict(theirs.named_parameters()).keys()
    for name, parameter in theirs.named_parameters():
        assert_close(renamed[name], parameter.grad, within)


@dims
@pytest.mark.parametrize("frames", [16, 17, 39, 64])
def test_the_head_is_that_of_s3prl(dim, frames):
    assert_same_step(make_head(dim).double(), *make_batch([frames] * 3, dim, torch.float64), within=1e-12)


@dims
def test_the_head_is_that_of_s3prl_in_float32(dim):
    assert_same_step(make_head(dim), *make_batch([39, 39, 39], dim), within=1e-5)


@pytest.mark.parametrize("dim", [240, 768])
def test_in_full_size_too(dim):
    """Gradients in float64 alone: in float32 a rounding sometimes decides whether a ReLU is open in one frame."""
    head, (frames, lengths) = make_head(dim, width=512, wide=1500), make_batch([61, 61], dim)
    theirs = Theirs(head)
    with torch.no_grad():
        assert_close(head.answer(frames, lengths)[0], theirs.embeddings(frames, lengths), within=5e-6)
        vectors = functional.normalize(theirs.vectors(frames, lengths))
        assert_close(head(frames, lengths)[0], vectors @ functional.normalize(theirs.objective.W, dim=0), within=5e-6)
    assert_same_step(head.double(), frames.double(), lengths, within=1e-12)


@dims
def test_of_padded_utterances_the_vectors_are_those_of_s3prl_but_for_the_frame_it_pools_too_many(dim):
    head, (frames, lengths) = make_head(dim).double(), make_batch([90, 40, 61, 25], dim, torch.float64)
    theirs, ours = Theirs(head), head.answer(frames, lengths)[0].detach()
    with torch.no_grad():
        theirs_right, theirs_off = (theirs.embeddings(frames, lengths, fewer=fewer) for fewer in (1, 0))
    assert_close(ours[1:], theirs_right[1:], within=1e-12)
    assert_close(ours[0], theirs_off[0], within=1e-12)  # the longest, which has no padding
    assert ((theirs_off - ours)[1:].norm(dim=1) > 1e-5).all()


@dims
def test_an_utterance_gets_the_same_alone_and_in_a_batch_whatever_lies_past_its_end(dim):
    head, (frames, lengths) = make_head(dim), make_batch([90, 40, 61, 15], dim, past=float("nan"))
    for run in (head, head.answer):
        together, _ = run(frames, lengths)
        for number, length in enumerate(lengths):
            alone, _ = run(frames[number : number + 1, :length], lengths[number : number + 1])
            torch.testing.assert_close(together[number], alone[0], rtol=0, atol=1e-6)


@dims
def test_gradients_of_a_batch_are_the_sum_of_those_of_its_utterances(dim):
    head, (frames, lengths) = make_head(dim), make_batch([90, 40, 61, 15], dim, past=float("nan"))

    def gradients(rows):
        head.zero_grad()
        cosines, _ = head(frames[rows].requires_grad_(), lengths[rows])
        am_softmax_losses(cosines, lengths[rows], torch.arange(4)[rows], SCALE, MARGIN).sum().backward()
        return {name: parameter.grad for name, parameter in head.named_parameters()}

    together, alone = gradients(slice(0, 4)), [gradients(slice(n, n + 1)) for n in range(4)]
    for name, gradient in together.items():
        assert_close(gradient, sum(one[name] for one in alone))


def test_nothing_flows_back_to_the_padding():
    head, (frames, lengths) = make_head(), make_batch([40, 25])
    head(frames.requires_grad_(), lengths)[0].sum().backward()
    assert not frames.grad[1, 25:].any()
    assert frames.grad[1, :25].any(dim=1).all()


def test_two_threads_find_what_one_does():
    def step(threads):
        head, (frames, lengths) = make_head(), make_batch([90, 40, 61])
        torch.set_num_threads(threads)
        cosines, _ = head(frames, lengths)
        cosines.square().sum().backward()
        assert torch.get_num_threads() == threads
        return [cosines.detach(), *(parameter.grad for parameter in head.parameters())]

    before = torch.get_num_threads()
    try:
        for one, two in zip(step(1), step(2), strict=True):
            assert_close(two, one)
    finally:
        torch.set_num_threads(before)


def test_frames_may_lie_in_memory_in_any_order():
    head, (frames, lengths) = make_head(), make_batch([36, 32])  # of which the first layer completes nothing
    turned = frames.transpose(1, 2).contiguous().transpose(1, 2)
    assert not turned.is_contiguous()
    torch.testing.assert_close(head(turned, lengths), head(frames, lengths))


@pytest.mark.parametrize("frames", [15, 40])
def test_outputs_that_never_change_have_a_gradient(frames):
    head, (values, lengths) = make_head(), make_batch([frames, frames])
    with torch.no_grad():
        head.layers[4].bias[::2] = -100.0  # below zero in every frame
    cosines, _ = head(values.requires_grad_(), lengths)
    cosines.square().sum().backward()
    for tensor in (cosines, values.grad, *(parameter.grad for parameter in head.parameters())):
        assert tensor.isfinite().all()
        assert tensor.any()


def test_an_utterance_that_the_layers_swallow_whole_is_refused():
    assert XVector.least_frames == 15
    with pytest.raises(ValueError, match=r"14 frames.*at least 15"):
        make_head()(*make_batch([40, 14]))


def test_a_step_does_not_depend_on_random_numbers_and_evaluation_finds_the_same():
    head, batch = make_head(), make_batch([40, 25])
    with torch.no_grad():
        still = head(*batch)[0]
    torch.testing.assert_close(head(*batch, torch.Generator().manual_seed(0))[0], still, rtol=0, atol=0)


def test_the_loss_stays_a_number_where_that_of_s3prl_overflows():
    theirs = import_s3prl("s3prl.downstream.sv_voxceleb1.model").AMSoftmaxLoss(WIDTH, SPEAKERS, s=1000.0, m=MARGIN)
    random = torch.Generator().manual_seed(0)
    vectors, targets = torch.randn(5, WIDTH, generator=random), torch.tensor([0, 6, 3, 3, 1])
    cosines = functional.normalize(vectors) @ functional.normalize(theirs.W.detach(), dim=0)
    lengths = torch.full((5,), 20)
    assert not theirs(vectors, targets).isfinite()
    losses = am_softmax_losses(cosines, lengths, targets, 1000.0, MARGIN)
    expected = theirs.double()(vectors.double(), targets)  # which overflows later
    assert losses.mean().item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_loss_is_that_of_each_utterance():
    theirs = import_s3prl("s3prl.downstream.sv_voxceleb1.model").AMSoftmaxLoss(WIDTH, SPEAKERS, s=SCALE, m=MARGIN)
    random = torch.Generator().manual_seed(0)
    vectors, targets = torch.randn(5, WIDTH, generator=random), torch.tensor([0, 6, 3, 3, 1])
    cosines = functional.normalize(vectors) @ functional.normalize(theirs.W.detach(), dim=0)
    losses = am_softmax_losses(cosines, torch.full((5,), 20), targets, SCALE, MARGIN)
    expected = torch.stack([theirs(vectors[n : n + 1], targets[n : n + 1]) for n in range(5)])
    torch.testing.assert_close(losses, expected.detach())


def test_the_start_is_drawn_from_the_generator_alone():
    first, again, other = (make_head(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_the_start_is_spread_as_s3prl_spreads_it():
    head = make_head(60, width=80, wide=200)
    expected = Theirs(head)
    for part in expected.modules():
        if isinstance(part, nn.Linear):
            part.reset_parameters()
    spread = {name: tensor.abs() for name, tensor in expected.model.state_dict().items() if name.endswith("weight")}
    ours = their_names(head.state_dict())
    for name, tensor in spread.items():
        assert float(ours[name].abs().max()) == pytest.approx(float(tensor.max()), rel=0.05)
        assert float(ours[name].abs().mean()) == pytest.approx(float(tensor.mean()), rel=0.05)
    module = import_s3prl("s3prl.downstream.sv_voxceleb1.model")
    assert head.speakers.std().item() == pytest.approx(module.AMSoftmaxLoss(80, SPEAKERS).W.std().item(), rel=0.2)
