"""The external API arm: an OpenAI-compatible endpoint named in the environment, or nothing.

Questions leave the machine only when LEGALQA_API_URL is set and an arm of params.yaml asks for it.
"""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from legalqa.engine.openai_engine import OpenAIEngine
from legalqa.prompt import Prompt

RETRIES = 4


class ApiSettings(BaseSettings):
    """LEGALQA_API_URL, LEGALQA_API_MODEL, LEGALQA_API_KEY, from the environment or .env."""

    model_config = SettingsConfigDict(env_prefix="LEGALQA_API_", env_file=".env", extra="ignore", frozen=True)

    url: str = ""
    model: str = ""
    key: SecretStr = SecretStr("")


def external_engine(prompt: Prompt, max_batch: int) -> OpenAIEngine | None:
    """The engine behind the arm `api`, not started yet; None when the environment names no endpoint."""
    settings = ApiSettings()
    if not settings.url:
        return None
    key = settings.key.get_secret_value()
    return OpenAIEngine(settings.url, settings.model, prompt, key, max_batch=max_batch, retries=RETRIES)
