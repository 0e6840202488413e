"""The numbers of legalqa/knowledge/ranking.py, learnt on questions whose articles are known, each without its own answer."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from legalqa.knowledge.retrieval import Knowledge
from legalqa.records import Conversation

CANDIDATES = 60  # per feature; the articles that any feature puts that high compete
_PULL = 1e-3  # keeps the weights small


def fit(
    knowledge: Knowledge, train: Sequence[tuple[Conversation, frozenset[tuple[str, str]]]], questions: Sequence[Sequence[str]]
) -> None:
    """Print weights (listwise softmax over the candidates) and the scales of the scores (logistic regression).

    The first ``train`` answers must be the first past answers of ``knowledge``.
    """
    place = {(p.law, p.number): at for at, p in enumerate(knowledge.passages) if p.kind == "statute"}
    lists: list[tuple[np.ndarray, np.ndarray]] = []
    hits: list[list[bool]] = []
    for at, (conversation, wanted) in enumerate(tqdm(train, desc="features")):
        right = [place[key] for key in wanted if key in place]
        if not right:
            continue
        features, _ = knowledge._evidence.features(conversation.question, but=at)
        top = {int(one) for row in features for one in np.argpartition(-row, CANDIDATES)[:CANDIDATES]}
        chosen = np.array(sorted(top | set(right)))
        lists.append((features[:, chosen].T.astype(np.float64), np.isin(chosen, right)))
        hits.append([])

    def loss(weights: np.ndarray) -> float:
        total = 0.0
        for features, right in lists:
            sums = 10 * features @ weights
            total -= float((sums[right] - np.logaddexp.reduce(sums)).mean())
        return total / len(lists) + _PULL * float(weights @ weights)

    weights = minimize(loss, np.ones(lists[0][0].shape[1]), bounds=[(0, None)] * lists[0][0].shape[1]).x
    weights /= weights[0]
    print("words, widened, past_words, past_meaning, meaning:", np.round(weights, 2).tolist())

    tops = {"legal": [], "other": []}
    for kind, question in questions:
        features, _ = knowledge._evidence.features(question)
        tops[kind].append(float((weights @ features).max()))
    for kind, values in tops.items():
        print(f"sum of the top article, {kind}:", np.round(np.percentile(values, [1, 5, 10, 50, 90, 95, 99]), 2).tolist())
