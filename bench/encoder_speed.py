"""Seconds of audio per second of one core: our encoder beside s3prl, transformers and torchaudio as they come.

Random weights in the shapes of WavLM Base and Large (or those named on the command line), one utterance of ten
seconds, one thread, processor time of the process; alternated, medians. The peak is what oneDNN reaches on a product of
2048 x 2048 matrices in the same run. A second part measures two threads by the clock.

    python bench/encoder_speed.py [wavlm-base wavlm-large wav2vec2-base ...]
"""

import sys
import time
from collections.abc import Callable

import torch
from common import medians, report
from encoders import PEERS, VARIANTS, full_size, speechlike, structure_of

from upstream.encoder.model import Encoder
from upstream.encoder.packed import PackedEncoder
from upstream.encoder.untrained import untrained

SECONDS = 10
REPEATS = 7
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@torch.no_grad()
def main(names: list[str]) -> None:
    wav = speechlike(SECONDS * 16000)
    for variant in map(full_size, VARIANTS):
        if str(variant) not in names:
            continue
        structure = structure_of(variant)
        encoder = Encoder(structure)
        encoder.load_state_dict(untrained(structure, 0))
        encoder.eval()
        calls = {name: _peer(name, variant, wav) for name in PEERS}
        for name, dtype in PRECISIONS.items():
            packed = PackedEncoder(encoder, dtype)
            calls[f"ours {name}"] = lambda packed=packed: packed([wav])
        figures = {}
        torch.set_num_threads(1)
        peaks = {f"peak {name}": _product(dtype) for name, dtype in PRECISIONS.items()}
        seconds = medians(calls | peaks, REPEATS, clock=time.process_time)
        best = max(1000 * SECONDS / seconds[name] for name in PEERS)
        flops = 2 * structure.macs(len(wav))
        for name in calls:
            figures[f"{name}, audio seconds per core-second"] = 1000 * SECONDS / seconds[name]
        for name in PRECISIONS:
            peak = 1000 * 2 * 2048**3 / seconds[f"peak {name}"]
            figures[f"peak of a {name} product, GFLOP/s per core"] = peak / 1e9
            figures[f"ours {name}, share of that peak"] = 1000 * flops / seconds[f"ours {name}"] / peak
            figures[f"ours {name}, times the best library in float32"] = 1000 * SECONDS / seconds[f"ours {name}"] / best
        torch.set_num_threads(2)
        for name, taken in medians(calls, REPEATS).items():
            figures[f"{name}, audio seconds per second on two threads"] = 1000 * SECONDS / taken
        report(str(variant), figures)


def _peer(name: str, variant: object, wav: torch.Tensor) -> Callable[[], object]:
    peer = PEERS[name](variant)
    return lambda: peer.hidden(wav)


def _product(dtype: torch.dtype) -> Callable[[], object]:
    x, weight = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    weight = torch.ops.mkldnn._reorder_linear_weight(weight, 2048)
    return lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


if __name__ == "__main__":
    main(sys.argv[1:] or ["wavlm-base", "wavlm-large"])
