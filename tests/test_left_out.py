"""Utterances that are left out: a listener passes them over, and a pool draws from the others alone."""

import dataclasses

import numpy as np
import pytest
import torch

from downstream.fit.sampling import Groups, Pool, Windows
from downstream.represent.hearing import Clip, Listener
from downstream.represent.pooling import RunningSums
from downstream.types import Example
from upstream.loaded import LoadedUpstream, Provided

# ---- Listening


def sliding(wavs):
    """One layer, a frame of four figures every 320 samples."""
    assert min(map(len, wavs)) > 0
    frames = [wav.unfold(0, 320, 320)[:, :4] for wav in wavs]
    return [torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)], [len(one) for one in frames]


def listening(lengths, **provided):
    """What a listener keeps of clips of so many samples, and the lengths of the waveforms of each call."""
    calls = []

    def run(wavs):
        calls.append([len(wav) for wav in wavs])
        return sliding(wavs)

    model = Provided(run=run, name="tiny", facts=dict, hop=320, **provided)
    listener = Listener(
        LoadedUpstream(model, "test", torch.device("cpu"), torch.float32), lambda clips: RunningSums(), pytest.fail
    )
    calls.clear()

    def read(samples):
        return Clip(torch.randn(samples, generator=torch.Generator().manual_seed(samples)), f"u{samples}")

    return list(listener.hear(read, lengths, [0.1] * len(lengths))), calls


@pytest.mark.parametrize(
    "provided",
    [{}, {"concurrent": True}, {"batch_seconds": 1.5}, {"batch_seconds": 1.5, "max_batch": 2}],
    ids=["one by one", "side by side", "batches", "small batches"],
)
@pytest.mark.parametrize(
    "lengths",
    [
        [0],
        [0] * 40,
        [0, 8000, 0, 0, 5000, 16000, 0],
        [8000, 5000, 0],
        [n * 320 for n in range(3, 40)] + [0] * 30 + [640],
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_where_there_is_nothing_to_hear_nothing_is_heard(provided, lengths, threads):
    """And whatever else there is is heard as if that had not been there."""
    torch.set_num_threads(threads)
    try:
        heard, calls = listening(lengths, **provided)
    finally:
        torch.set_num_threads(1)
    assert [clip.who for clip, _ in heard] == [f"u{length}" for length in lengths]
    assert [kept is None for _, kept in heard] == [length == 0 for length in lengths]
    audible = [length for length in lengths if length]
    assert sorted(length for call in calls for length in call) == sorted(audible)
    expected = [kept for _, kept in listening(audible)[0]]
    for kept, other in zip([kept for _, kept in heard if kept is not None], expected, strict=True):
        assert kept.frames == other.frames
        assert torch.allclose(kept.mean, other.mean, atol=1e-6)


# ---- What is left to draw from


def test_a_pool_without_some_of_its_examples_draws_as_often_and_as_evenly():
    examples = [Example(f"u{n}", f"{n}.wav", ("a",)) for n in range(6)]
    places = np.array([0, 2, 5])
    plain = Pool(examples).only(places)
    assert [example.id for example in plain.examples] == ["u0", "u2", "u5"]
    assert sorted(plain.epoch(0, 0)) == [0, 1, 2]
    assert plain.dev_counts(0).tolist() == [1, 1, 1]
    weighted = Pool(examples, np.array([1.0, 9, 0, 9, 9, 3]), 4000).only(places)
    drawn = np.bincount(weighted.epoch(0, 0), minlength=3)
    assert drawn.sum() == 4000
    assert drawn[1] == 0
    assert drawn[2] / drawn[0] == pytest.approx(3, rel=0.1)
    assert Pool(examples).only(np.arange(6)).examples == examples


@pytest.mark.parametrize("batches", [Windows(), Windows(np.array([5, 3, 9, 1, 4, 8]), 700), Groups()])
def test_a_pool_that_comes_in_batches_has_those_of_what_is_left(batches):
    """As if there had never been more: shortest targets and audio belong to the same examples as before."""
    examples = [Example(f"u{n}", f"{n}.wav", ("a",)) for n in range(6)]
    samples, places = np.array([900, 400, 600, 800, 200, 1000]), np.array([0, 2, 3, 5])
    lengths = {"lengths": batches.lengths[places]} if getattr(batches, "lengths", None) is not None else {}
    expected = dataclasses.replace(batches, **lengths).arrange(samples[places], 2)
    found = Pool(examples, batches=batches).only(places).batches.arrange(samples[places], 2)
    assert [batch.tolist() for batch in found] == [batch.tolist() for batch in expected]
