"""Requests for features and an upstream that counts its calls, for tests of what is made from them."""

import numpy as np
import soundfile

import upstream
from downstream.represent import store
from downstream.represent.features import Request
from downstream.types import Example, Manifest

SHARD = 8  # records a shard where a test wants several of them


class Counting:
    """A loaded upstream that notes which call it is at, and may be told to do something at one of them."""

    def __init__(self, inner, at=None, then=None):
        self._inner, self._at, self._then, self.calls = inner, at, then, 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __call__(self, wavs):
        self.calls += 1
        if self.calls == self._at:
            self._then()
        return self._inner(wavs)


def counting(name="mel_no_cmvn", at=None, then=None):
    return Counting(upstream.load(str(name), device="cpu"), at, then)


def put_noise(path, seconds, rate=16000, channels=1, seed=0):
    """Noise that gets louder, so that every stretch of it has another mean."""
    random = np.random.default_rng(seed)
    samples = round(seconds * rate)
    wave = random.standard_normal((samples, channels)) * np.linspace(0.01, 0.2, samples)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="PCM_16")


def noise_corpus(folder, count=20, seconds=0.5, crop_of=()):
    """A manifest of `count` files, the longer ones of `crop_of` lasting four times as long."""
    examples = []
    for number in range(count):
        name = f"{number:03d}.wav"
        put_noise(folder / name, seconds * (4 if number in crop_of else 1) + number / 100, seed=number)
        examples.append(Example(f"u{number}", name, ("a",), f"speaker{number % 3}"))
    return Manifest("noise", folder, {"train": examples}, {"train": count})


def request(model, manifest, examples=None, croppable=False, gain_db=0.0, crop_seconds=None):
    examples = list(manifest.examples()) if examples is None else examples
    marked = np.broadcast_to(np.asarray(croppable, dtype=bool), (len(examples),)).copy()
    return Request(model, manifest, examples, marked, gain_db, crop_seconds)


def shard_paths(asked, cache):
    """The shards in a cache, in the order of a request's rows. Their names say nothing of it."""
    first = {}
    for path in sorted(cache.rglob("*.shard")):
        identities = store.read_index(path).identity
        first[path] = int(np.flatnonzero(np.isin(asked.identities, identities))[0])
    return sorted(first, key=first.get)


def shards(cache):
    """The bytes of all shards, by their names."""
    return {path.name: path.read_bytes() for path in sorted(cache.rglob("*.shard"))}


def relative(a, b):
    """Distance of each row of two tensors, relative to the second."""
    return (a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)
