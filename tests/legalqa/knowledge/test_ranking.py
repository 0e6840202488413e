from pathlib import Path

import numpy as np

from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.ranking import axis_of_law


def test_questions_of_law_lie_on_one_side_of_the_axis() -> None:
    lines = (Path(__file__).parent / "questions.tsv").read_text(encoding="utf-8").splitlines()
    kinds, questions = zip(*(line.split("\t") for line in lines[::4]), strict=True)
    legal = np.array(kinds) == "legal"
    along = Embedder().questions(questions) @ axis_of_law()
    between = (np.median(along[legal]) + np.median(along[~legal])) / 2
    assert min(legal.sum(), (~legal).sum()) > 30
    assert ((along > between) == legal).mean() > 0.9
