"""The chat page in a real browser, driven over Chromium's own debugging pipe: typed, streamed, opened, closed by keyboard."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from serving.answers import Reason
from tests import needs
from tests.serving.bundles import PROBATION
from tests.serving.conftest import Running

CITING = "应当支付二倍工资，见《中华人民共和国劳动合同法》第八十二条；《中华人民共和国环境保护法》第一条。<b>x</b>"


class Page:
    """One tab."""

    def __init__(self, send_to: int, read_from: int) -> None:
        self._send_to, self._read_from = send_to, read_from
        self._number = 0
        self._rest = b""
        target = self.command("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self.command("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def command(self, method: str, params: dict[str, Any] | None = None, session: str = "") -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params or {}} | ({"sessionId": session} if session else {})
        os.write(self._send_to, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> bytes:
        while b"\0" not in self._rest:
            self._rest += os.read(self._read_from, 1 << 16)
        message, self._rest = self._rest.split(b"\0", 1)
        return message

    def do(self, method: str, **params: Any) -> Any:
        return self.command(method, params, self._session)

    def script(self, code: str) -> Any:
        result = self.do("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def key(self, name: str, text: str = "", code: int = 0) -> None:
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **extra)

    def wait_for(self, code: str, seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while not self.script(code):
            assert time.monotonic() < until, f"{code}\n{self.script('document.body.innerText')}"
            time.sleep(0.05)


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    browser = needs.program("chromium", "google-chrome", package="chromium")
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()

    def as_3_and_4() -> None:
        os.dup2(to_read, 30)
        os.dup2(from_write, 31)
        os.dup2(30, 3)
        os.dup2(31, 4)

    flags = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-dev-shm-usage --remote-debugging-pipe"
    )
    process = subprocess.Popen(
        [browser, *flags.split(), f"--user-data-dir={folder}", "--window-size=390,800"],
        preexec_fn=as_3_and_4,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Page(to_write, from_read)
    finally:
        process.kill()
        process.wait()
        os.close(to_write)
        os.close(from_read)


@pytest.fixture
def opened(running: Running, tmp_path: Path) -> Iterator[tuple[Page, Running]]:
    with chromium(tmp_path / "profile") as page:
        page.do("Page.enable")
        page.do("Page.navigate", url=running.service.url)
        page.wait_for("document.readyState === 'complete' && document.getElementById('status')?.textContent !== ''")
        yield page, running


def ask(page: Page, question: str) -> None:
    page.do("Input.insertText", text=question)
    page.key("Enter", "\r", 13)
    page.wait_for("document.querySelector('.answer:last-of-type') && !document.querySelector('.busy')")


def said(page: Page) -> Callable[[str], Any]:
    return lambda selector: page.script(
        f"[...document.querySelectorAll('.answer')].at(-1).querySelector('{selector}').textContent"
    )


def test_page(opened: tuple[Page, Running]) -> None:
    page, running = opened
    page.do("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=3, mobile=True)  # a phone
    page.wait_for("innerWidth === 360")
    assert page.script("document.activeElement.id") == "question"  # one can type at once
    running.engine.reply = lambda _request: CITING
    ask(page, "没签劳动合同怎么办？")
    last = said(page)
    assert last(".badge") == "法律模型生成"
    assert last(".text") == CITING.replace("第一条。", "第一条〔已废止〕。")  # and <b> stays text
    assert "内容由人工智能生成" in last(".small")
    buttons = page.script("[...document.querySelectorAll('.sources button')].map(b => b.textContent + '|' + b.className)")
    assert buttons == ["《劳动合同法》第八十二条|valid", "《环境保护法》第一条（已废止）|repealed"]

    page.script("document.querySelector('.sources button').focus()")
    page.key("Enter", "\r", 13)
    page.wait_for("document.getElementById('article').open")
    assert "二倍的工资" in page.script("document.getElementById('article-text').textContent")
    page.key("Escape", code=27)
    page.wait_for("!document.getElementById('article').open")

    running.engine.reply = lambda _request: "".join(map(chr, range(0x5000, 0x5063)))  # more than the bundle's 64 new tokens
    page.script("document.getElementById('question').focus()")
    ask(page, "说得详细一点")
    assert last(".small").startswith("到了长度上限")

    running.engine.fault = "error"
    ask(page, PROBATION)
    assert last(".badge") == "知识库原文（模型出错）"
    assert page.script("[...document.querySelectorAll('.badge')].at(-1).classList.contains('degraded')")
    page.script("document.getElementById('language').click()")
    assert page.script("document.documentElement.lang + document.title") == "enLegal Q&A (Chinese law)"
    assert page.script("document.documentElement.scrollWidth <= innerWidth && innerWidth === 360")  # answers fit, too


def test_a_stream_can_be_stopped_and_a_broken_one_says_so(opened: tuple[Page, Running]) -> None:
    page, running = opened
    running.engine.reply = lambda _request: "".join(map(chr, range(0x5000, 0x5100)))
    running.engine.seconds_a_token = 0.05
    page.do("Input.insertText", text="押金？")
    page.key("Enter", "\r", 13)
    page.wait_for("document.querySelector('.answer .text')?.textContent.length > 2")
    assert page.script("document.getElementById('send').textContent") == "停止"
    page.script("document.getElementById('send').click()")
    page.wait_for("!document.querySelector('.busy')")
    assert said(page)(".small") == "已停止"
    running.engine.seconds_a_token, running.engine.fault, running.engine.fault_after = 0.0, "error", 3
    page.script("document.getElementById('question').focus()")
    ask(page, "押金？")
    assert said(page)(".badge") == "未能回答"
    assert (said(page)(".text"), said(page)(".small")) == ("倀倁倂", "回答中断了，请重试。")
    running.service.gateway.switch.set("drain", 60, "test", "")
    ask(page, "押金？")
    assert said(page)(".small") == "服务正在更新，请稍后再试。"


def test_every_reason_has_words_in_both_languages() -> None:
    script = (Path(__file__).resolve().parents[2] / "serving/web/app.js").read_text(encoding="utf-8")
    assert {reason: script.count(f'{reason}: "') for reason in get_args(Reason) if reason} == {
        reason: 2 for reason in get_args(Reason) if reason
    }
