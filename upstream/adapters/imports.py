"""torchaudio, s3prl and transformers beside a current torch: the one place that imports them and repairs what breaks.

The wheels of torchaudio hold compiled code that refuses a torch it was not built for (a CPU torch, a newer CUDA torch).
Nothing that we use is compiled, so a stand-in takes its place, but only after the real import has failed. transformers
imports torchaudio wherever it is installed, so it needs the same. s3prl looks for two names that torchaudio has
dropped; they are put back, and fail if anyone calls them.
"""

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from upstream.errors import MissingError

# Where the obvious `pip install NAME` is not what helps.
WAYS = {
    "distutils": "pip install setuptools",
    "espnet": "pip install espnet",
    "fairseq": "fairseq has no release for this Python: convert the checkpoint where fairseq runs, or use ckpt:FILE",
    "pase": "PASE+ is no package of PyPI: install github.com/santi-pdp/pase as its authors say",
}


def import_torchaudio() -> ModuleType:
    """torchaudio, as it is where it works, else without its compiled part."""
    if "torchaudio" in sys.modules:
        return sys.modules["torchaudio"]
    _check_installed("torchaudio")
    with quiet():
        try:
            return import_module("torchaudio")
        except Exception as error:
            reason = error
        _forget("torchaudio")
        sys.modules["torchaudio._extension"] = _no_compiled_part()
        try:
            return import_module("torchaudio")
        except Exception as error:
            _forget("torchaudio")
            raise MissingError(
                f"torchaudio is installed but cannot be imported: {reason}; without its compiled part: {error}. "
                "Type: pip install --upgrade torchaudio"
            ) from error


def import_s3prl(module: str = "s3prl.hub") -> ModuleType:
    """A module of s3prl by its full name."""
    _check_installed("s3prl")
    torchaudio = import_torchaudio()
    if not hasattr(torchaudio, "set_audio_backend"):
        torchaudio.set_audio_backend = lambda *_: None
    if find_spec("torchaudio.sox_effects") is None:
        effects = ModuleType("torchaudio.sox_effects")
        effects.__spec__ = torchaudio.__spec__  # only so that the next find_spec sees a module that is there
        effects.apply_effects_file = effects.apply_effects_tensor = _gone
        sys.modules["torchaudio.sox_effects"] = torchaudio.sox_effects = effects
    with quiet():
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            raise missing_package(module, error) from error


def import_transformers() -> ModuleType:
    _check_installed("transformers")
    if find_spec("torchaudio") is not None:
        import_torchaudio()
    with quiet():
        return import_module("transformers")


def missing_package(wanted_by: str, error: ModuleNotFoundError) -> MissingError:
    """The error for a package that somebody else's code imports and we do not ask for."""
    package = (error.name or str(error)).partition(".")[0]
    way = WAYS.get(package, f"pip install {package}")
    return MissingError(f"{wanted_by} needs the package '{package}', which is not installed. Way out: {way}")


@contextmanager
def quiet() -> Iterator[None]:
    """Other libraries print, warn and log while they load; our own output is for what we have to say."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _check_installed(package: str) -> None:
    if package not in sys.modules and find_spec(package) is None:
        raise MissingError(
            f"this upstream needs the package '{package}', which is not installed. "
            f"Type: pip install 'sslbench[{package}]'"
        )


def _no_compiled_part() -> ModuleType:
    stand_in = ModuleType("torchaudio._extension")
    stand_in._IS_TORCHAUDIO_EXT_AVAILABLE = False
    stand_in._IS_ALIGN_AVAILABLE = False
    stand_in._check_cuda_version = lambda: None
    stand_in.fail_if_no_align = lambda function: function
    return stand_in


def _forget(package: str) -> None:
    """Drops what a failed import has left behind."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


def _gone(*_: object, **__: object) -> None:
    raise RuntimeError("sox effects are gone from torchaudio")
