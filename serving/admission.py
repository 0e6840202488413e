"""Admission: only what fits its deadline gets in, by the engine's measured rates; nothing waits to fail later.

The gateway is the engine's only client, so it knows what is accepted without asking: how many tokens wait to be read and
how many may still be written. The engine's health brings the two rates.
"""

import dataclasses
import time

from legalqa.engine.interface import Health
from legalqa.params import ServeParams

SAFETY = 2.0  # a first token that comes in twice the expected time still comes in time
TRIAL_S = 5.0


class Ticket:
    """One admitted request. ``wrote`` as tokens come, ``close`` when it ends, however it ends."""

    def __init__(self, admission: "Admission", prompt_tokens: int, new_tokens: int) -> None:
        self._admission = admission
        self.unread = prompt_tokens
        self.unwritten = new_tokens
        self.size = prompt_tokens + new_tokens

    def wrote(self, tokens: int) -> None:
        """So many more tokens have come; with the first of them the prompt has been read."""
        self.unread = 0
        self.unwritten = max(self.unwritten - tokens, 0)

    def close(self) -> None:
        """Give the place back; once is enough, twice does no harm."""
        self._admission.tickets.discard(self)


class Admission:
    """The door before one engine."""

    def __init__(self, params: ServeParams) -> None:
        self._params = params
        self.tickets: set[Ticket] = set()
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
        self.tickets.add(ticket)
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
        estimate = self.load(health, max_batch).estimate(prompt_tokens, new_tokens, max_batch)
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
        longest = max((ticket.unwritten for ticket in self.tickets), default=0)
        return dataclasses.replace(
            health,
            next_batch_s=0.0 if health.joins else longest * health.step_s,
            running=running,
            waiting=len(self.tickets) - running,
            queued_prompt_tokens=sum(ticket.unread for ticket in self.tickets),
            pending_new_tokens=sum(ticket.unwritten for ticket in self.tickets),
        )

    def retry_after_s(self, health: Health) -> float:
        """Seconds until about half of the accepted work is done: when asking again is worth it."""
        pending = sum(ticket.unwritten for ticket in self.tickets)
        return min(max(pending / 2 / health.decode_tokens_per_s if health.decode_tokens_per_s else 1.0, 1.0), 60.0)
