"""What Libri2Mix is made of, very small: speech, noise, lists and activity of five mixtures."""

import csv
from pathlib import Path

import numpy as np
import soundfile

from downstream.corpora import librimix
from downstream.corpora.librimix import kaldi
from downstream.corpora.librimix.metadata import COLUMNS, LISTS

FOLDERS = {"train-100": ("train-clean-100", "tr"), "dev": ("dev-clean", "cv"), "test": ("test-clean", "tt")}
# Of both sources in samples, of the noise in samples and channels. The last noises are repeated, one several times.
LENGTHS = {
    "train-100": [((12000, 15000), (20000, 2)), ((14000, 9000), (14000, 1))],
    "dev": [((9000, 9000), (30000, 2))],
    "test": [((30000, 21000), (16500, 2)), ((20000, 26000), (8500, 1))],
}


def plant(top):
    """LibriSpeech, WHAM's noise, the lists and the activity, for five mixtures."""
    rng = np.random.default_rng(7)
    number = 0
    for part, mixtures in LENGTHS.items():
        rows, activity = [], []
        for lengths, (noise_length, channels) in mixtures:
            names = []
            for length in lengths:
                number += 1
                speaker, chapter = 100 + number, 7000 + number
                names.append(f"{FOLDERS[part][0]}/{speaker}/{chapter}/{speaker}-{chapter}-0000.flac")
                put(top / "LibriSpeech" / names[-1], rng.integers(-15000, 15000, length))
                stop = length / 16000 - number / 200
                lead = number / 100
                for start, duration in ((lead, stop / 2 - lead), (stop / 2 + 0.03, stop / 2 - 0.03)):
                    turn = f"SPEAKER {chapter}-0000 1   {start:.3f}   {duration:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
                    activity.append(turn)
            noise = f"{FOLDERS[part][1]}/noise_{number}.wav"
            put(top / "wham_noise" / noise, rng.integers(-9000, 9000, (noise_length, channels)))
            gains = (rng.integers(100, 2000, 3) / 997).tolist()
            rows.append((f"{stem(names[0])}_{stem(names[1])}", names[0], gains[0], names[1], gains[1], noise, gains[2]))
        write_rows(top / "metadata/Libri2Mix" / LISTS[part], rows)
        (top / "metadata/LibriSpeech").mkdir(exist_ok=True)
        (top / "metadata/LibriSpeech" / kaldi.ACTIVITY[part]).write_text("".join(activity))


def make(tree, out, **options):
    sources = {"metadata": tree / "metadata", "wham": tree / "wham_noise", "say": lambda line: None}
    return librimix.make(tree / "LibriSpeech", out=out, progress=False, **sources | options)


def put(path, samples, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples, dtype=np.int16), rate)


def stem(path):
    return Path(path).stem


def write_rows(path, rows, header=COLUMNS):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def copied_lists(tree, tmp_path):
    """Lists to be spoilt, and the first line of the first."""
    for part, name in LISTS.items():
        (tmp_path / name).write_bytes((tree / "metadata/Libri2Mix" / LISTS[part]).read_bytes())
    return tmp_path, rows_of(tmp_path / LISTS["train-100"])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def samples_of(path):
    return soundfile.read(path, dtype="int16")[0]
