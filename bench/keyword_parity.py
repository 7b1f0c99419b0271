"""The KS head trained by s3prl's own code and by ours, on the same features, at the same learning rate, three seeds.

    python bench/keyword_parity.py DATA [STEPS]

DATA holds Speech Commands (`python -m benchmark data mini --out DATA --task ks`). s3prl's side is its dataset, split,
balanced sampler, Featurizer, expert (head, loss, metric) and its baseline fbank with CMVN off, in the loop of its
runner (clip 1, Adam, dev every 200 steps, best dev kept, seeds before each evaluation); its sox effects are done by our
audio reader. Ours is `python -m benchmark run` with the same steps. The test accuracies should agree within the noise
of training.
"""

import random
import sys
import tempfile
from collections import defaultdict
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import torch
from common import import_s3prl, report, s3prl_keyword_expert
from oracles import s3prl_baseline

import benchmark
from upstream.audio import SAMPLE_RATE, read_audio

UPSTREAM, RATE, SEEDS, EVAL_EVERY = "fbank_no_cmvn", 1e-4, (1, 2, 3), 200
REMEMBERED = 20_000


class RememberingUpstream(torch.nn.Module):
    """s3prl's upstream, which hears each clip once: it is frozen, and hearing it again would only take time."""

    def __init__(self) -> None:
        super().__init__()
        self._upstream, self._known = s3prl_baseline(UPSTREAM), {}

    def _heard(self, wav):
        key = hash(wav.numpy().tobytes())
        if key not in self._known:
            features = self._upstream([wav])["hidden_states"][0][0]
            if len(self._known) >= REMEMBERED:  # silence is cropped anew each time and would fill the memory
                return features
            self._known[key] = features
        return self._known[key]

    def forward(self, wavs):
        features = [self._heard(wav) for wav in wavs]
        return {"hidden_states": [torch.nn.utils.rnn.pad_sequence(features, batch_first=True)]}

    def get_downsample_rates(self, key):
        return self._upstream.get_downsample_rates(key)


@cache
def _heard(path: str) -> tuple[torch.Tensor, int]:
    """What s3prl asks of sox: one channel, 16 kHz, 3 dB down."""
    return torch.from_numpy(read_audio(Path(path), gain_db=-3.0))[None], SAMPLE_RATE


def effects_without_sox(path: str, effects: list) -> tuple[torch.Tensor, int]:
    assert effects == [["channels", "1"], ["rate", "16000"], ["gain", "-3.0"]]
    return _heard(path)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def s3prl_accuracy(data: Path, seed: int, steps: int, upstream: RememberingUpstream) -> float:
    with tempfile.TemporaryDirectory() as work:
        seed_everything(seed)
        featurizer = import_s3prl("s3prl.upstream.interfaces").Featurizer(upstream, upstream_device="cpu")
        expert = s3prl_keyword_expert(data, featurizer.output_dim, Path(work))
        trained = [*featurizer.parameters(), *expert.parameters()]
        optimizer = torch.optim.Adam(trained, lr=RATE)
        step, best, kept = 0, 0.0, None

        def run(split: str, wavs, others, records):
            wavs = [torch.FloatTensor(wav) for wav in wavs]
            with torch.no_grad():
                hidden = upstream(wavs)
            return expert(split, featurizer(wavs, hidden), *others, records=records)

        def evaluate(split: str) -> float:
            seed_everything(seed)
            records = defaultdict(list)
            expert.eval()
            with torch.no_grad():
                for wavs, *others in expert.get_dataloader(split):
                    run(split, wavs, others, records)
            expert.train()
            return 100 * sum(records["acc"]) / len(records["acc"])

        while step < steps:
            for wavs, *others in expert.get_dataloader("train"):
                run("train", wavs, others, defaultdict(list)).backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                if step % EVAL_EVERY == 0:
                    dev = evaluate("dev")
                    if dev > best:
                        best, kept = dev, deepcopy((featurizer.state_dict(), expert.state_dict()))
                if step == steps:
                    break
        featurizer.load_state_dict(kept[0])
        expert.load_state_dict(kept[1])
        return evaluate("test")


def our_accuracy(data: Path, seed: int, steps: int) -> float:
    with tempfile.TemporaryDirectory() as work:
        row = benchmark.run(
            UPSTREAM,
            "ks",
            data=data,
            set=[f"steps={steps}", f"eval_every={EVAL_EVERY}"],
            lr=[str(RATE)],
            seed=[seed],
            cache=Path(work, "cache"),
            results=Path(work, "results"),
            progress=False,
        )
        return row.score["value"]


def main() -> None:
    data, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    import_s3prl("s3prl.downstream.speech_commands.dataset").apply_effects_file = effects_without_sox
    upstream = RememberingUpstream()
    theirs = [s3prl_accuracy(data, seed, steps, upstream) for seed in SEEDS]
    ours = [our_accuracy(data, seed, steps) for seed in SEEDS]
    report(
        f"KS test accuracy, {UPSTREAM}, lr {RATE:g}, {steps} steps, seeds {SEEDS}",
        {
            "s3prl (%)": ", ".join(f"{value:.2f}" for value in theirs),
            "ours (%)": ", ".join(f"{value:.2f}" for value in ours),
            "s3prl, mean": float(np.mean(theirs)),
            "ours, mean": float(np.mean(ours)),
            "ours - s3prl": float(np.mean(ours) - np.mean(theirs)),
        },
    )


if __name__ == "__main__":
    main()
