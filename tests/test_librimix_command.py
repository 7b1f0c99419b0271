"""`data librimix` on the command line, and what the tasks make of its folder."""

import librimix_tree
import pytest

from benchmark.cli import main
from downstream import corpora


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    top = tmp_path_factory.mktemp("sources")
    librimix_tree.plant(top)
    return top


def command(tree, out, *more):
    where = ["--librispeech", tree / "LibriSpeech", "--metadata", tree / "metadata", "--out", out]
    return main(["data", "librimix", *map(str, where), *map(str, more)])


def test_both_tasks_read_what_it_makes(tree, tmp_path, capsys):
    assert command(tree, tmp_path, "--wham", tree / "wham_noise") == 0
    assert "Libri2Mix, max/test: 2 files written, 0 were there" in capsys.readouterr().out
    for name in ("libri2mix_separation", "libri2mix_diarization"):
        manifest = corpora.read(name, tmp_path)
        assert manifest.counts == {"train": 2, "dev": 1, "test": 2}
        assert not manifest.complete
    assert command(tree, tmp_path, "--wham", tree / "wham_noise") == 0
    assert "max/test: 0 files written, 2 were there" in capsys.readouterr().out


def test_separation_needs_no_noise(tree, tmp_path, capsys):
    assert command(tree, tmp_path) == 2
    assert "give its folder with --wham, or make the mode 'min' only: --mode min" in capsys.readouterr().err
    assert command(tree, tmp_path, "--mode", "min", "--part", "test") == 0
    made = sorted(str(path.relative_to(tmp_path / "Libri2Mix/wav16k")) for path in tmp_path.rglob("*.wav"))
    assert [path.rsplit("/", 1)[0] for path in made] == [
        f"min/test/{f}" for f in ("mix_clean", "s1", "s2") for _ in "ab"
    ]


def test_what_is_missing_or_misspelt_is_told(tree, tmp_path, capsys):
    assert command(tree, tmp_path, "--mode", "mix") == 2
    assert "unknown mode of Libri2Mix 'mix'. Did you mean: min, max?" in capsys.readouterr().err
    assert command(tree / "nothing", tmp_path, "--mode", "min") == 3
    assert str(tree / "nothing") in capsys.readouterr().err
