"""Turns from probabilities against s3prl's own script and scipy's median filter, and RTTM there and back."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from oracles import import_s3prl
from scipy.signal import medfilt

from downstream.metrics.activity import turns
from downstream.metrics.turns import Turn, as_spans, as_turns, read_rttm, rttm_lines
from upstream.errors import DataError, MissingError, UsageError

LINE = "SPEAKER rec 1 0.42 3.16 <NA> <NA> anna <NA>"


def probabilities(seed, frames=400, speakers=2):
    """Noisy, with flickering, runs at both ends, some cells exactly at a threshold, and a speaker who never stops."""
    random = np.random.default_rng(seed)
    spoken = np.repeat(random.random((frames // 20 + 1, speakers)) > 0.5, 20, axis=0)[:frames]
    values = 1 / (1 + np.exp(-np.where(spoken, 1.5, -1.5) - 1.5 * random.standard_normal((frames, speakers))))
    values[random.random(values.shape) < 0.05] = 0.3
    values[:, -1] = 0.9 if seed % 3 == 0 else values[:, -1]
    return values.astype(np.float32)


def by_hand(posteriors, threshold, median, hop):
    """A plain loop over the frames that scipy's filter leaves."""
    decisions = np.where(posteriors > threshold, 1, 0)
    if median > 1:
        decisions = medfilt(decisions, (median, 1))
    found = []
    for speaker, frames in enumerate(decisions.T):
        start = None
        for frame, speaks in enumerate([*frames, 0]):
            if speaks and start is None:
                start = frame
            if not speaks and start is not None:
                printed = float(f"{start * hop / 16000:.2f}"), float(f"{(frame - start) * hop / 16000:.2f}")
                found.append(Turn(str(speaker), printed[0], sum(printed)))
                start = None
    return found


@pytest.fixture
def superb_lines(tmp_path, monkeypatch):
    """What s3prl's make_rttm.py prints of a recording; the HDF5 file that it opens is faked."""
    script = Path(import_s3prl("s3prl.downstream.diarization.utils").__file__).with_name("make_rttm.py")

    def lines(posteriors, threshold, median, hop):
        monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=lambda path, mode: {"T_hat": posteriors}))
        listed, out = tmp_path / "list", tmp_path / "out.rttm"
        listed.write_text("predictions/rec.h5\n")
        options = {"threshold": threshold, "median": median, "frame_shift": hop}
        monkeypatch.setattr(sys, "argv", ["", str(listed), str(out), *(f"--{k}={v}" for k, v in options.items())])
        runpy.run_path(str(script))
        return out.read_text().replace("rec_", "").splitlines()

    return lines


@pytest.mark.parametrize("hop", [160, 320, 80, 200, 256, 400])  # 80, 200 and 400 print halves of a hundredth
@pytest.mark.parametrize("median", [1, 11])
def test_turns_print_as_those_of_superb(superb_lines, median, hop):
    for seed in range(3):
        for threshold in (0.3, 0.5, 0.7):
            posteriors = probabilities(seed)
            ours = rttm_lines("rec", turns(posteriors, threshold, median, hop)).splitlines()
            theirs = superb_lines(posteriors, threshold, median, hop)
            assert len(theirs) > 4
            assert [line.split()[:9] for line in ours] == [line.split() for line in theirs]


@pytest.mark.filterwarnings("ignore:kernel_size exceeds volume extent")
@pytest.mark.parametrize("median", [1, 3, 11, 99])
@pytest.mark.parametrize(("frames", "speakers"), [(400, 2), (7, 3), (1, 1), (0, 2), (50, 0)])
def test_turns_are_those_of_a_loop_over_the_frames_of_scipys_filter(median, frames, speakers):
    for seed in range(8):
        posteriors = probabilities(seed, frames, max(speakers, 1))[:, :speakers]
        want = by_hand(posteriors, 0.5, median, 256) if posteriors.size else []
        assert turns(posteriors, 0.5, median, 256) == want


def test_the_threshold_comes_before_the_filter_and_the_threshold_itself_is_silence():
    posteriors = np.array([[0.9], [0.4], [0.4], [0.6], [0.6], [0.0]])
    assert turns(posteriors, 0.5, 3, 320) == [Turn("0", 0.06, 0.1)]
    assert turns(np.float32([[0.3], [0.5]]), 0.3, 1, 320) == [Turn("0", 0.02, 0.04)]  # float64 of float32's 0.3 is more


def test_the_filter_hears_silence_beyond_the_ends():
    assert turns(np.ones((5, 1)), 0.5, 11, 320) == []
    assert turns(np.ones((6, 1)), 0.5, 11, 320) == [Turn("0", 0.0, 0.12)]


def test_start_and_duration_are_rounded_each_for_itself():
    posteriors = np.zeros((6, 1))
    posteriors[1:3] = 1
    (turn,) = turns(posteriors, 0.5, 1, 256)  # 0.016 to 0.048 s: 0.02 and 0.03 are printed, which ends at 0.05
    assert (turn.start, turn.stop) == (0.02, 0.05)
    posteriors[3:5] = 1
    (turn,) = turns(posteriors, 0.5, 1, 256)  # to 0.080 s: 0.02 and 0.06
    assert (turn.start, turn.stop) == pytest.approx((0.02, 0.08))


def test_turns_too_short_to_be_printed_are_left_out():
    posteriors = np.array([[1], [0], [1], [1], [1]])
    (turn,) = turns(posteriors, 0.5, 1, 64)
    assert (turn.start, turn.stop) == (0.01, 0.02)


@pytest.mark.parametrize("median", [0, -1, 2, 10])
def test_a_median_of_even_length_is_refused(median):
    with pytest.raises(UsageError, match=f"odd number of frames, not {median}"):
        turns(probabilities(0), 0.5, median, 320)


@pytest.mark.parametrize("broken", [np.nan, -0.1, 1.5, np.inf])
def test_what_is_no_probability_is_refused(broken):
    posteriors = probabilities(0)
    posteriors[3, 1] = broken
    with pytest.raises(DataError, match="not all are probabilities"):
        turns(posteriors, 0.5, 1, 320)


def test_probabilities_of_one_speaker_need_their_axis_too():
    with pytest.raises(DataError, match=r"expected \(frames, speakers\), got the shape \(9,\)"):
        turns(np.zeros(9), 0.5, 1, 320)


def test_turns_survive_being_written_and_read(tmp_path):
    written = {f"rec{seed}": turns(probabilities(seed), 0.5, 1, 320) for seed in range(3)}
    path = tmp_path / "all.rttm"
    path.write_text("".join(rttm_lines(name, found) for name, found in written.items()))
    read = read_rttm(path)
    assert list(read) == list(written)
    for name, found in written.items():
        assert [turn.speaker for turn in read[name]] == [turn.speaker for turn in found]
        assert [(turn.start, turn.stop) for turn in read[name]] == [(turn.start, turn.stop) for turn in found]


def test_a_line_has_the_ten_fields_of_rttm():
    assert rttm_lines("rec", [Turn("anna", 0.42, 3.58)]) == "SPEAKER rec 1 0.42 3.16 <NA> <NA> anna <NA> <NA>\n"
    assert rttm_lines("rec", []) == ""


def test_spans_and_turns_are_the_same_thing():
    found = turns(probabilities(1, speakers=3), 0.5, 1, 320)
    assert as_turns(as_spans(found)) == found
    assert as_turns(as_spans([])) == []


def test_the_reader_takes_tabs_spaces_comments_and_other_types(tmp_path):
    path = tmp_path / "reference.rttm"
    path.write_text(
        "\ufeff;; made by hand\n"
        "SPKR-INFO rec 1 <NA> <NA> <NA> unknown anna <NA>\n"
        "\n"
        "SPEAKER\trec\t1\t0.38\t7.740000000000001\t<NA>\t<NA>\t6930\t<NA>\n"
        "SPEAKER other 1    0.50    0.25 <NA> <NA> bob <NA> <NA>\n"
        "  # another comment\n"
        "LEXEME rec 1 0.4 0.1 hello lex 6930 <NA>\r\n"
        "speaker rec 1 9 1e0 <NA> <NA> 6930 <NA>\r\n",
        encoding="utf-8",
    )
    assert read_rttm(path) == {
        "rec": [Turn("6930", 0.38, 0.38 + 7.740000000000001), Turn("6930", 9, 10)],
        "other": [Turn("bob", 0.5, 0.75)],
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE.replace("3.16", "0"), r"recording rec lasts '0'"),
        (LINE.replace("3.16", "-1"), r"recording rec lasts '-1'"),
        (LINE.replace("3.16", "nan"), r"recording rec lasts 'nan'"),
        (LINE.replace("3.16", "<NA>"), r"recording rec lasts '<NA>'"),
        (LINE.replace("3.16", "inf"), r"recording rec lasts 'inf'"),
        (LINE.replace("0.42", "-0.1"), r"recording rec starts at '-0.1'"),
        (LINE.replace("0.42", "NaN"), r"recording rec starts at 'NaN'"),
        (LINE.replace("0.42", "0,42"), r"recording rec starts at '0,42'"),
        ("SPEAKER rec 1 0.42 3.16 <NA> <NA> anna", r"9 fields or more, got 8"),
        (LINE.replace("SPEAKER", "SPAEKER"), r"no lines of type 'SPAEKER'"),
        ("NOSCORE rec 1 0.42 3.16 <NA> <NA> <NA> <NA>", r"NOSCORE takes time out of what is scored"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
    path = tmp_path / "broken.rttm"
    path.write_text(f"{LINE}\n;\n{line}\n")
    with pytest.raises(DataError, match=rf"broken\.rttm line 3: .*{message}.*\. Correct the line"):
        read_rttm(path)


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"no RTTM file at .*absent\.rttm"):
        read_rttm(tmp_path / "absent.rttm")
    (tmp_path / "binary.rttm").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"binary\.rttm is not UTF-8 text"):
        read_rttm(tmp_path / "binary.rttm")


@pytest.mark.parametrize(
    ("recording", "turn", "message"),
    [
        ("a b", Turn("anna", 0, 1), "the recording 'a b'"),
        ("rec", Turn("", 0, 1), "the speaker ''"),
        ("rec", Turn("anna\n", 0, 1), "the speaker 'anna"),
        ("rec", Turn("anna", 1.0, 1.004), "the turn of anna from 1.0 to 1.004 s has no length"),
        ("rec", Turn("anna", 2, 1), "no length"),
        ("rec", Turn("anna", 0, float("nan")), "no length"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(recording, turn, message):
    with pytest.raises(DataError, match=message):
        rttm_lines(recording, [turn])
