"""deploy/ against the program: what it names must exist here."""

import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from serving.settings import Settings
from tests.serving.conftest import Running

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def documents(name: str) -> list[Any]:
    return list(YAML(typ="safe").load_all((DEPLOY / name).read_text(encoding="utf-8")))


def test_alerts_and_dashboard_watch_metrics_that_exist_and_labels_that_they_have(running: Running) -> None:
    telemetry = running.service.gateway.telemetry
    telemetry.answered("tuned", "", "stop", 1, 0.1)
    telemetry.limited("requests")
    telemetry.refused("draining")
    telemetry.deadline_missed("answer")
    shown = telemetry.text().decode()
    (alerts,) = documents("alerts.yaml")
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    watched = [rule["expr"] for rule in alerts["groups"][0]["rules"]]
    watched += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in watched:
        names = set(re.findall(r"legalqa_[a-z0-9_]+", expression))
        assert names and all(re.search(rf"^{name}(\{{| )", shown, re.MULTILINE) for name in names), expression
        labels = re.findall(r"\{(\w+)[!=]", expression)
        labels += [label for group in re.findall(r"by \(([\w, ]+)\)", expression) for label in group.split(", ")]
        assert all(re.search(rf'^{next(iter(names))}\{{.*\b{label}="', shown, re.MULTILINE) for label in labels), expression


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
