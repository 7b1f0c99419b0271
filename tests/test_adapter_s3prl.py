"""s3prl's models through the adapter: the same states as s3prl itself, from files that run nothing."""

import os
import pickle
import sys
from pathlib import Path

import pytest
import s3prl_checkpoints
import torch
from oracles import import_s3prl
from states import assert_states
from user_files import wavs

import upstream
from upstream import registry
from upstream.adapters import downloads
from upstream.errors import ContractError, DataError, MissingError, UsageError

# Kaldi frames of 25 ms every 10 ms; s3prl's mel has one at every multiple of 10 ms; the others have convolutions.
FRAMES = {
    **dict.fromkeys(("apc", "vq_apc", "npc"), lambda samples: 1 + (samples - 400) // 160),
    **dict.fromkeys(("mockingjay", "tera"), lambda samples: 1 + samples // 160),
    "modified_cpc": lambda samples: samples // 160,
    **dict.fromkeys(("wav2vec", "vq_wav2vec"), lambda samples: 1 + (samples - 465) // 160),
    "distilhubert": lambda samples: 1 + (samples - 400) // 320,
}
MODULES = {"vq_apc": "apc", "modified_cpc": "cpc", "distilhubert": "distiller"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3prl")
    return {name: s3prl_checkpoints.write(name, folder) for name in s3prl_checkpoints.MAKERS}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and an empty cache of s3prl."""
    import_s3prl()

    def refuse(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(downloads, "urlopen", refuse)
    monkeypatch.setattr(import_s3prl("s3prl.util.download"), "_download_dir", tmp_path / "cache")


@torch.no_grad()
def by_s3prl(module, checkpoint, wav):
    return (
        import_s3prl(f"s3prl.upstream.{module}.expert").UpstreamExpert(str(checkpoint)).eval()([wav])["hidden_states"]
    )


@pytest.mark.parametrize("name", s3prl_checkpoints.MAKERS)
def test_states_are_those_of_s3prl(checkpoints, name):
    """Two of these models s3prl opens as full pickles, which it may do here: the files are our own."""
    loaded = upstream.load(f"s3prl:{name}", weights=checkpoints[name], device="cpu")
    [wav] = wavs(9137)
    assert_states(loaded([wav]), by_s3prl(MODULES.get(name, name), checkpoints[name], wav))


@pytest.mark.parametrize("name", s3prl_checkpoints.MAKERS)
def test_frames_are_counted_exactly(checkpoints, name):
    loaded = upstream.load(f"s3prl:{name}", weights=checkpoints[name], device="cpu")
    assert loaded.hop == (320 if name == "distilhubert" else 160)
    for wav in wavs(1600, 4801, 8000, 16079, 20000):
        assert int(loaded([wav]).lengths) == FRAMES[name](len(wav))


def test_a_card_of_s3prl_is_loaded_by_its_plain_name(checkpoints):
    by_card = upstream.load("apc", weights=checkpoints["apc"], device="cpu")
    by_entry = upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu")
    assert by_card.name == "apc"
    assert_states(by_card(wavs(5000)), by_entry(wavs(5000)).layers)


def test_what_the_cards_say_of_s3prl_is_an_entry_of_its_hub():
    entries = import_s3prl("s3prl.hub").options()
    named = [registry.card(name).s3prl for name in registry.names()]
    assert [name for name in named if name and name not in entries] == []
    assert len([name for name in named if name]) > 10


def test_its_spectral_baselines_work_too():
    loaded = upstream.load("s3prl:fbank", device="cpu")
    assert (loaded.num_layers, loaded.dim, loaded.hop) == (1, 240, 160)


def test_a_local_entry_takes_the_same_file(checkpoints):
    by_name = upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu")
    by_local = upstream.load("s3prl:apc_local", weights=checkpoints["apc"], device="cpu")
    assert_states(by_local(wavs(5000)), by_name(wavs(5000)).layers)


def test_offline_the_wanted_file_is_named_with_the_way_out(offline, tmp_path):
    with pytest.raises(MissingError) as caught:
        upstream.load("s3prl:apc", device="cpu")
    for part in ("s3prl:apc", "https://huggingface.co/leo19941227/apc_series", "apc_360hr.ckpt", "--weights"):
        assert part in str(caught.value)
    assert str(tmp_path / "cache") in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_file_in_the_cache_of_s3prl_is_used(offline, checkpoints, tmp_path):
    url = "https://huggingface.co/leo19941227/apc_series/resolve/main/apc_360hr.ckpt"
    (tmp_path / "cache").mkdir()
    cached = import_s3prl("s3prl.util.download")._urls_to_filepaths(url, download=False)
    Path(cached).symlink_to(checkpoints["apc"])
    given = upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu")
    assert_states(upstream.load("s3prl:apc", device="cpu")(wavs(5000)), given(wavs(5000)).layers)


def test_an_entry_of_two_files_wants_a_folder_with_both(tmp_path):
    one = tmp_path / "FE_e199.ckpt"
    one.write_bytes(b"")
    with pytest.raises(MissingError, match=r"FE_e199\.ckpt and PASE\+\.cfg.*--weights FOLDER"):
        upstream.load("s3prl:pase_plus", weights=one, device="cpu")
    with pytest.raises(MissingError, match=r"PASE\+\.cfg .* is not in the folder"):
        upstream.load("s3prl:pase_plus", weights=tmp_path, device="cpu")


def test_a_package_that_a_model_needs_is_named(tmp_path):
    for name in ("FE_e199.ckpt", "PASE+.cfg"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(MissingError, match="needs the package 'pase'") as caught:
        upstream.load("s3prl:pase_plus", weights=tmp_path, device="cpu")
    assert caught.value.exit_code == 3


def test_a_package_that_s3prl_itself_finds_missing_is_told(checkpoints):
    with pytest.raises(MissingError, match="ESPnet is not installed"):
        upstream.load("s3prl:espnet_hubert_local", weights=checkpoints["apc"], device="cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s3prl:apx", "Did you mean: apc"),
        ("s3prl:FileLock", "no entry 'FileLock'"),  # the hub lists what it imports, too
        ("s3prl:apc_local", "Type: --weights PATH"),
        ("s3prl:apc_url", "s3prl:apc_local"),
    ],
)
def test_a_name_that_is_no_model_is_told(name, message):
    with pytest.raises(UsageError, match=message):
        upstream.load(name, device="cpu")


def test_weights_for_a_model_without_any(checkpoints):
    with pytest.raises(UsageError, match="takes no weights"):
        upstream.load("s3prl:fbank", weights=checkpoints["apc"], device="cpu")


def test_another_precision_is_refused(checkpoints):
    with pytest.raises(UsageError, match="float32"):
        upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu", dtype="bfloat16")


def test_the_checkpoint_of_another_model(checkpoints):
    with pytest.raises(DataError, match=r"could not build it from .*npc\.ckpt.*Correct --weights"):
        upstream.load("s3prl:apc", weights=checkpoints["npc"], device="cpu")


@pytest.mark.parametrize("name", ["tera", "modified_cpc"])
def test_a_tensor_that_the_file_lacks_is_not_left_random(checkpoints, name, tmp_path):
    """s3prl prints the missing keys of the one, and says nothing of those of the other."""
    content = torch.load(checkpoints[name], weights_only=False)
    weights = content["Transformer" if name == "tera" else "weights"]
    key = next(key for key in weights if key.endswith("weight") and ("layer.1" in key or "conv1" in key))
    del weights[key]
    torch.save(content, tmp_path / "short.ckpt")
    with pytest.raises(DataError, match=f"lack 1 tensors.*{key.split('.')[-2]}"):
        upstream.load(f"s3prl:{name}", weights=tmp_path / "short.ckpt", device="cpu")


def test_the_fingerprint_follows_weights_and_settings(checkpoints, tmp_path):
    content = torch.load(checkpoints["apc"], weights_only=False)
    before = upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu").fingerprint
    assert upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu").fingerprint == before

    content["config"]["data"]["audio"]["cmvn"] = False  # changes no tensor
    torch.save(content, tmp_path / "settings.ckpt")
    content["config"]["data"]["audio"]["cmvn"] = True
    content["model"]["rnn_layers.0.bias_hh_l0"][3] += 0.01
    torch.save(content, tmp_path / "weights.ckpt")
    changed = [
        upstream.load("s3prl:apc", weights=tmp_path / f"{name}.ckpt", device="cpu").fingerprint
        for name in ("settings", "weights")
    ]
    assert len({before, *changed}) == 3


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["apc", "tera"])
def test_what_is_in_a_file_is_not_run(name, tmp_path):
    """Neither by what asks for weights only, nor by what s3prl opens with all safety off."""
    torch.save({"config": Evil(tmp_path / "ran"), "Config": {}}, tmp_path / "evil.ckpt")
    with pytest.raises(DataError, match=r"evil\.ckpt"):
        upstream.load(f"s3prl:{name}", weights=tmp_path / "evil.ckpt", device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["__import__('os').mkdir({!r})", b"__import__('os').mkdir({!r})"])
def test_settings_that_s3prl_evaluates_are_no_code(checkpoints, tmp_path, text):
    content = torch.load(checkpoints["wav2vec"], weights_only=False)
    call = (
        text.replace(b"{!r}", repr(str(tmp_path / "ran")).encode())
        if isinstance(text, bytes)
        else text.format(str(tmp_path / "ran"))
    )
    content["model_cfg"]["conv_feature_layers"] = call
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(DataError, match="conv_feature_layers"):
        upstream.load("s3prl:wav2vec", weights=tmp_path / "evil.ckpt", device="cpu")
    assert not (tmp_path / "ran").exists()


def test_s3prl_is_as_it_was_afterwards(checkpoints, tmp_path):
    """Its downloads and torch.load are replaced only while a model is built, or fails to be."""
    torch.save({"Config": Evil(tmp_path)}, tmp_path / "evil.ckpt")
    download = import_s3prl("s3prl.util.download")

    def state():
        loading = (torch.load, torch.nn.Module._load_from_state_dict)
        return (*loading, download._download, download.get_dir)

    before = state()
    upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu")
    with pytest.raises(DataError):
        upstream.load("s3prl:tera", weights=tmp_path / "evil.ckpt", device="cpu")
    assert state() == before
    assert "optimizers" not in sys.modules


def test_too_short_an_utterance_is_told(checkpoints):
    loaded = upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu")
    for samples in (300, 400):  # no frame; one, of which s3prl takes the variance
        with pytest.raises(DataError, match=f"utterance of {samples} samples"):
            loaded(wavs(samples))
    assert int(loaded(wavs(560)).lengths) == 2


def test_layers_of_different_sizes_are_refused(checkpoints, monkeypatch):
    expert = import_s3prl("s3prl.upstream.apc.expert").UpstreamExpert
    uneven = {"hidden_states": [torch.ones(1, 9, 4), torch.ones(1, 9, 5)]}
    monkeypatch.setattr(expert, "__call__", lambda self, wavs: uneven)
    with pytest.raises(ContractError, match="a weighted sum needs equal ones"):
        upstream.load("s3prl:apc", weights=checkpoints["apc"], device="cpu")


def test_pickle_itself_is_what_the_hostile_files_are_made_with(tmp_path):
    """The control: opened without our care, such a file does run."""
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()
