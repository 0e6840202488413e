"""The area of law, guessed from words: the first that fits wins."""

import pandas as pd

from legalqa.data.areas import areas


def test_areas() -> None:
    asked = ["公司拖欠工资怎么办", "离婚后房子归谁", "父亲的遗产怎么继承", "网购买到假货", "房东不退押金", "今天天气如何"]
    asked += ["朋友借了我两万不还", "承揽人要接受监督吗", "女方要退彩礼吗"]
    found = areas(pd.Series(asked, index=range(3, 12), dtype="str"))
    assert found.tolist() == [
        "labour",
        "marriage",
        "inheritance",
        "consumer",
        "lease_property",
        "other",
        "debt",
        "contract",
        "marriage",
    ]
    assert found.index.tolist() == list(range(3, 12))
