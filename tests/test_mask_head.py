"""The mask head, its loss and what is separated with it against s3prl's SS and SE, with the same weights."""

import sys
import warnings
from collections import defaultdict
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import scipy.signal
import torch
from oracles import import_s3prl
from torch.nn.utils.rnn import pack_sequence

from downstream.fit.mask_head import MaskLSTM, mask_losses
from downstream.fit.spectra import WINDOW, opened, separated, without_click

DIM, HIDDEN = 7, 16
SAMPLES = [9600, 16250, 4000, 6700]  # with a hop of 320 the last frame of the second and the last ends early
HOPS = [320, 160]
TASKS = ["separation_stft", "enhancement_stft"]
hops = pytest.mark.parametrize("hop", HOPS)
tasks = pytest.mark.parametrize("name", TASKS)


@pytest.fixture(scope="module")
def s3prl_tasks():
    """s3prl's two tasks. Stand-ins take the place of what they import: of librosa's way back to a wave, scipy's.

    Nothing of that is left for other tests, nor anything of theirs used.
    """
    stand_ins = {
        "asteroid": {},
        "asteroid.losses": {"PITLossWrapper": None},
        "asteroid.metrics": {"get_metrics": None},
        "h5py": {},
        "librosa": {"istft": scipy_istft},
    }
    before = put_aside(stand_ins)
    for name, members in stand_ins.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)
    tasks = {}
    for name in TASKS:
        expert, loss = (import_s3prl(f"s3prl.downstream.{name}.{part}") for part in ("expert", "loss"))
        expert.device = loss.device = torch.device("cpu")
        tasks[name] = SimpleNamespace(expert=expert, loss=loss, sources={"s": 2, "e": 1}[name[0]])
    yield tasks
    put_aside(stand_ins)
    sys.modules.update(before)


def put_aside(stand_ins):
    """What is imported of the tasks and of what they import, removed from the imported modules."""
    ours = tuple(f"s3prl.downstream.{name}." for name in TASKS)
    names = [name for name in sys.modules if name in stand_ins or name.startswith(ours)]
    return {name: sys.modules.pop(name) for name in names}


def scipy_istft(spectrum, hop_length, win_length, window, center, length):
    assert center
    shape = {"nperseg": win_length, "noverlap": win_length - hop_length, "window": window}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the window is zero at the very first sample, which is cut off
        _, wave = scipy.signal.istft(spectrum.astype(complex), **shape, boundary=False, scaling="spectrum")
    wave = wave[win_length // 2 :][:length] / (win_length // 2)
    return np.pad(wave, (0, length - len(wave))).astype(np.float32)


def make_head(sources=2, dropout=0.0, layers=3, seed=0):
    head = MaskLSTM(DIM, HIDDEN, layers, dropout, sources)
    head.reset(torch.Generator().manual_seed(seed))
    return head


def make_waves(samples, sources, seed=0):
    """A mixture of sources that come and go, with noise where there is one alone."""
    random = np.random.default_rng(seed)
    waves = [random.normal(scale=0.1, size=samples) * (random.random(samples // 800 + 1) > 0.3).repeat(800)[:samples]]
    waves += [random.normal(scale=0.05, size=samples)]
    waves = [torch.from_numpy(wave.astype(np.float32)) for wave in waves]
    return sum(waves), waves[:sources]


def make_batch(hop, sources, seed=0):
    """Frames with numbers in the padding too, which nothing may depend on, and the mixtures they are of."""
    mixtures = [opened(*make_waves(samples, sources, seed=samples), hop) for samples in SAMPLES]
    lengths = torch.tensor([len(mixture.spectrum) for mixture in mixtures])
    frames = torch.randn(len(SAMPLES), int(lengths.max()) + 2, DIM, generator=torch.Generator().manual_seed(seed))
    return frames, lengths, mixtures


def their_names(state):
    """What s3prl's SepRNN calls the same tensors."""
    renamed = {}
    for name, tensor in state.items():
        part, number, parameter = name.split(".")
        if part == "layers":
            stem = parameter.removesuffix("_reverse").removesuffix("_l0")
            renamed[f"rnn.{stem}_l{number}{'_reverse' * parameter.endswith('_reverse')}"] = tensor
        else:
            renamed[f"linear.{number}.{parameter}"] = tensor
    return renamed


def their_task(task, head, hop):
    """s3prl's expert around our weights, without its loaders."""
    expert = task.expert.DownstreamExpert.__new__(task.expert.DownstreamExpert)
    torch.nn.Module.__init__(expert)
    expert.model = task.expert.SepRNN(DIM, 257, num_spks=task.sources, hidden_size=HIDDEN, dropout=0.0)
    expert.model.load_state_dict(their_names(head.state_dict()))
    expert.objective, expert.loss_type, expert.upstream_rate = task.loss.MSELoss(task.sources, "NPSM"), "MSE", hop
    expert.datarc = {"win_length": WINDOW, "window": "hann", "center": True, "rate": 16000}
    return expert


def their_inputs(task, frames, lengths, mixtures, hop):
    """One batch as s3prl's own collation makes it of waves and spectra, in its order: longest first."""
    made = []
    for number, mixture in enumerate(mixtures):
        spectra = [opened(source, [], hop).spectrum.numpy() for source in mixture.sources]
        waves = [source.numpy() for source in mixture.sources]
        made.append((number, mixture.wave.numpy(), mixture.spectrum.numpy(), waves, spectra))
    collate = import_s3prl(task.expert.SeparationDataset.__module__).SeparationDataset.collate_fn
    _, order, *rest = collate(SimpleNamespace(n_srcs=task.sources), made)
    return [frames[number, : lengths[number]] for number in order], order, *rest


def assert_close(ours, theirs, tolerance=1e-5):
    off = (ours - theirs).detach().abs().max()
    assert float(off) <= tolerance * float(theirs.detach().abs().max())


@tasks
@hops
def test_masks_loss_and_all_gradients_are_those_of_s3prl(s3prl_tasks, name, hop):
    task = s3prl_tasks[name]
    head, (frames, lengths, mixtures) = make_head(task.sources), make_batch(hop, task.sources)
    theirs = their_task(task, head, hop)
    ours, expected = frames.clone().requires_grad_(), frames.clone().requires_grad_()

    inputs = their_inputs(task, expected, lengths, mixtures, hop)
    their_masks = theirs.model(pack_sequence(inputs[0]))
    their_loss = theirs("train", *inputs, records=defaultdict(list))
    masks, kept = head(ours, lengths)
    loss = mask_losses(masks, kept, mixtures).mean()

    assert torch.equal(kept, lengths)
    for place, number in enumerate(inputs[1]):
        for source, mask in enumerate(their_masks):
            length = lengths[number]
            assert_close(masks[number, :length, source], mask[place, :length])
    assert loss.item() == pytest.approx(their_loss.item(), rel=1e-6)
    loss.backward()
    their_loss.backward()
    assert_close(ours.grad, expected.grad)
    gradients = their_names({name: parameter.grad for name, parameter in head.named_parameters()})
    expected_gradients = {name: parameter.grad for name, parameter in theirs.model.named_parameters()}
    assert gradients.keys() == expected_gradients.keys()
    for parameter, gradient in expected_gradients.items():
        assert_close(gradients[parameter], gradient)


@tasks
@hops
def test_what_is_separated_is_what_s3prl_scores(s3prl_tasks, name, hop, monkeypatch, capsys):
    task = s3prl_tasks[name]
    head, (frames, lengths, mixtures) = make_head(task.sources), make_batch(hop, task.sources)
    theirs, seen = their_task(task, head, hop), []

    def get_metrics(mixture, references, estimates, **_):
        seen.append(estimates)
        return defaultdict(float, {key: 0.0 for m in ("si_sdr", "stoi", "pesq") for key in (m, f"input_{m}")})

    monkeypatch.setattr(task.expert, "get_metrics", get_metrics)
    for number, mixture in enumerate(mixtures):
        own = slice(number, number + 1)
        inputs = their_inputs(task, frames[own], lengths[own], [mixture], hop)
        theirs("dev", *inputs, records=defaultdict(list), batch_id=1)
        masks, _ = head(frames[own, : lengths[number]], lengths[own])
        found = separated(masks[0], mixture, hop)
        assert found.dtype == np.float32
        assert found.shape == (task.sources, SAMPLES[number])
        assert_close(torch.from_numpy(found), torch.from_numpy(seen[number]), 1e-6)
        assert np.array_equal(found == 0, seen[number] == 0)
    assert "Set from" in capsys.readouterr().out  # so s3prl says where it cuts an end off


@tasks
def test_a_click_at_the_end_is_cut_off_as_in_s3prl(s3prl_tasks, name, capsys):
    postprocess = s3prl_tasks[name].expert.postprocess
    random, cut = np.random.default_rng(0), 0
    for samples in (513, 1000, 4000):
        for _ in range(100):
            wave = random.normal(scale=0.1, size=samples).astype(np.float32)
            wave[max(samples - int(random.choice([0, 1, 700, 2047, 2048, 2049])), 1) :] = 0
            place = int(random.integers(samples))
            wave[place : place + int(random.integers(1, 40))] *= random.choice([0.1, 1, 5])
            found = without_click(wave.copy())
            assert np.array_equal(found, postprocess(wave))
            cut += not np.array_equal(found, wave)
    assert cut > 20
    capsys.readouterr()  # it prints


@pytest.mark.parametrize("wave", [np.zeros(4000), np.zeros(0), np.ones(1), np.ones(512)], ids=len)
def test_silence_and_what_is_too_short_stay_as_they_are(wave):
    assert np.array_equal(without_click(wave), wave)


def test_masks_that_take_everything_away_leave_silence():
    mixture = opened(*make_waves(4000, 2), 320)
    assert not separated(torch.zeros(13, 2, 257), mixture, 320).any()


def test_masks_that_take_nothing_away_leave_the_mixture():
    mixture = opened(*make_waves(4000, 2), 160)
    found = separated(torch.ones(26, 2, 257), mixture, 160)
    assert_close(torch.from_numpy(found), mixture.wave.expand(2, -1))


@hops
def test_sources_in_any_order_cost_the_same(hop):
    _, lengths, mixtures = make_batch(hop, 2)
    other = [opened(mixture.wave, mixture.sources[::-1], hop) for mixture in mixtures]
    masks = torch.rand(4, int(lengths.max()), 2, 257, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mask_losses(masks, lengths, mixtures), mask_losses(masks, lengths, other))


@hops
def test_the_masks_that_are_wanted_cost_nothing(hop):
    mixture = opened(*make_waves(4000, 2), hop)
    perfect = (mixture.wanted / mixture.spectrum.abs()).transpose(0, 1)
    lengths = torch.tensor([len(perfect)])
    assert float(mask_losses(perfect.flip(1)[None], lengths, [mixture])) < 1e-8
    assert float(mask_losses(torch.ones_like(perfect)[None], lengths, [mixture])) > 1


def test_nothing_past_a_length_matters():
    head, (frames, lengths, mixtures) = make_head(), make_batch(320, 2)
    masks, _ = head(frames, lengths)
    losses = mask_losses(masks, lengths, mixtures)
    for number, length in enumerate(lengths.tolist()):
        own = slice(number, number + 1)
        alone, _ = head(frames[own, :length], lengths[own])
        torch.testing.assert_close(alone[0], masks[number, :length])
        torch.testing.assert_close(mask_losses(alone, lengths[own], mixtures[own])[0], losses[number])


def test_masks_of_other_frames_than_the_spectrum_has_are_refused():
    mixture = opened(*make_waves(4000, 2), 320)
    with pytest.raises(ValueError, match=r"\[13\] frames, but the masks \[12\]"):
        mask_losses(torch.zeros(1, 13, 2, 257), torch.tensor([12]), [mixture])


def test_half_is_dropped_after_every_layer_and_the_mean_is_kept(monkeypatch):
    head, seen = make_head(dropout=0.5), []
    for layer in head.layers:
        monkeypatch.setattr(layer, "forward", lambda frames, _: seen.append(frames) or torch.ones(2, 400, 2 * HIDDEN))
    for mask in head.masks:
        mask.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    frames = torch.rand(2, 400, DIM)
    head(frames, torch.tensor([400, 400]), torch.Generator().manual_seed(0))
    heard, *dropped = seen
    assert torch.equal(heard, frames)
    assert len(dropped) == 4  # into the second and third layer, and into the masks of both sources
    for values in dropped:
        assert values.unique().tolist() == [0, 2]
        assert float((values == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert torch.equal(dropped[2], dropped[3])
    assert not torch.equal(dropped[0], dropped[1])


def test_a_training_step_can_be_taken_again_from_its_seed():
    head, (frames, lengths, _) = make_head(dropout=0.5), make_batch(320, 2)

    def masks(seed):
        torch.rand(1)  # what else draws random numbers does not matter
        return head(frames, lengths, torch.Generator().manual_seed(seed))[0]

    assert torch.equal(masks(3), masks(3))
    assert not torch.equal(masks(3), masks(4))
    assert torch.equal(head(frames, lengths)[0], make_head()(frames, lengths)[0])  # nothing is dropped without one


def test_masks_are_never_negative():
    head, (frames, lengths, _) = make_head(), make_batch(320, 2)
    masks, _ = head(frames, lengths)
    assert masks.shape == (4, frames.shape[1], 2, 257)
    assert (masks >= 0).all()
    assert (masks == 0).any()


def test_the_published_size_is_the_default():
    head = MaskLSTM(8)
    shapes = {name: tuple(tensor.shape) for name, tensor in head.named_parameters()}
    assert len(head.layers) == 3
    assert shapes["layers.2.weight_hh_l0"] == (4 * 896, 896)
    assert shapes["layers.2.weight_ih_l0_reverse"] == (4 * 896, 2 * 896)
    assert shapes["masks.1.weight"] == (257, 2 * 896)
