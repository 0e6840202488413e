"""What differs from machine to machine: secrets, hosts and paths, from the environment or .env (see .env.example)."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.switch import Mode


class Endpoint(BaseModel):
    """Another OpenAI-compatible server that may answer when the served model can't."""

    url: str
    model: str
    api_key: SecretStr = SecretStr("")
    max_concurrent: int = Field(8, gt=0)


class Settings(BaseSettings):
    """Variables begin with LEGALQA_; LEGALQA_ENDPOINTS is JSON."""

    model_config = SettingsConfigDict(env_prefix="LEGALQA_", env_file=".env", extra="ignore", frozen=True)

    params: Path = Path("params.yaml")
    bundle: Path | None = None
    knowledge: Path = Path("models/knowledge")
    engine: Literal["transformers", "openai"] = "transformers"
    engine_url: str = ""
    upstream: Endpoint | None = None
    weights: Literal["bf16", "int8"] | None = None
    endpoints: list[Endpoint] = []
    passages_url: str = ""
    keys: Path | None = None
    open: bool = False
    admin_token: SecretStr | None = None
    mode: Mode = "auto"
    switch: Path | None = None
    audit_log: Path | None = None
    redis_url: str = ""
