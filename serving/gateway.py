"""The gateway's parts, put together once when the service starts."""

import hmac
import json
import logging
import os
from dataclasses import dataclass, field
from typing import Any, Self

from legalqa.bundle import SCORES_FILE, Bundle
from legalqa.files import read_json
from legalqa.params import ServeParams, load_params
from legalqa.problems import UserError
from legalqa.prompt import Prompt
from serving import pool
from serving.admission import Admission
from serving.agent import Agent
from serving.breaker import Breaker, State
from serving.engine_client import EngineClient
from serving.engines import open_bundle
from serving.keys import Keys
from serving.ladder import Ladder, Rung
from serving.library import Library
from serving.limits import Limits
from serving.member import Member
from serving.settings import Settings
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
    def open(cls) -> Self:
        """Read settings, params and the bundle's light parts. Without a bundle the service still answers, from what it has."""
        settings = Settings()
        params = load_params(settings.params).serve
        bundle, problem = _bundle(settings)
        library = Library.open([bundle.knowledge] if bundle else [settings.knowledge])
        prompt = bundle.prompt if bundle else None
        telemetry = Telemetry()
        switch = Switch(settings.mode, settings.switch, settings.audit_log)

        def noted(name: str) -> Breaker:
            return Breaker(params.breaker, on_change=_noted(name, telemetry))

        breaker = noted(MODEL)
        engine = EngineClient(_engine_url(settings), params, on_back=breaker.recovered)
        model = Member(MODEL, engine, breaker, Admission(params), telemetry, params)
        agent = Agent(library, prompt, params, settings.passages_url)
        rungs = [Rung("tuned", [model])]
        if settings.endpoints and prompt:
            rungs.append(Rung("endpoint", pool.members(settings.endpoints, prompt, params, telemetry, noted)))
        ladder = Ladder(rungs, library, agent, switch, params.mark_citations)
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
            keys=Keys(settings.keys) if settings.keys else None,
            prompt=prompt,
            info=_info(bundle),
            problem=problem,
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
        self.library.close()

    @property
    def can_answer(self) -> bool:
        """False while the switch drains, or when only the model may answer and can't."""
        mode = self.switch.mode
        return mode != "drain" and not (mode == "llm_only" and bool(self.engine.unavailable()))

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
        telemetry.states(
            "legalqa_breaker_state", "the breaker before the model", "state", BREAKER_STATES, lambda: self.model.breaker.state
        )
        telemetry.states("legalqa_mode", "the operator's switch", "mode", MODES, lambda: self.switch.mode)


def _bundle(settings: Settings) -> tuple[Bundle | None, str]:
    try:
        return open_bundle(settings, verify=False), ""
    except UserError as error:
        log.error("no bundle, answers come without the model: %s", error)
        return None, str(error)


def _engine_url(settings: Settings) -> str:
    """Where BentoML has put the engine's socket, unless LEGALQA_ENGINE_URL names another engine process."""
    started: dict[str, str] = json.loads(os.environ.get("BENTOML_RUNNER_MAP", "{}"))
    return settings.engine_url or started.get(ENGINE_NAME, "http://127.0.0.1:9")  # port 9 refuses: no engine was started


def _noted(name: str, telemetry: Telemetry) -> Any:
    def note(state: State) -> None:
        log.warning("breaker %s: %s", name, state)
        telemetry.breaker(state)

    return note


def _info(bundle: Bundle | None) -> dict[str, Any]:
    if not bundle:
        return {}
    manifest = bundle.manifest.model_dump(mode="json")
    said = {"version": bundle.version, "bundle_sha256": bundle.sha256, "generation": bundle.generation}
    scores = bundle.folder / SCORES_FILE
    return manifest | said | {"scores": read_json(scores) if scores.is_file() else None}
