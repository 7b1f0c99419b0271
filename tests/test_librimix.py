"""Libri2Mix made from what it is made of: the published arithmetic to the bit, and care for what is there."""

import json
import subprocess
import sys
from hashlib import blake2b
from math import cos, pi
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile
from librimix_tree import LENGTHS, make, plant, put, rows_of, samples_of

from downstream.corpora import librimix
from downstream.corpora.librimix import making, mixing
from downstream.corpora.librimix.metadata import LISTS, read_list
from downstream.files import Lock
from upstream.errors import DataError, UsageError

ROOT = Path(__file__).parents[1]
EVERY = dict.fromkeys(mixing.MODES, mixing.FOLDERS)
# What scripts/create_librimix_from_metadata.py and scripts/prepare_diarization.py of s3prl/LibriMix make of this tree.
PUBLISHED_AUDIO = "3538cc22010d3db7fd71f15290368b34"
PUBLISHED_DATA = "94040d53d8ccdf0479edf6a315a86651"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Not to be written to."""
    top = tmp_path_factory.mktemp("tree")
    plant(top)
    return top


@pytest.fixture(scope="module")
def made(tree, tmp_path_factory):
    """All folders in both modes. Not to be written to."""
    out = tmp_path_factory.mktemp("made")
    make(tree, out, folders=EVERY)
    return out / "Libri2Mix"


def files_of(top, pattern):
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob(pattern) if path.is_file()}


def digest(files):
    found = blake2b(digest_size=16)
    for name, content in sorted(files.items()):
        found.update(name.encode() + b"\0" + content)
    return found.hexdigest()


# The arithmetic


def test_same_files_as_the_published_scripts_make(made):
    assert digest(files_of(made, "*.wav")) == PUBLISHED_AUDIO
    assert digest(files_of(made / "data", "*")) == PUBLISHED_DATA


def by_the_sample(sources, gains, noise, noise_gain, mode):
    """Every folder's 16-bit samples, one after the other, in single precision."""
    waves = {name: [] for name in mixing.FOLDERS}
    for n in range(min(map(len, sources)) if mode == "min" else max(map(len, sources))):
        one, two = (
            np.float32(source[n] / 32768) * np.float32(gain) if n < len(source) else np.float32(0)
            for source, gain in zip(sources, gains, strict=True)
        )
        loud = np.float32(noise[n] / 32768) * np.float32(noise_gain)
        for name, value in (("s1", one), ("s2", two), ("noise", loud), ("mix_clean", one + two)):
            waves[name].append(value)
        waves["mix_both"].append(one + two + loud)
    return {name: [max(-32768, min(32767, int(v * 32768 // 1))) for v in values] for name, values in waves.items()}


@pytest.mark.parametrize("mode", mixing.MODES)
@pytest.mark.parametrize("part", ["train-100", "dev"])
def test_mixtures_sample_by_sample(tree, made, part, mode):
    for mixture in read_list(tree / "metadata/Libri2Mix" / LISTS[part]):
        sources = [samples_of(tree / "LibriSpeech" / path) for path in mixture.sources]
        noise = samples_of(tree / "wham_noise" / mixture.noise)
        noise = noise[:, 0] if noise.ndim > 1 else noise
        wanted = by_the_sample(sources, mixture.gains, noise, mixture.noise_gain, mode)
        for name, samples in wanted.items():
            path = made / "wav16k" / mode / part / name / f"{mixture.id}.wav"
            assert samples_of(path).tolist() == samples, path
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.subtype, info.format) == (16000, 1, "PCM_16", "WAV")


def test_noise_shorter_than_the_mixture():
    noise = np.random.default_rng(0).normal(0, 0.2, 16500).astype(np.float32)
    longer = mixing.extended(noise, 30000)
    step, last = len(noise) - 8001, 2  # from the start of one copy to that of the next; that many are added
    assert len(noise) + (last - 1) * step < 30000 <= len(noise) + last * step
    wanted = np.zeros(len(noise) + last * step)
    for copy in range(last + 1):
        for k, value in enumerate(noise.tolist()):
            rising = (1 - cos(pi * min(k, 8000) / 8000)) / 2 if copy > 0 else 1.0
            falling = (1 + cos(pi * max(k - step, 0) / 8000)) / 2 if copy < last else 1.0
            wanted[copy * step + k] += value * rising * falling
    assert np.abs(longer - wanted[:30000]).max() < 1e-12
    assert mixing.extended(noise, 9000).tolist() == noise[:9000].tolist()


def test_noise_too_short_to_repeat(tree, tmp_path):
    rows = rows_of(tree / "metadata/Libri2Mix" / LISTS["dev"])
    put(tmp_path / "wham" / rows[0][5], np.zeros(8001))
    with pytest.raises(DataError, match=r"noise_6\.wav has 8001 samples, too few to repeat"):
        make(tree, tmp_path / "out", wham=tmp_path / "wham", parts=("dev",))


def test_clipping():
    loud = np.array([0.7, -0.7, 0.2, 0.5], dtype=np.float32)
    waves = mixing.mix([loud, loud], [1.0, 1.0], "min")
    assert mixing.pcm16(waves["mix_clean"]).tolist() == [32767, -32768, 13107, 32767]
    assert mixing.pcm16(waves["s1"]).tolist() == [22937, -22938, 6553, 16384]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_samples_are_those_that_soundfile_writes(tmp_path, kind):
    wave = np.random.default_rng(0).uniform(-1.2, 1.2, 5000).astype(kind)
    soundfile.write(tmp_path / "x.wav", wave, 16000)
    assert mixing.wav_file(wave) == (tmp_path / "x.wav").read_bytes()
    assert mixing.pcm16(wave).tolist() == samples_of(tmp_path / "x.wav").tolist()
    assert (tmp_path / "x.wav").stat().st_size == mixing.wav_bytes(5000)


# Layout


def test_what_superb_needs(tree, made, tmp_path):
    counts = make(tree, tmp_path)
    folders = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.wav")}
    wanted = {"min": ("mix_clean", "s1", "s2"), "max": ("mix_both",)}
    assert folders == {f"Libri2Mix/wav16k/{m}/{p}/{name}" for m in wanted for p in LENGTHS for name in wanted[m]}
    ours = files_of(tmp_path / "Libri2Mix", "*.wav")
    assert ours.items() <= files_of(made, "*.wav").items()
    assert counts["min/test"] == librimix.Made(6, 0) and counts["max/dev"] == librimix.Made(1, 0)
    table = (tmp_path / "Libri2Mix/wav16k/max/metadata/mixture_dev_mix_both.csv").read_text()
    name = rows_of(tree / "metadata/Libri2Mix" / LISTS["dev"])[0][0]
    assert table == f"mixture_ID,mixture_path,length\n{name},wav16k/max/dev/mix_both/{name}.wav,9000\n"


def test_tables(made):
    (row,) = rows_of(made / "wav16k/min/metadata/mixture_dev_mix_both.csv")
    assert row[1:] == [f"wav16k/min/dev/{name}/{row[0]}.wav" for name in ("mix_both", "s1", "s2", "noise")] + ["9000"]
    assert all((made / path).is_file() for path in row[1:5])


def test_clean_mixtures_need_neither_noise_nor_activity(tree, made, tmp_path):
    make(tree, tmp_path, metadata=tree / "metadata/Libri2Mix", wham=None, modes=("min",))
    ours = files_of(tmp_path / "Libri2Mix", "*.wav")
    assert len(ours) == 15 and ours.items() <= files_of(made, "*.wav").items()
    assert not (tmp_path / "Libri2Mix/data").exists()


def test_noisy_mixtures_are_refused_without_noise(tree, tmp_path):
    with pytest.raises(UsageError, match=r"max/mix_both need the noise of WHAM.* or make the mode 'min' only"):
        make(tree, tmp_path, wham=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [{"modes": ("mid",)}, {"parts": ("train",)}, {"folders": {"min": ["s3"]}}])
def test_unknown_names(tree, tmp_path, option):
    with pytest.raises(UsageError, match=r"unknown (mode|part|folder) of Libri2Mix"):
        make(tree, tmp_path, **option)


@pytest.mark.parametrize("option", [{"modes": ()}, {"parts": ()}, {"folders": {"min": ["s1"]}}])
def test_nothing_asked_for(tree, tmp_path, option):
    with pytest.raises(UsageError, match="nothing to make"):
        make(tree, tmp_path, **option)


# What is there already


def test_what_is_there_is_kept(tree, tmp_path):
    make(tree, tmp_path)
    top = tmp_path / "Libri2Mix"
    before = {path: path.stat().st_mtime_ns for path in top.rglob("*.wav")}
    content = files_of(top, "*")
    missing, short = list(before)[3], list(before)[8]
    missing.unlink()
    short.write_bytes(short.read_bytes()[:-2])
    left = short.with_name(f".{short.name}.4711.partial")
    left.write_bytes(b"RIFF")
    counts = make(tree, tmp_path)
    assert (sum(one.written for one in counts.values()), sum(one.kept for one in counts.values())) == (2, 18)
    changed = {path for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {missing, short} and not left.exists()
    assert files_of(top, "*") == content


def test_interrupted(tree, made, tmp_path, monkeypatch):
    writes = iter(range(7))

    def interrupted(path, content):
        if next(writes, None) is None:
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr(making, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tree, tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.rglob("*.wav"))) == 7 and not (tmp_path / "Libri2Mix/data").exists()
    counts = make(tree, tmp_path)
    assert sum(one.written for one in counts.values()) == 13
    assert files_of(tmp_path / "Libri2Mix", "*.wav").items() <= files_of(made, "*.wav").items()


def test_full_disk(tree, tmp_path):
    code = f"""import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
from pathlib import Path
from downstream.corpora.librimix import make
tree = Path({str(tree)!r})
make(tree / "LibriSpeech", tree / "metadata", Path({str(tmp_path)!r}), modes=("min",), progress=False)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "ResourceError: no space left while writing" in done.stderr and "Finished parts are kept" in done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert all(path.suffix == ".wav" and soundfile.info(path).frames > 0 for path in written)


def test_another_process_is_waited_for(tree, tmp_path):
    lock = Lock(tmp_path / "Libri2Mix/.lock")
    assert lock.acquire(wait=False)
    said = []
    thread = Thread(target=make, args=(tree, tmp_path), kwargs={"parts": ("dev",), "say": said.append}, daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive() and not list(tmp_path.rglob("*.wav"))
    assert said[-1].startswith("waiting for another process")
    lock.release()
    thread.join(20)
    assert len(list(tmp_path.rglob("*.wav"))) == 4


def test_mini_corpus_is_left_alone(tree, tmp_path):
    (tmp_path / "Libri2Mix").mkdir()
    (tmp_path / "Libri2Mix/MINI.json").write_text(json.dumps({}))
    with pytest.raises(UsageError, match="made-up corpus and is left alone"):
        make(tree, tmp_path)
