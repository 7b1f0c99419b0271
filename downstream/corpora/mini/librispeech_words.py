"""What the small LibriSpeech says: phrases to make sentences of, and how each of their words is pronounced.

Words keep the company of the same few others, and some sound alike (sea and see, son and sun, night and knight, two
and to, would and wood), so that a language model has something to say.
"""

OPENINGS = ("ONE DAY", "LONG AGO", "THAT NIGHT", "AT LAST", "IN THE EVENING", "ON THE FIRST OF MAY")
PEOPLE = (
    *("THE OLD CAPTAIN", "THE YOUNG FARMER", "MY GRANDMOTHER", "A TALL STRANGER", "THE KING OF THE ISLAND"),
    *("TWO LITTLE BOYS", "THE DOCTOR'S DAUGHTER", "HER BROTHER", "NOBODY IN THE VILLAGE", "THE QUIET TEACHER"),
    *("THE WOMAN AT THE DOOR", "A BRAVE KNIGHT", "THE KING'S SON", "EVERY SOLDIER"),
)
ACTIONS = (
    *("CARRIED", "WAS LOOKING FOR", "HAD FORGOTTEN", "FOUND", "COULD SEE", "REMEMBERED", "WENT TO", "BOUGHT"),
    *("SAT DOWN BESIDE", "WOULD NOT SELL", "DREAMED OF", "BEGAN TO SING ABOUT", "WROTE A LETTER ABOUT", "LAUGHED AT"),
)
THINGS = (
    *("THE BROKEN CLOCK", "A BASKET OF APPLES", "THE GOLDEN BRIDGE", "THREE WHITE HORSES", "THE LIGHT OF THE MOON"),
    *("A SMALL WOODEN BOAT", "THE OTHER SIDE OF THE RIVER", "HIS FATHER'S HOUSE", "SOME BREAD AND CHEESE"),
    *("THE SCHOOL", "A VERY STRANGE DOG", "THE KEYS OF THE CASTLE", "A CUP OF COLD WATER", "THE PICTURE ON THE WALL"),
)
PLACES = (
    *("NEAR THE EDGE OF THE WOOD", "UNDER THE GREEN TREE", "IN THE MIDDLE OF THE STREET", "BY THE SEA"),
    *("ON THE ROAD TO THE CITY", "AMONG THE FLOWERS", "AT THE TOP OF THE HILL", "IN THE GARDEN"),
)
ENDINGS = (
    *("BEFORE THE SUN CAME UP", "AFTER A LONG WINTER", "AND SAID NOTHING", "WITHOUT A WORD", "WITH GREAT JOY"),
    *("FOR MORE THAN TWENTY YEARS", "UNTIL THE MORNING", "WHEN THE RAIN STOPPED", "BECAUSE IT WAS LATE"),
    *("AND SHE WAS HAPPY AGAIN",),
)

_PRONOUNCED = """
A              AH0
ABOUT          AH0 B AW1 T
AFTER          AE1 F T ER0
AGAIN          AH0 G EH1 N
AGO            AH0 G OW1
AMONG          AH0 M AH1 NG
AND            AH0 N D
APPLES         AE1 P AH0 L Z
AT             AE1 T
BASKET         B AE1 S K AH0 T
BECAUSE        B IH0 K AO1 Z
BEFORE         B IH0 F AO1 R
BEGAN          B IH0 G AE1 N
BESIDE         B IH0 S AY1 D
BOAT           B OW1 T
BOUGHT         B AO1 T
BOYS           B OY1 Z
BRAVE          B R EY1 V
BREAD          B R EH1 D
BRIDGE         B R IH1 JH
BROKEN         B R OW1 K AH0 N
BROTHER        B R AH1 DH ER0
BY             B AY1
CAME           K EY1 M
CAPTAIN        K AE1 P T AH0 N
CARRIED        K AE1 R IY0 D
CASTLE         K AE1 S AH0 L
CHEESE         CH IY1 Z
CITY           S IH1 T IY0
CLOCK          K L AA1 K
COLD           K OW1 L D
COULD          K UH1 D
CUP            K AH1 P
DAUGHTER       D AO1 T ER0
DAY            D EY1
DOG            D AO1 G
DOOR           D AO1 R
DOWN           D AW1 N
DREAMED        D R IY1 M D
EDGE           EH1 JH
EVENING        IY1 V N IH0 NG
EVERY          EH1 V ER0 IY0
FARMER         F AA1 R M ER0
FIRST          F ER1 S T
FLOWERS        F L AW1 ER0 Z
FOR            F AO1 R
FORGOTTEN      F ER0 G AA1 T AH0 N
FOUND          F AW1 N D
GARDEN         G AA1 R D AH0 N
GOLDEN         G OW1 L D AH0 N
GREAT          G R EY1 T
GREEN          G R IY1 N
HAD            HH AE1 D
HAPPY          HH AE1 P IY0
HER            HH ER1
HILL           HH IH1 L
HIS            HH IH1 Z
HORSES         HH AO1 R S AH0 Z
HOUSE          HH AW1 S
IN             IH0 N
ISLAND         AY1 L AH0 N D
IT             IH1 T
JOY            JH OY1
KEYS           K IY1 Z
KING           K IH1 NG
KNIGHT         N AY1 T
LAST           L AE1 S T
LATE           L EY1 T
LAUGHED        L AE1 F T
LETTER         L EH1 T ER0
LIGHT          L AY1 T
LITTLE         L IH1 T AH0 L
LONG           L AO1 NG
LOOKING        L UH1 K IH0 NG
MAY            M EY1
MIDDLE         M IH1 D AH0 L
MOON           M UW1 N
MORE           M AO1 R
MORNING        M AO1 R N IH0 NG
MY             M AY1
NEAR           N IH1 R
NIGHT          N AY1 T
NOBODY         N OW1 B AA2 D IY2
NOT            N AA1 T
NOTHING        N AH1 TH IH0 NG
OF             AH1 V
OLD            OW1 L D
ON             AA1 N
ONE            W AH1 N
OTHER          AH1 DH ER0
PICTURE        P IH1 K CH ER0
QUIET          K W AY1 AH0 T
RAIN           R EY1 N
REMEMBERED     R IH0 M EH1 M B ER0 D
RIVER          R IH1 V ER0
ROAD           R OW1 D
SAID           S EH1 D
SAT            S AE1 T
SCHOOL         S K UW1 L
SEA            S IY1
SEE            S IY1
SELL           S EH1 L
SHE            SH IY1
SIDE           S AY1 D
SING           S IH1 NG
SMALL          S M AO1 L
SOLDIER        S OW1 L JH ER0
SOME           S AH1 M
SON            S AH1 N
STOPPED        S T AA1 P T
STRANGE        S T R EY1 N JH
STRANGER       S T R EY1 N JH ER0
STREET         S T R IY1 T
SUN            S AH1 N
TALL           T AO1 L
TEACHER        T IY1 CH ER0
THAN           DH AE1 N
THAT           DH AE1 T
THE            DH AH0
THREE          TH R IY1
TO             T UW1
TOP            T AA1 P
TREE           T R IY1
TWENTY         T W EH1 N T IY0
TWO            T UW1
UNDER          AH1 N D ER0
UNTIL          AH0 N T IH1 L
UP             AH1 P
VERY           V EH1 R IY0
VILLAGE        V IH1 L AH0 JH
WALL           W AO1 L
WAS            W AA1 Z
WATER          W AO1 T ER0
WENT           W EH1 N T
WHEN           W EH1 N
WHITE          W AY1 T
WINTER         W IH1 N T ER0
WITH           W IH1 DH
WITHOUT        W IH0 DH AW1 T
WOMAN          W UH1 M AH0 N
WOOD           W UH1 D
WOODEN         W UH1 D AH0 N
WORD           W ER1 D
WOULD          W UH1 D
WROTE          R OW1 T
YEARS          Y IH1 R Z
YOUNG          Y AH1 NG
A              EY1
THE            DH IY1
AND            AE1 N D
"""
_PRONOUNCED_ELSEWHERE = """
DOCTOR'S       D AA1 K T ER0 Z
FATHER'S       F AA1 DH ER0 Z
GRANDMOTHER    G R AE1 N D M AH2 DH ER0
KING'S         K IH1 NG Z
WITH           W IH1 TH
"""


def _pairs(table: str) -> tuple[tuple[str, str], ...]:
    rows = (line.split(maxsplit=1) for line in table.split("\n") if line)
    return tuple((word, phones) for word, phones in rows)


PRONUNCIATIONS = _pairs(_PRONOUNCED)
"""(word, phones) of the first lexicon. Of several the first one counts."""
MORE_PRONUNCIATIONS = _pairs(_PRONOUNCED_ELSEWHERE)
"""Those of the second lexicon."""
