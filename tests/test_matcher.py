"""The matching of spoken queries with documents against scipy with dtw-python, and against s3prl."""

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from dtw import dtw
from oracles import import_s3prl_search
from scipy.spatial.distance import cdist

from downstream.search import matcher
from downstream.search.distances import DISTANCES, between, prepared
from downstream.search.matcher import Matcher
from upstream.errors import DataError, UsageError

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
DIMS = (4, 12, 39, 256, 768)
CPU = torch.device("cpu")


def scipy_distance(distance):
    """As SUPERB has them."""
    if distance == "cosine_exp":
        return lambda query, document: np.exp(cdist(query, document, "cosine")) - 1
    if distance == "cosine_neg_log":
        return lambda query, document: -np.log(1 - cdist(query, document, "cosine"))
    return partial(cdist, metric=distance)


def plain_cost(query, document, distance):
    found = scipy_distance(distance)(query, document)
    least, most = found.min(1, keepdims=True), found.max(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaled = (found - least) / np.maximum(most - least, 1e-9)
        return dtw(x=scaled, step_pattern="asymmetric", open_begin=True, open_end=True).normalizedDistance


def plain_costs(queries, documents, distance):
    return [[plain_cost(query.numpy(), document.numpy(), distance) for document in documents] for query in queries]


def spoken(random, lengths, dim, distance="cosine_exp"):
    """Frames of random numbers, which change slowly in every other utterance; posteriors where these are expected.

    The posteriors are half uniform: scipy loses the digits of small cosines.
    """
    found = []
    for number, length in enumerate(lengths):
        frames = random.standard_normal((length, dim))
        if number % 2:
            frames = frames.cumsum(axis=0) / np.sqrt(1 + np.arange(length))[:, None]
        frames = torch.from_numpy(frames.astype(np.float32))
        found.append((5 * frames).softmax(dim=1) / 2 + 0.5 / dim if distance == "cosine_neg_log" else frames)
    return found


def pairs(seed, dim, distance):
    """Ten queries and ten documents; some queries are longer than some documents, three are a part of one."""
    random = np.random.default_rng([seed, dim])
    queries = spoken(random, random.permutation([1, 2, 3, 120, *random.integers(1, 121, 6)]), dim, distance)
    documents = spoken(random, random.permutation([1, 2, 3, 300, *random.integers(1, 301, 6)]), dim, distance)
    longest = max(documents, key=len)
    for place in (0, 4, 7):
        first = int(random.integers(0, len(longest) - len(queries[place]) + 1))
        queries[place] = longest[first : first + len(queries[place])].clone()
    return queries, documents


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dim", DIMS)
def test_costs_are_those_of_scipy_and_dtw_python(distance, dim):
    queries, documents = pairs(0, dim, distance)
    expected = plain_costs(queries, documents, distance)
    for dtype, tolerance in TOLERANCE.items():
        found = Matcher(queries, distance, dtype, CPU).costs(documents)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("distance", DISTANCES)
def test_costs_are_those_of_s3prl(distance):
    expert = import_s3prl_search()
    theirs = getattr(expert, distance, None) or partial(cdist, metric=distance)
    settings = {
        "step_pattern": "asymmetric",
        "keep_internals": False,
        "distance_only": False,
        "open_begin": True,
        "open_end": True,
    }
    random = np.random.default_rng(1)
    queries = spoken(random, [5, 31, 75], 64, distance)
    documents = spoken(random, [4, 20, 150], 64, distance)
    scores = [
        [expert.match(query.numpy(), document.numpy(), "", "", theirs, True, settings)[2] for document in documents]
        for query in queries
    ]
    for dtype, tolerance in TOLERANCE.items():
        found = Matcher(queries, distance, dtype, CPU).costs(documents)
        np.testing.assert_allclose(-found, scores, rtol=0, atol=tolerance)


@pytest.mark.parametrize("distance", DISTANCES)
def test_all_documents_at_once_as_on_a_gpu_cost_the_same(distance):
    queries, documents = pairs(2, 16, distance)
    ours = Matcher(queries, distance, torch.float64, CPU)
    together = ours._in_all([ours._prepared(document) for document in documents])
    np.testing.assert_allclose(together, ours.costs(documents), rtol=0, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_costs_on_a_gpu_are_those_on_the_cpu(distance, dtype):
    queries, documents = pairs(2, 256, distance)
    expected = Matcher(queries, distance, torch.float64, CPU).costs(documents)
    found = Matcher(queries, distance, dtype, torch.device("cuda")).costs(documents)
    np.testing.assert_allclose(found, expected, rtol=0, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_are_those_of_scipy(distance):
    random = np.random.default_rng(3)
    queries, documents = spoken(random, [40], 48, distance)[0], spoken(random, [60], 48, distance)[0]
    expected = scipy_distance(distance)(queries.numpy(), documents.numpy())
    for dtype, tolerance in TOLERANCE.items():
        found = between(*(prepared(frames.to(dtype), distance) for frames in (queries, documents)), distance)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.double().numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("distance", ["cityblock", "euclidean"])
def test_near_frames_far_from_zero_keep_their_digits(distance):
    frames = 1000 + np.random.default_rng(4).standard_normal((30, 64)).astype(np.float32)
    expected = cdist(frames, frames, distance)
    found = between(torch.from_numpy(frames), torch.from_numpy(frames), distance)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "cosine_exp"])
def test_a_frame_of_zeros_is_at_right_angles_to_all(distance):
    frames = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    found = between(prepared(frames, distance), prepared(frames, distance), distance)
    expected = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    torch.testing.assert_close(found, expected.expm1() if distance == "cosine_exp" else expected)


@pytest.mark.parametrize("distance", ["cosine_exp", "cityblock", "euclidean"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_document_that_is_the_same_all_along_costs_nothing(distance, dtype):
    # The columns of a product may differ in the last digit of a cosine in double precision, which is 1e-7 of the floor.
    document = torch.ones(1, 768).repeat(333, 1)
    found = Matcher(spoken(np.random.default_rng(5), [7, 30], 768), distance, dtype, CPU).costs(
        [document, 0 * document]
    )
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_cosines_that_are_not_positive_have_no_logarithm():
    queries = spoken(np.random.default_rng(6), [9], 16)
    expected = "cosine_neg_log is for posteriors.*Use --set qbe.distance=cosine_exp"
    for documents in (queries, [-queries[0]], [torch.zeros(3, 16)]):
        with pytest.raises(UsageError, match=expected):
            Matcher([queries[0].abs()], "cosine_neg_log", torch.float32, CPU).costs(documents)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(wrong):
    good, bad = torch.randn(6, 4), torch.randn(7, 4)
    bad[3, 2] = wrong
    said = "no finite numbers. Type: python -m benchmark check-upstream NAME"
    with pytest.raises(DataError, match=f"query 2 of 2 has features that are {said}"):
        Matcher([good, bad], "cosine_exp", torch.float32, torch.device("cpu"))
    with pytest.raises(DataError, match=f"document 1 of 1 has features that are {said}"):
        Matcher([good], "cosine_exp", torch.float32, torch.device("cpu")).costs([bad])


def test_no_frames_are_refused():
    frames, none = torch.ones(3, 4), torch.empty(0, 4)
    with pytest.raises(DataError, match=re.escape("query 2 of 2 has no frames")):
        Matcher([frames, none], "cosine", torch.float32, CPU)
    with pytest.raises(DataError, match=re.escape("document 1 of 2 has no frames")):
        Matcher([frames], "cosine", torch.float32, CPU).costs([none, frames])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_threads_share_a_matcher(dtype):
    random = np.random.default_rng(7)
    queries = spoken(random, random.integers(5, 80, 20), 32)
    documents = spoken(random, random.integers(5, 200, 12), 32)
    ours = Matcher(queries, "cosine_exp", dtype, CPU)
    alone = ours.costs(documents)
    with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        together = list(pool.map(lambda document: ours.costs([document]), documents))
    assert np.array_equal(np.concatenate(together, axis=1), alone)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_where_the_stack_of_queries_is_cut_does_not_matter(rows, monkeypatch):
    queries, documents = pairs(8, 24, "cosine_exp")
    expected = Matcher(queries, "cosine_exp", torch.float64, CPU).costs(documents)
    monkeypatch.setattr(matcher, "_ROWS", rows)
    found = Matcher(queries, "cosine_exp", torch.float64, CPU).costs(documents)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_features_are_left_as_they_were():
    queries, documents = pairs(9, 8, "cosine_exp")
    before = [frames.clone() for frames in (*queries, *documents)]
    for distance in ("cosine_exp", "euclidean"):
        Matcher(queries, distance, torch.float32, CPU).costs(documents)
    assert all(map(torch.equal, before, (*queries, *documents)))
