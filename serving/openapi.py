"""The service's own OpenAPI document, made from the very models that check the bodies."""

from typing import Any

from pydantic.json_schema import models_json_schema

from serving.bodies import AskBody, ChatBody
from serving.bulk import BulkBody
from serving.routes import BreakerBody, ModeBody

_TEXT = {"200": {"description": "done"}}
_ERRORS = {
    "400": "the body can't be answered",
    "401": "a valid API key is needed",
    "403": "the key lacks a scope",
    "404": "no such model",
    "408": "the body did not come in time",
    "413": "the body is over 64 KiB",
    "429": "over a limit; see Retry-After",
    "503": "no answer of the wanted kind now; see Retry-After",
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    names, definitions = models_json_schema(
        [(model, "validation") for model in (ChatBody, AskBody, ModeBody, BreakerBody, BulkBody)],
        ref_template="#/components/schemas/{model}",
    )
    del names
    key: list[dict[str, list[str]]] = [{"key": []}, {}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "legalqa", "version": "1"},
        "paths": {
            "/v1/chat/completions": {"post": _answer("OpenAI's chat completions", _ref("ChatBody"), key)},
            "/ask": {"post": _answer("One question", _ref("AskBody"), key)},
            "/bulk": {"post": _answer("Many questions; a result or an error an item", _ref("BulkBody"), key)},
            "/v1/models": {"get": {"summary": "What can be asked", "responses": _TEXT}},
            "/info": {"get": {"summary": "What is served", "responses": _TEXT}},
            "/readyz": {"get": {"summary": "Whether something true can be answered", "responses": _responses("503")}},
            "/healthz/engine": {"get": {"summary": "Whether the model makes progress", "responses": _responses("503")}},
            "/metrics": {"get": {"summary": "Prometheus", "responses": _TEXT}},
            "/admin/breaker": {
                "put": {
                    "summary": "Set the breaker by hand",
                    "security": [{"key": []}],
                    "requestBody": _body(_ref("BreakerBody")),
                    "responses": _responses("400", "401", "403", "408", "413", "429"),
                },
            },
            "/admin/mode": {
                "get": {"summary": "The switch", "security": [{"key": []}], "responses": _responses("401", "403", "429")},
                "put": {
                    "summary": "Set the switch",
                    "security": [{"key": []}],
                    "requestBody": _body(_ref("ModeBody")),
                    "responses": _responses("400", "401", "403", "408", "413", "429"),
                },
            },
        },
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _answer(summary: str, schema: dict[str, Any], security: list[dict[str, list[str]]]) -> dict[str, Any]:
    return {"summary": summary, "security": security, "requestBody": _body(schema), "responses": _responses(*_ERRORS)}


def _responses(*codes: str) -> dict[str, Any]:
    return _TEXT | {code: {"description": _ERRORS[code]} for code in codes}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
