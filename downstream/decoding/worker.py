"""The program that decodes: it loads the language model once, and divides into processes that share its memory.

Started with one socket for each process. What it is to load comes as a line of JSON on standard input, and a line goes
out when it has loaded, and another should a process end before its time. On a socket a request is a line of JSON with
the number of frames, followed by their bytes; a reply is a line with the words. It is not a child of multiprocessing
nor a fork of the caller, which would bring torch and its threads along.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import BinaryIO

import numpy as np

from downstream.decoding.beam import BeamSettings, Decoder
from downstream.decoding.language_model import LanguageModel
from upstream.errors import DataError


def main() -> None:
    task = json.loads(sys.stdin.readline())
    started = time.perf_counter()
    try:
        decoder = Decoder(
            task["tokens"],
            task["blank"],
            task["silence"],
            LanguageModel(Path(task["arpa"]), Path(task["lexicon"])),
            BeamSettings(**task["settings"]),
        )
    except DataError as error:
        _say({"broken": str(error)})
        return
    except Exception:
        _say({"error": traceback.format_exc()})
        return
    _say({"seconds": time.perf_counter() - started})
    _watch(_divide(decoder, len(task["tokens"]), task["sockets"]))


def _divide(decoder: Decoder, size: int, sockets: list[int]) -> int:
    """Start a process for each socket. Each holds its own only, so that its end can be seen at the other end."""
    for position, descriptor in enumerate(sockets):
        if os.fork() == 0:
            for other in sockets[position + 1 :]:
                os.close(other)
            os.dup2(2, 1)
            with socket.socket(fileno=descriptor) as connection, connection.makefile("rwb") as stream:
                _serve(stream, decoder, size)
            os._exit(0)
        os.close(descriptor)
    return len(sockets)


def _serve(stream: BinaryIO, decoder: Decoder, size: int) -> None:
    """Answers until whoever asks is gone."""
    while line := stream.readline():
        count = json.loads(line)["frames"] * size
        data = stream.read(4 * count)
        if len(data) < 4 * count:
            return
        try:
            reply = {"words": decoder.decode(np.frombuffer(data, np.float32).reshape(-1, size))}
        except DataError as error:
            reply = {"broken": str(error)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        try:
            stream.write(json.dumps(reply).encode() + b"\n")
            stream.flush()
        except OSError:
            os._exit(0)


def _watch(processes: int) -> None:
    """Wait for the processes; tell of the first that did not end by itself."""
    for _ in range(processes):
        _, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        if code:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            _say({"error": f"a decoding process {how}"})
            return


def _say(message: dict) -> None:
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os._exit(1)  # whoever asked is gone, and the interpreter would complain that it cannot flush


if __name__ == "__main__":
    main()
