"""Frames of made-up utterances on disk, for tests of what looks for some of them in others."""

import zlib
from types import SimpleNamespace

import numpy as np
import torch

from downstream import protocols
from downstream.represent import store
from downstream.represent.all_frames import Frames
from downstream.represent.features import FRAMES, Request
from downstream.represent.frame_features import FrameFeatures
from downstream.search.sweep import Sweep
from downstream.types import Example, Manifest

CPU = torch.device("cpu")
LAYERS, DIM = 3, 6
# The last query of dev and the second of test have fewer than the 5 frames that are needed.
DOCUMENT_LENGTHS, DEV_LENGTHS, TEST_LENGTHS = (30, 5, 44, 1, 17, 60, 23, 9), (12, 31, 5, 4), (7, 1, 20)
DOCUMENTS, SIDES = np.arange(8), {"dev": np.arange(8, 12), "test": np.arange(12, 15)}
SHORT = {"dev": [3], "test": [1]}


class Elsewhere(str):
    """What torch takes for the CPU, and others for a device of another kind."""

    type = "elsewhere"


def numbers(*changes):
    """Those of SUPERB's search, in double precision unless a change says otherwise."""
    return protocols.load("superb", ["qbe.precision=float64", *(f"qbe.{change}" for change in changes)]).task("qbe")


def utterances(lengths, seed=0, size=1.0, layers=LAYERS):
    """(layers, frames, dim) of each: smooth, no layer like the other, and not around 0."""
    random = np.random.default_rng(seed)
    drawn = [size * random.standard_normal((layers, length, DIM)).cumsum(axis=1) + 3 for length in lengths]
    return [torch.from_numpy(one).float() for one in drawn]


def documents_and_queries():
    """The queries of the two sides are of another size than the documents, and than each other."""
    drawn = [(DOCUMENT_LENGTHS, 1.0), (DEV_LENGTHS, 0.3), (TEST_LENGTHS, 4.0)]
    return [one for seed, (lengths, size) in enumerate(drawn) for one in utterances(lengths, seed, size)]


def stored_frames(folder, values, ids=None, device=CPU, key="made"):
    """A feature set in half precision of these utterances."""
    examples = [Example(name, f"{name}.wav", ("",)) for name in ids or map(str, range(len(values)))]
    model = SimpleNamespace(
        name="made", fingerprint="made", hop=320, num_layers=len(values[0]), dim=values[0].shape[2], device=device
    )
    manifest = Manifest("made", folder, {"all": examples}, {})
    request = Request(model, manifest, examples, np.zeros(len(values), dtype=bool), form=FRAMES)
    request.key = key  # there are no files of audio to make one of
    facts = dict.fromkeys(store.ENTRY.names, 0)

    def record(value):
        frames = value.shape[1]
        half = Frames(frames, value.norm(dim=-1).mean(dim=1), torch.ones(len(value)), value).halved()
        arrays = [half.norms.numpy(), half.scales.numpy(), half.values.numpy()]
        return arrays, {**facts, "frames": frames, "samples": 320 * frames, "audio": zlib.crc32(value.numpy())}

    path = folder / "00000.shard"
    store.write_shard(path, map(record, values))
    return FrameFeatures(request, store.ShardReader([path], store.read_indexes([path])), folder)


def whole(features, rows):
    """(layers, frames, dim) of some utterances as the features give them, scales and all."""
    batch = features.batch(np.asarray(rows))
    return [value.float() * scales[:, None, None] for value, scales in zip(batch.values, batch.scales, strict=True)]


def sweep_of(features, folder, *changes, documents=DOCUMENTS, sides=SIDES, progress=False):
    return Sweep(features, documents, sides, numbers(*changes), folder, progress)


def costs_of(features, folder, *changes, **options):
    return sweep_of(features, folder, *changes, **options).costs()


def assert_same_bytes(found, expected):
    assert found.keys() == expected.keys()
    for side in found:
        assert found[side].shape == expected[side].shape
        assert found[side].tobytes() == expected[side].tobytes()
