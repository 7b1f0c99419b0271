"""The small LibriSpeech: its layout, its words, its sound; and the files that clips are written to."""

import json
import math
import re
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
import soundfile

from downstream.corpora import lexicon, librispeech, mini
from downstream.corpora.mini.plans import plan
from downstream.corpora.mini.writing import MP3_RATE, write_audio
from upstream.audio import read_audio, read_header

SCALE = 0.03


def make(out, **options):
    [[root]] = mini.make(out, ["librispeech"], progress=False, scale=SCALE, **options).values()
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mini"), jobs=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """At its full size, all but the sound."""
    made, root = plan("librispeech", 0, 1.0), tmp_path_factory.mktemp("whole")
    for clip in made.clips:
        (root / clip.path).parent.mkdir(parents=True, exist_ok=True)
        (root / clip.path).touch()
    for path, text in made.texts.items():
        (root / path).write_text(text)
    return librispeech.read(root / "LibriSpeech")


def words_of(manifest, split):
    return Counter(word for example in manifest.splits[split] for word in example.target[0].split())


def test_same_seed_gives_the_same_bytes_and_another_one_others(root, tmp_path):
    digests = [json.loads((top / "MINI.json").read_text())["digest"] for top in (root, make(tmp_path / "a", jobs=1))]
    assert digests[0] == digests[1]
    assert {clip.path for clip in plan("librispeech", 1, SCALE).clips} != {
        clip.path for clip in plan("librispeech", 0, SCALE).clips
    }


def test_reader_reads_what_was_planned(root):
    manifest, made = librispeech.read(root), plan("librispeech", 0, SCALE)
    assert manifest.complete and manifest.counts == made.counts == {"train": 19, "dev": 4, "test": 4}
    assert {f"LibriSpeech/{e.audio}" for e in manifest.examples()} == {clip.path for clip in made.clips}


def test_clips_are_flac_of_two_to_eight_seconds(root):
    files = list(root.rglob("*.flac"))
    assert len(files) == 27
    for path in files:
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16000, 1)
        wave, _ = soundfile.read(path, dtype="float32")
        assert 2 <= len(wave) / 16000 <= 8
        assert np.sqrt((wave**2).mean()) > 1e-3 and (np.abs(wave) > 0.96).mean() < 0.001
        assert np.array_equal(read_audio(path), wave)


def test_no_speaker_is_in_two_splits(whole):
    assert whole.counts == {"train": 640, "dev": 64, "test": 128}
    speakers = {split: {example.group for example in examples} for split, examples in whole.splits.items()}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 12, "dev": 4, "test": 6}
    assert len(set.union(*speakers.values())) == 22
    assert all(re.fullmatch(r"\d{2,4}-\d{4,6}-00\d\d", example.id) for example in whole.examples())


def test_words_of_dev_and_test_are_common_in_train_and_their_sentences_are_new(whole):
    train = words_of(whole, "train")
    assert 140 <= len(train) <= 160
    assert all(train[word] >= 10 for split in ("dev", "test") for word in words_of(whole, split))
    heard = {example.target for example in whole.splits["train"]}
    assert sum(example.target in heard for example in whole.splits["test"]) < 10
    assert set("".join(train)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")


def test_every_word_is_pronounced_and_spelled(whole):
    files = lexicon.find(whole.root)
    words, first = lexicon.read(files), lexicon.read(files[:1])
    spoken = set(words_of(whole, "train"))
    assert spoken == set(words)
    assert 3 <= len(set(words) - set(first)) <= 10
    assert words["THE"] == ("DH", "AH0") and "THE\tDH IY1\n" in files[0].read_text()
    assert lexicon.read(files[::-1]) != words  # the order of the files matters
    lines = (whole.root / "librispeech_lexicon.lst").read_text().splitlines()
    assert lines == sorted(f"{word}\t{' '.join(word)} |" for word in spoken)


def test_language_model_knows_what_comes_next(whole):
    kenlm = pytest.importorskip("kenlm")
    model = kenlm.Model(str(whole.root / "4-gram.arpa"))
    assert model.order == 3
    train, test = words_of(whole, "train"), words_of(whole, "test")
    alone = sum(count * math.log10(train[word] / train.total()) for word, count in test.items()) / test.total()
    sentences = [example.target[0] for example in whole.splits["test"]]
    in_order = sum(model.score(sentence) for sentence in sentences) / (test.total() + len(sentences))
    assert 10**-in_order < 8 and 10**-alone > 50
    assert (
        model.score("A BRAVE KNIGHT COULD SEE THE KING'S SON")
        > model.score("A BRAVE NIGHT WOOD SEA THE KING'S SUN") + 3
    )


# The files that clips are written to


def chirp():
    seconds = np.arange(24000) / 16000
    return np.round(12000 * np.sin(2 * np.pi * (300 * seconds + 400 * seconds**2))).astype("<i2")


def test_wav_has_44_bytes_of_header_and_the_samples(tmp_path):
    write_audio(tmp_path / "a" / "x.wav", chirp())
    theirs = BytesIO()
    soundfile.write(theirs, chirp(), 16000, format="WAV", subtype="PCM_16")
    assert (tmp_path / "a" / "x.wav").read_bytes() == theirs.getvalue()
    assert len(theirs.getvalue()) == 44 + 2 * len(chirp())


def test_flac_gives_back_every_sample(tmp_path):
    write_audio(tmp_path / "x.flac", chirp())
    assert np.array_equal(soundfile.read(tmp_path / "x.flac", dtype="int16")[0], chirp())


def test_mp3_has_another_rate_and_nearly_the_same_sound(tmp_path):
    write_audio(tmp_path / "x.mp3", chirp())
    info = soundfile.info(tmp_path / "x.mp3")
    assert (info.format, info.samplerate, info.channels) == ("MP3", MP3_RATE, 1)
    delay = 1105  # samples of MP3_RATE: of every encoder of this kind
    heard = soundfile.read(tmp_path / "x.mp3")[0][delay::2][: len(chirp())]
    assert np.corrcoef(heard, chirp())[0, 1] > 0.99


def test_mp3_is_as_an_encoder_leaves_it_that_writes_into_a_pipe(tmp_path):
    for name in ("x.mp3", "y.mp3"):
        write_audio(tmp_path / name, chirp())
    content = (tmp_path / "x.mp3").read_bytes()
    assert content == (tmp_path / "y.mp3").read_bytes()
    assert content.startswith(b"ID3\4\0\0\0\0\0\x23TSSE") and content[45:47] == b"\xff\xfb"
    assert b"Info" not in content and b"Xing" not in content
    frames = 45 + 288 * np.arange(1, (len(content) - 45) // 288)  # at 64 kbit/s
    assert {content[at : at + 2] for at in frames} == {b"\xff\xfb"}
    assert soundfile.info(tmp_path / "x.mp3").frames > len(frames) * 1152 + 1152  # what libsndfile guesses
    assert read_header(tmp_path / "x.mp3").frames == len(frames) * 1152 + 1152
    assert len(read_audio(tmp_path / "x.mp3")) == len(frames) * 576 + 576
