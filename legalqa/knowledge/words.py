"""Text to index terms: words as rjieba cuts them, and pairs of neighbouring characters.

Words find what people name in one term; character pairs find what the dictionary cuts otherwise (抚养权 and 抚养). Index and
query go through this one function, and the index records ``fingerprint`` so that another cut is refused.
"""

import hashlib
import itertools
import re
import unicodedata

import rjieba

_RUN = re.compile(r"[㐀-䶿一-鿿]+|[0-9]+(?:\.[0-9]+)?|[a-z]+")
# Words that stand in every question and in no subject.
_STOP_WORDS = """
的 了 是 在 和 与 或 及 其 之 以 为 于 而 且 也 都 就 又 还 不 没 有 没有 该 被 把 让 给 对 向 从 到 上 下 中 里 后 前 时 等
我 你 您 他 她 它 我们 他们 你们 这 那 个 这个 那个 这样 吗 呢 吧 啊 呀 么 请 请问 问 想 要 会 能 可以 应该 说 做 去 来 律师
怎么 怎么办 怎样 如何 什么 为什么 哪些 哪 多少 几 是否 是不是 能不能 可不可以 现在 然后 但是 因为 所以 如果 一个 一下 知道
谢谢 您好 你好
"""
_STOP = frozenset(_STOP_WORDS.split())
_CANARY = "离婚后孩子的抚养权归谁，用人单位拖欠工资2个月，交通事故责任认定书不服怎么复核"


def terms(text: str) -> list[str]:
    """Index terms of ``text`` in order, repeated as often as they stand there."""
    found: list[str] = []
    for run in _runs(text):
        if run[0] < "㐀":
            found.append(run)
            continue
        words = rjieba.cut(run)
        found += [word for word in words if word not in _STOP]
        found += [pair for pair in map("".join, itertools.pairwise(run)) if pair not in words and pair not in _STOP]
    return found


def bare(text: str) -> str:
    """``text`` without blanks and punctuation, in one width and case: the same for one question written in two ways."""
    return "".join(_runs(text))


def _runs(text: str) -> list[str]:
    return _RUN.findall(unicodedata.normalize("NFKC", text).lower())


def fingerprint() -> str:
    """Changes when the words are cut otherwise, by another rjieba or another rule."""
    return hashlib.sha256(" ".join(terms(_CANARY)).encode()).hexdigest()[:16]
