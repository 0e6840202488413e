"""How fast an engine reads and writes, as moving averages over its steps."""

from dataclasses import dataclass

RATE_MEMORY = 0.9  # of the averages of speed
STEP_MEMORY = 0.5  # of that of a step's seconds: one that takes ten times as long has to show at once


@dataclass
class Speed:
    """Rates in tokens a second, ``step_s`` in seconds; 0 until there is something to tell them by."""

    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    step_s: float = 0.0
    """A step that only writes, in the last few steps."""
    _read_s: float = 0.0
    """What a prompt token adds to a step."""

    def measure(self, prompt_tokens: int, written: int, seconds: float) -> None:
        """Take one step: steps that read prompts tell the reading speed, the others the writing speed.

        Under load nearly every step reads something. So such a step, too, tells whether steps have become slow: by its seconds
        against those that a writing step and its prompt tokens have taken of late.
        """
        if prompt_tokens:
            self.prefill_tokens_per_s = _moved(self.prefill_tokens_per_s, prompt_tokens / seconds, RATE_MEMORY)
            if self.step_s and self._read_s:
                usual = self.step_s + prompt_tokens * self._read_s
                change = _moved(1.0, seconds / usual, STEP_MEMORY)
                self.step_s *= change  # both alike: a step that does two things can't tell which of them has become slower
                self._read_s *= change
            elif self.step_s:
                self._read_s = max(0.0, seconds - self.step_s) / prompt_tokens
        elif written:
            self.decode_tokens_per_s = _moved(self.decode_tokens_per_s, written / seconds, RATE_MEMORY)
            self.step_s = _moved(self.step_s, seconds, STEP_MEMORY)


def _moved(average: float, value: float, memory: float) -> float:
    return memory * average + (1 - memory) * value if average else value
