"""Every clause of the contract, broken on purpose: the message names the clause and the figures."""

from functools import partial

import pytest
import torch
from user_files import GOOD, load, variant, wavs, write_file

from upstream.errors import BenchmarkError, ContractError, DataError, ResourceError, UsageError


@pytest.fixture
def write(tmp_path):
    return partial(write_file, tmp_path)


BROKEN = {
    "raises": (
        "if len(wavs) > 1: raise KeyError('oops')",
        r"clause 'raises'.*KeyError: 'oops' \(.*mine\.py, line \d+",
    ),
    "a layer less for long input": (
        "if len(wavs[0]) > 20000: layers = layers[:-1]",
        r"clause 'layers': 2 layers .* 3 before",
    ),
    "wider for long input": (
        "if len(wavs[0]) > 20000: layers = [torch.cat([x, x], 2) for x in layers]",
        "clause 'shape': 8 values per frame .* 4 before",
    ),
    "one layer shorter": (
        "layers[1] = layers[1][:, :-1]",
        r"clause 'shape': layer 1 is \(1, 29, 4\)",
    ),
    "no batch": ("layers = [x[0] for x in layers]", r"clause 'shape': layer 0 is \(30, 4\)"),
    "integers": ("layers = [x.long() for x in layers]", "clause 'shape': layer 0 holds torch.int64"),
    "lengths of the padding": (
        "lengths = [max(lengths)] * len(wavs)",
        "clause 'hop': utterance 0 has 9600 samples and 85",
    ),
    "lengths in samples": (
        "lengths = [len(w) for w in wavs]",
        r"clause 'lengths': the lengths are \[9600\].*30",
    ),
    "too few lengths": ("lengths = lengths[:1]", "clause 'lengths'.*in a batch of 3"),
    "lengths that are no numbers": ("lengths = 'abc'", "clause 'lengths'"),
    "fractional lengths": ("lengths = [n - 0.5 for n in lengths]", "clause 'lengths'"),
    "zero lengths": ("lengths = [0 for n in lengths]", "clause 'lengths'"),
    "one length for everything": (
        "layers, lengths = [layer[:, :1] for layer in layers], [1 for n in lengths]",
        "clause 'hop'.*no hop explains",
    ),
    "NaN": ("layers[2][0, 3:5] = float('nan')", "clause 'finite': layer 2 of utterance 0 .* first in frame 3"),
    "infinity in a batch": (
        "if len(wavs) > 1: layers[0][1, 7] = float('inf')",
        "clause 'finite': layer 0 of utterance 1 .* first in frame 7",
    ),
    "depends on the batch": (
        "layers = [x - x.mean(dim=(1, 2), keepdim=True) for x in layers]",
        "clause 'batch': utterance 0 .*relative.*set `max_batch = 1` in the class: utterances are then sent one",
    ),
    "random": ("layers = [x + 1e-4 * torch.rand(()) for x in layers]", r"clause 'deterministic'.*\.eval\(\)"),
    "no pair": ("return layers", "clause 'returns': a call returned a list of 3 "),
    "one tensor": ("return layers[0], lengths", r"clause 'returns': the layers are one tensor of shape \(1, 30, 4\)"),
    "nothing": ("return None", "clause 'returns'.*NoneType"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_upstream_is_told_which_clause(write, kind):
    change, message = BROKEN[kind]
    with pytest.raises(ContractError, match=message) as caught:
        load(write(variant(change)))
    assert caught.value.exit_code == 1
    assert "'mine'" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("if len(wavs[0]) > 40000: layers = layers[:-1]", "clause 'layers': 2 layers"),
        (
            "if len(wavs[0]) > 40000: layers[0][0, 99] = float('nan')",
            "clause 'finite'.*utterance 0 .* frame 99",
        ),
        ("if len(wavs[0]) > 40000: lengths[0] -= 9", "clause 'hop': utterance 0 has 48000 samples and 141 frames"),
        ("if len(wavs[0]) > 40000: raise ValueError('long')", r"clause 'raises'.*ValueError: long .*line \d+"),
    ],
)
def test_the_contract_holds_after_loading_too(write, change, message):
    model = load(write(variant(change)))
    model(wavs(16000))
    with pytest.raises(ContractError, match=message):
        model(wavs(48000))


def test_nan_in_the_padding_does_not_count(write):
    model = load(write(variant("for i, n in enumerate(lengths): layers[0][i, n:] = float('nan')")))
    assert model(wavs(16000, 8000)).lengths.tolist() == [50, 25]


def test_max_batch_sends_them_one_at_a_time(write):
    change = "assert len(wavs) == 1\nlayers = [x - x.mean(dim=(1, 2), keepdim=True) for x in layers]"
    model = load(write(variant(change, "Upstream.max_batch = 1")))
    together = model(wavs(16000, 7000, 9000))
    assert together.lengths.tolist() == [50, 21, 28]
    for index, wav in enumerate(wavs(16000, 7000, 9000)):
        alone = model([wav])
        for a, b in zip(alone.layers, together.layers, strict=True):
            assert torch.equal(a[0], b[index, : a.shape[1]])


@pytest.mark.parametrize(
    ("name", "value", "measured"), [("hop", 160, "315 to 325"), ("num_layers", 2, "3"), ("dim", 8, "4")]
)
def test_declared_values_are_checked(write, name, value, measured):
    with pytest.raises(ContractError, match=f"clause 'declared': `{name}` is declared as {value}.*{measured}"):
        load(write(variant("", f"Upstream.{name} = {value}")))


def test_errors_with_a_message_of_their_own_pass_through(write):
    text = variant("if len(wavs[0]) < 5000: raise DataError('too short')", "from upstream.errors import DataError")
    with pytest.raises(DataError, match=r"^too short$"):
        load(write(text))(wavs(4000))
    with pytest.raises(ResourceError, match="'mine' ran out of memory on 1 waveforms of up to 4000 samples"):
        load(write(variant("if len(wavs[0]) < 5000: raise MemoryError('full')")))(wavs(4000))
    allocating = variant("if len(wavs[0]) < 5000: torch.empty(1 << 60)")  # a plain RuntimeError
    with pytest.raises(ResourceError, match="'mine' ran out of memory on 1 waveforms of up to 4000 samples"):
        load(write(allocating))(wavs(4000))


def test_wrong_calls(write):
    model = load(write(GOOD))
    for wrong in ([], torch.zeros(16000), [torch.zeros(1, 16000)], [torch.zeros(16000, dtype=torch.int16)], [[0.0]]):
        with pytest.raises(UsageError, match="list of 1-D float tensors"):
            model(wrong)
    with pytest.raises(BenchmarkError, match="float32 only"):
        load(write(GOOD), dtype="float16")
