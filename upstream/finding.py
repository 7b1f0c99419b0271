"""What `check` finds, line by line, and how it calls a model so that whatever happens is either heard or told."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from upstream.contract import breach, clause_of
from upstream.errors import BenchmarkError, ContractError
from upstream.loaded import LoadedUpstream
from upstream.types import HiddenStates

OK, NOTE, FAIL = "ok", "note", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the report. `clause` is the clause of the contract that is broken, where one is."""

    check: str
    verdict: str
    text: str
    clause: str | None = None
    figures: dict = field(default_factory=dict)


class Refused(Exception):
    """The model says in clear words that it cannot take some audio."""


def found(check: str, look: Callable[[], Finding]) -> Finding:
    """A look whose errors are findings too."""
    try:
        return look()
    except (ContractError, Refused) as error:
        return failed(check, error)


def failed(check: str, error: Exception, before: str = "") -> Finding:
    return Finding(check, FAIL, f"{before}{error}", clause_of(error) or check)


def hear(loaded: LoadedUpstream, *wavs: Tensor) -> HiddenStates:
    """The hidden states of some waveforms. A breach is a `ContractError`, and so is an error that nobody explains."""
    try:
        return loaded(list(wavs))
    except ContractError:
        raise
    except BenchmarkError as error:
        raise Refused(str(error)) from error
    except Exception as error:
        raise obscure(who(loaded), f"{in_samples(*wavs)} ended", error) from error


def obscure(who: str, what: str, error: Exception) -> ContractError:
    """The breach that an exception is which was not made for people."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{what} in {type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
    todo = "Give valid frames, or raise upstream.errors.DataError and say what is wrong with the audio"
    return breach(who, "raises", text, todo)


def who(loaded: LoadedUpstream) -> str:
    return f"upstream '{loaded.name}'"


def in_samples(*wavs: Tensor) -> str:
    return f"{' and '.join(f'{len(wav):,}' for wav in wavs)} sample{'s' if len(wavs[-1]) > 1 else ''}"
