"""The rival that BentoML's own documentation would have one write: adaptive batching around a static `generate`."""

import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

MAX_BATCH = 16
service: Any = None


async def chat(request: Request) -> StreamingResponse:
    """The answer of the batchable method in the form that the load client reads; it comes in one piece."""
    body = await request.json()
    answer = (await service.to_async.generate([{"messages": body["messages"], "max_tokens": body["max_tokens"]}]))[0]

    async def events() -> AsyncIterator[str]:
        delta = {"choices": [{"delta": {"content": answer["text"]}, "finish_reason": "stop"}]}
        yield f"data: {json.dumps(delta)}\n\n"
        yield f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': answer['tokens']}})}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@bentoml.service(workers=1, traffic={"timeout": 600})
@bentoml.asgi_app(Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])]), path="/")
class Adaptive:
    """bf16, adapter merged, left padding, greedy."""

    def __init__(self) -> None:
        global service
        from legalqa.bundle import Bundle
        from legalqa.engine.loading import load_model

        bundle = Bundle.open(Path(os.environ["LEGALQA_BUNDLE"]), verify=False)
        self._prompt = bundle.prompt
        self._model = load_model(bundle.base, bundle.adapter, "bf16")
        service = self

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=600_000)
    def generate(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One padded batch, which ends with its longest answer."""
        import torch

        from legalqa.records import Message

        prompts = [self._prompt.completion([Message(**message) for message in item["messages"]]) for item in items]
        width = max(map(len, prompts))
        pad = self._prompt.pad_id
        ids = torch.tensor([[pad] * (width - len(one)) + one for one in prompts])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts])
        most = max(item["max_tokens"] for item in items)
        stops = sorted(self._prompt.stop_ids)
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=most, do_sample=False, eos_token_id=stops, pad_token_id=pad
            )[:, width:].tolist()
        answers = []
        for row in written:
            end = next((number for number, token in enumerate(row) if token in self._prompt.stop_ids), len(row))
            answers.append({"text": self._prompt.decode(row[:end]), "tokens": min(end + 1, len(row)), "at": time.time()})
        return answers
