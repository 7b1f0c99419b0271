"""A model of one's own, as --upstream examples/my_upstream.py: random filters, until --weights brings trained ones."""

import torch
from torch.nn import Conv1d, ModuleList
from torch.nn.utils.rnn import pad_sequence


class Upstream(torch.nn.Module):
    min_samples = 400  # for one frame; what is shorter is refused

    def __init__(self, weights: str | None = None) -> None:  # --weights PATH arrives here
        super().__init__()
        torch.manual_seed(0)  # without weights: random filters, the same ones every time
        self.convolutions = ModuleList([Conv1d(1, 64, 400, stride=160), Conv1d(64, 64, 3, padding=1)])
        if weights:
            self.load_state_dict(torch.load(weights, weights_only=True))

    def forward(self, wavs: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:
        x = pad_sequence(wavs, batch_first=True)[:, None]
        lengths = torch.tensor([(len(wav) - 400) // 160 + 1 for wav in wavs], device=x.device)
        layers = []
        for convolution in self.convolutions:
            x = (convolution(x).abs() + 0.03).log()
            x = x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]  # nothing in the padding
            layers.append(x.transpose(1, 2))  # (batch, frames, dim)
        return layers, lengths
