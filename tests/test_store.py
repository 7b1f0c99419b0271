"""Shards that are whole or not there at all, atomic files, and locks that die with their holder."""

import errno
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from downstream import files
from downstream.files import Lock, atomic, told, write_text
from downstream.represent import store
from downstream.represent.store import ShardError, ShardReader, read_index, read_indexes, write_shard
from upstream.errors import BenchmarkError, ResourceError

ROOT = Path(__file__).parents[1]
SIZES = (5, 1, 300, 17)


def records(sizes=SIZES, seed=0):
    random = np.random.default_rng(seed)
    for number, size in enumerate(sizes):
        facts = {
            "samples": 1000 + number,
            "frames": size,
            "blocks": number,
            "identity": 2**64 - 1 - number,
            "size": 44 + number,
            "mtime": 10**18 + number,
            "audio": 2**63 + number,
            "resampled": number % 2,
            "mixed_down": 1,
        }
        yield [random.standard_normal(size).astype(np.float32)], facts


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "set" / "00000.shard"
    write_shard(path, records())
    return path


def test_what_is_written_is_read(shard):
    index = read_index(shard)
    assert len(index) == 4
    for number, (_, facts) in enumerate(records()):
        assert {name: index[number][name] for name in facts} == facts
    assert index.offset.tolist() == (8 + 4 * np.cumsum([0, *SIZES[:-1]])).tolist()
    reader = ShardReader([shard], [index])
    for number, ((values,), _) in enumerate(records()):
        out = np.empty_like(values)
        reader.read_into([out], number)
        assert np.array_equal(out, values)
    reader.close()


def test_the_index_given_back_by_the_writer_is_the_one_in_the_file(tmp_path):
    written = write_shard(tmp_path / "a.shard", records())
    assert written.tobytes() == read_index(tmp_path / "a.shard").tobytes()


def test_parts_of_records_of_several_shards(tmp_path):
    paths = [tmp_path / f"{i}.shard" for i in range(3)]
    sizes = [(4, 6), (), (9,)]  # one of them empty
    indexes = [
        write_shard(path, records(size, seed)) for seed, (path, size) in enumerate(zip(paths, sizes, strict=True))
    ]
    everything = [v for seed, size in enumerate(sizes) for (v,), _ in records(size, seed)]
    reader = ShardReader(paths, indexes)
    assert len(reader) == 3
    assert reader.frames.tolist() == [4, 6, 9]
    for number, values in enumerate(everything):
        for skip in range(len(values)):
            for count in range(1, len(values) - skip + 1):
                out = np.full((count, 1), np.nan, dtype=np.float32)
                reader.read_into([out], number, 4 * skip)
                assert np.array_equal(out[:, 0], values[skip : skip + count])
    reader.close()


def test_a_record_of_several_arrays_is_read_in_one_go(tmp_path):
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(3).astype(np.float32), random.standard_normal((2, 5)).astype(np.float16)]
    facts = next(records())[1]
    index = write_shard(tmp_path / "a.shard", [(arrays, facts), (arrays[::-1], facts)])
    assert index.offset[1] - index.offset[0] == 3 * 4 + 10 * 2
    reader = ShardReader([tmp_path / "a.shard"], [read_index(tmp_path / "a.shard")])
    outs = [np.empty_like(array) for array in arrays]
    reader.read_into(outs, 0)
    assert all(np.array_equal(out, array) for out, array in zip(outs, arrays, strict=True))
    reader.read_into(outs[:1], 1, skip=20)
    assert np.array_equal(outs[0], arrays[0])
    reader.close()


def test_a_reader_of_some_records_counts_those_alone(tmp_path):
    paths = [tmp_path / f"{i}.shard" for i in range(2)]
    indexes = [write_shard(path, records((4, 6, 2), seed)) for seed, path in enumerate(paths)]
    reader = ShardReader(paths, indexes, np.array([5, 0, 3, 5]))
    everything = [values for seed in range(2) for (values,), _ in records((4, 6, 2), seed)]
    assert reader.frames.tolist() == [2, 4, 4, 2]
    assert reader.audio.tolist() == [2**63 + 2, 2**63, 2**63, 2**63 + 2]
    for number, wanted in enumerate([everything[place] for place in (5, 0, 3, 5)]):
        out = np.empty_like(wanted)
        reader.read_whole([out], number)
        assert np.array_equal(out, wanted)
    reader.close()


def test_a_shard_that_is_gone_when_it_is_opened_is_told(shard):
    before = len(list(Path("/dev/fd").iterdir()))
    index = read_index(shard)
    with pytest.raises(ShardError, match=r"cannot open .*gone\.shard.*Run the same command again"):
        ShardReader([shard, shard.with_name("gone.shard")], [index, index])
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_part_of_a_larger_array_is_filled_in_place(shard):
    reader, out = ShardReader([shard], [read_index(shard)]), np.zeros((3, 5), dtype=np.float32)
    reader.read_into([out[1]], 0)
    assert np.array_equal(out[1], next(records())[0][0])
    assert not out[[0, 2]].any()
    reader.close()


def test_a_shard_cut_under_a_reader_is_told(shard):
    reader = ShardReader([shard], [read_index(shard)])
    os.truncate(shard, 100)
    with pytest.raises(ShardError, match=r"record 2 ended after \d+ of 1200 bytes; run the same command again"):
        reader.read_into([np.empty(300, dtype=np.float32)], 2)
    reader.close()


def test_cut_at_any_byte_it_is_no_shard(shard, tmp_path):
    content = shard.read_bytes()
    lengths = {*range(0, 40), *range(len(content) - 60, len(content)), *range(40, len(content), 37)}
    cut = tmp_path / "cut.shard"
    for length in sorted(lengths):
        cut.write_bytes(content[:length])
        with pytest.raises(ShardError):
            read_index(cut)
    cut.write_bytes(content)
    assert read_index(cut).tobytes() == read_index(shard).tobytes()


def test_a_flipped_bit_anywhere_is_noticed(shard, tmp_path):
    content = bytearray(shard.read_bytes())
    records_end = 8 + 4 * sum(SIZES)
    flipped, random = tmp_path / "flipped.shard", np.random.default_rng(0)
    places = [0, 7, 8, records_end - 1, records_end, len(content) - 1, *random.integers(len(content), size=150)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        flipped.write_bytes(changed)
        with pytest.raises(ShardError):
            read_index(flipped)


def test_bytes_lost_or_added_in_the_middle_are_noticed(shard, tmp_path):
    content, bad = shard.read_bytes(), tmp_path / "bad.shard"
    for changed in (content[:50] + content[54:], content[:50] + b"\0\0\0\0" + content[50:], content + b"\0"):
        bad.write_bytes(changed)
        with pytest.raises(ShardError):
            read_index(bad)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"SSLBENCH", b"RIFF" + bytes(400), b"\xff" * 4096, b'{"offset": []}\n' * 20],
    ids=["empty", "one byte", "only the beginning", "a WAV", "ones", "text"],
)
def test_a_foreign_file_is_no_shard(content, tmp_path):
    path = tmp_path / "foreign.shard"
    path.write_bytes(content)
    with pytest.raises(ShardError):
        read_index(path)


def test_an_index_of_another_version_is_no_shard(tmp_path):
    """Whole and with the right checksums, but of another kind, or with entries of another size."""
    path = tmp_path / "other.shard"
    for magic, said in ((b"SSLBENCH", "of this version"), (store._MAGIC, "unreadable")):
        text = json.dumps({"offset": [], "checksum": 0, "colour": "blue"}).encode()
        path.write_bytes(magic + text + store._TRAILER.pack(len(text), zlib.crc32(text), magic))
        with pytest.raises(ShardError, match=said):
            read_index(path)


def test_many_at_once_each_with_its_own_verdict(shard, tmp_path):
    bad = tmp_path / "bad.shard"
    bad.write_bytes(shard.read_bytes()[:-1])
    good, missing, error = read_indexes([shard, tmp_path / "missing.shard", bad])
    assert len(good) == 4
    assert missing is None
    assert isinstance(error, ShardError)
    assert isinstance(error, BenchmarkError)
    assert isinstance(read_indexes([tmp_path])[0], ShardError)  # a folder in the place of a shard


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def half():
        yield next(records())
        raise RuntimeError("the upstream broke")

    with pytest.raises(RuntimeError, match="the upstream broke"):
        write_shard(tmp_path / "a.shard", half())
    assert list(tmp_path.iterdir()) == []


# Files


def test_a_new_file_takes_the_place_of_the_old_one_only_when_it_is_whole(tmp_path):
    path = tmp_path / "row.json"
    write_text(path, "old")
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename is atomic within one file system only
    assert path.read_text() == "new"
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), atomic(path) as temporary:
            temporary.write_text("half")
            raise error
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    """After a power cut the name must not point at a file without content."""
    calls = []
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: calls.append("fsync"))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: calls.append("replace") or replace(self, target))
    write_text(tmp_path / "a", "text")
    assert calls == ["fsync", "replace"]


def test_folders_are_made_on_the_way(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "text é")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "text é".encode()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_place_and_the_way_out(number, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResourceError) as caught:
        write_text(tmp_path / "row.json", "text")
    message = str(caught.value)
    for part in (
        "no space left",
        str(tmp_path / "row.json"),
        "--cache",
        "--results",
        "Finished parts are kept",
    ):
        assert part in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_place_that_may_not_be_written_is_told(number, tmp_path):
    with (
        pytest.raises(ResourceError, match=r"not allowed to write .*row\.json.*--cache"),
        told(tmp_path / "row.json"),
    ):
        raise OSError(number, os.strerror(number))


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(ResourceError, match=r"cannot write .*results/fbank/row.json: (Not a directory|File exists)"):
        write_text(tmp_path / "results" / "fbank" / "row.json", "text")
    with pytest.raises(ResourceError, match="cannot write"):
        Lock(tmp_path / "results" / "lock").acquire(wait=False)


def test_what_is_there_and_no_file_stays_as_it_is(tmp_path):
    """A pipe stands for all that a run as root could replace, /dev/null among it."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(ResourceError, match=f"cannot write {tmp_path / name}: it is there already, and no file"):
            write_text(tmp_path / name, "text")
    assert (tmp_path / "folder").is_dir() and (tmp_path / "pipe").is_fifo()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_leads_to_what_was_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for target in ("there.txt", "elsewhere/new.txt"):
        link = tmp_path / f"link to {Path(target).name}"
        link.symlink_to(target)
        (tmp_path / "there.txt").write_text("before")
        write_text(link, "text")
        assert link.is_symlink()
        assert (tmp_path / target).read_text() == link.read_text() == "text"


def test_other_errors_pass_through_untouched(tmp_path):
    with pytest.raises(ValueError, match="ours"), told(tmp_path):
        raise ValueError("ours")


# Locks


def holder(path):
    """Another process that holds the lock until its input ends; returned once it says that it has it."""
    code = (
        "import sys; from pathlib import Path; from downstream.files import Lock\n"
        f"lock = Lock(Path({str(path)!r})); print(lock.acquire(wait=False), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    return process


def test_a_lock_excludes_another_process_and_ends_with_its_holder(tmp_path):
    path = tmp_path / "locks" / "00000"
    process = holder(path)
    try:
        assert Lock(path).acquire(wait=False) is False
        assert Lock(path.with_name("00001")).acquire(wait=False) is True
        process.send_signal(signal.SIGKILL)
        mine = Lock(path)
        assert mine.acquire(wait=True)  # hangs if a killed holder kept it
    finally:
        process.kill()
        process.communicate()
    mine.release()
    mine.release()  # a second time does nothing
    with holder(path) as process:  # what was released is free for others
        process.stdin.close()


def test_two_locks_of_one_process_exclude_each_other_too(tmp_path):
    """Two threads of one program may compute the same cell."""
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.acquire(wait=False)
    assert not second.acquire(wait=False)
    first.release()
    assert second.acquire(wait=False)
    second.release()
