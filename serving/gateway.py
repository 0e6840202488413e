"""The gateway's parts, put together once when the service starts."""

import hmac
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from legalqa.bundle import SCORES_FILE, Bundle
from legalqa.files import read_json
from legalqa.params import ServeParams, load_params
from legalqa.problems import Problem, UserError
from legalqa.prompt import Prompt
from serving import pool
from serving.admission import Admission
from serving.agent import Agent
from serving.breaker import Breaker, State
from serving.engine_client import EngineClient
from serving.engines import open_bundle
from serving.keys import Keys
from serving.ladder import Ladder, Rung
from serving.library import Library, Remote
from serving.limits import Limits
from serving.member import Member
from serving.settings import Settings, load_settings
from serving.switch import MODES, Switch
from serving.telemetry import Telemetry

log = logging.getLogger("legalqa.gateway")

ENGINE_NAME = "legalqa-engine"
MODEL = "legalqa"
BREAKER_STATES = ("closed", "open", "half_open", "forced_open", "disabled")


@dataclass
class Gateway:
    """Everything that the routes use."""

    settings: Settings
    params: ServeParams
    telemetry: Telemetry
    switch: Switch
    library: Library
    agent: Agent
    engine: EngineClient
    model: Member
    ladder: Ladder
    limits: Limits
    keys: Keys | None
    prompt: Prompt | None
    info: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def open(cls, configured: "Configuration") -> Self:
        """Read the bundle's light parts. Without a whole bundle the service answers from what it has."""
        settings, params, keys = configured
        served = Served.of(settings)
        library = Library.open([*served.knowledge, settings.knowledge], partial(_remote, settings))
        telemetry = Telemetry()
        switch = Switch(settings.mode, settings.switch, settings.audit_log)

        def noted(name: str) -> Breaker:
            return Breaker(params.breaker, on_change=_noted(name, telemetry))

        breaker = noted(MODEL)
        engine = EngineClient(_engine_url(settings), params, on_back=breaker.recovered)
        model = Member(MODEL, MODEL, engine, breaker, Admission(params), telemetry)
        agent = Agent(library, served.prompt, params, settings.passages_url)
        rungs = [Rung("tuned", [model])]
        if settings.endpoints:
            rungs.append(Rung("endpoint", pool.members(settings.endpoints, served.prompt, params, telemetry, noted)))
        ladder = Ladder(rungs, library, agent, switch, params)
        gateway = cls(
            settings=settings,
            params=params,
            telemetry=telemetry,
            switch=switch,
            library=library,
            agent=agent,
            engine=engine,
            model=model,
            ladder=ladder,
            limits=Limits(params.limits, settings.redis_url),
            keys=keys,
            prompt=served.prompt,
            info=served.info,
            problem=served.problem,
        )
        gateway._measure()
        return gateway

    def start(self) -> None:
        """Begin to watch the engine."""
        self.engine.start()

    async def close(self) -> None:
        """Hang up everywhere."""
        await self.engine.close()
        await self.agent.close()
        await self.limits.close()
        await self.library.close()

    @property
    def problems(self) -> list[str]:
        """What is missing or damaged, in words for the operator."""
        texts = [self.problem, self.library.problem, self.engine.status.problem, self.switch.problem]
        texts += [self.keys.problem] if self.keys else []
        return list(dict.fromkeys(text for text in texts if text))

    @property
    def can_answer(self) -> bool:
        """False while the switch drains, or when only the model may answer and can't."""
        mode = self.switch.mode
        return mode != "drain" and not (mode == "llm_only" and bool(self.engine.unavailable()) and not self.settings.endpoints)

    def is_admin_token(self, token: str) -> bool:
        """Whether this is the admin token of the settings."""
        own = self.settings.admin_token
        return own is not None and hmac.compare_digest(token.encode(), own.get_secret_value().encode())

    def _measure(self) -> None:
        telemetry, engine, admission = self.telemetry, self.engine, self.model.admission
        telemetry.gauge("legalqa_num_requests_running", "sequences being written", lambda: engine.health().running)
        telemetry.gauge("legalqa_num_requests_waiting", "accepted, not yet begun", lambda: engine.health().waiting)
        telemetry.gauge("legalqa_num_requests_admitted", "let in by the door", lambda: len(admission.tickets))
        telemetry.gauge(
            "legalqa_engine_last_step_age_seconds", "age of the engine's last step", lambda: engine.health().last_step_age_s
        )
        telemetry.gauge("legalqa_engine_up", "1 when the model can be asked", lambda: float(not engine.unavailable()))
        telemetry.gauge("legalqa_bundle_up", "1 when the bundle could be read", lambda: float(not self.problem))
        telemetry.gauge("legalqa_knowledge_up", "1 when the index could be read", lambda: float(not self.library.problem))
        members = [member for rung in self.ladder.rungs for member in rung.members]
        telemetry.states(
            "legalqa_breaker_state",
            "the breaker before the model, and before each other endpoint",
            ("of", "state"),
            BREAKER_STATES,
            lambda: {(member.name,): member.breaker.state for member in members},
        )
        telemetry.states("legalqa_mode", "the operator's switch", ("mode",), MODES, lambda: {(): self.switch.mode})


class Configuration(NamedTuple):
    """What the operator has set."""

    settings: Settings
    params: ServeParams
    keys: Keys | None


def configuration() -> Configuration:
    """What the operator has set, checked. Raises UserError with all problems at once."""
    problems: list[Problem] = []
    file = Path(os.environ.get("LEGALQA_PARAMS") or "params.yaml")
    settings = Settings.model_construct(params=file)  # defaults, so that one bad variable doesn't hide bad params
    params, keys = ServeParams(), None
    with _noting(problems):
        settings = load_settings()
    with _noting(problems):
        params = load_params(settings.params).serve
    with _noting(problems):
        keys = Keys(settings.keys) if settings.keys else None
    if problems:
        raise UserError(problems, f"{len(problems)} problem(s), the service was not started")
    return Configuration(settings, params, keys)


@contextmanager
def _noting(problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        problems += error.problems


@dataclass(frozen=True)
class Served:
    """The bundle's light parts, as far as they can be read. ``problem`` says what is wrong with it."""

    prompt: Prompt | None = None
    info: dict[str, Any] = field(default_factory=dict)
    knowledge: tuple[Path, ...] = ()
    problem: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Whatever is damaged: the service goes on without it, and says so."""
        knowledge: tuple[Path, ...] = (settings.bundle / "knowledge",) if settings.bundle else ()
        try:
            bundle = open_bundle(settings, verify=False)
            knowledge = (bundle.knowledge,)
            return cls(bundle.prompt, _info(bundle), knowledge)
        except UserError as error:
            problem = str(error)
        except Exception as error:  # a file that is cut or of another version
            log.debug("bundle", exc_info=True)
            problem = f"the bundle is damaged: {type(error).__name__}: {error}; -> dvc checkout, or promote it again"
        log.error("answers come without the model: %s", problem)
        return cls(knowledge=knowledge, problem=problem)


def _remote(settings: Settings, folder: Path) -> Remote | None:
    """The Qdrant server that LEGALQA_QDRANT_URL names, which was filled from the index in ``folder``."""
    if not settings.qdrant_url:
        return None
    from legalqa.knowledge.qdrant import QdrantPassages

    key = settings.qdrant_api_key
    return QdrantPassages.at(settings.qdrant_url, key.get_secret_value() if key else "", folder)


def _engine_url(settings: Settings) -> str:
    """Where BentoML has put the engine's socket, unless LEGALQA_ENGINE_URL names another engine process."""
    started: dict[str, str] = json.loads(os.environ.get("BENTOML_RUNNER_MAP", "{}"))
    return settings.engine_url or started.get(ENGINE_NAME, "http://127.0.0.1:9")  # port 9 refuses: no engine was started


def _noted(name: str, telemetry: Telemetry) -> Any:
    def note(state: State) -> None:
        log.warning("breaker %s: %s", name, state)
        telemetry.breaker(state)

    return note


def _info(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest.model_dump(mode="json")
    said = {"version": bundle.version, "bundle_sha256": bundle.sha256, "generation": bundle.generation}
    scores = bundle.folder / SCORES_FILE
    return manifest | said | {"scores": read_json(scores) if scores.is_file() else None}
