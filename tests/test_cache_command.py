"""`cache list`, `verify` and `prune`: what is there is told, damage is found, nothing in use goes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from kept_sets import DAY, NOON, ROOT, put_set, using

from benchmark.caches import verifying
from benchmark.caches.listing import read_cache
from benchmark.cli import main
from downstream.represent import code
from downstream.represent.store import ENTRY, ShardError, read_index, write_shard

HEAD, TRAILER = 8, 20  # bytes of a shard before its records, and after its index


def records(first, count=4):
    """Four utterances of one second."""
    facts = {name: 0 for name in ENTRY.names} | {"samples": 16000}
    for number in range(first, first + count):
        yield [np.full(50, number, dtype=np.float32)], facts | {"identity": number}


def put_features(cache, letter, days=0, upstream="mel", **about):
    """A set of two shards of four utterances, of which they share two."""
    folder = put_set(cache, letter, 0, days, upstream)
    (folder / "one.shard").unlink()
    for name, first in (("aa", 0), ("bb", 2)):
        write_shard(folder / f"{name}.shard", records(first))
    said = {"upstream": upstream, "corpus": "librispeech", "form": "means", "code": code.digest()} | about
    (folder / "meta.json").write_text(json.dumps(said))
    return folder


def in_python(lines):
    words = [sys.executable, "-c", textwrap.dedent(lines)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def run(cache, capfd):
    """A cache command: its exit code, output and errors."""

    def run(*words):
        result = main(["cache", *words, "--cache", str(cache)])
        out, err = capfd.readouterr()
        return result, out, err

    return run


@pytest.fixture
def asked(run):
    """A cache command's exit code and its JSON."""

    def asked(*words):
        result, out, _ = run(*words, "--json")
        return result, json.loads(out)

    return asked


def test_list_tells_what_is_there_by_last_use(cache, asked, run):
    old = put_features(cache, "a", 1, "wavlm_large", form="frames", gain_db=-3.0, trim=True, least_samples=32000)
    new = put_features(cache, "b", 2, crop_seconds=8.0)
    corpus = cache / "mini" / "version-1" / "SNIPS"
    corpus.mkdir(parents=True)
    (corpus / "list.txt").write_text("x" * 70)
    with using(old):
        os.utime(old / "used", (NOON + DAY,) * 2)
        result, listed = asked("list")
        _, text, _ = run("list")
    assert result == 0
    assert [(one["folder"], one["in_use"]) for one in listed["sets"]] == [(str(new), False), (str(old), True)]
    assert [one["kept"] for one in listed["sets"]] == [
        "means, crops of 8 s",
        "frames, -3 dB, silence taken out, over 32000 samples",
    ]
    # Two shards of four seconds each, of which two utterances are in both; the files are what lies in the folder.
    assert (listed["sets"][0]["utterances"], listed["sets"][0]["audio_seconds"]) == (6, 6.0)
    size = sum(path.stat().st_size for path in new.iterdir() if path.is_file())
    assert (listed["sets"][0]["bytes"], listed["sets"][0]["last_used"]) == (size, NOON + 2 * DAY)
    assert listed["bytes"] == size + listed["sets"][1]["bytes"]
    assert listed["mini"] == [{"folder": str(corpus), "bytes": 70, "state": "out of date"}]
    lines = text.splitlines()
    assert lines[2].startswith("mel ") and "aaaaaaaa  in use" in lines[3]
    assert "2 feature sets" in text and "version-1/SNIPS  70 B" in text


def test_a_cache_that_is_absent_or_empty_is_no_error_and_is_not_made(cache, run):
    for words in (["list"], ["verify"], ["verify", "--repair"], ["prune", "--all"], ["prune", "--limit", "1GB"]):
        assert run(*words)[0] == 0
    assert "nothing is kept there" in run("list")[1]
    assert not cache.exists()
    cache.mkdir()
    assert run("list")[0] == run("verify")[0] == run("prune", "--all")[0] == 0


def test_files_in_the_place_of_folders_are_refused(cache, run):
    cache.mkdir()
    (cache / "features").write_text("mine")
    assert run("list")[0] == 1
    (cache / "features").rename(cache.with_name("away"))
    cache.rmdir()
    cache.write_text("mine")
    code, _, err = run("list")
    assert code == 2 and "a folder is expected" in err


def test_foreign_files_are_named_counted_and_left_alone(cache, asked, run):
    put_features(cache, "a")
    for path in (cache / "features" / "notes.txt", cache / "mine\x1b[31m.txt"):
        path.write_text("x" * 10**6)
    _, listed = asked("list")
    assert len(listed["others"]) == 2 and 10**6 < listed["bytes"] < 10**6 + 10**4  # what lies beside is not counted
    assert "mine\\x1b[31m.txt: not ours" in run("list")[1]
    assert run("prune", "--all")[0] == 0
    assert (cache / "features" / "notes.txt").exists() and not (cache / "features" / "mel").exists()
    code, _, err = run("prune", "--limit", "10KB")
    assert code == 1 and "1.0 MB are left, more than --limit 10.0 KB" in err


@pytest.mark.parametrize("broken", [None, b"", b"{", b"[1]", b"\xff"])
def test_a_set_without_a_description_is_listed_and_can_go(cache, asked, broken):
    folder = put_features(cache, "a")
    (folder / "meta.json").unlink()
    if broken is not None:
        (folder / "meta.json").write_bytes(broken)
    _, listed = asked("list")
    [one] = listed["sets"]
    assert (one["upstream"], one["corpus"], one["utterances"]) == ("mel", "?", 6)
    assert one["state"] == "meta.json missing or broken"
    assert asked("prune", "--all")[1]["removed"] == [str(folder)]
    assert not folder.exists()


def test_sets_of_other_code_are_out_of_date_and_go_first(cache, asked):
    newest = put_features(cache, "a", 9, code="another")
    oldest = put_features(cache, "b", 1)
    (newest / "aa.shard").write_bytes(b"written in another way")
    _, listed = asked("list")
    assert [(one["out_of_date"], one["utterances"]) for one in listed["sets"]] == [(True, None), (False, 6)]
    assert [one["state"] for one in listed["sets"]] == ["out of date", ""]
    code_, verified = asked("verify", "--repair")
    assert (code_, verified["shards"], verified["out_of_date"], verified["damaged"]) == (0, 2, 1, [])
    size = listed["sets"][1]["bytes"]
    assert asked("prune", "--limit", str(size))[1]["removed"] == [str(newest)]
    assert oldest.exists()


@pytest.mark.parametrize("region", ["beginning", "records", "index", "trailer"])
def test_verify_finds_any_flipped_bit_and_repair_removes_that_shard_alone(cache, asked, run, region):
    folder = put_features(cache, "a")
    shard = folder / "bb.shard"
    whole = shard.read_bytes()
    end = len(whole) - TRAILER
    index = end - 4 * ENTRY.itemsize
    bounds = {"beginning": (0, HEAD), "records": (HEAD, index), "index": (index, end), "trailer": (end, len(whole))}[
        region
    ]
    random = np.random.default_rng(0)
    for place in random.integers(*bounds, size=5):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        shard.write_bytes(damaged)
        result, found = asked("verify")
        assert result == 1
        assert [fault["path"] for fault in found["damaged"]] == [str(shard)]
    result, _, err = run("verify")
    assert result == 1 and str(shard) in err
    result, out, err = run("verify", "--repair")
    assert result == 0 and "1 damaged" in out and err.endswith("; removed\n")
    assert sorted(path.name for path in folder.glob("*.shard")) == ["aa.shard"]
    assert run("verify")[0] == 0


def test_repair_leaves_what_is_in_use(cache, asked):
    folder = put_features(cache, "a")
    (folder / "aa.shard").write_bytes(b"")
    (folder / ".cc.shard.123.partial").write_bytes(b"half")
    with using(folder):
        result, found = asked("verify", "--repair")
        assert result == 1 and found["damaged"][0]["left"] == "in use"
        assert found["leftovers"] == []  # it may be being written now
    assert (folder / "aa.shard").exists()
    result, found = asked("verify", "--repair")
    assert result == 0 and [fault["removed"] for fault in found["damaged"] + found["leftovers"]] == [True, True]
    assert not list(folder.glob(".*.partial"))


def test_a_shard_made_anew_since_it_was_read_is_not_removed(cache):
    shard = put_features(cache, "a") / "aa.shard"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    found = verifying.verify(read_cache(cache), progress=False)
    assert len(found.damaged) == 1
    shard.write_bytes(whole)
    verifying.repair(found)
    assert shard.read_bytes() == whole


def test_a_shard_removed_while_it_is_verified_is_not_damaged(cache, monkeypatch):
    shard = put_features(cache, "a") / "aa.shard"

    def gone(path, whole):
        shard.unlink(missing_ok=True)
        return read_index(path, whole)

    monkeypatch.setattr(verifying.store, "read_index", gone)
    assert verifying.verify(read_cache(cache), progress=False).damaged == []


def test_what_may_not_be_read_is_an_error_and_never_removed(cache, run, monkeypatch):
    shard = put_features(cache, "a") / "aa.shard"

    def refused(path, whole):
        try:
            raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise ShardError("unreadable") from error

    monkeypatch.setattr(verifying.store, "read_index", refused)
    code, _, err = run("verify", "--repair")
    assert code == 1 and "not allowed to read" in err
    assert shard.exists()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--all"], ""),
        (["--all", "--upstream", "wavlm"], "acd"),
        (["--older-than", "2.5"], "bd"),
        (["--older-than", "1.5", "--upstream", "mel"], "bd"),
        (["--limit", "{two}"], "bd"),
        (["--limit", "{four}"], "abcd"),
        (["--limit", "0", "--upstream", "mel"], "b"),
    ],
)
def test_prune_removes_what_was_asked_for_and_the_oldest_first(cache, asked, words, left):
    """Used four, two, three and no days ago: a, b, c, d. The second is of another upstream than the others."""
    for letter, days in (("a", 4), ("b", 2), ("c", 3), ("d", 0)):
        folder = put_features(cache, letter, upstream="wavlm" if letter == "b" else "mel")
        os.utime(folder / "used", (time.time() - DAY * days,) * 2)
    sizes = {one["folder"][-1]: one["bytes"] for one in asked("list")[1]["sets"]}
    limits = {"two": sizes["b"] + sizes["d"], "four": sum(sizes.values())}
    words = [word.format(**limits) for word in words]
    result, dry = asked("prune", *words, "--dry-run")
    assert len(asked("list")[1]["sets"]) == 4
    result, done = asked("prune", *words)
    remaining = sorted(one["folder"][-1] for one in asked("list")[1]["sets"])
    assert (result, "".join(remaining)) == (0, left)
    assert dry["removed"] == done["removed"] and dry["freed"] == done["freed"]
    assert done["freed"] == sum(size for letter, size in sizes.items() if letter not in left)


def test_prune_passes_over_what_is_in_use_and_says_so(cache, run):
    used, free = put_features(cache, "a", 1), put_features(cache, "b", 2)
    with using(used):
        result, out, err = run("prune", "--all")
        assert result == 1 and "1 feature set removed" in out
        assert err.startswith(f"{used}: left (in use")
    assert used.exists() and not free.exists()


def test_prune_refuses_what_it_does_not_understand(cache, run):
    put_features(cache, "a")
    assert "Did you mean: mel" in run("prune", "--all", "--upstream", "mell")[2]
    assert run("prune", "--limit", "much")[0] == 2
    for days in ("-1", "nan"):
        assert run("prune", f"--older-than={days}")[0] == 2
    for words in ([], ["--all", "--limit", "1GB"]):
        with pytest.raises(SystemExit):
            main(["cache", "prune", *words])
    assert (cache / "features/mel" / ("a" * 32)).exists()


def test_a_linked_cache_is_pruned_like_any_other(cache, tmp_path, asked):
    folder = put_features(tmp_path / "disk", "a")
    cache.symlink_to(tmp_path / "disk")
    assert len(asked("list")[1]["sets"]) == 1
    assert len(asked("prune", "--all")[1]["removed"]) == 1
    assert not folder.exists()


def test_what_a_killed_prune_left_is_cleaned_by_the_next(cache, asked):
    """The process is killed between moving the set aside and deleting its second file."""
    put_features(cache, "a")
    done = in_python(f"""
        import os, signal
        remove = os.unlink
        def killed(*words, **options):
            remove(*words, **options)
            os.kill(os.getpid(), signal.SIGKILL)
        os.unlink = killed
        from benchmark.cli import main
        main(["cache", "prune", "--all", "--cache", {str(cache)!r}])
    """)
    assert done.returncode == -signal.SIGKILL
    listed = asked("list")[1]
    assert listed["sets"] == [] and len(listed["leftovers"]) == 1 and listed["bytes"] > 0
    result, done = asked("prune", "--older-than", "1")
    assert (result, done["leftovers"], done["removed"]) == (0, 1, [])
    assert asked("list")[1]["leftovers"] == [] and asked("list")[1]["bytes"] == 0


def test_prunes_at_once_remove_each_set_and_none_fails(cache, asked):
    for letter in "0123456789abcdef":
        put_set(cache, letter, 10)
    words = [sys.executable, "-m", "benchmark", "cache", "prune", "--all", "--cache", str(cache)]
    both = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    listed = asked("list")[1]
    assert listed["sets"] == listed["leftovers"] == []


def test_asking_costs_no_torch(cache):
    put_features(cache, "a")
    done = in_python(f"""
        import sys
        from benchmark.cli import main
        for words in (["list"], ["verify", "--repair"], ["prune", "--all"]):
            main(["cache", *words, "--cache", {str(cache)!r}])
        sys.exit("torch" in sys.modules)
    """)
    assert done.returncode == 0, done.stderr
    assert "1 feature set removed" in done.stdout
