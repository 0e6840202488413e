from pathlib import Path

import numpy as np

from legalqa.knowledge.index import TermIndex

DOCUMENTS = [["离婚", "子女", "抚养"], ["工资", "拖欠", "工资"], ["离婚", "财产", "分割", "房屋"], []]


def test_share_of_the_query_that_is_found() -> None:
    index = TermIndex.build(DOCUMENTS)
    shares = index.shares(["离婚", "抚养"])
    assert int(shares.argmax()) == 0
    assert shares[1] == shares[3] == 0
    assert 0 < shares.max() < 1


def test_unknown_words_lower_the_share_and_repeated_ones_do_not_raise_it() -> None:
    index = TermIndex.build(DOCUMENTS)
    assert index.shares(["工资", "红烧肉"]).max() < index.shares(["工资"]).max()
    assert np.array_equal(index.shares(["工资", "工资"]), index.shares(["工资"]))
    assert not index.shares(["红烧肉"]).any()
    assert not index.shares([]).any()


def test_round_trip_and_equal_bytes(tmp_path: Path) -> None:
    index = TermIndex.build(DOCUMENTS)
    index.save(tmp_path / "a")
    TermIndex.build(DOCUMENTS).save(tmp_path / "b")
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert np.array_equal(TermIndex.load(tmp_path / "a").shares(["离婚"]), index.shares(["离婚"]))
