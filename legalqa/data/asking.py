"""What the user asks: title and question as one text, and the key under which two askings are the same."""

import re
import unicodedata

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from legalqa.data.cells import TEXT

_UNSPOKEN = re.compile(r"[\W_]+")  # RE2, in `keys`, spells it [^\pL\pN]: its \W knows ASCII only


def join(title: str, question: str) -> str:
    """Title and question in this order, joined by a line end; once when one says all that the other says. "" is nothing.

    Sites cut a long question off for its title, so a title may be the beginning of the question.
    """
    return _joined(title, question, key(title), key(question))


def _joined(title: str, question: str, title_key: str, question_key: str) -> str:
    if not title or not question:
        return title or question
    if title_key in question_key:
        return question
    return title if question_key in title_key else f"{title}\n{question}"


def key(text: str) -> str:
    """Letters and digits only, width and case folded: equal for texts that differ in blanks and punctuation."""
    said = _UNSPOKEN.sub("", text)
    return (said if unicodedata.is_normalized("NFKD", said) else unicodedata.normalize("NFKD", said)).lower()


def keys(texts: pd.Series) -> pd.Series:
    """`key` over a column, in Arrow; null becomes ""."""
    array = pc.fill_null(pa.array(texts, pa.large_string(), from_pandas=True), "")
    said = pc.replace_substring_regex(array, r"[^\pL\pN]+", "")
    return pd.Series(pc.utf8_lower(pc.utf8_normalize(said, "NFKD")), index=texts.index, dtype=TEXT)


def joined(titles: pd.Series, questions: pd.Series) -> pd.Series:
    """`join` over two columns; null where both are."""
    columns = (titles.fillna(""), questions.fillna(""), keys(titles), keys(questions))
    rows = zip(*(column.to_numpy() for column in columns), strict=True)
    return pd.Series([_joined(*row) or None for row in rows], index=titles.index, dtype=TEXT)
