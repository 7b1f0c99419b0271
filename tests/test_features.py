"""Time means stand for frames: the same logits, gradients and, within what blocks allow, the same crops."""

import dataclasses

import numpy as np
import pytest
import torch
from feature_sets import counting, noise_corpus, put_noise, relative, request
from torch.nn.functional import cross_entropy
from user_files import GOOD, load, write_file

from downstream.fit.heads import MeanLinear
from downstream.represent import hearing
from downstream.represent.extraction import stored
from downstream.represent.features import FRAMES, LiveFeatures, norm_rows
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError
from upstream.types import HiddenStates


def both(request, cache):
    return stored(request, cache, progress=False, say=pytest.fail), LiveFeatures(request)


def utterances(manifest, count=None):
    examples = list(manifest.examples())
    return examples[:: max(1, len(examples) // count)] if count else examples


# The identity


def assert_same_logits_and_gradients(head, states, means, classes):
    """Both sides add up some hundreds of products of float32 in another order. Each addition rounds by 6e-8 of its
    sum at most and the errors partly cancel, which leaves a few 1e-7 of the length of the result."""
    target = torch.arange(len(means)) % classes
    sides = []
    for compute in (lambda: head(states), lambda: head.from_means(means)):
        logits = compute()
        head.zero_grad()
        cross_entropy(logits, target).backward()
        sides.append((logits.detach(), {name: p.grad.clone() for name, p in head.named_parameters()}))
    (logits, gradients), (logits_of_means, gradients_of_means) = sides
    assert relative(logits_of_means[None], logits[None]) < 2e-6
    for name, gradient in gradients.items():
        assert gradient.norm() > 0 or name == "mix.weights", name
        assert relative(gradients_of_means[name][None], gradient[None]).nan_to_num() < 5e-6, name


def new_head(*shape):
    """The same whatever was drawn before: rounding is more for some heads than for others."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return MeanLinear(*shape)


@pytest.mark.parametrize("layers", [1, 4])
def test_means_give_the_logits_and_gradients_of_frames(layers):
    random = torch.Generator().manual_seed(layers)
    lengths = torch.tensor([50, 7, 1, 33, 49])
    frames = [torch.randn(5, 50, 48, generator=random) + torch.randn(48, generator=random) for _ in range(layers)]
    means = torch.stack([torch.stack([f[i, :n].mean(0) for f in frames]) for i, n in enumerate(lengths)])
    for frame in frames:  # what lies past the end carries no meaning, whatever it is
        for i, n in enumerate(lengths):
            frame[i, n:] = 1000.0
    head = new_head(layers, 48, 32, 6)
    with torch.no_grad():
        head.mix.weights.copy_(torch.linspace(-1, 1, layers) if layers > 1 else torch.zeros(1))
    assert_same_logits_and_gradients(head, HiddenStates(frames, lengths, 320), means, 6)


def test_a_store_of_speech_gives_the_logits_and_gradients_of_a_padded_batch(mini_manifest, tmp_path):
    model = load(write_file(tmp_path, GOOD))
    asked = request(model, mini_manifest("iemocap"), utterances(mini_manifest("iemocap"), 12))
    kept, _ = both(asked, tmp_path)
    waves = [torch.from_numpy(asked.wave(example)) for example in asked.examples]
    assert len({len(wave) for wave in waves}) > 3
    head = new_head(3, 4, 16, 5)
    with torch.no_grad():
        head.mix.weights.copy_(torch.tensor([0.5, -1.0, 0.1]))
    assert_same_logits_and_gradients(head, model(waves), kept.batch(np.arange(len(waves))), 5)


@pytest.mark.parametrize("gain_db", [0.0, -3.0])
def test_kept_and_live_are_the_same_bits_for_whole_utterances(mini_manifest, tmp_path, gain_db):
    """Background files among them: many parts of one file."""
    manifest = mini_manifest("speech_commands")
    asked = request(counting("fbank_no_cmvn"), manifest, utterances(manifest, 60), gain_db=gain_db)
    assert any(example.start for example in asked.examples)
    kept, live = both(asked, tmp_path)
    rows = np.random.default_rng(0).permutation(len(asked.examples))
    assert torch.equal(kept.batch(rows), live.batch(rows))
    assert np.array_equal(kept.samples, live.samples)
    assert np.allclose(kept.layer_norms(rows[:9]), live.layer_norms(rows[:9]), rtol=1e-6)
    assert not kept.batch(rows[:2]).requires_grad


def test_the_gain_reaches_the_features(mini_manifest, tmp_path):
    """Spectral magnitudes are linear in the waveform: -3 dB is a factor of 0.708."""
    manifest = mini_manifest("speech_commands")
    plain, quiet = (
        stored(request(counting("stft_mag"), manifest, manifest.splits["test"][:4], gain_db=gain), tmp_path, False)
        for gain in (0.0, -3.0)
    )
    rows = np.arange(4)
    assert torch.allclose(quiet.batch(rows), plain.batch(rows) * 10 ** (-3 / 20), rtol=1e-5, atol=1e-7)
    assert quiet.folder != plain.folder


# Crops


def crops(features, asked, seed=0, step=1):
    """Rows longer than a crop, a random start in each, in multiples of `step`."""
    spare = features.samples - asked.crop_samples
    rows = np.flatnonzero(spare > 0)
    return rows, np.random.default_rng(seed).integers(0, spare[rows] // step + 1) * step


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """An upstream whose frames depend on their own 320 samples only, with crops of three blocks of ten frames."""
    folder = tmp_path_factory.mktemp("local")
    manifest = noise_corpus(folder / "data", 12, crop_of=range(2, 12))
    return folder, request(load(write_file(folder, GOOD)), manifest, croppable=True, crop_seconds=0.6)


def test_crops_that_start_on_a_block_are_exact(local):
    folder, asked = local
    kept, live = both(asked, folder)
    rows, starts = crops(kept, asked, step=3200)
    assert len(rows) == 10
    assert len(set(starts)) > 3
    starts[:3] = (kept.samples[rows[:3]] - asked.crop_samples) // 3200 * 3200  # the last block there is
    assert torch.allclose(kept.batch(rows, starts), live.batch(rows, starts), rtol=1e-5, atol=1e-6)


def test_crops_elsewhere_are_off_by_less_than_a_block(local):
    """The kept crop is the live one moved by half a block or less. At either end that exchanges five frames of thirty,
    and one more where frames do not start on a multiple of the hop: the means cannot be further apart than that share
    of the largest distance between two frames."""
    folder, asked = local
    kept, live = both(asked, folder)
    rows, starts = crops(kept, asked, seed=1)
    starts -= starts % 320
    distance = (kept.batch(rows, starts) - live.batch(rows, starts)).flatten(1).norm(dim=1)
    moved = 0
    for row, gap in zip(rows, distance, strict=True):
        states = asked.upstream([torch.from_numpy(asked.wave(asked.examples[row]))])
        frames = torch.stack(states.layers)[:, 0].transpose(0, 1).flatten(1)
        assert gap <= torch.cdist(frames, frames).max() * 5 / 30 + 1e-6
        moved += gap > 1e-4
    assert moved > 5  # else nothing was tested


def test_short_utterances_are_never_cropped(local):
    folder, asked = local
    kept, live = both(asked, folder)
    short = np.flatnonzero(kept.samples <= asked.crop_samples)
    assert len(short) == 2
    whole = kept.batch(short)
    assert torch.equal(kept.batch(short, np.full(len(short), -1)), whole)
    assert torch.equal(live.batch(short, np.full(len(short), -1)), whole)
    assert torch.equal(kept.batch(np.array([0, 5, 0]), np.array([-1, 0, -1]))[[0, 2]], kept.batch(np.array([0, 0])))


@pytest.mark.parametrize(
    ("corpus", "seconds", "near"),
    # What moving a crop by 0.1 s or less costs shrinks with its length. Measured here: 0.034 of the mean's length at
    # 0.6 s, 0.003 at the 8 s of speaker identification; a third of the distance to the whole utterance's mean.
    [("iemocap", 0.6, 0.06), ("voxceleb1", 8.0, 0.006)],
)
def test_kept_crops_of_speech_are_near_the_live_ones(mini_manifest, tmp_path, corpus, seconds, near):
    manifest = mini_manifest(corpus)
    chosen = utterances(manifest) if corpus == "voxceleb1" else utterances(manifest, 30)
    asked = request(counting("fbank_no_cmvn"), manifest, chosen, True, crop_seconds=seconds)
    kept, live = both(asked, tmp_path)
    rows, starts = crops(kept, asked)
    assert len(rows) > 15
    cropped = live.batch(rows, starts)
    distance, to_whole = (relative(x, cropped) for x in (kept.batch(rows, starts), live.batch(rows)))
    assert distance.mean() < near
    assert distance.mean() < to_whole.mean() / 2
    on_blocks = starts // 3200 * 3200  # what is left then: frames over the edge, which a cropped waveform lacks
    assert relative(kept.batch(rows, on_blocks), live.batch(rows, on_blocks)).mean() < near / 3


def test_crops_are_told_in_the_facts(local):
    kept, live = both(local[1], local[0])
    assert "feature space" in kept.facts()["crops"]
    assert "waveform" in live.facts()["crops"]


# Keys and facts


def test_the_key_changes_with_everything_that_changes_the_bytes(tmp_path):
    manifest = noise_corpus(tmp_path / "data", 4)
    model, other = counting("mel_no_cmvn"), counting("mel")
    examples = list(manifest.examples())
    variants = {
        "plain": request(model, manifest),
        "gain": request(model, manifest, gain_db=-3.0),
        "upstream": request(other, manifest),
        "crop": request(model, manifest, crop_seconds=0.2),
        "longer crop": request(model, manifest, crop_seconds=0.4),
        "form": dataclasses.replace(request(model, manifest), form=FRAMES),
    }
    keys = {name: variant.key for name, variant in variants.items()}
    assert len(set(keys.values())) == len(keys), keys
    again = request(model, manifest)
    assert again.key == keys["plain"]
    relabelled = [dataclasses.replace(e, target=("b",), group="x") for e in examples]
    part = dataclasses.replace(examples[0], start=160, stop=4000)
    for others in (relabelled, examples[:3], examples[::-1], [part, *examples[1:]]):
        assert request(model, manifest, others).key == keys["plain"]  # which utterances is no matter
    cropped = request(model, manifest, crop_seconds=0.2, croppable=[True, False, False, False])
    assert cropped.key == keys["crop"]
    put_noise(tmp_path / "data" / "000.wav", 0.7)
    assert request(model, manifest).key == keys["plain"]  # each record knows its own file


def test_a_change_in_a_user_file_changes_the_key(tmp_path):
    manifest = noise_corpus(tmp_path / "data", 2)
    first = request(load(write_file(tmp_path, GOOD)), manifest).key
    assert request(load(write_file(tmp_path, GOOD)), manifest).key == first
    assert request(load(write_file(tmp_path, GOOD.replace("n + 1", "n + 2"))), manifest).key != first


def test_files_of_other_rates_and_channels_are_counted(tmp_path):
    kinds = {"a": (16000, 1), "b": (8000, 1), "c": (44100, 2), "d": (16000, 2), "e": (48000, 1)}
    for seed, (name, (rate, channels)) in enumerate(kinds.items()):
        put_noise(tmp_path / "data" / f"{name}.wav", 1.0, rate, channels, seed)
    examples = [Example(name, f"{name}.wav", ("x",)) for name in kinds]
    manifest = Manifest("rates", tmp_path / "data", {"train": examples}, {})
    kept, live = both(request(counting(), manifest), tmp_path)
    facts = kept.facts()
    assert (facts["resampled"], facts["mixed_down"]) == (3, 2)
    assert torch.equal(kept.batch(np.arange(5)), live.batch(np.arange(5)))
    assert kept.samples.tolist() == [16000] * 5
    again = stored(request(counting(), manifest), tmp_path, False, pytest.fail).facts()
    assert (again["resampled"], again["mixed_down"]) == (3, 2)


def test_what_a_row_needs_to_know(tmp_path):
    manifest = noise_corpus(tmp_path / "data", 3)
    kept, live = both(request(counting(), manifest), tmp_path)
    facts = kept.facts()
    assert (facts["mode"], live.facts()["mode"]) == ("pooled", "live")
    assert facts["bytes"] == 3 * (80 + 1) * 4  # the mean, and the size of the one layer
    assert facts["crops"] is None
    assert live.facts()["bytes"] == 0
    put_noise(tmp_path / "data" / "000.wav", 0.5, seed=99)  # other samples, the same size
    changed = stored(request(counting(), manifest), tmp_path, False, print)
    assert changed.facts()["key"] == facts["key"]
    assert changed.facts()["audio"] != facts["audio"]


def test_long_utterances_are_heard_in_pieces_and_the_row_says_so(tmp_path, monkeypatch):
    """Frames of this upstream depend on their own 320 samples only, so that pieces must give those of the whole."""
    manifest = noise_corpus(tmp_path / "data", 6, crop_of=[1, 4])
    model = load(write_file(tmp_path, GOOD))
    marked = np.arange(6) != 1
    whole, live = both(request(model, manifest, croppable=marked, crop_seconds=0.6), tmp_path)
    assert whole.facts()["in_pieces"] == live.facts()["in_pieces"] == 0
    monkeypatch.setattr(hearing, "LONGEST_SECONDS", 1)
    said, asked = [], request(model, manifest, croppable=marked, crop_seconds=0.6)
    kept, live = stored(asked, tmp_path / "pieces", False, said.append), LiveFeatures(asked, said.append)
    assert kept.facts()["in_pieces"] == 2
    assert live.facts()["in_pieces"] == 1  # of the other one only crops are heard
    assert ["2 utterances are longer than 1 s" in said[0], "1 utterance is" in said[1], len(said)] == [True, True, 2]
    rows = np.arange(6)
    assert torch.allclose(kept.batch(rows), whole.batch(rows), rtol=1e-5, atol=1e-6)
    assert torch.equal(kept.batch(rows), live.batch(rows))
    starts = np.array([12800, 3200])
    assert torch.allclose(kept.batch(rows[[1, 4]], starts), whole.batch(rows[[1, 4]], starts), rtol=1e-4, atol=1e-5)
    assert np.allclose(kept.layer_norms(rows), whole.layer_norms(rows), rtol=1e-5)
    assert kept.reader.frames.tolist() == whole.reader.frames.tolist()
    stored(asked, tmp_path / "pieces", False, pytest.fail).close()  # nothing is said of what was kept before


def test_batches_are_kept_like_utterances_heard_alone(tmp_path):
    manifest = noise_corpus(tmp_path / "data", 9, crop_of=[1, 4])
    alone, together = (
        request(load(write_file(tmp_path, GOOD)), manifest, croppable=True, crop_seconds=0.6) for _ in range(2)
    )
    together.upstream.batch_seconds = 2.5
    stores = [stored(asked, tmp_path / str(n), False, pytest.fail) for n, asked in enumerate((alone, together))]
    rows, starts = crops(stores[0], alone, step=3200)
    assert len(rows) == 2
    for asked in (np.arange(9),), (rows, starts):
        assert torch.allclose(stores[0].batch(*asked), stores[1].batch(*asked), rtol=1e-5, atol=1e-6)
    assert stores[0].reader.blocks.tolist() == stores[1].reader.blocks.tolist()
    live = LiveFeatures(together)
    order = np.array([4, 0, 8, 1, 4])
    assert torch.allclose(live.batch(order), stores[0].batch(order), rtol=1e-5, atol=1e-6)


def test_an_utterance_too_short_for_a_frame_is_named(tmp_path):
    """Never padded: whoever wants a figure must say what is to become of it."""
    manifest = noise_corpus(tmp_path / "data", 3)
    put_noise(tmp_path / "data" / "001.wav", 0.02)
    asked = request(counting(), manifest)
    asked.upstream.min_samples = 400
    expected = r"001\.wav: 320 samples .*too short for upstream 'mel_no_cmvn', which needs 400 .*take it off.* on u1 "
    with pytest.raises(DataError, match=expected):
        stored(asked, tmp_path, False)
    with pytest.raises(DataError, match=expected):
        LiveFeatures(asked).batch(np.arange(3))
    asked.upstream.min_samples = 320
    assert len(stored(asked, tmp_path, False).batch(np.arange(3))) == 3


def test_the_folder_of_an_upstream_whose_name_is_no_folder_name(tmp_path):
    manifest, model = noise_corpus(tmp_path / "data", 2), counting()
    model.name = "hf:org/a model"
    kept = stored(request(model, manifest), tmp_path, False)
    assert kept.folder.parent.parent == tmp_path / "features"
    assert len(kept.batch(np.arange(2))) == 2


def test_a_missing_file_is_named(tmp_path):
    manifest = noise_corpus(tmp_path / "data", 3)
    (tmp_path / "data" / "001.wav").unlink()
    with pytest.raises(MissingError, match=r"001\.wav"):
        stored(request(counting(), manifest), tmp_path, False)


def test_layer_norms_are_taken_of_an_even_sample():
    rows = np.arange(100, 1100)
    few = norm_rows(rows)
    assert len(few) == 256
    assert (few[0], few[-1]) == (100, 1099)
    assert np.diff(few).max() <= 4
    assert norm_rows(rows[:7]).tolist() == list(range(100, 107))


def test_a_crop_shorter_than_half_a_block_has_a_mean(tmp_path):
    asked = request(counting(), noise_corpus(tmp_path / "data", 2), croppable=True, crop_seconds=0.05)
    kept = stored(asked, tmp_path, False)
    assert kept.batch(np.array([0]), np.array([1600])).isfinite().all()
