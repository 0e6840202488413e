"""What Prometheus sees: vLLM's usual names behind `legalqa_`, and who answered, why, and what was turned away.

Every label takes its values from a fixed set; nothing that a client sends becomes one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)
GAPS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
SIZES = (1, 2, 4, 8, 16, 32, 64, 100)

States = Mapping[tuple[str, ...], str]
"""The state of each thing, by the values of its labels but the state's."""


class Telemetry:
    """All metrics of the gateway, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._first = Histogram(
            "legalqa_time_to_first_token_seconds", "until the first token", buckets=SECONDS, registry=registry
        )
        self._gap = Histogram("legalqa_inter_token_latency_seconds", "between two tokens", buckets=GAPS, registry=registry)
        self._whole = Histogram(
            "legalqa_e2e_request_latency_seconds", "whole answers", ["source"], buckets=SECONDS, registry=registry
        )
        self._prompt_tokens = Counter("legalqa_prompt_tokens", "tokens read", registry=registry)
        self._new_tokens = Counter("legalqa_generation_tokens", "tokens written", registry=registry)
        self._finished = Counter("legalqa_request_success", "answers by how they ended", ["finished_reason"], registry=registry)
        self._answers = Counter("legalqa_answers", "answers by who gave them and why", ["source", "reason"], registry=registry)
        self._refused = Counter("legalqa_refused", "requests without an answer", ["code"], registry=registry)
        self._admission = Counter("legalqa_admission", "decisions at the model's door", ["decision"], registry=registry)
        self._limited = Counter("legalqa_ratelimited", "requests over a limit", ["limit"], registry=registry)
        self._missed = Counter("legalqa_deadline_exceeded", "deadlines missed", ["stage"], registry=registry)
        self._opened = Counter("legalqa_breaker_transitions", "breaker changes", ["state"], registry=registry)
        self._cancelled = Counter("legalqa_cancelled", "answers whose client went away", registry=registry)
        self._batch = Histogram(
            "legalqa_bulk_batch_size", "items that adaptive batching put together", buckets=SIZES, registry=registry
        )

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when Prometheus asks."""
        self._registry.register(_Reading(name, help_text, value))

    def states(
        self, name: str, help_text: str, labels: Sequence[str], states: Sequence[str], now: Callable[[], States]
    ) -> None:
        """One gauge a state: 1 for the state now, 0 for the others. The last of the ``labels`` is the state's."""
        self._registry.register(_State(name, help_text, labels, states, now))

    def first_token(self, seconds: float, number: int) -> None:
        """The first ``number`` tokens of an answer came."""
        self._first.observe(seconds)
        self._new_tokens.inc(number)

    def next_tokens(self, seconds: float, number: int) -> None:
        """``number`` more tokens came after ``seconds``."""
        self._new_tokens.inc(number)
        for _ in range(number):
            self._gap.observe(seconds / number)

    def answered(self, source: str, reason: str, finished: str, prompt_tokens: int, seconds: float) -> None:
        """An answer ended."""
        self._answers.labels(source, reason or "none").inc()
        self._finished.labels(finished).inc()
        self._prompt_tokens.inc(prompt_tokens)
        self._whole.labels(source).observe(seconds)

    def refused(self, code: str) -> None:
        """A request ended without an answer."""
        self._refused.labels(code).inc()

    def admission(self, decision: str) -> None:
        """admitted or refused."""
        self._admission.labels(decision).inc()

    def limited(self, limit: str) -> None:
        """requests, tokens or concurrent."""
        self._limited.labels(limit).inc()

    def deadline_missed(self, stage: str) -> None:
        """first_token or answer."""
        self._missed.labels(stage).inc()

    def breaker(self, state: str) -> None:
        """A breaker changed to ``state``."""
        self._opened.labels(state).inc()

    def cancelled(self) -> None:
        """A client went away."""
        self._cancelled.inc()

    def batch(self, items: int) -> None:
        """Adaptive batching handed over so many items."""
        self._batch.observe(items)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)


class _Reading(Collector):
    def __init__(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        self._name, self._help, self._value = name, help_text, value

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._help, value=self._value())


class _State(Collector):
    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], states: Sequence[str], now: Callable[[], States]
    ) -> None:
        self._name, self._help, self._labels, self._states, self._now = name, help_text, labels, states, now

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._help, labels=self._labels)
        for thing, current in self._now().items():
            for state in self._states:
                family.add_metric([*thing, state], float(state == current))
        yield family
