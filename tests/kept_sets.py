"""Feature sets made by hand, and processes that hold them, for tests of what is kept and what goes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOON = 1_700_000_000  # when the first set was used; the others days after it
DAY = 86400


def put_set(cache, letter, size=100, days=0, upstream="mel"):
    """The folder of a set with one file, last used `days` after NOON."""
    folder = cache / "features" / upstream / (letter * 32)
    (folder / "locks").mkdir(parents=True)
    (folder / "one.shard").write_bytes(b"x" * size)
    (folder / "used").touch()
    os.utime(folder / "used", (NOON + DAY * days,) * 2)
    return folder


class Other:
    """Another process that runs some lines of Python, says so, and then waits until the block ends or it is killed."""

    def __init__(self, lines):
        self._lines = textwrap.dedent(lines).strip() + "\nprint('ready', flush=True)\ninput()"

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self._lines],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __exit__(self, *_):
        self.process.communicate("\n")


def using(folder):
    return Other(f"""
        from pathlib import Path
        from downstream.represent.kept import in_use
        in_use(Path({str(folder)!r})).acquire()
    """)


def reserving(cache, limit, folder, nbytes, written=0):
    """A process that has reserved space for a file and written some of it."""
    return Other(f"""
        import os
        from pathlib import Path
        from downstream.represent.kept import Room, in_use
        folder = Path({str(folder)!r})
        use = in_use(folder).acquire()
        block = Room(Path({str(cache)!r}), {limit}).reserved(folder, {nbytes})
        block.__enter__()
        (folder / f".two.shard.{{os.getpid()}}.partial").write_bytes(b"y" * {written})
    """)
