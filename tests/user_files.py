"""User files for tests: a good one, and variants of it."""

import re
import textwrap
from pathlib import Path

import torch

import upstream

# Frames of 320 samples, four figures of each; layer n is n + 1 times that.
GOOD = """
    import torch

    class Upstream:
        layers = 3

        def one(self, wav):
            frames = wav.unfold(0, 320, 320)
            return torch.stack([frames.mean(1), frames.square().sum(1), frames[:, 0], frames[:, 7]], dim=1)

        def __call__(self, wavs):
            feats = [self.one(wav) for wav in wavs]
            lengths = [len(feat) for feat in feats]
            feats = torch.nn.utils.rnn.pad_sequence(feats, batch_first=True)
            return [feats * (n + 1) for n in range(self.layers)], lengths
"""


def write_file(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def load(path, **options):
    return upstream.load(str(path), device="cpu", **options)


def readme_example():
    """The model that the README shows; unlike the good class it is a module, and has words for what is too short."""
    text = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    return re.search(r"### Your model\n.*?```python\n(.*?)```", text, re.DOTALL)[1]


def variant(change, *extra, base=GOOD):
    """A class with its __call__ wrapped: `change` sees wavs, layers, lengths and may rebind the last two."""
    lines = [
        *extra,
        "_good = Upstream.__call__",
        "def _changed(self, wavs):",
        "    layers, lengths = _good(self, wavs)",
        *(f"    {line}" for line in change.splitlines()),
        "    return layers, lengths",
        "Upstream.__call__ = _changed",
    ]
    return textwrap.dedent(base) + "\n".join(lines) + "\n"


def wavs(*samples):
    return [torch.randn(count, generator=torch.Generator().manual_seed(count)) for count in samples]
