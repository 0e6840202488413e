from pathlib import Path

import pytest

from legalqa.engine.fake import FakeEngine
from legalqa.evaluation import arms
from legalqa.evaluation.external import external_engine
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Statutes
from legalqa.params import EvaluateParams
from legalqa.prompt import Prompt
from legalqa.records import Message
from tests.legalqa.evaluation.conftest import REFERENCE, item
from tests.tiny import tiny_model

PARAMS = EvaluateParams(arms=["base"], max_new_tokens=8)


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Prompt:
    return Prompt.from_base(tiny_model(tmp_path_factory.mktemp("tiny") / "base"))


@pytest.fixture
def knowledge(statutes: Statutes) -> Knowledge:
    return Knowledge.build(statutes, [], threshold=0.0)


def test_a_model_is_asked_the_plain_question(prompt: Prompt, knowledge: Knowledge) -> None:
    engine = FakeEngine(prompt, reply=lambda _request: "起诉离婚。")
    found = arms.ask("base", engine, [item()], knowledge, PARAMS)[0]
    assert (found.arm, found.text, found.references, found.sources) == ("base", "起诉离婚。", (REFERENCE,), ())
    assert engine.requests[0].messages == (Message(role="user", content="怎么离婚？"),)
    assert list(engine.requests[0].prompt_ids) == prompt.completion(engine.requests[0].messages)


def test_passages_stand_in_the_prompt_and_are_named(prompt: Prompt, knowledge: Knowledge) -> None:
    engine = FakeEngine(prompt)
    found = arms.ask("base+knowledge", engine, [item("感情破裂怎么离婚？")], knowledge, PARAMS)[0]
    asked = engine.requests[0].messages[-1].content
    assert "感情确已破裂，调解无效的，应当准予离婚" in asked
    assert "感情破裂怎么离婚？" in asked
    assert "第一千零七十九条" in found.sources[0]


def test_floors_never_give_a_question_its_own_answer() -> None:
    questions = [item(f"问{n}", f"答{n}") for n in range(7)]
    floors = arms.floors(questions, seed=3)
    random = [found.text for found in floors["floor_random"]]
    assert sorted(random) == [f"答{n}" for n in range(7)]
    assert all(text != f"答{n}" for n, text in enumerate(random))
    assert {found.text for found in floors["floor_boilerplate"]} == {arms.BOILERPLATE}
    assert arms.floors(questions, seed=3) == floors


def test_the_knowledge_base_quotes_its_source_or_is_empty(knowledge: Knowledge, statutes: Statutes) -> None:
    found = arms.quotations([item("感情破裂怎么离婚？")], knowledge)
    assert "应当准予离婚" in found[0].text
    assert found[0].sources
    nothing = Knowledge.build(statutes, [], threshold=1.1)
    assert [(one.text, one.sources) for one in arms.quotations([item()], nothing)] == [("", ())]


def test_the_external_arm_is_off_without_an_address(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env here
    monkeypatch.delenv("LEGALQA_API_URL", raising=False)
    with arms.opened(arms.API, tmp_path, tmp_path, prompt, PARAMS) as engine:
        assert engine is None
    assert "LEGALQA_API_URL" in capsys.readouterr().out
    monkeypatch.setenv("LEGALQA_API_URL", "http://127.0.0.1:1/v1")
    assert external_engine(prompt, 2) is not None
