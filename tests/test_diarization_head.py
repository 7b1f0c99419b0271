"""The diarization head, its loss and its accuracy against s3prl's, with the same weights on the same chunks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles import import_s3prl
from torch.nn.utils.rnn import pad_sequence

from downstream.fit.diarization_head import FrameLSTM, activity, activity_losses, frame_accuracy
from downstream.fit.permutations import assigned

DIM, HIDDEN, CHUNK = 7, 16, 15
LENGTHS = {"one chunk each": [12, 15, 3, 7], "several chunks": [46, 15, 31, 30], "one frame": [1, 16]}
lengths_of_batches = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def make_head(speakers=2, seed=0, chunk=CHUNK):
    head = FrameLSTM(DIM, HIDDEN, 1, speakers, chunk)
    head.reset(torch.Generator().manual_seed(seed))
    return head


def make_batch(lengths, seed=0):
    """Frames with numbers in the padding too, which nothing may depend on."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(len(lengths), max(lengths) + 2, DIM, generator=random), torch.tensor(lengths)


def make_labels(lengths, speakers=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(2, (length, speakers), generator=random).float() for length in lengths]


def their_head(head):
    theirs = import_s3prl("s3prl.downstream.diarization.model").Model(DIM, head.classifier.out_features, 1, HIDDEN)
    theirs.rnn.load_state_dict(head.recurrent.state_dict())
    theirs.linear.load_state_dict(head.classifier.state_dict())
    return theirs


def their_chunks(length):
    """Where s3prl cuts a recording of training or dev."""
    cut = import_s3prl("s3prl.downstream.diarization.dataset")._gen_frame_indices
    return list(cut(length, CHUNK, CHUNK, use_last_samples=True))


def their_batch(model, frames, lengths, labels):
    """All chunks of all utterances as one batch of s3prl's: logits, labels, and how long each is."""
    pieces, wanted = [], []
    for own, length, label in zip(frames, lengths.tolist(), labels, strict=True):
        for first, last in their_chunks(length):
            pieces.append(own[first:last])
            wanted.append(label[first:last])
    counts = torch.tensor([len(piece) for piece in pieces])
    return model(pad_sequence(pieces, batch_first=True)), pad_sequence(wanted, batch_first=True), counts


def assert_close(ours, theirs):
    off = (ours - theirs).detach().abs().max()
    assert float(off) <= 1e-5 * float(theirs.detach().abs().max())


@lengths_of_batches
@pytest.mark.parametrize("speakers", [2, 3])
def test_logits_loss_and_all_gradients_are_those_of_s3prl(lengths, speakers):
    head, (frames, counts) = make_head(speakers), make_batch(lengths)
    theirs, labels = their_head(head), make_labels(lengths, speakers)
    ours, expected = frames.clone().requires_grad_(), frames.clone().requires_grad_()

    logits, kept = head(ours, counts)
    their_logits, their_labels, their_counts = their_batch(theirs, expected, counts, labels)
    cut = [own[first:last] for own, length in zip(logits, lengths, strict=True) for first, last in their_chunks(length)]
    assert torch.equal(kept, counts)
    for one, other, count in zip(cut, their_logits, their_counts, strict=True):
        assert_close(one, other[:count])

    loss = activity_losses(logits, kept, labels, CHUNK).mean()
    their_loss, _, _ = import_s3prl("s3prl.downstream.diarization.utils").pit_loss(
        their_logits, their_labels, their_counts
    )
    assert loss.item() == pytest.approx(their_loss.item(), rel=1e-6)
    loss.backward()
    their_loss.backward()
    assert_close(ours.grad, expected.grad)
    renamed = {"recurrent": theirs.rnn, "classifier": theirs.linear}
    for name, parameter in head.named_parameters():
        part, _, rest = name.partition(".")
        assert_close(parameter.grad, getattr(renamed[part], rest).grad)


@pytest.mark.parametrize("speakers", [2, 3])
def test_the_accuracy_of_each_chunk_is_that_of_s3prl(speakers):
    utils = import_s3prl("s3prl.downstream.diarization.utils")
    for seed in range(20):
        length = 10 + 3 * seed
        [labels] = make_labels([length], speakers, seed)
        logits = torch.randn(length, speakers, generator=torch.Generator().manual_seed(seed))
        found = frame_accuracy(logits.numpy(), labels.numpy(), CHUNK)
        expected = []
        for first, last in their_chunks(length):
            own, wanted, count = logits[None, first:last], labels[None, first:last], torch.tensor([last - first])
            _, chosen, orders = utils.pit_loss(own, wanted, count)
            order = utils.get_label_perm(wanted, chosen, orders)
            right, frames, *_ = utils.calc_diarization_error(own, order, count)
            expected.append((right / frames, frames))
        assert [right / cells for right, cells in found] == pytest.approx([share for share, _ in expected])
        assert [cells for _, cells in found] == [speakers * frames for _, frames in expected]


def test_speakers_in_any_order_cost_and_count_the_same():
    [labels], logits = make_labels([40]), torch.randn(1, 40, 2, generator=torch.Generator().manual_seed(1))
    length = torch.tensor([40])
    losses = [activity_losses(logits, length, [own]) for own in (labels, labels.flip(1))]
    assert torch.equal(*losses)
    assert frame_accuracy(logits[0].numpy(), labels.numpy()) == frame_accuracy(
        logits[0].numpy(), labels.flip(1).numpy()
    )


def test_speakers_may_change_places_between_chunks_but_not_within_one():
    labels = torch.tensor([[1.0, 0.0]]).repeat(2 * CHUNK, 1)
    swapped = torch.cat([labels[:CHUNK], labels[CHUNK:].flip(1)])
    logits, length = 20 * swapped[None] - 10, torch.tensor([2 * CHUNK])
    assert float(activity_losses(logits, length, [labels], CHUNK)) < 1e-4
    assert float(activity_losses(logits, length, [labels], 2 * CHUNK)) > 1
    assert frame_accuracy(logits[0].numpy(), labels.numpy(), CHUNK) == [(2 * CHUNK, 2 * CHUNK)] * 2
    assert frame_accuracy(logits[0].numpy(), labels.numpy(), 2 * CHUNK) == [(2 * CHUNK, 4 * CHUNK)]


def test_a_logit_of_zero_is_silence():
    nobody, both = np.zeros((3, 2), dtype=np.float32), np.ones((3, 2), dtype=np.float32)
    assert frame_accuracy(nobody, nobody) == [(6, 6)]
    assert frame_accuracy(nobody, both) == [(0, 6)]


@lengths_of_batches
def test_nothing_past_a_length_matters(lengths):
    head, (frames, counts) = make_head(), make_batch(lengths)
    labels = make_labels(lengths)
    logits, _ = head(frames, counts)
    losses = activity_losses(logits, counts, labels, CHUNK)
    for number, length in enumerate(lengths):
        alone, _ = head(frames[number : number + 1, :length], counts[number : number + 1])
        torch.testing.assert_close(alone[0], logits[number, :length])
        own = activity_losses(alone, counts[number : number + 1], labels[number : number + 1], CHUNK)
        share = len(lengths) * length / sum(lengths)  # its frames, of which the batch's loss is the mean
        torch.testing.assert_close(own[0] * share, losses[number])


def test_a_chunk_starts_with_a_fresh_state():
    head, (frames, _) = make_head(), make_batch([40])
    logits, _ = head(frames[:, :40], torch.tensor([40]))
    second, _ = head(frames[:, CHUNK : 2 * CHUNK], torch.tensor([CHUNK]))
    torch.testing.assert_close(logits[:, CHUNK : 2 * CHUNK], second)
    through, _ = make_head(chunk=100)(frames[:, :40], torch.tensor([40]))
    torch.testing.assert_close(through[:, :CHUNK], logits[:, :CHUNK])
    assert not torch.allclose(through[:, CHUNK:], logits[:, CHUNK:])


def test_labels_for_other_frames_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"\[5, 4\] frames, but \[5, 6\]"):
        activity_losses(torch.zeros(2, 6, 2), torch.tensor([5, 6]), make_labels([5, 4]))


def their_labels(turns, hop, first, last):
    """s3prl's labels of a part of a recording whose speakers are called 0 and 1."""
    module = import_s3prl("s3prl.downstream.diarization.dataset")
    dataset = module.DiarizationDataset.__new__(module.DiarizationDataset)
    segments = [{"utt": number, "st": start, "et": stop} for number, (_, start, stop) in enumerate(turns)]
    speakers = {number: speaker for number, (speaker, _, _) in enumerate(turns)}
    dataset.frame_shift = hop
    dataset.data = SimpleNamespace(
        load_wav=lambda *_: (None, 16000), segments={"recording": segments}, utt2spk=speakers
    )
    return torch.from_numpy(dataset._get_labeled_speech("recording", first, last, 2)[1]).float()


def make_turns(random, seconds):
    """Turns of both, some of which overlap, touch or go on past the end. In hundredths, as they are written down."""
    turns = [(0, 0.37, 0.37 + 0.5), (1, 0.1, 0.25)]
    for _ in range(6):
        start = round(random.uniform(0, seconds), 2)
        turns.append((int(random.integers(2)), start, round(start + random.uniform(0.02, 1.5), 2)))
    return turns


@pytest.mark.parametrize("hop", [320, 160, 256])
def test_labels_are_those_of_s3prl(hop):
    random = np.random.default_rng(0)
    for _ in range(50):
        turns, frames = make_turns(random, 5.0), 5 * 16000 // hop
        labels = activity(turns, hop, frames)
        assert labels.shape == (frames, 2)
        assert torch.equal(labels, their_labels(turns, hop, 0, frames))


def test_labels_are_those_of_s3prl_in_later_chunks_too_but_for_turns_that_fill_one():
    turns = [(0, 0.5, 3.0), (1, 1.2, 1.5), (1, 2.5, 2.9)]
    labels = activity(turns, 160, 400)
    for first in (0, 200, 300):
        assert torch.equal(labels[first : first + 100], their_labels(turns, 160, first, first + 100))
    filled = their_labels(turns, 160, 100, 200)  # the first speaker talks all the time
    assert labels[100:200, 0].all()
    assert not filled[:, 0].any()
    assert torch.equal(labels[100:200, 1], filled[:, 1])


def test_the_assignment_that_costs_least_is_found_among_all():
    costs = torch.tensor([[[5.0, 1.0, 9.0], [1.0, 0.0, 9.0], [9.0, 9.0, 2.0]], [[0.0] * 3] * 3])
    least, order = assigned(costs)
    assert least.tolist() == [4.0, 0.0]
    assert order.tolist() == [[1, 0, 2], [0, 1, 2]]
