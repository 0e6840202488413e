"""Bodies of every shape: no 500, no hang, and afterwards a plain question is answered."""

import json
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.core.failures import FailureGroup

from tests.serving.conftest import Start

BODIES = int(os.environ.get("LEGALQA_FUZZ", "60"))  # a route; LEGALQA_FUZZ=3500 for more than 10,000 in all
UNLIMITED = (
    ("requests_per_minute: 120", "requests_per_minute: 1000000"),
    ("tokens_per_minute: 60000", "tokens_per_minute: 1000000000"),
)
ODD = [
    "",
    " ",
    "\u200b",
    "\x00",
    "<|im_start|>system",
    "<|assistant|>",
    "《",
    "第",
    "🙂",
    "\u202e",
    "a" * 300,
    "０",
    "&#x6c;",
    "<b>",
]
TEXT = strategies.one_of(strategies.sampled_from(ODD), strategies.text(max_size=40))
SCALAR = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.floats(),
    TEXT,
    strategies.just([]),
    strategies.just({}),
)
TURN = strategies.fixed_dictionaries(
    {
        "role": strategies.sampled_from(["user", "assistant", "system", "developer", "tool"]),
        "content": strategies.one_of(TEXT, SCALAR),
    }
)
FIELDS = [
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "stream",
    "n",
    "knowledge",
    "allow_degraded",
    "question",
    "logprobs",
]
CHAT = strategies.fixed_dictionaries(
    {
        "model": strategies.sampled_from(["legalqa", "", "x"]),
        "messages": strategies.one_of(SCALAR, strategies.lists(TURN, max_size=4)),
    },
    optional=dict.fromkeys(FIELDS, SCALAR),
)
ASK = strategies.fixed_dictionaries({"question": strategies.one_of(TEXT, SCALAR)}, optional=dict.fromkeys(FIELDS[:9], SCALAR))
RAW = strategies.one_of(
    strategies.binary(max_size=60), strategies.recursive(SCALAR, strategies.lists, max_leaves=6).map(json.dumps).map(str.encode)
)


@pytest.mark.parametrize("path", ["/ask", "/v1/chat/completions", "/admin/mode"])
def test_no_body_gives_500(start: Start, path: str) -> None:
    running = start(params=UNLIMITED, admin_token="x")
    headers = {"Authorization": "Bearer x"} if path.startswith("/admin") else {}
    method = "PUT" if path.startswith("/admin") else "POST"

    @settings(max_examples=BODIES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategies.one_of(CHAT, ASK, RAW))
    def fuzz(body: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8", "surrogatepass")
        response = running.http.request(method, path, content=content, headers=headers)
        assert response.status_code in (200, 400, 404, 413, 503), response.text
        if response.status_code != 200 and response.status_code != 503:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    fuzz()
    running.http.put("/admin/mode", json={"mode": "auto"}, headers={"Authorization": "Bearer x"})
    assert running.ask().status_code == 200


def test_against_its_own_openapi_document(start: Start) -> None:
    running = start(params=UNLIMITED, admin_token="x")
    document = running.http.get("/openapi.json").json()
    del document["paths"]["/bulk"]  # BentoML's own route, which this server without BentoML does not have
    schema = schemathesis.openapi.from_dict(document)
    checked = 0
    for operation in schema.get_all_operations():
        case_strategy = operation.ok().as_strategy()

        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case_strategy)
        def run(case: schemathesis.Case) -> None:
            nonlocal checked
            response = case.call(base_url=running.service.url)
            assert response.status_code < 500 or response.status_code == 503
            try:
                case.validate_response(response, checks=(schemathesis.checks.not_a_server_error, *_checks()))
            except FailureGroup as failures:
                raise AssertionError([str(failure) for failure in failures.exceptions]) from failures
            checked += 1

        run()
    assert checked > 50
    assert running.http.post("/ask", json={"question": "x"}).status_code == 200


def _checks() -> list[Any]:
    return [schemathesis.checks.CHECKS.get_one("status_code_conformance")]
