"""What many tests share: small corpora of real speech, made once, and one thread."""

from pathlib import Path

import pytest
import torch
from small_runs import SmallRuns

from benchmark.cli import main
from downstream import corpora
from downstream.corpora import mini

# As small as it goes with every class, speaker, session and split in it: a few seconds to make.
MINI_SCALE = 0.02


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Everything here is small: a second thread saves nothing, and waits long when another process has its core."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mini_data(tmp_path_factory) -> Path:
    """A data folder with small versions of all corpora. Not to be written to."""
    folder = tmp_path_factory.mktemp("mini-data")
    mini.make(folder, mini.CORPORA, seed=0, progress=False, scale=MINI_SCALE)
    return folder


@pytest.fixture(scope="session")
def mini_manifest(mini_data):
    """The manifest of one of them, by name."""
    return lambda name: corpora.read(name, mini_data)


@pytest.fixture(scope="session")
def done_runs(mini_data, tmp_path_factory) -> SmallRuns:
    """Two upstreams on all tasks, computed once. Not to be written to: `copied` gives results of one's own."""
    runs = SmallRuns(mini_data, tmp_path_factory.mktemp("runs"))
    runs.outcome = runs.run("fbank", "fbank_no_cmvn", task="all")
    return runs


@pytest.fixture
def say(capsys):
    """Runs a command in this process: exit code, what went to standard output, what went to standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        try:
            code = main([str(word) for word in words])
        except SystemExit as error:  # argparse
            code = error.code
        out, err = capsys.readouterr()
        return code, out, err

    return run
