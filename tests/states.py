"""Comparison of hidden states with those of somebody else's code."""

import torch

from upstream.types import HiddenStates


def assert_states(states: HiddenStates, expected, tolerance: float = 2e-6) -> None:
    """Of one utterance: as many layers, as many frames, and no layer further off than `tolerance` (relative)."""
    assert len(states.layers) == len(expected)
    assert int(states.lengths) == expected[0].shape[1]
    for number, (found, wanted) in enumerate(zip(states.layers, expected, strict=True)):
        assert found.shape == wanted.shape
        assert torch.isfinite(wanted).all()
        assert float((found - wanted).norm() / wanted.norm()) <= tolerance, f"layer {number}"
