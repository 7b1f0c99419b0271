"""The corpora that can be made, by name."""

from downstream.corpora.mini import (
    audio_snips,
    common_voice_ar,
    common_voice_es,
    common_voice_zh,
    fluent,
    iemocap,
    libri2mix,
    librispeech,
    quesst14,
    speech_commands,
    voicebank,
    voxceleb1,
)
from downstream.corpora.mini.plan import Plan

_MODULES = {
    "speech_commands": speech_commands,
    "fluent_speech_commands": fluent,
    "voxceleb1": voxceleb1,
    "iemocap": iemocap,
    "librispeech": librispeech,
    "common_voice_es": common_voice_es,
    "common_voice_ar": common_voice_ar,
    "common_voice_zh": common_voice_zh,
    "audio_snips": audio_snips,
    "libri2mix": libri2mix,
    "voicebank_demand": voicebank,
    "quesst14": quesst14,
}
CORPORA: tuple[str, ...] = tuple(_MODULES)
TOPS: dict[str, tuple[str, ...]] = {corpus: module.TOPS for corpus, module in _MODULES.items()}


def plan(corpus: str, seed: int, scale: float) -> Plan:
    """Everything there is to know about a corpus but its sound. Takes milliseconds."""
    return _MODULES[corpus].make_plan(seed, scale)
