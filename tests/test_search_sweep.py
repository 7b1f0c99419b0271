"""The search of every query in every document against s3prl's own matching, and that it goes on where it was left."""

import time

import numpy as np
import pytest
import test_stdlist
import torch
from feature_sets import noise_corpus, request
from search_sets import (
    DOCUMENT_LENGTHS,
    DOCUMENTS,
    LAYERS,
    SHORT,
    SIDES,
    Elsewhere,
    assert_same_bytes,
    costs_of,
    documents_and_queries,
    stored_frames,
    sweep_of,
    whole,
)
from user_files import load, write_file

from downstream.represent.features import FRAMES
from downstream.represent.frame_features import LiveFrames
from downstream.search import sweep
from downstream.search.matcher import Matcher
from upstream.errors import DataError

expert = test_stdlist.expert
PEER = {"step_pattern": "asymmetric", "keep_internals": False, "distance_only": False} | dict.fromkeys(
    ("open_begin", "open_end"), True
)
BLOCK = 3  # documents at a time
LAYERS_OF_MODEL = """
    import torch

    BASIS = torch.cos(torch.arange(320.0)[:, None] * torch.arange(1.0, 7.0) / 9)

    class Upstream:
        def __call__(self, wavs):
            feats = [wav.unfold(0, 320, 320) @ BASIS for wav in wavs]
            lengths = [len(feat) for feat in feats]
            feats = torch.nn.utils.rnn.pad_sequence(feats, batch_first=True)
            return [feats, feats.abs().sqrt() + 5, (20 * feats).sin()], lengths
"""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(sweep, "_BLOCK", BLOCK)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    found = stored_frames(tmp_path_factory.mktemp("frames"), documents_and_queries())
    yield found
    found.close()


def in_single(frames):
    """As s3prl does it."""
    frames = torch.cat(frames)
    return frames.mean(0), torch.clamp(frames.std(0), 1e-9)


def in_double(frames):
    frames = torch.cat(frames).double()
    return frames.mean(0).float(), frames.std(0).float()


def not_at_all(frames):
    return 0.0, 1.0


def peer_costs(module, features, scaling, documents=DOCUMENTS, sides=SIDES):
    """With s3prl's `match`, on frames scaled by those of a side's queries and of all documents together."""
    held, found = whole(features, documents), {}
    for side, rows in sides.items():
        queries = whole(features, rows)
        found[side] = np.zeros((LAYERS, len(queries), len(held)))
        for layer in range(LAYERS):
            mean, deviation = scaling([one[layer] for one in (*queries, *held)])
            for i, query in enumerate(queries):
                for j, document in enumerate(held if query.shape[1] >= 5 else ()):
                    scaled = [((one[layer] - mean) / deviation).numpy() for one in (query, document)]
                    *_, score = module.match(*scaled, "", "", module.cosine_exp, True, PEER)
                    found[side][layer, i, j] = -score
    return found


def assert_near(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for side in found:
        assert np.ptp(expected[side]) > 0.02
        np.testing.assert_allclose(found[side], expected[side], rtol=0, atol=tolerance)


# s3prl sums frames in single precision, which is 1e-7 of a scaled frame: nearer than that its costs cannot be met.
# With mean and deviation summed in double precision and rounded to single, all digits are the same.
@pytest.mark.parametrize(("scaling", "tolerance"), [(in_single, 1e-6), (in_double, 1e-12)])
def test_costs_are_those_of_s3prl(features, expert, tmp_path, scaling, tolerance):
    module, _ = expert
    assert_near(costs_of(features, tmp_path), peer_costs(module, features, scaling), tolerance)


def test_in_single_precision(features, expert, tmp_path):
    module, _ = expert
    found = costs_of(features, tmp_path, "precision=float32")
    assert_near(found, peer_costs(module, features, in_double), 1e-6)
    assert any((found[side] != costs).any() for side, costs in costs_of(features, tmp_path).items())


def test_unscaled_frames(features, expert, tmp_path):
    module, _ = expert
    found = costs_of(features, tmp_path, "normalize=false")
    assert_near(found, peer_costs(module, features, not_at_all), 1e-12)
    assert not list(tmp_path.glob("statistics-*"))


def test_frames_that_are_not_kept(expert, tmp_path):
    module, _ = expert
    model = load(write_file(tmp_path, LAYERS_OF_MODEL))
    asked = request(model, noise_corpus(tmp_path / "audio", 14, seconds=0.2))
    asked.form = FRAMES
    features = LiveFrames(asked)
    rows = {"documents": np.arange(8), "sides": {"dev": np.arange(8, 11), "test": np.arange(11, 14)}}
    assert_near(
        costs_of(features, tmp_path, **rows), peer_costs(module, features, in_double, **rows), 1e-6
    )  # the same audio in another batch has other last digits


def test_a_side_is_scaled_by_itself(features, tmp_path):
    both = costs_of(features, tmp_path / "both")
    for side, rows in SIDES.items():
        alone = costs_of(features, tmp_path / side, sides={side: rows})
        assert_same_bytes(alone, {side: both[side]})


def test_documents_keep_their_order_whatever_threads_do(features, tmp_path, monkeypatch):
    expected = costs_of(features, tmp_path / "one")
    costs, order = Matcher.costs, []

    def late(self, documents):
        time.sleep(0.02 * (len(documents[0]) > 20))
        order.append(len(documents[0]))
        return costs(self, documents)

    monkeypatch.setattr(Matcher, "costs", late)
    monkeypatch.setattr(sweep, "cores", lambda: 4)
    monkeypatch.setattr(sweep, "_BLOCK", 8)
    assert_same_bytes(costs_of(features, tmp_path / "four"), expected)
    assert order.index(1) < order.index(30)  # the fourth document came before the first


def test_short_queries_cost_nothing_and_are_told(features, tmp_path):
    found = sweep_of(features, tmp_path)
    costs = found.costs()
    assert {side: places.tolist() for side, places in found.short.items()} == SHORT
    for side, places in SHORT.items():
        short = np.isin(np.arange(len(SIDES[side])), places)
        assert (costs[side][:, short] == 0).all() and (costs[side][:, ~short].max(axis=2) > 0).all()


def test_a_side_of_short_queries_only(features, tmp_path):
    sides = {"dev": SIDES["dev"][3:], "test": SIDES["test"]}
    costs = costs_of(features, tmp_path, sides=sides)
    assert costs["dev"].shape == (LAYERS, 1, 8) and not costs["dev"].any()
    assert_same_bytes({"test": costs["test"]}, costs_of(features, tmp_path / "test", sides={"test": SIDES["test"]}))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("row", [2, 9])
@pytest.mark.parametrize("normalize", ["true", "false"])
def test_nan_in_features_does_not_come_out_as_a_cost(tmp_path, row, normalize):
    values = documents_and_queries()
    values[row][1, 2, 0] = torch.nan
    with pytest.raises(DataError, match="features that are no finite numbers"):
        costs_of(stored_frames(tmp_path, values), tmp_path, f"normalize={normalize}")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_device_gets_all_documents_of_a_block_together(features, tmp_path, monkeypatch, precision):
    given, costs = [], Matcher.costs

    def noted(self, documents):
        given.append([len(document) for document in documents])
        return costs(self, documents)

    monkeypatch.setattr(Matcher, "costs", noted)
    elsewhere = stored_frames(tmp_path, documents_and_queries(), device=Elsewhere("cpu"))
    monkeypatch.setattr(type(elsewhere), "eval_rows", 2)  # read in smaller parts than are computed
    found = costs_of(elsewhere, tmp_path, f"precision={precision}")
    lengths = list(DOCUMENT_LENGTHS)
    assert given == [lengths[first : first + BLOCK] for first in range(0, 8, BLOCK) for _ in range(2 * LAYERS)]
    on_cpu = costs_of(features, tmp_path / "cpu", f"precision={precision}")
    assert_near(found, on_cpu, {"float32": 1e-6, "float64": 1e-12}[precision])
