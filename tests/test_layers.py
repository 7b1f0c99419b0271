"""Imports point one way, and asking for help or a board loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("upstream", "downstream", "benchmark")  # each may import itself and those before it
NO_TORCH = ("torch", "torchaudio", "transformers", "s3prl")


def modules():
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            yield layer, path


def imported(path):
    """(line, full module name) of every import in a file, wherever in it; names imported from a package included."""
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield node.lineno, ".".join([*parts, *([node.module] if node.module else [])])
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            literal = node.args[0]
            first = literal.values[0] if isinstance(literal, ast.JoinedStr) else literal
            if isinstance(first, ast.Constant):
                yield node.lineno, first.value


def wrong_way(layer, path):
    above = LAYERS[LAYERS.index(layer) + 1 :]
    return [f"{path.name}, line {line}: {name}" for line, name in imported(path) if name.partition(".")[0] in above]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_nothing_from_above_it(layer):
    paths = [path for other, path in modules() if other == layer]
    assert len(paths) > 5
    assert [line for path in paths for line in wrong_way(layer, path)] == []


def test_an_import_against_the_direction_is_noticed(tmp_path, monkeypatch):
    """What the test above rests on: all forms of an import are seen, those inside functions too."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "downstream" / "bad.py"
    path.parent.mkdir()
    path.write_text(
        "def f():\n    import benchmark.rows\n    from benchmark import cells\n"
        '    import_module(f"benchmark.{f}")\n    from upstream import audio\n    from . import store\n'
    )
    assert [line.split(": ")[1] for line in wrong_way("downstream", path)] == [
        "benchmark.rows",
        "benchmark",
        "benchmark.",
    ]


def test_nothing_of_the_packages_imports_the_tests():
    for _, path in modules():
        assert not [name for _, name in imported(path) if name.partition(".")[0] == "tests"], path


def test_help_lists_and_boards_load_no_torch(tmp_path):
    """One process runs them all: what any of them had imported would still be there at the end."""
    commands = [["--help"], ["run", "--help"], ["--version"], ["leaderboard", "--results", str(tmp_path)]]
    commands += [["leaderboard", "--results", str(tmp_path), "--format", form] for form in ("md", "csv", "json")]
    commands += [["list", what] for what in ("upstreams", "tasks", "corpora", "protocols")]
    commands += [["list", "runs", "--results", str(tmp_path)]]
    code = f"""
import contextlib, io, sys
import benchmark, upstream, downstream.tasks
from benchmark.cli import main
for command in {commands!r}:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code = main(command)
        except SystemExit as error:
            code = error.code
    assert code == 0 and (out.getvalue() or "runs" in command), command
    heavy = {NO_TORCH!r}
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, (command, loaded)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_wrong_command_line_loads_no_torch_either():
    code = """
import sys
from benchmark.cli import main
assert main(["run", "--upstream", "fbamk", "--task", "ks", "--data", "x"]) == 2
assert main(["run", "--upstream", "fbank", "--task", "kss", "--data", "x"]) == 2
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Did you mean: fbank" in done.stderr
