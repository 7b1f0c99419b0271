"""Loops over numbers as machine code, and what to install for that."""

from collections.abc import Callable
from typing import TypeVar

from upstream.errors import MissingError

Loops = TypeVar("Loops", bound=Callable)


def require_numba() -> None:
    """Say what to install where the library that compiles is not there."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        raise MissingError(
            f"query by example needs numba ({error}). Install it: pip install 'sslbench[qbe]'"
        ) from error


def machine_code(*promises: str) -> Callable[[Loops], Loops]:
    """Compiles loops when they first run, for arithmetic of which so much is promised; other threads can run beside.

    That takes seconds, so the code is kept on disk for the next process, where there is a place for it.
    """
    require_numba()
    from numba import njit

    def compiled(loops: Loops) -> Loops:
        try:
            return njit(loops, nogil=True, cache=True, fastmath=set(promises))
        except RuntimeError:  # neither beside this file nor under the user's home can anything be written
            return njit(loops, nogil=True, fastmath=set(promises))

    return compiled
