"""A process that does jobs: the setting and then a job per line come in, what it has to say and results go out.

It ends when its input does, and after Ctrl-C, which its parent passes on to it.
"""

import json
import sys
from dataclasses import replace

import torch

from benchmark.cli import INTERRUPTED
from benchmark.jobs.job import Job
from benchmark.jobs.workshop import Workshop
from benchmark.options import Options
from upstream.loaded import Remembered


def main() -> int:
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever prints must not get among the answers

    def answer(content: dict) -> None:
        print(json.dumps(content), file=answers, flush=True)

    setting = json.loads(sys.stdin.readline() or "null")
    if setting is None:
        return 0
    options = Options.of(**setting["options"])
    if options.device in ("auto", "cuda") and torch.cuda.is_available():
        options = replace(options, device=f"cuda:{setting['number'] % torch.cuda.device_count()}")
    known = {name: Remembered.from_json(content) for name, content in setting["known"].items()}
    workshop = Workshop(options, lambda line: answer({"say": line}), known)
    try:
        for line in sys.stdin:
            answer({"result": workshop.perform(Job.from_json(json.loads(line))).as_json()})
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever asked is gone
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
