"""How fast an engine reads and writes, and whether its steps take longer than usual, as moving averages over its steps."""

from dataclasses import dataclass, field

RATE_MEMORY = 0.9  # of the averages of speed
STEP_MEMORY = 0.5  # of those of the last steps: one that takes ten times as long has to show at once
USUAL_MEMORY = 0.98  # of the usual step: some seconds of work
LEARNT = 3.0  # a step that takes more times the usual is on its way to slow, and teaches nothing
SHORT_S = 0.02  # usual steps count as at least so long: what a busy machine adds to shorter ones is no slowness


@dataclass
class Speed:
    """Rates in tokens a second, ``step_s`` in seconds; 0 until there is something to tell them by."""

    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    step_s: float = 0.0
    """A step that only writes, in the last few steps."""
    slowdown: float = 0.0
    """How many times its usual seconds a step took, in the last few steps."""
    _usual: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Tokens that go through the model together, and the seconds of such a step, by size, where size n stands for up to 2^n
    tokens: a full batch's step, or one that reads a prompt, takes several times that of one answer."""

    def measure(self, prompt_tokens: int, written: int, computed: int, seconds: float) -> None:
        """Take one step, with the tokens that it read, wrote, and computed in all (padding and wrong guesses, too).

        Steps that read prompts tell the reading speed, the others the writing speed. Under load nearly every step reads
        something, so such a step moves ``step_s``, too, by as much as the slowdown has changed.
        """
        before = self.slowdown
        self._compare(computed, seconds)
        if prompt_tokens:
            self.prefill_tokens_per_s = _moved(self.prefill_tokens_per_s, prompt_tokens / seconds, RATE_MEMORY)
            self.step_s *= self.slowdown / before if before else 1.0
        elif written:
            self.decode_tokens_per_s = _moved(self.decode_tokens_per_s, written / seconds, RATE_MEMORY)
            self.step_s = _moved(self.step_s, seconds, STEP_MEMORY)

    def _compare(self, computed: int, seconds: float) -> None:
        size = (computed - 1).bit_length()
        if size in self._usual:
            tokens, usual_s = self._usual[size]
        else:  # its first step is the usual one, unless another size tells better: a part takes no longer than the whole,
            # and twice as much no more than twice as long
            proportions = (known_s * max(1.0, computed / known) for known, known_s in self._usual.values())
            tokens, usual_s = computed, min([seconds, *proportions])
        least_s = max(usual_s, SHORT_S)
        self.slowdown = _moved(self.slowdown, seconds / least_s, STEP_MEMORY)
        if seconds < LEARNT * least_s:
            self._usual[size] = _moved(tokens, computed, USUAL_MEMORY), _moved(usual_s, seconds, USUAL_MEMORY)


def _moved(average: float, value: float, memory: float) -> float:
    return memory * average + (1 - memory) * value if average else value
