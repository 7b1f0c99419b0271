"""MP3 files of every kind: their length is right without decoding, or they are refused and it is said why."""

from io import BytesIO
from itertools import product

import numpy as np
import pytest
import soundfile

from upstream.audio import SAMPLE_RATE, AudioNotes, read_audio, read_header
from upstream.errors import DataError

ID3V2 = b"ID3\4\0\0\0\0\x01\x00" + b"TSSE\0\0\0\x0f\0\0\3Lavf58.45.100\0" + bytes(103)  # 128 bytes behind the first 10
ID3V2_WITH_FOOTER = b"ID3\4\0\x10\0\0\0\x0a" + bytes(10) + b"3DI\4\0\x10\0\0\0\x0a"
ID3V1 = b"TAG" + b"a title".ljust(125, b"\0")
RATES = (16000, 22050, 32000, 44100, 48000)


def encoded(rate=SAMPLE_RATE, channels=1, mode="CONSTANT", level=0.5, seconds=0.7):
    """Noise that gets louder, so that a variable bit rate varies. A high level is a low bit rate."""
    loudness = np.linspace(0, 0.2, int(rate * seconds))
    noise = np.random.default_rng(0).normal(size=(len(loudness), channels)) * loudness[:, None]
    content = BytesIO()
    soundfile.write(content, noise, rate, format="MP3", bitrate_mode=mode, compression_level=level)
    return content.getvalue()


def tag_of(data):
    return data.index(b"Info") if b"Info" in data[:64] else data.index(b"Xing", 0, 64)


def untagged(data):
    """Without its first frame, in which the encoder put the tag."""
    return data[data.index(data[:2], tag_of(data) + 120) :]  # the tag is that long, and anything may be in it


def samples_of(data, rate):
    """As the encoder counted them in the tag: with what it padded at both ends."""
    at = tag_of(data)
    return int.from_bytes(data[at + 8 : at + 12], "big") * (1152 if rate >= 32000 else 576)


def refused(path, *words):
    for look in (read_audio, read_header):
        with pytest.raises(DataError) as error:
            look(path)
        for word in (str(path), *words):
            assert word in str(error.value)


@pytest.fixture
def mp3(tmp_path):
    def write(content):
        (tmp_path / "a.mp3").write_bytes(content)
        return tmp_path / "a.mp3"

    return write


def check_lengths(mp3, content, rate, channels, frames):
    for before, after in product((b"", ID3V2, ID3V2_WITH_FOOTER + ID3V2 + bytes(5)), (b"", ID3V1)):
        path, notes = mp3(before + content + after), AudioNotes()
        header, wave = read_header(path), read_audio(path, notes=notes)
        assert (header.rate, header.channels, header.frames) == (rate, channels, frames)
        assert len(wave) - header.samples in (0, 1)
        assert notes == AudioNotes(1, int(rate != SAMPLE_RATE), channels - 1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_length_of_tagged_files(mp3, rate, channels):
    for mode in ("CONSTANT", "VARIABLE"):
        check_lengths(mp3, encoded(rate, channels, mode), rate, channels, int(rate * 0.7))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_length_of_untagged_files(mp3, rate, channels):
    high, low = (encoded(rate, channels, level=level) for level in (0.2, 0.6))
    constant, variable = untagged(low), untagged(low) + untagged(high)
    check_lengths(mp3, constant, rate, channels, samples_of(low, rate))
    check_lengths(mp3, variable, rate, channels, samples_of(high, rate) + samples_of(low, rate))


def test_an_untagged_file_has_the_sound_of_the_tagged_one(mp3):
    data = encoded()
    whole = read_audio(mp3(data))
    padded = read_audio(mp3(ID3V2 + untagged(data)))
    delay = 1105  # of the encoder, which the tag tells and nothing else
    np.testing.assert_allclose(padded[delay + 2000 :][:5000], whole[2000:7000], atol=1e-6)


@pytest.mark.parametrize("before", [b"", ID3V2])
def test_a_tag_that_does_not_tell_the_length(mp3, before):
    data = bytearray(encoded())
    data[tag_of(data) + 7] &= 0b1110  # the flag for the number of frames
    path = mp3(before + data)
    assert len(read_audio(path)) == read_header(path).samples == samples_of(data, SAMPLE_RATE)


@pytest.mark.parametrize("rate", RATES)
def test_an_untagged_file_that_would_not_be_read_to_its_end_is_refused(mp3, rate):
    high, low = (encoded(rate, level=level) for level in (0.2, 0.6))
    path = mp3(untagged(high) + untagged(low))
    held, offered = samples_of(low, rate) + samples_of(high, rate), soundfile.info(path).frames
    assert len(soundfile.read(path)[0]) == offered < held
    refused(path, f"only {offered} of its {held} samples would be read", "Encode it again")


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (5000, 6001), (11000, None)])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_part_is_the_same_as_in_the_whole(mp3, rate, start, stop):
    path = mp3(ID3V2 + untagged(encoded(rate)))
    np.testing.assert_array_equal(read_audio(path, start, stop), read_audio(path)[start:stop])
    with pytest.raises(DataError, match=f"has {len(read_audio(path))} samples"):
        read_audio(path, 5, 20000)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_nothing_is_said_on_stderr(mp3, rate, capfd):
    path = mp3(ID3V2 + untagged(encoded(rate)))
    read_header(path)
    read_audio(path, 5000, 6000)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("cut", [1, 40, 3100])
@pytest.mark.parametrize("before", [b"", ID3V2])
def test_a_file_that_was_cut_short_is_refused(mp3, before, cut):
    data = encoded()
    for content in (data, untagged(data)):
        refused(mp3(before + content[:-cut]), "is truncated", "Copy the file again")


def test_a_cut_between_two_frames_shows_in_a_tagged_file_only(mp3):
    data = encoded()
    frame = len(untagged(data)) * 576 // samples_of(data, SAMPLE_RATE)
    held = samples_of(data, SAMPLE_RATE)
    refused(mp3(data[:-frame]), "is truncated", f"{held - 576} of {held} samples")
    refused(mp3(untagged(data)[: 2 - frame]), "is truncated", "ends in the header of a frame")
    assert read_header(mp3(untagged(data)[:-frame])).frames == held - 576


def test_garbage_is_refused(mp3):
    data, noise = encoded(), np.random.default_rng(0).bytes(20000)
    refused(mp3(noise), "no audio")
    refused(mp3(ID3V2 + noise), "no audio")
    refused(mp3(ID3V2), "no audio")
    refused(mp3(data[:3000] + noise), "is broken at byte", "no MP3 frame begins there")
    refused(mp3(untagged(data) + b"404 not found"), "is broken at byte", "no MP3 frame begins there")
    refused(mp3(untagged(data) + untagged(encoded(22050))), "is broken at byte")


def test_two_files_in_one(mp3):
    data = encoded()
    frames = samples_of(data, SAMPLE_RATE)
    refused(mp3(data + untagged(data)), f"holds {2 * frames} samples, its own tag says {frames}")
    assert read_header(mp3(untagged(data) * 2)).frames == 2 * frames
