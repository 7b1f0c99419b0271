"""Pictures of waves read back pixel by pixel, and audio read back by another library."""

import importlib.util
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from scipy.io import wavfile

from benchmark import pictures
from benchmark.pictures import HOW_TO_GET, audio_bytes, spectrogram_picture
from upstream.errors import DataError, ResourceError


def tone(hertz, seconds=1.0, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(16000 * seconds)) / 16000)).astype(np.float32)


def drawn(path, waves):
    assert spectrogram_picture(path, waves)
    return Image.open(path)


def panels_of(picture):
    """The pixels of each panel from the top down, all colours added up, by the black lines around it."""
    pixels = np.asarray(picture.convert("RGB")).astype(int).sum(axis=2)
    left = 20 + (pixels[:, 20:100] < 50).sum(axis=0).argmax()
    panels = []
    for top, bottom in runs(pixels[:, left] < 50):
        if bottom - top > 50:  # or else it is a letter
            _, right = next(runs(pixels[top, left:] < 50))
            while not (pixels[bottom - 1, left : left + right] < 50).all():  # a tick goes on below
                bottom -= 1
            panels.append(pixels[top + 2 : bottom - 2, left + 2 : left + right - 2])
    return panels


def runs(there):
    """Where each run of what is there begins and ends."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there, [0]]).astype(int)))
    yield from edges.reshape(-1, 2)


def loudest_kilohertz(panel):
    return 8 * (1 - (panel.sum(axis=1).argmax() + 0.5) / len(panel))


# Pictures


def test_every_wave_has_a_panel_in_order_with_its_frequencies_in_place(tmp_path):
    picture = drawn(tmp_path / "p.png", {"mixture": tone(1000), "estimate 1": tone(3000), "source 1": tone(6500)})
    assert picture.format == "PNG"
    found = [loudest_kilohertz(panel) for panel in panels_of(picture)]
    assert found == pytest.approx([1, 3, 6.5], abs=0.1)


def test_all_panels_have_one_scale(tmp_path):
    """20 dB softer is 20 colours of 60 darker, and the loudest is as good as at the top."""
    colours = (255 * colormaps["magma"](np.linspace(0, 1, 60))[:, :3]).sum(axis=1)
    levels = [
        np.abs(colours - np.median(panel[panel.sum(axis=1).argmax()])).argmin()
        for panel in panels_of(drawn(tmp_path / "p.png", {"loud": tone(2000), "soft": tone(2000, level=0.05)}))
    ]
    assert levels[0] >= 55
    assert levels[0] - levels[1] == pytest.approx(20, abs=1)


def test_time_runs_to_the_end_of_the_longest(tmp_path):
    click = np.zeros(32000, np.float32)
    click[24000:24100] = 0.5
    whole, half = panels_of(drawn(tmp_path / "p.png", {"click": click, "half": tone(2000, 1.0) * 0.001}))
    assert whole.sum(axis=0).argmax() / whole.shape[1] == pytest.approx(0.75, abs=0.03)
    assert (half[:, int(0.55 * half.shape[1]) :] > 700).mean() > 0.99  # after its end there is white paper


def test_a_picture_is_small_whatever_the_length(tmp_path):
    rng = np.random.default_rng(0)
    for seconds in (10, 60):
        noise = {f"noise {i}": 0.1 * rng.standard_normal(16000 * seconds).astype(np.float32) for i in range(5)}
        picture = drawn(tmp_path / "p.png", noise)
        assert picture.size == (1000, 950)
        assert (tmp_path / "p.png").stat().st_size < 600_000


def test_silent_empty_and_tiny_waves_are_drawn(tmp_path):
    waves = {"silent": np.zeros(16000), "empty": np.zeros(0), "tiny": np.ones(5)}
    assert spectrogram_picture(tmp_path / "p.png", waves)
    assert spectrogram_picture(tmp_path / "q.png", {"silent": np.zeros(16000)})
    assert spectrogram_picture(tmp_path / "r.png", {"empty": np.zeros(0)})


def test_what_is_in_the_way_is_told(tmp_path):
    with pytest.raises(DataError, match="estimate 2 holds NaN"):
        spectrogram_picture(tmp_path / "p.png", {"fine": tone(100), "estimate 2": np.array([0, np.nan])})
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        spectrogram_picture(tmp_path / "file" / "p.png", {"fine": tone(100)})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_matplotlib_there_is_none(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(pictures, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert not spectrogram_picture(tmp_path / "p.png", {"fine": tone(100)})
    assert list(tmp_path.iterdir()) == []
    assert HOW_TO_GET.endswith("pip install 'sslbench[plots]'")


def test_the_state_of_matplotlib_is_left_alone(tmp_path):
    program = f"""
import sys, numpy as np
from pathlib import Path
from benchmark.pictures import spectrogram_picture
assert "matplotlib" not in sys.modules
spectrogram_picture(Path({str(tmp_path)!r}) / "p.png", {{"noise": np.random.default_rng(0).standard_normal(8000)}})
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


# Audio


def heard(wave):
    content, gain = audio_bytes(wave)
    rate, samples = wavfile.read(BytesIO(content))
    assert (rate, samples.dtype) == (16000, np.int16)
    return samples, gain


def test_sixteen_bits_come_back_to_the_last():
    every = np.arange(-32768, 32768).astype(np.int16)
    samples, gain = heard((every / 32768).astype(np.float32))
    assert gain == 1
    np.testing.assert_array_equal(samples, every)


def test_a_wave_up_to_full_scale_is_not_turned_down():
    samples, gain = heard(np.array([1.0, -1.0, 0.25]))
    assert gain == 1
    assert samples.tolist() == [32767, -32768, 8192]


def test_a_louder_one_is_turned_down_as_a_whole():
    wave = tone(300, level=2.5)
    samples, gain = heard(wave)
    assert gain == pytest.approx(0.4, abs=1e-4)
    assert np.abs(samples - wave * gain * 32768).max() <= 1
    assert np.abs(samples.astype(int)).max() >= 32767


def test_an_empty_wave_is_a_file_and_a_nan_is_refused():
    samples, gain = heard(np.zeros(0))
    assert (len(samples), gain) == (0, 1)
    with pytest.raises(DataError, match="NaN"):
        audio_bytes(np.array([0.0, np.nan]))
