"""How long the work of `superb_work.py` takes: rates of this machine as measured, of a GPU as assumed, and hours."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from superb_work import FRAMES_A_SECOND, MEANS, Work, works

from upstream.encoder.shape import named

_OUTPUT = Path(__file__).with_name("output")
HALF, HOUR = 2, 3600


@cache
def measured(name: str, figure: str, title: str = "") -> float:
    """A figure that a script has printed into `bench/output/`, under the first title that begins so."""
    inside = False
    for line in (_OUTPUT / name).read_text(encoding="utf-8").splitlines():
        words, _, value = line.rpartition(" ")
        if inside and words.strip() == figure:
            return float(value)
        inside = inside or line.startswith(title)
    raise SystemExit(f"{_OUTPUT / name} has no '{figure}' under a title that begins with '{title}'. Run it again.")


@dataclass(frozen=True)
class Model:
    """A size of upstream."""

    name: str
    layers: int
    dim: int

    @property
    def titled(self) -> str:
        return f"wavlm-{self.name}"

    @property
    def flops_a_second(self) -> float:
        """Of audio, in utterances of 10 s."""
        return 2 * named(f"wavlm_{self.name}").macs(160000) / 10

    @property
    def wider(self) -> float:
        """Values of a frame, over all layers, against a base model's."""
        return self.layers * self.dim / (BASE.layers * BASE.dim)


BASE, LARGE = Model("base", 13, 768), Model("large", 25, 1024)

# Measured on two cores. What the steps were measured on is beside them.
ASR_STEP, ASR_FRAMES, ASR_DIM = measured("asr_step.txt", "step, ours (s)"), 16 * 810, 240
ASR_PEER = measured("asr_step.txt", "s3prl / ours")
ASV_STEP, ASV_FRAMES, ASV_DIM = measured("asv_step.txt", "step, ours (s)"), 50 * 640, 240
ASV_PEER = measured("asv_step.txt", "s3prl / ours")
PR_STEP = measured("pr_step.txt", "seven learning rates, reading ahead (ms)") / 1000
PR_STEP_ONE = measured("pr_step.txt", "one learning rate, reading ahead (ms)") / 1000
PR_FRAMES = 32 * 5.4 * FRAMES_A_SECOND
KS_PEER_HEAD, KS_FRAMES = measured("train_step.txt", "frames, one learning rate (ms)") / 1000, 32 * 49
PAIRS = measured("qbe_search.txt", "pairs a second")
SHORT_PEER = 2.9  # s3prl's BiLSTM against ours at 100 frames, which is the least (peer's costs, first measured)

# Assumed of a GPU: an H100, dense, at a share of its peak that large products reach.
SHARE = 0.4
FLOAT32, BFLOAT16 = SHARE * 67e12, SHARE * 989e12  # flops a second; ours and the peer compute in float32 unless told
DISK = 3e9  # bytes a second from the disk of frames
TIME_STEP = 40e-6  # seconds of one step in time of a recurrent layer, forwards and backwards


def hearing_rate(model: Model, who: str = "ours float32") -> float:
    """Seconds of audio per second, two cores."""
    return measured("encoder_speed.txt", f"{who}, audio seconds per second on two threads", model.titled)


def grid_step(model: Model) -> float:
    return measured("grid.txt", f"{model.layers} x {model.dim}: grid of seven, ms a step") / 1000


def cpu_flops(work: Work) -> float:
    """Flops a second that a head reaches on two cores: of the x-vector, or of recurrent heads."""
    asv = work.task == "asv"
    dim, frames, seconds = (ASV_DIM, ASV_FRAMES, ASV_STEP) if asv else (ASR_DIM, ASR_FRAMES, ASR_STEP)
    like = work if asv else works()["asr"]
    return 6 * like.macs_a_frame(dim) * frames / seconds


def search_hours(model: Model) -> float:
    """Of all layers of qbe on two cores, dev and test queries; wider frames take longer in proportion."""
    corpus = works()["qbe"].corpus
    pairs = model.layers * corpus.train.utterances * (corpus.dev.utterances + corpus.test.utterances)
    return pairs / PAIRS * model.dim / BASE.dim / HOUR


def head_hours(work: Work, model: Model, gpu: bool) -> float:
    """Of all learning rates of a task, and of all its trainings, once the features are kept."""
    if work.task == "qbe":
        return search_hours(model)
    if work.task in MEANS:
        return work.trainings * work.numbers.steps * grid_step(model) / HOUR
    steps, flops, looks = work.numbers.steps, work.step_flops(model.dim), work.look_flops(model.dim)
    if gpu:
        read = work.step_frames * model.layers * model.dim * HALF / DISK
        step = max(read, work.rates * max(flops / FLOAT32, work.recurrent_steps() * TIME_STEP))
        return work.trainings * (steps * step + work.rates * looks / FLOAT32) / HOUR
    mixed = (steps * work.step_frames + work.look_frames) * PR_STEP / PR_FRAMES * model.wider  # PR's head is in it
    head = 0.0 if work.task == "pr" else work.rates * (steps * flops + looks) / cpu_flops(work)
    return work.trainings * (mixed + head) / HOUR


def peer_head_hours(work: Work, model: Model, gpu: bool) -> float:
    """Of all learning rates one after the other. Where nothing was measured, a head costs the peer what it costs us."""
    if work.task == "qbe":
        return search_hours(model) * (1 if gpu else measured("qbe_search.txt", "times the peer"))
    runs, steps = work.rates * work.peer_trainings, work.numbers.steps
    if work.task in MEANS:
        step = 0.0 if gpu else KS_PEER_HEAD * work.step_frames / KS_FRAMES * model.wider
    elif gpu:
        step = max(work.step_flops(model.dim) / FLOAT32, work.recurrent_steps() * TIME_STEP)
    elif work.task == "pr":
        step = PR_STEP_ONE * work.step_frames / PR_FRAMES * model.wider
    else:
        slower = {"asr": ASR_PEER, "asv": ASV_PEER, "sd": 1, "ss": 1, "se": 1}.get(work.task, SHORT_PEER)
        step = slower * work.step_flops(model.dim) / cpu_flops(work)
    return runs * steps * step / HOUR
