"""What each task of SUPERB asks for: hours of audio, passes over it, multiply-adds of its head. Nothing is measured.

Steps, batches and sizes of heads are read from the protocol. Numbers of utterances are those that the readers of the
corpora expect; hours are those the corpora's authors give. What is assumed is marked so, here and in what is printed.
"""

from dataclasses import dataclass
from functools import cache, cached_property

from downstream import protocols
from downstream.protocols import Protocol, TaskProtocol

FRAMES_A_SECOND = 50
SUPERB = ("pr", "asr", "ks", "qbe", "sid", "asv", "sd", "ic", "sf", "er")
MORE = ("ood-asr-es", "ood-asr-zh", "ood-asr-ar", "ss", "se")  # of SUPERB-SG
MEANS = ("ks", "sid", "ic", "er")  # whose heads need no frames
TESTED_AT_LOOKS = ("ks", "sid", "ic", "er", "asv")  # whose test set the peer hears whenever it looks at dev
_FOLDS = {"er": 5}
_CLASSES = {"pr": 74, "asr": 32, "sf": 109, "ood-asr-es": 58, "ood-asr-zh": 4320, "ood-asr-ar": 60}
_BINS, _SOURCES = 257, {"ss": 2, "se": 1}
_XVECTOR = ((5, 512, 512), (3, 512, 512), (3, 512, 512), (1, 512, 512), (1, 512, 1500))  # frames looked at, in, out


@dataclass(frozen=True)
class Part:
    """A split of a corpus."""

    hours: float
    utterances: int

    @property
    def seconds(self) -> float:
        """Of an utterance, on average."""
        return 3600 * self.hours / self.utterances


@dataclass(frozen=True)
class Corpus:
    name: str
    train: Part
    dev: Part
    test: Part
    assumed: str = ""

    @property
    def hours(self) -> float:
        return self.train.hours + self.dev.hours + self.test.hours


def _shared(name: str, hours: float, counts: tuple[int, int, int], assumed: str = "") -> Corpus:
    """A corpus whose hours are known only as a whole: each utterance has an equal share."""
    return Corpus(name, *(Part(hours * count / sum(counts), count) for count in counts), assumed)


def _each(name: str, seconds: float, counts: tuple[int, int, int], assumed: str) -> Corpus:
    return _shared(name, seconds * sum(counts) / 3600, counts, assumed)


_LIBRISPEECH = Corpus("LibriSpeech, clean 100 h", Part(100.6, 28539), Part(5.4, 2703), Part(5.4, 2620))
_SHORTER = "at most: the mean of LibriSpeech"
CORPORA = {
    "pr": _LIBRISPEECH,
    "asr": _LIBRISPEECH,
    "ks": _each("Speech Commands v1", 1.0, (51094, 6798, 3081), "at most: all clips last 1 s"),
    "qbe": _shared("QUESST 2014, English", 23 * 2714 / 12492, (2438, 138, 138), "queries as long as documents"),
    "sid": _shared("VoxCeleb1", 352.0, (138361, 6904, 8251)),
    "asv": _shared("VoxCeleb1, -3 dB, trimmed", 352.0 * 153357 / 153516, (148642, 0, 4715), "at most: no silence"),
    "sd": Corpus("Libri2Mix, max, noise", Part(58.0, 13900), Part(11.0, 3000), Part(11.0, 3000)),
    "ic": Corpus("Fluent Speech Commands", Part(14.7, 23132), Part(1.9, 3118), Part(2.4, 3793)),
    "sf": _each("Audio SNIPS", 3.0, (104672, 2800, 2800), "3 s an utterance"),
    "er": _each("IEMOCAP, four emotions", 4.5, (3540, 885, 1106), "4.5 s an utterance"),
    "ood-asr-es": _each("Common Voice 7, Mexican", 5.0, (15500, 900, 500), "5 s each, 22 h of train"),
    "ood-asr-zh": _each("Common Voice 7, Mandarin", 5.0, (22500, 10500, 11000), "5 s each, 31 h of train"),
    "ood-asr-ar": _each("Common Voice 7, Arabic", 5.0, (22000, 9000, 9000), "5 s each, 31 h of train"),
    "ss": Corpus("Libri2Mix, min, clean", Part(49.0, 13900), Part(2.0, 1000), Part(6.2, 3000), _SHORTER),
    "se": _shared("VoiceBank-DEMAND", 10.0, (10802, 770, 824)),
}


@dataclass(frozen=True)
class Work:
    """One task's, with its numbers in SUPERB's protocol."""

    task: str
    protocol: Protocol

    @property
    def corpus(self) -> Corpus:
        return CORPORA[self.task]

    @cached_property
    def numbers(self) -> TaskProtocol:
        return self.protocol.task(self.task)

    @property
    def rates(self) -> int:
        return len(self.numbers.rates)

    @property
    def trainings(self) -> int:
        """Of ours: verification trains once more without the speakers by which it chooses honestly."""
        return _FOLDS.get(self.task, 2 if self.numbers.dev_speakers else 1)

    @property
    def peer_trainings(self) -> int:
        return _FOLDS.get(self.task, 1)

    @property
    def looks(self) -> int:
        return -(-self.numbers.steps // self.numbers.eval_every)

    @property
    def utterance_seconds(self) -> float:
        """Of an utterance of a batch, at most the crop."""
        return min(self.corpus.train.seconds, self.numbers.crop_seconds or self.corpus.train.seconds)

    @property
    def step_seconds(self) -> float:
        """Of audio in one optimizer step."""
        return self.numbers.batch * self.numbers.accumulate * self.utterance_seconds

    @property
    def step_frames(self) -> float:
        return FRAMES_A_SECOND * self.step_seconds

    def looked_hours(self, test_at_looks: bool) -> float:
        """Of audio that one training predicts: dev at each look, test at the end or at each look too."""
        looked = self.corpus.dev.hours + (self.corpus.test.hours if test_at_looks else 0.0)
        return self.looks * looked + self.corpus.test.hours

    def _training_hours(self, test_at_looks: bool) -> float:
        return self.numbers.steps * self.step_seconds / 3600 + self.looked_hours(test_at_looks)

    def live_hours(self) -> float:
        """Heard where nothing is kept: every batch once for all learning rates, dev at each look, test at the end."""
        if self.task == "qbe":
            return self.corpus.hours
        return self.trainings * self._training_hours(self.task == "asv")

    def peer_hours(self, layers: int) -> float:
        """Heard by the peer, which hears every batch at each learning rate, and all of qbe for each layer."""
        if self.task == "qbe":
            return layers * self.corpus.hours
        return self.rates * self.peer_trainings * self._training_hours(self.task in TESTED_AT_LOOKS)

    def macs_a_frame(self, dim: int) -> int:
        """Of the head at one learning rate, forwards; of tasks that train on frames."""
        numbers = self.numbers
        if self.task == "asv":
            return dim * 512 + sum(context * into * out for context, into, out in _XVECTOR)
        if self.task == "sd":
            return _lstm(dim, numbers.hidden) + 2 * numbers.hidden
        if self.task in _SOURCES:
            return _stack(dim, numbers.hidden, numbers.layers) + _SOURCES[self.task] * 2 * numbers.hidden * _BINS
        width, classes = numbers.projector, _CLASSES[self.task]
        if self.task == "pr":
            return dim * width + width * classes
        both = 2 * numbers.hidden
        projections = numbers.layers * both * both if numbers.project else 0
        return dim * width + _stack(width, numbers.hidden, numbers.layers) + projections + both * classes

    def step_flops(self, dim: int) -> float:
        """Forwards and backwards, at one learning rate: three times forwards."""
        return 6 * self.macs_a_frame(dim) * self.step_frames

    @property
    def look_frames(self) -> float:
        """Of what one training predicts."""
        return FRAMES_A_SECOND * 3600 * self.looked_hours(self.task == "asv")

    def look_flops(self, dim: int) -> float:
        return 2 * self.macs_a_frame(dim) * self.look_frames

    def recurrent_steps(self) -> float:
        """Steps of time that follow on each other in one micro-batch, over the layers that have any."""
        if self.task in ("pr", "asv"):
            return 0
        return FRAMES_A_SECOND * self.utterance_seconds * self.numbers.layers * self.numbers.accumulate

    def kept_gigabytes(self, layers: int, dim: int) -> float:
        """Means (with edges of blocks where utterances are cropped: at most, if all were longer), or frames."""
        if self.task not in MEANS:
            return frames_gigabytes(self.corpus.hours, layers, dim)
        utterances = self.corpus.train.utterances + self.corpus.dev.utterances + self.corpus.test.utterances
        blocks = 5 * 3600 * self.corpus.train.hours if self.numbers.crop_seconds else 0
        return 4 * (utterances * layers * (dim + 1) + blocks * layers * dim) / 1e9


def frames_gigabytes(hours: float, layers: int, dim: int) -> float:
    return 2 * 3600 * FRAMES_A_SECOND * hours * layers * dim / 1e9


@cache
def works() -> dict[str, Work]:
    protocol = protocols.load("superb")
    return {task: Work(task, protocol) for task in (*SUPERB, *MORE)}


def _lstm(width: int, hidden: int) -> int:
    return 4 * hidden * (width + hidden)


def _stack(width: int, hidden: int, layers: int) -> int:
    """Bidirectional layers, each on the outputs of the one before."""
    return 2 * (_lstm(width, hidden) + (layers - 1) * _lstm(2 * hidden, hidden))
