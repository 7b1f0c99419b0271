"""`check-upstream` and what providers say of their models: precision, shortest input, device, exceptions."""

import json
import re
from functools import partial

import pytest
import torch
from check_reports import check_upstream, table
from user_files import wavs

import upstream
from upstream import check, registry
from upstream.errors import DataError
from upstream.finding import FAIL
from upstream.loaded import LoadedUpstream, Provided


@pytest.fixture
def say(capsys):
    return partial(check_upstream, capsys)


def rounding(source, weights, device, dtype):
    """Three layers of four samples a frame, in whatever precision is asked for."""

    def run(waves):
        frames = [wav.unfold(0, 320, 320)[:, :4].to(dtype) for wav in waves]
        padded = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
        return [padded, padded * 3, padded * 9], [len(f) for f in frames]

    return Provided(run, "rounding", lambda: {"weights": str(weights)}, min_samples=320)


@pytest.fixture
def provided(monkeypatch):
    """Lets 'fbank' come from another provider."""
    return lambda provide: monkeypatch.setattr(registry, "provider", lambda source: provide)


def test_too_short_for_the_shortest_that_a_provider_names(provided, say):
    provided(rounding)
    model = upstream.load("fbank", device="cpu")
    assert model.min_samples == 320
    assert model(wavs(320)).lengths.tolist() == [1]
    said = r"waveform 1 of 2 has 319 samples; upstream 'rounding' needs at least 320 samples\. Remove it"
    with pytest.raises(DataError, match=said):
        model(wavs(16000, 319))
    code, out, _ = say("fbank")
    assert code == 0
    (line,) = [line for line in table(out) if line[1] == "short"]
    assert line[2] == "1, 100, 319 samples: refused; 399 samples: 1 frame"


def test_lower_precision_is_measured_against_float32(provided, say):
    provided(rounding)
    code, out, _ = say("fbank", "--dtype", "bfloat16", "--json")
    assert code == 0
    (found,) = [finding for finding in json.loads(out)["findings"] if finding["check"] == "dtype"]
    errors = []
    for samples in (48_000, 160_000):
        exact = check.made_up(samples)[: samples // 320 * 320].view(-1, 320)[:, :4].double()
        for scale in (1, 3, 9):
            rounded = (exact.bfloat16() * scale).double()
            means = exact.mean(0) * scale, rounded.mean(0)
            errors.append([float((a - b).norm() / a.norm()) for a, b in ((exact * scale, rounded), means)])
    layers, means = zip(*errors, strict=True)
    assert found["figures"]["worst_layer"] == pytest.approx(max(layers), rel=1e-4)
    assert found["figures"]["worst_time_mean"] == pytest.approx(max(means), rel=1e-2)
    assert re.match(r"bfloat16 against float32, relative: \d\.\de-0\d in the worst layer \([12]\)", found["text"])


def test_an_exception_of_a_library_is_a_breach_and_names_its_place(provided, say):
    def fragile(*arguments):
        made = rounding(*arguments)
        made.min_samples = None
        return made

    provided(fragile)
    code, out, _ = say("fbank")
    assert code == 1
    (line,) = [line for line in table(out) if line[0] == FAIL]
    assert "on 1 sample: upstream 'rounding' breaks the contract, clause 'raises': 1 sample ended in" in line[2]
    assert "RuntimeError" in line[2]
    assert "test_check_providers.py, line" in line[2]

    def hopeless(*arguments):
        return Provided(lambda waves: {}["key"], "hopeless", dict)

    provided(hopeless)
    code, out, _ = say("fbank")
    assert code == 1
    assert "clause 'raises': loading it ended in KeyError: 'key'" in out
    assert "The contract is broken: 'raises'." in out


def test_waveforms_that_are_changed_are_noticed(provided, say):
    def careless(*arguments):
        made = rounding(*arguments)
        run = made.run

        def changed(waves):
            for wav in waves:
                if len(wav) == 2 * 16000:
                    wav += 0.5
            return run(waves)

        made.run = changed
        return made

    provided(careless)
    code, out, _ = say("fbank")
    assert code == 1
    assert [line[1] for line in table(out) if line[0] == FAIL] == ["input"]
    assert "clause 'input': the waveforms of the caller were changed in place" in out


def test_the_other_device_is_tried_where_there_is_one(provided, monkeypatch):
    """Not with a real GPU: a second model on the CPU stands for it, a thousandth off."""
    provided(rounding)
    model = upstream.load("fbank", device="cpu")
    asked = []

    def load(name, weights, device, dtype):
        asked.append((name, weights, device, dtype))
        off = rounding(None, weights, None, torch.float32)
        run = off.run

        def moved(waves):
            layers, lengths = run(waves)
            return [layers[0], layers[1] * 1.001, layers[2]], lengths

        off.run = moved
        return LoadedUpstream(off, "test", torch.device("cpu"), torch.float32)

    monkeypatch.setattr(check.upstream, "load", load)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = check._device(model, "fbank", None, "auto")
    assert asked == [("fbank", None, "cuda", "auto")]
    assert found.text == "cpu; cuda differs by 1.0e-03 (relative) in the worst layer (1)"
