"""deploy/ against the program: what it names must exist here."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from serving.settings import Settings
from tests.serving.conftest import Running

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def documents(name: str) -> list[Any]:
    return list(YAML(typ="safe").load_all((DEPLOY / name).read_text(encoding="utf-8")))


def test_alerts_watch_metrics_that_exist_and_labels_that_they_have(running: Running) -> None:
    telemetry = running.service.gateway.telemetry
    telemetry.answered("tuned", "", "stop", 1, 0.1)
    shown = telemetry.text().decode()
    (alerts,) = documents("alerts.yaml")
    for rule in alerts["groups"][0]["rules"]:
        names = set(re.findall(r"legalqa_[a-z_]+", rule["expr"]))
        assert names and all(re.search(rf"^{name}(\{{| )", shown, re.MULTILINE) for name in names), rule["alert"]
        for label in re.findall(r"\{(\w+)[!=]", rule["expr"]):
            assert f'{label}="' in shown


def test_variables_ports_and_probes_are_the_services_own() -> None:
    (compose,) = documents("compose.yaml")
    service = compose["services"]["legalqa"]
    deployment, exposed = documents("kubernetes.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = [*service["environment"], *(one["name"] for one in container["env"])]
    own = {name for name in variables if name != "NUMBA_CACHE_DIR"}  # a library's
    assert {name.removeprefix("LEGALQA_").lower() for name in own} <= set(Settings.model_fields)
    assert service["command"] == container["args"] == ["--timeout-keep-alive", "75"]
    assert "/readyz" in service["healthcheck"]["test"][-1] and container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert exposed["spec"]["ports"][0]["targetPort"] == container["ports"][0]["containerPort"] == 3000
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert all(str(Path(one["value"]).parent) in mounted for one in container["env"] if one["value"].startswith("/"))


def test_prometheus_reads_the_rules_and_the_services_port() -> None:
    (prometheus,) = documents("prometheus.yaml")
    assert [(DEPLOY / name).is_file() for name in prometheus["rule_files"]] == [True]
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["legalqa:3000"]
