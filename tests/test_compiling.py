"""Loops as machine code: what is said without numba, and where the code is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from downstream.search.compiling import machine_code, require_numba
from upstream.errors import MissingError

MODULE = """
from downstream.search.compiling import machine_code

@machine_code("nnan")
def total(count):
    found = 0.0
    for number in range(count):
        found += number
    return found

print(total(5), *total.stats.cache_hits.values())
"""


def test_a_missing_numba_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(MissingError, match=r"query by example needs numba .*pip install 'sslbench\[qbe\]'"):
        require_numba()
    with pytest.raises(MissingError, match="query by example needs numba"):
        machine_code("nnan")


def test_the_next_process_finds_the_code(tmp_path):
    path = tmp_path / "total.py"
    path.write_text(MODULE)
    said = [subprocess.run([sys.executable, path], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert [line.split() for line in said] == [["10.0"], ["10.0", "1"]]


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(tmp_path):
    (tmp_path / "__pycache__").touch()  # in the place of the folder; root may write everywhere
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    path = tmp_path / "total.py"
    path.write_text(MODULE)
    run = subprocess.run([sys.executable, path], capture_output=True, text=True, env=os.environ | nowhere)
    assert (run.stdout.split(), run.stderr) == (["10.0"], "")
    assert {one.name for one in Path(tmp_path).iterdir()} == {"__pycache__", "total.py"}
