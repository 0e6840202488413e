"""What is no answer: selling, empty advice, repealed law, boilerplate."""

import pandas as pd
import pytest

from legalqa.data import screening, selling


@pytest.mark.parametrize(
    ("reply", "left"),
    [
        ("妨害公务罪，处三年以下有期徒刑，如需帮助来电咨询。", "妨害公务罪，处三年以下有期徒刑。"),
        ("可以申请劳动仲裁。详情可来电来访！", "可以申请劳动仲裁。"),
        ("可以起诉对方返还。以上答复，如果满意，敬请采纳。", "可以起诉对方返还。"),
        ("先报警，再起诉。如果您还有其他问题，欢迎随时咨询。", "先报警，再起诉。"),
        ("可以解除合同。我的微信是[微信号]，免费分析案情。", "可以解除合同。"),
        (
            "量刑要看事实、性质和情节，建议委托律师介入争取从轻、减轻或者免除处罚如果需要帮助欢迎来电咨询",
            "量刑要看事实、性质和情节，建议委托律师介入争取从轻、减轻或者免除处罚。",
        ),
        ("加我微信[微信号]免费分析案情。", ""),
        ("【示例律所】专业团队，胜诉收费，点击 http://example.com 了解，先到先得！", ""),
        ("你好，不合法的，如需帮助来电咨询。", ""),
        ("可以电话联系对方协商，协商不成再起诉。", "可以电话联系对方协商，协商不成再起诉。"),
        ("微信聊天记录可以作为证据。", "微信聊天记录可以作为证据。"),
        ("建议委托律师代理诉讼，费用由败诉方承担。", "建议委托律师代理诉讼，费用由败诉方承担。"),
    ],
)
def test_selling_is_cut_out(reply: str, left: str) -> None:
    assert selling.cut(reply) == left


@pytest.mark.parametrize(
    ("reply", "empty"),
    [
        ("您好，建议您咨询当地律师。", True),
        ("视具体情况而定", True),
        ("建议当面详细咨询律师", True),
        ("同意楼上律师的意见。", True),
        ("[电话]（同微信）", True),
        ("https://example.com/a?b=1", True),
        ("1", True),
        ("可以双倍返还。", False),
        ("不可以。", False),
        ("无", False),
        ("建议咨询律师，并保留好转账记录。", False),
        ("协商不成可以起诉。", False),
        ("根据实际损失赔偿。", False),
    ],
)
def test_empty_advice(reply: str, empty: bool) -> None:
    assert screening.is_empty_advice(reply) is empty
    assert screening.empty_advice(pd.Series([reply], dtype="str")).tolist() == [empty]


@pytest.mark.parametrize(
    ("reply", "repealed"),
    [
        ("根据《婚姻法》第三十二条", True),
        ("依照合同法第九十四条可以解除", True),
        ("《中华人民共和国物权法》规定", True),
        ("《劳动合同法》第三十八条", False),
        ("《中华人民共和国劳动合同法》第三十八条", False),
        ("原《合同法》已经废止", False),
        ("《合同法》的这条现在是民法典第五百六十三条", False),
        ("根据《民法典》第一千零七十九条", False),
    ],
)
def test_repealed_law_is_flagged(reply: str, repealed: bool) -> None:
    assert screening.repealed_law(pd.Series([reply], dtype="str")).tolist() == [repealed]


def test_shared_replies_are_counted_by_question() -> None:
    replies = pd.Series(["甲", "甲", "甲", "乙"])
    assert screening.shared_by(replies, pd.Series(["一", "一", "二", "一"])).tolist() == [2, 2, 2, 1]
