"""What the user asks: title and question as one text, and the key under which two askings are the same."""

import re
import unicodedata
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from legalqa.data.cells import TEXT

BLOCK = 50_000
UNUSUAL = r"[A-Z]|[^\x00-\x7f\p{Han}]|[\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]"  # what case or width could change
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
    return pd.Series(pa.chunked_array(map(_keys, _chunks(texts)), pa.large_string()), index=texts.index, dtype=TEXT)


def _chunks(texts: pd.Series) -> Iterator[pa.Array]:
    """A column as Arrow arrays; pandas hands out one or several."""
    array = pa.array(texts, pa.large_string(), from_pandas=True)
    yield from array.chunks if isinstance(array, pa.ChunkedArray) else [array]


def _keys(array: pa.Array) -> pa.Array:
    said = pc.replace_substring_regex(pc.fill_null(array, ""), r"[^\pL\pN]+", "")
    unusual = pc.match_substring_regex(said, UNUSUAL)
    return pc.replace_with_mask(said, unusual, pc.utf8_lower(pc.utf8_normalize(said.filter(unusual), "NFKD")))


def joined(titles: pd.Series, questions: pd.Series) -> pd.Series:
    """`join` over two columns; null where both are."""
    blocks = []
    bar = tqdm(range(0, len(titles), BLOCK), desc="joining titles and questions", unit=" blocks", delay=2, disable=None)
    for start in bar:  # not all texts at once as Python strings
        title, question = (column.iloc[start : start + BLOCK].fillna("") for column in (titles, questions))
        rows = zip(*(column.to_numpy() for column in (title, question, keys(title), keys(question))), strict=True)
        blocks.append(pa.array([_joined(*row) or None for row in rows], pa.large_string()))
    return pd.Series(pa.chunked_array(blocks, pa.large_string()), index=titles.index, dtype=TEXT)
