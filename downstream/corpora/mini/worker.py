"""A process that makes clips: a request per line comes in, a reply per line goes out, until its input ends.

It is a program of its own and not a multiprocessing child, which would import the caller's main module again, and
torch with it. A request has `folder`, `corpus`, `seed`, `scale`, `start` and `stop`; a reply is empty or says
what went wrong.
"""

import json
import os
import sys
import traceback
from functools import lru_cache
from pathlib import Path

from downstream.corpora.mini.plans import plan
from downstream.corpora.mini.randomness import generator
from downstream.corpora.mini.writing import write_audio
from upstream.errors import BenchmarkError

_plan = lru_cache(maxsize=1)(plan)


def main() -> None:
    for line in sys.stdin:
        reply = json.dumps(_make(**json.loads(line)))
        try:
            print(reply, flush=True)
        except BrokenPipeError:
            os._exit(1)  # whoever asked is gone, and the interpreter would complain that it cannot flush


def _make(folder: str, corpus: str, seed: int, scale: float, start: int, stop: int) -> dict[str, str]:
    try:
        for clip in _plan(corpus, seed, scale).clips[start:stop]:
            samples = clip.render(generator(seed, corpus, clip.path))
            try:
                write_audio(Path(folder) / clip.path, samples, clip.rate)
            except OSError as error:
                return {"disk": error.strerror or str(error)}
    except BenchmarkError as error:
        return {"error": str(error)}
    except Exception:
        return {"error": traceback.format_exc()}
    return {}


if __name__ == "__main__":
    main()
