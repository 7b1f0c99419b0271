"""`python -m benchmark`."""

import os
import sys

# Threads that wait for each other do so asleep. Awake they are a little faster on an idle machine, and many times
# slower as soon as anything else wants one of their cores. It is read when torch is imported, which happens later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmark.cli import main

if __name__ == "__main__":
    sys.exit(main())
