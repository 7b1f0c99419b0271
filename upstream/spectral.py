"""Spectral upstreams: Kaldi features and short-time Fourier transforms, the baselines of the SUPERB tables.

They equal s3prl's baselines on the same audio, with two differences made on purpose. s3prl drops digital silence at the
end of an utterance for `mel` and `linear` and rounds their lengths; here the number of frames is a function of the
number of samples alone. And a dimension that does not vary over an utterance (a one-frame utterance, silence, an empty
mel filter) is exactly zero after normalisation, where s3prl divides rounding noise by 1e-10 or gives NaN.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from upstream import frames as frame_arithmetic
from upstream.audio import SAMPLE_RATE
from upstream.devices import only_float32
from upstream.errors import DataError, UsageError
from upstream.fingerprint import paths_digest
from upstream.frames import centred_frames, snip_edges_frames
from upstream.loaded import Provided
from upstream.registry import Source
from upstream.types import HiddenStates

EPSILON = torch.finfo(torch.float32).eps  # Kaldi's floor under a logarithm


@dataclass(frozen=True)
class Kaldi:
    """Features as Kaldi computes them: 25 ms frames every 10 ms, all of them inside the signal."""

    mel_bins: int | None = None  # None: the power spectrum itself, with the frame's energy in bin 0
    cepstra: int | None = None
    deltas: int = 0
    cmvn: bool = True
    window: int = 400
    hop: int = 160
    fft: int = 512
    low_hz: float = 20.0
    preemphasis: float = 0.97
    lifter: float = 22.0


@dataclass(frozen=True)
class Stft:
    """Features of a Hann-windowed transform with its frames centred on the multiples of the hop."""

    fft: int
    hop: int
    mel_bins: int | None = None
    scale: str = "log_power"  # or magnitude, or log_magnitude
    cmvn: bool = True


_FBANK = Kaldi(mel_bins=80, deltas=2)
_MFCC = Kaldi(mel_bins=23, cepstra=13, deltas=2)
_SPECTROGRAM = Kaldi()
_MEL = Stft(fft=400, hop=160, mel_bins=80)
_LINEAR = Stft(fft=400, hop=160)

CONFIGS: dict[str, Kaldi | Stft] = {
    "fbank": _FBANK,
    "fbank_no_cmvn": replace(_FBANK, cmvn=False),
    "mfcc": _MFCC,
    "mfcc_no_cmvn": replace(_MFCC, cmvn=False),
    "spectrogram": _SPECTROGRAM,
    "spectrogram_no_cmvn": replace(_SPECTROGRAM, cmvn=False),
    "mel": _MEL,
    "mel_no_cmvn": replace(_MEL, cmvn=False),
    "linear": _LINEAR,
    "linear_no_cmvn": replace(_LINEAR, cmvn=False),
    "stft_mag": Stft(fft=512, hop=320, scale="magnitude", cmvn=False),
    "log_stft_mag": Stft(fft=512, hop=320, scale="log_magnitude", cmvn=False),
}


def provide(source: Source, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Provided:
    """The provider of the registry for this family."""
    if weights is not None:
        raise UsageError(f"upstream '{source.name}' has no weights; leave out --weights {weights}.")
    only_float32(source.name, dtype)
    config = CONFIGS[source.name]
    facts = {
        "config": asdict(config),
        "code": paths_digest([Path(__file__), Path(frame_arithmetic.__file__)]),
    }
    return Provided(
        run=SpectralUpstream(config).to(device),
        name=source.name,
        hop=source.card.hop,
        num_layers=source.card.layers,
        dim=source.card.dim,
        facts=lambda: facts,
        one_thread=True,
        concurrent=True,
    )


class SpectralUpstream(torch.nn.Module):
    """One utterance after the other, so that what an utterance is batched with cannot matter."""

    def __init__(self, config: Kaldi | Stft) -> None:
        super().__init__()
        self.config = config
        self.features = KaldiFeatures(config) if isinstance(config, Kaldi) else StftFeatures(config)

    @torch.no_grad()
    def forward(self, wavs: list[Tensor]) -> HiddenStates:
        for index, wav in enumerate(wavs):
            if len(wav) < self.features.min_samples:
                raise DataError(
                    f"utterance {index} of a batch of {len(wavs)} has {len(wav)} samples; one frame needs at least "
                    f"{self.features.min_samples}. Remove it, or use an upstream with a shorter window."
                )
        outputs = [self._utterance(wav) for wav in wavs]
        lengths = torch.tensor([self.features.frame_count(len(wav)) for wav in wavs], device=outputs[0].device)
        return HiddenStates([torch.nn.utils.rnn.pad_sequence(outputs, batch_first=True)], lengths, self.config.hop)

    def _utterance(self, wav: Tensor) -> Tensor:
        features = self.features(wav)
        if isinstance(self.config, Kaldi):
            features = with_deltas(features, self.config.deltas)
        return normalised(features) if self.config.cmvn else features


class KaldiFeatures(torch.nn.Module):
    """(samples) to (frames, dim): log power spectrum, log mel energies or mel cepstra."""

    def __init__(self, config: Kaldi) -> None:
        super().__init__()
        self.config = config
        self.min_samples = config.window
        hann = torch.hann_window(config.window, periodic=False)
        self.register_buffer("povey_window", hann.pow(0.85), persistent=False)
        if config.mel_bins:
            self.register_buffer("mel", kaldi_mel_filters(config), persistent=False)
        if config.cepstra:
            self.register_buffer("dct", liftered_dct(config), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        frames = wav.unfold(0, self.config.window, self.config.hop)
        frames = frames - frames.mean(dim=1, keepdim=True)
        energy = None if self.config.mel_bins else frames.square().sum(dim=1)
        # The sample before the first one of a frame counts as equal to it.
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1).mul_(self.config.preemphasis)
        power = _power(torch.fft.rfft(frames.sub_(before).mul_(self.povey_window), n=self.config.fft))
        if energy is not None:
            features = power.clamp_(min=EPSILON).log_()
            features[:, 0] = energy.clamp(min=1.0).log()  # Kaldi's default energy floor of 1
            return features
        features = (power @ self.mel).clamp_(min=EPSILON).log_()
        return features @ self.dct if self.config.cepstra else features

    def frame_count(self, samples: int) -> int:
        return snip_edges_frames(samples, self.config.window, self.config.hop)


class StftFeatures(torch.nn.Module):
    """(samples) to (frames, dim): magnitude, its logarithm, or the logarithm of (mel) power."""

    def __init__(self, config: Stft) -> None:
        super().__init__()
        self.config = config
        self.min_samples = config.fft // 2 + 1  # the signal is reflected at both ends by half a window
        self.register_buffer("window", torch.hann_window(config.fft), persistent=False)
        if config.mel_bins:
            self.register_buffer("mel", stft_mel_filters(config), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        spectrum = torch.stft(
            wav, self.config.fft, self.config.hop, window=self.window, pad_mode="reflect", return_complex=True
        ).T
        if self.config.scale == "magnitude":
            return spectrum.abs().contiguous()
        if self.config.scale == "log_magnitude":
            return spectrum.abs().clamp_(min=1e-8).log_().contiguous()
        power = _power(spectrum.contiguous())
        power = power @ self.mel if self.config.mel_bins else power
        return power.add_(1e-10).log_()

    def frame_count(self, samples: int) -> int:
        return centred_frames(samples, self.config.hop)


def with_deltas(features: Tensor, order: int) -> Tensor:
    """(frames, dim) to (frames, dim x (1 + order)): regression slopes over five frames, the edge frames repeated."""
    out = [features]
    for _ in range(order):
        last = out[-1]
        padded = torch.cat([last[:1], last[:1], last, last[-1:], last[-1:]])
        near = padded[3:-1] - padded[1:-3]
        out.append(near.add_(padded[4:] - padded[:-4], alpha=2).div_(10))
    return torch.cat(out, dim=1) if order else features


def normalised(features: Tensor) -> Tensor:
    """Zero mean and unit (unbiased) variance over time. What does not vary becomes exactly zero."""
    if len(features) == 1:
        return torch.zeros_like(features)
    # Taking the first frame off first keeps a constant from leaving rounding noise behind.
    centred = features - features[:1]
    centred -= centred.mean(dim=0)
    spread = (centred.square().sum(dim=0) / (len(centred) - 1)).sqrt_()
    return centred.div_(spread + 1e-10)


def kaldi_mel_filters(config: Kaldi) -> Tensor:
    """(bins, mel bins): triangles on Kaldi's mel scale, drawn in mel; nothing at the Nyquist frequency."""
    hz = torch.arange(config.fft // 2 + 1) * (SAMPLE_RATE / config.fft)
    low, high = (1127 * math.log(1 + edge / 700) for edge in (config.low_hz, SAMPLE_RATE / 2))
    corners = low + torch.arange(config.mel_bins + 2) * ((high - low) / (config.mel_bins + 1))
    filters = _triangles(1127 * (1 + hz / 700).log(), corners)
    filters[-1] = 0
    return filters


def stft_mel_filters(config: Stft) -> Tensor:
    """(bins, mel bins): triangles with corners evenly spaced in HTK mel, drawn in hertz. Narrow ones may stay empty."""
    hz = torch.linspace(0, SAMPLE_RATE // 2, config.fft // 2 + 1)
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    mel = torch.linspace(0, top, config.mel_bins + 2)
    return _triangles(hz, 700 * (10 ** (mel / 2595) - 1))


def liftered_dct(config: Kaldi) -> Tensor:
    """(mel bins, cepstra): orthonormal DCT-II, with the cepstra weighted by Kaldi's lifter."""
    bins, order = torch.arange(config.mel_bins)[:, None], torch.arange(config.cepstra)
    dct = torch.cos(math.pi / config.mel_bins * (bins + 0.5) * order) * math.sqrt(2 / config.mel_bins)
    dct[:, 0] = math.sqrt(1 / config.mel_bins)
    return dct * (1 + config.lifter / 2 * torch.sin(math.pi * order / config.lifter))


def _triangles(points: Tensor, corners: Tensor) -> Tensor:
    """(points, corners - 2): triangle m rises from corner m to m + 1 and falls to m + 2."""
    distance = points[:, None] - corners
    width = corners.diff()
    rising, falling = distance[:, :-2] / width[:-1], -distance[:, 2:] / width[1:]
    return torch.minimum(rising, falling).clamp(min=0)


def _power(spectrum: Tensor) -> Tensor:
    return torch.view_as_real(spectrum).square().sum(dim=-1)
