"""Frame arithmetic against counting one by one."""

import pytest
import torch

from upstream.frames import centred_frames, masked_mean, snip_edges_frames, valid_mask


@pytest.mark.parametrize(("window", "hop"), [(400, 160), (400, 320), (7, 3), (3, 5)])
def test_snip_edges_counts_the_windows_that_fit(window, hop):
    for samples in range(0, 4 * window):
        starts = range(0, samples, hop)
        assert snip_edges_frames(samples, window, hop) == sum(start + window <= samples for start in starts)


@pytest.mark.parametrize(("fft", "hop"), [(400, 160), (512, 320)])
def test_centred_frames_are_those_of_torch_stft(fft, hop):
    window = torch.hann_window(fft)
    for samples in range(fft // 2 + 1, fft + 2 * hop, 41):
        frames = torch.stft(torch.zeros(samples), fft, hop, window=window, return_complex=True).shape[1]
        assert centred_frames(samples, hop) == frames


def test_convolutions_are_snip_edges_frames():
    layers = [(10, 5)] + [(3, 2)] * 4 + [(2, 2)] * 2
    for samples in (*range(400, 1400), 16000, 59999):
        frames = samples
        for kernel, stride in layers:
            frames = snip_edges_frames(frames, kernel, stride)
        assert frames == snip_edges_frames(samples, 400, 320)


def test_valid_mask():
    assert valid_mask(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 3, 5, 4)])
def test_masked_mean_ignores_padding_whatever_it_holds(shape):
    frames = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    frames[0, ..., 2:, :] = float("nan")
    means = masked_mean(frames, torch.tensor([2, 5]))
    expected = torch.stack([frames[0, ..., :2, :].mean(-2), frames[1].mean(-2)])
    assert means.dtype == torch.float32
    torch.testing.assert_close(means, expected)
