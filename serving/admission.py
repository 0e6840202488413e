"""Admission: only what fits its deadline gets in, by the engine's measured rates; nothing waits to fail later.

The gateway is the engine's only client, so it knows what is accepted without asking: how many tokens wait to be read and
how many may still be written. The engine's health brings its rates, and whether requests join a batch that runs.
"""

import dataclasses
import time
from collections import deque
from itertools import accumulate

from legalqa.engine.interface import Health
from legalqa.params import ServeParams

SAFETY = 2.0  # a first token that comes in twice the expected time still comes in time
TRIAL_S = 5.0
REMEMBERED = 50  # answers whose lengths foretell those of others


class Ticket:
    """One admitted request. ``wrote`` as tokens come, ``ended`` with the last, ``close`` when it is over, in whatever way."""

    def __init__(self, admission: "Admission", prompt_tokens: int, new_tokens: int) -> None:
        self._admission = admission
        self.unread = prompt_tokens
        self.written = 0
        self.allowed = new_tokens
        self.size = prompt_tokens + new_tokens

    @property
    def unwritten(self) -> int:
        """Tokens that may still come."""
        return max(self.allowed - self.written, 0)

    def wrote(self, tokens: int) -> None:
        """So many more tokens have come; with the first of them the prompt has been read."""
        self.unread = 0
        self.written += tokens

    def ended(self, *, cut: bool) -> None:
        """The answer is whole, or ``cut`` at the length that was allowed."""
        self._admission.lengths.append((self.written, cut))

    def close(self) -> None:
        """Give the place back; once is enough, twice does no harm."""
        self._admission.tickets.pop(self, None)


class Admission:
    """The door before one engine."""

    def __init__(self, params: ServeParams) -> None:
        self._params = params
        self.tickets: dict[Ticket, None] = {}  # a set in order: the engine gives its places to who came first
        self.lengths: deque[tuple[int, bool]] = deque(maxlen=REMEMBERED)  # and whether it would have been longer
        self._last_admitted = time.monotonic()

    def admit(
        self, prompt_tokens: int, new_tokens: int, first_token_by: float, deadline: float, health: Health, max_batch: int
    ) -> Ticket | None:
        """A ticket for work that begins now, when it `fits`."""
        if not self.fits(prompt_tokens, new_tokens, first_token_by, deadline, health, max_batch):
            return None
        self._last_admitted = time.monotonic()
        return self.keep(prompt_tokens, new_tokens)

    def keep(self, prompt_tokens: int, new_tokens: int) -> Ticket:
        """A ticket that counts for others, without asking whether it fits."""
        ticket = Ticket(self, prompt_tokens, new_tokens)
        self.tickets[ticket] = None
        return ticket

    def fits(
        self, prompt_tokens: int, new_tokens: int, first_token_by: float, deadline: float, health: Health, max_batch: int
    ) -> bool:
        """Whether first token and last token are expected in time and the caps hold.

        Times are of ``time.monotonic()``. Before the first measurement only a free place in the batch counts. An engine that
        was given nothing for a while is tried again, however slow it was: it may have become faster.
        """
        size = prompt_tokens + new_tokens
        if len(self.tickets) >= self._params.max_requests or self.tokens + size > self._params.max_tokens:
            return False
        if not health.decode_tokens_per_s and len(self.tickets) >= max_batch:
            return False
        free_s = self._free_s(health, max_batch)
        estimate = self.load(health, max_batch).estimate(prompt_tokens, new_tokens, max_batch, free_s)
        now = time.monotonic()
        late = now + SAFETY * estimate.first_token_s > first_token_by or now + estimate.total_s > deadline
        return not late or not (self.tickets or now < self._last_admitted + TRIAL_S)

    @property
    def tokens(self) -> int:
        """Prompt and answer tokens of all that is admitted."""
        return sum(ticket.size for ticket in self.tickets)

    def load(self, health: Health, max_batch: int) -> Health:
        """The engine's health with this door's own, current count of the accepted work."""
        running = min(len(self.tickets), max_batch)
        return dataclasses.replace(
            health,
            running=running,
            waiting=len(self.tickets) - running,
            queued_prompt_tokens=sum(ticket.unread for ticket in self.tickets),
        )

    def _free_s(self, health: Health, max_batch: int) -> float:
        """Seconds until the next request may begin: until as many answers have ended as wait already, and one more.

        How long each of them still gets is foretold by the last answers that were longer than it is now. So a batch that began
        at once is known to end at once, and one of answers of all ages to lose one every few steps. Where nobody joins a batch,
        the running one has to end, and those that those who wait already will make.
        """
        tickets = list(self.tickets)
        if health.joins:
            if len(tickets) < max_batch:
                return 0.0
            running = tickets[:max_batch]
        else:
            running = [ticket for ticket in tickets if ticket.written] or tickets[:max_batch]
        rounds, before = divmod(len(tickets) - len(running), max_batch)
        if health.joins:
            ends = sorted(end for ticket in running for end in self._ends(ticket))
            ended = accumulate(chance for _, chance in ends)
            steps = next(at for (at, _), so_far in zip(ends, ended, strict=True) if so_far > before + 0.999)  # of fractions
        else:
            steps = max((ticket.unwritten for ticket in running), default=0)
        if rounds:
            steps += rounds * max(self._expected(ticket) for ticket in tickets if ticket not in running)
        return steps * health.step_s

    def _expected(self, ticket: Ticket) -> float:
        """How many more steps its answer is likely to take."""
        return sum(steps * chance for steps, chance in self._ends(ticket))

    def _ends(self, ticket: Ticket) -> list[tuple[float, float]]:
        """After how many more steps its answer may end, and the chance of each."""
        longer = [
            (ticket.allowed if cut else min(length, ticket.allowed)) - ticket.written
            for length, cut in self.lengths
            if length > ticket.written
        ]
        likely = longer or [ticket.unwritten]
        return [(max(steps, 0), 1 / len(likely)) for steps in likely]

    def retry_after_s(self, health: Health) -> float:
        """Seconds until about half of the accepted work is done: when asking again is worth it."""
        pending = sum(ticket.unwritten for ticket in self.tickets)
        return min(max(pending / 2 / health.decode_tokens_per_s if health.decode_tokens_per_s else 1.0, 1.0), 60.0)
