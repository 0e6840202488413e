"""How each family of chat models writes a conversation: data, no code of a template language.

A template is a list of parts: special tokens, named and turned into their one id, and texts, each encoded by itself with
special-token parsing off. So no text of a user can open a role or end a turn.
"""

from pydantic import BaseModel, ConfigDict


class Special(BaseModel):
    """One special token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str


Parts = tuple[Special | str, ...]
"""Special tokens, and texts that may hold ``{content}`` (and ``{system}`` in ``user_with_system``)."""

CONTENT: Parts = ("{content}",)


class Template(BaseModel):
    """One family's format. A completion is begin, system, turns, header; the model goes on with answer and end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    begin: Parts = ()
    system: Parts = ()
    user_with_system: Parts = ()
    """The first user turn after a system message, in families that write that message inside it."""
    user: Parts
    header: Parts
    """Opens an assistant turn."""
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
        header=(start, "assistant\n", *opening),
        end=end.token,
        after_answer=(end, "\n"),
        stops=("<|endoftext|>",),
    )


# Qwen 1.5, 2, 2.5, and every other model with these two tokens.
CHATML = _chatml("chatml")

# Qwen 3 can think before it answers; an empty thought makes it answer at once, as its own template does.
QWEN3 = _chatml("qwen3", (Special(token="<think>"), "\n\n", Special(token="</think>"), "\n\n"))


def pick(vocabulary: dict[str, int], chat_template: str) -> Template | None:
    """The template of the family whose role tokens the vocabulary has; None when it knows no role."""
    if {"<|im_start|>", "<|im_end|>"} <= vocabulary.keys():
        thinks = {"<think>", "</think>"} <= vocabulary.keys() and "enable_thinking" in chat_template
        return QWEN3 if thinks else CHATML
    return None
