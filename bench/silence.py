"""How fast silence is removed, in seconds of audio per second, beside SoX on the same files.

    python bench/silence.py
    python bench/silence.py --scale 0.3  # more files

The files are those of a small VoxCeleb1, of about 7 s each, with a second of digital silence put into every second one.
SoX takes a process for each file, so one file of all of them in a row is measured too. SoX reads the files, applies the
gain, and writes what is left to nowhere; ours is measured alone and with reading and gain.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from common import medians, report

from downstream.corpora import mini
from downstream.represent.silence import trimmed
from upstream.audio import SAMPLE_RATE, read_audio

GAIN_DB = -3
EFFECTS = f"gain {GAIN_DB} silence 1 0.1 0.1% -1 0.1 0.1%".split()


def make_files(folder: Path, scale: float) -> list[Path]:
    mini.make(folder, ["voxceleb1"], progress=False, scale=scale)
    files = sorted((folder / "VoxCeleb1").glob("*/wav/**/*.wav"))
    for path in files[::2]:
        speech = soundfile.read(path, dtype="int16")[0]
        before, after = np.array_split(speech, 2)
        soundfile.write(path, np.concatenate([before, np.zeros(SAMPLE_RATE, dtype=np.int16), after]), SAMPLE_RATE)
    return files


def heard(path: Path) -> np.ndarray:
    """With the gain in float64, as SoX computes it."""
    return read_audio(path).astype(np.float64) * 10 ** (GAIN_DB / 20)


def sox(path: Path, *output: str) -> bytes:
    return subprocess.run(["sox", path, *output, *EFFECTS], stdout=subprocess.PIPE, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.02, help="of the small VoxCeleb1")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        files = make_files(Path(name), arguments.scale)
        waves = [heard(path) for path in files]
        seconds = sum(map(len, waves)) / SAMPLE_RATE
        joined = Path(name) / "joined.wav"
        soundfile.write(joined, np.concatenate([soundfile.read(path, dtype="int16")[0] for path in files]), SAMPLE_RATE)
        taken = medians(
            {
                "alone": lambda: [trimmed(wave) for wave in waves],
                "from files": lambda: [trimmed(heard(path)) for path in files],
                "sox": lambda: [sox(path, "-n") for path in files],
                "joined": lambda: trimmed(heard(joined)),
                "sox joined": lambda: sox(joined, "-n"),
            },
            repeats=7,
        )
        kept = [len(trimmed(wave)) for wave in waves]
        theirs = [len(sox(path, "-t", "s32", "-")) // 4 for path in files]
    speeds = {name: 1000 * seconds / milliseconds for name, milliseconds in taken.items()}
    report(
        f"Removing silence from {len(files)} files, {seconds:.0f} s",
        {
            "part that is left (%)": 100 * sum(kept) / SAMPLE_RATE / seconds,
            "files of which SoX keeps another number of samples": sum(
                a != b for a, b in zip(kept, theirs, strict=True)
            ),
            "removal alone (s of audio per s)": speeds["alone"],
            "reading, gain and removal (s of audio per s)": speeds["from files"],
            "SoX, a process for each file (s of audio per s)": speeds["sox"],
            "all in one file, ours (s of audio per s)": speeds["joined"],
            "all in one file, SoX (s of audio per s)": speeds["sox joined"],
            "ours / SoX, files": speeds["from files"] / speeds["sox"],
            "ours / SoX, one file": speeds["joined"] / speeds["sox joined"],
        },
    )


if __name__ == "__main__":
    main()
