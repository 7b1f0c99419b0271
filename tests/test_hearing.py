"""Reading ahead, batches and pieces: none of them may change what is kept, nor the order it comes in."""

import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from downstream.represent import hearing
from downstream.represent.hearing import Clip, Listener
from downstream.represent.pooling import RunningSums
from downstream.represent.reading import THREADS, read_ahead
from upstream.encoder import shape as shapes
from upstream.errors import ContractError, DataError, ResourceError
from upstream.loaded import LoadedUpstream, Provided
from upstream.types import HiddenStates

HOP, FIELD, DIM, BLOCK = 320, 400, 5, 10
WEIGHTS = torch.randn(3, FIELD, DIM, generator=torch.Generator().manual_seed(0))


def sliding(wavs):
    """Three layers of frames that hear 400 samples each, every 320; rubbish behind the shorter utterances."""
    frames = [wav.unfold(0, FIELD, HOP) for wav in wavs]
    layers = [pad_sequence([f @ w for f in frames], batch_first=True, padding_value=7e7) for w in WEIGHTS]
    return layers, [len(f) for f in frames]


class Tiny:
    """A loaded upstream that remembers the lengths of the waveforms of each call, and where more happens if asked."""

    def __init__(self, then=lambda wavs: None, **provided):
        self.calls, self.then = [], lambda wavs: None
        loaded = LoadedUpstream(self.provided(**provided), "test", torch.device("cpu"), torch.float32)
        self.loaded, self.calls, self.then = loaded, [], then

    def provided(self, **more):
        return Provided(run=self.run, name="tiny", facts=dict, hop=HOP, **more)

    def run(self, wavs):
        self.calls.append([len(wav) for wav in wavs])
        self.then(wavs)
        return sliding(wavs)


def clip(samples, blocks=True):
    wave = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return Clip(wave + torch.linspace(-1, 1, samples), f"u{samples}", blocks)


def sums_of(block):
    return lambda clips: RunningSums(block if any(clip.blocks for clip in clips) else None)


def hear(tiny, lengths, say=None, block=BLOCK, read=clip):
    """The names of the clips in the order they came, and what was kept of each."""
    listener = Listener(tiny.loaded, sums_of(block), say)
    heard = list(listener.hear(read, lengths, [length / 16000 for length in lengths]))
    return [clip.who for clip, _ in heard], [pooled for _, pooled in heard]


def assert_same(found, expected):
    assert [pooled.frames for pooled in found] == [pooled.frames for pooled in expected]
    for a, b in zip(found, expected, strict=True):
        for name in ("mean", "norms", "edges"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=2e-5, atol=2e-4)


def no_threads():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.fixture
def short_pieces(monkeypatch):
    monkeypatch.setattr(hearing, "LONGEST_SECONDS", 1)


# Sums


@pytest.mark.parametrize("cuts", [[], [1], [9, 10, 11], [4, 8], [3, 40, 41, 60], [20, 50]])
def test_sums_over_pieces_are_those_of_all_frames(cuts):
    frames = torch.randn(3, 73, DIM, generator=torch.Generator().manual_seed(1)) + 3
    sums = RunningSums(BLOCK)
    for piece in np.split(frames.numpy(), cuts, axis=1):
        layers = list(torch.from_numpy(piece)[:, None])
        sums.add(HiddenStates(layers, torch.tensor([piece.shape[1]]), HOP))
    (kept,) = sums.kept()
    exact = frames.numpy().astype(np.float64)
    assert kept.frames == 73
    np.testing.assert_allclose(kept.mean, exact.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(kept.norms, np.sqrt((exact**2).sum(axis=2)).mean(axis=1), rtol=1e-6)
    assert kept.edges.shape == (8, 3, DIM)
    for number, edge in enumerate(kept.edges):
        np.testing.assert_allclose(edge, exact[:, : number * BLOCK].sum(axis=1), rtol=1e-6)


def test_what_lies_behind_an_utterance_is_not_counted():
    frames = torch.randn(2, 35, DIM, generator=torch.Generator().manual_seed(2))
    frames[1, 12:] = torch.nan
    sums = RunningSums(BLOCK)
    sums.add(HiddenStates([frames], torch.tensor([35, 12]), HOP))
    long, short = sums.kept()
    assert (long.edges.shape[0], short.edges.shape[0]) == (4, 2)
    torch.testing.assert_close(short.mean[0], frames[1, :12].mean(dim=0))
    torch.testing.assert_close(short.norms[0], frames[1, :12].norm(dim=1).mean())
    torch.testing.assert_close(short.edges[1, 0], frames[1, :10].sum(dim=0))
    assert long.mean.isfinite().all()


def test_half_precision_is_summed_in_full():
    """In bfloat16 1 + 1/256 is 1: sums of it would stand still at 256."""
    sums = RunningSums(BLOCK)
    sums.add(HiddenStates([torch.ones(1, 3000, DIM, dtype=torch.bfloat16)], torch.tensor([3000]), HOP))
    (kept,) = sums.kept()
    assert kept.mean.eq(1).all()
    assert kept.edges[-1].eq(3000).all()
    assert kept.norms == pytest.approx(5**0.5, rel=1e-6)


def test_what_is_small_is_not_lost_beside_what_is_large():
    """Beside 2 ** 26 single precision knows multiples of 8 only."""
    frames = torch.ones(1, 3000, DIM)
    frames[:, 5], frames[:, -5] = 2.0**26, -(2.0**26)
    sums = RunningSums(BLOCK)
    sums.add(HiddenStates([frames], torch.tensor([3000]), HOP))
    (kept,) = sums.kept()
    torch.testing.assert_close(kept.mean, torch.full((1, DIM), 2998 / 3000))
    torch.testing.assert_close(kept.edges[-1], torch.full((1, DIM), 2998.0))


# Pieces


@pytest.mark.parametrize("samples", [16001, 16320, 16399, 16400, 31999, 32001, 47680, 48000, 79999, 80001])
def test_pieces_have_the_frames_of_the_whole(samples, short_pieces, monkeypatch):
    cut = Tiny(receptive_field=FIELD)
    _, found = hear(cut, [samples])
    assert len(cut.calls) == -(-samples // 16000)
    assert all(length <= 16000 + HOP + FIELD for (length,) in cut.calls)
    assert max(cut.calls)[0] - min(cut.calls)[0] < len(cut.calls) * HOP + FIELD  # equal but for the last
    monkeypatch.setattr(hearing, "LONGEST_SECONDS", 300)
    whole = Tiny(receptive_field=FIELD)
    _, expected = hear(whole, [samples])
    assert whole.calls == [[samples]]
    assert found[0].frames == (samples - FIELD) // HOP + 1
    assert_same(found, expected)


@pytest.mark.parametrize("name", ["wavlm_base", "nanow2v2_base"])
def test_no_frame_of_the_family_is_lost_between_pieces(name, short_pieces):
    """Convolutions with and without padding. The frames are numbers of ones here: only how many there are matters."""
    shape = shapes.named(name)

    class Counted(Tiny):
        def run(self, wavs):
            counts = [shape.frames(len(wav)) for wav in wavs]
            return [torch.ones(len(wavs), max(counts), 1)], counts

    counted = Counted(receptive_field=shape.receptive_field)
    lengths = list(range(16001, 60000, 397))
    _, found = hear(counted, lengths, read=lambda n: Clip(torch.zeros(n), str(n)))
    assert [kept.frames for kept in found] == [shape.frames(length) for length in lengths]


def test_without_a_receptive_field_pieces_are_joined_as_they_come(short_pieces):
    tiny = Tiny()
    _, (kept,) = hear(tiny, [40000])
    assert tiny.calls == [[13440], [13440], [13120]]  # 40000 / 3, up to a multiple of the hop
    wave = clip(40000).wave
    parts = [sliding([part])[0] for part in (wave[:13440], wave[13440:26880], wave[26880:])]
    frames = torch.cat([torch.stack(layers)[:, 0] for layers in parts], dim=1)
    assert kept.frames == frames.shape[1] == 41 + 41 + 40
    torch.testing.assert_close(kept.mean, frames.mean(dim=1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kept.edges[12], frames[:, :120].sum(dim=1), rtol=1e-5, atol=1e-4)


def test_what_is_just_not_too_long_is_heard_whole(short_pieces):
    tiny = Tiny(receptive_field=FIELD)
    hear(tiny, [16000])
    assert tiny.calls == [[16000]]


def test_half_an_hour_is_never_heard_at_once():
    """No more goes into the upstream at a time than a piece; what is kept is as large as that of any utterance."""
    tiny = Tiny(receptive_field=FIELD)
    samples = 30 * 60 * 16000 + 123
    _, (kept,) = hear(tiny, [samples], read=lambda n: clip(n, blocks=False))
    assert len(tiny.calls) == 7  # 30 minutes and a little
    assert max(tiny.calls)[0] < 300 * 16000
    assert kept.frames == (samples - FIELD) // HOP + 1
    assert kept.edges is None


# Batches

LENGTHS = [16000, 8000, 15000, 3000, 9000, 16000, 400, 20000, 7000, 12345, 5000, 6000]


def test_batches_change_nothing_and_hold_no_more_than_they_may():
    batched = Tiny(batch_seconds=2.0)
    names, found = hear(batched, LENGTHS)
    assert names == [f"u{length}" for length in LENGTHS]
    assert_same(found, hear(Tiny(), LENGTHS)[1])
    assert len(batched.calls) < len(LENGTHS) / 2
    assert all(len(call) == 1 or max(call) * len(call) <= 32000 for call in batched.calls)
    assert sorted(length for call in batched.calls for length in call) == sorted(LENGTHS)
    assert batched.calls[0] == [20000]  # of the first window, the longest first


def test_the_windows_do_not_depend_on_the_threads():
    def slow(length):
        time.sleep(0.02 * (length % 3))
        return clip(length)

    first, second = Tiny(batch_seconds=1.0), Tiny(batch_seconds=1.0)
    hear(first, LENGTHS * 2)
    hear(second, LENGTHS * 2, read=slow)
    assert first.calls == second.calls


def test_one_at_a_time_is_in_the_order_asked_for():
    tiny = Tiny()
    names, _ = hear(tiny, LENGTHS)
    assert tiny.calls == [[length] for length in LENGTHS]
    assert names == [f"u{length}" for length in LENGTHS]


def test_long_utterances_are_heard_in_pieces_whatever_the_batch(short_pieces):
    tiny = Tiny(receptive_field=FIELD, batch_seconds=10.0)
    lengths = [16000, 40000, 9000, 33000, 5000]
    _, found = hear(tiny, lengths)
    assert [len(call) for call in tiny.calls] == [1] * 6 + [3]
    assert [pooled.frames for pooled in found] == [(n - FIELD) // HOP + 1 for n in lengths]


def too_much_for(samples):
    """Memory for so many samples, padding included."""

    def then(wavs):
        if len(wavs) * max(map(len, wavs)) > samples:
            raise torch.OutOfMemoryError("no memory left")

    return then


def test_batches_get_smaller_until_they_fit_and_say_so_once():
    tiny, said = Tiny(too_much_for(20000), batch_seconds=8.0), []
    names, found = hear(tiny, LENGTHS, said.append)
    assert names == [f"u{length}" for length in LENGTHS]
    assert_same(found, hear(Tiny(), LENGTHS)[1])
    assert len(said) == 1
    assert "ran out of memory on 6 utterances of up to 1.2 s" in said[0]
    failed = [call for call in tiny.calls if len(call) * max(call) > 20000]
    assert [len(call) for call in failed] == [6, 3, 2]


def test_an_utterance_that_does_not_fit_alone_is_named():
    with pytest.raises(ResourceError, match=r"ran out of memory.*\[while .* u20000\]"):
        hear(Tiny(too_much_for(18000), batch_seconds=8.0), LENGTHS)


def test_a_batch_that_failed_is_out_of_memory_before_the_next_is_tried():
    left = []

    def then(wavs):
        if left:
            left.append(left[0]() is None)
        elif len(wavs) > 1:
            filling = torch.empty(10)
            left.append(weakref.ref(filling))
            raise torch.OutOfMemoryError("no memory left")

    hear(Tiny(then, batch_seconds=8.0), LENGTHS)
    assert len(left) > 2
    assert all(left[1:])


def test_who_is_to_blame_in_a_batch_is_named():
    def nan(wavs):
        for wav in wavs:
            if len(wav) == 9000:
                raise ContractError("it breaks the contract")

    for batch_seconds in (0.0, 8.0):
        with pytest.raises(ContractError, match=r"it breaks the contract \[while computing the features of u9000\]$"):
            hear(Tiny(nan, batch_seconds=batch_seconds), LENGTHS)
        assert no_threads()


def test_an_error_of_no_one_alone_tells_of_the_batch():
    def then(wavs):
        if len(wavs) > 1:
            raise ContractError("not together")

    with pytest.raises(ContractError, match=r"not together \[while computing the features of u20000 and 1 more\]$"):
        hear(Tiny(then, batch_seconds=3.0), LENGTHS)


# Reading ahead


def test_files_are_read_ahead_and_no_further_than_the_limit():
    started = []
    clips = read_ahead(lambda row: started.append(row) or row, range(100), [4.0] * 100, 20.0)
    assert next(clips) == 0
    for taken in range(1, 60):
        assert next(clips) == taken
    deadline = time.monotonic() + 5
    while len(started) < 63 and time.monotonic() < deadline:
        time.sleep(0.01)  # the threads go on while nobody asks
    time.sleep(0.05)
    assert 61 < len(started) <= 64  # four of five seconds each, the one that was taken among them
    clips.close()
    assert no_threads()


def test_the_next_is_read_however_long_it_is():
    started = threading.Semaphore(0)
    clips = read_ahead(lambda row: started.release() or row, range(5), [1000.0] * 5, 20.0)
    assert next(clips) == 0
    assert started.acquire(timeout=5)
    assert started.acquire(timeout=5)  # the second, while the first is being heard
    assert not started.acquire(timeout=0.1)
    assert list(clips) == [1, 2, 3, 4]


def test_results_come_in_order_whoever_is_faster():
    random = np.random.default_rng(0)
    delays = random.uniform(0, 0.01, 50)

    def read(row):
        time.sleep(delays[row])
        return row

    assert list(read_ahead(read, range(50), [1.0] * 50, 30.0)) == list(range(50))


def test_what_goes_wrong_is_raised_at_its_turn():
    def read(row):
        if row in (3, 5):
            raise DataError(f"row {row}")
        return row

    taken = []
    with pytest.raises(DataError, match="row 3"):
        for row in read_ahead(read, range(10), [1.0] * 10, 30.0):
            taken.append(row)
    assert taken == [0, 1, 2]
    assert no_threads()


def test_an_interrupt_ends_the_threads_and_reads_no_more():
    read = []

    def slow(row):
        read.append(row)
        time.sleep(0.2)
        return row

    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        list(read_ahead(slow, range(100), [1.0] * 100, 1000.0))
    assert no_threads()
    assert len(read) <= 2 * THREADS


def test_an_upstream_that_stops_leaves_no_threads():
    def stop(wavs):
        raise KeyboardInterrupt

    tiny = Tiny(stop)
    listener = Listener(tiny.loaded, sums_of(BLOCK))
    heard = listener.hear(clip, LENGTHS, [1.0] * len(LENGTHS))
    with pytest.raises(KeyboardInterrupt) as stopped:
        next(heard)
    assert no_threads()
    assert stopped.tb is not None  # and all that its frames hold: the threads do not end because it was forgotten


def test_utterances_side_by_side_are_heard_as_one_after_the_other():
    """As many at once as there are threads, each on one; in order, and to the last bit what one thread makes."""
    meet, most, running = threading.Barrier(3, timeout=30), [], []

    def then(wavs):
        assert torch.get_num_threads() == 1
        running.append(1)
        most.append(len(running))
        if len(wavs[0]) < 16000:  # the first three can only go on together
            meet.wait()
        running.pop()

    lengths = [8000, 8320, 8640, 40000, 16000, 24000, 30000]
    one_by_one = Tiny(concurrent=True)
    expected = hear(one_by_one, lengths)[1]
    torch.set_num_threads(3)
    try:
        tiny = Tiny(concurrent=True, then=then)
        names, found = hear(tiny, lengths)
    finally:
        torch.set_num_threads(1)
    assert names == [f"u{length}" for length in lengths]
    assert max(most) == 3
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.mean, b.mean) and torch.equal(a.norms, b.norms) and torch.equal(a.edges, b.edges)
    assert no_threads()
