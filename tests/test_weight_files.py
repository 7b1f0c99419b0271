"""Broken files say what is wrong with them, and hostile ones run nothing."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from encoders import VARIANTS, s3prl_peer
from hostile import bomb, calling, compressed, gadget, overlapping_bomb, save_old
from safetensors.torch import save_file
from weight_formats import FAIRSEQ, save_transformers, transformers_model

from upstream.encoder.checkpoints import read
from upstream.encoder.shape import OutsideFamily
from upstream.encoder.weight_files import Record, open_weights, plain
from upstream.errors import BenchmarkError, DataError, MissingError, UsageError

WAYS = ["os.system", "builtins.exec", "builtins.eval", "builtins.open", "subprocess.Popen", "subprocess.getoutput"]


@pytest.fixture
def folder(tmp_path):
    """A good one of transformers."""
    return save_transformers(transformers_model("Wav2Vec2"), tmp_path / "model")


def write(path, content: bytes):
    path.write_bytes(content)
    return path


# Hostile


def save_with_pickle(value, path):
    """What torch.save makes of it, without asking torch what may be saved."""
    buffer = io.BytesIO()
    torch.save({"model": {"a": torch.ones(1)}}, buffer)
    with zipfile.ZipFile(buffer) as good, zipfile.ZipFile(path, "w") as bad:
        for entry in good.namelist():
            content = pickle.dumps(value, 2) if entry.endswith("data.pkl") else good.read(entry)
            bad.writestr(entry, content)
    return path


@pytest.mark.parametrize("old", [False, True], ids=["archive", "old"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_in_a_file_is_run(way, old, tmp_path):
    proof = tmp_path / "proof"
    file = {"model": calling(proof)[way]}
    path = tmp_path / "hostile.pt"
    save_old(file, path) if old else save_with_pickle(file, path)
    with pytest.raises(DataError) as caught:
        open_weights(path)
    assert not proof.exists()
    message = str(caught.value)
    assert f"{path} is refused" in message
    assert way.rpartition(".")[2] in message  # os.system calls itself posix.system
    assert 'torch.save({"model": file["model"]}, "tensors.pt")' in message
    with path.open("rb") as content:
        if old:
            for _ in range(3):  # what torch writes before: a magic number, its version, its machine
                pickle.load(content)
        else:
            with zipfile.ZipFile(path) as archive:
                content = io.BytesIO(archive.read("archive/data.pkl"))
        opened = pickle.load(content)["model"]  # it would have
        getattr(opened, "wait", lambda: None)()
    assert proof.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy.testing._private.utils", "runstring"),
        ("numpy", "load"),
        ("fairseq.file_io", "torch_load_cpu"),
        ("omegaconf", "OmegaConf.load"),
        ("pathlib", "Path.touch"),
        ("typing", "get_type_hints"),
        ("collections", "namedtuple"),
        ("argparse", "FileType"),
        ("builtins", "dict"),
    ],
)
def test_functions_of_packages_that_records_stand_in_for_are_not_called(module, name, tmp_path, monkeypatch):
    path = gadget(tmp_path / "gadget.pt", module, name, str(tmp_path / "proof"))
    with torch.serialization.safe_globals([(Record, f"{module}.{name}")]):
        record = torch.load(path, weights_only=True)["model"]
    assert type(record) is Record
    assert open_weights(path) == {"model": str(tmp_path / "proof")}  # an argument that nothing was done with
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["getattr", "eval", "__import__", "compile", "globals"])
def test_functions_of_python_are_refused(name, tmp_path):
    with pytest.raises(DataError, match=f"is refused.*builtins.{name}"):
        open_weights(gadget(tmp_path / "gadget.pt", "builtins", name, "x"))


def test_a_record_does_nothing():
    record = Record("a", 1)
    record.__setstate__({"x": [Record("b")], "_content": {"y": Record(2)}})
    assert plain({"r": record, "s": Record(), "t": (1, 2)}) == {"r": {"y": 2}, "s": {}, "t": (1, 2)}


def test_after_a_load_torch_allows_what_it_allowed_before(tmp_path):
    before = torch.serialization.get_safe_globals()
    open_weights(gadget(tmp_path / "gadget.pt", "argparse", "Namespace", "x"))
    assert torch.serialization.get_safe_globals() == before


def test_an_archive_that_unpacks_to_much_more_is_not_unpacked(tmp_path):
    path = bomb(tmp_path / "bomb.pt", 50_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="unpacked 500"):
        open_weights(path)
    path = overlapping_bomb(tmp_path / "overlapping.pt", 1000)
    assert path.stat().st_size < 300_000
    with pytest.raises(DataError, match="unpacked 100000"):
        open_weights(path)


def test_compressed_weights_are_not_taken_for_weights(tmp_path):
    """A mapped file is read as it lies."""
    torch.save({"a": torch.randn(1000)}, tmp_path / "x.pt")
    assert open_weights(tmp_path / "x.pt")
    with pytest.raises(DataError, match="compressed archive"):
        open_weights(compressed(tmp_path / "x.pt"))


def test_a_list_within_itself_ends(tmp_path):
    loop = []
    loop.append(loop)
    torch.save({"model": loop}, tmp_path / "loop.pt")
    with pytest.raises(DataError, match="RecursionError"):
        open_weights(tmp_path / "loop.pt")


# Broken


@pytest.mark.parametrize("old", [False, True], ids=["archive", "old"])
def test_a_file_cut_short_anywhere_is_an_error(old, tmp_path):
    state = s3prl_peer(VARIANTS[0]).module.state_dict()
    path = tmp_path / "whole.pt"
    torch.save({"model": state, "cfg": FAIRSEQ}, path, _use_new_zipfile_serialization=not old)
    assert read(path)
    whole = path.read_bytes()
    for size in (1, 2, 3, 4, 10, 100, 1000, 3000, len(whole) // 3, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        with pytest.raises(DataError) as caught:
            read(write(tmp_path / "cut.pt", whole[:size]))
        assert "cut.pt" in str(caught.value)
        assert "weights_only" not in str(caught.value)


def test_safetensors_cut_short_anywhere_are_an_error(folder, tmp_path):
    whole = (folder / "model.safetensors").read_bytes()
    for size in (1, 5, 8, 9, 100, 1000, len(whole) // 2, len(whole) - 1):
        write(folder / "model.safetensors", whole[:size])
        with pytest.raises(DataError, match=r"model\.safetensors"):
            read(folder)


@pytest.mark.parametrize("old", [False, True], ids=["archive", "old"])
def test_flipped_bytes_never_crash(old, tmp_path):
    """The file has one weight of an encoder: whatever else becomes of it, it cannot be read."""
    path = tmp_path / "x.pt"
    tiny = {"model": {"feature_extractor.conv_layers.0.0.weight": torch.ones(2, 1, 10)}, "cfg": FAIRSEQ}
    torch.save(tiny, path, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        broken = bytearray(whole)
        for place in torch.randint(len(whole), (3,), generator=generator).tolist():
            broken[place] ^= int(torch.randint(1, 256, (1,), generator=generator))
        with pytest.raises((BenchmarkError, OutsideFamily)):
            read(write(tmp_path / "y.pt", bytes(broken)))


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", DataError, "is empty"),
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", DataError, "is a web page"),
        (b"\n  <html>", DataError, "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", MissingError, "git lfs pull"),
        (b"epoch 1 loss 0.5\n", DataError, "holds no weights: it begins with b'epoch"),
        (b'{"error": "not found"}', DataError, "holds no weights"),
        (b"\x00" * 5000, DataError, "holds no weights"),
        (b"PK\x03\x04" + b"x" * 500, DataError, "is cut short"),
        (b"\x80\x02", DataError, "cannot be read as weights"),
        (b"\x80\x05\x95", DataError, "cannot be read as weights"),
        ((8).to_bytes(8, "little") + b"{}      ", DataError, "not tensors by name|holds no tensors"),
        ((99).to_bytes(8, "little") + b"{nonsense", DataError, "SafetensorError"),
    ],
)
def test_what_is_no_weights_file_says_what_it_is(content, kind, message, tmp_path):
    with pytest.raises(kind, match=message) as caught:
        read(write(tmp_path / "x.pt", content))
    assert "x.pt" in str(caught.value)


@pytest.mark.parametrize("old", [False, True], ids=["archive", "old"])
def test_a_pickle_of_another_kind_is_refused_without_torchs_advice(old, tmp_path):
    """torch recommends to load without weights_only."""
    how = {"pickle_protocol": 4, "_use_new_zipfile_serialization": not old}
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt", **how)
    with pytest.raises(DataError, match="Unsupported operand") as caught:
        read(tmp_path / "x.pt")
    assert "weights_only" not in str(caught.value)


def test_other_archives_are_no_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(DataError, match="cannot be read as weights"):
        read(tmp_path / "x.pt")


def test_a_scripted_model_is_no_weights_file(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.pt")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "x.pt")
    assert "x.pt" in str(caught.value)


def test_a_whole_saved_module_is_refused_with_the_safe_way_out(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"wants to call .*torch\.nn\.modules\.linear\.Linear.*\n.*torch\.load"):
        read(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(2)], "holds a list"),
        (torch.ones(2), "holds a Tensor"),
        ({1: torch.ones(2)}, "not tensors by name"),
        ({}, "holds no tensors by name"),
        ({"model": {}, "cfg": {}}, "holds no tensors by name, but model, cfg"),
        ({"epoch": 3, "model": "x"}, "holds no tensors by name, but epoch, model"),
    ],
)
def test_what_holds_no_state_dict_says_what_it_holds(value, message, tmp_path):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.pt")


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(MissingError, match=r"weights not found: .*x\.pt"):
        read(tmp_path / "x.pt")
    with pytest.raises(MissingError, match=r"no config\.json in .*--weights FILE"):
        read(tmp_path)


# Folders


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"no weights in .*model\.safetensors or pytorch_model\.bin"):
        read(folder)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"model_type": "wav2vec2"', "[" * 100_000])
def test_a_broken_config(content, folder):
    (folder / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"config\.json"):
        read(folder)


def test_a_config_that_is_no_text(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=r"config\.json cannot be read"):
        read(folder)


def test_a_config_of_nonsense_is_named_with_its_file(folder):
    config = json.loads((folder / "config.json").read_text())
    for change, error in (({"num_attention_heads": 7}, UsageError), ({"hidden_size": "many"}, DataError)):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(error, match=f"{folder}/config.json: "):
            read(folder)
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(OutsideFamily, match=f"{folder}/config.json: its activations are gelu, relu"):
        read(folder)


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "intermediate_size", "num_conv_pos_embeddings"])
def test_a_config_that_promises_more_than_the_file_can_hold(key, folder):
    """It would take all memory, or all day, to find out what is missing."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: 64 * 10**15}))
    with pytest.raises(DataError, match="too little for"):
        read(folder)


@pytest.mark.parametrize(
    ("index", "kind", "message"),
    [
        ({}, DataError, "no weight_map"),
        ({"weight_map": {}}, DataError, "no weight_map"),
        ({"weight_map": {"a": 1}}, DataError, "no weight_map"),
        ({"weight_map": {"a": "../secret.safetensors"}}, DataError, "outside of its folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, DataError, "outside of its folder"),
        ({"weight_map": {"a": "model-00001-of-00002.safetensors"}}, MissingError, "model-00001-of-00002.* is missing"),
    ],
)
def test_a_broken_index(index, kind, message, folder):
    (folder / "model.safetensors").unlink()
    save_file({"a": torch.ones(1)}, folder.parent / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(kind, match=message):
        read(folder)


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied"):
        open_weights(folder / "model.safetensors")
