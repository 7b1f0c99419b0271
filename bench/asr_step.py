"""One ASR training step of the full-size head on 16 utterances of about 9 s of fbank: ours, and s3prl's.

    python bench/asr_step.py
    python bench/asr_step.py --hidden 32 --frames 60  # to see whether it works

Both do what SUPERB's ASR does after the features: projector, two BiLSTMs with dropout after each, CTC loss, backward,
clipping and Adam, on the same batch and from the same weights. Before that both take a step without dropout on 100
frames, and the losses of each are printed: they have to agree. s3prl's step takes minutes on a CPU and is taken once;
ours is the median of three.
"""

import argparse
import time
from dataclasses import dataclass

import torch
from common import import_s3prl, medians, report
from torch.nn.functional import ctc_loss

from downstream.fit.sequence_heads import Recurrent

DIM, CLASSES, BATCH, LAYERS, DROPOUT = 240, 32, 16, 2, 0.2
CLIP, RATE = 1.0, 1e-4


class Peer(torch.nn.Module):
    """s3prl's projector and head, from the weights of ours."""

    def __init__(self, head: Recurrent, hidden: int, dropout: float) -> None:
        super().__init__()
        self.projector = torch.nn.Linear(DIM, hidden)
        self.projector.load_state_dict(head.projector.state_dict())
        self.head = import_s3prl("s3prl.downstream.asr.model").RNNs(
            hidden,
            CLASSES,
            160,
            module="LSTM",
            bidirection=True,
            dim=[hidden] * LAYERS,
            dropout=[dropout] * LAYERS,
            layer_norm=[False] * LAYERS,
            proj=[False] * LAYERS,
            sample_rate=[1] * LAYERS,
            sample_style="drop",
            total_rate=-1,
        )
        for number, layer in enumerate(head.layers):
            self.head.rnns[number].layer.load_state_dict(layer.state_dict())
        self.head.linear.load_state_dict(head.classifier.state_dict())

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.head(self.projector(frames), lengths)


@dataclass
class Batch:
    """Utterances between 0.8 times the longest and the longest, of 14 characters a second."""

    frames: torch.Tensor
    lengths: torch.Tensor
    targets: torch.Tensor
    target_lengths: torch.Tensor


def make_batch(frames: int) -> Batch:
    random = torch.Generator().manual_seed(0)
    lengths = torch.linspace(frames, 0.8 * frames, BATCH).long()
    features = torch.randn(BATCH, frames, DIM, generator=random)
    features[torch.arange(frames) >= lengths[:, None]] = 0
    target_lengths = lengths * 14 // 100
    targets = torch.randint(1, CLASSES, (BATCH, int(target_lengths.max())), generator=random)
    return Batch(features, lengths, targets, target_lengths)


def loss_of(run, batch: Batch) -> torch.Tensor:
    logits, lengths = run(batch.frames, batch.lengths)
    probabilities = logits.log_softmax(-1).transpose(0, 1)
    return ctc_loss(probabilities, batch.targets, lengths, batch.target_lengths, zero_infinity=True)


def training(run, parameters, batch: Batch):
    """A function that takes a step."""
    parameters = list(parameters)
    adam = torch.optim.Adam(parameters, lr=RATE)

    def step() -> None:
        adam.zero_grad()
        loss_of(run, batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        adam.step()

    return step


@torch.no_grad()
def losses(model: torch.nn.Module, step, batch: Batch) -> tuple[float, float]:
    """Of the whole batch, before a step and after it: the second tells of the gradients too."""
    before = loss_of(model, batch).item()
    with torch.enable_grad():
        step()
    return before, loss_of(model, batch).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=1024, help="of the projector and of each LSTM direction")
    parser.add_argument("--frames", type=int, default=900, help="of the longest utterance")
    arguments = parser.parse_args()
    hidden, batch, short = arguments.hidden, make_batch(arguments.frames), make_batch(min(100, arguments.frames))

    plain = Recurrent(DIM, hidden, hidden, LAYERS, 0.0, False, 1, CLASSES)
    plain.reset(torch.Generator().manual_seed(0))
    plain_peer = Peer(plain, hidden, 0.0)
    before, after = losses(plain, training(plain, plain.parameters(), short), batch)
    their_before, their_after = losses(plain_peer, training(plain_peer, plain_peer.parameters(), short), batch)

    random = torch.Generator().manual_seed(0)
    head = Recurrent(DIM, hidden, hidden, LAYERS, DROPOUT, False, 1, CLASSES)
    head.reset(random)
    peer = Peer(head, hidden, DROPOUT)
    theirs = training(peer, peer.parameters(), batch)
    ours = training(lambda frames, lengths: head(frames, lengths, random), head.parameters(), batch)
    seconds = medians({"ours": ours}, repeats=3)["ours"] / 1000
    start = time.perf_counter()
    theirs()
    their_seconds = time.perf_counter() - start
    report(
        f"ASR training step, {BATCH} utterances of up to {arguments.frames} frames of {DIM}, hidden {hidden}",
        {
            "loss without dropout, ours": before,
            "loss without dropout, s3prl": their_before,
            "loss after a step on 100 frames, ours": after,
            "loss after a step on 100 frames, s3prl": their_after,
            "step, ours (s)": seconds,
            "step, s3prl (s)": their_seconds,
            "s3prl / ours": their_seconds / seconds,
        },
    )


if __name__ == "__main__":
    main()
