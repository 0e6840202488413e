"""Settings from the environment: every problem by its variable, all at once, and no secret repeated."""

from pathlib import Path

import pytest

from legalqa.problems import UserError
from serving.gateway import configuration
from serving.settings import Settings, load_settings

SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # no .env but the test's own
    return tmp_path


def test_values_of_every_kind(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("LEGALQA_MODE=drain\nLEGALQA_WEIGHTS=\n", encoding="utf-8")
    monkeypatch.setenv("LEGALQA_UPSTREAM", '{"url": "http://h/v1", "model": "m", "api_key": "k"}')
    monkeypatch.setenv("LEGALQA_ENDPOINTS", '[{"url": "http://h/v1", "model": "m", "max_concurrent": 2}]')
    settings = load_settings()
    assert (settings.mode, settings.weights, settings.endpoints[0].max_concurrent) == ("drain", None, 2)
    assert settings.upstream and settings.upstream.api_key.get_secret_value() == "k"


@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8"])
def test_every_form_of_weights_that_the_engine_takes(monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    monkeypatch.setenv("LEGALQA_WEIGHTS", weights)
    assert load_settings().weights == weights


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEGALQA_ENDPOINTS", f'[{{"url": "https://h/v1", "model": "m", "api_key": "{SECRET}"'),
        ("LEGALQA_ENDPOINTS", f'[{{"url": "ftp://h/{SECRET}", "model": "m"}}]'),
        ("LEGALQA_AUDIT_LOG", f"nowhere/{SECRET}.jsonl"),
        ("LEGALQA_ENDPOINTS", f'[{{"url": "https://h/v1", "model": "m", "apikey": "{SECRET}"}}]'),
        ("LEGALQA_UPSTREAM", f'"{SECRET}"'),
        ("LEGALQA_MODE", SECRET),
        ("LEGALQA_OPEN", SECRET),
        ("LEGALQA_WEIGHTS", SECRET),
    ],
)
def test_a_bad_value_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        load_settings()
    said = str(error.value)
    assert name in said and SECRET not in said and ".env" in said
    assert error.value.__cause__ is None


def test_a_mistyped_variable_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGALQA_ENDPOINT", "[]")
    monkeypatch.setenv("LEGALQA_API_KEY", SECRET)
    with pytest.raises(UserError, match=r"LEGALQA_ENDPOINT: no such variable; -> did you mean LEGALQA_ENDPOINTS\?") as error:
        load_settings()
    assert len(error.value.problems) == 1


def test_settings_params_and_keys_are_told_together(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    params = (Path(__file__).resolve().parents[2] / "params.yaml").read_text(encoding="utf-8")
    (elsewhere / "params.yaml").write_text(params.replace("  max_batch:", "  max_bach:"), encoding="utf-8")
    monkeypatch.setenv("LEGALQA_MODE", "on")
    with pytest.raises(UserError) as error:
        configuration()
    assert "LEGALQA_MODE" in str(error.value) and "did you mean max_batch?" in str(error.value)
    monkeypatch.delenv("LEGALQA_MODE")
    monkeypatch.setenv("LEGALQA_KEYS", "none.json")
    with pytest.raises(UserError, match=r"(?s)max_bach.*none\.json"):
        configuration()


def test_every_setting_is_shown_in_the_example() -> None:
    example = (Path(__file__).resolve().parents[2] / ".env.example").read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"LEGALQA_{name.upper()}=" not in example]
    assert missing == []
