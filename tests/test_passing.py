"""One pass over the audio for several upstreams: the same bytes as one after the other, every file opened once."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_sets import SHARD, counting, noise_corpus, request, shard_paths
from user_files import GOOD, write_file

from downstream.represent import extraction, writing
from downstream.represent import request as requests
from downstream.represent.extraction import folder_of, hear, stored
from downstream.represent.features import FRAMES, LiveFeatures
from downstream.represent.kept import Room, is_in_use
from downstream.represent.ledger import Ledger
from upstream.errors import ContractError, ResourceError

COUNT = 20


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not [one for one in threading.enumerate() if one.name.startswith(("read-ahead", "shard-writer"))]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return noise_corpus(tmp_path_factory.mktemp("noise"), COUNT, 0.2, crop_of=(3, 4))


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that were read, as often as they were."""
    names, read = [], requests.read_audio
    monkeypatch.setattr(requests, "read_audio", lambda path, *rest: names.append(path.name) or read(path, *rest))
    return names


def batched(model, seconds=1.5):
    """As upstreams are on a GPU: whole windows of utterances at a time."""
    model.batch_seconds = seconds
    return model


def one_by_one(model):
    """As other people's are on a CPU."""
    model.concurrent = False
    return model


def make_models(tmp_path):
    return {
        "threads": counting(),
        "more threads": counting("fbank_no_cmvn"),
        "one": one_by_one(counting("spectrogram_no_cmvn")),
        "another": one_by_one(counting("linear_no_cmvn")),
        "batches": batched(counting(write_file(tmp_path, GOOD))),
    }


COMPANIES = [("threads", "more threads"), ("one", "another"), ("batches", "threads"), ("one", "batches", "threads")]


def shards(cache):
    """The bytes of the shards of all upstreams: those of the same utterances have the same name."""
    paths = sorted(cache.rglob("*.shard"))
    return {path.relative_to(cache): path.read_bytes() for path in paths}


def at_each_shard(monkeypatch, then):
    """Do something whenever the content of a shard is about to be on the disk, with how many were before."""
    synced, count = os.fsync, []

    def fsync(descriptor):
        if ".shard." in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            count.append(descriptor)
            then(len(count) - 1)
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def asked_of(model, manifest, form="means", **options):
    asked = request(model, manifest, croppable=True, crop_seconds=0.3, **options)
    asked.form = form
    return asked


def heard(asked, cache, **options):
    return hear(asked, cache, progress=False, say=pytest.fail, **options)


@pytest.mark.parametrize("form", ["means", FRAMES])
@pytest.mark.parametrize("names", COMPANIES, ids="+".join)
def test_together_they_leave_the_bytes_that_each_leaves_alone(names, form, manifest, tmp_path, opened):
    models = make_models(tmp_path)
    done = heard([asked_of(models[name], manifest, form) for name in names], tmp_path / "together")
    assert sorted(opened) == sorted(example.audio for example in manifest.examples())
    alone = make_models(tmp_path)
    for name in names:
        heard([asked_of(alone[name], manifest, form)], tmp_path / "alone")
        assert models[name].calls == alone[name].calls
    together = shards(tmp_path / "together")
    assert together == shards(tmp_path / "alone")
    assert len(opened) == COUNT * (1 + len(names))
    paths = list((tmp_path / "together").rglob("*.shard"))
    assert len(paths) == len(names) * -(-COUNT // SHARD)
    assert done.bytes == sum(path.stat().st_size for path in paths)
    hours = sum(asked_of(alone[names[0]], manifest).seconds)
    assert done.audio_seconds == pytest.approx(len(names) * hours, rel=0.01)
    assert min(done.seconds, done.decode_seconds, done.hear_seconds, done.write_seconds) > 0


def test_each_set_gets_what_it_lacks_and_no_more(manifest, tmp_path, opened):
    """Of the first upstream one shard is there, of the second the rest."""
    examples = list(manifest.examples())
    heard([request(counting(), manifest, examples[SHARD : 2 * SHARD])], tmp_path)
    heard([request(counting("fbank_no_cmvn"), manifest, examples[:SHARD] + examples[2 * SHARD :])], tmp_path)
    opened.clear()
    asked = [request(counting(name), manifest) for name in ("mel_no_cmvn", "fbank_no_cmvn")]
    heard(asked, tmp_path)
    assert [one.upstream.calls for one in asked] == [COUNT - SHARD, SHARD]
    assert len(opened) == COUNT
    for one in asked:
        features = stored(one, tmp_path, False, pytest.fail)
        assert torch.equal(features.batch(np.arange(COUNT)), LiveFeatures(one).batch(np.arange(COUNT)))
        features.close()
    assert heard(asked, tmp_path).audio_seconds == 0


def test_an_upstream_that_writes_into_what_it_hears_spoils_it_for_nobody(manifest, tmp_path):
    class Spoiling:
        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def __call__(self, wavs):
            states = self._inner(wavs)
            for wav in wavs:
                wav.zero_()
            return states

    both = [request(Spoiling(counting("fbank_no_cmvn")), manifest), request(counting(), manifest)]
    heard(both, tmp_path / "together")
    for one in both:
        heard([one], tmp_path / "alone")
    assert shards(tmp_path / "together") == shards(tmp_path / "alone")


def test_requests_that_differ_in_more_than_the_upstream_are_refused(manifest, tmp_path):
    plain = request(counting(), manifest)
    for other in (
        request(counting("mel"), manifest, gain_db=-3.0),
        request(counting("mel"), manifest, list(manifest.examples())[:3]),
    ):
        with pytest.raises(ValueError, match="differ by their upstream alone"):
            heard([plain, other], tmp_path)
    assert not tmp_path.joinpath("features").exists()


def test_what_one_upstream_fails_at_stops_the_pass_and_complete_shards_stay(manifest, tmp_path):
    def fail():
        raise ContractError("it breaks the contract")

    asked = [request(model, manifest) for model in (counting(), counting("fbank_no_cmvn", SHARD + 4, fail))]
    with pytest.raises(ContractError, match=r"breaks the contract \[while .*fbank_no_cmvn on u11 \(011\.wav\)\]"):
        heard(asked, tmp_path)
    assert len(shards(tmp_path)) == 2
    assert not list(tmp_path.rglob("*.partial"))
    for one in asked:
        assert not is_in_use(folder_of(one, tmp_path))
        again = request(counting(one.upstream.name), manifest)
        heard([again], tmp_path)
        assert again.upstream.calls == COUNT - SHARD


def test_a_file_that_cannot_be_read_is_told_with_all_who_wanted_it(tmp_path):
    manifest = noise_corpus(tmp_path / "data", 3)
    (tmp_path / "data" / "001.wav").write_bytes(b"no audio" * 100)
    with pytest.raises(Exception, match=r"mel_no_cmvn and fbank_no_cmvn on u1 \(001\.wav\)"):
        heard([request(counting(name), manifest) for name in ("mel_no_cmvn", "fbank_no_cmvn")], tmp_path)


# Writing beside hearing


def test_the_next_shard_is_heard_while_one_is_written(manifest, tmp_path, monkeypatch):
    """The first shard is only finished when something of the second was heard."""
    heard_more, met = threading.Event(), []
    at_each_shard(monkeypatch, lambda number: number or met.append(heard_more.wait(timeout=20)))
    heard([request(counting("mel_no_cmvn", SHARD + 3, heard_more.set), manifest)], tmp_path)
    assert met == [True]


def test_no_more_than_so_much_waits_for_the_disk(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_WAITING_BYTES", 1000)  # three records of means
    go_on, model = threading.Event(), one_by_one(counting())
    at_each_shard(monkeypatch, lambda number: go_on.wait(timeout=20))
    asked = request(model, manifest)
    thread = threading.Thread(target=heard, args=([asked], tmp_path))
    thread.start()
    deadline, calls = time.monotonic() + 10, -1
    while (calls != model.calls or not calls) and time.monotonic() < deadline:  # until nothing moves
        calls = model.calls
        time.sleep(0.3)
    go_on.set()
    thread.join()
    assert SHARD < calls <= SHARD + 3 + 1
    assert model.calls == COUNT
    assert len(shards(tmp_path)) == 3


def test_a_disk_that_fails_stops_the_pass_with_its_message(manifest, tmp_path, monkeypatch):
    """Nothing of what came after is written, and no lock or thread is left."""

    def full(number):
        if number == 1:
            raise OSError(28, "No space left on device")

    at_each_shard(monkeypatch, full)
    asked = request(counting(), manifest)
    with pytest.raises(ResourceError, match=r"no space left while writing .*\.shard"):
        heard([asked], tmp_path)
    assert len(shards(tmp_path)) == 1
    assert not list(tmp_path.rglob("*.partial"))
    heard([asked], tmp_path)
    assert len(np.concatenate([extraction.store.read_index(path) for path in shard_paths(asked, tmp_path)])) == COUNT


# Room


def test_room_is_asked_for_before_a_shard_is_heard_and_given_back(manifest, tmp_path):
    asked = [request(counting(name), manifest) for name in ("mel_no_cmvn", "fbank_no_cmvn")]
    with pytest.raises(ResourceError, match="--cache-limit"):
        heard(asked, tmp_path, room=Room(tmp_path, 2000, pytest.fail))
    assert sum(one.upstream.calls for one in asked) == 0
    room = Room(tmp_path, 10**6, pytest.fail)
    before = room.available()
    done = heard(asked, tmp_path, room=room)
    assert not list((tmp_path / "room").glob("*.json"))
    assert before - room.available() < done.bytes + 5000  # but for what cannot be removed
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.shard")) == done.bytes


def test_a_feature_set_is_in_use_until_it_is_closed(manifest, tmp_path):
    asked = request(counting(), manifest)
    features = stored(asked, tmp_path, False, pytest.fail)
    assert is_in_use(features.folder)
    features.close()
    assert not is_in_use(features.folder)


# The ledger


def test_the_ledger_says_that_each_passed_once_whoever_asked(manifest, tmp_path):
    ledger, examples = Ledger(), list(manifest.examples())
    models = [counting(), counting("fbank_no_cmvn")]
    heard([request(model, manifest, examples[:9]) for model in models], tmp_path, ledger=ledger)
    for model in models:
        stored(request(model, manifest), tmp_path, False, ledger=ledger).close()
    lines = ledger.lines()
    assert [line.split()[2:5:2] for line in lines[1:]] == [
        ["mel_no_cmvn", "0.00"],
        ["fbank_no_cmvn", "0.00"],
        ["(files", "20"],
    ]
    assert [line.endswith("once") for line in lines[1:3]] == [True, True]
    assert lines[3].endswith("1 to 2 times, 1.6 on average, for 2 upstreams")  # 9 together, 11 twice


def test_live_features_are_counted_too(manifest):
    ledger = Ledger()
    live = LiveFeatures(request(counting(), manifest), ledger=ledger)
    live.batch(np.arange(6))
    live.batch(np.array([1, 1, 3]))
    assert "6   0.00  1 to 3 times, 1.5 on average" in ledger.lines()[1]
