"""How gateway and engine process talk: JSON over the private socket that BentoML gives the engine, one delta a line.

No pickle, so neither side can be made to run code by the other. A deadline travels as seconds that are left.
"""

import time
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from legalqa.engine.interface import Capabilities, Delta, GenerationRequest, Health

State = Literal["loading", "ready", "failed"]

_REQUEST: TypeAdapter[GenerationRequest] = TypeAdapter(GenerationRequest)
_DELTA: TypeAdapter[Delta] = TypeAdapter(Delta)


@dataclass(frozen=True)
class Status:
    """What the engine process says about itself. ``problem`` is why loading failed, or takes so long; ``pid`` is whom to end
    when it hangs.
    """

    state: State
    health: Health
    capabilities: Capabilities | None = None
    problem: str = ""
    pid: int = 0


_STATUS: TypeAdapter[Status] = TypeAdapter(Status)


def pack_request(request: GenerationRequest) -> bytes:
    """A request as JSON, its deadline as seconds left."""
    value: dict[str, Any] = _REQUEST.dump_python(request, mode="json")
    if request.deadline is not None:
        value["deadline"] = max(request.deadline - time.monotonic(), 0.0)
    return TypeAdapter(dict[str, Any]).dump_json(value)


def unpack_request(body: bytes) -> GenerationRequest:
    """What ``pack_request`` packed, the deadline by this process's clock. Raises pydantic's ValidationError."""
    request = _REQUEST.validate_json(body)
    if request.deadline is None:
        return request
    values = {name: getattr(request, name) for name in request.__dataclass_fields__}
    return GenerationRequest(**values | {"deadline": time.monotonic() + request.deadline})


def pack_delta(delta: Delta) -> bytes:
    """A delta as one line of JSON."""
    return _DELTA.dump_json(delta) + b"\n"


def unpack_delta(text: str) -> Delta:
    """What ``pack_delta`` packed."""
    return _DELTA.validate_json(text)


def pack_status(status: Status) -> bytes:
    """A status as JSON."""
    return _STATUS.dump_json(status)


def unpack_status(body: bytes) -> Status:
    """What ``pack_status`` packed."""
    return _STATUS.validate_json(body)
