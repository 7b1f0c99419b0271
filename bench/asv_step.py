"""One ASV training step of the full-size x-vector on 5 micro-batches of 10 utterances of fbank: ours, and s3prl's.

    python bench/asv_step.py
    python bench/asv_step.py --micro 1 --frames 60  # to see whether it works

Both do what SUPERB's ASV does after the features: connector, TDNNs, pooling, AM-softmax loss, backward, clipping and
AdamW, on the same batches and from the same weights. Before that both take a step on utterances of one length, where
s3prl pools no frame of padding, and the losses of each are printed: they have to agree. Then they take turns, each in a
process of its own, since ours keeps freed memory as our training does; each figure is the median of three.
"""

import argparse
import copy
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch
from common import import_s3prl, medians, report
from torch.nn.utils.rnn import pad_sequence

from downstream.fit.xvector import XVector, am_softmax_losses
from upstream.devices import tune_memory

DIM, SPEAKERS, BATCH = 240, 1211, 10
CLIP, RATE = 1000.0, 5e-5


class Ours(torch.nn.Module):
    """The mean loss of padded utterances."""

    def __init__(self, head: XVector) -> None:
        super().__init__()
        self.head = head

    def forward(self, utterances: list[torch.Tensor], speakers: torch.Tensor) -> torch.Tensor:
        lengths = torch.tensor([len(one) for one in utterances])
        cosines, lengths = self.head(pad_sequence(utterances, batch_first=True), lengths)
        return am_softmax_losses(cosines, lengths, speakers, self.head.scale, self.head.margin).mean()


class Peer(torch.nn.Module):
    """s3prl's connector, model and objective, called as its expert calls them, from the weights of ours."""

    def __init__(self, head: XVector) -> None:
        super().__init__()
        module = import_s3prl("s3prl.downstream.sv_voxceleb1.model")
        width, wide = head.connector.out_features, head.layers[-1].out_features
        config = {"agg_dim": wide, "dropout_p": 0.0, "batch_norm": False}
        self.connector = copy.deepcopy(head.connector)
        self.model = module.Model(width, wide, "SP", "XVector", "UtteranceExtractor", config)
        for theirs, ours in zip(self.model.framelevel_feature_extractor.module, head.layers, strict=True):
            theirs.kernel.load_state_dict(ours.state_dict())
        utterance = self.model.utterancelevel_feature_extractor
        utterance.linear1.load_state_dict(head.embedding.state_dict())
        utterance.linear2.load_state_dict(head.training_vector.state_dict())
        self.objective = module.AMSoftmaxLoss(width, SPEAKERS, s=head.scale, m=head.margin)
        self.objective.W = copy.deepcopy(head.speakers)

    def forward(self, utterances: list[torch.Tensor], speakers: torch.Tensor) -> torch.Tensor:
        mask = pad_sequence([torch.ones(len(one) - 14) for one in utterances], batch_first=True)
        frames = self.connector(pad_sequence(utterances, batch_first=True))
        return self.objective(self.model(frames, (1.0 - mask) * -100000.0), speakers)


Batch = tuple[list[torch.Tensor], torch.Tensor]


def make_batch(shortest: int, longest: int, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.linspace(longest, shortest, BATCH).long().tolist()
    speakers = torch.randint(SPEAKERS, (BATCH,), generator=random)
    return [torch.randn(length, DIM, generator=random) for length in lengths], speakers


def training(model: torch.nn.Module, batches: list[Batch], fused: bool):
    """A function that takes a step."""
    parameters = list(model.parameters())
    adam = torch.optim.AdamW(parameters, lr=RATE, fused=fused)

    def step() -> None:
        adam.zero_grad()
        for batch in batches:
            (model(*batch) / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        adam.step()

    return step


def losses(model: torch.nn.Module, batch: Batch, fused: bool) -> tuple[float, float]:
    """Before a step and after it: the second tells of the gradients too."""
    step = training(model, [batch], fused)
    before = model(*batch).item()
    step()
    return before, model(*batch).item()


def serve(connection: Connection, name: str, threads: int, micro: int, shortest: int, longest: int) -> None:
    """Takes a step whenever it is told to."""
    torch.set_num_threads(threads)
    if name == "ours":
        tune_memory()
    head = XVector(DIM, SPEAKERS)
    head.reset(torch.Generator().manual_seed(0))
    batches = [make_batch(shortest, longest, seed) for seed in range(micro)]
    step = training(Ours(head) if name == "ours" else Peer(head), batches, fused=name == "ours")
    while connection.recv():
        step()
        connection.send(True)


@contextmanager
def elsewhere(*arguments: object) -> Iterator[Callable[[], None]]:
    """A function that has a step taken in another process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, *arguments), daemon=True)
    process.start()

    def step() -> None:
        here.send(True)
        here.recv()

    yield step
    here.send(False)
    process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--micro", type=int, default=5, help="micro-batches of a step")
    parser.add_argument("--frames", type=int, default=798, help="of the longest utterance; the shortest has 0.6 of it")
    parser.add_argument("--threads", type=int, help="of torch; as many as there are cores unless given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    longest, shortest = arguments.frames, round(0.604 * arguments.frames)

    head = XVector(DIM, SPEAKERS)
    head.reset(torch.Generator().manual_seed(0))
    ours, peer = Ours(head), Peer(head)
    even = make_batch(longest, longest, seed=0)
    before, after = losses(ours, even, fused=True)
    their_before, their_after = losses(peer, even, fused=False)

    shape = (arguments.threads or torch.get_num_threads(), arguments.micro, shortest, longest)
    with elsewhere("ours", *shape) as ours_steps, elsewhere("s3prl", *shape) as peer_steps:
        work = {"ours": ours_steps, "s3prl": peer_steps}
        seconds = {name: taken / 1000 for name, taken in medians(work, repeats=3).items()}
    report(
        f"ASV training step, {arguments.micro} x {BATCH} utterances of {shortest} to {longest} frames of {DIM}",
        {
            "loss of utterances of one length, ours": before,
            "loss of utterances of one length, s3prl": their_before,
            "loss after a step on them, ours": after,
            "loss after a step on them, s3prl": their_after,
            "step, ours (s)": seconds["ours"],
            "step, s3prl (s)": seconds["s3prl"],
            "s3prl / ours": seconds["s3prl"] / seconds["ours"],
        },
    )


if __name__ == "__main__":
    main()
