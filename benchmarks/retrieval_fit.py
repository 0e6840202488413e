"""The numbers of legalqa/knowledge/ranking.py, learnt on questions whose articles are known, each without its own answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from legalqa.knowledge.evidence import Evidence
from legalqa.knowledge.passages import Passage
from legalqa.records import Conversation

Array = np.ndarray[Any, np.dtype[np.float64]]

_CANDIDATES = 60  # per feature: the articles that any feature puts that high compete
_NEAR = 20  # past answers per feature
_PULL = 1e-3  # keeps the weights small


def fit(
    evidence: Evidence,
    passages: Sequence[Passage],
    train: Sequence[tuple[Conversation, frozenset[tuple[str, str]]]],
    questions: Sequence[Sequence[str]],
) -> None:
    """Print the three tuples of ``ranking.Weights``.

    ``passages`` are those of ``evidence``, articles first, then the answers of ``train`` in their order. ``questions`` are
    (legal or other, question). A past answer counts as right when it cites an article that is wanted.
    """
    place = {(passage.law, passage.number): at for at, passage in enumerate(passages) if passage.kind == "statute"}
    answers = [passage for passage in passages if passage.kind == "answer"]
    lists: list[tuple[Array, Array]] = []
    past: list[tuple[Array, Array]] = []
    law = [(evidence.features(question).law.T, np.array([kind == "legal"])) for kind, question in questions]
    for at, (conversation, wanted) in enumerate(tqdm(train, desc="features")):
        right = [place[key] for key in wanted]
        if not right:
            continue
        found = evidence.features(conversation.question, but=at)
        chosen = np.union1d(_best(found.article, _CANDIDATES), right)
        lists.append((found.article[:, chosen].T.astype(float), np.isin(chosen, right)))
        near = np.setdiff1d(_best(found.answer, _NEAR), [at])
        past.append((found.answer[:, near].T.astype(float), np.array([bool(wanted & set(answers[one].cites)) for one in near])))
    weights = _rank(lists)
    scale = _logistic([(features @ weights[:, None], right) for features, right in lists])
    _show("article", [*(weights * scale[0]), scale[1]])
    _show("answer", _logistic(past))
    _show("law", _logistic(law, balanced=True))


def _best(features: np.ndarray, count: int) -> Array:
    """Places that any row of ``features`` puts among its first ``count``."""
    return np.unique(np.concatenate([np.argpartition(-row, count)[:count] for row in features]))


def _rank(lists: list[tuple[Array, Array]]) -> Array:
    """Weights >= 0 under which the right ones of each list come first: softmax over the list."""

    def loss(weights: Array) -> float:
        total = 0.0
        for features, right in lists:
            sums = 10 * features @ weights
            total -= float((sums[right] - np.logaddexp.reduce(sums)).mean())
        return total / len(lists) + _PULL * float(weights @ weights)

    width = lists[0][0].shape[1]
    best: Array = minimize(loss, np.ones(width), bounds=[(0, None)] * width).x
    return best


def _logistic(groups: list[tuple[Array, Array]], balanced: bool = False) -> list[float]:
    """Slopes >= 0 and the constant. ``balanced``: right and wrong ones weigh the same together."""
    features = np.concatenate([rows for rows, _ in groups]).astype(float)
    right = np.concatenate([labels for _, labels in groups]).astype(float)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    scaled = (features - mean) / spread
    share = right.mean()
    weight = np.where(right > 0, 0.5 / share, 0.5 / (1 - share)) if balanced else np.ones_like(right)

    def loss(w: Array) -> float:
        return float((weight * np.logaddexp(0, -(2 * right - 1) * (scaled @ w[1:] + w[0]))).mean() + _PULL * w[1:] @ w[1:])

    best = minimize(loss, np.zeros(len(mean) + 1), bounds=[(None, None)] + [(0, None)] * len(mean)).x
    slopes = best[1:] / spread
    return [*slopes, best[0] - float(slopes @ mean)]


def _show(name: str, numbers: Sequence[float]) -> None:
    print(f"{name}=({', '.join(f'{number:.2f}' for number in numbers)}),")
