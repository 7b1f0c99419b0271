"""A word n-gram language model as an ARPA file: back-off, with Witten-Bell discounting.

A word seen after a history gets its count, the share of all unseen words is the number of different words seen there,
and that share follows the model of the history without its first word:
p(w | h) = (count(h w) + kinds(h) p(w | h[1:])) / (count(h) + kinds(h)). Below single words all words are equal, the
unknown one among them. So the probabilities after every history sum to 1, without a parameter to choose.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import log10

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
_NEVER = -99.0  # how ARPA files write the probability of the start mark, which is no word that could follow another

Gram = tuple[str, ...]


def arpa_text(sentences: Sequence[Sequence[str]], order: int) -> str:
    """The text of an ARPA file with n-grams of up to `order` words (at least 2: KenLM reads no others)."""
    if order < 2 or not any(sentences):
        raise ValueError(f"a language model needs words to count and an order of 2 or more, not {order}")
    followers = _followers(sentences, order)
    grams = _probabilities(followers)
    lines = ["\\data\\", *(f"ngram {n}={len(table)}" for n, table in enumerate(grams, 1))]
    for n, table in enumerate(grams, 1):
        lines += ["", f"\\{n}-grams:"]
        lines += [_line(gram, table[gram], followers.get(gram)) for gram in sorted(table)]
    return "\n".join([*lines, "", "\\end\\", ""])


def _followers(sentences: Sequence[Sequence[str]], order: int) -> dict[Gram, dict[str, int]]:
    """How often each word follows each history of up to `order` - 1 words."""
    followers: dict[Gram, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for sentence in sentences:
        words = (START, *sentence, END)
        for position in range(1, len(words)):
            for length in range(min(order - 1, position) + 1):
                followers[words[position - length : position]][words[position]] += 1
    return dict(followers)


def _probabilities(followers: Mapping[Gram, Mapping[str, int]]) -> list[dict[Gram, float]]:
    """The probability of the last word of every n-gram after the others, a table for each length."""
    counts = followers[()]
    words = [*counts, UNKNOWN]
    uniform = _unseen_share(counts) / len(words)
    unigrams = {(word,): counts.get(word, 0) / _total(counts) + uniform for word in words}
    grams = [unigrams | {(START,): 0.0}]
    while histories := [history for history in followers if len(history) == len(grams)]:
        shorter, table = grams[-1], {}
        for history in histories:
            counts = followers[history]
            share, total = _unseen_share(counts), _total(counts)
            for word, count in counts.items():
                table[(*history, word)] = count / total + share * shorter[(*history[1:], word)]
        grams.append(table)
    return grams


def _unseen_share(counts: Mapping[str, int]) -> float:
    """The share of probability that a history leaves to the shorter history: its back-off weight."""
    return len(counts) / _total(counts)


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.values()) + len(counts)


def _line(gram: Gram, probability: float, followers: Mapping[str, int] | None) -> str:
    weight = "" if followers is None else f"\t{log10(_unseen_share(followers)):.7f}"
    return f"{log10(probability) if probability else _NEVER:.7f}\t{' '.join(gram)}{weight}"
