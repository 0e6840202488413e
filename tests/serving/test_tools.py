from tokenizers import Tokenizer, models

from serving import tools


class _Prompt:
    def __init__(self, words: list[str]) -> None:
        self.tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))


def test_a_model_was_taught_when_its_vocabulary_has_the_tag() -> None:
    assert tools.known_to(_Prompt(["?", "<tool_call>"]))  # type: ignore[arg-type]
    assert not tools.known_to(_Prompt(["?", "call"]))  # type: ignore[arg-type]


def test_a_call_is_read_out_of_what_stands_around_it() -> None:
    text = '好的。\n<tool_call>\n{"name": "search_statutes", "arguments": {"query": " 押金 ", "more": 1}}\n</tool_call>\n再见'
    call = tools.call_in(text, ["search_statutes"])
    assert call == tools.Call("search_statutes", {"query": "押金"})
    unclosed = '<tool_call>{"name": "search_statutes", "arguments": {"query": "押金"}}'
    assert tools.call_in(unclosed, ["search_statutes"]) == call
    assert tools.call_in(text, ["search_answers"]) is None


def test_a_text_is_read_until_it_is_a_call_or_will_be_none() -> None:
    call = '好的。<tool_call>{"name": "search_statutes", "arguments": {"query": "没有签劳动合同，单位该怎么赔偿"}}'
    assert all(tools.undecided(call[:size]) for size in range(len(call)))
    assert not tools.undecided(call + "</tool_call>")
    assert not tools.undecided("《中华人民共和国劳动合同法》第十九条规定，劳动合同期限三个月以上不满一年的")


def test_every_tool_offered_is_explained() -> None:
    said = tools.instructions(["search_statutes", "get_article"])
    assert '"name": "get_article"' in said and '"required": ["law", "number"]' in said
    assert "passages_api" not in said
