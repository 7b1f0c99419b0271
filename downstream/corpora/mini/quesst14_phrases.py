"""What is searched for and what is said in the small QUESST 2014, in its three languages."""

from dataclasses import dataclass

_CZECH_ADJECTIVES = ("starý", "nový", "červený", "dřevěný", "malý", "krásný")
_CZECH_NOUNS = ("most", "vlak", "dům", "kabát", "stůl", "hrad", "strom", "autobus")
_ROMANIAN_NOUNS = ("pod", "tren", "tablou", "palton", "tort", "ceas", "oraș", "drum")
_ROMANIAN_ADJECTIVES = ("vechi", "nou", "roșu", "verde", "frumos", "scump")


@dataclass(frozen=True)
class Language:
    """Some of the phrases are searched for, the others are only said. A frame has room for two of either kind."""

    key: str  # in the lists of the corpus
    accents: tuple[str, ...]  # espeak-ng's voices
    phrases: tuple[str, ...]
    frames: tuple[str, ...]
    holders: tuple[int, ...]  # in how many documents a searched phrase is said, in turn
    queries: int  # of each split
    documents: int
    fewest_documents: int  # however small the corpus is made


ENGLISH = Language(
    key="nnenglish",
    accents=("en-us", "en", "en-gb-x-rp", "en-029"),
    phrases=(
        *("frozen orange juice", "broken garden chairs", "heavy thunder clouds", "silver candle holders"),
        *("fresh mushroom soup", "velvet theatre curtains", "hungry polar bears", "electric guitar lessons"),
        *("chocolate birthday cake", "empty parking spaces", "ancient Roman coins", "plastic shopping bags"),
        *("professional tennis players", "cotton bed sheets", "steep mountain paths", "wild forest animals"),
        *("strong black coffee", "cheap airline tickets", "tropical island beaches", "digital alarm clocks"),
        *("wooden kitchen spoons", "serious traffic problems", "purple summer flowers", "modern jazz festivals"),
        *("lazy farm dogs", "village football clubs", "green olive oil", "secret government papers"),
        *("tiny glass bottles", "northern fishing harbours", "rusty bicycle chains", "quiet evening prayers"),
        *("simple magic tricks", "foreign exchange students", "sharp hunting knives", "deep ocean currents"),
        *("warm woollen socks", "national election results", "fried potato pancakes", "yellow rubber gloves"),
        *("solar power stations", "dusty attic rooms", "famous opera singers", "crowded city buses"),
        *("golden wedding rings", "clever detective novels", "bitter lemon tea", "narrow prison windows"),
        *("distant radio signals", "hot desert winds", "married university teachers", "angry honey bees"),
        *("giant pumpkin seeds", "smooth leather jackets", "regular dental treatment", "brown paper envelopes"),
        *("lonely lighthouse keepers", "early morning trains", "Russian chess masters", "medical research funds"),
        *("striped pyjama trousers", "royal palace guards", "cold turkey sandwiches", "weekly piano practice"),
        *("dangerous chemical waste", "second hand furniture", "local weather forecasts", "ripe banana skins"),
        *("long distance runners", "white marble statues", "loud police sirens", "open air markets"),
    ),
    frames=(
        *("We heard about {} and then about {}.", "She wrote a story with {} and {} in it."),
        *("Nobody remembers {}, but we all know {}.", "First they showed us {}, and later {}."),
        *("He said something about {} and {}.", "I dreamed of {} while you were drawing {}."),
        *("We could not decide between {} and {}.", "There were pictures of {} and of {}."),
        *("Tell him that {} matter more than {}.", "They talked about {} instead of {}."),
        *("If you ask me, {} are unlike {}.", "My uncle compared {} with {} again."),
    ),
    holders=(2, 3, 3, 4, 6),
    queries=24,
    documents=120,
    fewest_documents=8,
)
CZECH = Language(
    key="czech",
    accents=("cs",),
    phrases=tuple(f"{adjective} {noun}" for adjective in _CZECH_ADJECTIVES for noun in _CZECH_NOUNS),
    frames=(
        *("Včera jsme viděli {} a potom také {}.", "Na obrázku je {} a hned vedle {}."),
        *("Sousedé mají {} a k tomu ještě {}.", "Nikdo nechce {}, ale všichni chtějí {}."),
    ),
    holders=(2,),
    queries=12,
    documents=40,
    fewest_documents=5,
)
ROMANIAN = Language(
    key="romanian",
    accents=("ro",),
    phrases=tuple(f"{noun} {adjective}" for noun in _ROMANIAN_NOUNS for adjective in _ROMANIAN_ADJECTIVES),
    frames=(
        *("Ieri am văzut un {} și apoi încă un {}.", "În poveste este un {} și lângă el un {}."),
        *("Vecinii noștri au un {}, dar vor un {}.", "Nimeni nu vrea un {}, toți vor un {}."),
    ),
    holders=(2,),
    queries=12,
    documents=40,
    fewest_documents=5,
)
LANGUAGES = (ENGLISH, CZECH, ROMANIAN)
