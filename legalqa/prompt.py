"""Conversation -> token ids: the only place where a prompt is rendered, for training, evaluation and service alike.

Template and tokenizer are saved beside the model they were used with, so that a bundle renders what it was trained on.
Only the `tokenizers` library is needed here: the service's gateway renders and counts without torch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from tokenizers import Tokenizer

from legalqa.files import write_json
from legalqa.problems import Problem, UserError
from legalqa.records import Message
from legalqa.templates import Parts, Special, Template, pick, plain

PROMPT_FILE = "prompt.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
MIN_QUESTION = 64  # so many tokens of the last question stay before the answer is cut

Cut = Literal["", "prompt", "answer"]


@dataclass(frozen=True)
class Rendered:
    """A training sample. ``loss_mask`` is 1 where the model learns; ``cut`` names what was shortened to fit."""

    ids: list[int]
    loss_mask: list[int]
    cut: Cut


class PromptSettings(BaseModel):
    """What prompt.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: Template
    system: str | None
    stop_ids: tuple[int, ...]
    pad_id: int
    context: int


class Prompt:
    """One template with its tokenizer.

    ``stop_ids`` end a generation, ``pad_id`` fills batches, ``context`` is the longest sequence (in tokens) that the base was
    made for, ``system`` stands before conversations that bring no system message of their own (None: nothing does).
    """

    def __init__(self, settings: PromptSettings, tokenizer_files: dict[str, bytes], tokenizer: Tokenizer) -> None:
        self.settings = settings
        self.template = settings.template
        self.name = settings.template.name
        self.system = settings.system
        self.stop_ids = frozenset(settings.stop_ids)
        self.pad_id = settings.pad_id
        self.context = settings.context
        self.tokenizer = tokenizer
        self._files = tokenizer_files
        self._special = {number for number, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        self._disarm()

    @classmethod
    def from_base(cls, folder: Path | str, system: str | None = None) -> "Prompt":
        """The template that fits a plain model folder, recognised by the role tokens of its vocabulary.

        Raises UserError when a file is missing or the vocabulary knows no role.
        """
        folder = Path(folder)
        files = _tokenizer_files(folder)
        config = _json(folder / "config.json")
        generation = _json(folder / "generation_config.json") if (folder / "generation_config.json").exists() else {}
        extras = json.loads(files.get("tokenizer_config.json", b"{}"))
        tokenizer = _tokenizer(files)
        vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        template = pick(vocabulary.keys(), json.dumps(extras.get("chat_template") or "")) or _plain(folder, tokenizer, extras)
        stops = {vocabulary[token] for token in (template.end, *template.stops) if token in vocabulary}
        stops.update(_ids(generation.get("eos_token_id")), _ids(config.get("eos_token_id")))
        pads = [*_ids(generation.get("pad_token_id")), *_ids(config.get("pad_token_id"))]
        pads += [vocabulary[token] for token in [_content(extras.get("pad_token"))] if token in vocabulary]
        settings = PromptSettings(
            template=template,
            system=system,
            stop_ids=tuple(sorted(stops)),
            pad_id=pads[0] if pads else min(stops),
            context=config.get("max_position_embeddings", 2048),
        )
        return cls(settings, files, tokenizer)

    @classmethod
    def load(cls, folder: Path | str) -> "Prompt":
        """Read what `save` wrote. Raises UserError when a file is missing or damaged."""
        path = Path(folder) / PROMPT_FILE
        try:
            settings = PromptSettings.model_validate(_json(path))
        except ValidationError as error:
            problems = [Problem(".".join(map(str, detail["loc"])), detail["msg"]) for detail in error.errors()]
            raise UserError(problems, f"{path} is damaged; run the stage that writes it again") from None
        files = _tokenizer_files(Path(folder))
        return cls(settings, files, _tokenizer(files))

    def save(self, folder: Path | str) -> None:
        """Write prompt.json and the tokenizer's files into an existing folder."""
        for name, content in self._files.items():
            (Path(folder) / name).write_bytes(content)
        write_json(Path(folder) / PROMPT_FILE, self.settings.model_dump(mode="json"))

    def training(self, messages: Sequence[Message], max_length: int | None = None) -> Rendered:
        """A sample that teaches the last message, the assistant's; all before it is prompt and carries no loss.

        The ids start with those of `completion`, and the mask is 0 exactly there. Over ``max_length`` tokens, first the
        prompt is shortened (see `completion`), down to `MIN_QUESTION` tokens of question, then the answer loses its end;
        such an answer gets no end token, since it does not end there.
        """
        prompt = self.completion(messages[:-1])
        answer = [*self._parts(self.template.answer, content=messages[-1].content), self._id(self.template.end)]
        cut: Cut = ""
        if max_length is not None and len(prompt) + len(answer) > max_length:
            room = max(max_length - len(answer), min(self._least(messages[:-1]), max_length - 1))
            if len(prompt) > room:
                prompt, cut = self.completion(messages[:-1], room), "prompt"
            if len(prompt) + len(answer) > max_length:
                answer, cut = answer[: max_length - len(prompt)], "answer"
        return Rendered(prompt + answer, [0] * len(prompt) + [1] * len(answer), cut)

    def completion(self, messages: Sequence[Message], max_length: int | None = None) -> list[int]:
        """The ids after which a model writes the next answer.

        Over ``max_length`` tokens, the oldest turns go first, whole; then the last question loses its beginning. The system
        message and the latest words stay. Raises UserError when not even these fit.
        """
        system, turns = self._split(messages)
        ids = self._render(system, turns)
        while max_length is not None and len(ids) > max_length:
            if len(turns) > 1:
                turns = turns[2:]
            else:
                turns = [turns[0].model_copy(update={"content": self._shortened(turns[0].content, len(ids) - max_length)})]
            ids = self._render(system, turns)
        return ids

    def encode(self, text: str) -> list[int]:
        """Ids of a text; the name of a special token in it is letters like any others."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of an answer's ids: special tokens skipped, and the line break with which some families begin."""
        text: str = self.tokenizer.decode([i for i in ids if i not in self._special], skip_special_tokens=False)
        return text if self.template.answer[0] == "{content}" else text.lstrip()

    def _disarm(self) -> None:
        """From now on the tokenizer finds no special token in a text, whether its makers flagged it as special or not."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        self.tokenizer.add_special_tokens([token for token in added if not token.special])
        self.tokenizer.encode_special_tokens = True

    def _split(self, messages: Sequence[Message]) -> tuple[str | None, list[Message]]:
        """The system message (the conversation's own, else the default) and the turns, the last of them a question."""
        own = [message.content for message in messages if message.role == "system"]
        turns = [message for message in messages if message.role != "system"]
        roles = [message.role for message in turns]
        if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
            raise UserError(Problem("messages", f"roles {', '.join(roles) or 'none'}", "user and assistant in turn, user last"))
        return "\n".join(own) if own else self.system, turns

    def _render(self, system: str | None, turns: Sequence[Message]) -> list[int]:
        template = self.template
        ids = self._parts(template.begin)
        if system and template.system:
            ids += self._parts(template.system, content=system)
        for number, turn in enumerate(turns):
            if turn.role == "assistant":
                ids += self._parts((*template.header, *template.answer, *template.after_answer), content=turn.content)
            elif number == 0 and system and template.user_with_system:
                ids += self._parts(template.user_with_system, content=turn.content, system=system)
            else:
                ids += self._parts(template.user, content=turn.content)
        return ids + self._parts((*template.header, *template.opening))

    def _parts(self, parts: Parts, content: str = "", system: str = "") -> list[int]:
        values = {"content": self._unmarked(content), "system": self._unmarked(system)}
        ids: list[int] = []
        for part in parts:
            if isinstance(part, Special):
                ids.append(self._id(part.token))
            else:
                ids += self.encode(part.format(**values))
        return ids

    def _unmarked(self, text: str) -> str:
        for mark in self.template.marks:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
        return text

    def _id(self, token: str) -> int:
        number: int | None = self.tokenizer.token_to_id(token)
        if number is None:
            raise UserError(Problem("tokenizer.json", "the special token is missing", f"{token}, for template {self.name}"))
        return number

    def _least(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt when `MIN_QUESTION` tokens of its question are left."""
        system, turns = self._split(messages)
        return len(self._render(system, turns[-1:])) - max(len(self.encode(turns[-1].content)) - MIN_QUESTION, 0)

    def _shortened(self, question: str, tokens: int) -> str:
        """The question without at least one character of its beginning, about ``tokens`` tokens of it."""
        starts = [start for start, _ in self.tokenizer.encode(question, add_special_tokens=False).offsets]
        if tokens >= len(starts):
            raise UserError(Problem("prompt", "its fixed part alone is longer than allowed", fix="allow more tokens"))
        return question[max(starts[tokens], 1) :]


def _plain(folder: Path, tokenizer: Tokenizer, extras: dict[str, Any]) -> Template:
    end, begin = _content(extras.get("eos_token")), _content(extras.get("bos_token"))
    if end is None or tokenizer.token_to_id(end) is None:
        fix = "name one of the vocabulary's tokens in tokenizer_config.json"
        raise UserError(Problem(str(folder), "a tokenizer without role tokens and without end of text", "eos_token", fix))
    puts_it_first = begin is not None and tokenizer.encode("x").tokens[:1] == [begin]
    return plain(end, begin if puts_it_first else None)


def _tokenizer(files: dict[str, bytes]) -> Tokenizer:
    tokenizer = Tokenizer.from_buffer(files[TOKENIZER_FILES[0]])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _tokenizer_files(folder: Path) -> dict[str, bytes]:
    if not (folder / TOKENIZER_FILES[0]).is_file():
        raise UserError(Problem(str(folder / TOKENIZER_FILES[0]), "missing", "the fast tokenizer of the model"))
    return {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(Problem(str(path), "missing")) from None
    except ValueError as error:
        raise UserError(Problem(str(path), f"not JSON: {error}")) from None


def _ids(value: int | list[int] | None) -> list[int]:
    """Token ids as configs write them: one, several or none."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _content(token: str | dict[str, Any] | None) -> str | None:
    """A token as tokenizer_config.json writes it: its text, or an object that holds it."""
    return token["content"] if isinstance(token, dict) else token
