"""Other people's code as a yardstick: makes torchaudio and s3prl import beside a current torch, and runs them.

The wheels of torchaudio refuse a torch they were not built for when their compiled part loads. Nothing that the tests
use is in that part, so a stand-in takes its place before the first import. s3prl looks for two names that torchaudio
has dropped since; they are put back, and fail if anyone calls them.
"""

import sys
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType

import torch


@cache
def import_torchaudio() -> ModuleType:
    if "torchaudio" not in sys.modules:
        compiled = ModuleType("torchaudio._extension")
        compiled._IS_TORCHAUDIO_EXT_AVAILABLE = False
        compiled._IS_ALIGN_AVAILABLE = False
        compiled._check_cuda_version = lambda: None
        compiled.fail_if_no_align = lambda function: function
        sys.modules["torchaudio._extension"] = compiled
    return import_module("torchaudio")


def import_s3prl(module: str) -> ModuleType:
    """A module of s3prl by its full name, for instance `s3prl.upstream.baseline.expert`."""
    torchaudio = import_torchaudio()
    if not hasattr(torchaudio, "set_audio_backend"):
        torchaudio.set_audio_backend = lambda *_: None
    if "torchaudio.sox_effects" not in sys.modules:
        effects = ModuleType("torchaudio.sox_effects")
        effects.apply_effects_file = effects.apply_effects_tensor = _gone
        sys.modules["torchaudio.sox_effects"] = torchaudio.sox_effects = effects
    return import_module(module)


@cache
def s3prl_baseline(name: str) -> torch.nn.Module:
    """s3prl's own upstream for one of its spectral names; `NAME_no_cmvn` is its class with CMVN switched off."""
    plain = name.removesuffix("_no_cmvn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of empty mel filters every time
        if plain.endswith("stft_mag"):
            hub = import_s3prl("s3prl.upstream.log_stft.hubconf")
            return hub.stft_mag(model_config=_beside(hub, f"{plain}.yaml"))
        expert = getattr(import_s3prl("s3prl.upstream.baseline.hubconf"), plain)()
    if plain != name:
        switch_off_cmvn(expert)
    return expert


def switch_off_cmvn(expert: torch.nn.Module) -> None:
    if "kaldi" in expert.config:
        expert.extracter[2].use_cmvn = False
    else:
        expert.extracter.feat_list[0]["cmvn"] = False


@torch.no_grad()
def s3prl_features(name: str, wav: torch.Tensor) -> torch.Tensor:
    """(frames, dim) of one utterance alone."""
    return s3prl_baseline(name)([wav])["hidden_states"][0][0]


def _beside(module: ModuleType, name: str) -> str:
    return module.__file__.rsplit("/", 1)[0] + "/" + name


def _gone(*_: object, **__: object) -> None:
    raise RuntimeError("sox effects are gone from torchaudio")
