"""A search goes on where it was left: what is done is not done again, and what is damaged or of another search is."""

import io

import pytest
from search_sets import (
    DOCUMENTS,
    LAYERS,
    SIDES,
    Elsewhere,
    assert_same_bytes,
    costs_of,
    documents_and_queries,
    stored_frames,
)
from tqdm import tqdm

from downstream.search import sweep
from downstream.search.matcher import Matcher
from downstream.search.moments import Moments
from upstream.errors import DataError

BLOCK = 3  # documents at a time, which makes three blocks of the eight
CALLS = LAYERS * len(SIDES)  # of the matcher for each document
PAIRS = LAYERS * sum(map(len, SIDES.values()))  # with each document


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(sweep, "_BLOCK", BLOCK)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    found = stored_frames(tmp_path_factory.mktemp("frames"), documents_and_queries())
    yield found
    found.close()


@pytest.fixture(scope="module")
def undisturbed(features, tmp_path_factory):
    """The costs of a search that nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "_BLOCK", BLOCK)
        return costs_of(features, tmp_path_factory.mktemp("undisturbed"))


class Calls:
    """Counts the calls of a method, and may raise something at one of them."""

    def __init__(self, monkeypatch, of, name, at=0, error=None):
        self.count, original = 0, getattr(of, name)

        def counted(*words):
            self.count += 1
            if self.count == at:
                raise error
            return original(*words)

        monkeypatch.setattr(of, name, counted)


def blocks(folder, kind):
    return sorted(folder.glob(f"{kind}-*.state"))


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_what_is_done_is_not_done_again(features, undisturbed, tmp_path, monkeypatch):
    calls = Calls(monkeypatch, Matcher, "costs")
    assert_same_bytes(costs_of(features, tmp_path), undisturbed)
    assert calls.count == len(DOCUMENTS) * CALLS
    assert [len(blocks(tmp_path, kind)) for kind in ("statistics", "search")] == [3, 3]
    measured = Calls(monkeypatch, Moments, "of")
    assert_same_bytes(costs_of(features, tmp_path), undisturbed)
    assert calls.count == len(DOCUMENTS) * CALLS
    assert measured.count == sum(map(len, SIDES.values()))  # queries are measured every time


@pytest.mark.parametrize("error", [DataError("stopped"), KeyboardInterrupt("stopped")], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("document", range(len(DOCUMENTS)))
def test_a_search_that_is_stopped_goes_on(features, undisturbed, tmp_path, document, error):
    done = document // BLOCK
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "cores", lambda: 1)  # else the documents beside it are looked at too
        Calls(patch, Matcher, "costs", document * CALLS + 2, error)
        with pytest.raises(type(error), match="stopped"):
            costs_of(features, tmp_path)
    assert len(blocks(tmp_path, "search")) == done
    with pytest.MonkeyPatch.context() as patch:
        calls = Calls(patch, Matcher, "costs")
        assert_same_bytes(costs_of(features, tmp_path), undisturbed)
    assert calls.count == (len(DOCUMENTS) - done * BLOCK) * CALLS
    assert len(blocks(tmp_path, "search")) == len(list(tmp_path.iterdir())) / 2 == 3


def test_statistics_that_are_stopped_go_on(features, undisturbed, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "cores", lambda: 1)
        Calls(patch, Moments, "of", BLOCK + 2, DataError("stopped"))
        with pytest.raises(DataError, match="stopped"):
            costs_of(features, tmp_path)
    assert len(list(tmp_path.iterdir())) == len(blocks(tmp_path, "statistics")) == 1
    assert_same_bytes(costs_of(features, tmp_path), undisturbed)


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    return content[:-200] + bytes([content[-200] ^ 1]) + content[-199:]


@pytest.mark.parametrize("damage", [cut, flipped, lambda content: b"", lambda content: b"no block"])
@pytest.mark.parametrize("kind", ["statistics", "search"])
def test_a_damaged_block_is_told_and_done_again(features, undisturbed, tmp_path, monkeypatch, capsys, kind, damage):
    costs_of(features, tmp_path)
    _, path, _ = blocks(tmp_path, kind)
    path.write_bytes(damage(path.read_bytes()))
    calls = Calls(monkeypatch, Matcher, "costs")
    assert_same_bytes(costs_of(features, tmp_path), undisturbed)
    assert calls.count == (BLOCK * CALLS if kind == "search" else 0)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"{path}: ") and "done again" in said[0]
    costs_of(features, tmp_path)
    assert capsys.readouterr().err == ""  # the new one is whole


def test_no_damage_goes_unnoticed(features, tmp_path, capsys):
    costs_of(features, tmp_path)
    path = blocks(tmp_path, "search")[0]
    content = path.read_bytes()
    assert sweep._load(path).keys() == SIDES.keys()
    places = range(0, len(content), 7)
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        assert sweep._load(path) is None
    assert capsys.readouterr().err.count("\n") == len(places)


OTHER_SEARCHES = {
    "precision": (("precision=float32",), {}),
    "distance": (("distance=cosine",), {}),
    "not scaled": (("normalize=false",), {}),
    "fewer long queries": (("shortest_query=8",), {}),
    "fewer queries": ((), {"sides": {"dev": SIDES["dev"][:3], "test": SIDES["test"]}}),
    "other queries": ((), {"sides": {"dev": SIDES["dev"], "test": SIDES["test"][::-1]}}),
    "sides changed": ((), {"sides": {"dev": SIDES["test"], "test": SIDES["dev"]}}),
    "other order": ((), {"documents": DOCUMENTS[::-1]}),
    "fewer documents": ((), {"documents": DOCUMENTS[:7]}),
}


@pytest.mark.parametrize(("changes", "rows"), OTHER_SEARCHES.values(), ids=OTHER_SEARCHES)
def test_another_search_reads_no_block_of_this_one(features, undisturbed, tmp_path, changes, rows):
    costs_of(features, tmp_path / "both")
    other = costs_of(features, tmp_path / "both", *changes, **rows)
    assert_same_bytes(other, costs_of(features, tmp_path / "alone", *changes, **rows))
    assert any(other[side].tobytes() != undisturbed[side].tobytes() for side in SIDES)
    assert names(tmp_path / "alone") < names(tmp_path / "both")
    assert_same_bytes(costs_of(features, tmp_path / "both"), undisturbed)


@pytest.mark.parametrize("kept", [True, False])
def test_other_features_read_no_block_of_these(features, tmp_path, monkeypatch, kept):
    if not kept:  # then nothing is known of what was heard, only of what is asked for
        monkeypatch.setattr(type(features), "facts", lambda self: {"key": None, "audio": None})
    costs_of(features, tmp_path / "both")
    others = stored_frames(tmp_path, [value.flip(1) * 2 for value in documents_and_queries()], key="others")
    assert_same_bytes(costs_of(others, tmp_path / "both"), costs_of(others, tmp_path / "alone"))
    assert names(tmp_path / "alone") < names(tmp_path / "both")


def test_audio_that_changed_reads_no_block_of_what_it_was(features, tmp_path):
    costs_of(features, tmp_path / "both")
    changed = stored_frames(tmp_path, [value.flip(1) * 2 for value in documents_and_queries()])
    assert_same_bytes(costs_of(changed, tmp_path / "both"), costs_of(changed, tmp_path / "alone"))


class Bars:
    """Makes bars that show nothing, and keeps them."""

    write = staticmethod(tqdm.write)

    def __init__(self):
        self.made = []

    def __call__(self, **options):
        self.made.append(tqdm(**options, file=io.StringIO()))
        return self.made[-1]

    def counted(self):
        """Of what, of how many, where it began and where it ended."""
        return [(bar.unit, bar.total, bar.initial, bar.n) for bar in self.made]


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_progress_counts_all_there_is(features, tmp_path, monkeypatch, left):
    costs_of(features, tmp_path)
    for kind in ("statistics", "search"):
        for path in blocks(tmp_path, kind)[:left]:
            path.unlink()
    bars = Bars()
    monkeypatch.setattr(sweep, "tqdm", bars)
    costs_of(features, tmp_path, progress=True)
    total, before = len(DOCUMENTS), len(DOCUMENTS) - min(left * BLOCK, len(DOCUMENTS))
    pairs = (total * PAIRS, before * PAIRS, total * PAIRS)
    assert bars.counted() == [("document", total, before, total), ("pair", *pairs)]


def test_progress_on_another_device(tmp_path, monkeypatch):
    features = stored_frames(tmp_path, documents_and_queries(), device=Elsewhere("cpu"))
    bars = Bars()
    monkeypatch.setattr(sweep, "tqdm", bars)
    costs_of(features, tmp_path, "normalize=false", progress=True)
    assert bars.counted() == [("pair", len(DOCUMENTS) * PAIRS, 0, len(DOCUMENTS) * PAIRS)]


def test_nothing_is_shown_where_nothing_is_asked_for(features, tmp_path, capfd):
    costs_of(features, tmp_path)
    costs_of(features, tmp_path)
    assert capfd.readouterr() == ("", "")
