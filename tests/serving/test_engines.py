from pathlib import Path

from legalqa.engine.continuous_engine import ContinuousEngine
from serving.engines import open_engine
from serving.settings import Settings
from tests.serving.bundles import PROBATION_ANSWER, bundle


def test_the_engine_knows_the_phrases_of_the_answers_in_its_bundle(tmp_path: Path) -> None:
    engine = open_engine(Settings(bundle=bundle(tmp_path, with_adapter=True)))
    assert isinstance(engine, ContinuousEngine)
    first, second, third, fourth = engine.prompt.encode(PROBATION_ANSWER)[:4]
    assert engine._phrases
    assert engine._phrases.after([first, second, third]) == fourth
