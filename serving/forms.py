"""Answers in the forms that clients read: OpenAI's objects and chunks, /ask's object, and the headers that say who answered."""

import dataclasses
import json
import time
from typing import Any

from serving.answers import Ask, Began, Ended
from serving.exchange import Answer
from serving.library import AI_LABEL, DISCLAIMER

FINISH = {"stop": "stop", "length": "length", "deadline": "length", "error": "stop"}


def headers(began: Began) -> dict[str, str]:
    """Who answers, and why not the model."""
    said = {"X-Answer-Source": began.source, "X-Degraded": str(int(began.degraded))}
    return said | ({"X-Degraded-Reason": began.reason} if began.degraded else {})


def about(began: Began, ended: Ended | None = None) -> dict[str, Any]:
    """The `legalqa` object: source, reason, look-ups, passages, and when the answer has ended its citations."""
    generated = began.source in ("tuned", "endpoint")
    said: dict[str, Any] = {
        "source": began.source,
        "degraded": began.degraded,
        "reason": began.reason or None,
        "ai_generated": generated,
        "label": AI_LABEL if generated else None,
        "disclaimer": DISCLAIMER,
        "steps": [dataclasses.asdict(step) for step in began.steps],
        "passages": [dataclasses.asdict(quote) for quote in began.quotes],
    }
    if ended:
        said |= {"citations": ended.citations, "cut_by": "deadline" if ended.finish_reason == "deadline" else None}
    return said


def usage(began: Began, ended: Ended) -> dict[str, int]:
    """Token counts; a quoted answer costs none."""
    read, written = began.prompt_tokens, ended.completion_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def ask_answer(answer: Answer) -> dict[str, Any]:
    """What /ask gives."""
    return {"answer": answer.text, "model": answer.began.model} | about(answer.began, answer.ended)


def chat_completion(ask: Ask, answer: Answer, fingerprint: str) -> dict[str, Any]:
    """A chat.completion object."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text, "refusal": None},
        "logprobs": None,
        "finish_reason": FINISH[answer.ended.finish_reason],
    }
    return {
        "id": f"chatcmpl-{ask.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.began.model,
        "choices": [choice],
        "usage": usage(answer.began, answer.ended),
        "system_fingerprint": fingerprint,
        "legalqa": about(answer.began, answer.ended),
    }


class Chunks:
    """The events of one streamed chat completion."""

    def __init__(self, ask: Ask, began: Began, fingerprint: str) -> None:
        self._began = began
        self._common = {
            "id": f"chatcmpl-{ask.id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": began.model,
            "system_fingerprint": fingerprint,
        }

    def first(self) -> str:
        """The role, and who answers."""
        return self._chunk({"role": "assistant", "content": ""}, legalqa=about(self._began))

    def text(self, text: str) -> str:
        """More text."""
        return self._chunk({"content": text})

    def last(self, ended: Ended) -> str:
        """Why it ended, and its citations."""
        return self._chunk({}, FINISH[ended.finish_reason], legalqa=about(self._began, ended))

    def counts(self, ended: Ended) -> str:
        """The chunk that include_usage asks for."""
        return event(self._common | {"choices": [], "usage": usage(self._began, ended)})

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event(self._common | {"choices": [choice]} | more)


def event(value: dict[str, Any], name: str = "") -> str:
    """One server-sent event."""
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
