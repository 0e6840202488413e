"""How each family of chat models writes a conversation: data, no code of a template language.

A template is a list of parts: special tokens, named and turned into their one id, and texts, each encoded by itself with
special-token parsing off. So no text of a user can open a role or end a turn.
"""

from collections.abc import Set

from pydantic import BaseModel, ConfigDict


class Special(BaseModel):
    """One special token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str


Parts = tuple[Special | str, ...]
"""Special tokens, and texts that may hold ``{content}`` (and ``{system}`` in ``user_with_system``)."""

CONTENT: Parts = ("{content}",)


class Template(BaseModel):
    """One family's format. A completion is begin, system, turns, header, opening; the model writes answer and end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    begin: Parts = ()
    system: Parts = ()
    user_with_system: Parts = ()
    """The first user turn after a system message, in families that write that message inside it."""
    user: Parts
    header: Parts
    """Opens an assistant turn."""
    opening: Parts = ()
    """Stands behind the header of the answer to come, and of no earlier one."""
    answer: Parts = CONTENT
    """What the model writes itself; a text before ``{content}`` is learned with it and cut off again by ``decode``."""
    end: str
    """The token that ends an answer; learned."""
    after_answer: Parts
    """Between an answer and the next question."""
    stops: tuple[str, ...] = ()
    """Further tokens at which a generation has left the answer, where the vocabulary has them."""
    marks: tuple[str, ...] = ()
    """Role marks that are plain text in this family: inside a content a blank breaks them up."""


def _chatml(name: str, opening: Parts = ()) -> Template:
    start, end = Special(token="<|im_start|>"), Special(token="<|im_end|>")
    return Template(
        name=name,
        system=(start, "system\n{content}", end, "\n"),
        user=(start, "user\n{content}", end, "\n"),
        header=(start, "assistant\n"),
        opening=opening,
        end=end.token,
        after_answer=(end, "\n"),
        stops=("<|endoftext|>",),
    )


# Qwen 1.5, 2, 2.5, and every other model with these two tokens.
CHATML = _chatml("chatml")

# Qwen 3 can think before it answers; an empty thought makes it answer at once, as its own template does.
QWEN3 = _chatml("qwen3", (Special(token="<think>"), "\n\n", Special(token="</think>"), "\n\n"))


def _glm(name: str, sop: str, user: Parts, answer: Parts, header: Parts, end: str) -> Template:
    return Template(
        name=name,
        begin=(Special(token="[gMASK]"), Special(token=sop)),
        system=(Special(token="<|system|>"), *user),
        user=(Special(token="<|user|>"), *user),
        header=(Special(token="<|assistant|>"), *header),
        answer=answer,
        end=end,
        after_answer=(),  # the next <|user|> closes the turn
        stops=("<|user|>", "<|observation|>"),
    )


# The line break after a role is a text of its own: SentencePiece puts a blank before each text. A ChatGLM3 writes the
# one after <|assistant|> itself (its tools' names would stand before it), so it is learned.
CHATGLM3 = _glm("chatglm3", "sop", user=("\n", "{content}"), answer=("\n", "{content}"), header=(), end="</s>")
GLM4 = _glm("glm4", "<sop>", user=("\n{content}",), answer=CONTENT, header=("\n",), end="<|endoftext|>")


def _llama3_turn(role: str, content: str) -> Parts:
    opening, closing = Special(token="<|start_header_id|>"), Special(token="<|end_header_id|>")
    return (opening, role, closing, f"\n\n{content}")


LLAMA3 = Template(
    name="llama3",
    begin=(Special(token="<|begin_of_text|>"),),
    system=(*_llama3_turn("system", "{content}"), Special(token="<|eot_id|>")),
    user=(*_llama3_turn("user", "{content}"), Special(token="<|eot_id|>")),
    header=_llama3_turn("assistant", ""),
    end="<|eot_id|>",
    after_answer=(Special(token="<|eot_id|>"),),
    stops=("<|end_of_text|>", "<|eom_id|>"),
)

LLAMA2 = Template(
    name="llama2",
    begin=(Special(token="<s>"),),
    user_with_system=("[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{content} [/INST]",),
    user=("[INST] {content} [/INST]",),
    header=(),
    end="</s>",
    after_answer=(Special(token="</s>"), Special(token="<s>")),
    marks=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
)


def plain(end: str, begin: str | None) -> Template:
    """For models that were never taught to chat: headings in words, and the vocabulary's own end of text."""
    return Template(
        name="plain",
        begin=(Special(token=begin),) if begin else (),
        system=("{content}\n\n",),
        user=("### 问题\n{content}\n\n",),
        header=("### 回答\n",),
        end=end,
        after_answer=("\n\n",),
        marks=("### 问题", "### 回答"),
    )


def pick(vocabulary: Set[str], chat_template: str) -> Template | None:
    """The template of the family whose role tokens the vocabulary has; None when it knows no role."""
    if vocabulary >= {"<|im_start|>", "<|im_end|>"}:
        return QWEN3 if vocabulary >= {"<think>", "</think>"} and "enable_thinking" in chat_template else CHATML
    if vocabulary >= {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>"}:
        return LLAMA3
    if vocabulary >= {"[gMASK]", "<|user|>", "<|assistant|>", "<|system|>"}:
        return CHATGLM3 if "sop" in vocabulary and "<sop>" not in vocabulary else GLM4
    if "[INST]" in chat_template and "<<SYS>>" in chat_template and vocabulary >= {"<s>", "</s>"}:
        return LLAMA2
    return None
