"""Small corpora of synthesized speech in the real layouts, for trying everything out without the real data."""

from downstream.corpora.mini.making import MINI_VERSION, make
from downstream.corpora.mini.plans import CORPORA

__all__ = ["CORPORA", "MINI_VERSION", "make"]
