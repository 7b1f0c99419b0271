import itertools
from pathlib import Path

import kenlm
import numpy as np
import pytest

from downstream.corpora.mini.ngram import arpa_text
from downstream.decoding.arpa import check_arpa

SENTENCES = [line.split() for line in ("A B A", "B", "A B C", "C C A B", "B B B A", "A")]
WORDS = ("A", "B", "C", "</s>", "<unk>")


def tables(text: str) -> list[dict[tuple[str, ...], tuple[float, float]]]:
    """(probability, back-off weight) of every n-gram in the text, both no longer logarithms, a table for each order."""
    found = []
    for line in text.splitlines():
        if line.endswith("-grams:"):
            found.append({})
        elif "\t" in line:
            probability, words, *weight = line.split("\t")
            found[-1][tuple(words.split(" "))] = (10 ** float(probability), 10 ** float(weight[0]) if weight else 1.0)
    return found


def probability(grams, history: tuple[str, ...], word: str) -> float:
    """By the rule that defines ARPA files."""
    gram = (*history, word)
    if gram in grams[len(gram) - 1]:
        return grams[len(gram) - 1][gram][0]
    weight = grams[len(history) - 1].get(history, (0, 1.0))[1]
    return weight * probability(grams, history[1:], word)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_probabilities_after_every_history_sum_to_one(order: int) -> None:
    grams = tables(arpa_text(SENTENCES, order))
    assert len(grams) == order
    for length in range(order):
        for history in itertools.product(("<s>", "A", "B", "C"), repeat=length):
            assert sum(probability(grams, history, word) for word in WORDS) == pytest.approx(1, abs=1e-6)


def test_discounting_is_that_of_witten_and_bell() -> None:
    grams = tables(arpa_text([["A", "B"], ["A"]], 2))
    # five words in all (A B </s> A </s>) of three kinds, and <unk> shares with them what is left for the unseen
    unigram_b = 1 / 8 + 3 / 8 / 4
    assert grams[0]["<unk>",][0] == pytest.approx(3 / 8 / 4)
    assert grams[0]["B",][0] == pytest.approx(unigram_b)
    # after A: B once, </s> once
    assert grams[1]["A", "B"][0] == pytest.approx(1 / 4 + 2 / 4 * unigram_b)
    assert grams[0]["A",][1] == pytest.approx(2 / 4)


@pytest.mark.parametrize("order", [2, 4])
def test_kenlm_reads_it_and_scores_as_the_definition_says(order: int, tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(arpa_text(SENTENCES, order))
    check_arpa(path)
    model, grams = kenlm.Model(str(path)), tables(path.read_text())
    assert model.order == order
    rng = np.random.default_rng(1)
    for _ in range(50):
        words = [("A", "B", "C", "strange")[i] for i in rng.integers(4, size=rng.integers(1, 8))]
        padded = ["<s>", *("<unk>" if word == "strange" else word for word in words), "</s>"]
        expected = sum(
            np.log10(probability(grams, tuple(padded[max(0, at - order + 1) : at]), padded[at]))
            for at in range(1, len(padded))
        )
        assert model.score(" ".join(words)) == pytest.approx(expected, abs=1e-4)


def test_the_text_depends_on_the_sentences_only() -> None:
    assert arpa_text(SENTENCES, 4) == arpa_text([list(words) for words in SENTENCES], 4)
    assert arpa_text(SENTENCES, 3) == arpa_text(SENTENCES[::-1], 3)


def test_orders_beyond_the_longest_sentence_are_left_out() -> None:
    assert len(tables(arpa_text([["A"], ["B"]], 5))) == 3  # <s> A </s>


def test_a_model_without_words_or_of_single_words_is_refused() -> None:
    for sentences, order in ([], 4), ([[]], 4), (SENTENCES, 1):
        with pytest.raises(ValueError, match="needs words to count"):
            arpa_text(sentences, order)
