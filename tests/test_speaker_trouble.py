"""What is wrong or missing in the corpora of the speaker tasks: who is told what, and what becomes of the other cells.

A test that spoils something gives back the place that the message has to name, and words that have to be in it.
"""

import re

import numpy as np
import pytest
import soundfile
from small_runs import SmallRuns, folder_of, lines
from speaker_corpora import NUMBERS, TRIALS, rewrite, speaker_corpora
from user_files import GOOD, write_file

from benchmark.cli import main
from benchmark.rows import read_row

UPSTREAM = "mel_no_cmvn"
NAME = "mel_no_cmvn / {} / superb / seed 1337: "
RECORDING = "4305-247162-0000_7006-245716-0000"  # the first of the test set of diarization
VOXCELEB_LISTS = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/"


@pytest.fixture
def runs(mini_data, tmp_path):
    """Corpora that may be broken, and results and cache of one's own."""
    return SmallRuns(speaker_corpora(mini_data, tmp_path / "data"), tmp_path, NUMBERS)


def command(runs, *tasks, upstream=UPSTREAM, mode="auto"):
    words = ("--upstream", upstream, "--task", *tasks, "--lr", "0.001", "--features", mode)
    return runs.arguments("run", *words)


def rows_of(runs, *tasks, **options):
    assert main(command(runs, *tasks, **options)) == 0
    return [read_row(path) for task in tasks for path in runs.results.glob(f"*/{task}/*/row.json")]


def voxceleb(runs):
    return runs.data / "VoxCeleb1"


def heard_in_test(runs):
    return sorted((voxceleb(runs) / "test/wav").rglob("*.wav"))[0]


def mixed(runs, split, folder):
    return sorted((runs.data / "Libri2Mix/wav16k/min" / split / folder).glob("*.wav"))


def add_line(path, line):
    path.write_text(f"{path.read_text()}{line}\n")
    return path


def rttm(runs):
    return runs.data / "Libri2Mix/data/test/rttm"


def turn(recording, start, duration, speaker="4305"):
    return f"SPEAKER\t{recording}\t1\t{start}\t{duration}\t<NA>\t<NA>\t{speaker}\t<NA>"


def noise(samples):
    return lambda wave: np.random.default_rng(0).standard_normal(samples) / 10


def silence(wave):
    return 0 * wave


def one_nan(wave):
    return np.where(np.arange(len(wave)) == 5, np.nan, wave)


# What is told before anything is heard


def lost_test_file(runs):
    path = heard_in_test(runs)
    path.unlink()
    name = path.relative_to(voxceleb(runs) / "test/wav")
    return voxceleb(runs) / TRIALS, f"1 of 9 files of the trials in .* are missing. The first:\n  {name} .*line \\d+"


def strange_trial(runs):
    return add_line(voxceleb(runs) / TRIALS, "maybe this that"), f"{TRIALS}, line 29: 'maybe this that' is not '<0|1>"


def trials_of_one_kind(runs):
    path = voxceleb(runs) / TRIALS
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("1")))
    return path, "all 10 trials are of one speaker; trials of both kinds are needed"


def no_list(runs):
    runs.set = (*runs.set, "asv.trials=o-cleaned")
    return voxceleb(runs) / "veri_test2.txt", f"Download {VOXCELEB_LISTS}veri_test2.txt into {voxceleb(runs)}"


def too_many_held_out(runs):
    runs.set = (*runs.set, "asv.dev_speakers=3")
    return voxceleb(runs), "dev_speakers is 3, of 4 training speakers in .*--set asv.dev_speakers=null"


def turn_of_no_duration(runs):
    return add_line(rttm(runs), turn(RECORDING, 1, 0)), f"rttm line 9: a turn of recording {RECORDING} lasts '0', which"


def turn_backwards(runs):
    return add_line(rttm(runs), turn(RECORDING, 1, -0.5)), "rttm line 9: .* lasts '-0.5', which is no duration in sec"


def recording_without_turns(runs):
    path = rttm(runs)
    path.write_text(path.read_text().replace(RECORDING, "somebody-else"))
    return path, f"1 recordings have no turn in {path}.*\n  {RECORDING}"


def lost_source(runs):
    path = mixed(runs, "train-100", "s1")[0]
    path.unlink()
    return path, "1 of 18 audio files are missing. The first:(.|\n)*python -m benchmark data librimix"


def lost_clean_file(runs):
    path = runs.data / "VoiceBank-DEMAND/clean_testset_wav_16k/p232_001.wav"
    path.unlink()
    return path, "1 of 16 audio files are missing. The first:(.|\n)*https://datashare.ed.ac.uk/"


@pytest.mark.parametrize(
    ("task", "spoil", "code"),
    [
        ("asv", lost_test_file, 3),
        ("asv", strange_trial, 1),
        ("asv", trials_of_one_kind, 1),
        ("asv", no_list, 3),
        ("asv", too_many_held_out, 2),
        ("sd", turn_of_no_duration, 1),
        ("sd", turn_backwards, 1),
        ("sd", recording_without_turns, 1),
        ("ss", lost_source, 3),
        ("se", lost_clean_file, 3),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_heard_and_other_cells_go_on(task, spoil, code, runs, capsys):
    place, said = spoil(runs)
    other = "ss" if task == "sd" else "sd"
    words = command(runs, task, other)
    assert main(["plan", *words[1:]]) == code
    assert not (runs.cache / "features").exists()
    assert main(words) == code
    err = capsys.readouterr().err
    message = err[err.rindex(f"{task}: ") :]
    assert re.search(said, message), message
    assert str(place) in message
    assert "1 computed, 0 already done, 1 failed" in err
    assert "Traceback" not in err
    assert [path.parts[-3] for path in runs.results.rglob("row.json")] == [other]


# What only shows when it is heard


def few_frames(runs):
    """Of 2000 samples, 11 frames are left of those in which there is sound; the head needs 15."""
    return rewrite(
        heard_in_test(runs), noise(2000)
    ), r"\d+ (frames|samples) once silence is taken out.* this head needs 15"


def silent_trial(runs):
    return rewrite(
        heard_in_test(runs), silence
    ), r"0 samples (at 16000 Hz, silence taken out, are too short|once silence is taken out are too few)"


def short_training(runs):
    for path in (voxceleb(runs) / "dev/wav").rglob("*.wav"):
        rewrite(path, lambda wave: wave[:32000])
    return voxceleb(runs), "train of superb: all 21 utterances have no more than 2 s, silence taken out, and such are"


def longer_source(runs):
    path = rewrite(mixed(runs, "train-100", "s1")[0], lambda wave: np.append(wave, 0))
    return path, r"has 53761 samples and its mixture .*mix_clean.* has 53760\. They belong together"


def longer_source_in_test(runs):
    path = rewrite(mixed(runs, "test", "s2")[0], lambda wave: np.append(wave, 0))
    return path, r"has 49121 samples and its mixture .*mix_clean.* has 49120\. They belong together"


def broken_source(runs):
    return rewrite(mixed(runs, "train-100", "s1")[0], one_nan), "holds 1 NaN or infinite samples of 53760. Replace the"


def broken_clean_file(runs):
    path = runs.data / "VoiceBank-DEMAND/clean_trainset_28spk_wav_16k/p228_001.wav"
    return rewrite(path, one_nan), "holds 1 NaN or infinite samples of"


def nothing_to_choose_by(runs):
    paths = [rewrite(path, silence) for path in mixed(runs, "dev", "s1")]
    return paths[0], "si_sdri is undefined for all 2 utterances: their sources are silent or too short. Listen to them"


@pytest.mark.parametrize(
    ("task", "mode", "spoil"),
    [
        ("asv", "frames", few_frames),
        ("asv", "live", few_frames),
        ("asv", "frames", silent_trial),
        ("asv", "live", silent_trial),
        ("asv", "frames", short_training),
        ("asv", "live", short_training),
        ("ss", "auto", longer_source),
        ("ss", "auto", longer_source_in_test),
        ("ss", "auto", broken_source),
        ("se", "auto", broken_clean_file),
        ("ss", "auto", nothing_to_choose_by),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_kept_in_a_failed_row(task, mode, spoil, runs, capsys):
    place, said = spoil(runs)
    assert main(command(runs, task, mode=mode)) == 1
    err = capsys.readouterr().err
    message = err[err.index(NAME.format(task)) + len(NAME.format(task)) :]
    assert re.search(said, message), message
    assert str(place) in message
    assert "0 computed, 0 already done, 1 failed" in err
    assert "Traceback" not in err
    [path] = runs.results.rglob("row.json")
    row = read_row(path)
    assert (row.status, row.task, row.metrics) == ("failed", task, {})
    assert message.startswith(row.error["message"])


def test_once_the_file_is_repaired_the_same_command_goes_on(runs, capsys):
    path = rewrite(mixed(runs, "train-100", "s1")[0], lambda wave: wave)
    good = path.read_bytes()
    rewrite(path, one_nan)
    assert main(command(runs, "ss")) == 1
    [failed] = runs.results.rglob("row.json")
    path.write_bytes(good)
    [row] = rows_of(runs, "ss")
    assert row.status == "done"
    assert folder_of(runs, row) == failed.parent
    assert "1 computed, 0 already done, 0 failed" in capsys.readouterr().err


def test_frames_too_far_apart_for_separation_are_refused(runs, tmp_path, capsys):
    """But diarization takes them."""
    path = write_file(tmp_path, GOOD.replace("320", "640"), "sparse.py")
    assert main(command(runs, "ss", "sd", upstream=str(path))) == 2
    err = capsys.readouterr().err
    assert "sparse / ss / superb / seed 1337: this upstream has a frame every 640 samples" in err
    assert "Choose an upstream with a smaller hop." in err
    assert "Traceback" not in err
    rows = {row.task: row.status for row in map(read_row, runs.results.rglob("row.json"))}
    assert rows == {"ss": "failed", "sd": "done"}


# What is accepted, counted and told


def test_turns_of_one_speaker_that_overlap_are_one_turn(runs, tmp_path):
    """One within another changes no figure; and the row says that the lists differ."""
    [before] = rows_of(runs, "sd")
    runs.results.rename(tmp_path / "before")
    add_line(rttm(runs), turn(RECORDING, 0.5, 0.3))
    [row] = rows_of(runs, "sd")
    assert row.metrics == before.metrics
    [note] = row.corpus["notes"]
    assert note.startswith(f"test: 1 of 2 recordings have other turns in rttm than in segments, {RECORDING} first")
    assert row.id != before.id


def test_recordings_that_nobody_knows_are_not_scored_and_told(runs, tmp_path):
    [before] = rows_of(runs, "sd")
    runs.results.rename(tmp_path / "before")
    add_line(rttm(runs), turn("nobody", 0.5, 0.3))
    [row] = rows_of(runs, "sd")
    assert row.metrics == before.metrics
    assert row.corpus["notes"] == ["test: 1 recordings of rttm are not in wav.scp, nobody first; not scored"]


def test_a_silent_source_leaves_its_mixture_out_and_is_counted(runs, capsys):
    rewrite(mixed(runs, "test", "s2")[0], silence)
    [row] = rows_of(runs, "ss")
    told = lines(folder_of(runs, row) / "predictions.jsonl")
    assert row.scoring["undefined"] == {"si_sdri": 1, "stoi": 1, "pesq": 1}
    for name, score in row.metrics.items():
        assert [line[name] for line in told] == [None, score["value"]]
        assert score["n"] == 1
    assert "left out of 2 utterances, as a source is silent or too short: si_sdri of 1, stoi of 1, pesq of 1" in (
        capsys.readouterr().err
    )


def test_estimates_beyond_full_scale_are_counted_and_written_softer(runs, capsys):
    for path in (runs.data / "Libri2Mix/wav16k/min").rglob("*.wav"):
        rewrite(path, lambda wave: 100 * wave)
    [row] = rows_of(runs, "ss")
    assert row.scoring["clipped"] == 2
    err = capsys.readouterr().err
    for path in (folder_of(runs, row) / "example").glob("*.wav"):
        assert f"{path}: louder than full scale, written at 0." in err
        loudest = np.abs(soundfile.read(path)[0]).max()
        assert 0.999 < loudest <= 1
