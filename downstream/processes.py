"""Programs of ours that share the work of this process: how many there should be, and how they are started.

They are programs and not multiprocessing children, which would import the caller's main module again, and torch with
it. They read what to do from their input, and end when it does.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import downstream

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
SHARE = "SSLBENCH_CORES"  # where a process of ours is told how many of the cores are its own


def cores() -> int:
    """Those this process may use, which on a cluster are fewer than the machine has."""
    if SHARE in os.environ:
        return int(os.environ[SHARE])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(processes: int) -> int:
    """How many of the cores each of some processes gets."""
    return max(1, cores() // processes)


@contextmanager
def one_of(processes: int) -> Iterator[None]:
    """This process as if it were one of so many that share its cores."""
    before = os.environ.get(SHARE)
    os.environ[SHARE] = str(share(processes))
    try:
        yield
    finally:
        del os.environ[SHARE]
        if before is not None:
            os.environ[SHARE] = before


def started(module: str, **options: object) -> subprocess.Popen:
    """One of our modules as a program, with pipes to its input and output, on one thread.

    Ctrl-C does not reach it: it is for this process, which then ends it.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | _ONE_THREAD | {"PYTHONPATH": python_path()},
        **options,
    )


def python_path() -> str:
    package_root = str(Path(downstream.__file__).parents[1])
    return os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))


def free_memory() -> int:
    """Bytes that can be had without swapping, as far as the system tells; else half of what there is."""
    try:
        (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    except (OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return int(line.split()[1]) * 1024
