"""Spectra and waves against scipy's, with the ends treated as librosa 0.8 did; and against librosa where it is."""

import numpy as np
import pytest
import scipy.signal
import torch

from downstream.fit.spectra import WINDOW, istft, opened, stft, without_click
from upstream.errors import DataError, UsageError
from upstream.frames import centred_frames

HALF = WINDOW // 2
HOPS = [320, 160]
LENGTHS = [16000, 16001, 16159, 16255, 16256, 16257, 16319]
SHORT = [1, 2, 3, 100, 256, 257, 319, 511, 512, 513]
hops = pytest.mark.parametrize("hop", HOPS)


def make_wave(samples, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=0.1, size=samples).astype(np.float32))


def make_spectrum(samples, hop, seed=0):
    """No wave has this spectrum: as after masking, frames that overlap contradict each other."""
    numbers = np.random.default_rng(seed).normal(size=(2, centred_frames(samples, hop), HALF + 1))
    return torch.complex(*torch.from_numpy(numbers.astype(np.float32)))


def their_stft(wave, hop, padding="reflect"):
    padded = np.pad(wave.double().numpy(), HALF, mode=padding)
    shape = {"nperseg": WINDOW, "noverlap": WINDOW - hop, "window": "hann"}
    _, _, spectrum = scipy.signal.stft(padded, **shape, boundary=None, padded=False, scaling="spectrum")
    return torch.from_numpy(spectrum.T) * HALF  # scipy divides by the sum of the window


def their_istft(spectrum, hop, samples):
    shape = {"nperseg": WINDOW, "noverlap": WINDOW - hop, "window": "hann"}
    _, wave = scipy.signal.istft(spectrum.numpy().astype(complex).T, **shape, boundary=False, scaling="spectrum")
    wave = wave[HALF : HALF + samples] / HALF
    return torch.from_numpy(np.pad(wave, (0, samples - len(wave))))


def assert_close(ours, theirs, tolerance=1e-6):
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


@hops
@pytest.mark.parametrize("samples", LENGTHS + SHORT)
def test_spectra_are_those_of_a_reflected_wave(samples, hop):
    wave = make_wave(samples)
    spectrum = stft(wave, hop)
    assert spectrum.dtype == torch.complex64
    assert len(spectrum) == centred_frames(samples, hop)
    assert_close(spectrum, their_stft(wave, hop))


@hops
def test_padding_with_zeros_as_newer_librosa_does_changes_the_frames_at_the_ends_alone(hop):
    wave = make_wave(16000)
    off = (stft(wave, hop) - their_stft(wave, hop, "constant")).abs().amax(1) / stft(wave, hop).abs().max()
    centres = torch.arange(len(off)) * hop
    cut = (centres < HALF) | (centres > 16000 - HALF)
    assert 1 < cut.sum() <= 4
    assert (off[cut] > 0.01).all()
    assert (off[~cut] < 1e-6).all()


@hops
@pytest.mark.parametrize("samples", LENGTHS + SHORT)
@pytest.mark.filterwarnings("ignore:NOLA")  # scipy's: the window is zero at the very first sample, which is cut off
def test_waves_of_masked_spectra_are_those_of_scipy_down_to_the_last_sample(samples, hop):
    spectrum = make_spectrum(samples, hop)
    wave, expected = istft(spectrum, hop, samples), their_istft(spectrum, hop, samples)
    assert wave.dtype == torch.float32
    assert_close(wave, expected)
    torch.testing.assert_close(wave.double(), expected, rtol=1e-6, atol=1e-6)  # not of the loudest: of each


@hops
@pytest.mark.parametrize("samples", LENGTHS + SHORT)
def test_a_spectrum_as_it_is_gives_its_wave_back_as_far_as_frames_reach(samples, hop):
    wave = make_wave(samples)
    reached = (centred_frames(samples, hop) - 1) * hop + HALF
    expected = torch.where(torch.arange(samples) < reached, wave, 0)
    back = istft(stft(wave, hop), hop, samples)
    exact = reached - 32  # what comes after is a spectrum's rounding, divided by almost zero
    assert_close(back[:exact], expected[:exact])
    assert not back[reached:].any()
    assert len(back) == samples


def test_the_last_samples_of_a_masked_spectrum_are_loud_where_no_other_frame_follows():
    spectrum = make_spectrum(16255, 320)
    wave = istft(spectrum, 320, 16255)
    assert wave[-8:].abs().max() > 20 * wave[:-256].abs().max()
    assert torch.from_numpy(without_click(wave.numpy()))[-8:].abs().max() == 0


@hops
def test_no_warning_where_a_wave_is_longer_than_its_frames_reach(hop, recwarn):
    istft(make_spectrum(16319, hop), hop, 16319)
    assert not recwarn.list


def test_what_is_wanted_is_never_negative_nor_more_than_the_source():
    wave, source = make_wave(4000), make_wave(4000, seed=1)
    mixture = opened(wave + source, [wave, source], 160)
    assert mixture.wanted.shape == (2, 26, 257)
    assert (mixture.wanted >= 0).all()
    assert (mixture.wanted[0] <= stft(wave, 160).abs() * (1 + 1e-6)).all()
    assert_close(opened(wave, [wave], 160).wanted[0], stft(wave, 160).abs())
    assert not opened(wave, [-wave], 160).wanted.any()


def test_sources_of_another_length_are_refused():
    with pytest.raises(DataError, match="source 2 has 3999 samples and its mixture 4000"):
        opened(make_wave(4000), [make_wave(4000), make_wave(3999)], 320)


def test_a_mixture_whose_sources_nobody_knows_can_be_opened():
    mixture = opened(make_wave(4000), [], 320)
    assert mixture.spectrum.shape == (13, 257)
    assert mixture.wanted.shape == (0, 13, 257)


@pytest.mark.parametrize("hop", [0, 512, 640])
def test_windows_that_do_not_overlap_are_refused(hop):
    with pytest.raises(UsageError, match=f"every {hop} samples"):
        stft(make_wave(4000), hop)
    with pytest.raises(UsageError, match="smaller hop"):
        istft(make_spectrum(4000, 320), hop, 4000)


def test_a_wave_of_nothing_is_refused():
    with pytest.raises(DataError, match="no samples"):
        stft(make_wave(0), 320)


@hops
@pytest.mark.filterwarnings("ignore:n_fft")
@pytest.mark.parametrize("samples", LENGTHS + SHORT[2:])
def test_both_ways_are_those_of_librosa(samples, hop):
    librosa = pytest.importorskip("librosa")
    wave, shape = make_wave(samples), {"hop_length": hop, "win_length": WINDOW, "window": "hann", "center": True}
    theirs = librosa.stft(wave.double().numpy(), n_fft=WINDOW, pad_mode="reflect", **shape)
    assert_close(stft(wave, hop), torch.from_numpy(theirs.T))
    spectrum = make_spectrum(samples, hop)
    back = librosa.istft(spectrum.numpy().astype(complex).T, length=samples, **shape)
    assert_close(istft(spectrum, hop, samples), torch.from_numpy(back))
