"""data/splits/train.jsonl, the statutes wheel, data/statutes/ -> models/knowledge/: the index that evaluation and the service
share.
"""

from pathlib import Path

from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Statutes
from legalqa.params import KnowledgeParams, load_params
from legalqa.records import read_jsonl
from legalqa.stage import stage

TRAIN = Path("data/splits/train.jsonl")
TARGET = Path("models/knowledge")


def main(params: KnowledgeParams) -> None:
    """Index the law in force on ``as_of`` and, if wanted, the answers that training sees. Held-out answers stay out."""
    statutes = Statutes.packaged(params.as_of)
    conversations = read_jsonl(TRAIN) if params.answers else []
    embedder = Embedder() if params.meaning else None
    knowledge = Knowledge.build(statutes, conversations, params.threshold, params.near, embedder)
    knowledge.save(TARGET)
    stale = sum(passage.stale for passage in knowledge.passages)
    print(
        f"{len(statutes.in_force())} articles of {len({article.law for article in statutes.in_force()})} laws in force on"
        f" {params.as_of}; {len(conversations)} past answers, {stale} of them not quoted (they cite law that no longer holds)"
    )


if __name__ == "__main__":
    with stage("knowledge"):
        params = load_params()
        main(params.knowledge)
