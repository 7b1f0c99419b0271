"""Every failure a user can meet, with the exit code that scripts rely on.

A message names the thing that is wrong, says what was expected and where, and ends with what to type next.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchmarkError(Exception):
    """A failure with a message meant for a person. Exit code 1: a cell failed."""

    exit_code = 1


class UsageError(BenchmarkError):
    """The command asks for something that does not exist or contradicts itself."""

    exit_code = 2


class MissingError(BenchmarkError):
    """Data or weights that should be there are not."""

    exit_code = 3


class DataError(BenchmarkError):
    """Something is there, but it is broken: a label nobody knows, an audio file that is no audio, a NaN."""


class ContractError(BenchmarkError):
    """An upstream breaks its contract: wrong lengths, a missing layer, features that depend on the batch."""


class ResourceError(BenchmarkError):
    """The machine ran out of something: disk, memory."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UsageError:
    """The error for a name that nothing answers to, with the nearest names that exist."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    text = f"unknown {kind} '{name}'."
    text += f" Did you mean: {', '.join(near)}?" if near else f" Known: {', '.join(known)}."
    return UsageError(f"{text} {hint}".rstrip())
