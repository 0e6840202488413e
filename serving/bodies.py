"""What clients may send, checked field by field, and how it becomes a question: cleaned, counted, with a deadline."""

import re
import time
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.responses import JSONResponse

from legalqa.data.cleaning import clean
from legalqa.params import ServeParams
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.records import Message
from serving.answers import RESERVE_S, Ask, Use
from serving.errors import error_response
from serving.library import LABEL_AT_END

CLEANING = ("html", "control", "full_width", "repeats", "whitespace")  # the rules of the training data that suit a question
MAX_MESSAGES = 64
MAX_CHARACTERS = 32_768
_LABELS = re.compile(rf"(?:\s*{re.escape(LABEL_AT_END.strip())})+\s*\Z")
B = TypeVar("B", bound=BaseModel)
Text = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS)]


class BadRequestError(Exception):
    """A request that can't be answered: status, code, message and the parameter at fault."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def response(self) -> JSONResponse:
        """What the client gets."""
        return error_response(self.status, self.code, str(self), self.param)


class Body(BaseModel):
    """No unknown fields: a wish that would be ignored is refused instead."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Part(Body):
    """Text inside a message that comes in parts."""

    type: Literal["text"]
    text: Text


class Turn(Body):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part]
    name: str | None = None

    @property
    def text(self) -> str:
        """The content in one piece."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Body):
    """include_usage: one more chunk with the token counts."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Wishes(Body):
    """What both /v1/chat/completions and /ask take. ``allow_degraded`` false: the model's answer or none."""

    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**63)
    allow_degraded: bool = True
    knowledge: Use | None = None


class ChatBody(Wishes):
    """The OpenAI form. Fields that would change nothing are taken at their neutral value only."""

    model: str
    messages: list[Turn] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: (
        Annotated[str, StringConstraints(min_length=1, max_length=64)]
        | list[Annotated[str, StringConstraints(min_length=1, max_length=64)]]
        | None
    ) = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    frequency_penalty: Literal[0] | None = 0
    presence_penalty: Literal[0] | None = 0
    logprobs: Literal[False] | None = False
    user: str | None = None
    store: Literal[False] | None = False
    metadata: dict[str, str] | None = None


class AskBody(Wishes):
    """One question."""

    question: Text
    stream: bool = False


def parsed(body: bytes, form: type[B]) -> B:
    """The body in its form. Raises BadRequestError for what is wrong first: of several forms, in the one that came nearest."""
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        first = max(
            error.errors(include_url=False, include_context=False, include_input=False), key=lambda one: len(one["loc"])
        )
        # Names of types, which stand for the branch of a union, tell a client nothing.
        where = ".".join(str(part) for part in first["loc"] if not re.search(r"[\[-]", str(part)))
        message = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise BadRequestError(400, "invalid_body", message, where or None) from None


def chat_ask(
    body: ChatBody, params: ServeParams, prompt: Prompt | None, defaults: dict[str, Any], timeout_s: float, id_: str
) -> Ask:
    """The question of a chat body. Raises BadRequestError."""
    messages: list[Message] = []
    for number, turn in enumerate(body.messages):
        content = clean(turn.text, CLEANING)
        if turn.role == "assistant":
            content = _LABELS.sub("", content) or content  # else the model would imitate it
        if not content:
            raise BadRequestError(400, "empty_content", "content holds nothing that can be read", f"messages[{number}].content")
        role = "system" if turn.role == "developer" else turn.role
        messages.append(Message(role=role, content=content))
    if messages[-1].role != "user":
        raise BadRequestError(400, "invalid_roles", "the last message must be the user's", "messages")
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if len(stop) > 4:
        raise BadRequestError(400, "too_many_stops", f"{len(stop)} stop texts, 4 are allowed", "stop")
    return _ask(
        tuple(messages), body, body.max_completion_tokens or body.max_tokens, stop, params, prompt, defaults, timeout_s, id_
    )


def question_ask(
    body: AskBody, params: ServeParams, prompt: Prompt | None, defaults: dict[str, Any], timeout_s: float, id_: str
) -> Ask:
    """The question of an /ask body. Raises BadRequestError."""
    question = clean(body.question, CLEANING)
    if not question:
        raise BadRequestError(400, "empty_content", "question holds nothing that can be read", "question")
    return _ask((Message(role="user", content=question),), body, body.max_tokens, (), params, prompt, defaults, timeout_s, id_)


def _ask(
    messages: tuple[Message, ...],
    wishes: Wishes,
    max_tokens: int | None,
    stop: tuple[str, ...],
    params: ServeParams,
    prompt: Prompt | None,
    defaults: dict[str, Any],
    timeout_s: float,
    id_: str,
) -> Ask:
    tokens = 0
    if prompt:
        try:
            tokens = len(prompt.completion(messages))
        except UserError as error:
            raise BadRequestError(400, "invalid_roles", str(error), "messages") from None
        limit = min(params.max_prompt_tokens, prompt.context - 1)
        if tokens > limit:
            message = f"the conversation is {tokens} tokens long, at most {limit} are answered"
            raise BadRequestError(400, "context_length_exceeded", message, "messages")
    now = time.monotonic()
    seconds = min(timeout_s, params.deadline_s)
    return Ask(
        messages=messages,
        max_new_tokens=min(max_tokens or int(defaults.get("max_new_tokens", params.default_new_tokens)), params.max_new_tokens),
        deadline=now + seconds,
        first_token_by=now + max(min(params.first_token_s, seconds - RESERVE_S), 0.0),
        patient_deadline=now + params.deadline_s,
        patient_first_token_by=now + min(params.first_token_s, params.deadline_s - RESERVE_S),
        temperature=wishes.temperature if wishes.temperature is not None else float(defaults.get("temperature", 0.0)),
        top_p=wishes.top_p if wishes.top_p is not None else float(defaults.get("top_p", 1.0)),
        seed=wishes.seed,
        stop=stop,
        allow_degraded=wishes.allow_degraded,
        knowledge=wishes.knowledge or params.knowledge,
        prompt_tokens=tokens,
        id=id_,
    )
