"""Limits in memory and in a real Redis; keys, scopes and addresses over HTTP."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from legalqa.params import LimitParams
from legalqa.problems import UserError
from serving import keys
from serving.limits import Limits
from tests import needs
from tests.serving.conftest import Running, Start

PARAMS = LimitParams(requests_per_minute=3, tokens_per_minute=100, concurrent=2)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = needs.program("redis-server", package="redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    process = subprocess.Popen([server, "--port", str(port), "--dir", folder, "--save", ""], stdout=subprocess.PIPE)
    assert process.stdout
    for line in process.stdout:
        if b"Ready to accept connections" in line:
            break
    assert process.poll() is None
    yield f"redis://127.0.0.1:{port}"
    process.terminate()
    process.communicate()


@pytest.mark.anyio
async def test_requests_a_minute() -> None:
    limits = Limits(PARAMS)
    verdicts = [await limits.request("a") for _ in range(4)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
    assert int(verdicts[-1].headers()["Retry-After"]) >= 1
    assert verdicts[0].headers()["X-RateLimit-Remaining"] == "2"
    assert (await limits.request("b")).allowed
    assert (await limits.request("c", per_minute=1)).allowed and not (await limits.request("c", per_minute=1)).allowed


@pytest.mark.anyio
async def test_tokens_are_reserved_at_their_most_and_counted_as_used() -> None:
    limits = Limits(PARAMS)
    assert (await limits.reserve("a", 60)).allowed
    assert not (await limits.reserve("a", 60)).allowed  # both could be used up
    await limits.settle("a", 60, used=10)
    assert (await limits.reserve("a", 60)).allowed
    await limits.settle("a", 60, used=60)
    assert not (await limits.reserve("a", 60)).allowed


@pytest.mark.anyio
async def test_more_than_is_left_takes_all_that_is_left() -> None:
    limits = Limits(PARAMS)
    assert (await limits.reserve("a", 60)).allowed
    await limits.settle("a", 60, used=90)
    assert (await limits.reserve("a", 10)).allowed
    await limits.settle("a", 10, used=50)  # passages were read, too
    assert not (await limits.reserve("a", 1)).allowed


@pytest.mark.anyio
async def test_who_asks_at_the_same_moment_is_counted(redis_url: str) -> None:
    limits = Limits(PARAMS, redis_url)
    verdicts = await asyncio.gather(*(limits.reserve("at once", 60) for _ in range(4)))
    assert sum(verdict.allowed for verdict in verdicts) <= 1
    assert limits._reserved["at once"] == 60 * sum(verdict.allowed for verdict in verdicts)
    await limits.close()


@pytest.mark.anyio
async def test_who_leaves_while_it_is_counted_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(PARAMS)

    async def hanging(*_unused: object, **_more: object) -> None:
        await asyncio.sleep(3600)

    with monkeypatch.context() as patch:
        patch.setattr(limits, "_count", hanging)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(limits.reserve("a", 60), 0.05)
    assert not limits._reserved and (await limits.reserve("a", 100)).allowed


@pytest.mark.anyio
async def test_at_once() -> None:
    limits = Limits(PARAMS)
    assert [limits.enter("a").allowed for _ in range(3)] == [True, True, False]
    limits.leave("a")
    assert limits.enter("a").allowed and limits.enter("b").allowed


@pytest.mark.anyio
async def test_replicas_share_what_redis_counts(redis_url: str) -> None:
    one, other = Limits(PARAMS, redis_url), Limits(PARAMS, redis_url)
    allowed = [(await replica.request("shared")).allowed for replica in (one, other, one, other)]
    assert allowed == [True, True, True, False]
    assert (await one.reserve("shared", 70)).allowed
    await one.settle("shared", 70, used=60)
    assert not (await other.reserve("shared", 70)).allowed and (await other.reserve("shared", 30)).allowed
    await one.close()
    await other.close()


@pytest.mark.anyio
async def test_without_redis_each_replica_limits_for_itself() -> None:
    limits = Limits(PARAMS, "redis://127.0.0.1:9")
    assert [(await limits.request("a")).allowed for _ in range(4)] == [True, True, True, False]
    await limits.close()


def test_over_http(start: Start) -> None:
    running = start(params=(("requests_per_minute: 120", "requests_per_minute: 3"),))
    responses = [running.ask() for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert int(responses[-1].headers["retry-after"]) >= 1
    assert responses[-1].json()["error"]["code"] == "rate_limit_exceeded"
    assert responses[0].headers["x-ratelimit-remaining"] == "2"
    assert running.http.get("/healthz/engine").status_code == 200
    assert 'legalqa_ratelimited_total{limit="requests"} 1.0' in running.http.get("/metrics").text


def test_tokens_over_http(start: Start) -> None:
    running = start(params=(("tokens_per_minute: 60000", "tokens_per_minute: 300"),))
    assert running.ask(max_tokens=100).status_code == 200
    response = running.ask(max_tokens=250)
    assert response.status_code == 429
    assert "X-RateLimit-Limit-Tokens" in response.headers
    for stream in (False, True):
        never = running.ask(max_tokens=1000, stream=stream)
        assert (never.status_code, never.json()["error"]["code"]) == (400, "too_many_tokens")
        assert "300 a minute" in never.json()["error"]["message"]
    escaped = b'{"items": [' + b",".join([b'{"\\u0071uestion": "x", "max_tokens": 20}'] * 14) + b"]}"
    assert running.http.post("/bulk", content=escaped).status_code == 429  # 280 of 300 in a minute, some of which are spent
    never = running.http.post("/bulk", json={"items": [{"question": "x", "max_tokens": 20}] * 16})
    assert (never.status_code, never.json()["error"]["code"]) == (400, "too_many_tokens")
    assert "320 tokens, 300 a minute" in never.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"items": [{"text": "SECRET"}]}', "items.0.question"),
        (b'{"items": [{"question": "x", "other": "SECRET"}]}', "items.0.other"),
        (b'{"items": "SECRET"}', "items"),
        (b'{"items": [{"question": "SECRET', None),
    ],
)
def test_a_bulk_body_that_is_wrong_is_refused_in_our_form_and_not_logged(
    running: Running, caplog: pytest.LogCaptureFixture, body: bytes, param: str | None
) -> None:
    response = running.http.post("/bulk", content=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert "SECRET" not in response.text + caplog.text


def test_keys(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    asking = keys.new(file, "asker", frozenset({"ask"}))
    operating = keys.new(file, "operator", frozenset({"ask", "admin"}))
    assert asking not in file.read_text(encoding="utf-8")
    running = start(keys=file)

    def status(token: str, path: str = "/ask") -> int:
        response = running.http.post(path, json={"question": "押金？"}, headers={"Authorization": f"Bearer {token}"})
        return response.status_code

    assert running.ask().status_code == 401
    assert [status(token) for token in ("x", "lq", asking + "x", "lq_00000000_x", "__")] == [401] * 5
    assert status(asking) == 200
    assert status(asking, "/bulk") == 403
    assert running.http.post("/ask", json={"question": "押金？"}, headers={"X-API-Key": asking}).status_code == 200
    mode = {"mode": "canned_only", "ttl_s": 5}
    assert running.http.put("/admin/mode", json=mode, headers={"Authorization": f"Bearer {asking}"}).status_code == 403
    assert running.http.put("/admin/mode", json=mode, headers={"Authorization": f"Bearer {operating}"}).status_code == 200
    late = keys.new(file, "late", frozenset({"ask"}))
    assert status(late) == 200
    file.write_text("{", encoding="utf-8")
    assert status(asking) == 200  # a damaged file changes nothing
    (problem,) = running.http.get("/readyz").json()["problems"]
    assert str(file) in problem and "keys stay as they were" in problem


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"serving\.keys new"):
        keys.Keys(tmp_path / "none.json")
    for entry in ('{"id": "x", "sha256": "lq_SECRET"}', '{"id": "x", "sha256": "%s", "concurrent": 0}' % ("0" * 64)):
        (tmp_path / "bad.json").write_text(f'{{"keys": [{entry}]}}', encoding="utf-8")
        with pytest.raises(UserError, match="damaged") as told:
            keys.Keys(tmp_path / "bad.json")
        assert "SECRET" not in str(told.value)


def test_a_path_that_only_the_router_would_take_for_another_is_none(start: Start, tmp_path: Path) -> None:
    """Starlette's own pattern for /admin/mode matches /admin/mode%0A, too."""
    keys.new(tmp_path / "keys.json", "someone", frozenset({"ask"}))
    running = start(keys=tmp_path / "keys.json")
    for method, path in (("GET", "/admin/mode"), ("PUT", "/admin/breaker"), ("POST", "/ask"), ("POST", "/bulk")):
        assert running.http.request(method, path).status_code in (401, 404)
        response = running.http.request(method, f"{path}%0A", json={"state": "forced_open", "question": "x", "items": []})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert running.service.gateway.model.breaker.state == "closed"


def test_a_bulk_key_is_for_bulk_alone(start: Start, tmp_path: Path) -> None:
    token = keys.new(tmp_path / "keys.json", "bulk", frozenset({"bulk"}))
    running = start(keys=tmp_path / "keys.json")
    headers = {"Authorization": f"Bearer {token}"}
    assert running.http.post("/ask", json={"question": "押金？"}, headers=headers).status_code == 403
    assert running.http.post("/bulk", json={"items": []}, headers=headers).status_code == 404  # let in: BentoML has the route


def test_behind_a_proxy_each_address_has_its_own_limits(start: Start) -> None:
    running = start(params=(("requests_per_minute: 120", "requests_per_minute: 2"),), open=True)

    def status(address: str) -> int:
        return running.http.post("/ask", json={"question": "押金？"}, headers={"X-Forwarded-For": address}).status_code

    assert 429 in [status("203.0.113.9") for _ in range(5)]
    assert [status("203.0.113.10"), running.ask().status_code] == [200, 200]


def test_without_keys_only_loopback_is_let_in(start: Start) -> None:
    running = start()
    forwarded = {"X-Forwarded-For": "203.0.113.9"}  # as a proxy on this machine sends it
    assert running.http.post("/ask", json={"question": "押金？"}, headers=forwarded).status_code == 401
    assert running.ask().status_code == 200
