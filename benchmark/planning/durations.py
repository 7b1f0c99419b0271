"""Times as people read them."""

import math

_UNITS = ((86400, "days"), (3600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them; a question mark where they are not known."""
    if math.isnan(seconds):
        return "?"
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
