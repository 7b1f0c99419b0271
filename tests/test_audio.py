import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from upstream.audio import SAMPLE_RATE, AudioNotes, read_audio, read_header
from upstream.errors import DataError, MissingError

NOISE = np.random.default_rng(0).integers(-3000, 3000, size=16000).astype(np.int16)
WAV_HEADER = 44  # bytes, as soundfile writes it for 16-bit samples


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", NOISE, SAMPLE_RATE)
    return tmp_path / "a.wav"


@pytest.fixture
def flac(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.flac", NOISE, SAMPLE_RATE)
    return tmp_path / "a.flac"


def change(path: Path, at: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(bytes(content))
    return path


def refused(path: Path, *words: str) -> None:
    """Both ways of looking at a file refuse it, and say which file and why."""
    for look in (read_audio, read_header):
        with pytest.raises(DataError) as error:
            look(path)
        for word in (str(path), *words):
            assert word in str(error.value)


def test_int16_becomes_its_32768th_part(wav: Path, flac: Path) -> None:
    for path in (wav, flac):
        wave = read_audio(path)
        assert wave.dtype == np.float32
        assert wave.flags.c_contiguous
        np.testing.assert_array_equal(wave, NOISE.astype(np.float32) / 32768)


def test_full_scale_stays_in_range(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([-32768, 32767], dtype=np.int16), SAMPLE_RATE)
    assert read_audio(tmp_path / "a.wav").tolist() == [-1.0, 32767 / 32768]


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (100, 200), (15900, 16000), (0, None), (4000, None)])
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_part_is_the_same_as_in_the_whole(kind: str, start: int, stop: int | None, request) -> None:
    path = request.getfixturevalue(kind)
    np.testing.assert_array_equal(read_audio(path, start, stop), read_audio(path)[start:stop])


@pytest.mark.parametrize("rate", [8000, 44100])
def test_another_rate_is_resampled_and_counted(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate)
    notes = AudioNotes()
    wave = read_audio(tmp_path / "a.wav", notes=notes)
    assert notes == AudioNotes(files=1, resampled=1, mixed_down=0)
    assert len(wave) == SAMPLE_RATE
    middle = slice(1000, 15000)  # the filter rings at the edges
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    np.testing.assert_allclose(wave[middle], expected[middle], atol=1e-3)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 500, 900), wave[500:900])


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("frames", [8001, 12345])
def test_the_header_promises_no_more_samples_than_are_read(tmp_path: Path, rate: int, frames: int) -> None:
    soundfile.write(tmp_path / "a.wav", NOISE[:frames], rate)
    assert len(read_audio(tmp_path / "a.wav")) - read_header(tmp_path / "a.wav").samples in (0, 1)


def test_stereo_is_averaged_and_counted(tmp_path: Path) -> None:
    left, right = NOISE, NOISE[::-1]
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE)
    notes = AudioNotes()
    wave = read_audio(tmp_path / "a.wav", notes=notes)
    assert notes == AudioNotes(files=1, resampled=0, mixed_down=1)
    np.testing.assert_allclose(wave, (left / 32768 + right / 32768) / 2, atol=1e-7)


def test_notes_add_up(wav: Path) -> None:
    notes = AudioNotes()
    for _ in range(3):
        read_audio(wav, notes=notes)
    assert notes == AudioNotes(files=3)


def test_gain_is_in_decibels_of_amplitude(wav: Path) -> None:
    np.testing.assert_allclose(read_audio(wav, gain_db=-3.0), read_audio(wav) * 10 ** (-3 / 20), rtol=1e-6)


def test_header(wav: Path, flac: Path) -> None:
    for path in (wav, flac):
        header = read_header(path)
        assert (header.rate, header.channels, header.frames, header.samples) == (16000, 1, 16000, 16000)
        assert read_header(path).seconds == 1.0


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"b\.wav is missing"):
        read_audio(tmp_path / "b.wav")
    with pytest.raises(MissingError, match="is a folder"):
        read_audio(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    refused(tmp_path / "a.wav", "empty (0 bytes)")


def test_wav_that_is_only_a_header(wav: Path) -> None:
    wav.write_bytes(wav.read_bytes()[:WAV_HEADER])
    refused(wav, "truncated", "promises 32000 bytes", "0 are there")
    change(wav, 40, struct.pack("<I", 0))
    refused(wav, "no samples")


def test_wav_cut_in_its_header(wav: Path) -> None:
    wav.write_bytes(wav.read_bytes()[:30])
    refused(wav, "no audio, broken or cut short")


def test_wav_cut_in_its_samples(wav: Path) -> None:
    wav.write_bytes(wav.read_bytes()[:20000])
    refused(wav, "truncated", "promises 32000 bytes", "19956 are there")


@pytest.mark.parametrize("promised", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_from_a_pipe_is_read(wav: Path, promised: int) -> None:
    change(wav, 40, struct.pack("<I", promised))
    assert len(read_audio(wav)) == read_header(wav).samples == 16000


def test_wav_with_a_chunk_before_its_samples(wav: Path) -> None:
    content = wav.read_bytes()
    extra = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # an odd length is padded
    size = struct.pack("<I", len(content) + len(extra) - 8)
    whole = b"RIFF" + size + content[8:36] + extra + content[36:]
    wav.write_bytes(whole)
    np.testing.assert_array_equal(read_audio(wav), NOISE.astype(np.float32) / 32768)
    wav.write_bytes(whole[:-10])
    refused(wav, "truncated")


@pytest.mark.parametrize("left", [60, 9000])
def test_truncated_flac(flac: Path, left: int) -> None:
    flac.write_bytes(flac.read_bytes()[:left])
    refused(flac, "broken or cut short")


def test_flac_that_does_not_know_its_length(flac: Path) -> None:
    at = (
        8 + 13
    )  # of the 36 bits that count samples in the first block; the upper half of their first byte is not theirs
    change(flac, at, bytes([flac.read_bytes()[at] & 0xF0, 0, 0, 0, 0]))
    refused(flac, "does not say how long it is")


def test_text_under_a_wav_name(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("404 not found\n" * 20)
    refused(tmp_path / "a.wav", "no audio")


def test_nan_is_counted(tmp_path: Path) -> None:
    wave = np.zeros(100, dtype=np.float32)
    wave[[5, 7]] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"a\.wav holds 2 NaN or infinite samples of 100"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(("start", "stop"), [(15990, 16001), (16000, None), (5, 5), (-1, 10)])
def test_a_part_that_is_not_there(wav: Path, start: int, stop: int | None) -> None:
    with pytest.raises(DataError, match="has 16000 samples"):
        read_audio(wav, start, stop)


def test_a_part_that_is_not_there_after_resampling(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", NOISE[:8000], 8000)
    with pytest.raises(DataError, match="has 16000 samples"):
        read_audio(tmp_path / "a.wav", 100, 16001)


def test_reading_audio_does_not_import_torch() -> None:
    code = "import upstream.audio, downstream.corpora.check, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
