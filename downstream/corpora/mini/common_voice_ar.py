"""A small Common Voice in Arabic, a few words of it with vowel marks."""

from downstream.corpora.mini.common_voice import Language, plan_of
from downstream.corpora.mini.plan import Plan

_STATEMENTS = (
    ("اشترى", "حمل", "وجد", "رسم", "باع", "نظف"),
    (" المعلم", " الطفل", " الطبيب", " الفلاح", " الجار", " أخي"),
    (" الخبز", " القلم", " كِتَابًا", " السمك", " تفاحة", " قهوة", " صندوقًا"),
    (" في البيت", " في السوق", " عند النهر", " أمام المدرسة", " قرب الجسر", " خلف الحديقة"),
    (" اليوم", " أمس", " صباحًا", " مساءً"),
    (".", "!", ""),
)
_QUESTIONS = (
    ("هل ذهبت", "متى وصلت", "لماذا رجعت", "كيف خرجت"),
    (" الطبيبة", " العائلة", " جدتي", " السيدة", " الضيفة"),
    (" إلى الشاطئ", " من المطار", " إلى القرية", " من العمل", " إلى المسجد", " من الغابة"),
    ("، يا أبي", "، يا عمي", " غدًا", " ثانية"),
    ("؟",),
)

LANGUAGE = Language(
    variant="ar",
    voice="ar",
    accent="",
    templates=(_STATEMENTS, _QUESTIONS),
    left_out=(("يستخدم أخي Word كل يوم.", ""), ("قال الجار 'مرحبا' ثم خرج.", ""), ("% + % = %", "")),
    clips={"train": 120, "dev": 24, "test": 36},
)
TOPS = (LANGUAGE.top,)


def make_plan(seed: int, scale: float) -> Plan:
    return plan_of(LANGUAGE, seed, scale)
