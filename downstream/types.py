"""What a corpus is once it has been read: examples, in splits, under a root."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Example:
    """One utterance of a corpus: which samples of which file, what is to be predicted, and who speaks.

    `target` has one class name for each thing to predict (most tasks one, intents three). `start` and `stop` count
    samples at 16 kHz. `group` is the speaker, the unit over which intervals are bootstrapped; None where not known.
    `sources` are the files of what is mixed in it, where these are what is to be predicted.
    """

    id: str
    audio: str
    target: tuple[str, ...]
    group: str | None = None
    start: int = 0
    stop: int | None = None
    sources: tuple[str, ...] = ()


@dataclass
class Manifest:
    """A corpus on disk: its examples by split, and how they compare with the published counts."""

    corpus: str
    root: Path
    splits: dict[str, list[Example]]
    expected: dict[str, int]
    mini: dict | None = None  # the content of the marker file when this is a small made-up corpus
    notes: list[str] = field(default_factory=list)
    holds: str = ""  # what there is to predict, in words, where that is neither classes nor texts

    def path(self, example: Example) -> Path:
        return self.root / example.audio

    def examples(self) -> Iterator[Example]:
        for examples in self.splits.values():
            yield from examples

    @property
    def counts(self) -> dict[str, int]:
        return {split: len(examples) for split, examples in self.splits.items()}

    @property
    def complete(self) -> bool:
        return all(len(self.splits.get(split, ())) == count for split, count in self.expected.items())

    def digest(self) -> str:
        """Changes with every id, file name, file size, target, crop and split; not with dates or folders above."""
        digest = blake2b(digest_size=16)
        for split, examples in self.splits.items():
            for e in examples:
                size = self.path(e).stat().st_size
                line = (split, e.id, e.audio, size, *e.target, e.group, e.start, e.stop)
                line += tuple(f"{source} {(self.root / source).stat().st_size}" for source in e.sources)
                digest.update("\t".join(map(str, line)).encode() + b"\n")
        return digest.hexdigest()


def evenly(examples: list[Example], limit: int) -> list[Example]:
    """At most `limit` examples, evenly spread, so that sorted splits keep all of their classes as far as they can."""
    places = np.unique(np.linspace(0, len(examples) - 1, min(limit, len(examples))).astype(int))
    return [examples[place] for place in places]
