"""Libri2Mix from LibriSpeech, WHAM's noise and the published lists: the folders of separation and of diarization."""

from downstream.corpora.librimix.making import SUPERB, Made, make

__all__ = ["SUPERB", "Made", "make"]
