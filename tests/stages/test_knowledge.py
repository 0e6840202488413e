from pathlib import Path

import pytest

from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Statutes
from legalqa.params import KnowledgeParams
from legalqa.records import write_jsonl
from stages.knowledge import main
from tests.legalqa.knowledge.test_retrieval import PAST, STATUTES


@pytest.mark.parametrize("answers", [True, False])
def test_folder_answers_from_what_it_was_given(
    answers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Statutes, "packaged", classmethod(lambda cls, as_of: STATUTES))
    write_jsonl("data/splits/train.jsonl", PAST)
    main(KnowledgeParams(as_of="2026-11-25", answers=answers, threshold=0.05))
    knowledge = Knowledge.load(Path("models/knowledge"))
    assert bool(knowledge.search("公司拖欠工资", kind="answer")) is answers
    assert "5 articles of 3 laws in force on 2026-11-25" in capsys.readouterr().out
