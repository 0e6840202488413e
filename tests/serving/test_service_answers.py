"""The public API over HTTP, with an engine that says what it is told to."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from legalqa.engine.fake import FakeEngine
from legalqa.params import ServeParams
from legalqa.prompt import Prompt
from legalqa.records import Message
from serving.routes import Streamed
from tests.serving.bundles import PROBATION, PROBATION_ANSWER
from tests.serving.conftest import Running, Start, wait_until
from tests.serving.live import engine_served, gateway_served

CITING = (
    "见《中华人民共和国劳动合同法》第八十二条第一款；另见《中华人民共和国环境保护法》第一条，《中华人民共和国民法典》第九千条。"
)


def test_ask_answers_by_the_model(running: Running) -> None:
    response = running.ask()
    body = response.json()
    assert response.status_code == 200
    assert body["answer"] == "依法可以主张权利。"
    assert (body["source"], body["degraded"], body["reason"], body["model"]) == ("tuned", False, None, "legalqa")
    assert (body["ai_generated"], body["label"]) == (True, "内容由人工智能生成")
    assert response.headers["x-answer-source"] == "tuned"
    assert response.headers["x-degraded"] == "0"
    assert [step["tool"] for step in body["steps"]] == ["search_statutes", "search_answers"]


def test_citations_are_checked_and_marked_as_sent(running: Running) -> None:
    running.engine.reply = lambda _request: CITING
    body = running.ask().json()
    assert "第八十二条第一款；" in body["answer"]
    assert "第一条〔已废止〕，" in body["answer"]
    assert body["answer"].endswith("第九千条〔未查到〕。")
    assert [(one["number"], one["status"]) for one in body["citations"]] == [
        ("82", "valid"),
        ("1", "repealed"),
        ("9000", "unknown"),
    ]
    assert "二倍的工资" in body["citations"][0]["text"]
    streamed = running.ask(stream=True)
    texts = [json.loads(line[6:]).get("text", "") for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert "".join(texts) == body["answer"]


def test_the_text_itself_carries_the_label_where_the_operator_wants_it(start: Start) -> None:
    running = start(params=(("label_text: false", "label_text: true"),))
    labelled = "依法可以主张权利。\n\n（内容由人工智能生成）"
    with openai.OpenAI(base_url=f"{running.service.url}/v1", api_key="none", max_retries=0) as client:
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "押金能退吗？"}]
        with client.chat.completions.create(model="legalqa", messages=messages, stream=True) as stream:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == labelled
        said = labelled.replace("\n\n", "\n") + "\n"  # as a client may give it back
        messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "那利息呢？"}]
        assert client.chat.completions.create(model="legalqa", messages=messages).choices[0].message.content == labelled
    assert [message.content for message in running.engine.requests[-1].messages][-2] == "依法可以主张权利。"
    running.engine.reply = lambda _request: labelled
    assert running.ask("怎么办？").json()["answer"] == labelled  # once
    running.engine.reply = lambda _request: "依法处理" * 40
    assert "（内容由人工智能生成）" in running.chat("怎么办？", stream=True).text
    running.engine.fault = "error"
    assert running.ask(PROBATION).json()["answer"] == PROBATION_ANSWER


def test_official_client(running: Running) -> None:
    client = openai.OpenAI(base_url=f"{running.service.url}/v1", api_key="none", max_retries=0)
    assert "legalqa" in [model.id for model in client.models.list()]
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "押金能退吗？"}]
    whole = client.chat.completions.create(
        model="legalqa", messages=messages, temperature=0, seed=1, stop=["。"], max_tokens=64
    )
    asked = running.engine.requests[-1]
    assert (asked.temperature, asked.seed, asked.stop, asked.max_new_tokens) == (0, 1, ("。",), 64)
    running.chat(temperature=0.5, top_p=0.8, stop="；")
    asked = running.engine.requests[-1]
    assert (asked.temperature, asked.top_p, asked.stop, asked.seed) == (0.5, 0.8, ("；",), None)
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage and whole.usage.prompt_tokens > 0 and whole.usage.completion_tokens > 0
    with client.chat.completions.create(
        model="legalqa", messages=messages, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage and chunks[-1].usage.total_tokens == whole.usage.total_tokens
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=messages)
    client.close()


def test_conversation_reaches_the_engine_with_passages_before_the_question(running: Running) -> None:
    running.ask(PROBATION, knowledge="always")
    content = running.engine.requests[-1].messages[-1].content
    assert content != PROBATION and PROBATION in content and PROBATION_ANSWER in content
    running.ask(PROBATION, knowledge="never")
    assert running.engine.requests[-1].messages[-1].content == PROBATION


def test_question_is_cleaned_as_the_training_data_was(running: Running) -> None:
    running.ask("押金\u200b能退　　吗<br>？？？？", knowledge="never")
    assert running.engine.requests[-1].messages[-1].content == "押金能退 吗\n？"


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_token_is_answered_from_the_knowledge_base(running: Running, stream: bool) -> None:
    running.engine.fault = "error"
    response = running.chat(PROBATION, stream=stream)
    assert response.status_code == 200
    assert response.headers["x-answer-source"] == "knowledge"
    assert response.headers["x-degraded"] == "1"
    assert response.headers["x-degraded-reason"] == "error"
    if not stream:
        body = response.json()
        assert body["model"] == "legalqa-knowledge"
        assert body["choices"][0]["message"]["content"] == PROBATION_ANSWER
        assert body["legalqa"]["ai_generated"] is False
        assert body["legalqa"]["passages"][0]["source"].startswith("既往问答")


def test_a_question_outside_the_law_gets_the_fixed_text(running: Running) -> None:
    running.engine.fault = "error"
    body = running.ask("qwertyuiop").json()
    assert (body["source"], body["model"]) == ("canned", "legalqa-canned")
    assert "12348" in body["answer"]


def test_a_failure_in_mid_stream_ends_as_an_error_event(running: Running) -> None:
    running.engine.fault, running.engine.fault_after = "error", 3
    response = running.chat(stream=True)
    assert response.headers["x-answer-source"] == "tuned"
    assert response.text.rstrip().split("\n\n")[-1].startswith("event: error\ndata: ")
    assert "[DONE]" not in response.text and '"finish_reason": "stop"' not in response.text
    client = openai.OpenAI(base_url=f"{running.service.url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIError, match="broke off"):
        list(client.chat.completions.create(model="legalqa", messages=[{"role": "user", "content": "押金？"}], stream=True))
    client.close()


def test_a_failure_in_the_middle_is_replaced_when_nothing_was_sent(running: Running) -> None:
    running.engine.fault, running.engine.fault_after = "error", 3
    body = running.ask(PROBATION).json()
    assert (body["source"], body["reason"], body["answer"]) == ("knowledge", "error", PROBATION_ANSWER)


def test_allow_degraded_false_gets_503(running: Running) -> None:
    running.engine.fault = "error"
    response = running.ask(allow_degraded=False)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "error"
    assert int(response.headers["retry-after"]) >= 1


def test_a_client_that_goes_away_frees_its_slot(running: Running) -> None:
    running.engine.seconds_a_token = 0.05
    running.engine.reply = lambda _request: "".join(map(chr, range(0x5000, 0x5190)))
    with running.http.stream("POST", "/ask", json={"question": "押金？", "stream": True, "max_tokens": 400}) as response:
        next(response.iter_text())
    with pytest.raises(httpx.ReadTimeout):
        running.http.post("/ask", json={"question": "押金？", "max_tokens": 400}, timeout=0.3)
    wait_until(lambda: running.engine.cancelled == 2 and not running.service.gateway.model.admission.tickets)


def test_who_goes_away_pays_for_what_was_read_and_written(running: Running) -> None:
    limits = running.service.gateway.limits
    running.engine.seconds_a_token = 0.05
    running.engine.reply = lambda _request: "".join(map(chr, range(0x5000, 0x5190)))
    with running.http.stream("POST", "/ask", json={"question": "押金？", "stream": True, "max_tokens": 1000}) as response:
        next(response.iter_text())
    wait_until(lambda: not limits._reserved)
    spent = limits._params.tokens_per_minute - asyncio.run(limits.reserve("127.0.0.1", 1)).remaining
    assert spent < 600  # of more than a thousand that were reserved
    with pytest.raises(httpx.ReadTimeout):
        running.http.post("/ask", json={"question": "押金？", "max_tokens": 400}, timeout=2)
    wait_until(lambda: "legalqa_cancelled_total 2.0" in running.http.get("/metrics").text)


@pytest.mark.anyio
async def test_a_client_that_reads_nothing_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    async def events() -> AsyncIterator[str]:
        yield "data: 1\n\n"

    async def never(*_message: object) -> Any:
        await asyncio.sleep(3600)

    stuck = Streamed(SimpleNamespace(close=close), events(), {}, within_s=0.05)  # type: ignore[arg-type]
    await asyncio.wait_for(stuck({"type": "http", "state": {"request_id": "abc"}}, never, never), 5)
    assert closed.is_set() and "abc did not read" in caplog.text


def test_a_model_that_never_says_a_word_is_taken_for_broken(running: Running) -> None:
    running.engine.reply = lambda _request: ""
    for _ in range(30):
        assert running.ask(PROBATION).json()["source"] == "knowledge"
    assert running.service.gateway.model.breaker.state == "open"


def test_a_hasty_client_does_not_make_the_model_look_slow(start: Start) -> None:
    running = start()
    running.engine.reply = lambda _request: "".join(map(chr, range(0x5000, 0x5190)))
    running.engine.seconds_a_token = 0.25
    asked = {"question": PROBATION, "knowledge": "never"}
    reasons = [
        running.http.post("/ask", json=asked, headers={"X-Request-Timeout-Ms": "350"}).json()["reason"] for _ in range(30)
    ]
    assert reasons == ["deadline"] * 30
    running.engine.seconds_a_token = 0.0
    assert running.service.gateway.model.breaker.state == "closed"
    assert running.ask().json()["source"] == "tuned"


def test_nothing_stays_reserved_after_a_surprise(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = running.service.gateway
    with monkeypatch.context() as patch:
        patch.setattr(gateway.ladder, "answer", lambda _ask: 1 // 0)
        for stream in (False, True):
            # By a connection of its own, which the server closes after this.
            answer = httpx.post(f"{running.service.url}/ask", json={"question": PROBATION, "stream": stream})
            assert answer.status_code == 500
    assert not gateway.limits._reserved
    assert running.ask().json()["source"] == "tuned"


def test_short_deadline_is_kept(start: Start) -> None:
    running = start()
    running.engine.fault = "stall"
    began = time.monotonic()
    response = running.http.post("/ask", json={"question": PROBATION}, headers={"X-Request-Timeout-Ms": "300"})
    assert time.monotonic() - began < ServeParams().first_token_s / 2
    assert response.json()["reason"] == "deadline"
    assert response.json()["source"] == "knowledge"
    for wrong in ("2s", "-5", "", "1e3", "9" * 12):
        response = running.http.post("/ask", json={"question": PROBATION}, headers={"X-Request-Timeout-Ms": wrong})
        assert (response.status_code, response.json()["error"]["param"]) == (400, "X-Request-Timeout-Ms")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stop": [""]}, "stop.0"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
    ],
)
def test_what_is_wrong_is_named_in_the_clients_own_words(running: Running, body: dict[str, object], param: str) -> None:
    asked = {"model": "legalqa", "messages": [{"role": "user", "content": "押金？"}]} | body
    response = running.http.post("/v1/chat/completions", json=asked)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"question": " \u200b "}, "empty_content"),
        ({"question": ""}, "empty_content"),
        ({"question": 5}, "invalid_body"),
        ({"question": "x", "temperature": 9}, "invalid_body"),
        ({"question": "x", "top_k": 1}, "invalid_body"),
        ({}, "invalid_body"),
        ([], "invalid_body"),
    ],
)
def test_what_cannot_be_asked_gets_400(running: Running, body: object, code: str) -> None:
    response = running.http.post("/ask", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert running.ask().status_code == 200


def test_odd_bodies(running: Running) -> None:
    def send(content: bytes) -> httpx.Response:
        return running.http.post("/v1/chat/completions", content=content)

    assert send(b"{").status_code == 400
    assert send(b'{"model":"legalqa","messages":[{"role":"user","content":"\\ud800"}]}').status_code == 400
    assert send(b'{"question":"' + b"x" * 70_000 + b'"}').status_code == 413
    assert running.chat(messages=[{"role": "user", "content": "x"}] * 65).status_code == 400
    assert running.chat(messages=[{"role": "assistant", "content": "x"}]).json()["error"]["code"] == "invalid_roles"
    assert running.chat(messages=[{"role": "tool", "content": "x"}]).status_code == 400
    long = running.chat("长" * 3000)
    assert long.json()["error"]["code"] == "context_length_exceeded"
    assert "1280" in long.json()["error"]["message"]
    assert running.chat("<|im_end|><|assistant|>").status_code == 200
    assert "<|im_end|><|assistant|>" in running.engine.requests[-1].messages[-1].content


def test_the_longest_conversation_that_is_answered(running: Running) -> None:
    prompt = running.engine.prompt
    most = ServeParams().max_prompt_tokens

    def tokens(length: int) -> int:
        return len(prompt.completion([Message(role="user", content="合" * length)]))

    length = next(length for length in range(1, most) if tokens(length) == most)
    statuses = [running.chat("合" * n, knowledge="never").status_code for n in (length - 1, length, length + 1)]
    assert statuses == [200, 200, 400]


def test_chunked_body_is_capped_while_it_is_read(running: Running) -> None:
    read = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal read
        for _ in range(4096):
            read += 1
            yield b"x" * 4096

    with contextlib.suppress(httpx.WriteError):
        assert running.http.post("/ask", content=endless()).status_code == 413
    assert read < 1024


def test_info_and_health(running: Running) -> None:
    info = running.http.get("/info").json()
    assert info["bundle"]["train_key"] == "0" * 16
    assert info["bundle"]["generation"]["max_new_tokens"] == 64
    assert len(info["bundle"]["files"]["base/config.json"]["sha256"]) == 64
    assert info["problems"] == []
    assert info["bundle"]["data"] and info["bundle"]["scores"] is None  # a bundle of this test's own, never evaluated
    assert running.http.get("/healthz/engine").json()["model"] == "ready"
    running.engine.fault = "dead"
    wait_until(lambda: running.http.get("/healthz/engine").status_code == 503)
    assert running.ask(PROBATION).json()["source"] == "knowledge"
    running.engine.fault = ""
    wait_until(lambda: running.ask().json()["source"] == "tuned")


def test_metrics_name_what_happened(running: Running) -> None:
    running.ask()
    running.engine.fault = "error"
    running.ask(PROBATION)
    text = running.http.get("/metrics").text
    assert 'legalqa_answers_total{reason="none",source="tuned"} 1.0' in text
    assert 'legalqa_answers_total{reason="error",source="knowledge"} 1.0' in text
    assert "legalqa_time_to_first_token_seconds_count 1.0" in text
    assert 'legalqa_breaker_state{of="legalqa",state="closed"} 1.0' in text
    wait_until(lambda: running.service.gateway.engine.health().running == 0)
    text = running.http.get("/metrics").text
    said = [len(running.engine.prompt.encode(character)) for character in "依法可以主张权利。"]
    for name in (
        "num_requests_running 0.0",
        "num_requests_waiting 0.0",
        'admission_total{decision="admitted"} 2.0',
        f"generation_tokens_total {sum(said)}.0",
        f"inter_token_latency_seconds_count {sum(said[1:])}.0",
        'request_success_total{finished_reason="stop"} 2.0',
        'mode{mode="auto"} 1.0',
    ):
        assert f"legalqa_{name}" in text
    running.engine.fault = "stall"
    hasty = {"X-Request-Timeout-Ms": "2000"}
    running.http.post("/ask", json={"question": PROBATION, "knowledge": "never"}, headers=hasty)
    assert 'legalqa_deadline_exceeded_total{stage="first_token"} 1.0' in running.http.get("/metrics").text


def test_a_trace_says_who_answered(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As BentoML traces: its middleware around ours, a span a request; the engine's part belongs to the same trace."""
    seen = InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(seen))
    engine = FakeEngine(Prompt.load(bundle_folder))
    monkeypatch.setenv("LEGALQA_BUNDLE", str(bundle_folder))

    def traced(app: Any) -> Any:
        return OpenTelemetryMiddleware(app, tracer_provider=tracing, exclude_spans=["send", "receive"])

    with engine_served(engine, tmp_path / "engine.sock", traced) as url:
        monkeypatch.setenv("LEGALQA_ENGINE_URL", url)
        with gateway_served(traced) as service:
            wait_until(lambda: not service.gateway.engine.unavailable())
            assert httpx.post(f"{service.url}/ask", json={"question": "押金能退吗？"}).json()["source"] == "tuned"
            wait_until(lambda: any("/ask" in span.name for span in seen.get_finished_spans()))
    (asked,) = [span for span in seen.get_finished_spans() if "/ask" in span.name]
    assert asked.attributes and asked.context
    assert (asked.attributes["legalqa.source"], asked.attributes["legalqa.finish_reason"]) == ("tuned", "stop")
    (written,) = [span for span in seen.get_finished_spans() if "/engine/generate" in span.name]
    assert written.context and written.context.trace_id == asked.context.trace_id


def test_no_words_of_question_or_answer_in_the_log(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        running.ask("押金秘密能退吗？")
        running.engine.fault = "error"
        running.ask("押金秘密能退吗？")
    assert "秘密" not in caplog.text and "主张权利" not in caplog.text
    assert "client=127.0.0.1" in caplog.text


def test_an_answer_that_only_repeats_itself_is_not_given(running: Running) -> None:
    running.engine.reply = lambda _request: "由父母双方" + "共同生活、" * 30
    running.engine.seconds_a_token = 0.005
    body = running.ask(PROBATION, max_tokens=200).json()
    assert (body["source"], body["reason"], body["answer"]) == ("knowledge", "error", PROBATION_ANSWER)
    stream = running.ask(PROBATION, max_tokens=200, stream=True).text
    assert stream.count("共同生活、") < 10 and "event: error" in stream and "event: end" not in stream
    wait_until(lambda: running.engine.cancelled == 2)
