"""Sizes in bytes as people write them."""

import re
from decimal import Decimal

from upstream.errors import UsageError

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})?", re.IGNORECASE | re.ASCII)


def size(text: str) -> int:
    """How many bytes "20GB", "1.5 TB" or "1000000" are."""
    found = _SIZE.fullmatch(str(text).strip())
    if not found:
        raise UsageError(
            f"'{text}' is no size. Expected a number of bytes, or one in KB, MB, GB or TB, as in 500MB or 1.5TB."
        )
    return int(Decimal(found[1]) * _UNITS[(found[2] or "B").upper()])


def shown_size(count: int) -> str:
    """A number of bytes in the unit that suits it: "20.0 GB"."""
    unit, scale = next((one for one in _UNITS.items() if round(count / one[1], 1) < 1000), ("TB", _UNITS["TB"]))
    return f"{count} B" if scale == 1 else f"{count / scale:.1f} {unit}"
