"""Replies that should not be learnt: too short or long, advertising, empty advice, repealed law."""

import re

import pandas as pd

from legalqa.data.cells import matches, where

ADVERTISING = (
    r"https?://|www\.|\.com\b|先到先得|胜诉(?:后)?收费|风险代理|不成功不收费|免费(?:咨询|分析|法律)|点击(?:链接|我的|头像|查看)|关注(?:我|公众号)|加(?:我|本人|律师)?(?:的)?(?:微信|[vV]信|[qQ]{2}|扣扣)"
    r"|添加(?:我|本人)?(?:的)?微信|欢迎(?:来电|致电|拨打|联系|电话)|(?:来|致)电(?:咨询|详谈|本人)|委托我(?:所|们)?|我所律师|本律师(?:团队|事务所)|专业(?:律师)?团队|点我头像|主页(?:电话|联系)|扫码|二维码"
    r"|私信(?:我|联系)|可(?:以)?(?:电话|微信)(?:联系|咨询)我|拨打(?:我的|本人|[\[【]电话)"
)
EMPTY_ADVICE = (
    r"(?:建议|请|可以|需要|最好|应当)?(?:您|你)?(?:可以|最好|尽快|及时|直接|到当地|去)*(?:咨询|找|委托|聘请|请教|联系)(?:一下|一位|一名|个|当地|专业|的|您|你|身边|附近)*律师(?:事务所)?(?:帮忙|处理|咨询|帮助|解决|面谈|详谈)*"
    r"|(?:具体|详细|详情|情况)?(?:情况|问题|事宜)?(?:可以|可|请|欢迎)?(?:面谈|详谈|面议|电话(?:沟通|联系|咨询|详谈)|来电详谈|当面咨询|私聊)"
    r"|(?:需要|要)?(?:看|根据|结合)?具体(?:情况|案情)(?:具体)?(?:分析|而定|看)|协商(?:解决|处理)?(?:不成)?(?:，|,)?(?:可以|可)?起诉(?:解决|处理)?"
    r"|同意(?:楼上|以上|上述|前面)(?:律师)?(?:的)?(?:意见|观点|看法|回答)?|不(?:太)?清楚|无法(?:判断|回答)|(?:请)?(?:提供|补充)(?:更多|详细|具体)?(?:信息|材料|情况|证据)?"
)
_FILLER = re.compile(r"您好|你好|谢谢|感谢|提问|咨询者|先生|女士|朋友|的话|如有需要|祝好|希望能帮到您|[\W_]+|\[[^\]]{1,6}\]")
_EMPTY = re.compile(rf"(?:{EMPTY_ADVICE})")
LONGEST_EMPTY = 60
EMPTY_LEFT = 4  # characters that may be left when greetings and empty phrases are taken away

# Repealed on 2021-01-01 by 民法典 article 1260. 劳动合同法 and the like only end in such a name.
REPEALED = ("婚姻法", "继承法", "民法通则", "收养法", "担保法", "合同法", "物权法", "侵权责任法", "民法总则")
_LONGER_NAME = r"劳动|劳务|保险|技术|经济|民用|信托|土地承包"
REPEALED_TRIGGER = "|".join(REPEALED)
_REPEALED = re.compile(
    rf"(?<!原)(?<!原《)(?<!旧)(?<!旧《)(?<!劳动)(?<!原中华人民共和国)(?<!《中华人民共和国劳动)(?:{REPEALED_TRIGGER})(?!学|研究|庭)"
)


def advertising(replies: pd.Series) -> pd.Series:
    """Which replies advertise."""
    return matches(replies, ADVERTISING)


def empty_advice(replies: pd.Series) -> pd.Series:
    """Which replies say nothing besides "ask a lawyer", "it depends" and the like."""
    return where(replies, EMPTY_ADVICE, is_empty_advice)


def is_empty_advice(text: str) -> bool:
    """Whether hardly anything is left without greetings and empty phrases."""
    return len(text) <= LONGEST_EMPTY and len(_FILLER.sub("", _EMPTY.sub("", _FILLER.sub("", text)))) <= EMPTY_LEFT


def repealed_law(replies: pd.Series) -> pd.Series:
    """Which replies rest on a law that is repealed since 2021-01-01."""
    return where(replies, REPEALED_TRIGGER, lambda text: bool(_REPEALED.search(text)))


def shared_by(replies: pd.Series, asked: pd.Series) -> pd.Series:
    """How many different questions each reply answers, word for word."""
    return asked.groupby(replies, sort=False).transform("nunique")
