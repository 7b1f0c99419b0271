"""What is in use stays, what is not goes in the order of its last use, and the limit holds for all processes."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest
from kept_sets import NOON, Other, put_set, reserving, using

from downstream.files import Lock, is_locked
from downstream.represent.kept import Room, bytes_of, contents, finish_removal, in_use, is_in_use, last_use, remove
from downstream.represent.sizes import shown_size, size
from upstream.errors import ResourceError, UsageError


@pytest.mark.parametrize(
    ("text", "count"),
    [("20GB", 20 * 10**9), ("1.5 tb", 1_500_000_000_000), ("500MB", 5 * 10**8), ("0.1KB", 100), ("7", 7), ("0", 0)],
)
def test_sizes_are_read(text, count):
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "GB", "20 Gb/s", "-1GB", "1e9", "nan", "1,5GB", "20GiB", "²GB"])
def test_what_is_no_size_is_refused_with_what_is_expected(text):
    with pytest.raises(UsageError, match="as in 500MB"):
        size(text)


def test_sizes_are_shown_in_the_unit_that_suits_them():
    shown = {0: "0 B", 999: "999 B", 1000: "1.0 KB", 999_949: "999.9 KB", 999_950: "1.0 MB", 20 * 10**9: "20.0 GB"}
    assert {count: shown_size(count) for count in shown} == shown
    assert shown_size(25 * 10**14) == "2500.0 TB"


def test_several_share_a_set_and_nobody_removes_it_meanwhile(tmp_path):
    folder = put_set(tmp_path, "a")
    with using(folder), in_use(folder):
        assert not remove(folder)
    assert not is_in_use(folder)
    assert remove(folder)
    assert not folder.exists()
    assert not list((tmp_path / "features").iterdir())  # nothing aside, and no empty folder of the upstream


def test_this_process_does_not_remove_what_it_uses_itself(tmp_path):
    use = in_use(put_set(tmp_path, "a")).acquire()
    assert not remove(tmp_path / "features/mel" / ("a" * 32))
    use.release()
    use.release()
    assert remove(tmp_path / "features/mel" / ("a" * 32))


def test_a_set_is_free_once_its_user_is_killed(tmp_path):
    folder = put_set(tmp_path, "a")
    with using(folder) as user:
        assert is_in_use(folder)
        user.kill()
        assert not is_in_use(folder)
        assert remove(folder)


def test_use_makes_the_folder_and_notes_the_time(tmp_path):
    folder = put_set(tmp_path, "a")
    assert last_use(folder) == NOON
    with in_use(folder):
        begun = last_use(folder)
        os.utime(folder / "used", (NOON, NOON))
    assert begun > NOON < last_use(folder)  # at its end too
    with in_use(tmp_path / "features/new" / ("b" * 32)) as use:
        assert use and (tmp_path / "features/new" / ("b" * 32)).is_dir()


def test_asking_makes_nothing(tmp_path):
    assert not is_in_use(tmp_path / "features/mel" / ("a" * 32))
    assert remove(tmp_path / "features/mel" / ("a" * 32))
    assert Room(tmp_path, 10).available() == 10
    assert contents(tmp_path).sets == []
    assert not list(tmp_path.iterdir())


def test_who_comes_while_a_set_is_removed_has_a_new_one(tmp_path):
    folder = put_set(tmp_path, "a")
    removing = Lock(folder / "locks" / "use")
    assert removing.acquire(wait=False)
    held = threading.Event()
    use = in_use(folder)
    waiting = threading.Thread(target=lambda: (use.acquire(), held.set()))
    waiting.start()
    assert not held.wait(0.2)  # it has the old lock file open, and waits for it
    shutil.move(folder, tmp_path / "aside")
    removing.release()
    assert held.wait(10)
    waiting.join()
    assert is_locked(folder / "locks" / "use")
    assert not is_locked(tmp_path / "aside" / "locks" / "use")
    assert not (folder / "one.shard").exists()
    use.release()


def test_many_users_and_removers_at_once_end_with_what_was_written_last(tmp_path):
    """Whoever has a set in use finds at the end of the block what was written at its beginning."""
    folder = tmp_path / "features/mel" / ("a" * 32)
    lines = f"""
        from pathlib import Path
        from downstream.represent.kept import in_use, remove
        folder, lost = Path({str(folder)!r}), 0
        for turn in range(150):
            with in_use(folder):
                mine = folder / f"{{id(folder)}}.{{turn}}.shard"
                mine.write_text("x")
                lost += not mine.exists()
            remove(folder)
        assert not lost
    """
    with Other(lines) as first, Other(lines) as second:
        pass
    assert (first.process.returncode, second.process.returncode) == (0, 0)
    assert remove(folder)
    assert contents(tmp_path).leftovers == []


def test_what_a_killed_remover_left_is_finished_but_not_under_a_living_one(tmp_path):
    folder = put_set(tmp_path, "a")
    aside = folder.with_name(f".{folder.name}.123.456.removed")
    folder.rename(aside)
    with Other(f"""
        from pathlib import Path
        from downstream.files import Lock
        lock = Lock(Path({str(aside)!r}, "locks", "use"))
        lock.acquire(wait=True)
    """) as remover:
        assert contents(tmp_path).leftovers == [aside]
        assert not finish_removal(aside)
        remover.kill()
    assert finish_removal(aside)
    assert not aside.exists()


def test_only_folders_named_by_a_key_are_sets(tmp_path):
    own = put_set(tmp_path, "a")
    for name in ("notes.txt", f"mel/{'b' * 32}", "mel/backup/x", f"mel/{'A' * 32}/x"):
        path = tmp_path / "features" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (tmp_path / "features/mel" / ("c" * 32)).symlink_to(own)
    found = contents(tmp_path)
    assert found.sets == [own]
    assert {path.name for path in found.others} == {"notes.txt", "b" * 32, "backup", "A" * 32, "c" * 32}


def test_without_a_limit_nothing_is_counted_or_written(tmp_path):
    room = Room(tmp_path, None)
    with room.reserved(tmp_path / "features/mel" / ("a" * 32), 10**18):
        pass
    assert room.available() is None
    assert not list(tmp_path.iterdir())


def test_room_is_made_by_the_sets_that_were_not_used_for_longest(tmp_path):
    sets = [put_set(tmp_path, letter, 100, days) for letter, days in (("a", 3), ("b", 1), ("c", 2), ("d", 4))]
    said = []
    room = Room(tmp_path, 450, said.append)
    with room.reserved(sets[3], 150):  # 400 + 150 is 100 too many: the oldest, b, is enough
        assert [one.exists() for one in sets] == [True, False, True, True]
        assert room.available([sets[0], sets[2], sets[3]]) == 0
    assert len(said) == 1
    assert str(sets[1]) in said[0] and "--cache-limit 450 B" in said[0] and "2023-11-15" in said[0]


def test_a_set_in_use_is_passed_over(tmp_path):
    old, new = put_set(tmp_path, "a", 100, 0), put_set(tmp_path, "b", 100, 1)
    room = Room(tmp_path, 250, lambda _: None)
    with using(old):
        assert room.available() == 150
        with room.reserved(old, 150):
            assert old.exists() and not new.exists()


def test_where_there_cannot_be_room_nothing_is_removed(tmp_path):
    free, used = put_set(tmp_path, "a", 100), put_set(tmp_path, "b", 100)
    (tmp_path / "features" / "notes.txt").write_text("x" * 50)
    room = Room(tmp_path, 300, lambda _: None)
    with in_use(used):
        assert room.available() == 150
        told = r"300 B is too small: .*b{32} needs 151 B more, and 150 B .*live"
        with pytest.raises(ResourceError, match=told), room.reserved(used, 151):
            raise AssertionError("this must not be written")
    assert free.exists()


def test_what_another_process_reserved_counts_until_it_dies(tmp_path):
    own, other = put_set(tmp_path, "a", 100), put_set(tmp_path, "b", 100)
    room = Room(tmp_path, 500, lambda _: None)
    # Of the 200 it reserved it has written 120, which are not counted twice: 500 - 200 - 200 reserved.
    with reserving(tmp_path, 500, other, 200, written=120) as process, in_use(own):
        assert room.available() == 100
        with room.reserved(own, 100):
            assert room.available() == 0
            with pytest.raises(ResourceError), room.reserved(own, 1):
                pass
        process.kill()
        assert room.available([other]) == 180  # what it wrote is left there
    with room.reserved(own, 1):
        assert [path.name for path in (tmp_path / "room").glob("*.json")] == [f"{os.getpid()}.0.json"]


def test_a_reservation_ends_with_its_block_however_that_ends(tmp_path):
    folder, room = put_set(tmp_path, "a"), Room(tmp_path, 200)
    with in_use(folder):
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt), room.reserved(folder, 100):
                raise KeyboardInterrupt
        assert room.available() == 100


def test_a_full_disk_leaves_no_reservation(tmp_path, monkeypatch):
    folder, room = put_set(tmp_path, "a"), Room(tmp_path, 200)

    def full(path, _):
        raise OSError(errno.ENOSPC, "No space left on device")

    with in_use(folder), monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(ResourceError, match="no space left"), room.reserved(folder, 100):
            pass
        assert room.available() == 100
        assert not any(is_locked(path) for path in (tmp_path / "room").iterdir())


def test_reservations_are_made_one_at_a_time(tmp_path):
    other = Lock(tmp_path / "room" / "lock")
    assert other.acquire(wait=False)
    block, got = Room(tmp_path, 100).reserved(put_set(tmp_path, "a"), 0), threading.Event()
    waiting = threading.Thread(target=lambda: (block.__enter__(), got.set()))
    waiting.start()
    assert not got.wait(0.2)
    other.release()
    assert got.wait(10)
    waiting.join()


def test_leftovers_go_before_any_set(tmp_path):
    old, kept = put_set(tmp_path, "a", 100), put_set(tmp_path, "b", 100)
    aside = old.rename(old.with_name(f".{old.name}.1.2.removed"))
    with Room(tmp_path, 250, lambda _: None).reserved(kept, 150):
        assert not aside.exists() and kept.exists()


def test_what_changes_in_a_set_is_counted_anew(tmp_path):
    folder = put_set(tmp_path, "a")
    room = Room(tmp_path, 1000)
    os.utime(folder, (NOON, NOON))
    with in_use(folder):
        assert [room.available() for _ in range(2)] == [900, 900]
        (folder / "two.shard").write_bytes(b"x" * 300)
        assert room.available() == 600


def test_what_fits_is_within_the_limit_and_leaves_a_tenth_of_the_disk(tmp_path, monkeypatch):
    first, second = put_set(tmp_path, "a", 100), put_set(tmp_path, "b", 100)
    free = [10**6]
    monkeypatch.setattr(shutil, "disk_usage", lambda place: type("Usage", (), {"free": free[0]}))
    room = Room(tmp_path / ".", 300)
    assert room.fits(300) and not room.fits(301)
    assert room.fits(200, staying=[first]) and not room.fits(201, staying=[first])
    with in_use(second):
        assert not room.fits(101, staying=[first])
    free[0] = 200  # 90 % of that, and of the 100 that have to go
    assert Room(tmp_path, None).fits(180) and not Room(tmp_path, None).fits(181)
    assert room.fits(200) and not Room(tmp_path, 10**6).fits(200)
    assert Room(tmp_path / "not/there/yet", None).fits(180)


def test_two_processes_never_exceed_the_limit_together(tmp_path):
    """Each writes 40 files of 50 bytes into sets of its own, which it then lets go; 1,000 bytes are the limit."""
    lines = """
        import os
        from pathlib import Path
        os.fsync = lambda _: None
        from downstream.files import write_bytes
        from downstream.represent.kept import Room, bytes_of, in_use
        cache = Path({cache!r})
        room, most = Room(cache, 1000, lambda _: None), 0
        for number in range(8):
            folder = cache / "features" / "mel" / f"{{os.getpid():024x}}{{number:08x}}"
            with in_use(folder):
                for shard in range(5):
                    with room.reserved(folder, 50):
                        write_bytes(folder / f"{{shard}}.shard", b"x" * 50)
                        most = max(most, bytes_of(cache / "features"))
        Path({cache!r}, f"{{os.getpid()}}.most").write_text(str(most))
    """.format(cache=str(tmp_path))
    with Other(lines), Other(lines):
        pass
    most = [int(path.read_text()) for path in tmp_path.glob("*.most")]
    assert len(most) == 2 and 500 < max(most) <= 1000
    assert bytes_of(tmp_path / "features") <= 1000


def test_a_cache_that_may_only_be_read_can_still_be_used(tmp_path, monkeypatch):
    folder = put_set(tmp_path, "a")

    def refused(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(os, "mkdir", refused)
    with in_use(folder):
        assert (folder / "one.shard").exists()
    with pytest.raises(ResourceError, match="not allowed to write"):
        in_use(tmp_path / "features/mel" / ("b" * 32)).acquire()
    assert Room(Path(tmp_path), 150).available() == 50  # what may not be locked may not be removed either
