"""Leaderboards: all figures of rows and published tables, none beside another that it cannot be compared with."""

import csv
import dataclasses
import io
import json
import shutil

import pytest
from small_runs import FRAMES, folder_of

from benchmark import boards, reference
from benchmark.cli import main
from benchmark.rows import Row, read_row, read_rows
from upstream.errors import DataError, UsageError

FIELDS = {"upstream", "task", "metric", "value", "direction", "n", "ci95", "source"}


def row(**changes):
    """A done row of a real corpus, as plain as can be."""
    score = {"value": 90.0, "unit": "%", "direction": "higher", "n": 100, "ci95": [80.0, 95.0], "resampled": "speakers"}
    plain = {
        "id": "0" * 12,
        "upstream": "mine",
        "task": "ks",
        "protocol": "superb",
        "seed": 1,
        "status": "done",
        "primary": "accuracy",
        "settings": {},
        "corpus": {"mini": False, "complete": True},
        "metrics": {"accuracy": score},
        "features": {"mode": "pooled"},
        "finished": "2030-01-01T00:00:00+00:00",
    }
    value = changes.pop("value", None)
    if value is not None:
        plain["metrics"] = {"accuracy": {**score, "value": value, "ci95": [value - 4, value + 2]}}
    return Row(**{**plain, **changes})


def board(rows, published="none", form="json"):
    text = boards.render(boards.entries(rows, published), form, published)
    return json.loads(text) if form == "json" else text


@pytest.fixture
def show(capsys):
    """Runs `leaderboard` on a folder: exit code, standard output, standard error."""

    def run(results, *more):
        code = main(["leaderboard", "--results", str(results), *map(str, more)])
        return code, *capsys.readouterr()

    return run


# The published table


def test_the_published_table_has_nineteen_models_and_their_figures():
    figures = reference.load("superb")
    assert len({figure.upstream for figure in figures}) == 19
    assert len(figures) == 19 * 11
    by_key = {(f.upstream, f.task, f.metric): f.value for f in figures}
    # Some of each corner; FBANK's speaker identification is 7 of 8251, which the table prints as a fraction.
    assert by_key["fbank", "sid", "accuracy"] == 0.085
    assert by_key["fbank", "ks", "accuracy"] == 8.63
    assert by_key["fbank", "er", "accuracy"] == 35.39
    assert by_key["wavlm_large", "sid", "accuracy"] == 95.49
    assert by_key["wavlm_large", "er", "accuracy"] == 70.62
    assert by_key["wavlm_large", "qbe", "mtwv"] == 0.0886
    assert by_key["hubert_base", "ic", "accuracy"] == 98.34
    assert by_key["wavlm_large", "asv", "eer"] == 3.77
    accuracies = [f.value for f in figures if f.metric == "accuracy"]
    assert len(accuracies) == 19 * 4
    assert all(0 < value < 100 for value in accuracies)


def test_published_figures_know_their_direction_and_have_no_interval():
    entries = board([], "superb")
    assert len(entries) == 19 * 11
    better = {(entry["task"], entry["metric"]): entry["direction"] for entry in entries}
    higher = {("sid", "accuracy"), ("ks", "accuracy"), ("ic", "accuracy"), ("er", "accuracy"), ("qbe", "mtwv")}
    assert {key for key, direction in better.items() if direction == "higher"} == {*higher, ("sf", "slot_f1")}
    assert all(entry["source"] == "reference" and entry["n"] is entry["ci95"] is None for entry in entries)


def test_no_reference_or_an_unknown_one():
    assert reference.load("none") == []
    with pytest.raises(UsageError, match="Did you mean: superb"):
        reference.load("superbe")


# Which figures stand together


def test_runs_of_the_protocol_stand_beside_the_published_rows():
    text = board([row(upstream="fbank")], "superb", "table")
    assert text.count("superb protocol") == 1
    mine, published = [line for line in text.splitlines() if line.startswith("fbank")]
    assert "90.00 [80.00, 95.00]" in mine
    assert published.startswith("fbank *")
    assert "8.63" in published


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"protocol": "mini"}, "mini protocol"),
        ({"corpus": {"mini": True, "complete": True}}, "made-up corpora"),
        ({"corpus": {"mini": False, "complete": False}}, "incomplete corpora"),
        ({"protocol_changes": ["steps=5"]}, "changed: steps=5"),
        ({"limit": 7, "corpus": {"mini": False, "complete": False}}, "7 examples a split"),
    ],
)
def test_what_departs_from_the_protocol_stands_apart(changes, named):
    entries = board([row(), row(**changes, upstream="other", value=50.0)], "superb")
    titles = {entry["upstream"]: entry["board"] for entry in entries if entry["source"] == "run"}
    published = {entry["board"] for entry in entries if entry["source"] == "reference"}
    assert {titles["mine"]} == published == {"superb protocol"}
    assert named in titles["other"]
    text = board([row(), row(**changes, upstream="other")], "superb", "table")
    assert "Figures of different tables cannot be compared." in text
    assert text.index("\nother") != text.index("\nmine")


def test_live_features_are_a_line_of_their_own():
    entries = board([row(), row(features={"mode": "live"}, value=70.0)])
    assert {entry["upstream"]: entry["value"] for entry in entries} == {"mine": 90.0, "mine (live)": 70.0}


def test_seeds_are_averaged():
    rows = [row(seed=seed, value=value) for seed, value in ((3, 80.0), (1, 90.0), (2, 85.0))]
    (entry,) = board([*rows, row(seed=1, task="er", value=10.0)])[:1]
    assert (entry["value"], entry["n"], entry["seeds"]) == (85.0, 100, [1, 2, 3])
    assert entry["ci95"] == [81.0, 87.0]
    assert "85.00 [81.00, 87.00] (3 seeds)" in board(rows, form="table")


def test_of_the_same_cell_the_newest_row_counts():
    old, new = row(value=10.0), row(id="1" * 12, value=20.0, finished="2030-01-02T00:00:00+00:00")
    for rows in ([old, new], [new, old]):
        assert [entry["value"] for entry in board(rows)] == [20.0]


def test_failed_rows_have_no_figure():
    assert board([row(status="failed", metrics={}, error={"type": "X", "message": "m"})]) == []


def test_no_rows_at_all():
    assert boards.render([], "table", "none") == "no rows yet"
    assert json.loads(boards.render([], "json", "none")) == []
    assert boards.render([], "csv", "none").count("\n") == 0


# Formats


def test_json_has_the_promised_fields(done_runs, show):
    code, out, err = show(done_runs.results, "--format", "json")
    assert (code, err) == (0, "")
    entries = json.loads(out)
    assert all(entry.keys() >= FIELDS for entry in entries)
    mine = [entry for entry in entries if entry["source"] == "run"]
    scores = {(r.upstream, r.task, name): s for r in done_runs.outcome.rows for name, s in r.metrics.items()}
    assert (
        len(mine) == len(scores) == 2 * (4 + 4 + 3 + 6 + 4 + 2 + 3 + 3 + 5)
    )  # of asr three, sf six, asv four, sd two, ss and se three, qbe five
    for entry in mine:
        computed = scores[entry["upstream"], entry["task"], entry["metric"]]
        for name in ("value", "ci95", "n", "direction", "unit"):
            assert entry[name] == computed[name]
    assert len(entries) - len(mine) == 19 * 11
    assert {e["board"] for e in mine}.isdisjoint(e["board"] for e in entries if e["source"] == "reference")


def test_csv_can_be_read_back(done_runs, show):
    _, text, _ = show(done_runs.results, "--format", "csv")
    _, entries, _ = show(done_runs.results, "--format", "json")
    read, entries = list(csv.DictReader(io.StringIO(text))), json.loads(entries)
    assert len(read) == len(entries)
    for line, entry in zip(read, entries, strict=True):
        assert {name: line[name] for name in ("board", "upstream", "task", "metric", "direction", "source")} == {
            name: entry[name] for name in ("board", "upstream", "task", "metric", "direction", "source")
        }
        assert float(line["value"]) == entry["value"]
        assert (line["low"] == "") == (entry["source"] == "reference")


def test_markdown_is_a_table_of_equal_columns():
    rows = [row(upstream="a|b"), row(upstream="c", task="sid")]
    lines = [line for line in board(rows, "superb", "md").splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 + 19
    assert {line.replace("\\|", "").count("|") for line in lines} == {1 + 1 + 11}
    assert "a\\|b" in lines[2]
    assert set(lines[1]) == {"|", "-"}


def test_a_table_has_a_dash_where_there_is_no_figure():
    text = board([row(upstream="a"), row(upstream="b", task="er", value=40.0)], form="table")
    (line,) = [line for line in text.splitlines() if line.startswith("a ")]
    assert line.split() == ["a", "90.00", "[80.00,", "95.00]", "-"]
    assert "ks accuracy ↑" in text


def test_tables_show_the_figures_that_are_published_and_those_of_the_language_model(done_runs, show):
    _, text, _ = show(done_runs.results, "--format", "md", "--reference", "none")
    heads = [cell.strip() for line in text.splitlines() if "upstream" in line for cell in line.split("|")[2:-1]]
    assert sorted(heads) == sorted(
        [f"{task} accuracy ↑" for task in ("ks", "sid", "ic", "er")]
        + ["pr per ↓", "asr wer ↓", "asr wer_lm ↓", "sf slot_f1 ↑", "sf slot_cer ↓"]
        + ["ood-asr-zh cer ↓", "ood-asr-es wer ↓", "ood-asr-ar wer ↓"]
        + ["asv eer ↓", "asv eer_dev ↓", "sd der ↓", "sd der_dev ↓"]
        + ["qbe mtwv ↑", "qbe mtwv_dev ↑", "qbe mtwv_plain ↑"]
        + [f"{task} {figure} ↑" for task in ("ss", "se") for figure in ("si_sdri", "stoi", "pesq")]
    )


def test_a_board_can_go_to_a_file(done_runs, show, tmp_path):
    _, text, _ = show(done_runs.results, "--format", "md")
    code, out, _ = show(done_runs.results, "--format", "md", "--output", tmp_path / "new" / "board.md")
    assert (code, out) == (0, f"written to {tmp_path / 'new' / 'board.md'}\n")
    assert (tmp_path / "new" / "board.md").read_text() == text


# Rows that are not as they should be


@pytest.fixture
def damaged(done_runs, tmp_path):
    """Results of which all rows but one are damaged, each in another way; their paths."""
    results = tmp_path / "results"
    for row in done_runs.outcome.rows:
        if row.task not in FRAMES:
            source = folder_of(done_runs, row)
            shutil.copytree(source, results / source.relative_to(done_runs.results))
    paths = sorted(results.glob("*/*/*/row.json"))
    contents = [json.loads(path.read_text()) for path in paths]
    paths[0].write_text(paths[0].read_text()[:500])
    paths[1].write_text(json.dumps({**contents[1], "schema": 0}))
    paths[2].write_text(json.dumps({**contents[2], "schema": 99}))
    paths[3].write_text("[]")
    paths[4].write_text(json.dumps({**contents[4], "metrics": {}}))
    paths[5].write_text(json.dumps({name: value for name, value in contents[5].items() if name != "upstream"}))
    paths[6].write_bytes(b"\xff\xfe{}")
    return results, paths


def test_rows_that_cannot_be_read_are_said_and_left_out(damaged, show):
    results, paths = damaged
    code, out, err = show(results, "--reference", "none", "--format", "json")
    assert code == 0
    (left,) = json.loads(out)
    assert left["task"] == read_row(paths[7]).task
    reasons = ("cannot be read", "an older version", "a newer version", "holds a list", "no complete row")
    for path, reason in zip(paths[:7], (*reasons, "no complete row", "cannot be read"), strict=True):
        (line,) = [line for line in err.splitlines() if str(path) in line]
        assert "left out" in line
        assert reason in line
    for path in paths[:7]:
        with pytest.raises(DataError, match=r"row\.json"):
            read_row(path)


def test_rows_come_back_as_they_were_written(tmp_path):
    written = [row(finished="2030-02"), row(seed=2, finished="2030-01")]
    for number, one in enumerate(written):
        path = tmp_path / "mine" / "ks" / str(number) / "row.json"
        path.parent.mkdir(parents=True)
        path.write_text(one.as_json())
    assert read_rows(tmp_path, pytest.fail) == written[::-1]  # oldest first
    assert {field.name for field in dataclasses.fields(Row)} == set(json.loads(written[0].as_json()))


def test_failures_are_said(done_runs, tmp_path, show):
    for task in ("ks", "sid"):
        shutil.copytree(done_runs.results / "fbank" / task, tmp_path / "fbank" / task)
    path = next((tmp_path / "fbank" / "ks").glob("*/row.json"))
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "status": "failed", "metrics": {}, "error": {"type": "E", "message": "hm"}}))
    code, out, err = show(tmp_path, "--reference", "none", "--format", "csv")
    assert (code, len(out.splitlines())) == (0, 1 + 1)
    assert "failed: fbank / ks / seed 1337: hm" in err
    assert main(["list", "runs", "--results", str(tmp_path)]) == 0


def test_a_wrong_folder_or_format(show, tmp_path):
    code, out, err = show(tmp_path / "nowhere")
    assert (code, out) == (3, "")
    assert str(tmp_path / "nowhere") in err
    code, out, err = show(tmp_path)
    assert code == 0
    assert "wavlm_large *" in out
    assert "no rows under" in err
    code, _, err = show(tmp_path, "--format", "cvs")
    assert code == 2
    assert "Did you mean: csv" in err
    assert show(tmp_path, "--reference", "suberb")[0] == 2


@pytest.mark.parametrize(
    "changes",
    [{"metrics": {"accuracy": {"value": 1.0}}}, {"status": "failed", "metrics": {}}, {"status": "odd"}, {"corpus": []}],
)
def test_a_row_that_lacks_something_is_left_out(changes, tmp_path, capsys):
    path = tmp_path / "a" / "ks" / "0" / "row.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**dataclasses.asdict(row()), **changes}))
    assert main(["leaderboard", "--results", str(tmp_path)]) == 0
    assert main(["list", "runs", "--results", str(tmp_path)]) == 0
    assert "left out" in capsys.readouterr().err


def test_a_row_of_one_learning_rate_does_not_take_the_place_of_the_grid():
    rows = [row(), row(protocol_changes=["lr=1e-07"], value=1.0, finished="2031")]
    assert {entry["value"]: entry["board"] for entry in board(rows)} == {
        90.0: "superb protocol",
        1.0: "superb protocol, changed: lr=1e-07",
    }
