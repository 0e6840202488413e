"""Small files of questions and answers, in every form that people export."""

from collections.abc import Callable
from pathlib import Path

import pytest

from legalqa.data.reading import Table, read_table
from legalqa.params import Columns, DataParams

TOPICS = (
    ("公司拖欠工资怎么办？", "已经三个月没有发了。", "先向劳动监察部门投诉，再申请劳动仲裁。"),
    ("房东不退押金怎么办？", "合同写明退租后七日内退还。", "保留合同和转账记录，书面催告后可以起诉。"),
    ("借款没有借条能起诉吗？", "只有转账记录。", "转账凭证和聊天记录可以相互印证，可以起诉。"),
    ("邻居装修漏水谁来赔？", "物业说不归他们管。", "拍照取证，申请鉴定，要求侵权人赔偿修复费用。"),
)


def lines(count: int = 8, delimiter: str = ",") -> list[str]:
    """A header and ``count`` different records."""
    body = [
        delimiter.join((f"{city}{title}", question, f"{city}的情况：{reply}", "1"))
        for city in ("甲市", "乙县", "丙区", "丁镇", "戊州", "己旗", "庚乡", "辛村")
        for title, question, reply in TOPICS
    ]
    return [delimiter.join(("title", "question", "reply", "is_best")), *body[:count]]


Reader = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Write content to a file of that name and read it as data.source."""

    def reader(content: str | bytes, name: str = "qa.csv", columns: Columns | None = None, **params: object) -> Table:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return read_table(DataParams(source=str(path), columns=columns or Columns(), **params))  # type: ignore[arg-type]

    return reader
