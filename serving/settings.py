"""What differs from machine to machine: secrets, hosts and paths, from the environment or .env (see .env.example)."""

import difflib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from legalqa.problems import Problem, UserError
from serving.switch import Mode

PREFIX = "LEGALQA_"
# Variables of the pipeline, the tests and the benchmarks, which this service does not read.
OTHERS = ("CACHE", "API_URL", "API_MODEL", "API_KEY", "HOSTS", "HOSTFILE", "HOST_RANK", "PROCESSES", "TEST_ALL", "FUZZ")
EXAMPLES = {
    "upstream": '{"url": "http://host:8000/v1", "model": "name", "api_key": "...", "own_prompts": true}',
    "endpoints": '[{"url": "https://host/v1", "model": "name", "api_key": "...", "max_concurrent": 8}]',
    "keys": "the file that `python -m serving.keys new NAME` writes",
}


def _decoded(value: Any) -> Any:
    """JSON of a variable; what is no JSON is refused without being repeated: it may hold a secret."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except ValueError:
        raise ValueError("is no JSON") from None


def _in_a_folder(file: Path | None) -> Path | None:
    if file and not file.parent.is_dir():
        raise ValueError("its folder does not exist")
    return file


def _address(url: str) -> str:
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("is no address") from None
    return url


class Endpoint(BaseModel):
    """Another OpenAI-compatible server that may answer when the served model can't."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, Field(pattern=r"^https?://\S+$"), AfterValidator(_address)]
    model: str = Field(min_length=1)
    api_key: SecretStr = SecretStr("")
    max_concurrent: int = Field(8, gt=0)

    @property
    def host(self) -> str:
        """Host and port: what of the URL may be shown."""
        return httpx.URL(self.url).netloc.decode()


class Upstream(Endpoint):
    """A server that runs the bundle's model in the engine's place. ``own_prompts``: it gets token ids at /completions, rendered
    as in training; else messages at /chat/completions, which it renders by itself.
    """

    own_prompts: bool = True


class Settings(BaseSettings):
    """Variables begin with LEGALQA_; LEGALQA_ENDPOINTS and LEGALQA_UPSTREAM are JSON."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    params: Path = Path("params.yaml")
    bundle: Path | None = None
    knowledge: Path = Path("models/knowledge")
    engine: Literal["transformers", "static", "openai"] = "transformers"
    engine_url: str = ""
    upstream: Annotated[Upstream | None, NoDecode, BeforeValidator(_decoded)] = None
    weights: Literal["fp32", "bf16", "int8"] | None = None
    adapter: Literal["merged", "beside"] = "merged"
    endpoints: Annotated[list[Endpoint], NoDecode, BeforeValidator(_decoded)] = []
    passages_url: str = ""
    qdrant_url: str = ""
    qdrant_api_key: SecretStr | None = None
    keys: Path | None = None
    open: bool = False
    admin_token: SecretStr | None = None
    mode: Mode = "auto"
    switch: Path | None = None
    audit_log: Annotated[Path | None, AfterValidator(_in_a_folder)] = None
    redis_url: str = ""


def load_settings() -> Settings:
    """The settings, checked. Raises UserError with every problem by its variable, and never repeats a value."""
    problems = [
        Problem(variable, "no such variable", fix=f"did you mean {near[0]}?")
        for variable in sorted(os.environ)
        if variable.startswith(PREFIX) and (near := _near(variable))
    ]
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        problems += map(_problem, error.errors(include_input=False, include_url=False))
    if problems or settings is None:
        raise UserError(problems, f"{len(problems)} problem(s) in the environment or in .env")
    return settings


def _near(variable: str) -> list[str]:
    """The setting that an unknown variable was probably meant to be."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    if variable in known or variable.removeprefix(PREFIX) in OTHERS:
        return []
    return difflib.get_close_matches(variable, known, n=1, cutoff=0.87)


def _problem(detail: Any) -> Problem:
    setting, *inside = detail["loc"] or ("",)
    where = PREFIX + str(setting).upper() + "".join(f"[{part!r}]" for part in inside)
    found = str(detail["msg"]).removeprefix("Value error, ")
    example = EXAMPLES.get(str(setting), "")
    return Problem(where, found, example, "correct it in the environment or in .env (.env.example shows all of them)")
