"""Tensors that a checkpoint lacks: told where they matter, and only there."""

import pytest
import torch

from upstream.adapters.unset import watch_unset
from upstream.errors import DataError


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle = torch.nn.Linear(1, 3), torch.nn.Linear(1, 3)

    def hear(self, wav):
        return [self.used(wav[:, None])[None]]


def loaded(*without):
    """A model and what was seen while it was loaded leniently, once for each set of keys left out."""
    model = Model()
    with watch_unset() as unset:
        for keys in without:
            state = {key: value.clone() for key, value in Model().state_dict().items() if key not in keys}
            model.load_state_dict(state, strict=False)
    return model, unset


def test_a_tensor_that_matters_is_named():
    model, unset = loaded(["used.bias"])
    with pytest.raises(DataError, match=r"upstream x: the weights lack 1 tensors.*used\.bias"):
        unset.check("upstream x", model.hear)


def test_a_tensor_that_nothing_depends_on_may_be_missing_and_stays_as_it_is():
    model, unset = loaded(["idle.bias", "idle.weight"])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    unset.check("upstream x", model.hear)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_a_second_file_brings_is_not_missing():
    model, unset = loaded(["used.bias"], [])
    unset.check("upstream x", model.hear)
