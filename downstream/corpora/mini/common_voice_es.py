"""A small Common Voice in Spanish, most of it Mexican."""

from downstream.corpora.mini.common_voice import Language, plan_of
from downstream.corpora.mini.plan import Plan

_STATEMENTS = (
    ("El niño", "La señora", "Mi mamá", "El médico", "Nuestro tío", "La maestra", "Don O’Brien"),
    (" compró", " llevó", " encontró", " pintó", " vendió", " limpió"),
    (" un camión azul", " tres piñas", " el café", " dos lápices", " el pañuelo", " un sillón", " la guitarra"),
    (" en México", " en la montaña", " cerca del río", " junto al jardín", " después de la función", " en la ciudad"),
    (".", "!", ""),
)
_QUESTIONS = (
    ("¿Dónde", "¿Cuándo", "¿Por qué", "¿Cómo"),
    (" perdió", " abrió", " guardó", " escribió", " rompió"),
    (" la abuela", " el ingeniero", " tu compañero", " el capitán", " la niña"),
    (" esa canción", " el baúl", " las páginas", " su corazón", " la puerta"),
    ("?",),
)

LANGUAGE = Language(
    variant="es",
    voice="es-419",
    accent="mexicano",
    templates=(_STATEMENTS, _QUESTIONS),
    left_out=(
        ("La pingüina duerme en la playa.", "caribe"),
        ("Vamos a caminar por la orilla.", "rioplatense"),
        ("Mañana jugaremos al ajedrez.", "nortepeninsular"),
        ("No hay nadie en la estación.", ""),
        ("La tienda 消箱 abrió temprano.", "mexicano"),
        ("% + % = %", "mexicano"),
    ),
    clips={"train": 120, "dev": 24, "test": 36},
)
TOPS = (LANGUAGE.top,)


def make_plan(seed: int, scale: float) -> Plan:
    return plan_of(LANGUAGE, seed, scale)
