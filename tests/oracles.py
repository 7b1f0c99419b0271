"""Other people's code as a yardstick: s3prl's own features, beside a current torch."""

import sys
import warnings
from functools import cache
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import torch

from upstream.adapters.imports import import_s3prl, import_torchaudio

__all__ = [
    "import_s3prl",
    "import_s3prl_search",
    "import_torchaudio",
    "s3prl_baseline",
    "s3prl_features",
    "switch_off_cmvn",
]


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


class _PlainTree(ElementTree.ElementTree):
    """lxml's tree indents what it writes if asked to; what it holds is the same."""

    def write(self, path: str, encoding: str, pretty_print: bool) -> None:
        super().write(path, encoding=encoding)


def import_s3prl_search() -> ModuleType:
    """s3prl's query by example, which writes with lxml, with the tree of the standard library in its place."""
    lxml = ModuleType("lxml")
    lxml.etree = SimpleNamespace(Element=ElementTree.Element, SubElement=ElementTree.SubElement, ElementTree=_PlainTree)
    sys.modules.setdefault("lxml", lxml)
    return import_s3prl("s3prl.downstream.quesst14_dtw.expert")


def _beside(module: ModuleType, name: str) -> str:
    return module.__file__.rsplit("/", 1)[0] + "/" + name
