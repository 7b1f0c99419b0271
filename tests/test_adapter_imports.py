"""The import repair: only when it is needed, and leaving nothing half-done behind."""

import subprocess
import sys

import pytest

from upstream.adapters import imports
from upstream.errors import MissingError


def in_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_and_the_adapters_import_none_of_the_libraries():
    adapters = ", ".join(f"upstream.adapters.{name}" for name in ("torchaudio", "s3prl", "transformers"))
    modules = f"upstream, upstream.loaded, {adapters}"
    out = in_new_process(
        f"import sys, {modules}\n"
        "print([name for name in ('torchaudio', 's3prl', 'transformers') if name in sys.modules])"
    )
    assert out.strip() == "[]"


def test_torchaudio_is_repaired_where_it_does_not_import_by_itself():
    """Its filters and models work afterwards, and a second call gives the same module."""
    out = in_new_process(
        "import torch\n"
        "from upstream.adapters.imports import import_torchaudio\n"
        "torchaudio = import_torchaudio()\n"
        "assert import_torchaudio() is torchaudio\n"
        "import torchaudio.compliance.kaldi as kaldi\n"
        "print(tuple(kaldi.fbank(torch.randn(1, 16000)).shape), torchaudio.pipelines.HUBERT_BASE.sample_rate)"
    )
    assert out.strip() == "(98, 23) 16000"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A process path with a package called torchaudio of our own, in the state that `write` puts it in."""

    def write(extension: str, use: str = "name = _extension.name()") -> str:
        package = tmp_path / "torchaudio"
        package.mkdir()
        package.joinpath("__init__.py").write_text(
            f"from . import helper\nhelper.imports += 1\nfrom . import _extension\n{use}\n"
        )
        package.joinpath("helper.py").write_text("imports = 0\n")
        package.joinpath("_extension.py").write_text(extension)
        return f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"

    return write


def test_a_torchaudio_that_works_is_left_alone(elsewhere):
    start = elsewhere("def name():\n    return 'compiled'\n")
    out = in_new_process(
        start + "from upstream.adapters.imports import import_torchaudio\nprint(import_torchaudio().name)"
    )
    assert out.strip() == "compiled"


def test_a_repaired_torchaudio_is_imported_from_the_start(elsewhere):
    start = elsewhere("raise OSError('libwrong.so is missing')\n", use="")
    out = in_new_process(
        start + "from upstream.adapters.imports import import_torchaudio\nprint(import_torchaudio().helper.imports)"
    )
    assert out.strip() == "1"


def test_what_cannot_be_repaired_is_said_and_leaves_nothing_behind(elsewhere):
    start = elsewhere("raise OSError('libwrong.so is missing')\n")  # the stand-in has no name() either
    out = in_new_process(
        start + "from upstream.adapters.imports import import_torchaudio\n"
        "from upstream.errors import MissingError\n"
        "try:\n"
        "    import_torchaudio()\n"
        "except MissingError as error:\n"
        "    print(error)\n"
        "print([name for name in sys.modules if name.startswith('torchaudio')])"
    )
    message, left = out.strip().splitlines()
    assert "libwrong.so is missing" in message
    assert "pip install" in message
    assert left == "[]"


def test_transformers_imports_its_models_beside_a_broken_torchaudio():
    out = in_new_process(
        "from upstream.adapters.imports import import_transformers\nprint(import_transformers().WhisperModel.__name__)"
    )
    assert out.strip() == "WhisperModel"


def test_s3prl_says_nothing_while_it_is_imported():
    out = in_new_process("from upstream.adapters.imports import import_s3prl\nimport_s3prl('s3prl.hub')")
    assert out == ""


@pytest.mark.parametrize("package", ["torchaudio", "s3prl", "transformers"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(package, monkeypatch):
    monkeypatch.setattr(imports, "find_spec", lambda name: None)
    for name in ("torchaudio", "s3prl", "transformers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingError, match=rf"pip install 'sslbench\[{package}\]'") as caught:
        getattr(imports, f"import_{package}")()
    assert caught.value.exit_code == 3


def test_a_package_that_s3prl_wants_besides_is_named():
    with pytest.raises(MissingError, match="'fairseq'"):
        raise imports.missing_package("x", ModuleNotFoundError("No module named 'fairseq'", name="fairseq.models"))
