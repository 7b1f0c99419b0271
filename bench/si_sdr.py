"""What SI-SDRi of a whole test set costs beside reading its audio, and how often BSS-Eval would pair otherwise.

    python bench/si_sdr.py
    python bench/si_sdr.py --mixtures 4 --rounds 2 --pairs 5  # to see whether it works

60 mixtures of two synthesized speakers, of about 10 s, are written as 16-bit WAV and gone through 50 times: 3,000
utterances as in Libri2Mix's test set. Reading is of mixture and sources; the estimates, which a network would give, are
made from them once. Then estimates are made by masks that range from ideal to random, and the pairs that SUPERB takes
(by mir_eval's SIR) are compared with ours (by SI-SDR): in how many utterances they differ, and by how much SI-SDRi.
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from common import medians, report
from mir_eval.separation import bss_eval_sources

from benchmark.pictures import audio_bytes
from downstream.corpora.mini.voices import FEMALE, MALE, draw_voice
from downstream.metrics.separation import si_sdr, si_sdr_improvement
from upstream.audio import read_audio

SENTENCES = (
    "the river was low and the boats lay on the sand until the evening came",
    "nobody knew what the captain had in mind when he asked for a letter",
    "she sells apples and pears by the old bridge every other morning",
)
RANDOM = (0.0, 0.5, 0.8, 0.9, 0.95, 1.0)  # how far the masks are from ideal


class Mixture(NamedTuple):
    paths: list[Path]
    estimates: np.ndarray


def spoken(random: np.random.Generator, seconds: float) -> np.ndarray:
    voice = draw_voice(random, MALE + FEMALE, 1.0)
    wave = np.zeros(0)
    while len(wave) < 16000 * seconds:
        wave = np.concatenate([wave, voice.say(str(random.choice(SENTENCES)), seed=int(random.integers(1 << 30)))])
    wave = wave[: int(16000 * seconds)]
    return 0.05 * wave / np.sqrt((wave**2).mean())


def sources_of(random: np.random.Generator, seconds: float) -> np.ndarray:
    """Two speakers, one up to 5 dB louder than the other."""
    return np.stack([spoken(random, seconds), spoken(random, seconds) * 10 ** (random.uniform(-5, 5) / 20)])


def separated(random: np.random.Generator, sources: np.ndarray, amount: float) -> np.ndarray:
    """By masks that are so far from ideal, in a random order."""
    window = torch.hann_window(512, dtype=torch.float64)
    spectra = torch.stft(torch.from_numpy(sources), 512, 128, window=window, return_complex=True)
    ideal = spectra.abs() ** 2 / (spectra.abs() ** 2).sum(dim=0).clamp_min(1e-12)
    noise = torch.from_numpy(random.standard_normal(ideal.shape))
    masks = ((1 - amount) * ideal + amount * (0.5 + 0.3 * noise)).clamp_min(0)
    waves = torch.istft(masks * spectra.sum(dim=0), 512, 128, window=window, length=sources.shape[1])
    return waves[torch.from_numpy(random.permutation(2))].float().numpy()


def written(folder: Path, random: np.random.Generator, number: int, seconds: float) -> Mixture:
    sources = sources_of(random, seconds)
    paths = [folder / f"{number}-{what}.wav" for what in ("mix", "s1", "s2")]
    for path, wave in zip(paths, (sources.sum(axis=0), *sources), strict=True):
        path.write_bytes(audio_bytes(wave)[0])
    return Mixture(paths, separated(random, sources, 0.5))


def read(mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    mixed, *sources = (read_audio(path) for path in mixture.paths)
    return mixed, np.stack(sources)


def disagreement(random: np.random.Generator, amount: float, pairs: int) -> dict[str, object]:
    gains, losses = [], []
    for _ in range(pairs):
        sources = sources_of(random, 2.5)
        estimates = separated(random, sources, amount)
        found = si_sdr_improvement(sources, estimates, sources.sum(axis=0))
        order = bss_eval_sources(sources, estimates)[3]
        theirs = np.mean([si_sdr(source, estimates[i]) for source, i in zip(sources, order, strict=True)])
        gains.append(found.gain)
        losses.append((tuple(order) != found.permutation, found.si_sdr - theirs))
    different, less = zip(*losses, strict=True)
    return {
        f"masks {amount} random: SI-SDRi (dB)": np.mean(gains),
        f"masks {amount} random: utterances paired otherwise by SIR": f"{sum(different)} of {pairs}",
        f"masks {amount} random: SI-SDRi lower by, with the pairs of SIR (dB)": np.mean(less),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixtures", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each mixture")
    parser.add_argument("--rounds", type=int, default=50, help="through all mixtures")
    parser.add_argument("--pairs", type=int, default=100, help="compared with mir_eval's, for each kind of mask")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # mir_eval's, of what it will drop
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        mixtures = [written(Path(folder), random, i, arguments.seconds) for i in range(arguments.mixtures)]
        audio = [read(mixture) for mixture in mixtures]

        def reading():
            for mixture in mixtures:
                read(mixture)

        def scoring():
            for (mixed, sources), mixture in zip(audio, mixtures, strict=True):
                si_sdr_improvement(sources, mixture.estimates, mixed)

        def both():
            for mixture in mixtures:
                mixed, sources = read(mixture)
                si_sdr_improvement(sources, mixture.estimates, mixed)

        taken = medians({"reading": reading, "scoring": scoring, "both": both}, repeats=arguments.rounds)
    figures = {f"{name}, an utterance (ms)": time / len(mixtures) for name, time in taken.items()}
    figures["both, 3,000 utterances (s)"] = 3 * taken["both"] / len(mixtures)
    figures["both / reading"] = taken["both"] / taken["reading"]
    for amount in RANDOM if arguments.pairs else ():
        figures |= disagreement(random, amount, arguments.pairs)
    report(f"SI-SDRi of {len(mixtures)} mixtures, {arguments.rounds} times, {arguments.seconds:g} s each", figures)


if __name__ == "__main__":
    main()
