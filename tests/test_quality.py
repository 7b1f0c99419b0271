"""STOI and PESQ: the libraries' own numbers, alone and through the processes that measure many; and how those end."""

import importlib.util
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pesq as pesq_library
import pystoi
import pytest

from downstream.metrics import quality, quality_workers
from downstream.metrics.quality import available, clipped, pesq, stoi
from downstream.metrics.quality_workers import Pair, QualityWorkers
from upstream.errors import BenchmarkError, DataError, MissingError


def spoken(rng, samples=16000):
    """Noise in bursts of a twentieth of a second, which both libraries take for speech."""
    bursts = np.repeat(rng.random(samples // 800 + 1) > 0.2, 800)[:samples]
    return (0.1 * bursts * rng.standard_normal(samples)).astype(np.float32)


def noisy(wave, rng, level):
    return (wave + level * rng.standard_normal(len(wave))).astype(np.float32)


def several(count, seed=0):
    """Pairs of different lengths, from clean to noisy."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        wave = spoken(rng, int(rng.integers(14000, 20000)))
        pairs.append(Pair(f"p{number}", wave, noisy(wave, rng, rng.uniform(0, 0.2))))
    return pairs


def by_the_libraries(pair):
    return {
        "stoi": float(pystoi.stoi(pair.reference, pair.estimate, 16000, extended=False)),
        "pesq": pesq_library.pesq(16000, pair.reference, pair.estimate, "wb"),
    }


@pytest.fixture(scope="module")
def shared():
    """Two processes for all tests that do not end them."""
    with QualityWorkers(2) as workers:
        yield workers


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# One pair


def test_the_numbers_are_the_libraries_own():
    values = [by_the_libraries(pair) for pair in several(6)]
    assert [{"stoi": stoi(*pair[1:]), "pesq": pesq(*pair[1:])} for pair in several(6)] == values
    assert len({value["pesq"] for value in values}) == 6


def test_samples_of_another_type_are_measured_as_float32(rng):
    wave = spoken(rng)
    other = noisy(wave, rng, 0.05)
    assert stoi(wave.astype(float), other.astype(float)) == pystoi.stoi(wave, other, 16000)
    assert pesq(wave[::-1], other[::-1]) == pesq_library.pesq(16000, wave[::-1].copy(), other[::-1].copy(), "wb")


def test_what_the_libraries_cannot_measure_is_undefined(rng):
    wave = spoken(rng)
    silence = np.zeros_like(wave)
    burst = silence.copy()
    burst[4000:5000] = wave[4000:5000] + 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in (0, 10, 300, 3000):
            assert stoi(wave[:length], wave[:length]) is None
            assert pesq(wave[:length], wave[:length]) is None
        assert stoi(burst, wave) is None  # of silent stretches nothing is compared, and too little is left
        for estimate in (silence, wave):
            assert stoi(silence, estimate) is None
            assert pesq(silence, estimate) is None


def test_stoi_is_defined_from_the_length_at_which_the_library_defines_it(rng):
    wave = rng.standard_normal(8000).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        defined = [n for n in range(6500, 6600) if pystoi.stoi(wave[:n], wave[:n], 16000) != 1e-5]
    assert [n for n in range(6500, 6600) if stoi(wave[:n], wave[:n]) is not None] == defined == list(range(6554, 6600))


def test_a_silent_estimate_is_the_worst_and_not_left_out(rng):
    wave = spoken(rng)
    assert stoi(wave, np.zeros_like(wave)) == 0
    assert pesq(wave, np.zeros_like(wave)) == 1 < pesq(wave, noisy(wave, rng, 1.0))


def test_waves_that_cannot_be_compared_are_refused(rng):
    wave = spoken(rng)
    broken = wave.copy()
    broken[7] = np.nan
    for measure in (stoi, pesq):
        with pytest.raises(DataError, match=r"reference has the shape \(16000,\).*estimate \(15999,\)"):
            measure(wave, wave[1:])
        with pytest.raises(DataError, match="the estimate holds NaN"):
            measure(wave, broken)


def test_what_is_missing_is_told(monkeypatch):
    assert available() == {"stoi": None, "pesq": None}
    monkeypatch.setattr(quality, "find_spec", lambda name: None if name == "pesq" else importlib.util.find_spec(name))
    missing = available()
    assert missing["stoi"] is None
    assert missing["pesq"] == "pesq is not installed. Type: pip install 'sslbench[quality]'"
    with pytest.raises(MissingError, match=r"PESQ cannot be measured.*pip install 'sslbench\[quality\]'"):
        pesq(np.zeros(1), np.zeros(1))
    with QualityWorkers(1) as workers, pytest.raises(MissingError, match="PESQ"):
        workers.measure(several(1))


def test_samples_beyond_full_scale_are_counted():
    assert clipped(np.array([0.5, 1.0, -1.0])) == 0
    assert clipped(np.array([1.5, 1.0, -1.01, 0])) == 2
    assert clipped(np.zeros(0)) == 0


# Many pairs


def test_many_are_measured_in_order_to_the_last_digit(shared):
    pairs = several(30)
    values = [by_the_libraries(pair) for pair in pairs]
    assert shared.measure(iter(pairs)) == values
    processes = [process.pid for process in shared._processes]
    assert shared.measure(pairs[:3], ("pesq",)) == [{"pesq": value["pesq"]} for value in values[:3]]
    assert shared.measure([]) == []
    assert [process.pid for process in shared._processes] == processes  # the same ones serve all calls


def test_undefined_values_come_through(shared, rng):
    wave = spoken(rng)
    pairs = [Pair("silent", np.zeros_like(wave), wave), Pair("empty", wave[:0], wave[:0]), *several(1)]
    nothing = {"stoi": None, "pesq": None}
    assert shared.measure(pairs) == [nothing, nothing, by_the_libraries(pairs[2])]


def test_pairs_are_asked_for_a_few_ahead(shared, monkeypatch):
    taken, ahead = [], []
    collect = shared._collect

    def counting(results):
        ahead.append(len(taken) - len(ahead))
        collect(results)

    monkeypatch.setattr(shared, "_collect", counting)
    shared.measure((taken.append(0) or pair for pair in several(20)), ("stoi",))
    assert max(ahead) == 2 * quality_workers._AHEAD + 1


def test_a_broken_pair_is_named_and_the_next_call_is_not_confused():
    good = several(4)
    bad = Pair("p258_004", good[0].reference, good[0].reference[1:])
    with QualityWorkers(1) as workers:
        with pytest.raises(DataError, match="p258_004: the reference has the shape"):
            workers.measure([*good[:2], bad], ("pesq",))
        values = [{"pesq": by_the_libraries(pair)["pesq"]} for pair in good[2:]]
        assert workers.measure(good[2:], ("pesq",)) == values


def test_a_wave_that_pesq_does_not_survive_is_named(rng):
    """It has room for 50 stretches of speech; 60 half seconds of it make the process crash."""
    wave = 0.1 * rng.standard_normal(16000 * 60) * (np.arange(16000 * 60) // 8000 % 2)
    with (
        QualityWorkers(1) as workers,
        pytest.raises(BenchmarkError, match=r"long: .*ended with SIG(SEGV|ABRT).*more than about 50 stretches"),
    ):
        workers.measure([*several(1), Pair("long", wave, wave)], ("pesq",))


def test_a_process_that_is_killed_is_an_error():
    with QualityWorkers(1) as workers:
        workers.measure(several(1), ("pesq",))
        workers._processes[0].kill()
        with pytest.raises(BenchmarkError, match=r"p0: .*ended with SIGKILL\. If the machine is short of memory"):
            workers.measure(several(3), ("pesq",))


def test_an_error_in_the_program_comes_with_what_it_wrote(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/ls")  # which knows no option -P, and says so
    with (
        QualityWorkers(1) as workers,
        pytest.raises(BenchmarkError, match=r"p0: (.|\n)*ended with code 2(.|\n)*ls: "),
    ):
        workers.measure(several(1))


def test_an_error_in_a_library_comes_with_its_traceback(shared):
    with pytest.raises(BenchmarkError, match=r"p0: (.|\n)*KeyError: 'visqol'"):
        shared.measure(several(1), ("visqol",))


def test_processes_end_with_the_block_and_with_an_error_of_the_caller():
    def interrupted():
        yield from several(3)
        raise KeyboardInterrupt

    with QualityWorkers(2) as workers:
        workers.measure(several(1), ("pesq",))
        first = [process.pid for process in workers._processes]
        with pytest.raises(KeyboardInterrupt):
            workers.measure(interrupted(), ("pesq",))
        assert not any(map(runs, first))
        workers.measure(several(1), ("pesq",))
        second = [process.pid for process in workers._processes]
        assert all(map(runs, second))
    assert not any(map(runs, second))


@pytest.mark.parametrize("busy", [True, False])
def test_processes_end_when_their_caller_is_killed(busy):
    program = f"""
import json, sys, time
import numpy as np
from downstream.metrics.quality_workers import Pair, QualityWorkers
wave = np.random.default_rng(0).standard_normal(160000)
pairs = [Pair("p", wave, wave)] * (1000 if {busy} else 1)
with QualityWorkers(2) as workers:
    workers.measure(pairs[:1], ("pesq",))
    print(json.dumps([process.pid for process in workers._processes]), flush=True)
    workers.measure(pairs, ("pesq",))
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as caller:
        processes = json.loads(caller.stdout.readline())
        assert all(map(runs, processes))
        caller.kill()
    assert becomes(lambda: not any(map(runs, processes)))


def test_the_processes_do_without_torch():
    program = "import sys, downstream.metrics.quality_worker; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_there_are_as_many_processes_as_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    with QualityWorkers() as workers:
        assert workers._count == 1


def runs(process: int) -> bool:
    """Whether there is such a process and it has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def becomes(condition) -> bool:
    """Whether it holds within five seconds."""
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False
