"""What Libri2Mix is made from may be missing or broken; and the files that say who speaks when."""

import numpy as np
import pytest
import soundfile
from librimix_tree import copied_lists, make, plant, put, rows_of, write_rows

from downstream.corpora import librimix
from downstream.corpora.librimix import kaldi
from downstream.corpora.librimix.metadata import COLUMNS, LISTS, find_lists, read_list
from upstream.errors import DataError, MissingError


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Not to be written to."""
    top = tmp_path_factory.mktemp("tree")
    plant(top)
    return top


# Trouble with what it is made of


def test_lists_missing(tree, tmp_path):
    with pytest.raises(MissingError, match=r"(?s)3 of 3 lists.*libri2mix_dev-clean\.csv.*git clone https://github"):
        make(tree, tmp_path / "out", metadata=tmp_path)


@pytest.mark.parametrize("place", ["", "metadata", "metadata/Libri2Mix"])
def test_lists_are_found_in_the_repository(tree, place):
    assert find_lists(tree / place, ["dev"])["dev"].samefile(tree / "metadata/Libri2Mix" / LISTS["dev"])


def test_shorter_list_is_told(tree, tmp_path):
    said = []
    make(tree, tmp_path, modes=("min",), parts=("test",), say=said.append)
    assert said[0].endswith("libri2mix_test-clean.csv lists 2 mixtures, the published list 3000")
    assert said[1].endswith("min/test: 6 files written, 0 were there")


def test_columns_missing(tmp_path):
    write_rows(tmp_path / "x.csv", [], header=[name for name in COLUMNS if "gain" not in name])
    with pytest.raises(DataError, match=r"x\.csv, line 1: no column source_1_gain, source_2_gain, noise_gain"):
        read_list(tmp_path / "x.csv")


def test_empty_list(tmp_path):
    write_rows(tmp_path / "x.csv", [])
    with pytest.raises(DataError, match=r"x\.csv lists no mixtures"):
        read_list(tmp_path / "x.csv")


@pytest.mark.parametrize("content", [b"\xff\xfe,", b'"' + b"x" * 200000])
def test_no_csv(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(",".join(COLUMNS).encode() + b"\n" + content)
    with pytest.raises(DataError, match=r"x\.csv is no CSV file"):
        read_list(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (2, "loud", "source_1_gain is 'loud', not a number above 0"),
        (4, "nan", "source_2_gain is 'nan'"),
        (6, "-0.5", "noise_gain is '-0.5'"),
        (6, "inf", "noise_gain is 'inf'"),
        (6, "", "no noise_gain"),
        (1, "/etc/1-2-3.flac", "source_1_path '/etc/1-2-3.flac' is not a path inside its corpus"),
        (5, "../x.wav", "noise_path '../x.wav' is not a path inside its corpus"),
        (0, "1-2-3_4-5-6", "mixture '1-2-3_4-5-6' has the sources of '101-7001-0000_102-7002-0000'"),
    ],
)
def test_broken_line(tree, tmp_path, column, value, message):
    folder, rows = copied_lists(tree, tmp_path)
    rows[0][column] = value
    write_rows(folder / LISTS["train-100"], rows)
    with pytest.raises(DataError) as error:
        make(tree, tmp_path / "out", metadata=folder)
    lines = str(error.value).split("\n")
    assert lines[0] == f"1 of 2 mixtures in {folder / LISTS['train-100']} are broken. The first:"
    assert lines[1].startswith(f"  line 2: {message}")


def test_line_cut_short_and_listed_twice(tree, tmp_path):
    folder, rows = copied_lists(tree, tmp_path)
    write_rows(folder / LISTS["train-100"], [rows[0], rows[1][:4], rows[0], *[["x"]] * 3])
    with pytest.raises(DataError) as error:
        read_list(folder / LISTS["train-100"])
    first = [line.strip() for line in str(error.value).split("\n")]
    assert first[0].startswith("5 of 6 mixtures") and len(first) == 5
    assert first[1] == "line 3: no source_2_gain, noise_path, noise_gain"
    assert first[2] == f"line 4: mixture '{rows[0][0]}' was already listed in line 2"


def test_audio_missing(tree, tmp_path):
    with pytest.raises(MissingError) as error:
        make(tree, tmp_path, wham=tmp_path)
    first, *lines = str(error.value).split("\n")
    assert first == "5 of 5 noises of WHAM are missing. The first:" and lines[0].endswith("tr/noise_2.wav")
    assert len(lines) == 4 and "wham.whisper.ai" in lines[3]
    with pytest.raises(MissingError, match="10 of 10 utterances of LibriSpeech are missing"):
        librimix.make(tmp_path, tree / "metadata", tmp_path, tree / "wham_noise", say=lambda line: None)
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.parametrize(
    ("samples", "rate", "found"), [(np.zeros(9000), 8000, "1 channels at 8000"), (np.zeros((9000, 2)), 16000, "2 chan")]
)
def test_speech_of_another_kind(tree, tmp_path, samples, rate, found):
    (row,) = rows_of(tree / "metadata/Libri2Mix" / LISTS["dev"])
    for name in (row[1], row[3]):
        put(tmp_path / "speech" / name, samples, rate)
    with pytest.raises(DataError, match=rf"105-7005-0000\.flac has {found}"):
        librimix.make(tmp_path / "speech", tree / "metadata", tmp_path, modes=("min",), parts=("dev",), progress=False)
    assert not list(tmp_path.rglob("mix_clean/*"))


def test_noise_of_another_rate(tree, tmp_path):
    put(tmp_path / "cv/noise_6.wav", np.zeros(30000), 48000)
    with pytest.raises(DataError, match=r"noise_6\.wav is at 48000 Hz; the noise for Libri2Mix is at 16000 Hz"):
        make(tree, tmp_path / "out", wham=tmp_path, parts=("dev",))


# Who speaks when


def test_data_files_say_what_the_activity_says(tree, tmp_path):
    make(tree, tmp_path)
    made = tmp_path / "Libri2Mix"
    for part, name in kaldi.FOLDERS.items():
        folder = made / "data" / name
        assert {path.name for path in folder.iterdir()} == {
            *("wav.scp", "segments", "utt2spk", "spk2utt", "reco2dur", "rttm")
        }
        said = {}
        for line in (tree / "metadata/LibriSpeech" / kaldi.ACTIVITY[part]).read_text().splitlines():
            fields = line.split()
            turn = (float(fields[3]), float(fields[3]) + float(fields[4]))
            said.setdefault(f"{fields[7]}-{fields[1]}", []).append(turn)
        columns = {path.name: [line.split() for line in path.read_text().splitlines()] for path in folder.iterdir()}
        speaker_of, durations = dict(columns["utt2spk"]), dict(columns["reco2dur"])
        mixtures = {row[0]: row for row in rows_of(tree / "metadata/Libri2Mix" / LISTS[part])}
        assert [recording for recording, _ in columns["wav.scp"]] == list(mixtures)
        for recording, path in columns["wav.scp"]:
            assert soundfile.info(made / path).duration == float(durations[recording])
            wanted = {(source.split("-")[0], *turn) for source in recording.split("_") for turn in said[source]}
            found = [line for line in columns["segments"] if line[1] == recording]
            assert {(speaker_of[line[0]], float(line[2]), float(line[3])) for line in found} == wanted
            turns = [line for line in columns["rttm"] if line[1] == recording]
            found = {(line[7], round(float(line[3]), 6), round(float(line[4]), 6)) for line in turns}
            assert found == {(speaker, start, round(stop - start, 6)) for speaker, start, stop in wanted}
        ids = {speaker: set(recordings) for speaker, *recordings in columns["spk2utt"]}
        assert ids == {source.split("-")[0]: {name} for name in mixtures for source in name.split("_")}


def test_the_lines_of_a_recording():
    recording = kaldi.Recording("1234-56789-0001_4321-98765-0002", "wav16k/max/dev/mix_both/x.wav", 160000)
    activity = {"56789-0001": [("1234", 0.37, 0.37 + 8.34)], "98765-0002": [("4321", 0.5, 2.25)]}
    files = kaldi.data_files([recording], activity)
    mixture = recording.id
    first = f"{mixture}_000370_008709"  # the published files have what floats make of 0.37 + 8.34 too
    assert files == {
        "wav.scp": f"{mixture} wav16k/max/dev/mix_both/x.wav\n",
        "segments": f"{first} {mixture} 0.37 8.709999999999999\n{mixture}_000500_002250 {mixture} 0.5 2.25\n",
        "utt2spk": f"{first} 1234\n{mixture}_000500_002250 4321\n",
        "rttm": f"SPEAKER\t{mixture}\t1\t0.37\t8.34\t<NA>\t<NA>\t1234\t<NA>\n"
        f"SPEAKER\t{mixture}\t1\t0.5\t1.75\t<NA>\t<NA>\t4321\t<NA>\n",
        "reco2dur": f"{mixture} 10.0\n",
        "spk2utt": f"1234 {mixture}\n4321 {mixture}\n",
    }


def test_activity_missing(tree, tmp_path):
    copied_lists(tree, tmp_path)
    with pytest.raises(
        MissingError, match=r"(?s)train_clean_100\.rttm.*s3prl/LibriMix.*or make the mode 'min'|Or make"
    ):
        make(tree, tmp_path / "out", metadata=tmp_path)
    make(tree, tmp_path / "out", metadata=tmp_path, rttm=tree / "metadata/LibriSpeech", parts=("dev",))
    assert (tmp_path / "out/Libri2Mix/data/dev/segments").is_file()


@pytest.mark.parametrize(
    "line",
    [
        "SPEAKER 7005-0000 1 0.1 0.2 <NA> <NA> 105 <NA>",
        "LEXEME 7005-0000 1 0.1 0.2 <NA> <NA> 105 <NA> <NA>",
        "SPEAKER 7005-0000 1 0.1 0 <NA> <NA> 105 <NA> <NA>",
        "SPEAKER 7005-0000 1 nan 0.2 <NA> <NA> 105 <NA> <NA>",
        "SPEAKER 7005-0000 1 x 0.2 <NA> <NA> 105 <NA> <NA>",
        "",
    ],
)
def test_activity_that_is_broken(tmp_path, line):
    path = tmp_path / "dev_clean.rttm"
    path.write_text(f"SPEAKER 1-2 1 0.1 0.2 <NA> <NA> 3 <NA> <NA>\n{line}\n")
    with pytest.raises(DataError, match=r"dev_clean\.rttm, line 2: .*metadata/LibriSpeech"):
        kaldi.read_activity(path)


def test_activity_of_others(tree, tmp_path):
    (tmp_path / "dev_clean.rttm").write_text("SPEAKER 7005-0000 1 0.1 0.2 <NA> <NA> 99 <NA> <NA>\n")
    with pytest.raises(DataError) as error:
        make(tree, tmp_path / "out", rttm=tmp_path, parts=("dev",))
    first, *lines = str(error.value).split("\n")
    assert first.startswith("of 2 of 2 sources")
    assert lines[0].endswith("said to be spoken by 99") and lines[1].endswith("not listed")
    assert not (tmp_path / "out").exists()
