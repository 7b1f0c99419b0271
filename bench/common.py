"""What the comparisons share: alternating repeats, medians, random features on disk, and the peer's own code."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from oracles import import_s3prl

from benchmark.environment import processor
from downstream.represent import store
from downstream.represent.all_frames import Frames
from downstream.represent.features import FRAMES, PooledFeatures, Request
from downstream.represent.frame_features import FrameFeatures
from downstream.types import Example, Manifest


def medians(
    work: dict[str, Callable[[], object]], repeats: int, warm: int = 1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median milliseconds of each piece of work, the pieces taking turns so that a slow moment hits all alike."""
    taken = {name: [] for name in work}
    for repeat in range(warm + repeats):
        for name, run in work.items():
            start = clock()
            run()
            if repeat >= warm:
                taken[name].append(1000 * (clock() - start))
    return {name: statistics.median(values) for name, values in taken.items()}


def times(count: int, run: Callable[[], object]) -> Callable[[], None]:
    """The same work several times over, for work too short to be timed once."""

    def repeated() -> None:
        for _ in range(count):
            run()

    return repeated


def machine() -> str:
    return f"{processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads"


class RandomUpstream:
    """As much of an upstream as the store looks at."""

    name, fingerprint, hop, device = "random", "random", 320, torch.device("cpu")

    def __init__(self, layers: int, dim: int) -> None:
        self.num_layers, self.dim = layers, dim


def random_store(folder: Path, count: int, layers: int, dim: int, classes: int, shard: int = 512) -> PooledFeatures:
    """A pooled feature set of random numbers, written and read by the code that real ones go through."""
    random = np.random.default_rng(0)
    examples = [
        Example(f"{i:06d}", f"{i:06d}.wav", (f"class{i % classes:04d}",), f"speaker{i % 100}") for i in range(count)
    ]
    manifest = Manifest("random", folder, {"train": examples}, {"train": count})
    request = Request(RandomUpstream(layers, dim), manifest, examples, np.zeros(count, dtype=bool))
    facts = {**dict.fromkeys(store.ENTRY.names, 0), "samples": 16000, "frames": 49}
    paths = [folder / f"{n:05d}.shard" for n in range(-(-count // shard))]
    for number, path in enumerate(paths):
        if not path.exists():
            rows = min(shard, count - number * shard)
            values = random.standard_normal((rows, layers * (dim + 1)), dtype=np.float32)
            store.write_shard(path, (([record], facts) for record in values))
    indexes = store.read_indexes(paths)
    return PooledFeatures(request, store.ShardReader(paths, indexes), folder)


def random_frames(folder: Path, lengths: list[int], layers: int, dim: int, shard: int = 64) -> FrameFeatures:
    """A frames feature set of random numbers, of utterances of so many frames each."""
    examples = [Example(f"{i:06d}", f"{i:06d}.wav", ("",), f"speaker{i % 100}") for i in range(len(lengths))]
    manifest = Manifest("random", folder, {"train": examples}, {"train": len(lengths)})
    request = Request(RandomUpstream(layers, dim), manifest, examples, np.zeros(len(lengths), dtype=bool), form=FRAMES)
    generator = torch.Generator().manual_seed(0)
    facts = dict.fromkeys(store.ENTRY.names, 0)

    def record(frames: int) -> tuple[list[np.ndarray], dict]:
        values = torch.randn(layers, frames, dim, generator=generator)
        half = Frames(frames, values.norm(dim=-1).mean(dim=1), torch.ones(layers), values).halved()
        arrays = [half.norms.numpy(), half.scales.numpy(), half.values.numpy()]
        return arrays, {**facts, "frames": frames, "samples": 320 * frames}

    paths = [folder / f"{n:05d}.shard" for n in range(-(-len(lengths) // shard))]
    for number, path in enumerate(paths):
        if not path.exists():
            store.write_shard(path, map(record, lengths[number * shard : (number + 1) * shard]))
    return FrameFeatures(request, store.ShardReader(paths, store.read_indexes(paths)), folder)


def s3prl_wavlm() -> torch.nn.Module:
    """s3prl's WavLM Base with random weights: a frozen upstream costs the same whatever its weights."""
    wavlm = import_s3prl("s3prl.upstream.wavlm.WavLM")
    config = wavlm.WavLMConfig(
        {
            "extractor_mode": "default",
            "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
            "relative_position_embedding": True,
            "num_buckets": 320,
            "max_distance": 800,
            "gru_rel_pos": True,
        }
    )
    model = wavlm.WavLM(config).eval()

    class Upstream(torch.nn.Module):
        def forward(self, wavs):
            padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
            _, layers = model.extract_features(padded, ret_layer_results=True, output_layer=12)[0]
            return {"hidden_states": [layer.transpose(0, 1) for layer, _ in layers]}

        def get_downsample_rates(self, key):
            return 320

    return Upstream()


def s3prl_keyword_expert(root: Path, dim: int, work: Path) -> torch.nn.Module:
    """s3prl's own KS expert with the numbers of its configuration; catalyst, imported for clusters alone, is faked."""
    for name in ("catalyst", "catalyst.data", "catalyst.data.sampler"):
        sys.modules.setdefault(name, ModuleType(name))
    sys.modules["catalyst.data.sampler"].DistributedSamplerWrapper = None
    module = import_s3prl("s3prl.downstream.speech_commands.expert")
    return module.DownstreamExpert(
        upstream_dim=dim,
        downstream_expert={
            "datarc": {
                "speech_commands_root": str(root / "speech_commands_v0.01"),
                "speech_commands_test_root": str(root / "speech_commands_test_set_v0.01"),
                "batch_size": 32,
                "num_workers": 0,
            },
            "modelrc": {"projector_dim": 256, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}},
        },
        expdir=str(work),
    )


def report(title: str, figures: dict[str, object]) -> None:
    """Print the figures of a comparison, one a line, and once more as JSON."""
    print(f"{title}\n{machine()}")
    for name, value in figures.items():
        print(f"  {name:<58} {value if isinstance(value, str) else format(value, '.4g')}")
    print(json.dumps(figures))
