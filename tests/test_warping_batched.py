"""The batched matching against dtw-python, and against the recurrence row by row; on a GPU too where there is one."""

import warnings

import numpy as np
import pytest
import torch
from dtw import dtw
from torch.overrides import TorchFunctionMode

from downstream.search import warping_batched
from downstream.search.warping_batched import batched_costs

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


def scaled(distances):
    least, most = distances.min(axis=1, keepdims=True), distances.max(axis=1, keepdims=True)
    return (distances - least) / np.maximum(most - least, 1e-9)


def plain_cost(distances):
    """The recurrence of one query and one document, row by row."""
    first, *others = scaled(distances)
    total = first
    for row in others:
        before = np.concatenate([[np.inf, np.inf], total])
        total = row + np.minimum(np.minimum(before[:-2], before[1:-1]), before[2:])
    return total.min() / len(distances)


def dtw_python_cost(distances):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = dtw(x=scaled(distances), step_pattern="asymmetric", open_begin=True, open_end=True)
    return found.normalizedDistance


def each_pair(distances, query_lengths, document_lengths, cost):
    """Of one pair after the other, in double precision."""
    rows = np.split(distances.double().numpy(), np.cumsum(query_lengths)[:-1])
    return np.array([[cost(part) for part in np.split(row, np.cumsum(document_lengths)[:-1], 1)] for row in rows])


def drawn(seed, query_lengths, document_lengths, dtype=torch.float64):
    """Distances of smooth features; every third query is an exact copy of a part of a document that is long enough."""
    random = np.random.default_rng(seed)
    documents = [random.standard_normal((length, 8)).cumsum(axis=0) for length in document_lengths]
    queries = [random.standard_normal((length, 8)).cumsum(axis=0) for length in query_lengths]
    for number in range(0, len(queries), 3):
        length = len(queries[number])
        for document in documents[number % len(documents) :]:
            if len(document) > length:
                queries[number] = document[-length:]
                break
    frames, others = torch.from_numpy(np.concatenate(queries)), torch.from_numpy(np.concatenate(documents))
    cosines = torch.nn.functional.normalize(frames) @ torch.nn.functional.normalize(others).T
    return torch.expm1(1 - cosines).to(dtype)


def lengths(seed, queries, documents):
    """Mixed, with 1, 2 and 3 frames among them, some queries longer than some documents."""
    random = np.random.default_rng(seed)
    of_queries = [1, 2, 3, *random.integers(1, 60, queries - 3).tolist()]
    of_documents = [1, 2, 3, *random.integers(1, 90, documents - 3).tolist()]
    return random.permutation(of_queries).tolist(), random.permutation(of_documents).tolist()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("cost", [plain_cost, dtw_python_cost])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_costs_are_those_of_each_pair_alone(device, cost, dtype):
    for seed in range(2):
        query_lengths, document_lengths = lengths(seed, 12, 15)
        distances = drawn(seed, query_lengths, document_lengths, dtype)
        costs = batched_costs(distances.to(device), query_lengths, document_lengths)
        assert costs.dtype == dtype and costs.device.type == device
        expected = each_pair(distances, query_lengths, document_lengths, cost)
        np.testing.assert_allclose(costs.cpu().double().numpy(), expected, rtol=0, atol=TOLERANCE[dtype])


def test_hand_made():
    # Document 1 has the rows 0 1 2 and 4 2 0, scaled to 0 1/2 1 and 1 1/2 0: from the first column to the third, two
    # frames on, both cost 0. Document 2 is the same the other way round; nothing goes back, so the best is to stay: in
    # the middle 1/2 + 1/2, in the first or last 1 + 0, each 1 / 2 frames. Document 3 has one frame, scaled to 0.
    distances = torch.tensor([[0.0, 1, 2, 2, 1, 0, 7], [4, 2, 0, 0, 2, 4, 3]])
    assert batched_costs(distances, [2], [3, 3, 1]).tolist() == [[0, 0.5, 0]]


def test_a_path_goes_two_frames_on_and_no_further():
    # Free cells are the first column of the first row and one column of the second, all others cost 1 of 2 frames.
    for column, cost in [(0, 0), (1, 0), (2, 0), (3, 0.5), (4, 0.5)]:
        distances = torch.ones(2, 5)
        distances[0, 0] = distances[1, column] = 0
        assert batched_costs(distances, [2], [5]).item() == cost


def test_no_path_comes_from_the_document_before():
    # The free cell of row 1 is the last of document 1, or the one before; that of row 2 is the first of document 2:
    # one step or two further on, but not to be had.
    for last in (2, 1):
        distances = torch.tensor([[1.0, 1, 1, 1, 0, 1], [1, 1, 1, 0, 1, 1]])
        distances[0, last] = 0
        # Document 2: 1 0 1 and 0 1 1. To the first frame from the first: 1 + 0; to others from the second: 0 + 1.
        assert batched_costs(distances, [2], [3, 3])[0, 1].item() == 0.5


def test_rows_with_hardly_a_difference_cost_hardly_anything():
    assert batched_costs(torch.full((4, 9), 0.3), [3, 1], [4, 5]).tolist() == [[0, 0], [0, 0]]
    # A difference of 1e-10 is a tenth of the least range of 1e-9: rows of 0.1 0 and 0 0.1, and 0.1 of 2 frames to pay.
    distances = 0.3 + 1e-10 * torch.eye(2, dtype=torch.float64)
    assert batched_costs(distances, [2], [2]).item() == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_what_is_computed_together_changes_no_bit(dtype, monkeypatch):
    query_lengths, document_lengths = lengths(5, 12, 15)
    distances = drawn(5, query_lengths, document_lengths, dtype)
    whole = batched_costs(distances, query_lengths, document_lengths)
    for most in (100_000, 10_000, 1):
        monkeypatch.setattr(warping_batched, "_MOST_BYTES", most)
        assert torch.equal(batched_costs(distances, query_lengths, document_lengths), whole)


class Largest(TorchFunctionMode):
    """The most bytes that any one result of torch keeps."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        owns = isinstance(result, torch.Tensor) and result._base is None
        self.bytes = max(self.bytes, result.untyped_storage().nbytes() if owns else 0)
        return result


def test_temporary_values_stay_below_the_limit(monkeypatch):
    query_lengths, document_lengths = [30] * 20, [50] * 40
    distances = drawn(0, query_lengths, document_lengths)
    with Largest() as unlimited:
        batched_costs(distances, query_lengths, document_lengths)
    assert unlimited.bytes > distances.nbytes
    limit = 30 * 8 * 200  # enough for one query and one document, and for few more
    monkeypatch.setattr(warping_batched, "_MOST_BYTES", limit)
    with Largest() as limited:
        batched_costs(distances, query_lengths, document_lengths)
    assert 0 < limited.bytes <= limit


def test_nothing_waits_for_values_on_the_device():
    # A tensor on the meta device has no values: whatever asks for one, or for how many are true, is an error there.
    distances = torch.empty(9, 30, device="meta")
    costs = batched_costs(distances, [4, 5], [10, 1, 19])
    assert costs.shape == (2, 3) and costs.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_not_waited_for():
    query_lengths, document_lengths = lengths(0, 12, 15)
    distances = drawn(0, query_lengths, document_lengths, torch.float32).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batched_costs(distances, query_lengths, document_lengths)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_distances_are_left_as_they_were():
    query_lengths, document_lengths = lengths(7, 6, 6)
    distances = drawn(7, query_lengths, document_lengths)
    before = distances.clone()
    batched_costs(distances, query_lengths, document_lengths)
    assert torch.equal(distances, before)


@pytest.mark.parametrize(("query_lengths", "document_lengths"), [([4], [3, 3]), ([5, 0], [3, 3]), ([5], [6, 0])])
def test_lengths_that_do_not_fit_are_refused(query_lengths, document_lengths):
    with pytest.raises(ValueError, match=r"distances are \(5, 6\)"):
        batched_costs(torch.zeros(5, 6), query_lengths, document_lengths)
