"""A model of one's own, as --upstream examples/my_upstream.py: three layers of random filters over the waveform.

A real one would load its weights in `__init__`; `weights` is what --weights gives, if anything.
"""

import torch


class Upstream:
    max_batch = 1  # one utterance at a time: nothing to mask, and features that never depend on a batch

    def __init__(self, weights: str | None = None) -> None:
        random = torch.Generator().manual_seed(0)
        self.filters = [
            torch.randn(64, inputs, width, generator=random) / (inputs * width) ** 0.5
            for inputs, width in ((1, 400), (64, 3), (64, 3))
        ]

    def __call__(self, wavs: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
        x = wavs[0].view(1, 1, -1)
        layers = []
        for number, filters in enumerate(self.filters):
            x = torch.nn.functional.conv1d(x, filters, stride=1 if number else 160, padding=1 if number else 0)
            x = (x.abs() + 1e-5).log()
            layers.append(x.transpose(1, 2))  # (batch, frames, dim)
        return layers, [x.shape[2]]
