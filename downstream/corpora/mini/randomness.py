"""Random numbers that depend on a name and a seed only: not on the order of work, the process, or Python's hash()."""

from hashlib import blake2b

import numpy as np


def generator(seed: int, *key: object) -> np.random.Generator:
    """A generator of its own for whatever the key names, the same in every process."""
    name = "/".join(map(str, (seed, *key)))
    return np.random.Generator(np.random.PCG64(int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big")))


def token(rng: np.random.Generator, alphabet: str, length: int) -> str:
    """A random name, such as the made-up parts of speaker and file names."""
    return "".join(alphabet[i] for i in rng.integers(len(alphabet), size=length))


def pick(rng: np.random.Generator, items: tuple | list) -> object:
    """One of the items. (numpy's `choice` would turn tuples into arrays.)"""
    return items[int(rng.integers(len(items)))]
