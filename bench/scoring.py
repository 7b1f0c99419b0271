"""How long the error rates of a LibriSpeech test set take, with their intervals, against s3prl's own functions.

    python bench/scoring.py

2,620 made-up transcripts of 20 words or 100 characters, a tenth of the words changed, from 40 speakers: WER, and PER
with letters for phones. s3prl makes no intervals; ours draws 1,000 resamples for each figure, of speakers or, where
none are known, of utterances. Then the slots of 2,800 sentences in which one word of five is one.
"""

import random

from common import import_s3prl, medians, report

from downstream.metrics.bootstrap import percentage_score
from downstream.metrics.edits import single_space_words, words
from downstream.metrics.slots import slot_scores, type_f1

UTTERANCES, WORDS, SPEAKERS, CHANGED = 2620, 20, 40, 0.1
SENTENCES, TAGGED = 2800, 0.2


def transcripts(source: random.Random, count: int) -> tuple[list[str], list[str]]:
    letters = "ETAOINSHRDLUCMFWYPVBGKJQXZ"
    vocabulary = ["".join(source.choices(letters, k=source.randrange(1, 8))) for _ in range(8000)]
    refs = [source.choices(vocabulary, k=WORDS) for _ in range(count)]
    hyps = [[source.choice(vocabulary) if source.random() < CHANGED else word for word in ref] for ref in refs]
    return [" ".join(hyp) for hyp in hyps], [" ".join(ref) for ref in refs]


def tagged(seed: int, text: str) -> str:
    """The same words of the sentence become slots for the same seed."""
    source = random.Random(seed)
    kinds = [f"slot{i}" if source.random() < TAGGED else "" for i in range(WORDS)]
    pairs = zip(kinds, text.split(), strict=True)
    return " ".join(f"B-{kind} {word} E-{kind}" if kind else word for kind, word in pairs)


def main() -> None:
    source = random.Random(0)
    hyps, refs = transcripts(source, UTTERANCES)
    phones = [[" ".join(text.replace(" ", "")) for text in side] for side in (hyps, refs)]
    sentences = [[tagged(i, text) for i, text in enumerate(side)] for side in transcripts(source, SENTENCES)]
    speakers = [f"speaker{i % SPEAKERS}" for i in range(UTTERANCES)]
    metric = import_s3prl("s3prl.downstream.ctc.metric")

    def ours():
        return single_space_words(*phones).rate, words(hyps, refs).rate

    def theirs():
        return 100 * metric.per(*phones), 100 * metric.wer(hyps, refs)

    def scores(groups):
        return [
            percentage_score("per", *single_space_words(*phones).counts, groups, 0, "lower"),
            percentage_score("wer", *words(hyps, refs).counts, groups, 0, "lower"),
        ]

    taken = medians(
        {
            "ours": ours,
            "theirs": theirs,
            "speakers": lambda: scores(speakers),
            "utterances": lambda: scores([None] * UTTERANCES),
            "type F1": lambda: type_f1(*sentences),
            "their type F1": lambda: metric.slot_type_f1(*sentences),
            "slots": lambda: slot_scores(*sentences, [None] * SENTENCES, 0),
        },
        repeats=7,
    )
    report(
        "Scoring 2,620 transcripts (PER and WER) and 2,800 tagged sentences",
        {
            "PER and WER (ms)": taken["ours"],
            "PER and WER, s3prl (ms)": taken["theirs"],
            "PER and WER with intervals over 40 speakers (ms)": taken["speakers"],
            "PER and WER with intervals over utterances (ms)": taken["utterances"],
            "slot type F1 (ms)": taken["type F1"],
            "slot type F1, s3prl (ms)": taken["their type F1"],
            "six figures of slots, intervals over utterances (ms)": taken["slots"],
            "largest difference from s3prl (points)": max(abs(a - b) for a, b in zip(ours(), theirs(), strict=True)),
        },
    )


if __name__ == "__main__":
    main()
