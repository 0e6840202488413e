"""Tool calls as text: how a model is told of its tools, how its call is read, how it is told the result.

It is the form of Qwen's own template (and of Hermes' before it): JSON between <tool_call> tags. It travels in plain messages,
so that it works with any engine and any OpenAI-compatible server, whether that was started with a tool parser or not.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from legalqa.prompt import Prompt
from serving.answers import Quote

MARK, END = "<tool_call>", "</tool_call>"
PREFACE = 32  # characters; a model that has written more without a call is answering already
_CALL = re.compile(rf"{MARK}\s*(\{{.*?\}})\s*(?:{END}|\Z)", re.DOTALL)
_TEXT = {"type": "string"}
TOOLS: dict[str, tuple[str, dict[str, str]]] = {
    "search_statutes": ("按问题检索现行法律条文", {"query": "要检索的法律问题"}),
    "search_answers": ("按问题检索既往律师答复", {"query": "要检索的法律问题"}),
    "get_article": ("读取一部法律的某一条", {"law": "法律名称，如：中华人民共和国民法典", "number": "条号，如：1079"}),
    "passages_api": ("按问题检索外部资料", {"query": "要检索的问题"}),
}


@dataclass(frozen=True)
class Call:
    """What the model wants done."""

    tool: str
    arguments: dict[str, str]

    @property
    def query(self) -> str:
        """The arguments in one line."""
        return " ".join(self.arguments.values())


def known_to(prompt: Prompt) -> bool:
    """Whether the model's vocabulary has the tag, which is to say that it was taught to call tools."""
    return prompt.tokenizer.token_to_id(MARK) is not None


def instructions(names: Iterable[str]) -> str:
    """The system message: Qwen's words, and what the tools are for here."""
    schemas = []
    for name in names:
        description, arguments = TOOLS[name]
        properties = {argument: _TEXT | {"description": text} for argument, text in arguments.items()}
        parameters: dict[str, Any] = {"type": "object", "properties": properties, "required": list(arguments)}
        function = {"name": name, "description": description, "parameters": parameters}
        schemas.append(json.dumps({"type": "function", "function": function}, ensure_ascii=False))
    return (
        "你在回答法律问题之前，用工具查找所依据的法律条文和既往答复；不需要查找时直接回答“不需要”。\n\n# Tools\n\n"
        "You may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
        + "\n".join(schemas)
        + "\n</tools>"
        "\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML "
        'tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )


def undecided(text: str) -> bool:
    """Whether what a model has written so far may still become a call."""
    return END not in text if MARK in text else len(text.strip()) <= PREFACE


def call_in(text: str, names: Iterable[str]) -> Call | None:
    """The first call in what the model wrote; None when there is none, or none of these tools with its arguments."""
    match = _CALL.search(text)
    try:
        value = json.loads(match[1]) if match else None
    except ValueError:
        return None
    if not isinstance(value, dict) or value.get("name") not in tuple(names) or not isinstance(value.get("arguments"), dict):
        return None
    wanted = TOOLS[value["name"]][1]
    arguments = {name: str(value["arguments"].get(name, "")).strip()[:500] for name in wanted}
    return Call(value["name"], arguments) if all(arguments.values()) else None


def response(quotes: Sequence[Quote]) -> str:
    """What was found, as the model expects it: enough to decide whether to look further."""
    found = [{"title": one.title, "text": one.text[:80]} for one in quotes]
    return f"<tool_response>\n{json.dumps(found, ensure_ascii=False)}\n</tool_response>"
