"""Which engine is served, and from which bundle. Torch is imported only when its engine is opened."""

from pathlib import Path

import bentoml
from ruamel.yaml import YAML

from legalqa import store
from legalqa.bundle import Bundle
from legalqa.engine.interface import Engine
from legalqa.knowledge import passages
from legalqa.params import load_params
from legalqa.problems import Problem, UserError
from serving.settings import Settings


def open_bundle(settings: Settings, verify: bool) -> Bundle:
    """LEGALQA_BUNDLE, else the model that was built into this bento, else the champion.

    Raises UserError when there is none or its files were changed.
    """
    if folder := settings.bundle or _packed():
        return Bundle.open(folder, verify=verify)
    bundle = store.champion()
    if bundle is None:
        raise UserError(
            Problem(store.CHAMPION, "not in the BentoML store", fix="make repro, or make promote; then start again")
        )
    return Bundle.open(bundle.folder, verify=True) if verify else bundle


def _packed() -> Path | None:
    """The model folder that `bentoml build` pinned, when this code runs from a bento."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "bento.yaml").is_file():
        return None
    tag = YAML(typ="safe").load(root / "bento.yaml")["models"][0]["tag"]
    inside = root / "models" / str(tag).replace(":", "/")
    return inside if inside.is_dir() else Path(bentoml.models.get(tag).path)  # exported bentos hold their models


def open_engine(settings: Settings) -> Engine:
    """The engine that LEGALQA_ENGINE names, not started yet."""
    bundle = open_bundle(settings, verify=True)
    if settings.engine == "openai":
        from legalqa.engine.openai_engine import OpenAIEngine

        if not settings.upstream:
            raise UserError(Problem("LEGALQA_UPSTREAM", "not set", '{"url": "http://host:8000/v1", "model": "name"}'))
        server = settings.upstream
        key = server.api_key.get_secret_value()
        return OpenAIEngine(server.url, server.model, bundle.prompt, key, server.own_prompts, max_batch=server.max_concurrent)
    from legalqa.engine.choosing import engine_for
    from legalqa.engine.drafts import Phrases

    params = load_params(settings.params).serve
    weights = settings.weights or bundle.generation.get("weights", "bf16")
    phrases = Phrases.of(passages.texts(bundle.knowledge / "answers.jsonl"), bundle.prompt.encode)
    kind = engine_for(bundle.base, params.context, "static" if settings.engine == "static" else "auto")
    return kind(
        bundle.base,
        bundle.adapter,
        bundle.prompt,
        max_batch=params.max_batch,
        max_context=params.context,
        weights=weights,
        phrases=phrases,
        merged=settings.adapter == "merged",
    )
