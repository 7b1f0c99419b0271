"""One utterance at a time: what can go wrong in somebody else's code, in words."""

import pytest
import torch

from upstream.adapters.alone import receptive_field, run_alone
from upstream.errors import ContractError, DataError

WAV = torch.zeros(4000)


def run(*layers):
    return run_alone("upstream x", lambda wav: list(layers))([WAV])


def test_lengths_are_those_of_the_layers():
    layers, lengths = run(torch.zeros(1, 12, 3), torch.zeros(1, 12, 3))
    assert (len(layers), lengths) == (2, [12])


def test_an_utterance_without_a_frame():
    with pytest.raises(DataError, match=r"upstream x.*4000 samples \(0\.250 s\): it makes no frame"):
        run(torch.zeros(1, 0, 3))


def test_layers_of_different_sizes():
    with pytest.raises(ContractError, match=r"\(1, 12, 3\), \(1, 11, 3\)"):
        run(torch.zeros(1, 12, 3), torch.zeros(1, 11, 3))


def test_one_frame_that_is_no_number_is_too_short_and_many_are_left_to_the_contract():
    with pytest.raises(DataError, match="too few"):
        run(torch.full((1, 1, 3), torch.nan))
    layers, _ = run(torch.full((1, 12, 3), torch.nan))
    assert layers[0].isnan().all()


def test_an_error_of_the_model_is_told_with_the_utterance():
    def fail(wav):
        raise IndexError("index 3 is out of range")

    with pytest.raises(DataError, match=r"4000 samples.*IndexError: index 3"):
        run_alone("upstream x", fail)([WAV])


def test_memory_that_runs_out_is_not_taken_for_a_fault_of_the_model():
    def allocate(wav):
        torch.empty(1 << 60)

    with pytest.raises(RuntimeError, match="can't allocate memory"):
        run_alone("upstream x", allocate)([WAV])


def test_a_frame_of_wav2vec2_hears_400_samples():
    assert receptive_field((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)) == 400
