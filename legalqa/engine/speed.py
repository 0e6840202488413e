"""How fast an engine reads and writes, and whether its steps take longer than usual, as moving averages over its steps."""

import time
from collections.abc import Callable
from dataclasses import dataclass

RATE_MEMORY = 0.9  # of the averages of speed
STEP_MEMORY = 0.5  # of those of the last steps: one that takes ten times as long has to show at once
USUAL_MEMORY = 0.98  # of the usual step: some seconds of work
MOST = 10.0  # times the usual that one step adds to the average: one pause of a minute is over with the next steps
LEARNT = 3.0  # a step that takes more times the usual is on its way to slow, and teaches nothing
SHORT_S = 0.02  # usual steps count as at least so long: what a busy machine adds to shorter ones is no slowness


@dataclass(frozen=True)
class Step:
    """One that runs: tokens of prompts that it reads, tokens in all, when it began, what it usually takes."""

    prompt_tokens: int
    computed: int
    began: float
    usual_s: float | None


class Speed:
    """Takes each step of an engine, on the engine's thread; may be read on others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.prefill_tokens_per_s = 0.0
        """0, like the next two, until there is something to tell it by."""
        self.decode_tokens_per_s = 0.0
        self.step_s = 0.0
        """A step that only writes, in the last few steps."""
        self._clock = clock
        self._step: Step | None = None
        self._slowdown = 0.0
        self._read_s = 0.0  # what a prompt token adds to a step
        # Tokens that go through the model together, and the seconds of such a step, by size, where size n stands for up to 2^n
        # tokens: a full batch's step, or one that reads a prompt, takes several times that of one answer.
        self._usual: dict[int, tuple[float, float]] = {}

    @property
    def slowdown(self) -> float:
        """How many times their usual seconds the last few steps took, or the present one does already; 0: none known yet."""
        step = self._step
        late = (self._clock() - step.began) / step.usual_s if step and step.usual_s else 0.0
        return max(self._slowdown, late)

    def begin(self, prompt_tokens: int, computed: int) -> None:
        """A step begins; ``computed`` tokens go through the model: of prompts, the last of each answer, guesses, padding."""
        self._step = Step(prompt_tokens, computed, self._clock(), self._usual_s(computed))

    def rest(self) -> None:
        """No step runs, also where one was begun and failed."""
        self._step = None

    def end(self, written: int) -> None:
        """The step has ended, and wrote so many tokens.

        Steps that read prompts tell the reading speed, the others the writing speed.
        """
        step = self._step
        assert step
        seconds = self._clock() - step.began
        self._compare(step, seconds)
        self._step = None  # only now: who asks in between would hear of neither
        if step.prompt_tokens:
            self.prefill_tokens_per_s = _moved(self.prefill_tokens_per_s, step.prompt_tokens / seconds, RATE_MEMORY)
            self._read(step.prompt_tokens, seconds)
        elif written:
            self.decode_tokens_per_s = _moved(self.decode_tokens_per_s, written / seconds, RATE_MEMORY)
            self.step_s = _moved(self.step_s, seconds, STEP_MEMORY)

    def _read(self, prompt_tokens: int, seconds: float) -> None:
        """Under load nearly every step reads something, so such a step moves ``step_s``, too: by its seconds against those that
        a writing step and its prompt tokens have taken of late.
        """
        if self.step_s and self._read_s:
            change = _moved(1.0, seconds / (self.step_s + prompt_tokens * self._read_s), STEP_MEMORY)
            self.step_s *= change  # both alike: a step that does two things can't tell which of them has become slower
            self._read_s *= change
        elif self.step_s:
            self._read_s = max(0.0, seconds - self.step_s) / prompt_tokens

    def _usual_s(self, computed: int) -> float | None:
        """Of a size not seen yet, another size tells: a part takes no longer than the whole, and twice as much no more than
        twice as long.
        """
        if known := self._usual.get(_size(computed)):
            return max(known[1], SHORT_S)
        told = [seconds * max(1.0, computed / tokens) for tokens, seconds in self._usual.values()]
        return max(min(told), SHORT_S) if told else None

    def _compare(self, step: Step, seconds: float) -> None:
        usual_s = step.usual_s or max(seconds, SHORT_S)
        self._slowdown = _moved(self._slowdown, min(seconds / usual_s, MOST), STEP_MEMORY)
        if seconds < LEARNT * usual_s:
            tokens, so_far_s = self._usual.get(_size(step.computed), (step.computed, min(seconds, usual_s)))
            self._usual[_size(step.computed)] = (
                _moved(tokens, step.computed, USUAL_MEMORY),
                _moved(so_far_s, seconds, USUAL_MEMORY if seconds > so_far_s / 2 else 0.0),  # the first ones may be cold
            )


def _size(tokens: int) -> int:
    return (tokens - 1).bit_length()


def _moved(average: float, value: float, memory: float) -> float:
    return memory * average + (1 - memory) * value if average else value
