"""The code that makes features. It is part of their key: what other code made is not read."""

from functools import cache
from hashlib import blake2b
from pathlib import Path

_HERE = Path(__file__)
_ROOT = _HERE.parents[2]
_UPSTREAM = tuple(_ROOT / "upstream" / name for name in ("audio.py", "mp3.py", "frames.py"))
_BESIDE = (_HERE.name, "hours.py", "ledger.py", "sizes.py")  # of this folder, which change no features


@cache
def digest() -> str:
    """Changes with every file of that code. They are read and not imported, which would cost importing torch."""
    content = blake2b(digest_size=16)
    own = sorted(path for path in _HERE.parent.glob("*.py") if path.name not in _BESIDE)
    for path in (*_UPSTREAM, *own):
        text = path.read_bytes()
        content.update(f"{path.relative_to(_ROOT).as_posix()} {len(text)}\n".encode())
        content.update(text)
    return content.hexdigest()
