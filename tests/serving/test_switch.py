"""The switch: file before admin before environment, every change in the audit log."""

import json
import time
from pathlib import Path

import pytest

from serving.switch import Switch
from tests.serving.bundles import PROBATION
from tests.serving.conftest import Start


def test_precedence_and_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, audit = tmp_path / "switch", tmp_path / "audit.jsonl"
    switch = Switch("llm_only", file, audit)
    assert (switch.mode, switch.origin) == ("llm_only", "environment")
    switch.set("canned_only", ttl_s=60, actor="ops", reason="flood")
    assert (switch.mode, switch.origin) == ("canned_only", "admin")
    file.write_text("knowledge_only\n", encoding="utf-8")
    assert (switch.mode, switch.origin) == ("knowledge_only", "file")
    file.write_text('{"mode": "drain", "reason": "new release"}', encoding="utf-8")
    assert switch.mode == "drain"
    file.write_text("", encoding="utf-8")
    assert switch.mode == "canned_only"
    file.unlink()
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 61)
    assert (switch.mode, switch.origin) == ("llm_only", "environment")
    entries = [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]
    assert [entry["mode"] for entry in entries] == ["canned_only", "knowledge_only", "drain", "empty", "removed", "expired"]
    assert entries[0]["reason"] == "flood" and entries[2]["reason"] == "new release"


@pytest.mark.parametrize("content", [b"off", b"\xff\xfe", b'{"mode": 5}', b'{"mode"', b"[]"])
def test_a_file_that_says_nothing_sensible_changes_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "switch"
    file.write_text("canned_only", encoding="utf-8")
    switch = Switch("auto", file)
    assert switch.mode == "canned_only"
    file.write_bytes(content)
    assert (switch.mode, "nothing changed" in switch.problem) == ("canned_only", True)
    file.write_text("auto", encoding="utf-8")
    assert (switch.mode, switch.problem) == ("auto", "")


def test_each_mode_over_http(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "switch"
    running = start(switch=file, admin_token="secret")

    def source() -> tuple[int, str | None]:
        response = running.ask(PROBATION)
        return response.status_code, response.headers.get("x-answer-source")

    for mode, expected in {
        "llm_only": (200, "tuned"),
        "knowledge_only": (200, "knowledge"),
        "canned_only": (200, "canned"),
        "drain": (503, None),
        "auto": (200, "tuned"),
    }.items():
        file.write_text(mode, encoding="utf-8")
        assert source() == expected, mode
        assert running.service.gateway.can_answer == (mode != "drain")
    file.write_text("llm_only", encoding="utf-8")
    running.engine.fault = "error"
    response = running.ask(PROBATION)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "error")
    file.unlink()

    assert running.http.put("/admin/mode", json={"mode": "canned_only"}).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    response = running.http.put("/admin/mode", json={"mode": "canned_only", "ttl_s": 60}, headers=headers)
    assert response.json() | {"ttl_s": 60} == {"mode": "canned_only", "origin": "admin", "ttl_s": 60}
    assert 50 < response.json()["ttl_s"] <= 60
    assert source() == (200, "canned")
    assert running.ask(PROBATION).headers["x-degraded-reason"] == "operator"
    assert running.http.put("/admin/mode", json={"mode": "off"}, headers=headers).status_code == 400
    assert running.http.get("/admin/mode", headers=headers).json()["mode"] == "canned_only"
    running.http.put("/admin/mode", json={"mode": "auto"}, headers=headers)
    running.engine.fault = ""
    assert running.http.put("/admin/breaker", json={"state": "forced_open"}, headers=headers).status_code == 200
    assert running.ask(PROBATION).headers["x-degraded-reason"] == "breaker_open"


def test_the_switch_holds_when_the_model_breaks_off_in_the_middle(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "switch"
    running = start(switch=file)
    running.engine.fault, running.engine.fault_after = "error", 3
    assert running.ask(PROBATION).json()["source"] == "knowledge"
    file.write_text("llm_only", encoding="utf-8")
    response = running.ask(PROBATION)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "error")
    assert 'legalqa_refused_total{code="error"} 1.0' in running.http.get("/metrics").text

    def says(_request: object) -> str:
        file.write_text("canned_only", encoding="utf-8")  # while the answer is under way
        return "依法可以主张权利。"

    file.write_text("auto", encoding="utf-8")
    running.engine.reply = says
    assert running.ask(PROBATION).json()["source"] == "canned"


def test_readiness_says_who_answers(start: Start, tmp_path: Path) -> None:
    running = start(switch=tmp_path / "switch")
    ready = running.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "mode": "auto", "model": "ready", "problems": []})
    (tmp_path / "switch").write_text("on", encoding="utf-8")
    ready = running.http.get("/readyz")
    assert ready.status_code == 200 and "says 'on'; expected one of auto" in ready.json()["problems"][0]
    (tmp_path / "switch").write_text("drain", encoding="utf-8")
    ready = running.http.get("/readyz")
    assert (ready.status_code, ready.json()["problems"]) == (503, [])


def test_it_works_when_the_audit_log_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "switch"
    switch = Switch("auto", file, tmp_path / "nowhere" / "audit.jsonl")
    file.write_text("knowledge_only", encoding="utf-8")
    assert switch.mode == "knowledge_only"
    assert "audit log" in caplog.text


def test_a_file_that_can_not_be_read_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "switch"
    file.write_text("canned_only", encoding="utf-8")
    switch = Switch("auto", file)
    assert (switch.mode, switch.problem) == ("canned_only", "")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", _stale)
        assert switch.mode == "canned_only" and "can't be read" in switch.problem
    assert (switch.mode, switch.problem) == ("canned_only", "")


def _stale(*_unused: object, **_more: object) -> None:
    raise PermissionError("stale file handle")


def test_the_breaker_set_by_hand_is_audited(start: Start, tmp_path: Path) -> None:
    running = start(admin_token="secret", audit_log=tmp_path / "audit.jsonl")
    headers = {"Authorization": "Bearer secret"}
    running.http.put("/admin/breaker", json={"state": "forced_open"}, headers=headers)
    assert '"mode": "breaker forced_open", "actor": "admin"' in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")


def test_answers_under_way_finish_while_it_drains(start: Start, tmp_path: Path) -> None:
    running = start(switch=tmp_path / "switch")
    running.engine.seconds_a_token = 0.05
    with running.http.stream("POST", "/ask", json={"question": PROBATION, "stream": True}) as response:
        lines = response.iter_lines()
        assert next(lines) == "event: begin"
        (tmp_path / "switch").write_text("drain", encoding="utf-8")
        refused = running.ask(PROBATION)
        assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "false")
        assert "event: end" in list(lines)
