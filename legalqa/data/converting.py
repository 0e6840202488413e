"""From the table of a file to conversations; every step tells the ledger what it did to which record."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from legalqa.data import areas, asking, choosing, cleaning, courtesies, duplicates, privacy, screening, selling
from legalqa.data.cells import TEXT
from legalqa.data.ledger import Ledger
from legalqa.data.reading import Table
from legalqa.data.shingles import BLOCK, Shingles
from legalqa.params import ConvertParams, Lengths, NearDuplicates
from legalqa.problems import Problem, UserError
from legalqa.records import Conversation

NUMERALS = re.compile(r"[0-9一二三四五六七八九十百千万两]+")
LIGHT = frozenset("的了吗呢啊吧呀哦嘛么请问您你好谢下律师各位大家帮忙想咨询那就也都很还，。！？、；：,.!?;: \n")


def opened(table: Table) -> Ledger:
    """A ledger of all records, the broken ones dropped already."""
    records = [*table.frame.index, *(bad.record for bad in table.bad)]
    ledger = Ledger(records, [*table.frame["line"], *(bad.line for bad in table.bad)])
    ledger.drop([bad.record for bad in table.bad], "broken")
    return ledger


def prepared(frame: pd.DataFrame, params: ConvertParams, ledger: Ledger) -> pd.DataFrame:
    """Cleaned and masked: prompt, reply, best, asked (the question's key). Takes the raw texts out of ``frame``."""
    texts: dict[str, pd.Series] = {}
    for name in ("title", "question", "reply"):
        texts[name], changed = cleaning.clean_column(frame.pop(name), params.clean)
        for rule, records in changed.items():
            ledger.mark(records, f"clean.{rule}")
    texts = {"prompt": asking.joined(texts["title"], texts["question"]), "reply": texts["reply"]}
    for name in texts:
        texts[name], masked = privacy.mask_column(texts[name], params.mask)
        for kind, numbers in masked.items():
            ledger.mark(numbers, f"privacy.{kind}")
    asked = asking.keys(texts["prompt"])
    return pd.DataFrame({**texts, "best": frame["best"].fillna(False).astype(bool), "asked": asked})


def eligible(frame: pd.DataFrame, params: ConvertParams, ledger: Ledger) -> pd.DataFrame:
    """Without the records that can't train: under ``replies: best`` all that are not best, so that nothing counts them."""
    if params.replies != "best":
        return frame
    return _without(frame, ~frame["best"], "not_best", ledger)


def screened(frame: pd.DataFrame, params: ConvertParams, ledger: Ledger) -> pd.DataFrame:
    """Without what can't or should not be learnt. The first reason that applies is the one told."""
    frame = _without(frame, frame["asked"] == "", "empty_prompt", ledger)
    frame = _without(frame, frame["reply"].isna(), "empty_reply", ledger)
    frame = _without(frame, screening.garbled(frame["prompt"]) | screening.garbled(frame["reply"]), "mojibake", ledger)
    if params.boilerplate:
        replies, changed = courtesies.cut_column(frame["reply"], params.boilerplate)
        ledger.mark(changed, "boilerplate")
        frame = _without(frame.assign(reply=replies), replies == "", "boilerplate", ledger)
    frame = _unsold(frame, params, ledger)
    for name, keep, test in (
        ("empty_advice", params.empty_advice, screening.empty_advice),
        ("repealed_law", params.repealed_law, screening.repealed_law),
    ):
        flagged = test(frame["reply"])
        ledger.mark(frame.index[flagged], name)
        if keep == "drop":
            frame = _without(frame, flagged, name, ledger)
    for name, column, limits in (("question", "prompt", params.question_length), ("reply", "reply", params.reply_length)):
        frame = _within(frame, column, limits, name, ledger)
    if params.boilerplate:
        shared = screening.shared_by(frame["reply"], frame["asked"])
        frame = _without(frame, shared > params.boilerplate, "boilerplate", ledger)
    return frame


def _unsold(frame: pd.DataFrame, params: ConvertParams, ledger: Ledger) -> pd.DataFrame:
    """Without advertising: its clauses cut out, or the replies that hold any dropped."""
    replies, sold = selling.cut_column(frame["reply"])
    ledger.mark(sold, "advertising")
    if params.advertising == "keep":
        return frame
    worthless = replies == "" if params.advertising == "cut" else pd.Series(frame.index.isin(sold), index=frame.index)
    return _without(frame.assign(reply=replies), worthless, "advertising", ledger)


def _within(frame: pd.DataFrame, column: str, limits: Lengths, name: str, ledger: Ledger) -> pd.DataFrame:
    lengths = frame[column].str.len()
    frame = _without(frame, lengths < limits.min, f"{name}_too_short", ledger)
    return _without(frame, lengths.loc[frame.index] > limits.max, f"{name}_too_long", ledger)


def _without(frame: pd.DataFrame, unwanted: pd.Series, reason: str, ledger: Ledger) -> pd.DataFrame:
    """The other rows. Takes the columns out of ``frame`` one by one, so that not all texts stand in memory twice."""
    if not unwanted.any():
        return frame
    ledger.drop(frame.index[unwanted], reason)
    return pd.DataFrame({name: frame.pop(name)[~unwanted] for name in frame.columns.tolist()})


def deduplicated(frame: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Without records that say the same to the same question; of equal ones the best, then the first stays."""
    several = frame.loc[frame["asked"].duplicated(keep=False), ["asked", "reply", "best"]]
    said = several.assign(reply=asking.keys(several["reply"])).sort_values("best", ascending=False, kind="stable")
    doubled = said.index[said.duplicated(["asked", "reply"])]
    return _without(frame, pd.Series(frame.index.isin(doubled), index=frame.index), "duplicate", ledger)


def chosen(frame: pd.DataFrame, params: ConvertParams, ledger: Ledger) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The records whose reply is learnt, and those that stay as their references: answer (a record), reply."""
    answers, further = choosing.choose(frame, params.replies)
    ledger.drop(frame.index.difference(answers).difference(further.index), "not_chosen")
    return frame.loc[answers], pd.DataFrame({"answer": further, "reply": frame["reply"].loc[further.index]})


def grouped(answers: pd.DataFrame, references: pd.DataFrame, limits: NearDuplicates, ledger: Ledger) -> pd.DataFrame:
    """The answers with their group and area of law, without near-duplicates of an earlier one and the references to those.

    A group holds a question and all questions near it. Its name is the smallest hash of its members, so neither the order of
    the records nor a record elsewhere changes it; a new member does, with a chance of one in their number.
    """
    pairs = duplicates.near_pairs(answers["asked"], limits.group)
    labels = pd.Series(duplicates.components(len(answers), pairs))
    labels = labels.groupby(pd.factorize(answers["asked"])[0]).transform(
        "min"
    )  # texts too short for a shingle pair with nothing
    digests = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in answers["asked"].to_numpy()]
    names = pd.Series(digests, index=answers.index, dtype=TEXT)
    answers = answers.assign(group=names.groupby(labels.to_numpy()).transform("min"), area=areas.areas(answers["prompt"]))

    close = pairs[pairs["similarity"] >= limits.drop]
    later = np.unique(_repeats(answers, close, limits.drop))
    dropped = answers.index[later]
    ledger.drop(dropped, "near_duplicate")
    ledger.drop(references.index[references["answer"].isin(dropped)], "near_duplicate")
    return answers.drop(index=dropped)


def _repeats(answers: pd.DataFrame, close: pd.DataFrame, threshold: float) -> np.ndarray:
    """Positions of the later one of each pair whose replies are as close as its questions, and that say the same."""
    places, pairs = np.unique(close[["left", "right"]].to_numpy(), return_inverse=True)
    left, right = pairs.reshape(-1, 2).T
    texts = answers.iloc[places]
    near = np.flatnonzero(Shingles.of(asking.keys(texts["reply"])).similarities(left, right) >= threshold)
    whole = (texts["prompt"] + "|" + texts["reply"]).tolist()
    same = [_say_the_same(whole[a], whole[b]) for a, b in zip(left[near], right[near], strict=True)]
    repeats: np.ndarray = places[right[near[np.array(same, bool)]]]
    return repeats


def _say_the_same(one: str, other: str) -> bool:
    """Whether two texts differ in words without weight only: not in a number, a place, a party."""
    return not (set(one) ^ set(other)) - LIGHT and NUMERALS.findall(one) == NUMERALS.findall(other)


def conversations(answers: pd.DataFrame, references: pd.DataFrame) -> Iterator[Conversation]:
    """One conversation for each answer, in record order."""
    further: dict[int, list[tuple[int, str]]] = {}
    for record, answer, reply in zip(references.index.tolist(), references["answer"], references["reply"], strict=True):
        further.setdefault(answer, []).append((record, reply))
    columns = answers[["prompt", "reply", "group", "area"]]
    with tqdm(total=len(answers), desc="writing", unit=" conversations", delay=2, disable=None) as bar:
        for start in range(0, len(answers), BLOCK):  # not all texts at once as Python strings
            block = columns.iloc[start : start + BLOCK]
            rows = zip(block.index.tolist(), *(block[name].to_numpy() for name in columns), strict=True)
            for record, prompt, reply, group, area in rows:
                others = further.get(record, [])
                turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
                records, texts = [record, *(other for other, _ in others)], [text for _, text in others]
                yield Conversation.model_validate(
                    {"conversations": turns, "records": records, "references": texts, "group": group, "area": area}
                )
            bar.update(len(block))


def require_some(summary: dict[str, Any]) -> None:
    """Raise UserError when nothing is left, saying what went where."""
    if not summary["conversations"]:
        found = f"no conversation is left of {summary['read']} records ({_listed(summary['dropped'])})"
        raise UserError(Problem("convert", found, fix="loosen the rule that drops most in params.yaml"))


def told(summary: dict[str, Any]) -> str:
    """A few lines for the console."""
    dropped = sum(summary["dropped"].values())
    return "\n".join(
        [
            f"{summary['read']} records read = {summary['kept']} kept + {dropped} dropped ({_listed(summary['dropped'])})",
            f"{summary['conversations']} conversations in {summary['groups']} question groups; "
            f"{summary['conflicts']['count']} question(s) whose best replies differ",
            f"records touched by rules: {_listed(summary['rules'])}",
        ]
    )


def _listed(counts: dict[str, int]) -> str:
    """Counts in words, the largest first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"
