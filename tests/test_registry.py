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


def test_another_name_of_a_card_gives_that_card():
    for alias, name in {"wavlm": "wavlm_base_plus", "hubert": "hubert_base", "wav2vec2": "wav2vec2_base_960"}.items():
        assert registry.resolve(alias) == registry.resolve(name)
        assert registry.card(alias).name == name
    assert not set(registry.aliases()) & set(registry.names())


def test_near_miss_is_suggested():
    with pytest.raises(UsageError, match="Did you mean: fbank") as caught:
        registry.resolve("fbnk")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r"Did you mean: .*wavlm_large"):
        registry.resolve("wavlm_larg")
    with pytest.raises(UsageError, match=r"unknown upstream 'zzz'.*Known:.*fbank.*path/to/mine\.py"):
        registry.card("zzz")


def test_what_a_prefix_names():
    wanted = {
        "hf:org/name": ("hf:org/name", "hf", "org/name"),
        "hf:openai/whisper-tiny.en": ("hf:openai/whisper-tiny.en", "hf", "openai/whisper-tiny.en"),
        "hf:/models/speech/wavlm-1.0": ("hf:speech/wavlm-1.0", "hf", "/models/speech/wavlm-1.0"),
        "hf:../speech": ("hf:speech", "hf", "../speech"),
        "ckpt:/data/runs/7/last.ckpt": ("ckpt:7/last", "checkpoint", "/data/runs/7/last.ckpt"),
        "ckpt:WavLM-Base+.pt": ("ckpt:WavLM-Base+", "checkpoint", "WavLM-Base+.pt"),
        "torchaudio:WAVLM_BASE": ("torchaudio:WAVLM_BASE", "torchaudio", "WAVLM_BASE"),
        "s3prl:apc": ("s3prl:apc", "s3prl", "apc"),
        "random:wavlm_base": ("random:wavlm_base", "random", "wavlm_base"),
        "random:wavlm_base@7": ("random:wavlm_base@7", "random", "wavlm_base@7"),
        "random:/some/where/my/config.json@7": ("random:my/config@7", "random", "/some/where/my/config.json@7"),
    }
    for typed, (name, provider, ref) in wanted.items():
        source = registry.resolve(typed)
        assert (source.name, source.provider, source.ref, source.card) == (name, provider, ref, None)


def test_a_dot_is_called_after_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert registry.resolve("hf:.").name == "hf:models/mine"


def test_unknown_and_empty_prefixes():
    with pytest.raises(UsageError, match=r"prefix 'torchaduio'. Did you mean: torchaudio.*'torchaduio:X'.*hf:ORG/NAME"):
        registry.resolve("torchaduio:X")
    with pytest.raises(UsageError, match=r"unknown prefix 'zzz'. Known: ckpt, hf, random, s3prl, torchaudio\."):
        registry.resolve("zzz:a")
    for prefix, known in registry.PREFIXES.items():
        with pytest.raises(UsageError, match=f"nothing after the colon.*{known.example}"):
            registry.resolve(f"{prefix}: ")
        assert registry.resolve(known.example).provider == known.provider


def test_random_takes_shapes_and_says_which_there_are():
    with pytest.raises(UsageError, match=r"unknown shape 'wavlm_bas'. Did you mean: wavlm_base"):
        registry.resolve("random:wavlm_bas")
    with pytest.raises(
        UsageError, match=r"'random:wavlm_base_plus': that is a model and not a shape\. .*random:wavlm_base$"
    ):
        registry.resolve("random:wavlm_base_plus@3")
    with pytest.raises(
        UsageError, match=r"'random:apc': that is a model and not a shape\. It is not of our encoder's family"
    ):
        registry.resolve("random:apc")
    with pytest.raises(UsageError, match=r"seed 'x' is not a whole number\. Type: random:wavlm_base@1"):
        registry.resolve("random:wavlm_base@x")
    assert registry.random_parts("wavlm_base") == ("wavlm_base", 0)
    assert registry.random_parts("my@home/config.json") == ("my@home/config.json", 0)
    assert registry.random_parts("my@home/config.json@12") == ("my@home/config.json", 12)


def test_every_name_can_be_a_folder():
    for name in [*registry.names(), "mine-1.2+x"]:
        assert registry.folder_name(name) == name
    assert registry.folder_name("hf:org/na me") == "hf-org-na-me"
    assert registry.folder_name("random:wavlm_base@7") == "random-wavlm_base@7"
    assert registry.folder_name("ckpt:../été") == "ckpt-..-t"
    for name in ("..", "/", "", "::"):
        assert registry.folder_name(name) == "upstream"


def test_a_python_file_is_an_upstream():
    source = registry.resolve("some/where/mine.py")
    assert (source.name, source.provider, str(source.path)) == ("mine", "file", "some/where/mine.py")


def test_listing_names_imports_no_torch():
    code = (
        "import sys, upstream, upstream.registry as r; assert callable(upstream.load); r.names();"
        "[r.resolve(name) for name in ('fbank', 'wavlm', 'random:wavlm_base', 's3prl:apc', 'hf:a/b', 'mine.py')];"
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
