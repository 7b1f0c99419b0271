"""What is wrong or missing in the corpus of query by example, or stops its search: who is told what, and what is kept.

A test that spoils something gives back the place that the message has to name, and words that have to be in it.
"""

import re
import shutil
import signal
import sys

import pytest
import soundfile
from small_runs import SmallRuns, contents, folder_of, lines, wait_for
from user_files import variant, write_file

from benchmark.cli import main
from benchmark.rows import read_row
from downstream.corpora import mini
from downstream.search import sweep

NAME = "mel / qbe / superb / seed 1337: "
# Small blocks, slowly done: more moments to be stopped at.
SLOWLY = """
import time
from downstream.search import sweep
sweep._BLOCK = 2
work = sweep.Sweep._costs_of
def slowly(self, documents, sides):
    time.sleep(0.1)
    return work(self, documents, sides)
sweep.Sweep._costs_of = slowly"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Eight documents, two queries a side."""
    folder = tmp_path_factory.mktemp("quesst")
    mini.make(folder, ["quesst14"], seed=0, progress=False, scale=0)
    return folder


@pytest.fixture
def runs(whole, tmp_path):
    """A corpus that may be broken, and results and cache of one's own."""
    return SmallRuns(shutil.copytree(whole, tmp_path / "data"), tmp_path, ())


def command(runs, upstream="mel", mode="auto"):
    return runs.arguments("run", "--upstream", upstream, "--task", "qbe", "--features", mode)


def run(runs):
    assert main(command(runs)) == 0
    [path] = runs.results.rglob("row.json")
    return read_row(path)


def root(runs):
    return runs.data / "quesst14Database"


def english(runs, part):
    """The recordings of a list that are searched."""
    listed = (root(runs) / f"scoring/language_key_{part}.lst").read_text().splitlines()
    return [root(runs) / line.split()[0].partition("/")[2] for line in listed if line.endswith(" nnenglish")]


def truth(runs, ending, part="eval"):
    [path] = (root(runs) / f"scoring/groundtruth_quesst14_{part}").glob(f"*{ending}")
    return path


def keep_lines(path, wanted):
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if wanted(line)))
    return path


def shorten(path, samples):
    wave, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, wave[len(wave) // 2 :][:samples], rate)
    return path


# What is told before anything is heard


def lost_document(runs):
    path = english(runs, "utterances")[3]
    path.unlink()
    return path, "1 of 12 audio files of nnenglish are missing. The first:(.|\n)*Unpack the archive"


def lost_query(runs):
    path = english(runs, "dev")[0]
    path.unlink()
    return path, "1 of 12 audio files of nnenglish are missing"


def no_ground_truth(runs):
    path = truth(runs, ".rttm")
    path.unlink()
    return path.parent, r"there is no file \*.rttm in .*: unpack that folder again"


def unknown_document(runs):
    path = truth(runs, ".rttm")
    query = english(runs, "eval")[0].stem
    path.write_text(f"{path.read_text()}LEXEME quesst14_99999 1 0.00 3.20 {query} lex SPEAKER <NA>\n")
    return path, "1 documents of .* are not in .*ecf.xml: quesst14_99999"


def nothing_to_find(runs):
    path = truth(runs, ".rttm", "dev")
    keep_lines(path, lambda line: "NO_KEYWORD" in line)
    return path.parent, "none of the 2 dev queries is said in any of the 8 documents .* or look at the RTTM file in"


def unknown_distance(runs):
    runs.set = ("qbe.distance=cosine_ex",)
    return "qbe.distance=NAME", "unknown distance 'cosine_ex'. Did you mean: cosine_exp"


def unknown_precision(runs):
    runs.set = ("qbe.precision=float16",)
    return "qbe.precision=NAME", "unknown precision 'float16'. Did you mean: float64"


def posteriors_that_are_scaled(runs):
    runs.set = ("qbe.distance=cosine_neg_log",)
    return "--set qbe.normalize=false", "distance cosine_neg_log is for posteriors"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lost_document, 3),
        (lost_query, 3),
        (no_ground_truth, 3),
        (unknown_document, 1),
        (nothing_to_find, 1),
        (unknown_distance, 2),
        (unknown_precision, 2),
        (posteriors_that_are_scaled, 2),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_heard(spoil, code, runs, capsys):
    place, said = spoil(runs)
    for verb in ("plan", "run"):
        assert main([verb, *command(runs)[1:]]) == code
        err = capsys.readouterr().err
        assert re.search(f"^qbe: .*{said}", err), err
        assert str(place) in err
        assert "Traceback" not in err
    assert not runs.cache.exists()
    assert not runs.results.exists()


def test_without_numba_it_is_told_before_anything_is_heard(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert main(command(runs)) == 3
    assert "Install it: pip install 'sslbench[qbe]'" in capsys.readouterr().err
    assert not runs.cache.exists()
    assert main(["doctor", "--cache", str(runs.cache), "--results", str(runs.results)]) == 0
    assert re.search(r"^-     numba .*pip install 'sslbench\[qbe\]'", capsys.readouterr().out, re.MULTILINE)


# What only shows when it is heard


def empty_document(runs):
    return shorten(english(runs, "utterances")[0], 0), "holds no samples"


def empty_query(runs):
    return shorten(english(runs, "eval")[1], 0), "holds no samples"


def document_without_a_frame(runs):
    return shorten(english(runs, "utterances")[5], 20).stem, "has 40 samples; one frame needs at least 201"


@pytest.mark.parametrize("mode", ["frames", "live"])
@pytest.mark.parametrize("spoil", [empty_document, empty_query, document_without_a_frame])
def test_what_is_wrong_is_told_with_its_place_and_kept_in_a_failed_row(spoil, mode, runs, capsys):
    place, said = spoil(runs)
    assert main(command(runs, mode=mode)) == 1
    err = capsys.readouterr().err
    message = err[err.index(NAME) + len(NAME) :]
    assert re.search(said, message), message
    assert str(place) in message
    assert "0 computed, 0 already done, 1 failed" in err
    assert "Traceback" not in err
    [path] = runs.results.rglob("row.json")
    assert read_row(path).status == "failed"
    assert message.startswith(read_row(path).error["message"])


@pytest.mark.parametrize("mode", ["frames", "live"])
def test_features_that_are_no_numbers_are_refused(mode, runs, tmp_path, capsys):
    """Where there are any, of one layer of the documents, which are longer than queries."""
    change = "if max(map(len, wavs)) > 40000:\n    layers[2] = layers[2] * float('nan')"
    path = write_file(tmp_path, variant(change))
    assert main(command(runs, str(path), mode)) == 1
    err = capsys.readouterr().err
    assert "upstream 'mine' breaks the contract, clause 'finite': layer 2 of utterance 0 holds a NaN or infinity" in err
    assert f"({english(runs, 'utterances')[0].relative_to(root(runs))})" in err


def test_frames_at_right_angles_have_no_logarithm(runs, capsys):
    runs.set = ("qbe.distance=cosine_neg_log", "qbe.normalize=false")
    assert main(command(runs)) == 2
    err = capsys.readouterr().err
    assert f"{NAME}distance cosine_neg_log is for posteriors" in err
    assert "Use --set qbe.distance=cosine_exp" in err
    assert "Traceback" not in err


# What is accepted, counted and told


def test_a_query_of_few_frames_has_score_0_and_counts(runs, capsys):
    query = shorten(english(runs, "eval")[1], 250).stem  # 4 frames of 160 samples at 16 kHz
    row = run(runs)
    assert row.scoring["too_short"] == {"dev": 0, "test": 1}
    [note] = row.corpus["notes"]
    assert note == f"test queries with fewer than 5 frames: 1 ({query}); they have score 0 with every document"
    assert f"{NAME}{note}" in capsys.readouterr().err
    for line in lines(folder_of(runs, row) / "predictions.jsonl"):
        assert (set(line["scores"].values()) == {0.0}) == (line["id"] == query)
    assert (row.metrics["mtwv_plain"]["n"], row.metrics["mtwv"]["n"]) == (2, 6)


def test_a_query_that_is_said_nowhere_is_searched_and_not_scored(runs):
    query = english(runs, "eval")[0].stem
    keep_lines(truth(runs, ".rttm"), lambda line: query not in line)
    row = run(runs)
    assert row.corpus["notes"] == [f"test: 1 of 2 queries are in no document, {query} first; not scored"]
    assert (row.metrics["mtwv_plain"]["n"], row.metrics["mtwv"]["n"]) == (1, 5)
    assert row.scoring["listed"]["test"] == 6
    told = {line["id"]: line["holders"] for line in lines(folder_of(runs, row) / "predictions.jsonl")}
    assert told[query] == []


def test_another_ground_truth_makes_another_row_from_the_same_features(runs):
    before = run(runs)
    shards = {path: path.stat().st_mtime_ns for path in runs.cache.rglob("*.shard")}
    document = english(runs, "utterances")[0].stem
    keep_lines(truth(runs, ".rttm"), lambda line: document not in line)
    assert main(command(runs)) == 0
    ids = {path.parent.name for path in runs.results.rglob("row.json")}
    assert len(ids) == 2
    assert before.id in ids
    assert {path: path.stat().st_mtime_ns for path in runs.cache.rglob("*.shard")} == shards


# What stops it


def straight(runs, tmp_path, mode):
    """What an undisturbed run leaves."""
    alone = SmallRuns(runs.data, tmp_path / "straight", ())
    assert alone.run("mel", task="qbe", features=mode).fresh == 1
    return contents(alone.results)


def stopped(runs, mode, moment, how):
    process = runs.start("--upstream", "mel", "--task", "qbe", "--features", mode, before=SLOWLY)
    wait_for(runs.results, f"mel/qbe/*/{moment}.state", process)
    process.send_signal(how)
    _, said = process.communicate()
    assert not list(runs.results.rglob("row.json")), said  # it was not too late
    return process.returncode, said


def test_killed_while_it_measures_and_while_it_searches_the_result_is_the_same(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "_BLOCK", 2)
    wanted = straight(runs, tmp_path, "frames")
    assert stopped(runs, "frames", "statistics-*-00001", signal.SIGKILL)[0] == -signal.SIGKILL
    assert stopped(runs, "frames", "search-*-00000", signal.SIGKILL)[0] == -signal.SIGKILL
    code, said = stopped(runs, "frames", "search-*-00001", signal.SIGINT)
    assert code == 130, said
    assert "stopped; what was finished is kept, and the same command continues" in said
    assert "Traceback" not in said
    done = {path: path.stat().st_mtime_ns for path in runs.results.rglob("search-*.state")}
    assert 2 <= len(done) < 4
    assert runs.run("mel", task="qbe").fresh == 1
    assert contents(runs.results) == wanted  # nothing is left of its blocks


def test_what_was_begun_live_goes_on_live(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "_BLOCK", 2)
    wanted = straight(runs, tmp_path, "live")
    assert stopped(runs, "live", "search-*-00001", signal.SIGKILL)[0] == -signal.SIGKILL
    assert runs.run("mel", task="qbe").fresh == 1
    assert contents(runs.results) == wanted


def test_two_runs_of_the_same_cell_at_once_end_with_one_result(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "_BLOCK", 2)
    wanted = straight(runs, tmp_path, "frames")
    process = runs.start("--upstream", "mel", "--task", "qbe", before=SLOWLY)
    wait_for(runs.results, "mel/qbe/*/search-*-00000.state", process)
    outcome = runs.run("mel", task="qbe")
    _, said = process.communicate()
    assert (process.returncode, outcome.exit_code, outcome.fresh) == (0, 0, 0), said
    assert "another process is computing it" in capsys.readouterr().err
    assert contents(runs.results) == wanted
