"""Replies that say nothing, that rest on repealed law, or that stand under many questions."""

import re

import pandas as pd

from legalqa.data.cells import matches, where
from legalqa.data.encodings import MOJIBAKE

# A short reply made of nothing but these words sends the asker away without an answer.
_WORDS = (
    "您好 你好 谢谢 感谢 欢迎 希望 祝好 此复 先生 女士 朋友 咨询者 提问 的话 如有 您 你 我们 我 你们 这个 这种 这 的 "
    "了 后 再 并 和 与 跟 或者 或 及 等 为 而 是 在 对 向 到 把 将 按照 按 以 由 来 得 很 太 更 多 先 吧 好 建议 请 "
    "可以 可 需要 需 须 要 应当 应该 应 最好 看 视 根据 结合 依据 才能 方能 才 无法 不能 能 难以 不 有所 直接 随时 "
    "另行 具体 详细 详情 全部 全面 整个 实际 相关 有关 案件 案情 案子 情况 情节 事实 证据 材料 资料 信息 问题 细节 "
    "事宜 法律责任 确定 判断 分析 了解 得到 给出 做出 作出 提供 补充 准确 意见 观点 看法 答复 回答 解答 处理 解决 "
    "办理 进行 综合 考虑 进一步 定 准 清楚 携带 带齐 带上 带 准备 去 找 当面 面谈 面议 详谈 详述 私聊 咨询 委托 聘请 "
    "请教 联系 沟通 告知 电话 微信 同微信 邮箱 座机 手机 当地 附近 身边 专业 律师事务所 律所 律师 一下 一名 一位 个 "
    "及时 尽快 尽早 早日 帮助 帮忙 介入 代理 辩护 会见 为好 同意 楼上 以上 上述 前面"
)
_EMPTY_WORDS = re.compile("|".join(sorted(_WORDS.split(), key=len, reverse=True)))
_NOT_SAID = re.compile(r"(?:https?://|www\.)[\w./?=&%#~:+\-]+|\[[^\]]{1,6}\]|[\W\d_]+")
_AWAY = r"律师|情况|案情|案件|证据|材料|信息|面谈|面议|咨询|私聊|同意|不(?:太|是很)?清楚|无法|微信|电话"
_MACHINE = (
    r"(?:作为|我是)一?[个名款位]?(?:虚拟)?的?(?:AI|人工智能)"  # a language model speaks of itself, mostly of what it can't do
)
_EMPTY = re.compile(_AWAY)
_OF_ITSELF = re.compile(_MACHINE)
EMPTY_ADVICE = rf"{_AWAY}|{_MACHINE}|^\s*(?:https?://|www\.)|\[(?:电话|微信号|QQ号|邮箱|地址)\]|^[\pP\pS\pZ\pN]+$"
LONGEST_EMPTY = 60  # letters of a reply that may be taken for empty

# Repealed on 2021-01-01 by 民法典 article 1260. 劳动合同法 and the like only end in such a name.
REPEALED = ("婚姻法", "继承法", "民法通则", "收养法", "担保法", "合同法", "物权法", "侵权责任法", "民法总则")
REPEALED_TRIGGER = "|".join(REPEALED)
_REPEALED = re.compile(
    rf"(?<!原)(?<!原《)(?<!旧)(?<!旧《)(?<!原中华人民共和国)(?<!原《中华人民共和国)(?<!劳动)(?:{REPEALED_TRIGGER})(?!学|研究|庭|规)"
)
_CURRENT = "民法典"  # who names it too compares the old law with the new


def garbled(texts: pd.Series) -> pd.Series:
    """Which texts show traces of a wrong encoding."""
    return matches(texts, MOJIBAKE)


def empty_advice(replies: pd.Series) -> pd.Series:
    """Which replies say nothing besides "ask a lawyer", "it depends", "as a language model I can't" and the like."""
    return where(replies, EMPTY_ADVICE, is_empty_advice)


def is_empty_advice(text: str) -> bool:
    """Whether nothing is left without links, masked numbers and empty words, or a language model speaks of itself."""
    said = _NOT_SAID.sub("", text)
    if _OF_ITSELF.search(text) or not said:
        return True
    return len(said) <= LONGEST_EMPTY and bool(_EMPTY.search(said)) and not _EMPTY_WORDS.sub("", said)


def repealed_law(replies: pd.Series) -> pd.Series:
    """Which replies rest on a law that is repealed since 2021-01-01. Flags to look at: a reply may still quote it rightly."""
    return where(replies, REPEALED_TRIGGER, lambda text: _CURRENT not in text and bool(_REPEALED.search(text)))


def shared_by(replies: pd.Series, asked: pd.Series) -> pd.Series:
    """How many different questions each reply answers, word for word."""
    several = replies[replies.duplicated(keep=False)]
    questions = pd.Series(pd.factorize(asked.loc[several.index])[0], index=several.index)
    return questions.groupby(several, sort=False).transform("nunique").reindex(replies.index, fill_value=1)
