"""Models of the hub: from the cache without a word to the network, else downloaded, else an error that helps."""

import json
import socket

import huggingface_hub
import pytest
from tiny_hub import COMMIT, TinyHub
from weight_formats import save_transformers, transformers_model

from upstream import hub
from upstream.encoder.checkpoints import read
from upstream.errors import MissingError, UsageError

ID = "somebody/small-model"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and a network on which nobody listens."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    point_to("http://127.0.0.1:9", monkeypatch)
    return tmp_path / "cache"


def point_to(url, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def online(monkeypatch):
    tiny = TinyHub()
    point_to(tiny.url, monkeypatch)
    yield tiny
    tiny.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = save_transformers(transformers_model("Wav2Vec2"), tmp_path_factory.mktemp("model"))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def put_into(cache, files):
    """As the hub's library lays its cache out."""
    model = cache / ("models--" + ID.replace("/", "--"))
    snapshot = model / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    for name, data in files.items():
        (snapshot / name).write_bytes(data)
    return snapshot


def message_of(kind, hub_id=ID):
    with pytest.raises(kind) as caught:
        hub.locate(hub_id, "small_model")
    assert "upstream 'small_model'" in str(caught.value)
    return str(caught.value)


def test_what_is_in_the_cache_is_taken_from_it(cache, files):
    snapshot = put_into(cache, files)
    assert hub.locate(ID, "x") == snapshot
    assert read(snapshot)


def test_what_is_not_there_is_downloaded_once(files, online, cache):
    online.models[ID] = files | {"preprocessor_config.json": b'{"do_normalize": true}'}
    folder = hub.locate(ID, "x")
    assert cache in folder.parents
    assert read(folder)[0].normalize
    assert sorted(online.asked) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    online.models.clear()
    assert hub.locate(ID, "x") == folder


def test_weights_are_downloaded_in_one_format(files, online):
    online.models[ID] = files | {
        "pytorch_model.bin": b"x",
        "tf_model.h5": b"x",
        "README.md": b"x",
        "model.fp16.bin": b"x",
    }
    hub.locate(ID, "x")
    assert sorted(online.asked) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_pickles_and_shards_where_there_is_nothing_else(ending, online):
    whole = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[ending]
    stem = whole.removesuffix(f".{ending}")
    shards = [f"{stem}-0000{number}-of-00002.{ending}" for number in (1, 2)]
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    wanted = {"config.json": b"{}", f"{whole}.index.json": index, **{name: name.encode() for name in shards}}
    online.models[ID] = wanted | {"other-00001-of-00002.bin": b"x"}
    folder = hub.locate(ID, "x")
    assert sorted(online.asked) == sorted(wanted)
    assert {file.name for file in folder.iterdir()} == set(wanted)
    online.models["somebody/pickled"] = {"config.json": b"{}", "pytorch_model.bin": b"x"}
    assert (hub.locate("somebody/pickled", "x") / "pytorch_model.bin").is_file()


def test_a_download_that_was_cut_short_is_completed(cache, files, online):
    put_into(cache, {"config.json": files["config.json"]})
    online.models[ID] = files
    folder = hub.locate(ID, "x")
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_without_a_network_the_message_says_what_where_and_how(cache, files):
    put_into(cache, {"config.json": files["config.json"]})
    message = message_of(MissingError)
    for part in (f"'{ID}'", str(cache), f"hf download {ID}", "--weights PATH"):
        assert part in message


def test_a_network_that_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        assert "timed out" in message_of(MissingError)


def test_offline_by_order_nobody_is_asked(online, files, monkeypatch):
    online.models[ID] = files
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in message_of(MissingError)
    assert not online.asked


def test_an_id_that_nobody_has(online):
    assert f"{online.url}/{ID} does not exist, or is private" in message_of(MissingError)


def test_a_model_whose_owners_ask_for_consent(online, files):
    online.models[ID] = files
    online.refusals[ID] = (403, "GatedRepo")
    message = message_of(MissingError)
    assert f"Give it at {online.url}/{ID}" in message
    assert "--weights PATH" in message


def test_a_hub_that_is_broken(online, files):
    online.models[ID] = files
    online.refusals[ID] = (410, "")
    assert "did not hand them over" in message_of(MissingError)


@pytest.mark.parametrize(
    ("files", "lacks"),
    [({"wavlm.pt": b"x"}, "has no config.json"), ({"config.json": b"{}"}, "has no model.safetensors")],
)
def test_what_is_no_transformers_model(files, lacks, online):
    online.models[ID] = files
    assert lacks in message_of(MissingError)
    assert not online.asked


@pytest.mark.parametrize("hub_id", ["", "a b", "../secrets", "/etc/passwd", "a/b/c", "-x/y", "a/b..c", "x" * 200])
def test_ids_that_are_none(hub_id, online):
    assert "is no hub id" in message_of(UsageError, hub_id)
