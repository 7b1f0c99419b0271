"""Seconds of audio per second of one core: our encoder beside s3prl, transformers and torchaudio as they come.

Random weights in the shapes of WavLM Base and Large (or those named on the command line), one utterance of ten seconds.
Each contestant has a process of its own, because ours changes how its process keeps memory; they take turns, and one
works at a time. First one thread each by the processor's time, then two by the clock; medians. The peak is what oneDNN
reaches on a product of 2048 x 2048 matrices in the same run.

    python bench/encoder_speed.py [wavlm-base wavlm-large wav2vec2-base ...]
"""

import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median

import torch
from common import report
from encoders import PEERS, VARIANTS, Variant, full_size, speechlike, structure_of

from upstream.encoder.model import Encoder
from upstream.encoder.packed import PackedEncoder
from upstream.encoder.untrained import untrained

SECONDS = 10
REPEATS = 9
SIZE = 2048
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(names: list[str]) -> None:
    for variant in map(full_size, VARIANTS):
        if str(variant) in names:
            contestants = [*PEERS, *(f"{kind} {name}" for kind in ("ours", "product") for name in DTYPES)]
            report(str(variant), figures(variant, *measured(variant, contestants)))


def measured(variant: Variant, names: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of each contestant: of one core, and of the clock with two threads."""
    spawn = get_context("spawn")
    pipes, processes = {}, []
    for name in names:
        pipes[name], theirs = spawn.Pipe()
        processes.append(spawn.Process(target=contestant, args=(name, variant, theirs)))
        processes[-1].start()
        pipes[name].recv()  # one after the other, or they would wait for each other's threads
    taken = {threads: {name: [] for name in names} for threads in (1, 2)}
    for threads, lists in taken.items():
        for repeat in range(1 + REPEATS):
            for name, pipe in pipes.items():
                pipe.send(threads)
                cores, clock = pipe.recv()
                if repeat:
                    lists[name].append(cores if threads == 1 else clock)
    for process in processes:
        process.kill()
    return tuple({name: median(values) for name, values in lists.items()} for lists in taken.values())


def contestant(name: str, variant: Variant, pipe: Connection) -> None:
    """A process: told a number of threads, it hears the utterance once and says how long that took."""
    call = made(name, variant)
    pipe.send("ready")
    with torch.no_grad():
        while True:
            torch.set_num_threads(pipe.recv())
            cores, clock = time.process_time(), time.perf_counter()
            call()
            pipe.send((time.process_time() - cores, time.perf_counter() - clock))


def made(name: str, variant: Variant) -> Callable[[], object]:
    wav = speechlike(SECONDS * 16000)
    if name in PEERS:
        peer = PEERS[name](variant)
        return lambda: peer.hidden(wav)
    kind, _, precision = name.partition(" ")
    dtype = DTYPES[precision]
    if kind == "product":
        x, weight = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
        weight = torch.ops.mkldnn._reorder_linear_weight(weight, SIZE)
        return lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    encoder = Encoder(structure_of(variant))
    encoder.load_state_dict(untrained(encoder.shape, 0))
    packed = PackedEncoder(encoder.eval().requires_grad_(False), dtype)
    return lambda: packed([wav])


def figures(variant: Variant, cores: dict[str, float], clock: dict[str, float]) -> dict[str, float]:
    flops = 2 * structure_of(variant).macs(SECONDS * 16000)
    best = min(cores[name] for name in PEERS)
    found = {}
    for name in (*PEERS, *(f"ours {name}" for name in DTYPES)):
        found[f"{name}, audio seconds per core-second"] = SECONDS / cores[name]
    for name in DTYPES:
        peak, ours = 2 * SIZE**3 / cores[f"product {name}"], cores[f"ours {name}"]
        found[f"peak of a {name} product, GFLOP/s per core"] = peak / 1e9
        found[f"ours {name}, share of that peak"] = flops / ours / peak
        found[f"ours {name}, times the best library in float32"] = best / ours
    peak = 2 * SIZE**3 / cores["product float32"]
    for name in PEERS:
        found[f"{name}, share of the float32 peak"] = flops / cores[name] / peak
    for name in (*PEERS, *(f"ours {name}" for name in DTYPES)):
        found[f"{name}, audio seconds per second on two threads"] = SECONDS / clock[name]
    return found


if __name__ == "__main__":
    main(sys.argv[1:] or ["wavlm-base", "wavlm-large"])
