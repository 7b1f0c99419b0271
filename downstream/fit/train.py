"""The one training loop, for every task, every grid, kept features or live ones: trainings alone or in lockstep."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import NoReturn

import torch
from tqdm import tqdm

from downstream.fit.batches import Batch, read_together
from downstream.fit.looking import Opened, predict_all
from downstream.fit.running import Running, Training
from downstream.fit.sampling import Draw
from downstream.fit.stopping import Interrupted, asked_to_stop
from downstream.represent.features import Features
from downstream.represent.hearing import prefetched
from upstream.devices import threads

_LIVE = "live"  # features of which nothing is kept
_SAVE_SECONDS = 5.0  # between checkpoints, which are taken after a look at dev
_LONGEST_UNSAVED = 60.0  # unless looks are rarer than this, as they are with live features
_SAVING_SHARE = 0.05  # of the time, at most: a grid of large heads takes gigabytes


def fit(
    trainings: Sequence[Training], features: Features, crop_samples: int | None, progress_bar: bool
) -> list[Exception | None]:
    """Do some trainings on the same features, each exactly as if it were alone: what one ended with, None if all went
    well.

    Where audio is heard anew they take their steps together: what the next steps of all of them want is heard once.
    Reading what is kept costs less than heads that push each other out of the processor's cache, so there each takes
    its steps up to the next look at dev alone. Those that come to a look wait until all are at one: dev is read or
    heard once for all. One that fails does not stop the others; when the features cannot be had, all of them end.
    """
    running = [Running(training) for training in trainings]
    for one in running:
        one.attempt(one.begin, features, crop_samples)
    with _bar(running, progress_bar) as bar, asked_to_stop() as stop, threads(torch.get_num_threads()):
        while going := [one for one in running if one.goes_on]:
            try:
                for group in [going] if features.mode == _LIVE else [[one] for one in going]:
                    if not stop.is_set():
                        _up_to_the_next_look(group, going, features, crop_samples is not None, stop.is_set, bar.update)
                looking = [one for one in going if one.goes_on]
                if looking and all(one.is_at_a_look for one in looking):
                    _look(looking, features)
            except Exception as error:
                for one in going:
                    one.error = one.error or error
            bar.set_postfix_str("; ".join(one.best_so_far() for one in running if one.training.progress.history))
            if stop.is_set():
                _leave(running)
    return [one.error for one in running]


def _up_to_the_next_look(
    group: list[Running],
    going: list[Running],
    features: Features,
    crops: bool,
    is_stopping: Callable[[], bool],
    stepped: Callable[[int], object],
) -> None:
    """Each of a group as far as its next look at dev; those that are nearer to theirs wait.

    It ends early when one of them fails, as the others then have nothing to wait for, and when all are to stop. Those
    that are going, in the group or not, are saved from time to time.
    """
    begin = [one.training.progress.step for one in group]
    ends = [one.next_look for one in group]
    rounds = max(end - step for step, end in zip(begin, ends, strict=True))

    def read(number: int) -> tuple[list[tuple[Running, Draw, Opened]], list[Batch]]:
        steps = zip(group, (step + number for step in begin), ends, strict=True)
        drawn = [(one, *one.drawn(step)) for one, step, end in steps if step < end]
        return drawn, read_together(features, [draw for _, draw, _ in drawn], crops)

    with ExitStack() as end, closing(prefetched(read, range(rounds), features.ahead)) as batches:
        for one in group:
            end.callback(one.attempt, one.catch_up)
        start = time.perf_counter()
        for drawn, own in batches:
            share = (time.perf_counter() - start) / len(drawn)
            for (one, draw, opened), batch in zip(drawn, own, strict=True):
                one.training.seconds += share
                one.attempt(one.step, batch, opened, draw)
            stepped(len(drawn))
            for one in going:
                one.attempt(_save_when_due, one, _LONGEST_UNSAVED)
            if is_stopping() or any(one.error for one in group):
                return
            start = time.perf_counter()


def _look(looking: list[Running], features: Features) -> None:
    """Score every point of all trainings on dev."""
    questions = [one.question() for one in looking]
    for one, question, found in zip(looking, questions, predict_all(questions, features), strict=True):
        one.training.seconds += question.seconds
        one.attempt(_looked, one, found)


def _looked(one: Running, found: list[list] | Exception) -> None:
    one.score(found)
    if one.training.progress.step == one.last:
        one.save()
    else:
        _save_when_due(one, _SAVE_SECONDS)
    one.training.on_look(one.training.progress.history)


def _leave(running: list[Running]) -> NoReturn:
    """Save all, and tell what went wrong so far: nobody will be there to be told later."""
    for one in running:
        one.attempt(one.save)
        if one.error:
            tqdm.write(f"{one.training.checkpoint}: {one.error}", sys.stderr)
    raise Interrupted


def _bar(running: list[Running], shown: bool) -> tqdm:
    total, done = sum(one.last for one in running), sum(one.training.progress.step for one in running)
    names = ", ".join(dict.fromkeys(one.training.fold.name for one in running))
    title = f"train {names}" if len(running) == 1 else f"train {names}, {len(running)} at once"
    return tqdm(total=total, initial=done, desc=title, unit="step", leave=False, disable=not shown or done >= total)


def _save_when_due(one: Running, after: float) -> None:
    """Where the last checkpoint is so old, and writing them takes little of the time."""
    if time.monotonic() - one.saved > max(after, one.saving / _SAVING_SHARE):
        one.save()
