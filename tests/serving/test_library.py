"""The knowledge behind the service: what is missing or damaged is said, and never ends the service."""

from pathlib import Path

import pytest

from serving.library import Library
from tests.serving.bundles import PROBATION, PROBATION_ANSWER, knowledge


@pytest.mark.anyio
async def test_quotes_and_citations(tmp_path: Path) -> None:
    knowledge().save(tmp_path / "knowledge")
    library = Library.open([tmp_path / "none", tmp_path / "knowledge"])
    found = await library.answer(PROBATION)
    assert found and found.text == PROBATION_ANSWER
    quotes = library.quotes(found.hits)
    assert (quotes[0].kind, quotes[0].title) == ("answer", PROBATION)
    twice = library.citations("《中华人民共和国劳动合同法》第十条，又第十条，《中华人民共和国劳动合同法》第九十九条")
    assert [(one["number"], one["status"], "text" in one) for one in twice] == [("10", "valid", True), ("99", "unknown", False)]
    library.close()


@pytest.mark.anyio
@pytest.mark.parametrize("damage", ["", "{", '{"other": 1}'])
async def test_without_a_whole_index_nothing_is_found_and_it_is_said_why(tmp_path: Path, damage: str) -> None:
    knowledge().save(tmp_path / "knowledge")
    (tmp_path / "knowledge" / "settings.json").write_text(damage, encoding="utf-8")
    library = Library.open([tmp_path / "knowledge"])
    assert await library.answer(PROBATION) is None
    assert await library.search(PROBATION, 3, "statute") == []
    assert library.citations(PROBATION_ANSWER) == []
    assert "knowledge" in library.problem
    library.close()
