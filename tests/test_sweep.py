"""Frames by samples: which hops explain them, and the lengths that are tried."""

import random
import re

import torch

from upstream.contract import hop_bounds, offsets
from upstream.loaded import LoadedUpstream, Provided
from upstream.sweep import Sweep, sweep_lengths


def test_bounds_hold_every_hop_that_a_search_finds():
    """Small counts of frames, regular or nearly so, against trying every hop and offset."""

    def explains(frames, hop, offset):
        return all((n + offset) // hop == f for n, f in frames.items())

    rng = random.Random(0)
    regular = 0
    for _ in range(100):
        hop, offset = rng.randint(2, 20), rng.randint(-50, 50)
        samples = sorted(rng.sample(range(60, 200), rng.randint(2, 6)))
        frames = {n: (n + offset) // hop for n in samples}
        if rng.random() < 0.5:
            frames[rng.choice(samples)] += rng.choice((-1, 1))
        low, high = hop_bounds(frames)
        found = {h: [c for c in range(-300, 300) if explains(frames, h, c)] for h in range(1, 25)}
        assert [h for h in found if found[h]] == [h for h in found if low < h < high]
        for h in found:
            if low < h < high:
                assert list(offsets(frames, h)) == found[h]
        regular += low < high
    assert 40 < regular < 90


def test_the_sweep_is_what_it_says():
    for hop in (1, 160, 213, 320, 1280):
        lengths = sweep_lengths(hop, None)
        assert 20 <= len(lengths) <= 30
        assert (lengths[0], lengths[-1]) == (400, 200_000)
        assert lengths == sorted(set(lengths))
        assert sum(n % hop == 0 for n in lengths) >= 4
        assert sum(n % hop == hop - 1 for n in lengths) >= 3
    assert sweep_lengths(320, 1000)[0] == 1000


def test_a_hop_that_is_no_whole_number_is_a_note():
    """Every 213.33 samples, as of a model that works at another rate: no breach, since the slack covers it."""

    def run(waves):
        lengths = [int(len(wav) / (640 / 3)) for wav in waves]
        return [torch.ones(len(waves), max(lengths), 2)], lengths

    loaded = LoadedUpstream(Provided(run, "made", dict, hop=213), "test", torch.device("cpu"), torch.float32)
    found = Sweep(loaded).lengths()
    assert found.verdict == "note"
    low, high = re.match(r"a frame every ([\d.]+) to ([\d.]+) samples, where the hop is 213", found.text).groups()
    assert float(low) <= 640 / 3 <= float(high)
