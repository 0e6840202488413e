"""Other OpenAI-compatible servers that may answer when the served model can't: a cluster, each with its own door and breaker.

Off unless LEGALQA_ENDPOINTS names some: a question then leaves this machine.
"""

from collections.abc import AsyncGenerator, Callable, Sequence

from legalqa.engine.interface import Capabilities, Delta, GenerationRequest, Health
from legalqa.engine.openai_engine import OpenAIEngine
from legalqa.params import ServeParams
from legalqa.prompt import Prompt
from serving.admission import Admission
from serving.answers import Reason
from serving.breaker import Breaker
from serving.member import Member
from serving.settings import Endpoint
from serving.telemetry import Telemetry


class EndpointBackend:
    """One of them. Whether it can be asked, only its breaker knows."""

    def __init__(self, endpoint: Endpoint, prompt: Prompt | None) -> None:
        key = endpoint.api_key.get_secret_value()
        self._engine = OpenAIEngine(endpoint.url, endpoint.model, prompt, key, max_batch=endpoint.max_concurrent)
        self._engine.start()

    def unavailable(self) -> Reason:
        """Never known before it is asked."""
        return ""

    def health(self) -> Health:
        """Without rates: its door counts only what is outstanding."""
        return self._engine.health()

    def capabilities(self) -> Capabilities:
        """What is asked of it at once."""
        return self._engine.capabilities

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Its answer."""
        return self._engine.stream(request)


def members(
    endpoints: Sequence[Endpoint],
    prompt: Prompt | None,
    params: ServeParams,
    telemetry: Telemetry,
    noted: Callable[[str], Breaker],
) -> list[Member]:
    """The pool; it needs no bundle, since these servers render prompts by themselves. ``prompt`` counts tokens.

    Raises UserError when an address can't be one; ``noted`` makes a breaker that reports under a name.
    """
    pool = []
    for number, one in enumerate(endpoints, start=1):
        name = f"{number}: {one.model} at {one.host}"
        pool.append(Member(name, one.model, EndpointBackend(one, prompt), noted(name), Admission(params), telemetry))
    return pool
