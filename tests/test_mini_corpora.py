"""The mini corpora: the same bytes from the same seed, the real layouts, and no harm to what is there already."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha1
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_runs import is_there

from downstream.corpora import mini
from downstream.corpora.mini import espeak, fluent, iemocap, quesst14, speech_commands
from downstream.corpora.mini.fluent_phrases import INTENTS
from downstream.corpora.mini.plans import TOPS, plan
from downstream.corpora.mini.voices import FEMALE, MALE
from upstream.audio import read_audio
from upstream.errors import MissingError, ResourceError, UsageError

ROOT = Path(__file__).parents[1]
SCALE = 0.02
ALL_TOPS = [top for tops in TOPS.values() for top in tops]
KEYWORDS = {"yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"}


def make(out, *corpora, scale=SCALE, **options):
    return mini.make(out, corpora or mini.CORPORA, progress=False, scale=scale, **options)


def marker(top):
    return json.loads((top / "MINI.json").read_text())


def digests(out):
    return {top: marker(out / top)["digest"] for top in ALL_TOPS}


def leftovers(out):
    return list(out.glob(".making-*"))


def start_making(out, corpus, scale, before=""):
    code = f"""{before}
from pathlib import Path
from downstream.corpora.mini import make
make(Path({str(out)!r}), [{corpus!r}], jobs=1, progress=False, scale={scale})"""
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_a_clip(out):
    for _ in range(400):
        if is_there(out, ".making-*/**/*.wav"):
            return
        time.sleep(0.02)
    raise AssertionError("no clip was made")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    made = make(folder, jobs=2)
    assert made == {corpus: [folder / top for top in tops] for corpus, tops in TOPS.items()}
    return folder


# The same bytes


def test_speech_does_not_depend_on_what_was_said_before():
    for variant in ("m3", "f2", "klatt4", *MALE[:3], *FEMALE[-3:]):
        first = espeak.synthesize("a small wooden bridge", f"en-us+{variant}", 170, 50, 50, seed=3)
        espeak.synthesize("seven", "en-gb-scotland+klatt4", 250, 80, 90, seed=4)
        again = espeak.synthesize("a small wooden bridge", f"en-us+{variant}", 170, 50, 50, seed=3)
        assert np.array_equal(first, again), variant


def test_number_of_jobs_does_not_matter(out, tmp_path):
    make(tmp_path, jobs=1)
    assert digests(tmp_path) == digests(out)


def test_seeds_differ(out, tmp_path):
    make(tmp_path, seed=1)
    assert not set(digests(tmp_path).values()) & set(digests(out).values())


def test_torch_is_not_imported():
    code = "import sys, downstream.corpora.mini, downstream.corpora.mini.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# Layouts


def test_speech_commands_layout(out):
    train, test = (out / top for top in speech_commands.TOPS)
    words = {folder.name for folder in train.iterdir() if folder.is_dir()} - {"_background_noise_"}
    assert len(words) == 30 and words >= KEYWORDS | {"bed", "marvin", "sheila", "zero", "wow"}
    noises = {path.stem for path in (train / "_background_noise_").iterdir()}
    assert noises == {
        *("doing_the_dishes", "dude_miaowing", "exercise_bike", "pink_noise", "running_tap", "white_noise")
    }
    assert {folder.name for folder in test.iterdir() if folder.is_dir()} == KEYWORDS | {"_unknown_", "_silence_"}
    assert all(any(folder.iterdir()) for folder in test.iterdir() if folder.is_dir())
    clips = [path for path in [*train.rglob("*.wav"), *test.rglob("*.wav")] if path.stem not in noises]
    assert all(re.fullmatch(r"[0-9a-f]{8}_nohash_\d+\.wav", path.name) for path in clips)


@pytest.mark.parametrize("scale", [SCALE, 1.0])
def test_speech_commands_speakers_fall_into_their_splits(scale):
    made = plan("speech_commands", 0, scale)
    by_split = {"dev": Counter(), "discarded": Counter(), "train": Counter(), "test": Counter()}
    for clip in made.clips:
        top, word, name = clip.path.split("/")
        percent = int(sha1(name.split("_nohash_")[0].encode()).hexdigest(), 16) % 2**27 * 100 / (2**27 - 1)
        if top == speech_commands.TOPS[1]:
            by_split["test"][word] += 1
        elif word != "_background_noise_":
            by_split["dev" if percent < 10 else "discarded" if percent < 20 else "train"][word] += 1
    assert {split: by_split[split].total() for split in made.counts} == made.counts
    assert len(by_split["train"]) == len(by_split["dev"]) == 30 and len(by_split["test"]) == 12
    assert 0 < by_split["discarded"].total() < 20
    assert len({clip.path for clip in made.clips}) == len(made.clips)


def test_fluent_layout(out):
    top = out / fluent.TOPS[0]
    speakers, counts = {}, {}
    for split in ("train", "valid", "test"):
        with (top / f"data/{split}_data.csv").open(newline="") as file:
            assert file.readline() == ",path,speakerId,transcription,action,object,location\n"
            rows = list(csv.reader(file))
        assert [row[0] for row in rows] == [str(number) for number in range(len(rows))]
        assert all(re.fullmatch(rf"wavs/speakers/{row[2]}/[0-9a-f-]{{36}}\.wav", row[1]) for row in rows)
        assert all((top / row[1]).is_file() for row in rows)
        assert {tuple(row[4:]) for row in rows} == set(INTENTS)
        speakers[split] = {row[2] for row in rows}
        counts["dev" if split == "valid" else split] = len(rows)
    assert all(re.fullmatch("[A-Za-z0-9]{16}", name) for name in set.union(*speakers.values()))
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values())), "a speaker is in two splits"
    assert counts == marker(top)["counts"]


def test_fluent_has_the_31_intents_and_24_values():
    assert len(INTENTS) == 31
    actions, objects, locations = map(set, zip(*INTENTS, strict=True))
    assert (len(actions), len(objects), len(locations)) == (6, 14, 4)
    assert "none" in objects and "none" in locations


def test_voxceleb1_layout(out):
    top = out / "VoxCeleb1"
    speakers, videos, counts = {}, {}, Counter()
    for line in (top / "veri_test_class.txt").read_text().splitlines():
        split, path = line.split(" ")
        assert re.fullmatch(r"id1\d{4}/[\w-]{11}/\d{5}\.wav", path)
        assert len(list(top.glob(f"*/wav/{path}"))) == 1
        speakers.setdefault(split, set()).add(path[:7])
        videos.setdefault(split, set()).add(path.split("/")[1])
        counts[split] += 1
    assert speakers["1"] == speakers["2"] == speakers["3"]
    assert not videos["1"] & videos["3"] and not videos["1"] & videos["2"]
    assert {"train": counts["1"], "dev": counts["2"], "test": counts["3"]} == marker(top)["counts"]
    assert any((top / "dev/wav").iterdir()) and any((top / "test/wav").iterdir())
    seconds = [soundfile.info(path).duration for path in top.rglob("*.wav")]
    assert min(seconds) > 2 and max(seconds) > 8


def test_iemocap_layout(out):
    top = out / "IEMOCAP_full_release"
    counts = {}
    for number in range(1, 6):
        labels = Counter()
        for path in (top / f"Session{number}/dialog/EmoEvaluation").iterdir():
            assert re.fullmatch(rf"Ses0{number}[FM]_(impro\d\d|script\d\d_\d)\.txt", path.name)
            header, _, *lines = path.read_text().split("\n")
            assert header == "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
            turns = [line.split("\t") for line in lines if line.startswith("[")]
            for times, name, label, dimensions in turns:
                start, stop = map(float, times.strip("[]").split(" - "))
                wav = top / f"Session{number}/sentences/wav/{path.stem}/{name}.wav"
                assert soundfile.info(wav).duration == pytest.approx(stop - start, abs=0.001)
                assert re.fullmatch(rf"{path.stem}_[FM]\d\d\d", name)
                assert re.fullmatch(r"\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]", dimensions)
                labels[label] += 1
            assert {name[-4] for _, name, _, _ in turns} == {"F", "M"}
            assert sum(line.startswith("C-E") for line in lines) == 3 * len(turns)
        assert set(labels) == set(iemocap.FEELINGS)
        counts[f"Session{number}"] = sum(labels[label] for label in iemocap.KEPT)
    assert counts == marker(top)["counts"]


def test_every_file_is_sound(out):
    kinds = {
        ".wav": (16000, 1, "PCM_16", "WAV"),
        ".flac": (16000, 1, "PCM_16", "FLAC"),
        ".mp3": (32000, 1, "MPEG_LAYER_III", "MP3"),
    }
    files = [path for path in out.rglob("*") if path.suffix in kinds]
    assert {path.suffix for path in files} == set(kinds)
    for path in files:
        info = soundfile.info(path)
        rate, *kind = kinds[path.suffix]
        rate = quesst14.RATE if path.is_relative_to(out / quesst14.TOPS[0]) else rate
        assert [info.samplerate, info.channels, info.subtype, info.format] == [rate, *kind], path
        wave = read_audio(path)
        assert np.sqrt((wave**2).mean()) > 1e-4, f"{path} is silent"
        assert (np.abs(wave) > 0.96).mean() < 0.001, f"{path} is clipped"


# Care for what is there


def test_marker(out):
    for corpus, tops in TOPS.items():
        for top in tops:
            content = marker(out / top)
            files = [path for path in (out / top).rglob("*") if path.is_file() and path.name != "MINI.json"]
            assert content["files"] == len(files) and content["bytes"] == sum(path.stat().st_size for path in files)
            identity = {key: content[key] for key in ("corpus", "version", "seed", "scale")}
            assert identity == {"corpus": corpus, "version": mini.MINI_VERSION, "seed": 0, "scale": SCALE}


def test_what_is_there_is_left_alone(out):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    make(out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("other", [{"seed": 5}, {"scale": 0.03}])
def test_another_mini_corpus_is_refused(out, other):
    with pytest.raises(UsageError, match=r"holds another mini corpus.*--out"):
        make(out, **other)


@pytest.mark.parametrize("top", ALL_TOPS)
def test_real_corpus_is_refused(tmp_path, top):
    (tmp_path / top).mkdir(parents=True)
    with pytest.raises(UsageError, match=f"{top} was not made here"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [Path(top).parts[0]]


def test_half_of_a_pair_is_completed_and_leftovers_go(out, tmp_path):
    make(tmp_path, "speech_commands")
    first, second = (tmp_path / top for top in speech_commands.TOPS)
    kept = (first / "MINI.json").stat().st_mtime_ns
    second.rename(tmp_path / ".making-speech_commands-x")
    make(tmp_path, "speech_commands")
    assert (first / "MINI.json").stat().st_mtime_ns == kept
    assert marker(second)["digest"] == digests(out)[second.name]
    assert not leftovers(tmp_path)


def test_unknown_corpus(tmp_path):
    with pytest.raises(UsageError, match="Did you mean: voxceleb1"):
        make(tmp_path, "voxceleb")


def test_without_espeak(tmp_path, monkeypatch):
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=re.escape("pip install 'sslbench[mini]'")):
        make(tmp_path)


def test_out_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=re.escape(str(tmp_path / "file" / "out"))):
        make(tmp_path / "file" / "out")


def test_full_disk(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"  # one clip does not fit
    process = start_making(tmp_path, "voxceleb1", SCALE, before=limit)
    _, errors = process.communicate()
    assert f"ResourceError: cannot write to {tmp_path}: File too large" in errors
    assert not leftovers(tmp_path) and not (tmp_path / "VoxCeleb1").exists()


def test_interrupted(tmp_path):
    as_in_a_terminal = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = start_making(tmp_path, "voxceleb1", 0.5, before=as_in_a_terminal)
    wait_for_a_clip(tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert errors.rstrip().endswith("KeyboardInterrupt") and errors.count("Traceback") == 1
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_killed_and_two_at_once(tmp_path):
    process = start_making(tmp_path, "voxceleb1", 0.5)
    wait_for_a_clip(tmp_path)
    process.kill()
    process.communicate()
    assert leftovers(tmp_path)
    both = [start_making(tmp_path, "fluent_speech_commands", SCALE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert not leftovers(tmp_path)
    assert marker(tmp_path / fluent.TOPS[0])["counts"] == {"train": 31, "dev": 31, "test": 31}
