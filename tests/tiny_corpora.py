"""Corpora of a few very short files in the real layouts, for tests of what reads them."""

import csv
import json
from pathlib import Path

import numpy as np
import quesst_tree
import soundfile

from downstream.corpora.audio_snips import FOLDERS, VOICES

RATE = 16000
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
NOISES = ("doing_the_dishes", "exercise_bike", "pink_noise", "running_tap", "dude_miaowing", "white_noise")
# Speakers by the list of the published corpus that has them (validation_list.txt, testing_list.txt, neither).
DEV_SPEAKERS = ("099d52ad", "060cd039", "364c0853", "66cff190", "7c1d8533", "44c201dd")
TESTING_SPEAKERS = ("0c40e715", "0ea0e2f4", "022cd682", "096456f9", "ffb86d3c", "42beb5eb")
TRAIN_SPEAKERS = ("eb67fcbc", "f953e1af", "3bc21161", "da1d320c", "05b2db80")
INTENT_HEADER = ("", "path", "speakerId", "transcription", "action", "object", "location")
INTENT_ROWS = {
    "train": [("increase", "heat", "none"), ("activate", "lamp", "kitchen"), ("increase", "volume", "none")],
    "valid": [("activate", "heat", "kitchen")],
    "test": [("increase", "lamp", "none"), ("activate", "volume", "none")],
}
CHAPTERS = {
    "train-clean-100/103/1240": ["THE HERON WAITED", "IT DIDN'T MOVE"],
    "dev-clean/84/121123": ["GO"],
    "test-clean/1089/134686": ["HELLO"],
}
# By language and split; the last sentence of each language is one that SUPERB leaves out.
SENTENCES = {
    "es": (("La garza espera.", "Ya voló"), ("¿Sí?",), ("Otra vez", "...")),
    "ar": (("قلم أزرق", "كتاب جديد"), ("نعم",), ("كتاب آخر", "taxi")),
    "zh-CN": (("今天很好", "明天也很好"), ("好",), ("很好", "OK")),
}
COMMON_VOICE_HEADER = (
    "client_id",
    "path",
    "sentence",
    "up_votes",
    "down_votes",
    "age",
    "gender",
    "accent",
    "locale",
    "x",
)
VOXCELEB1 = {
    "dev": ["id10001/zZ-_9/00001.wav", "id10001/Aa/00002.wav", "id10001/Aa/00001.wav", "id10002/Aa/00010.wav"],
    "test": ["id10270/b/00001.wav", "id10270/c/00007.wav", "id10271/b/00001.wav"],
}
IDENTIFICATION = (3, 1, 2, 1, 1, 2, 1)  # the splits of these files: 1 train, 2 dev, 3 test
TRIALS = ["1 id10270/b/00001.wav id10270/c/00007.wav", "0 id10271/b/00001.wav id10270/b/00001.wav"]
LIBRI2MIX = {"train": "train-100", "dev": "dev", "test": "test"}  # a split's folder of audio
MIXTURES = {
    "train": ["11-1-0000_22-2-0000", "11-1-0001_9-3-0000"],
    "dev": ["33-4-0000_44-5-0000"],
    "test": ["55-6-0000_66-7-0001"],
}
# By mixture: (speaker, start, stop), as they are written.
TURNS = {
    "11-1-0000_22-2-0000": [("11", "0.37", "1.5"), ("22", "0.5", "2.25"), ("11", "2.4", "2.8000000000000003")],
    "11-1-0001_9-3-0000": [("11", "1.5", "2"), ("9", "0.1", "3.05")],
    "33-4-0000_44-5-0000": [("33", "0", "1.25"), ("44", "0.25", "2.5")],
    "55-6-0000_66-7-0001": [("66", "1.00", "2.5"), ("55", "0.1", "1.25")],
}
VOICEBANK = {
    "trainset_28spk": ["p226_001", "p287_001", "p228_002", "p228_001", "p243_001"],
    "testset": ["p232_001", "p257_001"],
}
ORDERS = {"train": "PLAY\tO", "valid": "RAIN IN PARIS\tO O city", "test": "SHOW BERLIN\tO city"}
EMOTIONS = ("neu", "exc", "fru", "ang", "hap", "sad", "xxx", "neu")  # in the order of the label files; six are kept


def put_wav(path: Path, samples: int = 160, rate: int = RATE, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.resize(np.arange(-500, 500, dtype=np.int16), (samples, channels))
    soundfile.write(path, wave, rate)


def speech_commands(data: Path) -> Path:
    """Train: 55 clips, dev: 11, left out: 11, test: 12; background noise of 1 s, and one of 1.25 s."""
    train, test = data / "speech_commands_v0.01", data / "speech_commands_test_set_v0.01"
    for word in (*KEYWORDS, "bed"):
        for speaker in (*TRAIN_SPEAKERS, DEV_SPEAKERS[0], TESTING_SPEAKERS[0]):
            put_wav(train / word / f"{speaker}_nohash_0.wav")
    for noise in NOISES:
        put_wav(train / "_background_noise_" / f"{noise}.wav", 20000 if noise == "white_noise" else RATE)
    (train / "_background_noise_" / "README.md").write_text("noise")
    (train / "validation_list.txt").write_text("not read")
    for label in (*KEYWORDS, "_unknown_", "_silence_"):
        put_wav(test / label / "0a1b2c3d_nohash_0.wav")
    return data


def write_intents(root: Path, split: str, rows: list[tuple[str, ...]], header: tuple[str, ...] = INTENT_HEADER) -> None:
    table = root / "data" / f"{split}_data.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def fluent_speech_commands(data: Path) -> Path:
    """Three, one and two utterances; the sentence of each has a comma in it."""
    root = data / "fluent_speech_commands_dataset"
    for split, intents in INTENT_ROWS.items():
        paths = [f"wavs/speakers/sp{split}/{split}-{i}.wav" for i in range(len(intents))]
        for path in paths:
            put_wav(root / path)
        rows = [(i, path, f"sp{split}", "Well, do it", *intents[i]) for i, path in enumerate(paths)]
        write_intents(root, split, rows)
    return root


def voxceleb1(data: Path, listed: str = "veri_test_class.txt", beside: bool = False) -> Path:
    """Four speakers, two of them under test/: for identification four utterances of train, two of dev, one of test."""
    root = data / "VoxCeleb1"
    for part, entries in VOXCELEB1.items():
        for entry in entries:
            put_wav(root / part / "wav" / entry)
    entries = [entry for part in VOXCELEB1.values() for entry in part]
    lines = [f"{split} {entry}\n" for split, entry in zip(IDENTIFICATION, entries, strict=True)]
    ((data if beside else root) / listed).write_text("".join(lines))
    return root


def voxceleb1_verification(data: Path) -> Path:
    """The same with trials: four utterances of train, three of test."""
    root = voxceleb1(data)
    (root / "voxceleb1_test_v2.txt").write_text("".join(f"{line}\n" for line in TRIALS))
    return root


def iemocap(data: Path, folder: str = "IEMOCAP_full_release") -> Path:
    """Five sessions of two dialogs with eight labels each, six of them kept; and what must not be read."""
    root = data / folder
    for session in range(1, 6):
        top = root / f"Session{session}"
        for dialog in (f"Ses0{session}M_script01_1b", f"Ses0{session}F_impro01"):
            lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n", "\n"]
            for turn, label in enumerate(EMOTIONS):
                name = f"{dialog}_{'FM'[turn % 2]}{turn:03d}"
                put_wav(top / "sentences" / "wav" / dialog / f"{name}.wav")
                lines.append(f"[{turn}.0000 - {turn + 1}.0000]\t{name}\t{label}\t[2.5000, 2.5000, 2.5000]\n")
                lines.append("C-E2:\tNeutral;\t()\n")
            labels = top / "dialog" / "EmoEvaluation"
            (labels / "Categorical").mkdir(parents=True, exist_ok=True)
            (labels / f"{dialog}.txt").write_text("".join(lines))
            (labels / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07[\xff")
            (labels / "Categorical" / f"{dialog}_e2_cat.txt").write_text("[not a label file]\n")
            (top / "sentences" / "wav" / dialog / f"._{dialog}_F000.wav").write_bytes(b"\x00\x05\x16\x07")
    return root


def librispeech(data: Path) -> Path:
    """Two, one and one utterances, each a chapter's."""
    root = data / "LibriSpeech"
    for path, transcripts in CHAPTERS.items():
        _, speaker, chapter = path.split("/")
        names = [f"{speaker}-{chapter}-{number:04d}" for number in range(len(transcripts))]
        for name in names:
            put_wav(root / path / f"{name}.flac")
        lines = [f"{name} {text}\n" for name, text in zip(names, transcripts, strict=True)]
        (root / path / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    return root


def common_voice(data: Path, variant: str) -> Path:
    """Two, one and one utterances of a language, and one that is left out."""
    root = data / "cv-corpus-7.0-2021-07-21" / variant
    for split, sentences in zip(("train", "dev", "test"), SENTENCES[variant], strict=True):
        lines = ["\t".join(COMMON_VOICE_HEADER)]
        for number, sentence in enumerate(sentences):
            name = f"common_voice_{variant}_{split}{number}.mp3"
            put_wav(root / "clips" / name, 1600)
            lines.append("\t".join([split * 32, name, sentence, "2", "0", "", "", "mexicano", variant, ""]))
        (root / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def common_voice_es(data: Path) -> Path:
    return common_voice(data, "es")


def common_voice_ar(data: Path) -> Path:
    return common_voice(data, "ar")


def common_voice_zh(data: Path) -> Path:
    return common_voice(data, "zh-CN")


def quesst14(data: Path) -> Path:
    """Three documents, two queries of dev and one of test; see quesst_tree.py."""
    return quesst_tree.plant(data / "quesst14Database")


def audio_snips(data: Path) -> Path:
    """One order a split in each of its voices: eight, four and four."""
    root, lines = data / "SNIPS", []
    for split, folder in FOLDERS.items():
        words, tags = ORDERS[folder].split("\t")
        for voice in VOICES[split]:
            put_wav(root / folder / f"{voice}-snips-{folder}-0.wav")
            lines.append(f"{voice}-snips-{folder}-0 BOS {words} EOS\tO {tags} SomeIntent\n")
    (root / "all.iob.snips.txt").write_text("".join(lines))
    (root / "slots.txt").write_text("O\ncity")
    return root


def libri2mix_diarization(data: Path) -> Path:
    """Two, one and one mixtures in noise, with the lists of who speaks when."""
    root = data / "Libri2Mix"
    for split, part in LIBRI2MIX.items():
        folder = root / "data" / split
        folder.mkdir(parents=True)
        for name, lines in _lists_of_turns(split).items():
            (folder / name).write_text("".join(f"{line}\n" for line in lines))
        for mixture in MIXTURES[split]:
            put_wav(root / "wav16k" / "max" / part / "mix_both" / f"{mixture}.wav", 1600)
    return root


def segment_of(mixture: str, start: str, stop: str) -> str:
    return f"{mixture}_{int(float(start) * 1000):06d}_{int(float(stop) * 1000):06d}"


def _lists_of_turns(split: str) -> dict[str, list[str]]:
    lists = {name: [] for name in ("wav.scp", "reco2dur", "segments", "utt2spk", "rttm")}
    for mixture in MIXTURES[split]:
        lists["wav.scp"].append(f"{mixture} wav16k/max/{LIBRI2MIX[split]}/mix_both/{mixture}.wav")
        lists["reco2dur"].append(f"{mixture} 3.0")
        for speaker, start, stop in TURNS[mixture]:
            segment, lasting = segment_of(mixture, start, stop), str(float(stop) - float(start))
            lists["segments"].append(f"{segment} {mixture} {start} {stop}")
            lists["utt2spk"].append(f"{segment} {speaker}")
            fields = ("SPEAKER", mixture, "1", start, lasting, "<NA>", "<NA>", speaker, "<NA>")
            lists["rttm"].append("\t".join(fields))
    return lists


def libri2mix_separation(data: Path) -> Path:
    """The same mixtures without noise, with what each of the two says alone."""
    root = data / "Libri2Mix"
    for split, part in LIBRI2MIX.items():
        for mixture in MIXTURES[split]:
            for folder in ("mix_clean", "s1", "s2"):
                put_wav(root / "wav16k" / "min" / part / folder / f"{mixture}.wav", 1600)
    return root


def voicebank_demand(data: Path, suffix: str = "_16k", rate: int = RATE) -> Path:
    """Three, two and two sentences, with noise and without."""
    root = data / "VoiceBank-DEMAND"
    for part, names in VOICEBANK.items():
        for kind in ("noisy", "clean"):
            for name in names:
                put_wav(root / f"{kind}_{part}_wav{suffix}" / f"{name}.wav", 1600, rate)
    return root


def write_folds(root: Path, by_session: dict[str, list[tuple[str, str]]]) -> None:
    """s3prl's fold files from (path, label) lists of the sessions, in their order."""
    for session, entries in by_session.items():
        pool = [entry for other, entries in by_session.items() if other != session for entry in entries]
        for part, chosen in (("train", pool), ("test", entries)):
            path = root / "meta_data" / session / f"{part}_meta_data.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            meta = [{"path": audio, "label": label, "speaker": audio[:6]} for audio, label in chosen]
            path.write_text(json.dumps({"labels": {"neu": 0, "hap": 1, "ang": 2, "sad": 3}, "meta_data": meta}))


def write_marker(folder: Path, corpus: str, counts: dict[str, int]) -> None:
    content = {"corpus": corpus, "version": 1, "seed": 7, "counts": counts, "files": 0, "bytes": 0, "digest": ""}
    (folder / "MINI.json").write_text(json.dumps(content))
