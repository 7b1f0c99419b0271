"""Silence removal against SoX itself, sample for sample, and against what SoX gave where it is not installed."""

import ast
import shutil
import subprocess
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.represent import silence
from downstream.represent.silence import trimmed
from upstream.audio import SAMPLE_RATE, read_audio

GAIN = 10 ** (-3 / 20)
EFFECTS = ["channels 1", "rate 16000", "gain -3.0", "silence 1 0.1 0.1% -1 0.1 0.1%"]
SILENCE = EFFECTS[-1:]
LEVEL_32 = 2**31 / 1000  # 0.1 % of full scale in SoX's integers
LEVEL_16 = 32768 / 1000 / GAIN  # the same before the gain, in those of a file
WINDOW, LASTING = 320, 1600

needs_sox = pytest.mark.skipif(shutil.which("sox") is None, reason="SoX is not installed")


def by_sox(samples: np.ndarray, effects: list[str] = EFFECTS) -> np.ndarray:
    """What SoX makes of headerless samples of that type, in its own 32-bit integers."""
    kind = {"int16": "s16", "int32": "s32", "float32": "f32"}[samples.dtype.name]
    return run_sox(["-t", kind, "-r", "16000", "-c", "1", "-"], effects, samples.tobytes())


def run_sox(source: list[str], effects: list[str], given: bytes = b"") -> np.ndarray:
    words = " ".join(effects).split()
    command = ["sox", "-V1", *source, "-t", "s32", "-", *words]
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, dtype=np.int32)


def before_gain(values: np.ndarray) -> np.ndarray:
    """The 16-bit samples that were in the file: which were kept, and not only how many, shows from them."""
    exact = values.astype(np.float64) * 32768 / GAIN
    whole = np.rint(exact)
    assert np.abs(exact - whole).max(initial=0) < 0.01
    return whole.astype(np.int16)


def stretches(random: np.random.Generator, level: float, loud: float, largest: int) -> np.ndarray:
    """One after the other bursts, clicks, tones, DC, and silences, many of them around a level."""

    def stretch(kind: str) -> np.ndarray:
        count = int(random.integers(1, 32000 if kind == "zeros" else 12000))
        time = np.arange(count) / SAMPLE_RATE
        if kind == "zeros":
            return np.zeros(count)
        if kind == "noise":
            return random.normal(0, loud, count)
        if kind == "burst":
            return random.normal(0, loud, count) * np.exp(-time * random.uniform(5, 50))
        if kind == "noise at level":
            return random.normal(0, level * random.uniform(0.95, 1.05), count)
        if kind == "tone at level":
            return level * 2**0.5 * random.uniform(0.99, 1.01) * np.sin(time * random.uniform(300, 20000))
        if kind == "DC at level":
            return np.full(count, level * random.choice([-1, 1]) * random.uniform(0.97, 1.03))
        if kind == "just quiet":  # sounds begin in it or not, depending on what the window holds
            return random.normal(0, level * 0.9, count)
        if kind == "nearest to level":  # here the rounding of sums decides, after something loud
            return random.choice([-1, 1], count) * np.ceil(level)
        clicks = random.normal(0, level / 5, count)
        clicks[random.integers(0, count, 3)] = largest
        return clicks

    kinds = ["zeros", "noise", "burst", "noise at level", "tone at level", "DC at level"]
    kinds += ["just quiet", "nearest to level", "clicks"]
    drawn = random.choice(kinds, random.integers(1, 10))
    return np.clip(np.rint(np.concatenate([stretch(kind) for kind in drawn])), -largest - 1, largest)


def test_the_effects_are_superbs() -> None:
    folder = Path(find_spec("s3prl").submodule_search_locations[0])
    tree = ast.parse((folder / "downstream" / "sv_voxceleb1" / "dataset.py").read_text())
    [theirs] = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "EFFECTS"]
    assert [" ".join(words) for words in ast.literal_eval(theirs)] == EFFECTS


@needs_sox
@pytest.mark.parametrize("seed", range(60))
def test_16_bit_files_keep_the_samples_that_sox_keeps(seed: int) -> None:
    samples = stretches(np.random.default_rng(seed), LEVEL_16, 4000, 32767).astype(np.int16)
    theirs = before_gain(by_sox(samples) / 2**31)
    np.testing.assert_array_equal(before_gain(trimmed(samples / 32768 * GAIN)), theirs)
    single = samples.astype(np.float32) / 32768 * np.float32(GAIN)
    np.testing.assert_array_equal(before_gain(trimmed(single)), theirs)


@needs_sox
@pytest.mark.parametrize("seed", range(40))
def test_decisions_are_exact_to_the_last_of_32_bits(seed: int) -> None:
    samples = stretches(np.random.default_rng(seed), LEVEL_32, 2**28, 2**31 - 1).astype(np.int32)
    theirs = by_sox(samples, SILENCE)
    np.testing.assert_array_equal(trimmed(samples / 2**31), (theirs / 2**31).astype(np.float32))


@needs_sox
@pytest.mark.parametrize("seed", range(10))
def test_float_files_keep_the_samples_that_sox_keeps(seed: int) -> None:
    """Their values lie between SoX's integers, which it reads by cutting off, and some beyond full scale."""
    random = np.random.default_rng(seed)
    wave = (stretches(random, LEVEL_16, 4000, 2**16) / 32768 + random.uniform(0, 1e-7)).astype(np.float32)
    theirs = by_sox(wave) / 2**31
    as_read = np.trunc(np.clip(wave.astype(np.float64) * 2**31, -(2**31), 2**31 - 1))
    ours = trimmed(as_read / 2**31 * GAIN)
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=2**-24, atol=2**-32)


@needs_sox
def test_speech_files_with_silences_put_in(mini_data: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shorter = 0
    for number, path in enumerate(sorted((mini_data / "VoxCeleb1").glob("*/wav/**/*.wav"))[::10]):
        speech = soundfile.read(path, dtype="int16")[0]
        pieces = np.split(speech, np.sort(random.integers(0, len(speech), 4)))
        silences = [np.zeros(int(random.uniform(0.05, 2) * SAMPLE_RATE), dtype=np.int16) for _ in pieces]
        both = [part for pair in zip(silences, pieces, strict=True) for part in pair]
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, np.concatenate(both[number % 2 :]), SAMPLE_RATE)
        ours = trimmed(read_audio(file, gain_db=-3))
        np.testing.assert_array_equal(before_gain(ours), before_gain(run_sox([str(file)], EFFECTS) / 2**31))
        shorter += len(ours) < sum(map(len, both)) - LASTING
    assert shorter >= 5


@needs_sox
@pytest.mark.parametrize("count", [1, 2, WINDOW, LASTING - 1, LASTING, LASTING + 1])
@pytest.mark.parametrize("value", [0, 1, 47, -20000])
def test_very_short_files(count: int, value: int) -> None:
    samples = np.full(count, value, dtype=np.int16)
    np.testing.assert_array_equal(before_gain(trimmed(samples / 32768 * GAIN)), before_gain(by_sox(samples) / 2**31))


def parts(*lengths_and_sizes: tuple[int, int]) -> np.ndarray:
    """Noise of these numbers of samples and largest values, of a generator that never changes with numpy."""
    random = np.random.RandomState(0)
    return np.concatenate([random.randint(-size, size + 1, count) for count, size in lengths_and_sizes]).astype(
        np.int16
    )


# Of each what SoX kept: how many samples, and a checksum of them. Noise of up to 80 is about at the threshold.
RECORDED = {
    "silence around": (parts((9000, 3), (30000, 8000), (20000, 5)), 30319, 1722529913),
    "silences between": (
        parts((5000, 900), (1500, 0), (4000, 900), (1950, 0), (3000, 900), (40000, 2), (2500, 900)),
        16627,
        4049162801,
    ),
    "at the threshold": (
        parts(*[(2500, size) for size in (80, 79, 82, 78, 3000, 80, 81, 79, 80, 77, 83, 80)]),
        12639,
        331007166,
    ),
    "bursts": (parts(*[(count, size) for count in range(900, 2000, 90) for size in (2000, 4)]), 24977, 1542440633),
    "ends in short sound": (parts((4000, 500), (9000, 4), (1500, 500)), 4303, 3077910045),
    "ends in short silence": (parts((4000, 500), (9000, 4), (2000, 500), (1800, 0)), 8097, 1488220299),
    "clicks": (parts(*[(count, size) for count in (30, 700, 1100, 2300, 1) for size in (30, 20000)]), 2302, 750777228),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_results_of_sox(name: str) -> None:
    samples, length, checksum = RECORDED[name]
    kept = before_gain(trimmed(samples.astype(np.float32) / 32768 * np.float32(GAIN)))
    assert (len(kept), zlib.crc32(kept)) == (length, checksum)


@needs_sox
@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_results_are_those_of_sox(name: str) -> None:
    samples, length, checksum = RECORDED[name]
    kept = before_gain(by_sox(samples) / 2**31)
    assert (len(kept), zlib.crc32(kept)) == (length, checksum)


LEAST = 2147484  # the least root mean square that is loud, of 32-bit integers
LOUD = np.random.RandomState(2).randint(-(2**30), 2**30, (6, 3000))
A_UNIT_LESS = np.full(WINDOW, LEAST)
A_UNIT_LESS[:4] += (-1794, 541, 633, 619)  # the sum of its squares is 1 below that of LEAST
# Of 32-bit samples the same, and whether the gain comes before.
RECORDED_32 = {
    "just loud": (np.full(9000, LEAST), False, 8681, 1309937771),
    "a unit less": (np.resize(A_UNIT_LESS, 9000), False, 0, 0),
    "sums rounded by what was loud": (
        np.pad(LOUD, ((0, 0), (0, 4000)), constant_values=LEAST).ravel(),
        False,
        38162,
        1480993524,
    ),
    "window emptied": (
        np.tile(np.append(LOUD[0], np.repeat([LEAST - 9999, LEAST + 999], 1925)), 3),
        False,
        14793,
        3591423707,
    ),
    "loud because rounded": (np.resize([3033400, 3033403], 9000), True, 8681, 1307243315),
}


@pytest.mark.parametrize("name", RECORDED_32)
def test_recorded_results_of_sox_in_32_bits(name: str) -> None:
    samples, gain, length, checksum = RECORDED_32[name]
    kept = trimmed(samples / 2**31 * (GAIN if gain else 1))
    whole = np.rint(kept.astype(np.float64) * 2**31).astype(np.int32)
    assert (len(kept), zlib.crc32(whole)) == (length, checksum)


@needs_sox
@pytest.mark.parametrize("name", RECORDED_32)
def test_the_recorded_results_in_32_bits_are_those_of_sox(name: str) -> None:
    samples, gain, length, checksum = RECORDED_32[name]
    kept = by_sox(samples.astype(np.int32), EFFECTS if gain else SILENCE)
    single = (kept / 2**31).astype(np.float32)  # as ours come
    whole = np.rint(single.astype(np.float64) * 2**31).astype(np.int32)
    assert (len(kept), zlib.crc32(whole)) == (length, checksum)


def test_quiet_waves_have_nothing_left() -> None:
    for wave in (np.zeros(0), np.zeros(50000), np.full(50000, 0.00099), np.full(LASTING - 1, 0.5)):
        left = trimmed(wave.astype(np.float32))
        assert (len(left), left.dtype) == (0, np.float32)


def test_loud_waves_stay_as_they_are() -> None:
    random = np.random.default_rng(0)
    for count in (LASTING, LASTING + 1, 5000, 100000):
        wave = random.choice([-1, 1], count).astype(np.float32) * random.uniform(0.02, 1, count).astype(np.float32)
        np.testing.assert_array_equal(trimmed(wave), wave)


@pytest.mark.parametrize(("zeros", "gone"), [(1918, 0), (1919, 1600), (1920, 1601), (50000, 49681)])
@pytest.mark.parametrize("after", [0, 3000])
def test_a_silence_counts_once_the_window_is_empty(zeros: int, gone: int, after: int) -> None:
    """319 zeros still have sound in their window, and after 1,600 more everything quiet goes."""
    wave = np.concatenate([np.full(4000, 0.5), np.zeros(zeros), np.full(after, 0.25)])
    assert len(trimmed(wave)) == len(wave) - gone


@pytest.mark.parametrize("piece", [37, 1600, 1601, 10**6])
def test_the_size_of_the_pieces_makes_no_difference(piece: int, monkeypatch) -> None:
    waves = [samples / 32768 * GAIN for samples, *_ in RECORDED.values()]
    whole = [trimmed(wave) for wave in waves]
    monkeypatch.setattr(silence, "_PIECE", piece)
    for wave, expected in zip(waves, whole, strict=True):
        np.testing.assert_array_equal(trimmed(wave), expected)
