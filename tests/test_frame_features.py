"""Frames in half precision on disk, against the hidden states themselves; and that a store is made and read once."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from feature_sets import SHARD, counting, noise_corpus, put_noise, request, shard_paths, shards
from user_files import GOOD, write_file

from downstream.represent import extraction
from downstream.represent.all_frames import AllFrames, Frames
from downstream.represent.extraction import bytes_to_write, missing, stored
from downstream.represent.features import FRAMES, MEANS, LiveFeatures
from downstream.represent.frame_features import FrameFeatures, LiveFrames
from downstream.represent.store import ShardError
from downstream.types import Example, Manifest
from upstream.types import HiddenStates

HALF = 2.0**-11  # how far rounding to half precision goes, relative to the value
COUNT, SHARDS = 18, 3


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extraction, "_SHARD_RECORDS", {MEANS: 512, FRAMES: SHARD})


def wanted(manifest, model=None, form=FRAMES, **options):
    found = request(model or counting("mel_no_cmvn"), manifest, **options)
    found.form = form
    return found


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return noise_corpus(tmp_path_factory.mktemp("noise"), COUNT, 0.2, crop_of=(3, 4))


def make(asked, cache, say=None):
    """Make the store, saying nothing unless something is to be said; returns it and how much was heard."""
    features = stored(asked, cache, False, say or pytest.fail)
    return features, asked.upstream.calls


def whole(batch):
    """The frames that a batch stands for, (layers, frames, dim) each."""
    return [value.float() * scale[:, None, None] for value, scale in zip(batch.values, batch.scales, strict=True)]


def random_frames(*sizes, seed=0):
    """One layer for each size: the length of its largest value is of that order."""
    values = torch.randn(len(sizes), 9, 4, generator=torch.Generator().manual_seed(seed))
    values *= torch.tensor(sizes)[:, None, None]
    norms = values.norm(dim=-1).mean(dim=1)
    return Frames(9, norms, torch.ones(len(sizes)), values)


# ---- Half precision


def test_halves_are_as_near_as_halves_can_be_whatever_the_size_of_a_layer():
    frames = random_frames(1.0, 1e6, 1e-7, 3e-35, 1e30, 0.37)
    half = frames.halved()
    assert half.values.dtype == torch.float16
    assert half.values.isfinite().all()
    back = half.values.float() * half.scales[:, None, None]
    error, largest = (back - frames.values).abs(), frames.values.abs().flatten(1).amax(1)[:, None, None]
    # Where a value is 2**-29 of its layer's largest, halves have digits to lose; nothing is lost above.
    assert (error <= HALF * frames.values.abs() + 2.0**-40 * largest).all()
    assert torch.equal(half.norms, frames.norms)


def test_scales_are_powers_of_two_and_leave_the_largest_value_just_below_the_end_of_halves():
    half = random_frames(1.0, 1e6, 1e-7, 123.0).halved()
    mantissas, _ = torch.frexp(half.scales)
    assert (mantissas == 0.5).all()
    largest = half.values.float().abs().flatten(1).amax(1)
    assert ((largest >= 2.0**14) & (largest <= 2.0**15)).all()


def test_what_halves_can_say_comes_back_to_the_last_digit():
    values = (torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)) * 8).half().float()
    half = Frames(5, torch.zeros(3), torch.ones(3), values).halved()
    assert torch.equal(half.values.float() * half.scales[:, None, None], values)


def test_a_value_just_below_a_power_of_two_does_not_become_infinite():
    values = torch.full((1, 1, 1), np.nextafter(np.float32(65536), np.float32(0)))
    half = Frames(1, torch.zeros(1), torch.ones(1), values).halved()
    assert float(half.values.float() * half.scales) == pytest.approx(65536, rel=HALF)


def test_a_layer_of_zeros_stays_one_beside_others():
    frames = random_frames(1.0, 0.0, 5.0)
    half = frames.halved()
    assert (half.values[1] == 0).all()
    assert half.scales.isfinite().all()
    assert (half.values[[0, 2]] != 0).all()


# ---- Keeping all frames


def states(lengths, layers=2, dim=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    padded = [torch.randn(len(lengths), max(lengths), dim, generator=random) for _ in range(layers)]
    return HiddenStates(padded, torch.tensor(lengths), 160)


def test_each_utterance_of_a_batch_keeps_its_valid_frames_and_no_padding():
    given = states([5, 2, 7])
    keeper = AllFrames(halve=False)
    keeper.add(given)
    kept = keeper.kept()
    assert [one.frames for one in kept] == [5, 2, 7]
    for number, one in enumerate(kept):
        expected = given.stacked()[number, :, : one.frames]
        assert torch.equal(one.values, expected)
        assert torch.equal(one.scales, torch.ones(2))
        lengths = expected.double().square().sum(-1).sqrt()
        assert torch.allclose(one.norms.double(), lengths.mean(1))


@pytest.mark.parametrize("halve", [False, True])
def test_pieces_of_an_utterance_follow_on_each_other(halve):
    pieces = [states([4]), states([6], seed=1), states([1], seed=2)]
    keeper = AllFrames(halve)
    for piece in pieces:
        keeper.add(piece)
    [kept] = keeper.kept()
    expected = torch.cat([piece.stacked()[0] for piece in pieces], dim=1)
    assert kept.frames == 11
    assert torch.allclose(kept.values.float() * kept.scales[:, None, None], expected, rtol=HALF, atol=1e-6)
    assert torch.allclose(kept.norms, expected.norm(dim=-1).mean(1))
    assert kept.values.dtype == (torch.float16 if halve else torch.float32)


def test_states_in_other_precisions_are_kept_too():
    given = states([5])
    given.layers = [layer.bfloat16() for layer in given.layers]
    for halve in (False, True):
        keeper = AllFrames(halve)
        keeper.add(given)
        [kept] = keeper.kept()
        back = kept.values.float() * kept.scales[:, None, None]
        assert torch.equal(back, given.stacked()[0].float())  # 8 digits fit into 11


# ---- From disk


@pytest.mark.parametrize("name", ["mel_no_cmvn", "fbank", "three layers"])
def test_frames_from_disk_are_the_live_ones_but_for_rounding(name, manifest, tmp_path):
    if name == "three layers":
        name = write_file(tmp_path, GOOD)
    asked = wanted(manifest, counting(name))
    features, calls = make(asked, tmp_path)
    assert calls == COUNT
    assert isinstance(features, FrameFeatures)
    live = LiveFrames(wanted(manifest, counting(name)))
    assert np.array_equal(features.samples, live.samples)
    for rows in (np.array([4, 0, 17]), np.array([9]), np.arange(COUNT)[::-1]):
        kept, heard = features.batch(rows), live.batch(rows)
        assert kept.lengths.tolist() == heard.lengths.tolist()
        assert all(value.dtype == torch.float16 for value in kept.values)
        for mine, theirs in zip(whole(kept), whole(heard), strict=True):
            largest = theirs.abs().flatten(1).amax(1)[:, None, None]
            assert ((mine - theirs).abs() <= HALF * theirs.abs() + 2.0**-40 * largest).all()
    assert len(set(features.batch(np.arange(COUNT)).lengths.tolist())) > 3
    features.close()


def test_live_frames_are_what_the_upstream_says(manifest):
    model = counting("mel_no_cmvn")
    live = LiveFrames(wanted(manifest, model))
    asked = live.request
    for row, frames in zip([5, 3], whole(live.batch(np.array([5, 3]))), strict=True):
        said = model([torch.from_numpy(asked.wave(asked.examples[row]))])
        assert torch.allclose(frames, said.stacked()[0, :, : int(said.lengths[0])], rtol=1e-5, atol=1e-5)


def test_the_sizes_of_layers_are_those_of_the_hidden_states(manifest, tmp_path):
    rows, mine = np.array([3, 0, 11]), write_file(tmp_path, GOOD)
    features, _ = make(wanted(manifest, counting(mine)), tmp_path)
    live = LiveFrames(wanted(manifest, counting(mine)))
    expected = np.mean([one.norm(dim=-1).mean(1).numpy() for one in whole(live.batch(rows))], axis=0)
    assert features.layer_norms(rows) == pytest.approx(expected.tolist(), rel=1e-5)
    assert live.layer_norms(rows) == pytest.approx(expected.tolist(), rel=1e-5)
    means = LiveFeatures(wanted(manifest, counting(mine), MEANS))
    assert means.layer_norms(rows) == pytest.approx(expected.tolist(), rel=1e-5)
    assert len(expected) == 3
    features.close()


def test_records_may_have_any_size(tmp_path):
    """One frame, many frames; several layers; records that do not begin where a number would."""
    seconds = [0.025, 3.0, 0.031, 0.5, 0.0625]
    examples = []
    for number, length in enumerate(seconds):
        put_noise(tmp_path / f"{number}.wav", length, seed=number)
        examples.append(Example(f"u{number}", f"{number}.wav", ("a",)))
    manifest = Manifest("noise", tmp_path, {"train": examples}, {"train": len(examples)})
    features, _ = make(wanted(manifest, counting("fbank_no_cmvn")), tmp_path / "cache")
    live = LiveFrames(wanted(manifest, counting("fbank_no_cmvn")))
    order = np.array([1, 0, 4, 2, 3])
    kept, heard = features.batch(order), live.batch(order)
    assert kept.lengths.tolist() == heard.lengths.tolist()
    assert min(kept.lengths) == 1
    for mine, theirs in zip(whole(kept), whole(heard), strict=True):
        assert torch.allclose(mine, theirs, rtol=2 * HALF, atol=1e-5)
    features.close()


def test_a_part_of_an_audio_file_has_the_frames_of_that_part(manifest, tmp_path):
    longest = next(example for example in manifest.examples() if example.id == "u3")
    part = replace(longest, id="part", start=3200, stop=9600)
    asked = wanted(manifest, examples=[longest, part])
    features, _ = make(asked, tmp_path)
    both = features.batch(np.array([0, 1]))
    assert features.samples[1] == 6400
    assert both.lengths[1] < both.lengths[0]
    model = asked.upstream([torch.from_numpy(asked.wave(longest)[3200:9600])])
    assert torch.allclose(whole(both)[1], model.stacked()[0], rtol=2 * HALF, atol=1e-5)
    features.close()


# ---- The store


def test_the_key_is_another_than_that_of_means(manifest):
    assert wanted(manifest).key != wanted(manifest, form=MEANS).key
    assert wanted(manifest).key == wanted(manifest).key
    assert wanted(manifest).key != wanted(manifest, gain_db=-3.0).key
    assert wanted(manifest).key != wanted(manifest, counting("mel")).key


def test_tasks_that_differ_in_targets_alone_share_a_store(manifest, tmp_path):
    """PR and ASR hear the same utterances."""
    spelled = [replace(e, target=(e.id.upper(),), group=None) for e in manifest.examples()]
    other = Manifest(manifest.corpus, manifest.root, {"train": spelled}, manifest.expected)
    one, calls = make(wanted(manifest), tmp_path)
    two, calls_again = make(wanted(other), tmp_path)
    assert (calls, calls_again) == (COUNT, 0)
    assert one.folder == two.folder
    rows = np.arange(COUNT)
    pairs = zip(one.batch(rows).values, two.batch(rows).values, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    fewer, calls_for_fewer = make(wanted(manifest, examples=list(manifest.examples())[:5]), tmp_path)
    assert calls_for_fewer == 0
    assert fewer.folder == one.folder
    for features in (one, two, fewer):
        features.close()


def test_a_store_is_read_without_opening_audio(tmp_path):
    """Every file is replaced by zeros of the same size and time: nobody looks."""
    manifest = noise_corpus(tmp_path / "data", COUNT, 0.2)
    features, _ = make(wanted(manifest), tmp_path)
    expected = features.batch(np.arange(COUNT)).values
    features.close()
    for example in manifest.examples():
        path = manifest.path(example)
        stat = path.stat()
        path.write_bytes(bytes(stat.st_size))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again, calls = make(wanted(manifest), tmp_path)
    assert calls == 0
    assert all(torch.equal(a, b) for a, b in zip(again.batch(np.arange(COUNT)).values, expected, strict=True))
    again.layer_norms(np.arange(COUNT))
    assert again.facts()["mode"] == "frames"
    again.close()


@pytest.mark.parametrize("at", [1, SHARD, SHARD + 1, COUNT])
def test_a_stop_costs_no_more_than_a_shard(at, manifest, tmp_path):
    def stop():
        raise KeyboardInterrupt

    stopped = wanted(manifest, counting("mel_no_cmvn", at, stop))
    with pytest.raises(KeyboardInterrupt):
        make(stopped, tmp_path / "stopped")
    finished = (at - 1) // SHARD
    assert len(shards(tmp_path / "stopped")) == finished
    assert not list(tmp_path.rglob("*.partial"))
    fresh = wanted(manifest)
    left = missing(fresh, tmp_path / "stopped")
    assert left.tolist() == list(range(finished * SHARD, COUNT))
    assert bytes_to_write(fresh, tmp_path / "stopped") == fresh.bytes_estimate(left) > 0
    resumed, calls = make(fresh, tmp_path / "stopped")
    assert calls == COUNT - finished * SHARD
    undisturbed, _ = make(wanted(manifest), tmp_path / "whole")
    assert shards(tmp_path / "stopped") == shards(tmp_path / "whole")
    assert len(shards(tmp_path / "whole")) == SHARDS
    resumed.close()
    undisturbed.close()


def test_a_cut_shard_is_said_and_made_again(manifest, tmp_path):
    features, _ = make(wanted(manifest), tmp_path)
    features.close()
    expected = shards(tmp_path)
    paths = shard_paths(features.request, tmp_path)
    os.truncate(paths[2], 1000)
    said = []
    again, calls = make(wanted(manifest), tmp_path, said.append)
    assert calls == COUNT - 2 * SHARD
    assert shards(tmp_path) == expected
    assert len(said) == 1
    assert str(paths[2]) in said[0]
    assert "cut short" in said[0]
    again.close()


def test_a_damaged_record_is_noticed_when_it_is_read(manifest, tmp_path):
    """A frames store is too large to be read through whenever it is opened."""
    features, _ = make(wanted(manifest), tmp_path)
    features.close()
    path = shard_paths(features.request, tmp_path)[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    again, calls = make(wanted(manifest), tmp_path)
    assert calls == 0
    again.batch(np.arange(SHARD))
    with pytest.raises(ShardError, match=rf"{path} is damaged \(record \d+\)\. Delete it and run the same command"):
        again.batch(np.arange(SHARD, 2 * SHARD))
    again.close()


def test_the_estimate_of_a_store_is_near_what_it_takes(manifest, tmp_path):
    asked = wanted(manifest)
    features, _ = make(asked, tmp_path)
    assert asked.bytes_estimate() == pytest.approx(features.facts()["bytes"], rel=0.1)
    features.close()


def test_a_row_is_told_what_it_was_learned_from(manifest, tmp_path):
    asked = wanted(manifest)
    features, _ = make(asked, tmp_path)
    facts = features.facts()
    assert facts["mode"] == "frames"
    assert facts["key"] == asked.key
    frames = features.batch(np.arange(COUNT)).lengths
    assert facts["bytes"] == int(sum(2 * 4 + 2 * 80 * frames))  # two numbers for the one layer, and the frames
    means, _ = make(wanted(manifest, form=MEANS), tmp_path)
    assert means.facts()["audio"] == facts["audio"]
    features.close()
    means.close()
    assert LiveFrames(asked).facts()["mode"] == "live"
