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
import soundfile
import torch
from feature_sets import SHARD, counting, noise_corpus, put_noise, request, shard_paths, shards

from downstream.represent import extraction, store
from downstream.represent.extraction import bytes_to_write, missing, stored
from downstream.represent.features import LiveFeatures
from downstream.represent.kept import is_in_use
from downstream.represent.pool import shard_lock
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


@pytest.fixture(scope="module")
def whole(manifest, tmp_path_factory):
    """What a process alone and undisturbed makes."""
    cache = tmp_path_factory.mktemp("whole")
    asked = request(counting(), manifest, croppable=True, crop_seconds=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))
        make(asked, cache)
    paths = shard_paths(asked, cache)
    assert [len(store.read_index(path)) for path in paths] == [SHARD] * (SHARDS - 1) + [COUNT % SHARD]
    return {path.name: path.read_bytes() for path in paths}


def test_what_is_made_is_not_made_again(asked, whole, tmp_path):
    assert make(asked(), tmp_path)[1] == COUNT
    assert shards(tmp_path) == whole
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "used"}
    assert make(asked(), tmp_path)[1] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_long_utterances_come_to_fewer_in_a_shard(asked, tmp_path, monkeypatch):
    """0.2 to 0.47 s each: shards end after eight of them, or where a second does."""
    monkeypatch.setattr(extraction, "_SHARD_SECONDS", 1.0)
    assert make(asked(), tmp_path)[1] == COUNT
    counts = [len(store.read_index(path)) for path in shard_paths(asked(), tmp_path)]
    sizes = [path.stat().st_size for path in sorted(asked().manifest.root.glob("*.wav"))]
    second = sum(sizes) / ((sum(sizes) - 44 * COUNT) / 32000)  # its bytes, headers included
    places = [(row // SHARD, int(end / second)) for row, end in enumerate(np.cumsum(sizes))]
    assert counts == [places.count(place) for place in sorted(set(places))]
    assert max(counts) < SHARD
    monkeypatch.setattr(extraction, "_SHARD_SECONDS", 1e9)
    assert make(asked(), tmp_path)[1] == 0  # however it is cut


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
    paths = shard_paths(features.request, tmp_path)
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
    for path, reason in reasons:
        [line] = [line for line in said if str(path) in line]
        assert reason in line
        assert "what is needed of it is heard again" in line


def test_a_record_counts_for_what_it_holds_wherever_it_lies(asked, whole, tmp_path):
    """One shard under the name of another: nothing is said of it but what is missing."""
    features, _ = make(asked(), tmp_path)
    paths = shard_paths(features.request, tmp_path)
    shutil.copy(paths[3], paths[0])
    assert make(asked(), tmp_path)[1] == SHARD
    assert shards(tmp_path) == whole


def test_only_a_changed_file_is_heard_again(tmp_path):
    """Of the same size: the time tells."""
    manifest = noise_corpus(tmp_path / "data", COUNT, 0.2)
    make(request(counting(), manifest), tmp_path)
    before = shards(tmp_path)
    put_noise(tmp_path / "data" / "010.wav", 0.3, seed=77)
    os.utime(tmp_path / "data" / "011.wav", (10**9, 10**9))
    said, again = [], request(counting(), manifest)
    features = stored(again, tmp_path, False, said.append)
    assert again.upstream.calls == 2
    assert len(said) == 1
    assert f"{features.folder}: 2 of its audio files changed since; heard again" in said[0]
    assert torch.equal(features.batch(np.arange(COUNT)), LiveFeatures(again).batch(np.arange(COUNT)))
    assert before.items() < shards(tmp_path).items()


def test_a_shard_of_which_every_file_changed_is_removed(tmp_path):
    manifest = noise_corpus(tmp_path / "data", COUNT, 0.2)
    features, _ = make(request(counting(), manifest), tmp_path)
    paths = shard_paths(features.request, tmp_path)
    for number in range(SHARD, 2 * SHARD):
        os.utime(tmp_path / "data" / f"{number:03d}.wav", (10**9, 10**9))
    make(request(counting(), manifest), tmp_path, [].append)
    assert len(shards(tmp_path)) == SHARDS
    assert [path.exists() for path in paths] == [True, False, True, True]


def test_an_utterance_that_cannot_be_heard_is_named_and_the_rest_kept(tmp_path):
    manifest = noise_corpus(tmp_path / "data", COUNT, 0.2)
    good = (tmp_path / "data" / "020.wav").read_bytes()
    (tmp_path / "data" / "020.wav").write_bytes(good[:-500])
    with pytest.raises(DataError, match=r"020\.wav is truncated.*\[while .*mel_no_cmvn on u20 \(020\.wav\)\]"):
        make(request(counting(), manifest), tmp_path)
    assert len(shards(tmp_path)) == 2
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
        told = r"no space left while writing .*\.shard.*Finished parts are kept"
        with pytest.raises(ResourceError, match=told) as full:
            make(tried, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(shards(tmp_path)) == 2
    assert not list(tmp_path.rglob("*.partial"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("read-ahead", "shard-writer"))]
    assert full.tb is not None  # the threads did not end because the error was forgotten
    again = request(counting(), manifest, croppable=cropped, crop_seconds=0.1)
    assert make(again, tmp_path)[1] == COUNT - 2 * SHARD


def test_lengths_are_estimated_from_what_files_say(tmp_path):
    """Whatever their rate; one that cannot be read is named when it is heard."""
    manifest = noise_corpus(tmp_path, 3, 0.2)
    seconds = request(counting(), manifest).seconds
    unreadable, *readable = manifest.examples()
    for example in readable:
        path = manifest.path(example)
        wave, _ = soundfile.read(path)
        soundfile.write(path, wave[::2], 8000)
    manifest.path(unreadable).write_bytes(b"")
    assert request(counting(), manifest).seconds[0] == 0
    np.testing.assert_allclose(request(counting(), manifest).seconds[1:], seconds[1:], rtol=0.01)


def test_the_estimate_is_near_what_is_written(asked, tmp_path):
    estimate = bytes_to_write(asked(), tmp_path)
    features, _ = make(asked(), tmp_path)
    assert 0.95 * features.facts()["bytes"] < estimate < 1.05 * features.facts()["bytes"]
    assert bytes_to_write(asked(), tmp_path) == 0
    shard_paths(features.request, tmp_path)[1].unlink()
    lacking = np.arange(SHARD, 2 * SHARD)
    assert missing(asked(), tmp_path).tolist() == lacking.tolist()
    assert bytes_to_write(asked(), tmp_path) == asked().bytes_estimate(lacking) > 0


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
part = tuple(map(int, sys.argv[2:]))
extraction.hear([asked], Path({cache!r}), progress=False, part=part)
print("heard", model.calls, flush=True)
"""


@pytest.fixture
def worker(manifest, tmp_path):
    """Starts processes that make the same store: each says that it is ready, waits for a line, and may stall."""
    code = WORKER.format(tests=str(Path(__file__).parent), folder=str(manifest.root), count=COUNT, cache=str(tmp_path))
    started = []

    def start(stall_at=-1, part=(0, 1)):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, *map(str, (stall_at, *part))]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_shards(cache, names, *processes):
    deadline = time.monotonic() + 60
    while not names <= shards(cache).keys():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline, f"{names - shards(cache).keys()} are not made"
        time.sleep(0.01)


def test_processes_share_the_work_and_take_over_from_one_that_is_killed(worker, whole, tmp_path):
    """Two work at the same time. A third holds a shard and the next one, and is killed in the middle: they wait for it,
    then make those shards too. Nothing is heard twice but the beginning of those two."""
    victim, *others = worker(SHARD + 3), worker(), worker()
    for process in (victim, *others):
        assert process.stdout.readline() == "ready\n"
    victim.stdin.write("\n")
    assert victim.stdout.readline() == "stalled\n"  # one shard is finished, another begun
    for process in others:
        process.stdin.write("\n")
    names = list(whole)
    wait_for_shards(tmp_path, {names[0], names[3]}, *others)
    time.sleep(0.1)
    assert shards(tmp_path).keys() == {names[0], names[3]}
    assert list(tmp_path.rglob(f".{names[1]}.{victim.pid}.partial"))
    victim.kill()
    said = [process.communicate()[0].split() for process in others]
    assert [process.returncode for process in others] == [0, 0]
    assert [words[:-1] for words in said] == [["heard"], ["heard"]]
    assert sum(int(words[-1]) for words in said) == COUNT - SHARD
    assert shards(tmp_path) == whole
    assert not list(tmp_path.rglob("*.partial"))
    [folder] = tmp_path.glob("features/*/*")
    assert not is_in_use(folder)
    assert all(shard_lock(folder / name).acquire(wait=False) for name in whole)


def test_each_process_begins_with_a_part_of_its_own_and_leaves_to_others_what_they_are_doing(worker, whole, tmp_path):
    """All of a part is done before anything else: the first of four stalls at the second shard of its half. It has a
    third one by then, which is left to it too."""
    victim, other, heir = worker(SHARD + 3, part=(0, 2)), worker(part=(1, 2)), worker()
    for process in (victim, other, heir):
        assert process.stdout.readline() == "ready\n"
    victim.stdin.write("\n")
    assert victim.stdout.readline() == "stalled\n"
    names = list(whole)
    wait_for_shards(tmp_path, {names[0]}, victim)  # what is read is ahead of what is written
    assert shards(tmp_path).keys() == {names[0]}
    assert other.communicate("\n")[0].split() == ["heard", str(SHARD)]
    assert victim.poll() is None
    assert shards(tmp_path).keys() == {names[0], names[1]}
    victim.kill()
    assert heir.communicate("\n")[0].split() == ["heard", str(COUNT - 2 * SHARD)]
    assert shards(tmp_path) == whole
