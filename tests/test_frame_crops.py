"""Training crops of kept frames, against the same stretches of audio heard live."""

import dataclasses

import numpy as np
import pytest
import torch
from feature_sets import counting, put_noise, request
from user_files import GOOD, write_file

from downstream.represent import hearing
from downstream.represent.extraction import stored
from downstream.represent.features import FRAMES
from downstream.represent.frame_features import LiveFrames
from downstream.types import Example, Manifest

CROP = 8000
# Lengths that leave every kind of rest: shorter than a crop, as long, hardly longer, and much longer.
SAMPLES = (5000, 8000, 8001, 8159, 8333, 13119, 16000, 17771, 20480, 24123)
LONGER = np.flatnonzero(np.array(SAMPLES) > CROP)
HALF = 2.0**-11  # how far rounding to half precision goes, relative to the value

# Nine frames of 20 ms hear each other: the first and last four of a crop hear something else than in the whole.
NEIGHBOURS = """
    import torch

    weights = torch.randn(2, 3, 400, generator=torch.Generator().manual_seed(0))

    class Upstream:
        def one(self, wav):
            frames = wav.unfold(0, 400, 320) @ weights.transpose(1, 2)
            padded = torch.nn.functional.pad(frames, (0, 0, 4, 4))
            return padded.unfold(1, 9, 1).mean(-1)

        def __call__(self, wavs):
            feats = [self.one(wav) for wav in wavs]
            lengths = [feat.shape[1] for feat in feats]
            padded = torch.nn.utils.rnn.pad_sequence([f.transpose(0, 1) for f in feats], batch_first=True)
            return list(padded.unbind(2)), lengths
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Noise that gets louder, in files of so many samples."""
    folder = tmp_path_factory.mktemp("noise")
    examples = []
    for number, samples in enumerate(SAMPLES):
        put_noise(folder / f"{number}.wav", samples / 16000, seed=number)
        examples.append(Example(f"u{number}", f"{number}.wav", ("a",)))
    return Manifest("noise", folder, {"train": examples}, {"train": len(examples)})


@pytest.fixture
def both(corpus, tmp_path):
    """Kept and live frames of a model, by its name or from the text of its file."""

    def make(model, crop_seconds=CROP / 16000):
        name = write_file(tmp_path, model) if "class Upstream" in model else model
        asked = request(counting(name), corpus, croppable=True, crop_seconds=crop_seconds)
        asked.form = FRAMES
        return stored(asked, tmp_path, False, pytest.fail), LiveFrames(asked)

    return make


def whole(batch):
    """The frames that a batch stands for, (layers, frames, dim) each."""
    return [value.float() * scale[:, None, None] for value, scale in zip(batch.values, batch.scales, strict=True)]


def assert_near(found, expected):
    """But for rounding to half precision, where a layer's large values leave its small ones fewer digits."""
    assert found.shape == expected.shape
    largest = expected.abs().flatten(1).amax(1)[:, None, None]
    assert ((found - expected).abs() <= HALF * expected.abs() + 1e-5 * largest).all()


def last_starts():
    return np.array(SAMPLES)[LONGER] - CROP


@pytest.mark.parametrize(
    "model",
    ["fbank_no_cmvn", "mel_no_cmvn", "spectrogram_no_cmvn", "stft_mag", GOOD, NEIGHBOURS],
    ids=["fbank_no_cmvn", "mel_no_cmvn", "spectrogram_no_cmvn", "stft_mag", "no overlap", "neighbours"],
)
@pytest.mark.parametrize("samples", [4000, CROP, 8100, 9900])
def test_a_crop_has_as_many_frames_as_the_upstream_gives_of_its_audio(model, samples, both):
    """Whether its frames begin at the edge or are centred on it, and hear more than a hop or not."""
    kept, live = both(model, samples / 16000)
    rows = np.flatnonzero(np.array(SAMPLES) > samples + 400)  # those that are hardly longer may lack a frame
    spare = np.array(SAMPLES)[rows] - samples
    for starts in (0 * spare, spare, spare // 3, np.minimum(spare, 399)):
        mine, theirs = kept.batch(rows, starts), live.batch(rows, starts)
        assert mine.lengths.tolist() == theirs.lengths.tolist()
        assert mine.samples.tolist() == theirs.samples.tolist() == [samples] * len(rows)


@pytest.mark.parametrize(("model", "hop"), [("spectrogram_no_cmvn", 160), (GOOD, 320)], ids=["spectrogram", "file"])
def test_where_frames_hear_nothing_else_a_crop_on_a_hop_is_the_live_one(model, hop, both):
    kept, live = both(model)
    starts = [last_starts() // hop * hop, np.zeros(len(LONGER), int), np.minimum(last_starts(), 3 * hop) // hop * hop]
    assert len(set(starts[0])) > 5
    for own in starts:
        mine, theirs = kept.batch(LONGER, own), live.batch(LONGER, own)
        for a, b in zip(whole(mine), whole(theirs), strict=True):
            assert_near(a, b)


def test_a_crop_off_the_hops_is_moved_by_half_a_hop_at_most(both):
    """Its frames are those of the nearest crop on a hop; at the very end there may be none after it."""
    kept, live = both(GOOD)
    moved = 0
    for starts in (last_starts(), last_starts() // 2, np.minimum(last_starts(), 161), np.minimum(last_starts(), 159)):
        at_the_end = last_starts() // 320 * 320
        nearest = np.minimum(np.rint(starts / 320).astype(int) * 320, at_the_end)
        assert (np.abs(nearest - starts) <= 160)[nearest < at_the_end].all()
        moved += int((nearest != starts).sum())
        mine, theirs = kept.batch(LONGER, starts), live.batch(LONGER, nearest)
        for a, b in zip(whole(mine), whole(theirs), strict=True):
            assert_near(a, b)
    assert moved > 20


def test_what_frames_hear_beyond_a_crop_differs_at_its_edges_alone(both):
    """Kept frames go on hearing what lies around the crop; live ones hear silence there."""
    kept, live = both(NEIGHBOURS)
    rows = LONGER[np.array(SAMPLES)[LONGER] > 16000]
    starts = np.full(len(rows), 3200)
    for a, b in zip(whole(kept.batch(rows, starts)), whole(live.batch(rows, starts)), strict=True):
        assert_near(a[:, 4:-4], b[:, 4:-4])
        assert not torch.allclose(a[:, :4], b[:, :4], rtol=0.01)
        assert not torch.allclose(a[:, -4:], b[:, -4:], rtol=0.01)


def test_deltas_of_fbank_differ_at_the_edges_alone(both):
    kept, live = both("fbank_no_cmvn")
    starts = last_starts() // 160 * 160
    for a, b in zip(whole(kept.batch(LONGER, starts)), whole(live.batch(LONGER, starts)), strict=True):
        assert_near(a[:, 4:-4], b[:, 4:-4])  # two deltas of five frames each


def test_crops_and_whole_utterances_may_be_in_one_batch(both):
    kept, _ = both(GOOD)
    rows, starts = np.array([0, 9, 1, 6]), np.array([-1, 6400, -1, -1])
    mixed, uncropped = kept.batch(rows, starts), kept.batch(rows)
    assert mixed.lengths.tolist() == [15, 25, 25, 50]
    assert mixed.samples.tolist() == [5000, CROP, 8000, 16000]
    assert uncropped.samples.tolist() == [5000, 24123, 8000, 16000]
    for place in (0, 2, 3):
        assert torch.equal(mixed.values[place], uncropped.values[place])
    assert torch.equal(mixed.values[1], uncropped.values[1][:, 20:45])
    assert torch.equal(mixed.scales, uncropped.scales)


def test_an_utterance_that_lacks_a_frame_of_a_crop_gives_all_it_has(both):
    """One sample more than a crop: there is one start besides the first, and no frame to leave out."""
    kept, live = both("mel_no_cmvn")
    row = np.array([SAMPLES.index(8001)])
    [uncropped] = kept.batch(row).values
    for start in (0, 1):
        [found] = kept.batch(row, np.array([start])).values
        assert found.shape[1] == int(live.batch(row, np.array([start])).lengths[0])
        assert torch.equal(found, uncropped)


def test_one_long_recording_tells_how_many_frames_a_crop_has(corpus, tmp_path, monkeypatch):
    """Heard in pieces, which lose frames where what a frame hears is not known; so the others are asked if any are."""
    monkeypatch.setattr(hearing, "LONGEST_SECONDS", 1)
    lengths = {}
    for name, examples in (("all", list(corpus.examples())), ("long", list(corpus.examples())[-3:])):
        asked = request(counting("fbank_no_cmvn"), corpus, examples, croppable=True, crop_seconds=CROP / 16000)
        asked.form = FRAMES
        kept = stored(asked, tmp_path, False, lambda line: None)
        lengths[name] = kept.batch(np.array([len(examples) - 1]), np.array([0])).lengths.tolist()
    expected = LiveFrames(asked).batch(np.array([2]), np.array([0])).lengths.tolist()
    assert lengths["all"] == expected == [48]
    assert 46 <= lengths["long"][0] <= 48


def test_crops_are_told_in_the_facts(both, corpus):
    kept, live = both("mel_no_cmvn")
    assert kept.facts()["crops"] == "taken in feature space, from the whole utterance's hidden states"
    assert live.facts()["crops"] == "taken from the waveform, at any sample"
    asked = dataclasses.replace(live.request, crop_seconds=None)
    assert LiveFrames(asked).facts()["crops"] is None
