"""What is kept of one request serves all others that want the same of the same utterances."""

import dataclasses
import os
import resource

import numpy as np
import pytest
import torch
from feature_sets import SHARD, counting, noise_corpus, put_noise, request, shard_paths, shards

from downstream.represent import extraction, store
from downstream.represent.extraction import hear, missing, stored
from downstream.represent.features import FRAMES, LiveFeatures, merged
from downstream.represent.passing import most_bytes
from downstream.types import Example, Manifest
from upstream.errors import ResourceError

COUNT = 20


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, SHARD))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return noise_corpus(tmp_path_factory.mktemp("noise"), COUNT, 0.2, crop_of=(3, 4))


def opened(asked, cache):
    """What was heard for it, and its means."""
    features = stored(asked, cache, False, pytest.fail)
    rows = np.arange(len(asked.examples))
    found = features.batch(rows)
    assert torch.equal(found, LiveFeatures(asked).batch(rows))
    calls = asked.upstream.calls - len(rows)
    features.close()
    return calls


def some(manifest, places, **options):
    examples = list(manifest.examples())
    return request(counting(), manifest, [examples[place] for place in places], **options)


def test_a_part_of_what_is_there_is_not_heard_again_in_whatever_order(manifest, tmp_path):
    assert opened(some(manifest, range(COUNT)), tmp_path) == COUNT
    for places in ([4], range(3, 17), range(COUNT)[::-1], [7, 1, 19, 0]):
        assert opened(some(manifest, places), tmp_path) == 0


def test_of_more_than_is_there_only_the_rest_is_heard(manifest, tmp_path):
    """As after a try with --limit."""
    few = range(0, COUNT, 5)
    assert opened(some(manifest, few), tmp_path) == 4
    whole = some(manifest, range(COUNT))
    assert missing(whole, tmp_path).tolist() == [row for row in range(COUNT) if row not in few]
    assert opened(whole, tmp_path) == COUNT - 4
    indexes = [store.read_index(path) for path in shard_paths(whole, tmp_path)]
    identities = np.concatenate([index.identity for index in indexes])
    assert sorted(identities) == sorted(whole.identities)  # nothing lies there twice


def test_an_utterance_that_is_asked_for_twice_is_heard_once(manifest, tmp_path):
    assert opened(some(manifest, [5, 1, 5, 5]), tmp_path) == 2


def test_records_with_blocks_serve_those_who_want_none_and_not_the_reverse(manifest, tmp_path):
    def asked(croppable):
        return some(manifest, range(COUNT), croppable=croppable, crop_seconds=0.3)

    assert opened(asked(False), tmp_path) == COUNT
    features = stored(asked(True), tmp_path, False, pytest.fail)
    long = features.samples > 4800
    assert features.request.upstream.calls == long.sum() > 0  # the others are too short for a crop
    assert features.batch(np.array([3]), np.array([1600])).isfinite().all()
    assert features.reader.blocks[long].all()
    features.close()
    assert opened(asked(True), tmp_path / "blocks first") == COUNT
    assert opened(asked(False), tmp_path / "blocks first") == 0
    assert opened(asked(np.arange(COUNT) % 2 == 0), tmp_path / "blocks first") == 0


def test_what_a_row_says_of_its_features_does_not_depend_on_what_else_lies_there(manifest, tmp_path):
    """Neither on records with blocks where none are wanted, nor on how they are spread over shards."""
    few, plain = some(manifest, [2, 3, 9], crop_seconds=0.3), []
    for cache, before in (("alone", []), ("after", [some(manifest, range(COUNT), croppable=True, crop_seconds=0.3)])):
        for other in before:
            stored(other, tmp_path / cache, False, pytest.fail).close()
        features = stored(few, tmp_path / cache, False, pytest.fail)
        plain.append(features.facts())
        features.close()
    assert plain[0] == plain[1]
    assert plain[0]["bytes"] == 3 * 4 * 81
    whole = stored(some(manifest, range(COUNT), crop_seconds=0.3), tmp_path / "after", False, pytest.fail)
    assert whole.facts(np.array([2, 3, 9])) == plain[0]
    assert whole.facts()["audio"] != plain[0]["audio"]
    whole.close()


def test_an_upstream_that_hears_nothing_of_short_ones_leaves_them_to_who_wants_them(manifest, tmp_path):
    """An empty record is no record for a test set."""

    def asked(croppable):
        return dataclasses.replace(some(manifest, range(COUNT), croppable=croppable), least_samples=4000)

    learned = stored(asked(True), tmp_path, False, pytest.fail)
    short = int((learned.samples <= 4000).sum())
    assert learned.request.upstream.calls == COUNT - short < COUNT
    learned.close()
    assert opened(asked(False), tmp_path) == short
    again = stored(asked(True), tmp_path, False, pytest.fail)
    assert again.request.upstream.calls == 0
    assert (again.reader.frames == 0).sum() == short


def test_parts_of_one_file_are_kept_apart(manifest, tmp_path):
    longest = next(manifest.examples())
    parts = [dataclasses.replace(longest, id=f"p{n}", start=n, stop=n + 2000) for n in (0, 100, 200)]
    assert opened(request(counting(), manifest, [longest, *parts]), tmp_path) == 4
    assert opened(request(counting(), manifest, parts[::-1]), tmp_path) == 0


def test_two_copies_of_a_corpus_are_told_apart_by_their_times(tmp_path):
    manifests = [noise_corpus(tmp_path / name, 3) for name in "ab"]
    os.utime(tmp_path / "b" / "001.wav", (10**9, 10**9))
    for number in (0, 2):  # the copy of two files is exact
        stat = (tmp_path / "a" / f"00{number}.wav").stat()
        os.utime(tmp_path / "b" / f"00{number}.wav", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert opened(request(counting(), manifests[0]), tmp_path) == 3
    assert missing(request(counting(), manifests[1]), tmp_path).tolist() == [1]


def test_a_file_that_changes_back_and_forth_has_the_features_of_what_it_is(tmp_path):
    manifest = noise_corpus(tmp_path / "data", 9)
    for seed in (50, 51, 50):
        put_noise(tmp_path / "data" / "004.wav", 0.5, seed=seed)
        features = stored(request(counting(), manifest), tmp_path, False, [].append)
        asked = features.request
        assert torch.equal(features.batch(np.arange(9)), LiveFeatures(asked).batch(np.arange(9)))
        features.close()


def test_more_shards_than_files_may_be_open_raise_the_limit_or_say_what_to_do(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "_SHARD_RECORDS", dict.fromkeys(extraction._SHARD_RECORDS, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(soft, hard) // 2
    monkeypatch.setattr(store, "_OTHER_FILES", low)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
        assert opened(some(manifest, range(COUNT)), tmp_path) == COUNT
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= low + COUNT
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    monkeypatch.setattr(store, "_OTHER_FILES", hard)
    with pytest.raises(ResourceError, match=rf"lie in {COUNT} shards, and .* {hard} files .*--limit N.*features live"):
        opened(some(manifest, range(COUNT)), tmp_path)


# Requests


def test_rows_of_examples_that_another_task_read(manifest):
    asked = some(manifest, range(COUNT))
    other = [dataclasses.replace(asked.examples[row], target=("x",), group=None) for row in (4, 0, 4)]
    assert asked.rows(other).tolist() == [4, 0, 4]
    assert asked.rows([]).tolist() == []
    with pytest.raises(ValueError, match=r"'u19', '019\.wav'.* of noise is none of the 3 asked for"):
        some(manifest, range(3)).rows([asked.examples[19]])


def test_merged_requests_have_each_utterance_once_in_the_order_of_first_appearance(manifest):
    model, examples = counting(), list(manifest.examples())
    first = request(model, manifest, [examples[3], examples[1]], croppable=[False, True], crop_seconds=0.1)
    relabelled = [dataclasses.replace(e, target=("b",)) for e in examples[:4]]
    second = request(model, manifest, relabelled, croppable=[True, False, False, True], crop_seconds=0.1)
    both = merged([first, second])
    assert [example.id for example in both.examples] == ["u3", "u1", "u0", "u2"]
    assert both.croppable.tolist() == [True, True, True, False]
    assert both.key == first.key and both.crop_seconds == 0.1
    assert both.rows(second.examples).tolist() == [2, 1, 3, 0]
    for other in (request(counting(), manifest), request(model, manifest, gain_db=-3.0)):
        with pytest.raises(ValueError, match="can be merged"):
            merged([first, other])


@pytest.mark.parametrize("form", ["means", FRAMES])
def test_no_shard_is_larger_than_was_reserved_for_it_and_hardly_smaller(form, tmp_path):
    seconds, examples = (0.03, 3.0, 0.5, 7.1), []
    for number, length in enumerate(seconds):
        put_noise(tmp_path / f"{number}.flac", length, 44100 if number == 1 else 16000, seed=number)
        examples.append(Example(f"u{number}", f"{number}.flac", ("a",)))
    examples.append(dataclasses.replace(examples[3], id="part", start=800, stop=40000))
    manifest = Manifest("noise", tmp_path, {"train": examples}, {})
    asked = dataclasses.replace(request(counting(), manifest, croppable=True, crop_seconds=0.4), form=form)
    done = hear([asked], tmp_path / "cache", progress=False)
    [size] = map(len, shards(tmp_path / "cache").values())
    assert done.bytes == size <= most_bytes(asked, np.arange(5)) < 1.1 * size + 5 * 5 * 80 * 4
    assert done.audio_seconds == pytest.approx(sum(seconds) + 2.45, abs=0.01)
