"""What to run where a GPU is at hand: extraction against transformers' own models, and one whole KS schedule.

    python bench/on_gpu.py
    python bench/on_gpu.py --device cpu --small      # every line of it, for nothing but to see whether it works

Extraction: made-up 15 s files go through everything from the file to the shard on disk, with the shapes of WavLM Base
and Large and random weights, in float32 (no TF32, as the project does by default) and bfloat16. The batches that the
model was given are noted, and then heard again by the model alone and by transformers' model of the same shape, both
reduced to means over time on the device, in turn. The schedule is that of `keyword_schedule.py`, which starts with no
features. (A script called cuda.py would hide the package `cuda` from torch.)
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import medians, report
from encoders import VARIANTS, full_size, transformers_peer
from extraction import Timed, make_files
from keyword_schedule import figures, reduced, schedule

import upstream
from downstream.represent.extraction import stored
from downstream.represent.features import Request
from downstream.represent.pooling import RunningSums
from downstream.types import Example, Manifest
from upstream.devices import full_float32, pick_device
from upstream.loaded import LoadedUpstream
from upstream.types import HiddenStates

SHAPES = {"wavlm_base": "wavlm-base", "wavlm_large": "wavlm-large"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Noting(Timed):
    """A loaded upstream that notes the lengths of the batches it is given."""

    def __init__(self, inner: LoadedUpstream) -> None:
        super().__init__(inner)
        self.batches = []

    def __call__(self, wavs: list[torch.Tensor]) -> HiddenStates:
        self.batches.append([len(wav) for wav in wavs])
        return super().__call__(wavs)


def extracted(model: Noting, files: int, seconds: int) -> float:
    """Seconds of audio per second, from files to shards."""
    with tempfile.TemporaryDirectory() as temporary:
        audio, cache = Path(temporary, "audio"), Path(temporary, "cache")
        audio.mkdir()
        make_files(audio, files, seconds, 16000, 1, "wav")
        examples = [Example(path.stem, path.name, ("any",)) for path in sorted(audio.iterdir())]
        manifest = Manifest("noise", audio, {"train": examples}, {"train": files})
        request = Request(model, manifest, examples, np.zeros(files, dtype=bool))
        run = medians({"all": lambda: stored(request, cache, progress=False).close()}, repeats=1, warm=0)
    return files * seconds / (run["all"] / 1000)


def finished(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ours(model: LoadedUpstream, batches: list[list[torch.Tensor]], device: torch.device) -> Callable[[], None]:
    def run() -> None:
        for batch in batches:
            sums = RunningSums()
            sums.add(model(batch))
            sums.kept()
        finished(device)

    return run


def theirs(variant: str, batches: list[list[torch.Tensor]], device: torch.device, dtype: torch.dtype):
    """transformers' model with its mask over padding, and the mean of every layer over the frames that count."""
    (shape,) = (full_size(one) for one in VARIANTS if str(one) == variant)
    module = transformers_peer(shape).module.to(device, dtype)

    @torch.no_grad()
    def run() -> None:
        with full_float32(device):
            for batch in batches:
                padded = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
                lengths = torch.tensor([len(wave) for wave in batch], device=device)
                mask = (torch.arange(padded.shape[1], device=device) < lengths[:, None]).long()
                states = module(padded.to(dtype), attention_mask=mask, output_hidden_states=True).hidden_states
                counts = module._get_feat_extract_output_lengths(lengths)
                valid = (torch.arange(states[0].shape[1], device=device) < counts[:, None])[..., None]
                means = [(layer.float() * valid).sum(1) / counts[:, None] for layer in states]
                torch.stack(means).cpu()
        finished(device)

    return run


def measure(name: str, dtype: str, device: torch.device, files: int, seconds: int, repeats: int) -> dict[str, object]:
    model = Noting(upstream.load(f"random:{name}", device=str(device), dtype=dtype))
    pace = extracted(model, files, seconds)
    random = torch.Generator().manual_seed(0)
    batches = [[0.05 * torch.randn(n, generator=random).to(device) for n in batch] for batch in model.batches]
    audio = sum(sum(batch) for batch in model.batches) / 16000
    work = {
        "ours": ours(model, batches, device),
        "transformers": theirs(SHAPES[name], batches, device, DTYPES[dtype]),
    }
    taken = medians(work, repeats)
    found = {
        "utterances in the largest batch": max(map(len, model.batches)),
        "from files to shards, audio seconds a second": pace,
        "ours, the model alone, audio seconds a second": audio / (taken["ours"] / 1000),
        "transformers, the same batches, audio seconds a second": audio / (taken["transformers"] / 1000),
        "ours / transformers": taken["transformers"] / taken["ours"],
    }
    if device.type == "cuda":
        found["peak memory of the device, GB"] = torch.cuda.max_memory_allocated(device) / 1e9
        torch.cuda.reset_peak_memory_stats(device)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="little of everything: the figures mean nothing")
    parser.add_argument("--folder", type=Path, help="a cache whose corpora stay; it is emptied but for these")
    asked = parser.parse_args()
    device = pick_device(asked.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    files, seconds, repeats = (2, 2, 1) if asked.small else (960, 15, 3)
    for name in SHAPES:
        for dtype in DTYPES:
            title = f"Extraction, random:{name}, {dtype}, {files} files of {seconds} s, {where}"
            report(title, measure(name, dtype, device, files, seconds, repeats))
    more = ["--device", asked.device]
    if asked.small:
        more += ["--limit", "20", "--set", "ks.steps=40", "ks.eval_every=20"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary, "cache")
        row, found, corpora = schedule(folder, "random:wavlm_base", more, Path(temporary, "results"))
    report(f"KS, whole schedule of random:wavlm_base, {where}{reduced(row)}", figures(row, found, corpora))


if __name__ == "__main__":
    main()
