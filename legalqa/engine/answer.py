"""One request on its way through the engine: what the model still has to read, and what it has written."""

from collections.abc import Callable, Set

from torch import Tensor

from legalqa.engine.attention import Rows
from legalqa.engine.drafts import Drafts, Phrases
from legalqa.engine.interface import Delta, FinishReason, GenerationRequest
from legalqa.engine.sampling import Sampler
from legalqa.engine.text import TextStream
from legalqa.prompt import Prompt

FEW_GUESSES, MOST_GUESSES = 3, 6  # at first and after a wrong one; as long as they are right


class Answer:
    """``slot`` is -1 without one; ``cancelled`` may be set from any thread; the rest belongs to the engine's thread."""

    def __init__(
        self, request: GenerationRequest, prompt: Prompt, emit: Callable[[Delta], None], phrases: Phrases | None = None
    ) -> None:
        self.request = request
        self.slot = -1
        self.cancelled = False
        self.written = 0
        self._emit = emit
        self._stop_ids: Set[int] = prompt.stop_ids
        self._sampler = Sampler(request.temperature, request.top_p, request.seed)
        self._text = TextStream(prompt.decode, request.stop)
        self._drafts = Drafts(request.prompt_ids, phrases)
        self._fresh = list(request.prompt_ids)  # not read yet; the last `_guessed` of them are guesses
        self._guessed = 0
        self._reach = FEW_GUESSES
        self._read = 0

    @property
    def left(self) -> int:
        """Tokens that may still be written."""
        return self.request.max_new_tokens - self.written

    @property
    def unread_prompt(self) -> int:
        """Tokens of a prompt that has not been read, 0 afterwards."""
        return 0 if self._read else len(self._fresh)

    @property
    def rows(self) -> Rows:
        """What the model reads next."""
        return Rows(self.slot, self._read, self._fresh)

    @property
    def last_token(self) -> int:
        """The last token of the answer, or of the prompt before there is one."""
        return self._fresh[-1]

    def guess(self, most: int) -> None:
        """Let the next step read up to ``most`` guessed tokens as well, where the answer is greedy."""
        if self.written and self.request.temperature <= 0 and most > 0:
            guesses = self._drafts.guess(min(most, self._reach, self.left - 1))
            self._fresh, self._guessed = self._fresh + guesses, len(guesses)

    def take(self, logits: Tensor) -> FinishReason | None:
        """Write the token after the last certain one, and go on as long as the guesses agree with what the model says.

        ``logits`` (tokens, vocabulary): what follows each token of `rows`. Sends what was written as one delta. Returns why
        the answer ended, None if it goes on.
        """
        text, tokens, reason = self._accept(logits)
        if tokens:
            self._emit(Delta(text, tuple(tokens)))
        return reason

    def finish(self, reason: FinishReason, error: str = "") -> None:
        """Send the last delta."""
        self._emit(Delta(self._text.finish(), (), reason, error))

    def _accept(self, logits: Tensor) -> tuple[str, list[int], FinishReason | None]:
        """The text and the tokens that one step has written, and why the answer ended."""
        certain = len(self._fresh) - self._guessed
        guesses = self._fresh[certain:]
        self._read += certain
        self._guessed = 0
        text = ""
        tokens: list[int] = []
        for number, row in enumerate(logits):
            token = self._sampler.choose(row)
            if token in self._stop_ids:
                return text, tokens, "stop"
            text += self._text.push(token)
            tokens.append(token)
            self.written += 1
            self._fresh = [token]
            self._drafts.append(token)
            if self._text.stopped:
                return text, tokens, "stop"
            if not self.left:
                return text, tokens, "length"
            if number == len(guesses):
                self._reach = min(2 * self._reach, MOST_GUESSES) if guesses else FEW_GUESSES
            elif token == guesses[number]:
                self._read += 1
            else:
                self._reach = FEW_GUESSES
                break
        return text, tokens, None
