"""The tables of docs/scaling.md are what bench/scaling.py prints, and what it computes can be followed by hand."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "bench"))  # last, as names there are short
scaling, superb_hours, superb_work = map(import_module, ("scaling", "superb_hours", "superb_work"))
sys.path.remove(str(ROOT / "bench"))
BASE, LARGE, measured = superb_hours.BASE, superb_hours.LARGE, superb_hours.measured


@pytest.fixture(scope="module")
def works():
    return superb_work.works()


def test_the_document_has_the_tables_of_the_script():
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert scaling.placed(text) == text, "type: python bench/scaling.py docs/scaling.md"


def test_a_table_takes_the_place_of_the_old_one_and_touches_nothing_else():
    names = [make.__name__ for make in scaling.TABLES]
    text = "".join(f"before {name}\n\n<!-- {name} -->\n| old |\n| table |\n\nafter {name}\n" for name in names)
    found = scaling.placed(text)
    assert "old" not in found
    assert scaling.placed(found) == found
    for name in names:
        assert f"before {name}\n\n<!-- {name} -->\n| " in found and f"|\n\nafter {name}\n" in found


def test_a_document_without_a_place_for_a_table_is_refused():
    with pytest.raises(SystemExit, match="rates"):
        scaling.placed("nothing\n")


def test_the_peer_hears_ks_at_every_step_and_rate(works):
    # 7 x (200,000 steps x 32 clips of 1 s + 40 looks at 6,798 + 3,081 clips + 3,081 clips at the end), in hours
    by_hand = 7 * (200_000 * 32 + 40 * (6798 + 3081) + 3081) / 3600
    assert works["ks"].peer_hours(13) == pytest.approx(by_hand)
    assert works["ks"].live_hours() == pytest.approx((200_000 * 32 + 40 * 6798 + 3081) / 3600)


def test_crops_folds_and_second_trainings_count(works):
    assert works["sid"].utterance_seconds == 8.0  # of 8.25 on average
    assert works["er"].trainings == works["er"].peer_trainings == 5
    assert (works["asv"].trainings, works["asv"].peer_trainings) == (2, 1)
    assert works["qbe"].peer_hours(25) == 25 * works["qbe"].corpus.hours


def test_what_is_kept_is_what_the_store_takes(works):
    # an hour of frames: 180,000 of 13 x 768 half-precision numbers
    assert superb_work.frames_gigabytes(1, 13, 768) == pytest.approx(3.594, abs=0.001)
    assert superb_work.frames_gigabytes(1, 25, 1024) == pytest.approx(9.216)
    # means: 13 norms and 13 x 768 numbers of 4 bytes, 39 KiB
    assert works["ic"].kept_gigabytes(13, 768) == pytest.approx(30043 * 4 * 13 * 769 / 1e9)


def test_multiply_adds_are_those_of_the_heads(works):
    from downstream.fit.diarization_head import FrameLSTM
    from downstream.fit.mask_head import MaskLSTM
    from downstream.fit.sequence_heads import FrameLinear, Recurrent
    from downstream.fit.xvector import XVector

    heads = {
        "pr": FrameLinear(768, 256, 74),
        "asr": Recurrent(768, 1024, 1024, 2, 0.2, False, 1, 32),
        "ood-asr-zh": Recurrent(768, 1024, 1024, 2, 0.2, True, 1, 4320),
        "sd": FrameLSTM(768, 512, 1, 2),
        "ss": MaskLSTM(768, 896, 3, 0.5, 2),
        "se": MaskLSTM(768, 896, 3, 0.5, 1),
    }
    for task, head in heads.items():  # every matrix is applied to every frame once
        matrices = sum(own.numel() for own in head.parameters() if own.dim() == 2)
        assert works[task].macs_a_frame(768) == matrices, task
    xvector = XVector(768, 1211)
    of_frames = [xvector.connector.weight, *(layer.weight for layer in xvector.layers)]
    assert works["asv"].macs_a_frame(768) == sum(own.numel() for own in of_frames)


def test_heads_of_recurrent_tasks_take_the_time_of_the_measured_step_for_the_same_frames(works):
    asr = works["asr"]
    frames = superb_hours.ASR_FRAMES
    seconds = 6 * asr.macs_a_frame(superb_hours.ASR_DIM) * frames / superb_hours.cpu_flops(asr)
    assert seconds == pytest.approx(measured("asr_step.txt", "step, ours (s)"))


def test_a_figure_is_looked_for_under_its_title():
    base = measured("encoder_speed.txt", "s3prl, audio seconds per second on two threads", "wavlm-base")
    large = measured("encoder_speed.txt", "s3prl, audio seconds per second on two threads", "wavlm-large")
    assert base > 2 * large
    with pytest.raises(SystemExit, match=r"encoder_speed.txt has no 'miles an hour'"):
        measured("encoder_speed.txt", "miles an hour")


def test_a_large_upstream_costs_more_in_everything(works):
    assert LARGE.flops_a_second == pytest.approx(38.4e9, rel=0.01)  # counted before the encoder was written
    assert BASE.flops_a_second == pytest.approx(14.8e9, rel=0.01)
    for task, work in works.items():
        for gpu in (False, True):
            assert superb_hours.head_hours(work, LARGE, gpu) >= superb_hours.head_hours(work, BASE, gpu), task


def test_durations_are_told_in_the_unit_that_fits():
    assert [scaling.duration(hours) for hours in (0.5, 1, 47.9, 48, 2 * 8766)] == [
        "30 min",
        "1 h",
        "47.9 h",
        "2 days",
        "2 years",
    ]
