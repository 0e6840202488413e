"""Passages of the knowledge base in a model's question: the same wording for evaluation and service."""

from collections.abc import Iterable, Sequence

from legalqa.records import Message


def grounded(messages: Sequence[Message], passages: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """The conversation with numbered (title, text) passages before its last question; unchanged without passages."""
    given = "\n".join(f"{number}. {title}：{text}" for number, (title, text) in enumerate(passages, start=1))
    if not given:
        return tuple(messages)
    content = f"参考资料：\n{given}\n\n请结合有用的参考资料回答：{messages[-1].content}"
    return (*messages[:-1], messages[-1].model_copy(update={"content": content}))
