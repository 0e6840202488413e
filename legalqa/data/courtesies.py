"""Sentences that a writer or a machine puts under everything: thanks, signatures, "consult a professional lawyer".

A sentence is one when its words say so and when it stands in many replies; either alone may be part of an answer.
"""

import re
from collections import Counter
from collections.abc import Set

import pandas as pd
from tqdm import tqdm

from legalqa.data.cells import apply_where, matches

# RE2 and Python's re read this the same way.
COURTESY = (
    r"感谢|谢谢[您你]|温馨提示|取得联系|[与和跟]我联系|联系我|及时回复|希望[^。！？\n]{0,14}(?:帮助|有用|帮到)|祝[您你好]|合伙人律师"
    r"|作为(?:一名)?律师，我需要|[咨请][询教](?:一[位名])?(?:专业的?|当地的?)(?:执业)?律师"
)
_COURTESY = re.compile(COURTESY)
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]*\s*")
_NO_LETTER = re.compile(r"[您你]好|[\W_]+")
LEAST = 6  # letters that must be left for an answer


def shared(replies: pd.Series, limit: int) -> frozenset[str]:
    """The courtesies that stand in more than ``limit`` of the replies."""
    counts: Counter[str] = Counter()
    suspects = replies[matches(replies, COURTESY)]
    for text in tqdm(suspects, desc="courtesies", unit=" replies", delay=2, disable=None):
        counts.update({sentence.strip() for sentence in _SENTENCE.findall(text) if _COURTESY.search(sentence)})
    return frozenset(sentence for sentence, count in counts.items() if count > limit)


def cut(text: str, unwanted: Set[str]) -> str:
    """The text without these sentences. "" when hardly an answer is left, the text itself when it has none of them."""
    sentences = _SENTENCE.findall(text)
    kept = [sentence for sentence in sentences if sentence.strip() not in unwanted]
    if len(kept) == len(sentences):
        return text
    left = "".join(kept).strip()
    return left if len(_NO_LETTER.sub("", left)) >= LEAST else ""


def cut_column(replies: pd.Series, limit: int) -> tuple[pd.Series, pd.Index]:
    """A column of replies after `cut` of what they share, and the records it changed."""
    unwanted = shared(replies, limit)
    return apply_where(replies, COURTESY, lambda text: cut(text, unwanted))
