"""The BentoML entry: `bentoml serve` starts a light gateway and, as a service it depends on, the engine in its own process.

Gateway and engine talk over the socket that BentoML makes for the engine; BentoML starts the engine again when it dies.
"""

import os
import sys
from pathlib import Path

import bentoml

import legalqa  # noqa: F401  (the quiet environment)
from legalqa.problems import UserError
from serving import engine_app
from serving.app import create_app
from serving.bulk import BulkItem, BulkResult, answer_all
from serving.gateway import ENGINE_NAME, configuration
from serving.guard import Guard
from serving.prefork import keep_alive

OWN = {  # ours instead of BentoML's
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "traffic": {"timeout": 900},  # for each request BentoML keeps a timer so long
}
try:
    configured = configuration()
    gateway_app = create_app(configured)
except UserError as error:
    sys.exit(str(error))
if ENGINE_NAME in sys.argv:  # this is the worker that BentoML has started for the engine
    keep_alive("" if configured.settings.engine == "openai" else "legalqa.engine.choosing")

REQUIREMENTS = Path(__file__).resolve().parent / "serving" / "requirements.txt"  # exact pins: nothing is left to lock

image = bentoml.images.Image(python_version="3.11", lock_python_packages=False)
image.python_packages(*REQUIREMENTS.read_text(encoding="utf-8").split())


@bentoml.service(name=ENGINE_NAME, workers=1, **OWN)
@bentoml.asgi_app(engine_app.create_app(), path="/")
class Engine:
    """Holds the model. It yields the processor to the gateway, whose answers are short and must stay quick."""

    def __init__(self) -> None:
        os.nice(5)


@bentoml.service(name="legalqa", image=image, workers=1, runner_probe={"enabled": False}, **OWN)
@bentoml.asgi_app(gateway_app, path="/")
class LegalQA:
    """Answers every question: by the model, else from the knowledge base, and says which."""

    engine = bentoml.depends(Engine)

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=600_000)
    async def bulk(self, items: list[BulkItem]) -> list[BulkResult]:
        """Questions from many requests, put together by BentoML's adaptive batching."""
        return await answer_all(gateway_app.state.gateway, items)


LegalQA.add_asgi_middleware(Guard, gateway=lambda: gateway_app.state.gateway)
