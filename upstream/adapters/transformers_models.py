"""What the encoders of transformers hear, and which of their outputs are hidden states, one class for each input.

The states are the input of every layer and the output of the encoder after its final LayerNorm. transformers 5 records
the last state of pre-LN models before that LayerNorm, so `last_hidden_state` stands in for it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from upstream.adapters.alone import receptive_field
from upstream.audio import SAMPLE_RATE
from upstream.frames import centred_frames


class Waveform:
    """The wav2vec 2.0 kind of model: convolutions over the waveform, which some want normalised."""

    note: str | None = None

    def __init__(self, model: torch.nn.Module, normalize: bool) -> None:
        self.model = model
        self.normalize = normalize
        self.hop = math.prod(model.config.conv_stride)
        self.receptive_field = receptive_field(model.config.conv_kernel, model.config.conv_stride)

    def __call__(self, wav: Tensor) -> list[Tensor]:
        if self.normalize:
            # With an eps of 1e-5, as in pretraining. transformers' own 1e-7 differs on quiet speech.
            wav = layer_norm(wav, wav.shape)
        output = self.model(wav[None], output_hidden_states=True)
        return self.states(output)

    def states(self, output: object) -> list[Tensor]:
        return [*output.hidden_states[:-1], output.last_hidden_state]


class Squeezed(Waveform):
    """SEW: its layers see frames averaged by two or more. Only the output is stretched to the old rate, so the last
    state is that of the last layer, like all others at the rate of the layers."""

    def __init__(self, model: torch.nn.Module, normalize: bool) -> None:
        super().__init__(model, normalize)
        factor = model.config.squeeze_factor
        self.receptive_field += (factor - 1) * self.hop
        self.hop *= factor

    def states(self, output: object) -> list[Tensor]:
        return list(output.hidden_states)


class WhisperMel:
    """Whisper: log mel energies of 30 s, with silence where there is less. A longer utterance is heard in pieces of
    30 s, and their frames are joined. Of the 1500 frames of a piece those count that start inside the audio."""

    receptive_field = None  # a frame hears all 30 s of its piece
    note = "utterances longer than 30 s are heard in pieces of 30 s"

    def __init__(self, model: torch.nn.Module, extractor: object) -> None:
        self.model = model
        self.extractor = extractor
        self.hop = extractor.hop_length * model.conv2.stride[0]

    def __call__(self, wav: Tensor) -> list[Tensor]:
        pieces = [self._piece(piece) for piece in wav.split(self.extractor.n_samples)]
        return [torch.cat(same, dim=1) for same in zip(*pieces, strict=True)]

    def _piece(self, wav: Tensor) -> list[Tensor]:
        features = self.extractor(wav.cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        output = self.model(features.to(wav.device), output_hidden_states=True)
        frames = centred_frames(len(wav) - 1, self.hop)
        return [state[:, :frames] for state in (*output.hidden_states[:-1], output.last_hidden_state)]


class StackedMel:
    """Wav2Vec2-BERT: mel energies of 25 ms every 10 ms, normalised per band, two neighbours to a frame."""

    note: str | None = None

    def __init__(self, model: torch.nn.Module, extractor: object) -> None:
        self.model = model
        self.extractor = extractor
        self.hop = 160 * extractor.stride
        self.receptive_field = 400 + 160 * (extractor.stride - 1)

    def __call__(self, wav: Tensor) -> list[Tensor]:
        made = self.extractor(wav.cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt").to(wav.device)
        output = self.model(**made, output_hidden_states=True)
        frames = int(made.attention_mask.sum())
        return [state[:, :frames] for state in (*output.hidden_states[:-1], output.last_hidden_state)]


@dataclass(frozen=True)
class Kind:
    """One model type: its class, how it is heard, and what makes its input unless that is the waveform."""

    class_name: str
    hearing: Callable = Waveform
    extractor: str | None = None
    module: str = ""  # of classes that transformers does not show at its top
    key_mapping: dict[str, str] | None = None

    def model(self, transformers: ModuleType) -> type:
        return getattr(import_module(self.module) if self.module else transformers, self.class_name)


KINDS = {
    "wav2vec2": Kind("Wav2Vec2Model"),
    "wav2vec2-conformer": Kind("Wav2Vec2ConformerModel"),
    "hubert": Kind("HubertModel"),
    "wavlm": Kind("WavLMModel"),
    "unispeech": Kind("UniSpeechModel"),
    "unispeech-sat": Kind("UniSpeechSatModel"),
    "data2vec-audio": Kind("Data2VecAudioModel"),
    "sew": Kind("SEWModel", Squeezed),
    "sew-d": Kind("SEWDModel", Squeezed),
    "wav2vec2-bert": Kind("Wav2Vec2BertModel", StackedMel, "SeamlessM4TFeatureExtractor"),
    "whisper": Kind(
        "WhisperEncoder",
        WhisperMel,
        "WhisperFeatureExtractor",
        "transformers.models.whisper.modeling_whisper",
        {r"^(model\.)?encoder\.": ""},
    ),
}
