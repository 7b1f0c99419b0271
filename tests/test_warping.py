"""The compiled matching against dtw-python, and against paths followed by hand."""

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dtw import dtw

from downstream.search import warping
from downstream.search.warping import Warping

TOLERANCE = {np.float64: 1e-12, np.float32: 1e-6}


def costs(distances, lengths, exponential=False, part=512):
    found = Warping(np.array(lengths), distances.shape[1], exponential)
    for first in range(0, len(distances), part):
        rows = distances[first : first + part]
        found.advance(rows, rows.min(axis=1), rows.max(axis=1))
    return found.costs


def dtw_python_cost(distances):
    least, most = distances.min(axis=1, keepdims=True), distances.max(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaled = (distances - least) / np.maximum(most - least, 1e-9)
        return dtw(x=scaled, step_pattern="asymmetric", open_begin=True, open_end=True).normalizedDistance


def drawn(seed, lengths, frames, kind):
    """Between 0 and 2, as distances by cosines are; some rows hardly differ from frame to frame."""
    random = np.random.default_rng(seed)
    distances = random.uniform(0, 2, (sum(lengths), frames))
    distances[::7] = 0.3 + 0.01 * distances[::7]
    return distances.astype(kind)


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("exponential", [False, True])
def test_costs_are_those_of_dtw_python(kind, exponential):
    random = np.random.default_rng(0)
    for seed, frames in enumerate([1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 300]):
        lengths = random.permutation([1, 2, 3, 4, 5, 119, 120, *random.integers(1, 121, 8)])
        distances = drawn(seed, lengths, frames, kind)
        meant = np.expm1(distances.astype(float)) if exponential else distances.astype(float)
        expected = [dtw_python_cost(part) for part in np.split(meant, np.cumsum(lengths)[:-1])]
        found = costs(distances, lengths, exponential)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[kind])


def test_a_path_goes_on_by_no_frame_by_one_or_by_two():
    # The first frame of the query fits the document's first only, the second that numbered `fits`. Where no path goes
    # from the one to the other, one of the two frames has the distance 1.
    def cost(fits):
        rows = np.ones((2, 6))
        rows[0, 0] = rows[1, fits] = 0
        return costs(rows, [2])[0]

    assert [cost(fits) for fits in range(6)] == [0, 0, 0, 0.5, 0.5, 0.5]


def test_a_path_does_not_go_back():
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert costs(rows, [2])[0] == 0.5


def test_a_path_begins_and_ends_anywhere():
    rows = np.ones((3, 9))
    rows[0, 4] = rows[1, 5] = rows[2, 6] = 0
    assert costs(rows, [3])[0] == 0


def test_the_cost_is_per_frame_of_the_query():
    # Scaled, the rows are 0, 1, 1, 1 and 0.25, 0.5, 1, 0. The last frame is too far from the first, so that 0 + 0.25 at
    # the first frame is best; per frame of the query it is half of that.
    rows = np.array([[2.0, 6.0, 6.0, 6.0], [2.0, 3.0, 5.0, 1.0]])
    assert costs(rows, [2])[0] == 0.125


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("exponential", [False, True])
def test_a_document_that_is_the_same_all_along_costs_nothing(kind, exponential):
    for frames in (1, 2, 40):
        rows = np.repeat(drawn(0, [30], 1, kind), frames, axis=1)
        assert costs(rows, [12, 18], exponential).tolist() == [0, 0]


@pytest.mark.parametrize("exponential", [False, True])
def test_a_range_below_the_floor_is_not_blown_up(exponential):
    # The distances of a row differ by 2e-10: over the floor of 1e-9 that is 0.2, and 0.2 e after the exponential. One
    # of the two frames has it, as a path does not go back.
    rows = np.array([[1.0 + 2e-10, 1.0], [1.0, 1.0 + 2e-10]])
    expected = (0.2 * np.e if exponential else 0.2) / 2
    assert costs(rows, [2], exponential)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("exponential", [False, True])
def test_parts_of_any_size_give_the_same_bits(exponential):
    lengths = [5, 1, 17, 40, 2, 33]
    distances = drawn(1, lengths, 50, np.float32)
    whole = costs(distances, lengths, exponential)
    for part in (1, 2, 7, 16, 97):
        assert np.array_equal(costs(distances, lengths, exponential, part), whole)


def test_threads_do_not_disturb_each_other():
    lengths = [20, 30, 40]
    work = [drawn(seed, lengths, 200 + seed, np.float64) for seed in range(16)]
    alone = [costs(distances, lengths, part=8) for distances in work]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda distances: costs(distances, lengths, part=8), work))
    assert np.array_equal(alone, together)


@pytest.mark.parametrize("kind", TOLERANCE)
def test_the_polynomial_is_the_exponential(kind):
    growth = np.linspace(1e-3, 2, 2000)
    expected = np.expm1(growth) / growth
    found = np.polyval(np.array(warping.growth_factors(kind), dtype=float), growth)
    np.testing.assert_allclose(found, expected, rtol=30 * np.finfo(kind).eps)


def test_names_of_distances_load_neither_torch_nor_numba():
    code = "import sys, downstream.search.distances, downstream.search.warping; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "downstream.search.distances" in loaded
    assert not {"torch", "numba"} & set(loaded)
