"""What the user asks: title and question as one text, and the key under which two askings are the same."""

import re
import unicodedata

import pandas as pd

_UNSPOKEN = re.compile(r"[\W_]+")


def join(title: str, question: str) -> str:
    """Title and question in this order, joined by a line end; once when one says all that the other says. "" is nothing.

    Sites cut a long question off for its title, so a title may be the beginning of the question.
    """
    if not title or not question:
        return title or question
    short_title, short_question = key(title), key(question)
    if short_title in short_question:
        return question
    if short_question in short_title:
        return title
    return f"{title}\n{question}"


def key(text: str) -> str:
    """Letters and digits only, width and case folded: equal for texts that differ in blanks and punctuation."""
    said = _UNSPOKEN.sub("", text)
    return (said if unicodedata.is_normalized("NFKC", said) else unicodedata.normalize("NFKC", said)).casefold()


def joined(titles: pd.Series, questions: pd.Series) -> pd.Series:
    """`join` over two columns; null where both are."""
    texts = [join(title, question) or None for title, question in zip(titles.fillna(""), questions.fillna(""), strict=True)]
    return pd.Series(texts, index=titles.index, dtype=titles.dtype)
