"""Any number of different English sentences about nothing in particular."""

import numpy as np

from downstream.corpora.mini.randomness import pick

_OPENINGS = (
    *("Well,", "You know,", "To be honest,", "In the end", "Last winter", "When I was younger", "Every morning"),
    *("After the meeting", "As far as I remember,", "On the other hand,", "Somehow", "By the time we arrived,"),
    *("Back then", "On Sundays", "Between you and me,", "Before the rain came,", "Most of the time"),
)
_PEOPLE = (
    *("my brother", "the old captain", "our neighbour", "a friend of mine", "the whole team", "my grandmother"),
    *("the young director", "somebody from the office", "the woman next door", "their teacher", "the bus driver"),
    *("a quiet farmer", "the two sisters", "everyone in the village", "the new doctor", "his cousin"),
)
_ACTIONS = (
    *("wanted to buy", "was looking for", "kept talking about", "never understood", "always carried", "painted"),
    *("found", "gave away", "had almost forgotten", "decided to repair", "was proud of", "laughed about", "sold"),
    *("borrowed", "dreamed of", "wrote a long letter about", "promised to bring back", "measured", "photographed"),
)
_THINGS = (
    *("the yellow boat", "a box of broken watches", "the garden behind the school", "an enormous map"),
    *("the first page of the story", "three bags of flour", "a very cheap guitar", "the view from the roof"),
    *("that silly hat", "a wooden bridge"),
    *("the question of money", "a jar of honey", "an orange bicycle", "the last train north", "some unusual advice"),
    *("the keys to the cellar", "a picture of the harbour", "fresh bread and cheese", "the noise of the river"),
)
_ENDINGS = (
    *("and nobody asked why", "because the road was closed", "without saying a word", "for more than twenty years"),
    *("until the lights went out", "which surprised all of us", "in front of the station", "and that was enough"),
    *("while the others were asleep", "before breakfast", "as if it were the most natural thing", "just for fun"),
    *("and I have thought about it ever since", "near the edge of the forest", "so we changed the plan"),
)
_REMARKS = (
    *("I could hardly believe it", "That is what I heard", "It does not matter now", "We should try it again"),
    *("Nobody told me", "It happens more often than you think", "I would do the same", "Let me think about that"),
    *("There was no other way", "What else could we do", "It took me a while to see it", "You would have liked it"),
)


def sentence(rng: np.random.Generator) -> str:
    """One sentence, without its full stop."""
    if rng.random() < 0.2:
        return str(pick(rng, _REMARKS))
    parts = [pick(rng, _PEOPLE), pick(rng, _ACTIONS), pick(rng, _THINGS)]
    if rng.random() < 0.5:
        parts.insert(0, pick(rng, _OPENINGS))
    if rng.random() < 0.6:
        parts.append(pick(rng, _ENDINGS))
    text = " ".join(map(str, parts))
    return text[0].upper() + text[1:]


def passage(rng: np.random.Generator, words: int) -> str:
    """Sentences that have at least so many words together."""
    text: list[str] = []
    while sum(len(part.split()) for part in text) < words:
        text.append(sentence(rng) + ".")
    return " ".join(text)
