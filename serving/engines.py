"""Which engine is served, and from which bundle. Torch is imported only when its engine is opened."""

from legalqa import store
from legalqa.bundle import Bundle
from legalqa.engine.interface import Engine
from legalqa.params import load_params
from legalqa.problems import Problem, UserError
from serving.settings import Settings


def open_bundle(settings: Settings, verify: bool) -> Bundle:
    """LEGALQA_BUNDLE where it is set, else the champion. Raises UserError when there is none or its files were changed."""
    if settings.bundle:
        return Bundle.open(settings.bundle, verify=verify)
    bundle = store.champion()
    if bundle is None:
        raise UserError(
            Problem(store.CHAMPION, "not in the BentoML store", fix="make repro, or make promote; then start again")
        )
    return Bundle.open(bundle.folder, verify=True) if verify else bundle


def open_engine(settings: Settings) -> Engine:
    """The engine that LEGALQA_ENGINE names, not started yet."""
    bundle = open_bundle(settings, verify=True)
    if settings.engine == "fake":
        from legalqa.engine.fake import FakeEngine

        return FakeEngine(bundle.prompt)
    if settings.engine == "openai":
        from legalqa.engine.openai_engine import OpenAIEngine

        if not settings.upstream:
            raise UserError(Problem("LEGALQA_UPSTREAM", "not set", '{"url": "http://host:8000/v1", "model": "name"}'))
        upstream = settings.upstream
        return OpenAIEngine(upstream.url, upstream.model, bundle.prompt, api_key=upstream.api_key.get_secret_value())
    from legalqa.engine.transformers_engine import TransformersEngine

    params = load_params(settings.params).serve
    weights = settings.weights or bundle.generation.get("weights", "bf16")
    return TransformersEngine(bundle.base, bundle.adapter, bundle.prompt, max_batch=params.max_batch, weights=weights)
