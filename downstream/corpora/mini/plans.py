"""The corpora that can be made, by name."""

from downstream.corpora.mini import fluent, iemocap, speech_commands, voxceleb1
from downstream.corpora.mini.plan import Plan

_MODULES = {
    "speech_commands": speech_commands,
    "fluent_speech_commands": fluent,
    "voxceleb1": voxceleb1,
    "iemocap": iemocap,
}
CORPORA: tuple[str, ...] = tuple(_MODULES)
TOPS: dict[str, tuple[str, ...]] = {corpus: module.TOPS for corpus, module in _MODULES.items()}


def plan(corpus: str, seed: int, scale: float) -> Plan:
    """Everything there is to know about a corpus but its sound. Takes milliseconds."""
    return _MODULES[corpus].make_plan(seed, scale)
