"""CTC heads trained side by side, against torch's own modules, loss, clipping and Adam, one head at a time."""

from itertools import groupby

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from downstream.fit.ctc import frames_needed
from downstream.fit.ctc_grid import CtcGrid, _collapsed, ctc_losses
from downstream.fit.sampling import Draw
from downstream.fit.sequence_grid import _AUGMENT, _DROPOUT
from downstream.fit.sequence_heads import FrameLinear, Recurrent
from downstream.fit.specaugment import SpecAugment
from downstream.represent.frame_features import FrameBatch

DIM, PROJECTOR, HIDDEN, CLASSES = 6, 8, 5, 7
NO_CLIP = 100.0
RATES = (1e-3, 3e-2)
CLIP = 0.1  # which every gradient here is longer than
CPU = torch.device("cpu")
AUGMENT = SpecAugment(time_warp=2, freq_masks=1, freq_width=3, time_masks=2, time_width=4)
STEPS = 5


def linear():
    return FrameLinear(DIM, PROJECTOR, CLASSES)


def recurrent(dropout=0.0, project=False, every=1):
    return lambda: Recurrent(DIM, PROJECTOR, HIDDEN, 2, dropout, project, every, CLASSES)


def make_grid(make=linear, layers=3, rates=RATES, augment=None, seed=4, clip=CLIP):
    return CtcGrid(layers, make, rates, clip, seed, CPU, 160, augment)


def make_step(number, sizes=(3, 2), layers=3, dtype=torch.float16):
    """A batch, its targets and its draw. One target in each step is longer than its frames can hold."""
    random = torch.Generator().manual_seed(number)
    count = sum(sizes)
    lengths = torch.randint(12, 30, (count,), generator=random).tolist()
    values = [torch.randn(layers, length, DIM, generator=random).to(dtype) for length in lengths]
    scales = torch.ldexp(torch.ones(count, layers), torch.randint(-1, 2, (count, layers), generator=random))
    targets = [torch.randint(1, CLASSES, (2 + i % 4,), generator=random) for i in range(count)]
    targets[number % count] = torch.full((lengths[number % count],), 3)  # all equal: each needs a blank as well
    weights = np.concatenate([np.full(size, 1 / size / len(sizes), dtype=np.float32) for size in sizes])
    draw = Draw(number, np.arange(count), weights, np.full(count, -1), list(sizes))
    return FrameBatch(values, scales, 160 * torch.tensor(lengths)), targets, draw


class Plain(nn.Module):
    """The same head of torch's modules alone."""

    def __init__(self, grid):
        super().__init__()
        start = grid.head(0)
        recurrent = isinstance(start.head, Recurrent)
        self.weights = nn.Parameter(start.weights.detach().clone())
        self.projector = nn.Linear(DIM, PROJECTOR)
        last = 2 * HIDDEN if recurrent else PROJECTOR
        sizes = (PROJECTOR, last) if recurrent else ()
        self.layers = nn.ModuleList(nn.LSTM(s, HIDDEN, batch_first=True, bidirectional=True) for s in sizes)
        self.classifier = nn.Linear(last, CLASSES)
        own = {f"head.{name}": p for name, p in self.named_parameters() if name != "weights"}
        theirs = dict(start.named_parameters())
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(theirs.pop(name))
        assert list(theirs) == ["weights"]

    def forward(self, states, lengths, augment, dropout, noise):
        frames = torch.stack([(one * self.weights.softmax(0)[:, None, None]).sum(0) for one in states])
        if augment is not None:
            frames = AUGMENT.apply(frames, lengths, augment)
        found = self.projector(frames)
        for layer in self.layers:
            packed = pack_padded_sequence(found, lengths, batch_first=True, enforce_sorted=False)
            found = pad_packed_sequence(layer(packed)[0], batch_first=True)[0]
            if dropout:
                found = found * (torch.rand(found.shape, generator=noise) >= dropout) / (1 - dropout)
        return self.classifier(found)


def plain_training(grid, rate, clip, steps, dropout, augmented):
    """SUPERB's loop with torch's parts. Chance decides what it decides in the grid."""
    model = Plain(grid)
    adam = torch.optim.Adam([p for p in model.parameters() if p is not model.weights or len(p) > 1], lr=rate)
    criterion = nn.CTCLoss(blank=0, zero_infinity=True)
    losses, norms = [], []
    for batch, targets, draw in steps:
        first, total = 0, 0.0
        for micro, size in enumerate(draw.sizes):
            part, own = batch.part(first, first + size), targets[first : first + size]
            states = [v.float() * s[:, None, None] for v, s in zip(part.values, part.scales, strict=True)]
            padded = pad_sequence([one.transpose(0, 1) for one in states], batch_first=True).transpose(1, 2)
            lengths = torch.tensor([one.shape[1] for one in states])
            draws = None
            if augmented:
                draws = AUGMENT.draw(lengths, DIM, grid._random(_AUGMENT, draw.step, micro, CPU))
            logits = model(padded, lengths, draws, dropout, grid._random(_DROPOUT, draw.step, micro, CPU))
            log_probs = logits.log_softmax(-1).transpose(0, 1)
            sizes = torch.tensor([len(target) for target in own])
            loss = criterion(log_probs, pad_sequence(own, batch_first=True), lengths, sizes) / len(draw.sizes)
            loss.backward()
            total += loss.item()
            first += size
        norms.append(nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], clip))
        adam.step()
        adam.zero_grad()
        losses.append(total)
    assert min(norms) > CLIP
    assert max(norms) < NO_CLIP
    return model, losses


def now(grid, point):
    return {name[4:]: value for name, value in grid._points[point].tensors().items() if name.startswith("now.")}


def copied(grid):
    return {name: value.clone() for name, value in grid.state().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("make", "dropout", "augmented", "layers", "clip"),
    [
        (linear, 0.0, False, 3, CLIP),
        (linear, 0.0, False, 1, CLIP),
        (linear, 0.0, True, 3, NO_CLIP),
        (recurrent(), 0.0, False, 3, CLIP),
        (recurrent(), 0.0, True, 1, NO_CLIP),
        (recurrent(0.2), 0.2, False, 1, CLIP),
        (recurrent(0.2), 0.2, True, 3, CLIP),
    ],
)
def test_every_point_learns_as_with_torchs_own_parts(make, dropout, augmented, layers, clip):
    grid = make_grid(make, layers, augment=AUGMENT if augmented else None, clip=clip)
    steps = [make_step(number, sizes, layers) for number, sizes in enumerate([(3, 2), (4,), (1, 3), (2, 2), (2, 3)])]
    expected = [plain_training(grid, rate, clip, steps, dropout, augmented) for rate in RATES]
    losses = torch.stack([grid.step(*step) for step in steps])
    for point, (model, their_losses) in enumerate(expected):
        assert torch.allclose(losses[:, point], torch.tensor(their_losses), rtol=1e-5, atol=1e-5)
        theirs = {name if name == "weights" else f"head.{name}": p for name, p in model.named_parameters()}
        mine = now(grid, point)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert torch.allclose(value, theirs[name], rtol=1e-5, atol=1e-5), name
    if layers > 1:
        assert (now(grid, 1)["weights"].abs() > 0.001).all()  # they were learned
    else:
        assert now(grid, 1)["weights"].tolist() == [0]


@pytest.mark.parametrize("make", [linear, recurrent(0.2, True, 2)])
@pytest.mark.parametrize("layers", [1, 3])
def test_two_points_learn_together_what_each_learns_alone(make, layers):
    together = make_grid(make, layers, augment=AUGMENT)
    alone = [make_grid(make, layers, [rate], AUGMENT) for rate in RATES]
    for number in range(STEPS):
        losses = together.step(*make_step(number, layers=layers))
        single = torch.cat([grid.step(*make_step(number, layers=layers)) for grid in alone])
        assert torch.allclose(losses, single, rtol=1e-6)
    for point, grid in enumerate(alone):
        for name, value in now(grid, 0).items():
            assert torch.allclose(value, now(together, point)[name], atol=1e-6), name
    assert not torch.allclose(now(together, 0)["head.projector.weight"], now(together, 1)["head.projector.weight"])


def test_a_gradient_that_is_no_number_skips_the_step_of_its_point_alone():
    grid, alone = make_grid(), make_grid(rates=RATES[1:])
    grid._points[0].model.head.classifier.bias.data[2] = torch.inf
    before = {name: value.clone() for name, value in grid._points[0].tensors().items()}
    losses = grid.step(*make_step(0))
    expected = alone.step(*make_step(0))
    assert losses[0].isnan()
    assert torch.allclose(losses[1:], expected)
    assert same(grid._points[0].tensors(), before)
    assert grid._points[1].steps[0] == 1
    for name, value in now(alone, 0).items():
        assert torch.allclose(value, now(grid, 1)[name], atol=1e-7), name


def test_after_a_step_that_was_skipped_a_point_goes_on():
    """What was no number is not left in the gradients."""
    grid, clean = make_grid(), make_grid()
    batch, targets, draw = make_step(0)
    broken = FrameBatch([torch.full_like(value, torch.nan) for value in batch.values], batch.scales, batch.samples)
    assert grid.step(broken, targets, draw).isnan().all()
    assert torch.equal(grid.step(*make_step(1)), clean.step(*make_step(1)))
    assert same(grid.state(), clean.state())


def test_an_utterance_too_short_for_its_target_counts_as_zero_among_the_others():
    batch, targets, draw = make_step(0, sizes=(4,))  # the first one is
    grid, others = make_grid(), make_grid()
    assert frames_needed(targets[0].tolist()) > batch.lengths[0]
    loss = grid.step(batch, targets, draw)
    rest = Draw(0, draw.rows[1:], draw.weights[1:], draw.starts[1:], [3])
    assert torch.allclose(others.step(batch.part(1, 4), targets[1:], rest), loss)
    assert loss.isfinite().all()
    for point in range(2):
        for name, value in now(grid, point).items():
            assert torch.allclose(value, now(others, point)[name], atol=1e-6), name


def test_a_step_of_utterances_that_are_all_too_short_moves_nothing():
    batch, targets, draw = make_step(0, sizes=(1,))
    grid = make_grid()
    before = {name: value.clone() for name, value in now(grid, 1).items()}
    assert grid.step(batch, targets, draw).tolist() == [0, 0]
    assert same(now(grid, 1), before)


def test_losses_are_torchs_by_target_length():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 9, CLASSES, generator=random)
    lengths = torch.tensor([9, 5, 4, 9])
    targets = [torch.tensor(target) for target in ([1, 2, 3], [4, 4, 4], [4, 4, 4], [5])]
    found = ctc_losses(logits, lengths, targets)
    for number, target in enumerate(targets):
        log_probs = logits[number, : lengths[number]].log_softmax(-1)
        one = nn.functional.ctc_loss(log_probs, target, lengths[number], torch.tensor(len(target)), reduction="sum")
        assert one.isinf() == (frames_needed(target.tolist()) > lengths[number])
        assert torch.allclose(found[number], torch.nan_to_num(one, posinf=0) / len(target))
    assert found[2] == 0
    assert (found[[0, 1, 3]] > 0).all()


@pytest.mark.parametrize("make", [linear, recurrent(0.2)])
def test_a_grid_continues_from_its_state_to_the_same_bytes(make):
    grid = make_grid(make, augment=AUGMENT)
    for number in range(2):
        grid.step(*make_step(number))
    grid.keep(1)
    state = copied(grid)
    expected = torch.stack([grid.step(*make_step(number)) for number in range(2, STEPS)])
    other = make_grid(make, augment=AUGMENT)
    other.step(*make_step(7))
    other.keep(0)
    other.outputs(make_step(0)[0], best=True)  # whatever it remembers of its own best is to be forgotten
    other.restore(state)
    found = torch.stack([other.step(*make_step(number)) for number in range(2, STEPS)])
    assert torch.equal(found, expected)
    assert same(other.state(), grid.state())
    batch = make_step(0)[0]
    assert [[o.tolist() for o in one] for one in other.outputs(batch, True)] == [
        [o.tolist() for o in one] for one in grid.outputs(batch, True)
    ]


def test_a_state_of_another_shape_is_refused():
    state = make_grid().state()
    for other in (make_grid(layers=2), make_grid(rates=RATES[:1]), make_grid(recurrent())):
        with pytest.raises(ValueError, match="another shape"):
            other.restore(state)


def test_the_best_head_is_the_one_that_was_kept():
    grid = make_grid()
    start = copied(make_grid())
    batch = make_step(9)[0]

    def likely(best):
        return [torch.cat(one) for one in grid.outputs(batch, best)]

    first = likely(True)
    assert all(torch.equal(a, b) for a, b in zip(first, likely(False), strict=True))
    for number in range(3):
        grid.step(*make_step(number))
    assert all(torch.equal(a, b) for a, b in zip(first, likely(True), strict=True))
    assert not torch.allclose(first[1], likely(False)[1])
    assert same(dict(grid.head(0).state_dict()), {n[6:]: v for n, v in start.items() if n.startswith("0.now")})
    assert grid.layer_weights(1) == pytest.approx([1 / 3] * 3)
    grid.keep(1)
    assert torch.equal(likely(True)[0], first[0])
    assert torch.equal(likely(True)[1], likely(False)[1])
    kept = now(grid, 1)["weights"].double().softmax(-1).tolist()
    assert grid.layer_weights(1) == kept != grid.layer_weights(0)
    grid.step(*make_step(3))
    assert grid.layer_weights(1) == kept
    assert not torch.equal(likely(True)[1], likely(False)[1])
    only = grid.outputs(batch, True, points=[1])[0]
    assert torch.equal(torch.cat(only), likely(True)[1])


@pytest.mark.parametrize("every", [1, 2])
def test_what_a_head_says_of_an_utterance_does_not_depend_on_its_company(every):
    """And nothing of training is in it: no dropout, no augmentation."""
    grid = make_grid(recurrent(0.5, True, every), augment=AUGMENT)
    batch = make_step(0)[0]
    together = grid.outputs(batch, best=False)[0]
    for number, length in enumerate(batch.lengths.tolist()):
        [alone] = grid.outputs(batch.part(number, number + 1), best=False)[0]
        assert alone.shape == (length // every, CLASSES)
        assert torch.allclose(alone, together[number], atol=1e-5)


def test_greedy_leaves_out_repetitions_then_blanks():
    grid = make_grid()
    for number in range(30):
        grid.step(*make_step(number))
    batch = make_step(3)[0]
    for best in (True, False):
        found = grid.greedy(batch, best)
        expected = [
            [[key for key, _ in groupby(one.argmax(-1).tolist()) if key != 0] for one in point]
            for point in grid.outputs(batch, best)
        ]
        assert found == expected
    frames = torch.nn.functional.one_hot(torch.tensor([0, 3, 3, 0, 3, 5, 5, 1, 0, 0]), CLASSES).float()
    assert _collapsed(frames) == [3, 3, 5, 1]
    assert _collapsed(frames[:1]) == []


@pytest.mark.parametrize("make", [linear, recurrent(0.2)])
def test_points_on_threads_of_their_own_learn_the_same_bytes(make):
    states = []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            grid = make_grid(make, rates=(1e-3, 1e-2, 3e-2), augment=AUGMENT)
            for number in range(STEPS):
                grid.step(*make_step(number))
            states.append(copied(grid))
            assert torch.get_num_threads() == count
        finally:
            torch.set_num_threads(1)
    assert same(*states)


def test_chance_is_another_in_every_step_micro_batch_and_seed():
    """But the same for all points, and when a step is taken again."""
    grid, again, other = make_grid(), make_grid(), make_grid(seed=5)

    def seeded(grid, place=(_DROPOUT, 3, 1)):
        return grid._random(*place, CPU).initial_seed()

    places = [(stream, step, micro) for stream in (_AUGMENT, _DROPOUT) for step in range(4) for micro in range(2)]
    assert len({seeded(grid, place) for place in places}) == len(places)
    assert seeded(grid) == seeded(again) != seeded(other)


def test_heads_start_alike_and_from_their_seed():
    grid = make_grid(recurrent())
    assert same(now(grid, 0), now(grid, 1))
    assert same(now(grid, 0), now(make_grid(recurrent(), rates=[1.0]), 0))
    other = now(make_grid(recurrent(), seed=5), 0)
    assert not torch.equal(now(grid, 0)["head.projector.weight"], other["head.projector.weight"])
