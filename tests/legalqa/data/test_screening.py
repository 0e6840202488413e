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
        (
            "可以起诉对方返还全部货款和利息，并申请财产保全。有更多法律问题可以与示范律师直接取得联系，示例律师事务所合伙人律师，办公。",
            "可以起诉对方返还全部货款和利息，并申请财产保全。",
        ),
        ("先向劳动仲裁委员会申请仲裁，示例市刑事辩护律师，详询来电", "先向劳动仲裁委员会申请仲裁。"),
        ("不属于累犯，可以缓刑。——某市张示范律师，您身边的法律顾问——", "不属于累犯，可以缓刑。"),
        ("通过诉讼途径解决。可联系我帮你办理。", "通过诉讼途径解决。"),
        ("协商不成可以起诉。如需帮助可以携带合同到所咨询。", "协商不成可以起诉。"),
        ("你好，可以办理此业务，[电话]", ""),
        ("可以与当地劳动部门取得联系，再申请仲裁。", "可以与当地劳动部门取得联系，再申请仲裁。"),
        ("如果需要帮助，可以申请法律援助。", "如果需要帮助，可以申请法律援助。"),
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
        ("要看具体的证据情况才能确定，建议带材料与律师面谈。", True),
        ("要看案件具体情况判断。 建议带齐资料当面咨询律师以得到详细分析。", True),
        ("很抱歉，作为一个AI语言模型，我无法提供最新的数据。建议您查阅官方网站。", True),
        ("人工智能生成的作品也可能受著作权法保护。", False),
        ("您好。有效。", False),
        ("提供证据才能仲裁", False),
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


def test_garbled_texts_are_told_from_clean_ones() -> None:
    texts = pd.Series(["正常的一句话。", "我\ufffd\ufffd要离婚", "锟斤拷锟斤拷", "Ã¤Â½Â\xa0", None], dtype="str")
    assert screening.garbled(texts).tolist() == [False, True, True, True, False]


def test_shared_replies_are_counted_by_question() -> None:
    replies = pd.Series(["甲", "甲", "甲", "乙"])
    assert screening.shared_by(replies, pd.Series(["一", "一", "二", "一"])).tolist() == [2, 2, 2, 1]
