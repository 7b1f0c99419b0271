"""Making stores: nothing finished is done twice, nothing damaged is used, and any number of processes may help."""

import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from feature_sets import SHARD, counting, noise_corpus, put_noise, request

from downstream.represent import extraction, store
from downstream.represent.extraction import bytes_to_write, stored
from downstream.represent.features import LiveFeatures
from upstream.errors import ContractError, DataError, ResourceError

ROOT = Path(__file__).parents[1]
COUNT, SHARDS = 28, 4


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return noise_corpus(tmp_path_factory.mktemp("noise"), COUNT, 0.2)


@pytest.fixture
def asked(manifest):
    """A fresh request whose upstream counts how many utterances it hears."""
    return lambda *counter: request(counting("mel_no_cmvn", *counter), manifest, croppable=True, crop_seconds=0.1)


def make(asked, cache, say=None):
    """Make the store, saying nothing unless something is to be said; returns it and how much was heard."""
    features = stored(asked, cache, False, say or pytest.fail)
    features.close()
    return features, asked.upstream.calls


def shards(cache):
    return {path.name: path.read_bytes() for path in sorted(cache.rglob("*.shard"))}


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory):
    """What a process alone and undisturbed makes."""
    cache = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))
        make(request(counting(), manifest, croppable=True, crop_seconds=0.1), cache)
    found = shards(cache)
    assert list(found) == [f"{number:05d}.shard" for number in range(SHARDS)]
    return found


def test_what_is_made_is_not_made_again(asked, whole, tmp_path):
    assert make(asked(), tmp_path)[1] == COUNT
    assert shards(tmp_path) == whole
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert make(asked(), tmp_path)[1] == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("at", [1, SHARD, SHARD + 1, 2 * SHARD + 5, COUNT])
def test_a_stop_costs_no_more_than_a_shard(at, asked, whole, tmp_path):
    def stop():
        raise KeyboardInterrupt

    stopped = asked(at, stop)
    with pytest.raises(KeyboardInterrupt):
        make(stopped, tmp_path)
    finished = (at - 1) // SHARD
    assert shards(tmp_path) == dict(list(whole.items())[:finished])
    assert not list(tmp_path.rglob("*.partial"))
    assert make(asked(), tmp_path)[1] == COUNT - finished * SHARD
    assert shards(tmp_path) == whole


def test_a_damaged_shard_is_said_and_made_again(asked, whole, tmp_path):
    features, _ = make(asked(), tmp_path)
    paths = sorted(features.folder.glob("*.shard"))
    os.truncate(paths[1], paths[1].stat().st_size // 2)
    content = bytearray(paths[2].read_bytes())
    content[100] ^= 1
    paths[2].write_bytes(content)
    paths[3].write_bytes(b"")
    said = []
    assert make(asked(), tmp_path, said.append)[1] == COUNT - SHARD
    assert shards(tmp_path) == whole
    reasons = (paths[1], "cut short"), (paths[2], "records are damaged"), (paths[3], "only 0 bytes")
    assert len(said) == len(reasons)
    for line, (path, reason) in zip(said, reasons, strict=True):
        assert str(path) in line
        assert reason in line
        assert "made again" in line


def test_a_shard_of_another_length_is_made_again(asked, whole, tmp_path):
    """Whole, but not the one that belongs there."""
    features, _ = make(asked(), tmp_path)
    shutil.copy(features.folder / "00003.shard", features.folder / "00000.shard")
    said = []
    assert make(asked(), tmp_path, said.append)[1] == SHARD
    assert f"{COUNT % SHARD} records where {SHARD} belong" in said[0]
    assert shards(tmp_path) == whole


def test_a_changed_file_makes_its_shard_again(tmp_path):
    """Of the same size, so that the key is the same: the time tells."""
    manifest = noise_corpus(tmp_path / "data", COUNT, 0.2)
    make(request(counting(), manifest), tmp_path)
    before = shards(tmp_path)
    put_noise(tmp_path / "data" / "010.wav", 0.3, seed=77)
    os.utime(tmp_path / "data" / "011.wav", (10**9, 10**9))
    said, again = [], request(counting(), manifest)
    features = stored(again, tmp_path, False, said.append)
    assert again.upstream.calls == SHARD
    assert len(said) == 1
    assert "00001.shard: 2 of its audio files changed since; made again" in said[0]
    assert torch.equal(features.batch(np.array([10])), LiveFeatures(again).batch(np.array([10])))
    changed = {name for name, content in shards(tmp_path).items() if content != before[name]}
    assert changed == {"00001.shard"}


def test_an_utterance_that_cannot_be_heard_is_named_and_the_rest_kept(tmp_path):
    manifest = noise_corpus(tmp_path / "data", COUNT, 0.2)
    good = (tmp_path / "data" / "020.wav").read_bytes()
    (tmp_path / "data" / "020.wav").write_bytes(good[:-500])
    with pytest.raises(DataError, match=r"020\.wav is truncated.*\[while .*mel_no_cmvn on u20 \(020\.wav\)\]"):
        make(request(counting(), manifest), tmp_path)
    assert list(shards(tmp_path)) == ["00000.shard", "00001.shard"]
    (tmp_path / "data" / "020.wav").write_bytes(b"no audio" * 100)
    with pytest.raises(DataError, match=r"020\.wav is no audio"):
        make(request(counting(), manifest), tmp_path)


def test_an_upstream_that_fails_is_named_with_the_utterance(asked, tmp_path):
    def fail():
        raise ContractError("upstream 'mine' breaks the contract")

    with pytest.raises(ContractError, match=r"breaks the contract \[while .* on u9 \(009\.wav\)\]"):
        make(asked(10, fail), tmp_path)


# The disk


def test_too_little_space_is_told_before_anything_is_written(asked, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    tried = asked()
    with pytest.raises(ResourceError, match=r"mel_no_cmvn on noise need about .*--cache DIR.*--features live"):
        make(tried, tmp_path / "cache")
    assert tried.upstream.calls == 0
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_fills_up_keeps_the_finished_shards(manifest, tmp_path):
    """The system refuses to let a file grow over a limit: the third shard, the only one with crops, is over it."""
    cropped = [2 * SHARD <= row < 3 * SHARD for row in range(COUNT)]
    tried = request(counting(), manifest, croppable=cropped, crop_seconds=0.1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SHARD * 81 * 4 + 2000, hard))
    try:
        told = r"no space left while writing .*00002\.shard.*Finished parts are kept"
        with pytest.raises(ResourceError, match=told) as full:
            make(tried, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(shards(tmp_path)) == ["00000.shard", "00001.shard"]
    assert not list(tmp_path.rglob("*.partial"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
    assert full.tb is not None  # the threads did not end because the error was forgotten
    again = request(counting(), manifest, croppable=cropped, crop_seconds=0.1)
    assert make(again, tmp_path)[1] == COUNT - 2 * SHARD


def test_the_estimate_is_near_what_is_written(asked, tmp_path):
    estimate = bytes_to_write(asked(), tmp_path)
    features, _ = make(asked(), tmp_path)
    records = sum(store.read_index(path).offset[-1] for path in features.folder.glob("*.shard"))
    assert 0.8 * records < estimate < 1.5 * features.facts()["bytes"]
    assert bytes_to_write(asked(), tmp_path) == 0
    (features.folder / "00000.shard").unlink()
    assert bytes_to_write(asked(), tmp_path) == pytest.approx(estimate / SHARDS, abs=1)


# Several processes

WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from feature_sets import SHARD, counting, noise_corpus, request
from downstream.represent import extraction
from downstream.types import Example, Manifest

extraction._SHARD_RECORDS = dict.fromkeys(extraction._SHARD_RECORDS, SHARD)
folder = Path({folder!r})
examples = [Example(f"u{{i}}", f"{{i:03d}}.wav", ("a",), f"speaker{{i % 3}}") for i in range({count})]
manifest = Manifest("noise", folder, {{"train": examples}}, {{"train": {count}}})

def stall():
    print("stalled", flush=True)
    sys.stdin.read()

model = counting("mel_no_cmvn", int(sys.argv[1]), stall)
asked = request(model, manifest, croppable=True, crop_seconds=0.1)
print("ready", flush=True)
sys.stdin.readline()
extraction.stored(asked, Path({cache!r}), False, print)
print("heard", model.calls, flush=True)
"""


@pytest.fixture
def worker(manifest, tmp_path):
    """Starts processes that make the same store: each says that it is ready, waits for a line, and may stall."""
    code = WORKER.format(tests=str(Path(__file__).parent), folder=str(manifest.root), count=COUNT, cache=str(tmp_path))
    started = []

    def start(stall_at=-1):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([sys.executable, "-c", code, str(stall_at)], cwd=ROOT, env=environment, **pipes)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_processes_share_the_work_and_take_over_from_one_that_is_killed(worker, whole, tmp_path):
    """Two work at the same time. A third holds a shard and is killed in the middle of it: they wait for it, then make
    that shard too. Nothing is heard twice but the beginning of that one shard."""
    victim, *others = worker(SHARD + 3), worker(), worker()
    for process in (victim, *others):
        assert process.stdout.readline() == "ready\n"
    victim.stdin.write("\n")
    assert victim.stdout.readline() == "stalled\n"  # one shard is finished, another begun
    for process in others:
        process.stdin.write("\n")
    while len(shards(tmp_path)) < SHARDS - 1:
        assert all(process.poll() is None for process in others)
        time.sleep(0.01)
    assert "00001.shard" not in shards(tmp_path)
    victim.kill()
    said = [process.communicate()[0].split() for process in others]
    assert [process.returncode for process in others] == [0, 0]
    assert [words[:-1] for words in said] == [["heard"], ["heard"]]
    assert sum(int(words[-1]) for words in said) == COUNT - SHARD
    assert shards(tmp_path) == whole
