"""The program that measures STOI and PESQ of pairs of waves, one after the other, until its input ends.

A request is a line of JSON with the measures and the number of samples, followed by the float32 samples of the
reference and of the estimate. A reply is a line of JSON with the values, or with what went wrong. It is a program of
its own and not a multiprocessing child, which would import the caller's main module again, and torch with it.
"""

import json
import os
import sys
import traceback

import numpy as np

from downstream.metrics import quality

_MEASURES = {"stoi": quality.stoi, "pesq": quality.pesq}


def main() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the replies
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        size = 4 * request["samples"]
        waves = sys.stdin.buffer.read(2 * size)
        if len(waves) < 2 * size:
            return
        reply = _measure(request["measures"], *np.frombuffer(waves, np.float32).reshape(2, -1))
        try:
            replies.write(json.dumps(reply).encode() + b"\n")
            replies.flush()
        except BrokenPipeError:
            os._exit(1)  # whoever asked is gone, and the interpreter would complain that it cannot flush


def _measure(measures: list[str], reference: np.ndarray, estimate: np.ndarray) -> dict:
    try:
        return {"values": {measure: _MEASURES[measure](reference, estimate) for measure in measures}}
    except Exception:
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    main()
