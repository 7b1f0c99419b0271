import itertools
import math
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import kenlm
import numpy as np
import pytest
from oracles import import_s3prl

from downstream import processes
from downstream.corpora.mini.ngram import arpa_text
from downstream.decoding import workers
from downstream.decoding.beam import BeamSettings, Decoder
from downstream.decoding.language_model import LanguageModel
from downstream.decoding.workers import decode_all
from upstream.errors import BenchmarkError, DataError, MissingError

TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "|", *"CATRSO"]
TEXTS = ("A CAT SAT", "A CAT SAT ACROSS A TSAR", "A STAR", "CAT SAT", "A CAT", "OAT COST")
SENTENCES = [text.split() for text in TEXTS]
MORE = ("CAR", "CATS", "OATS")
TINY = ["<s>", "|", "a", "b"]


def language_model(
    folder: Path, sentences=SENTENCES, extra: tuple[str, ...] = ("CAR", "CATS", "OATS")
) -> LanguageModel:
    model = LanguageModel(folder / "lm.arpa", folder / "lexicon.lst")
    model.arpa.write_text(arpa_text(sentences, 4))
    words = sorted({*itertools.chain(*sentences), *extra})
    model.lexicon.write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in words))
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return language_model(tmp_path_factory.mktemp("lm"))


def decoder(model: LanguageModel, tokens=TOKENS, **settings) -> Decoder:
    return Decoder(tokens, 0, "|", model, BeamSettings(**settings))


def normalised(scores: np.ndarray) -> np.ndarray:
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def noise(rng: np.random.Generator, frames: int, tokens=TOKENS, scale: float = 1.0) -> np.ndarray:
    return normalised(scale * rng.normal(size=(frames, len(tokens))))


def spoken(text: str, height: float = 8.0, repeats: int = 2) -> np.ndarray:
    """Frames with a peak at each letter, and blanks between."""
    path = []
    for letter in text.replace(" ", "|") + "|":
        path += [TOKENS.index(letter)] * repeats + [0]
    scores = np.zeros((len(path), len(TOKENS)))
    scores[np.arange(len(path)), path] = height
    return normalised(scores)


def several(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [noise(rng, int(frames), scale=2.0) for frames in rng.integers(0, 80, size=count)]


# ---- one utterance


def test_what_is_spoken_clearly_comes_out(model) -> None:
    assert decoder(model).decode(spoken("A CAT SAT ACROSS A TSAR")) == ["A", "CAT", "SAT", "ACROSS", "A", "TSAR"]


def test_of_two_words_that_sound_alike_the_likelier_comes_out(model) -> None:
    frames = spoken("A CAT SAT")
    third = 3 * 4  # where the T of CAT begins: A, the bar, C and A have three frames each
    frames[third : third + 2, TOKENS.index("R")] = frames[third : third + 2, TOKENS.index("T")]
    assert decoder(model).decode(frames) == ["A", "CAT", "SAT"]
    towards_car = frames.copy()
    towards_car[third : third + 2, TOKENS.index("R")] += 0.1
    assert decoder(model).decode(towards_car) == ["A", "CAT", "SAT"]
    assert decoder(model, lm_weight=0.0).decode(towards_car) == ["A", "CAR", "SAT"]


def test_a_word_score_counts_once_for_each_word(model) -> None:
    frames = noise(np.random.default_rng(0), 60)
    lengths = [len(decoder(model, word_score=score).decode(frames)) for score in (-20.0, -1.0, 20.0)]
    assert lengths[0] < lengths[1] < lengths[2]


def test_no_frames_are_nothing_found(model) -> None:
    assert decoder(model).decode(np.zeros((0, len(TOKENS)), np.float32)) is None


def test_only_blanks_are_an_utterance_without_words(model) -> None:
    frames = np.full((9, len(TOKENS)), -20, np.float32)
    frames[:, 0] = 0
    assert decoder(model).decode(frames) == []


def test_other_types_and_layouts_of_the_same_numbers_give_the_same_words(model) -> None:
    frames = several(5)[4]
    words = decoder(model).decode(frames)
    assert words
    assert decoder(model).decode(frames.astype(np.float64)) == words
    assert decoder(model).decode(np.asfortranarray(frames)) == words


def test_a_wrong_shape_or_a_nan_is_refused(model) -> None:
    with pytest.raises(ValueError, match=r"expected \(frames, 11\)"):
        decoder(model).decode(np.zeros((4, 12), np.float32))
    for number in (np.nan, -np.inf):
        frames = noise(np.random.default_rng(0), 4)
        frames[2, 3] = number
        with pytest.raises(DataError, match="have a NaN or an infinity"):
            decoder(model).decode(frames)


# ---- against others


def collapsed(path: tuple[int, ...]) -> str:
    return "".join(TINY[token] for token, _ in itertools.groupby(path) if token != 0)


@pytest.mark.parametrize("lm_weight", [0.0, 2.0])
@pytest.mark.parametrize("word_score", [-1.0, 0.7])
def test_a_wide_beam_finds_the_best_of_all_paths(lm_weight: float, word_score: float, tmp_path: Path) -> None:
    lm = language_model(tmp_path, [["a", "b", "ab"], ["ab", "ab"], ["a", "ba"], ["bb"]], ())
    grams = kenlm.Model(str(lm.arpa))
    words = {"a", "b", "ab", "ba", "bb"}
    # every path whose letters make words, each closed by the bar; bars elsewhere are pauses
    readings: dict[tuple[int, ...], list[str]] = {}
    for path in itertools.product(range(len(TINY)), repeat=6):
        *parts, rest = collapsed(path).split("|")
        if not rest and words.issuperset(filter(None, parts)):
            readings[path] = list(filter(None, parts))
    paths = np.array(list(readings))
    bonus = np.array(
        [lm_weight * grams.score(" ".join(reading)) + word_score * len(reading) for reading in readings.values()]
    )
    wide = Decoder(TINY, 0, "|", lm, BeamSettings(beam=5000, threshold=1e6, lm_weight=lm_weight, word_score=word_score))
    rng = np.random.default_rng(5)
    found = []
    for _ in range(40):
        frames = noise(rng, 6, TINY, scale=3.0)
        sums = frames[np.arange(6), paths].sum(1) + bonus
        found.append(wide.decode(frames))
        assert found[-1] == readings[tuple(paths[sums.argmax()])]
    assert len(set(map(tuple, found))) >= 5


class FairseqDictionary:
    """As much as s3prl's decoder asks of a fairseq dictionary."""

    def __init__(self) -> None:
        self.symbols = TOKENS
        self.indices = {token: index for index, token in enumerate(TOKENS)}

    def __len__(self) -> int:
        return len(TOKENS)

    def index(self, token: str) -> int:
        return self.indices.get(token, self.unk())

    def bos(self) -> int:
        return 0

    def eos(self) -> int:
        return 2

    def unk(self) -> int:
        return 3


def test_the_words_are_those_of_s3prl(model) -> None:
    import torch

    arguments = Namespace(
        kenlm_model=str(model.arpa),
        lexicon=str(model.lexicon),
        nbest=1,
        beam=5,
        beam_size_token=len(TOKENS),
        beam_threshold=25.0,
        lm_weight=2.0,
        word_score=-1.0,
        unk_weight=-math.inf,
        sil_weight=0.0,
    )
    theirs = import_s3prl("s3prl.downstream.asr.w2l_decoder").W2lKenLMDecoder(arguments, FairseqDictionary())
    ours = decoder(model)
    rng = np.random.default_rng(7)
    kinds = set()
    for at in range(300):
        clear = spoken(TEXTS[at % len(TEXTS)], height=3.0)
        frames = normalised(clear + rng.normal(size=clear.shape) * rng.choice([0.5, 1.5, 3.0]))
        words = ours.decode(frames)
        assert words == theirs.decode(torch.from_numpy(frames)[None])[0][0]["words"]
        kinds.add(tuple(words))
    assert len(kinds) > 50


# ---- what is missing or broken


def test_without_the_library_the_message_says_what_to_install(model, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder.kenlm", None)
    for use in (
        lambda: decoder(model),
        lambda: decode_all([], 0, TOKENS, 0, "|", model, BeamSettings()),
    ):
        with pytest.raises(MissingError, match=r"pip install 'sslbench\[lm\]'"):
            use()


def test_what_kenlm_refuses_is_an_error_that_names_the_file(model, tmp_path: Path) -> None:
    broken = LanguageModel(tmp_path / "4-gram.bin", model.lexicon)
    broken.arpa.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(100))
    for use in (
        lambda: decoder(broken),
        lambda: decode_all(several(2), 2, TOKENS, 0, "|", broken, BeamSettings()),
    ):
        with pytest.raises(DataError, match=r"KenLM cannot read .*4-gram\.bin"):
            use()


def test_a_model_of_other_words_is_refused(model, tmp_path: Path) -> None:
    lower = language_model(tmp_path, [["a", "cat"]], ())
    with pytest.raises(DataError, match=r"has not one of the words of .* upper and lower case"):
        decoder(LanguageModel(lower.arpa, model.lexicon))


def test_broken_files_are_told_before_a_process_is_started(model, tmp_path: Path, monkeypatch) -> None:
    broken = LanguageModel(tmp_path / "lm.arpa", model.lexicon)
    broken.arpa.write_text(model.arpa.read_text()[:100])
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(DataError, match=r"lm\.arpa line \d+: "):
        decode_all(several(2), 2, TOKENS, 0, "|", broken, BeamSettings())


# ---- many utterances


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """The programs that a test starts, which must all have ended when the test has."""
    found = []

    def start(*arguments, **options) -> subprocess.Popen:
        found.append(popen(*arguments, **options))
        return found[-1]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    yield found
    assert found
    for process in found:
        assert process.returncode is not None
        assert gone(process.pid)


def members(group: int) -> list[int]:
    """The processes of a group, without those that have ended and wait for their parent."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def gone(group: int) -> bool:
    return becomes(lambda: not members(group))


def becomes(condition) -> bool:
    """Whether it holds within five seconds."""
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("processes", [1, 3])
def test_many_utterances_keep_their_order_and_are_decoded_as_one_alone(processes: int, model, started) -> None:
    emissions = several(50)
    alone = decoder(model)
    words, facts = decode_all(iter(emissions), 50, TOKENS, 0, "|", model, BeamSettings(), processes)
    assert words == [alone.decode(frames) for frames in emissions]
    assert None in words
    assert (facts.utterances, facts.frames, facts.processes) == (50, sum(map(len, emissions)), processes)
    assert facts.load_seconds > 0
    assert facts.utterances_per_second == pytest.approx(50 / facts.seconds)
    assert facts.frames_per_second == pytest.approx(facts.frames / facts.seconds)


def test_settings_reach_the_processes(model, started) -> None:
    settings = BeamSettings(lm_weight=0.0, word_score=20.0, beam=3)
    words, _ = decode_all(several(9), 9, TOKENS, 0, "|", model, settings, 2)
    assert words == [decoder(model, lm_weight=0.0, word_score=20.0, beam=3).decode(frames) for frames in several(9)]
    assert words != [decoder(model).decode(frames) for frames in several(9)]


def test_utterances_are_asked_for_a_few_ahead(model, started, monkeypatch) -> None:
    taken, ahead = [], []
    collect = workers._Workers.collect

    def counting(self, words) -> None:
        ahead.append(len(taken) - len(ahead))
        collect(self, words)

    monkeypatch.setattr(workers._Workers, "collect", counting)
    decode_all((taken.append(0) or one for one in several(40)), 40, TOKENS, 0, "|", model, BeamSettings(), 2)
    assert max(ahead) == 2 * workers._AHEAD + 1


def test_no_utterance_gives_no_words(model, started) -> None:
    words, facts = decode_all([], 0, TOKENS, 0, "|", model, BeamSettings())
    assert (words, facts.utterances, facts.frames) == ([], 0, 0)


def test_more_or_fewer_utterances_than_announced_are_refused(model, started) -> None:
    for announced, message in ((4, "more than the 4"), (6, "there are 5 utterances, 6 were announced")):
        with pytest.raises(ValueError, match=message):
            decode_all(several(5), announced, TOKENS, 0, "|", model, BeamSettings(), 1)


def test_a_nan_names_its_utterance(model, started) -> None:
    emissions = several(5)
    emissions[3] = np.full((7, len(TOKENS)), np.nan, np.float32)
    with pytest.raises(DataError, match=r"utterance 3: .* have a NaN"):
        decode_all(emissions, 5, TOKENS, 0, "|", model, BeamSettings(), 2)


def test_a_process_that_is_killed_ends_it_all_with_an_error(model, started) -> None:
    def emissions():
        for at, frames in enumerate(several(30)):
            if at == 12:
                assert becomes(lambda: len(members(started[0].pid)) == 4)
                os.kill(next(pid for pid in members(started[0].pid) if pid != started[0].pid), 9)
            yield frames

    with pytest.raises(BenchmarkError, match=r"utterance \d+: .*a decoding process was ended by SIGKILL"):
        decode_all(emissions(), 30, TOKENS, 0, "|", model, BeamSettings(), 3)


def test_a_program_that_dies_while_it_loads_is_an_error_with_what_it_wrote(model, started, monkeypatch) -> None:
    monkeypatch.setattr(processes, "python_path", lambda: "/nowhere")
    monkeypatch.setattr(sys, "executable", "/bin/ls")  # which knows no option -P, and says so
    with pytest.raises(BenchmarkError, match=r"the decoding program has ended.*\n.*ls: "):
        decode_all(several(3), 3, TOKENS, 0, "|", model, BeamSettings(), 2)


def test_an_error_of_the_caller_ends_the_processes(model, started) -> None:
    def emissions():
        yield from several(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_all(emissions(), 9, TOKENS, 0, "|", model, BeamSettings(), 2)


def test_processes_end_when_their_caller_is_killed(model) -> None:
    program = """
import pathlib, sys, time
import numpy as np
from downstream.decoding.beam import BeamSettings
from downstream.decoding.language_model import LanguageModel
from downstream.decoding import workers
def emissions():
    for _ in range(4):
        yield np.zeros((30, 11), np.float32)
    print("ready", flush=True)
    time.sleep(60)
import subprocess
start = subprocess.Popen
def told(*a, **k):
    process = start(*a, **k)
    print(process.pid, flush=True)
    return process
subprocess.Popen = told
arpa, lexicon, *tokens = sys.argv[1:]
model = LanguageModel(pathlib.Path(arpa), pathlib.Path(lexicon))
workers.decode_all(emissions(), 9, tokens, 0, "|", model, BeamSettings(), 2)
"""
    caller = subprocess.Popen(
        [sys.executable, "-c", program, str(model.arpa), str(model.lexicon), *TOKENS],
        stdout=subprocess.PIPE,
        text=True,
    )
    group = int(caller.stdout.readline())
    assert caller.stdout.readline() == "ready\n"
    assert becomes(lambda: len(members(group)) == 3)
    caller.kill()
    caller.wait()
    caller.stdout.close()
    assert gone(group)


def test_the_processes_do_without_torch() -> None:
    program = "import sys, downstream.decoding.worker; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
