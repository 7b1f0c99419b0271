"""Features of audio without its silence, and of training utterances of which too little is left."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import torch
from feature_sets import SHARD, counting, request, shard_paths, shards
from user_files import GOOD, write_file

from downstream.represent import extraction, store
from downstream.represent.extraction import stored
from downstream.represent.features import FRAMES, MEANS, LiveFeatures
from downstream.represent.frame_features import LiveFrames
from downstream.represent.silence import trimmed
from downstream.types import Example, Manifest
from upstream.audio import read_audio
from upstream.errors import DataError

# Seconds of noise, of silence and of noise again. What is left of a silence is 20 ms, the window of its loudness.
PARTS = [(0.5 + n / 51, 0.3 + n / 70, 0.4) for n in range(20)]
SHORT, SILENT = (1, 9, 17), 12
LEAST = 8000  # samples; the short ones have fewer when their silence is taken out
HEARD = len(PARTS) - len(SHORT) - 1
FORMS = {MEANS: LiveFeatures, FRAMES: LiveFrames}
forms = pytest.mark.parametrize("form", FORMS)


def put(path, noise, silence, more, seed=0):
    random = np.random.default_rng(seed)
    parts = [random.standard_normal(round(16000 * noise)) / 8, np.zeros(round(16000 * silence))]
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.concatenate([*parts, random.standard_normal(round(16000 * more)) / 8])
    soundfile.write(path, wave, 16000, subtype="PCM_16")


def corpus(folder, parts):
    examples = []
    for number, part in enumerate(parts):
        put(folder / f"{number:03d}.wav", *part, seed=number)
        examples.append(Example(f"u{number}", f"{number:03d}.wav", ("a",), f"speaker{number % 3}"))
    return Manifest("noise", folder, {"train": examples}, {"train": len(examples)})


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    parts = [(0.3, part[1], 0.1) if n in SHORT else part for n, part in enumerate(PARTS)]
    parts[SILENT] = (0, 1.5, 0)
    return corpus(tmp_path_factory.mktemp("silences"), parts)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))


def wanted(manifest, form=FRAMES, model=None, croppable=True, trim=True, least=LEAST, **options):
    asked = request(model or counting("spectrogram_no_cmvn"), manifest, croppable=croppable, **options)
    return dataclasses.replace(asked, form=form, trim=trim, least_samples=least)


def make(asked, cache, say=pytest.fail):
    return stored(asked, cache, False, say), asked.upstream.calls


def without_silence(manifest):
    return [trimmed(read_audio(manifest.path(example), gain_db=-3.0)) for example in manifest.examples()]


def heard_rows(features):
    asked = features.request
    return np.flatnonzero([not asked.unheard(row, samples) for row, samples in enumerate(features.samples)])


def frames_of(batch):
    return [value.float() * scale[:, None, None] for value, scale in zip(batch.values, batch.scales, strict=True)]


# ---- What is left


@forms
def test_what_is_kept_is_of_the_audio_without_its_silence(form, manifest, tmp_path):
    """And only of what is left enough of."""
    asked = wanted(manifest, form, gain_db=-3.0)
    features, calls = make(asked, tmp_path)
    waves = without_silence(manifest)
    assert features.samples.tolist() == [len(wave) for wave in waves]
    assert all(len(wave) < samples for wave, samples in zip(waves, wanted_lengths(manifest), strict=True))
    rows = heard_rows(features)
    assert calls == len(rows) == HEARD
    assert sorted(set(range(len(PARTS))) - set(rows)) == sorted([*SHORT, SILENT])
    batch = features.batch(rows)
    for place, row in enumerate(rows):
        states = asked.upstream([torch.from_numpy(waves[row])])
        expected = states.stacked()[0, :, : int(states.lengths[0])]
        if form == FRAMES:
            assert torch.allclose(frames_of(batch)[place], expected, rtol=2e-3, atol=1e-5)
        else:
            assert torch.allclose(batch[place], expected.mean(1), rtol=1e-5, atol=1e-6)
    features.close()


def wanted_lengths(manifest):
    return [len(read_audio(manifest.path(example))) for example in manifest.examples()]


@forms
@pytest.mark.parametrize("trim", [True, False])
def test_live_features_count_the_samples_that_kept_ones_have(form, trim, manifest, tmp_path):
    said = []
    asked = wanted(manifest, form, trim=trim)
    features, _ = make(asked, tmp_path)
    live = FORMS[form](asked, said.append)
    assert live.samples.tolist() == features.samples.tolist()
    assert len(said) == trim
    if trim:
        assert said[0] == f"reading {len(PARTS)} files of noise once, to see how much is silence"
    else:
        assert live.samples.tolist() == wanted_lengths(manifest)
    rows = heard_rows(features)[::-1]
    kept, heard = features.batch(rows), live.batch(rows)
    if form == FRAMES:
        assert kept.lengths.tolist() == heard.lengths.tolist()
        assert kept.samples.tolist() == heard.samples.tolist() == features.samples[rows].tolist()
    else:
        assert torch.equal(kept, heard)
    assert live.layer_norms(rows) == pytest.approx(features.layer_norms(rows), rel=1e-5)
    features.close()


def test_crops_start_where_the_silence_is_gone(manifest, tmp_path):
    asked = wanted(manifest, crop_seconds=0.4)
    features, _ = make(asked, tmp_path)
    live = LiveFrames(asked)
    rows = heard_rows(features)
    last = (features.samples[rows] - 6400) // 160 * 160
    for starts in (last, last // 320 * 160):
        for a, b in zip(frames_of(features.batch(rows, starts)), frames_of(live.batch(rows, starts)), strict=True):
            assert torch.allclose(a, b, rtol=2e-3, atol=1e-5)
    features.close()


def test_only_what_is_learned_from_may_be_left_out(manifest, tmp_path):
    """An utterance of the test set is heard however short it is."""
    croppable = np.ones(len(PARTS), dtype=bool)
    croppable[SHORT[0]] = False
    features, calls = make(wanted(manifest, croppable=croppable), tmp_path)
    assert calls == HEARD + 1
    assert features.samples[SHORT[0]] < LEAST
    assert int(features.batch(np.array([SHORT[0]])).lengths[0]) > 0
    features.close()


def test_as_many_samples_as_the_least_are_too_few(tmp_path):
    """As in SUPERB: an utterance must have more than two seconds."""
    manifest = corpus(tmp_path / "data", [(n / 16000, 0, 0) for n in (LEAST - 1, LEAST, LEAST + 1)])
    features, calls = make(wanted(manifest, trim=False), tmp_path)
    assert features.reader.frames.astype(bool).tolist() == [False, False, True]
    assert calls == 1
    features.close()


# ---- The store


@forms
def test_of_the_others_the_store_has_empty_records(form, manifest, tmp_path):
    features, _ = make(wanted(manifest, form), tmp_path)
    features.close()
    waves = [trimmed(read_audio(manifest.path(example))) for example in manifest.examples()]
    indexes = [store.read_index(path) for path in shard_paths(features.request, tmp_path)]
    assert [len(index) for index in indexes] == [SHARD, SHARD, len(PARTS) - 2 * SHARD]
    facts = [facts for index in indexes for facts in zip(index.samples, index.frames, index.blocks, strict=True)]
    for row, (samples, frames, blocks) in enumerate(facts):
        assert samples == len(waves[row])
        assert (frames == 0) == (row in SHORT or row == SILENT)
        assert blocks == 0
    first = indexes[0]
    assert first.offset[SHORT[0]] == first.offset[SHORT[0] + 1]
    assert first.checksum[SHORT[0]] == 0


@forms
def test_a_store_with_empty_records_is_read_again_as_it_is(form, manifest, tmp_path):
    features, calls = make(wanted(manifest, form), tmp_path)
    rows, before = heard_rows(features), shards(tmp_path)
    expected = features.batch(rows)
    features.close()
    again, calls_again = make(wanted(manifest, form), tmp_path)
    assert (calls, calls_again) == (HEARD, 0)
    assert shards(tmp_path) == before
    assert again.samples.tolist() == features.samples.tolist()
    found = again.batch(rows)
    if form == FRAMES:
        assert all(torch.equal(a, b) for a, b in zip(found.values, expected.values, strict=True))
    else:
        assert torch.equal(found, expected)
    again.close()


@forms
@pytest.mark.parametrize("at", [1, SHARD, HEARD])
def test_a_stop_costs_no_more_than_a_shard(form, at, manifest, tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(wanted(manifest, form, counting("spectrogram_no_cmvn", at, stop)), tmp_path / "stopped")
    finished = len(shards(tmp_path / "stopped"))
    resumed, calls = make(wanted(manifest, form), tmp_path / "stopped")
    of_finished = sum(row < finished * SHARD for row in heard_rows(resumed))
    assert calls == HEARD - of_finished
    assert at - 1 - SHARD < of_finished <= at - 1
    undisturbed, _ = make(wanted(manifest, form), tmp_path / "whole")
    assert shards(tmp_path / "stopped") == shards(tmp_path / "whole")
    resumed.close()
    undisturbed.close()


@forms
def test_a_shard_of_nothing_but_empty_records_stays(form, tmp_path):
    """Nothing was heard for it, so that nothing but its being there tells that it is done."""
    manifest = corpus(tmp_path / "data", [(0.1, 0.2, 0.1)] * SHARD + [(0.6, 0, 0)] * 3)
    features, calls = make(wanted(manifest, form), tmp_path)
    assert calls == 3
    assert heard_rows(features).tolist() == [SHARD, SHARD + 1, SHARD + 2]
    features.batch(heard_rows(features))
    features.close()
    assert make(wanted(manifest, form), tmp_path)[1] == 0


def test_an_utterance_that_changed_is_heard_if_it_has_enough_now(tmp_path):
    manifest = corpus(tmp_path / "data", [(0.7, 0.2, 0.1), (0.1, 0.8, 0.1)])
    features, calls = make(wanted(manifest), tmp_path)
    features.close()
    assert calls == 1
    put(tmp_path / "data" / "001.wav", 1.0, 0, 0, seed=5)  # as long as before
    said = []
    again, calls = make(wanted(manifest), tmp_path, said.append)
    assert calls == 1
    assert "1 of its audio files changed since; heard again" in said[0]
    assert again.samples[1] == 16000
    assert again.facts()["audio"] != features.facts()["audio"]
    again.close()


def test_the_key_changes_with_trimming_and_with_what_is_left_out(manifest, tmp_path):
    asked = {
        "plain": wanted(manifest, trim=False, least=0),
        "trimmed": wanted(manifest, least=0),
        "left out": wanted(manifest, trim=False),
        "both": wanted(manifest),
        "more left out": wanted(manifest, least=LEAST + 1),
    }
    assert len({one.key for one in asked.values()}) == len(asked)
    assert wanted(manifest).key == asked["both"].key
    features, _ = make(asked["both"], tmp_path)
    meta = json.loads((features.folder / "meta.json").read_text())
    assert (meta["trim"], meta["least_samples"]) == (True, LEAST)
    features.close()


@forms
def test_an_upstream_that_hears_batches_leaves_out_the_same(form, manifest, tmp_path):
    """Three seconds of audio a batch, so that empty clips come among others and at either end."""
    mine = write_file(tmp_path, GOOD)
    model = counting(mine)
    model.batch_seconds = 3.0
    features, calls = make(wanted(manifest, form, model), tmp_path / "batches")
    alone, calls_alone = make(wanted(manifest, form, counting(mine)), tmp_path / "alone")
    assert calls <= HEARD / 2
    assert calls_alone == HEARD
    assert features.samples.tolist() == alone.samples.tolist()
    assert features.reader.frames.tolist() == alone.reader.frames.tolist()
    rows = heard_rows(features)
    found, expected = features.batch(rows), alone.batch(rows)
    if form == FRAMES:
        found, expected = torch.cat(found.values, 1), torch.cat(expected.values, 1)
    assert torch.allclose(found, expected, atol=1e-6)
    features.close()
    alone.close()


# ---- What cannot be left out


def slow_reader():
    """An upstream that says how much it needs for a frame."""
    model = counting("spectrogram_no_cmvn")
    model.min_samples = 4000
    return model


@forms
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("parts", "left"), [((0, 1.5, 0), "0"), ((0.2, 1.5, 0), "3[0-9]{3}")])
def test_a_test_utterance_with_too_little_left_is_named(form, keep, parts, left, tmp_path):
    """Nothing, or less than the upstream needs."""
    manifest = corpus(tmp_path / "data", [(0.7, 0, 0), parts, (0.7, 0, 0)])
    asked = wanted(manifest, form, slow_reader(), croppable=[True, False, True])
    said = rf"001\.wav: {left} samples at 16000 Hz, silence taken out, .*'spectrogram_no_cmvn', which needs 4000 for"
    with pytest.raises(DataError, match=said) as caught:
        if keep:
            make(asked, tmp_path)
        else:
            FORMS[form](asked).batch(np.array([0, 1]))
    assert str(tmp_path / "data" / "001.wav") in str(caught.value)
    assert "on u1 (001.wav)" in str(caught.value)
    assert not shards(tmp_path)


def test_without_trimming_nothing_is_said_of_silence(tmp_path):
    manifest = corpus(tmp_path / "data", [(0.005, 0, 0)])
    with pytest.raises(DataError, match=r"000\.wav: 80 samples at 16000 Hz are too short for upstream"):
        make(wanted(manifest, model=slow_reader(), trim=False, croppable=False), tmp_path)


@forms
def test_where_nothing_may_be_left_out_a_silent_training_utterance_is_named_too(form, tmp_path):
    """Not kept as an empty record that a training would read."""
    manifest = corpus(tmp_path / "data", [(0.7, 0, 0), (0, 1.5, 0), (0.7, 0, 0)])
    for make_features in (lambda asked: make(asked, tmp_path), lambda asked: FORMS[form](asked).batch(np.arange(2))):
        with pytest.raises(DataError, match=r"001\.wav: 0 samples at 16000 Hz, silence taken out, are too short"):
            make_features(wanted(manifest, form, least=0, crop_seconds=0.4))
