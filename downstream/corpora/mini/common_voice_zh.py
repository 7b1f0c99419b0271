"""A small Common Voice in Mandarin: some 120 characters."""

from downstream.corpora.mini.common_voice import Language, plan_of
from downstream.corpora.mini.plan import Plan

_DAILY_LIFE = (
    ("今天", "昨天", "明天", "早上", "晚上", "下午", "现在", "星期日", "星期一", "星期ㄧ"),
    ("我", "老师", "妈妈", "爸爸", "学生", "朋友", "医生", "孩子", "邻居"),
    ("在学校", "在公园", "在商店", "在北京", "在图书馆", "在厨房", "在河边", "在车站"),
    (
        "喝热茶",
        "看新书",
        "买水果",
        "吃面包",
        "写中文",
        "打篮球",
        "听音乐",
        "洗衣服",
        "画小鸟",
        "唱老歌",
        "做早饭",
        "学跳舞",
    ),
    ("。", "！", ""),
)
_THINGS = (
    ("这", "那"),
    ("条裤子", "只猫", "本杂志", "辆汽车", "张桌子", "朵花", "件毛衣"),
    ("是",),
    ("红", "黄", "蓝", "绿", "黑", "白"),
    ("色的，",),
    ("很便宜", "太贵了", "真漂亮", "不大", "非常长", "有点旧"),
    ("。", "！", ""),
)

LANGUAGE = Language(
    variant="zh-CN",
    voice="cmn",
    accent="",
    templates=(_DAILY_LIFE, _THINGS),
    left_out=(("朋友用Google查地图。", ""), ("孩子听カド的歌。", ""), ("% + % = %", "")),
    clips={"train": 400, "dev": 48, "test": 96},
)
TOPS = (LANGUAGE.top,)


def make_plan(seed: int, scale: float) -> Plan:
    return plan_of(LANGUAGE, seed, scale)
