"""Replies that say nothing, that rest on repealed law, or that stand under many questions."""

import re

import pandas as pd

from legalqa.data.cells import where

_ASK = (
    r"(?:建议|请|可以|需要|最好|应当|应该|要)?(?:您|你)?(?:可以|最好|尽快|及时|直接|当面|到|去|找|带上?(?:相关)?材料|详细|具体|另行|再)*"
    r"(?:咨询|找|委托|聘请|请教|联系|请)(?:一下|一位|一名|个|当地的?|专业的?|您的|你的|身边的?|附近的?)*律师(?:事务所)?"
    r"(?:代理|帮忙|处理|咨询|帮助|解决|面谈|详谈|介入|办理|为好|吧)*"
)
_DEPENDS = (
    r"(?:具体|详细|详情|这个|这|要|需要|得|应|应当|须|根据|结合|视|看|以|由|按照?)*"
    r"(?:情况|案情|事实|证据|合同|材料)(?:来|进行|具体|综合|而|为)*(?:分析|定|看|准|判断|确定)?"
)
_MEET = (
    r"(?:具体|详细|详情)?(?:情况|问题|事宜|细节)?(?:可以|可|请|欢迎|建议)?"
    r"(?:面谈|详谈|面议|电话(?:沟通|联系|咨询|详谈)|当面(?:咨询|谈)|私聊)"
)
_SHRUG = (
    r"同意(?:楼上|以上|上述|前面)(?:律师)?(?:的)?(?:意见|观点|看法|回答)?|不(?:太)?清楚|无法(?:判断|回答)"
    r"|(?:请)?(?:提供|补充)(?:更多|详细|具体)(?:信息|材料|情况)"
)
EMPTY_ADVICE = rf"律师|情况|案情|{_MEET}|{_SHRUG}|^\s*(?:https?://|www\.)|\[(?:电话|微信号|QQ号|邮箱|地址)\]|^[\pP\pS\pZ\pN]+$"
_EMPTY = re.compile(rf"{_ASK}|{_DEPENDS}|{_MEET}|{_SHRUG}")
_FILLER = re.compile(
    r"(?:https?://|www\.)[\w./?=&%#~:+\-]+|\[[^\]]{1,6}\]|您好|你好|谢谢|感谢|提问|咨询者|先生|女士|朋友|的话|如有需要|祝好|此复|希望对[您你]有所?帮助"
    r"|同微信|电话|微信|邮箱|座机|手机|随时联系|我的|[\W_]+"
)
_NO_LETTER = re.compile(r"[\W\d_]+")
LONGEST_EMPTY = 60  # a longer reply that is not all link says something
EMPTY_LEFT = 2  # letters that may be left when greetings and empty phrases are taken away

# Repealed on 2021-01-01 by 民法典 article 1260. 劳动合同法 and the like only end in such a name.
REPEALED = ("婚姻法", "继承法", "民法通则", "收养法", "担保法", "合同法", "物权法", "侵权责任法", "民法总则")
REPEALED_TRIGGER = "|".join(REPEALED)
_REPEALED = re.compile(
    rf"(?<!原)(?<!原《)(?<!旧)(?<!旧《)(?<!原中华人民共和国)(?<!原《中华人民共和国)(?<!劳动)(?:{REPEALED_TRIGGER})(?!学|研究|庭|规)"
)
_CURRENT = "民法典"  # who names it too compares the old law with the new


def empty_advice(replies: pd.Series) -> pd.Series:
    """Which replies say nothing besides "ask a lawyer", "it depends" and the like."""
    return where(replies, EMPTY_ADVICE, is_empty_advice)


def is_empty_advice(text: str) -> bool:
    """Whether hardly anything is left without greetings, links, masked numbers and empty phrases."""
    letters = _NO_LETTER.sub("", text)
    said = _FILLER.sub("", text)
    left = _EMPTY.sub("", said)
    return len(said) <= LONGEST_EMPTY and len(left) <= EMPTY_LEFT and (left != letters or not letters)


def repealed_law(replies: pd.Series) -> pd.Series:
    """Which replies rest on a law that is repealed since 2021-01-01. Flags to look at: a reply may still quote it rightly."""
    return where(replies, REPEALED_TRIGGER, lambda text: _CURRENT not in text and bool(_REPEALED.search(text)))


def shared_by(replies: pd.Series, asked: pd.Series) -> pd.Series:
    """How many different questions each reply answers, word for word."""
    return asked.groupby(replies, sort=False).transform("nunique")
