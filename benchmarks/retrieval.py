"""How well the knowledge base finds: recall on LeCoQA, citation F1 of the top article on LawBench 3-8, rejection, time.

    .venv/bin/python benchmarks/retrieval.py --train LeCoQA/train.json --test LeCoQA/test.json --consultations LawBench/3-8.json

The past answers are those of LeCoQA's train part (with the articles that it names for each), and of --past. --fit learns the
weights on the train part, leaving each question's own answer out, prints them and writes data/statutes/turn.npy and
legalqa/knowledge/axis.npy.
"""

import argparse
import csv
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.retrieval_fit import fit
from legalqa.knowledge import passages
from legalqa.knowledge.citations import keys
from legalqa.knowledge.embedding import SIZE, Embedder
from legalqa.knowledge.evidence import Evidence
from legalqa.knowledge.ranking import AXIS
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Statutes
from legalqa.knowledge.vectors import TURN
from legalqa.params import load_params
from legalqa.records import Conversation, Message, read_jsonl

SAMPLE = Path(__file__).resolve().parent.parent / "data/sample/legal_qa.csv"
QUESTIONS = Path(__file__).resolve().parent.parent / "tests/legalqa/knowledge/questions.tsv"
CUTS = (1, 5, 10)
Key = tuple[str, str]


def lecoqa(path: Path, statutes: Statutes) -> list[tuple[Conversation, frozenset[Key]]]:
    """Questions with their lawyers' answers and the articles named for them, as far as they are law in force."""
    rows = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        named = "；".join(f"《{name.replace('第', '》第', 1)}" for name in row["相关法规"])
        reply = row["答案文本"] if isinstance(row["答案文本"], str) else ""
        turns = [Message(role="user", content=row["问题"]), Message(role="assistant", content=f"{reply}\n法律依据：{named}")]
        wanted = frozenset(key for key in keys(named, statutes) if _in_force(key, statutes))
        rows.append((Conversation(conversations=turns), wanted))
    return rows


def _in_force(key: Key, statutes: Statutes) -> bool:
    article = statutes.article(*key)
    return article is not None and article.status != "repealed"


def recalls(found: list[list[Key]], wanted: list[frozenset[Key]]) -> dict[str, float]:
    """hit@k: share of questions with a wanted article among the first k; recall@k: share of the wanted articles found there.

    Questions none of whose articles is law in force are left out.
    """
    pairs = [(one, want) for one, want in zip(found, wanted, strict=True) if want]
    figures = {"questions": float(len(pairs))}
    for k in CUTS:
        figures[f"hit@{k}"] = float(np.mean([bool(want & set(one[:k])) for one, want in pairs]))
        figures[f"recall@{k}"] = float(np.mean([len(want & set(one[:k])) / len(want) for one, want in pairs]))
    return figures


def consultations(path: Path, knowledge: Knowledge) -> dict[str, float]:
    """Micro F1 over (law, article) of the one top article against what the reference answers cite."""
    right = answered = cited = 0
    for row in json.loads(path.read_text(encoding="utf-8")):
        wanted = keys(row["answer"], knowledge.statutes)
        top = {(hit.passage.law, hit.passage.number) for hit in knowledge.search(row["question"], 1, "statute")}
        right, answered, cited = right + len(top & wanted), answered + len(top), cited + len(wanted)
    return {"right": right, "answered": answered, "cited": cited, "f1": 200 * right / (answered + cited)}


def own_questions() -> list[list[str]]:
    """(legal or other, question), written for this project."""
    return [line.split("\t") for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]


def sample_questions() -> list[str]:
    """The sample's questions, all of law, written for this project."""
    with SAMPLE.open(encoding="utf-8-sig", newline="") as lines:
        asked = [(row["title"], row["question"]) for row in csv.DictReader(lines)]
    whole = (question if title in question else f"{title}\n{question}".strip() for title, question in asked)
    return list(dict.fromkeys(whole))


def rejection(knowledge: Knowledge) -> dict[str, float]:
    """Shares of own questions: outside the law and refused, of law and answered."""
    refused: dict[str, list[bool]] = {"other": [], "legal": []}
    for kind, question in own_questions():
        refused[kind].append(not knowledge.search(question))
    return {"rejected_other": float(np.mean(refused["other"])), "found_legal": 1 - float(np.mean(refused["legal"]))}


def times(knowledge: Knowledge, questions: list[str]) -> dict[str, float]:
    """Milliseconds of a search."""
    taken = []
    for question in questions:
        started = time.perf_counter()
        knowledge.search(question)
        taken.append(1000 * (time.perf_counter() - started))
    return {"p50_ms": float(np.percentile(taken, 50)), "p99_ms": float(np.percentile(taken, 99))}


def main() -> None:
    """Build, measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="LeCoQA train.json")
    parser.add_argument("--test", type=Path, help="LeCoQA test.json")
    parser.add_argument("--consultations", type=Path, help="LawBench zero_shot/3-8.json")
    parser.add_argument("--past", type=Path, nargs="*", default=[], help="further past answers, conversations as JSONL")
    parser.add_argument("--words-only", action="store_true", help="without the embedding model")
    parser.add_argument("--fit", action="store_true", help="learn weights, turn and axis on the train part")
    options = parser.parse_args()

    params = load_params().knowledge
    statutes = Statutes.packaged(params.as_of)
    train = lecoqa(options.train, statutes)
    past = [conversation for path in options.past for conversation in read_jsonl(path)]
    embedder = None if options.words_only else Embedder()
    answers = [one for one, _ in train] + past
    if options.fit:
        said = passages.of_conversations(answers, statutes)
        law = [passages.of_article(article) for article in statutes.in_force()]
        unturned = Evidence.build(statutes.in_force(), said, embedder, turn=np.eye(SIZE, dtype=np.float32))
        fit(unturned, law + said, train, own_questions(), sample_questions(), TURN, AXIS)
        return
    knowledge = Knowledge.build(statutes, answers, params.threshold, params.near, embedder)
    figures: dict[str, Any] = {"meaning": embedder is not None, "past_answers": len(answers)}
    figures["rejection"] = rejection(knowledge)
    figures["time"] = times(knowledge, [conversation.question for conversation, _ in train[:300]])
    knowledge.settings = replace(knowledge.settings, threshold=0.0)
    if options.test:
        test = lecoqa(options.test, statutes)
        found = [
            [(hit.passage.law, hit.passage.number) for hit in knowledge.search(one.question, max(CUTS), "statute")]
            for one, _ in test
        ]
        figures["lecoqa_test"] = recalls(found, [wanted for _, wanted in test])
    if options.consultations:
        figures["consultations"] = consultations(options.consultations, knowledge)
    for name, group in figures.items():
        if isinstance(group, dict):
            print(name + ":", ", ".join(f"{key} {value:.3f}" for key, value in group.items()))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
