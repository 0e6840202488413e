"""What legalqa/knowledge/ranking.py, axis.npy beside it and data/statutes/turn.npy hold, learnt on questions whose articles are
known, each without its own past answer, and on questions of law and of other things.

The articles of a question compete with the best of the others; the weights and the turn of the question's vector are those
under which its own come first (softmax over the list), with a penalty on their squares: a convex problem, so the same data
give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from legalqa.files import written_aside
from legalqa.knowledge.evidence import Evidence
from legalqa.knowledge.meaning import Places
from legalqa.knowledge.passages import Passage
from legalqa.records import Conversation

Array = np.ndarray[Any, np.dtype[np.float64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

_CANDIDATES = 60  # articles that compete for a question
_FOUND = 120  # an article that comes out worse than this teaches nothing
_FIRST_GUESS = (15.0, 4.65, 3.0, 3.0, 7.8)  # weights of the first five features, by which they come out
_NEAR = 20  # past answers per feature
_PULL, _PULL_TURN = 1e-2, 1e-2  # keep the weights, and the turn, small; chosen by cross-validation on the train part
_STEPS = 60
_STRETCH = 8.0  # brings the turn's numbers to the size of the weights
_SLOPE_PULL = 1e-3
_AXIS_FREEDOM = 75.0  # scikit-learn's C; from a third to three times as much the rates stay within a question of 316
# Set by hand: on consultations nothing was learnt from, the best articles then score on average what share of them is right.
_ARTICLE_CONSTANT = -9.0


@dataclass(frozen=True)
class Lists:
    """For each of q questions: features [q, k, f] of k articles, their centred vectors [q, k, d], its own [q, d], and which
    articles are right [q, k]; d = 0 without meaning.
    """

    features: Floats
    vectors: Floats
    towards: Floats
    right: Floats


def fit(
    evidence: Evidence,
    passages: Sequence[Passage],
    train: Sequence[tuple[Conversation, frozenset[tuple[str, str]]]],
    questions: Sequence[Sequence[str]],
    more_legal: Sequence[str],
    turn_file: Path,
    axis_file: Path,
) -> None:
    """Print the three tuples of ``ranking.Weights``; with meaning, write ``turn_file`` [384, 384] and ``axis_file`` [384].

    ``evidence`` must not turn questions yet. ``passages`` are those of ``evidence``, articles first, then the answers of
    ``train`` in their order. ``questions`` are (legal or other, question); for the axis those of ``train`` and ``more_legal``
    are legal ones, too. A past answer counts as right when it cites a wanted article.
    """
    place = {(passage.law, passage.number): at for at, passage in enumerate(passages) if passage.kind == "statute"}
    answers = [passage for passage in passages if passage.kind == "answer"]
    known = [(at, conversation.question, wanted) for at, (conversation, wanted) in enumerate(train) if wanted]
    past: list[tuple[Array, Array]] = []
    for at, question, wanted in tqdm(known, desc="past answers"):
        found = evidence.features(question, but=at).answer
        near = np.setdiff1d(_best(found, _NEAR), [at])
        past.append((found[:, near].T.astype(float), np.array([bool(wanted & set(answers[one].cites)) for one in near])))
    of_words, of_meaning, constant = _logistic(past)
    # What past answers say of an article rests on these.
    evidence.weights = replace(evidence.weights, answer=(of_words, of_meaning, constant))
    rows = []
    for at, question, wanted in tqdm(known, desc="articles"):
        features = evidence.features(question, but=at).article
        chosen, right = _compete(features, [place[key] for key in wanted])
        if not right.any():
            continue
        vectors, towards = np.zeros((len(chosen), 0), np.float32), np.zeros(0, np.float32)
        if evidence.meaning:
            vectors = evidence.meaning.articles.centred(chosen)
            towards = evidence.meaning.articles.towards(evidence.meaning.embedder.questions([question])[0])
        rows.append((features[:, chosen].T, vectors, towards, right))
    lists = Lists(*(np.stack(part).astype(np.float32) for part in zip(*rows, strict=True)))
    weights, turn = rank(lists)
    _show("article", [*weights, _ARTICLE_CONSTANT])
    _show("answer", evidence.weights.answer)
    legal = np.array([kind == "legal" for kind, _ in questions])
    nearest, _, shares = np.concatenate([evidence.features(question).law for _, question in questions], axis=1)
    if not evidence.meaning:
        of_words, constant = _logistic([(shares[:, None], legal)], balanced=True)
        _show("law", [0.0, 0.0, of_words, constant])
        return
    embedder = evidence.meaning.embedder
    axis, along = axis_of_law(
        embedder.questions([question for _, question in questions]),
        legal,
        embedder.questions([question for _, question, _ in known] + list(more_legal)),
    )
    of_nearest, of_axis, constant = _logistic([(np.stack([nearest, along], axis=1), legal)], balanced=True)
    _show("law", [of_nearest, of_axis, 0.0, constant])
    whole = np.eye(len(turn)) + turn / weights[4]  # the fifth weight is that of the article's meaning
    for path, numbers in ((turn_file, whole.astype(np.float16)), (axis_file, axis)):
        with written_aside(path) as aside, aside.open("wb") as file:
            np.save(file, numbers)


def axis_of_law(vectors: Floats, legal: Bools, more_legal: Floats) -> tuple[Floats, Floats]:
    """The direction [d] in which the ``legal`` ones of ``vectors`` [q, d] and ``more_legal`` ones [r, d] differ from the
    others, and the places [q] of ``vectors`` on it, each found without its own fold of ten.
    """

    def learn(chosen: Places) -> Floats:
        known = np.concatenate([vectors[chosen], more_legal])
        right = np.concatenate([legal[chosen], np.ones(len(more_legal), dtype=bool)])
        model = LogisticRegression(C=_AXIS_FREEDOM, class_weight="balanced", max_iter=3000).fit(known, right)
        learnt: Floats = model.coef_[0].astype(np.float32)
        return learnt

    places = np.zeros(len(vectors), dtype=np.float32)
    for rest, fold in StratifiedKFold(10, shuffle=True, random_state=0).split(vectors, legal):
        places[fold] = vectors[fold] @ learn(rest)
    return learn(np.arange(len(vectors))), places


def rank(lists: Lists) -> tuple[Floats, Floats]:
    """Weights [f] >= 0 of the features, and the matrix [d, d] by which vectors add to their sum."""
    spread = lists.features.std(axis=(0, 1)) + 1e-6
    features = (lists.features - lists.features.mean(axis=(0, 1))) / spread
    goal = lists.right / lists.right.sum(axis=1, keepdims=True)
    count, size = features.shape[2], lists.towards.shape[1]

    def loss(numbers: Array) -> tuple[float, Array]:
        weights, turn = numbers[:count].astype(np.float32), numbers[count:].astype(np.float32).reshape(size, size)
        sums = features @ weights + _STRETCH * np.einsum("qkd,qd->qk", lists.vectors, lists.towards @ turn)
        sums -= sums.max(axis=1, keepdims=True)
        whole = np.exp(sums).sum(axis=1, keepdims=True)
        cost = -(goal * (sums - np.log(whole))).sum(axis=1).mean() + _PULL * weights @ weights + _PULL_TURN * (turn**2).sum()
        slope = (np.exp(sums) / whole - goal) / len(goal)
        of_weights = np.einsum("qk,qkf->f", slope, features) + 2 * _PULL * weights
        of_turn = _STRETCH * lists.towards.T @ np.einsum("qk,qkd->qd", slope, lists.vectors) + 2 * _PULL_TURN * turn
        return float(cost), np.concatenate([of_weights, of_turn.ravel()]).astype(np.float64)

    start = np.concatenate([np.ones(count), np.zeros(size * size)])
    bounds = [(0, None)] * count + [(None, None)] * (size * size)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}).x
    return (best[:count] / spread).astype(np.float32), (_STRETCH * best[count:].reshape(size, size)).astype(np.float32)


def _compete(features: Floats, wanted: Sequence[int]) -> tuple[Places, Bools]:
    """Places of the ``_CANDIDATES`` articles that compete, wanted ones first, and which are wanted."""
    order = np.argsort(-(np.array(_FIRST_GUESS, dtype=np.float32) @ features[: len(_FIRST_GUESS)]), kind="stable")[:_FOUND]
    right = np.isin(order, wanted)
    chosen = np.concatenate([order[right], order[~right]])[:_CANDIDATES]
    return chosen, np.isin(chosen, wanted)


def _best(features: np.ndarray, count: int) -> Places:
    """Places that any row of ``features`` puts among its first ``count``."""
    return np.unique(np.concatenate([np.argpartition(-row, count)[:count] for row in features]))


def _logistic(groups: list[tuple[Any, Any]], balanced: bool = False) -> list[float]:
    """Slopes >= 0 and the constant. ``balanced``: right and wrong ones weigh the same together."""
    features = np.concatenate([rows for rows, _ in groups]).astype(float)
    right = np.concatenate([labels for _, labels in groups]).astype(float)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    scaled = (features - mean) / spread
    share = right.mean()
    weight = np.where(right > 0, 0.5 / share, 0.5 / (1 - share)) if balanced else np.ones_like(right)

    def loss(w: Array) -> float:
        return float(
            (weight * np.logaddexp(0, -(2 * right - 1) * (scaled @ w[1:] + w[0]))).mean() + _SLOPE_PULL * w[1:] @ w[1:]
        )

    best = minimize(loss, np.zeros(len(mean) + 1), bounds=[(None, None)] + [(0, None)] * len(mean)).x
    slopes = best[1:] / spread
    return [*slopes, best[0] - float(slopes @ mean)]


def _show(name: str, numbers: Sequence[float]) -> None:
    print(f"{name}=({', '.join(f'{number:.2f}' for number in numbers)}),")
