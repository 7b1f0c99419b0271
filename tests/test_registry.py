"""Names of upstreams, and what looking them up may cost."""

import subprocess
import sys

import pytest

import upstream
from upstream import registry
from upstream.devices import pick_device, pick_dtype
from upstream.errors import MissingError, UsageError

SPECTRAL = ["fbank", "mfcc", "mel", "linear", "spectrogram", "stft_mag", "log_stft_mag"]


def test_names_and_cards():
    assert set(SPECTRAL) <= set(registry.names())
    for name in registry.names():
        card = registry.card(name)
        assert card.name == name
        assert card.provider in registry.PROVIDERS
        assert min(card.layers, card.dim, card.hop) >= 1
        assert card.summary
        assert registry.resolve(name).card is card


def test_near_miss_is_suggested():
    with pytest.raises(UsageError, match="Did you mean: fbank") as caught:
        registry.resolve("fbnk")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r"unknown upstream 'zzz'.*Known:.*fbank.*path/to/mine\.py"):
        registry.card("zzz")


def test_unknown_prefix_names_what_exists():
    with pytest.raises(UsageError, match=r"no provider 'hf'.*fbank.*mine\.py"):
        registry.resolve("hf:org/name")


def test_a_python_file_is_an_upstream():
    source = registry.resolve("some/where/mine.py")
    assert (source.name, source.provider, str(source.path)) == ("mine", "file", "some/where/mine.py")


def test_listing_names_imports_no_torch():
    code = (
        "import sys, upstream, upstream.registry as r; assert callable(upstream.load); r.names(); r.resolve('fbank');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(MissingError, match=r"none\.pt.*--weights"):
        upstream.load("fbank", weights=tmp_path / "none.pt")


def test_spectral_takes_no_weights_and_one_precision(tmp_path):
    weights = tmp_path / "some.pt"
    weights.write_bytes(b"x")
    with pytest.raises(UsageError, match="'fbank' has no weights"):
        upstream.load("fbank", weights=weights)
    with pytest.raises(UsageError, match="float32 only"):
        upstream.load("fbank", dtype="bfloat16")


def test_devices_and_dtypes(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UsageError, match=r"no CUDA device\. Use --device cpu"):
            pick_device(name)
    for name in ("gpu", "cuda:", "cuda:x", "cpu:0"):
        with pytest.raises(UsageError, match="unknown device"):
            pick_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 0)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="there are 2 CUDA devices"):
        pick_device("cuda:2")
    assert pick_dtype("auto") is pick_dtype("float32") is torch.float32
    with pytest.raises(UsageError, match="unknown dtype 'half'"):
        pick_dtype("half")
