"""The stage as DVC runs it: torchrun, DeepSpeed, an MLflow run, a folder that later stages can use."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from legalqa.prompt import Prompt
from legalqa.records import write_jsonl
from legalqa.training.lora import load_adapted
from tests.legalqa.training.conftest import conversations
from tests.tiny import tiny_model

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = "models/adapter/adapter_model.safetensors"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def make_project(tmp_path: Path, epochs: int = 8) -> Path:
    """A project folder with a tiny base, splits, and params of a short training: six steps an epoch."""
    tiny_model(tmp_path / "models/base")
    write_jsonl(tmp_path / "data/splits/train.jsonl", conversations(24))
    write_jsonl(tmp_path / "data/splits/dev.jsonl", conversations(5))
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for old, new in {
        "max_length: 512": "max_length: 64",
        "epochs: 1.5": f"epochs: {epochs}",
        "learning_rate: 4e-4": "learning_rate: 5e-3",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text.replace("batch: 16", "batch: 4"), encoding="utf-8")
    return tmp_path


def start(project: Path, prefix: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "LEGALQA_PROCESSES")}
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "stages.train"],
        cwd=project,
        env={**clean, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(project), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def folder(project: Path) -> Path:
    [found] = (project / ".cache/checkpoints").iterdir()
    return found


def wait_for_step(project: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        logs = list((project / ".cache/checkpoints").glob("*/log.jsonl"))
        if logs and f'"step": {step},' in logs[0].read_text(encoding="utf-8"):
            return
        time.sleep(0.05)
    raise AssertionError(f"step {step} was never reached")


def runs(project: Path) -> list[tuple[str, str]]:
    """Status of each MLflow run, with its train_key."""
    query = "select status, value from runs join tags using (run_uuid) where key = 'train_key' order by start_time"
    with sqlite3.connect(project / "mlflow.db") as database:
        return database.execute(query).fetchall()


def survivors(project: Path) -> list[str]:
    """Command lines of processes that still work in the project's checkpoint folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder(project)) in line:
            found.append(line)
    return found


def test_killed_stopped_and_run_again(project: Path) -> None:
    first = start(project)
    wait_for_step(project, 14)
    first.kill()  # the stage alone, as the out-of-memory killer would
    first.communicate()
    deadline = time.monotonic() + 30
    while survivors(project) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert survivors(project) == []
    assert not (project / "models/adapter").exists()

    second = start(project)
    wait_for_step(project, 26)
    second.send_signal(signal.SIGTERM)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 128 + signal.SIGTERM
    assert "goes on from checkpoint-12" in said
    assert "ending after this step, with a checkpoint" in said
    assert survivors(project) == []

    third = start(project)
    said, _ = third.communicate(timeout=300)
    assert third.returncode == 0, said
    assert "goes on from checkpoint-2" in said
    assert "Traceback" not in said and "Warning" not in said
    adapter = project / "models/adapter"
    names = {path.name for path in adapter.iterdir()}
    assert names >= {"adapter_model.safetensors", "adapter_config.json", "prompt.json", "tokenizer.json", "training.json"}
    facts = json.loads((adapter / "training.json").read_text(encoding="utf-8"))
    assert facts["train_key"] == folder(project).name
    assert facts["steps"] == 48 and facts["dev_loss"] < facts["dev_loss_before"] - 1
    assert str(project) not in (adapter / "training.json").read_text() + (adapter / "adapter_config.json").read_text()
    assert Prompt.load(adapter).name == "chatml"
    load_adapted(project / "models/base", adapter)
    table = (project / "reports/train/loss.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "step,epoch,loss,dev_loss,dev_accuracy,grad_norm,learning_rate" and len(table) == 1 + 1 + 48
    assert (project / "reports/train/loss.png").stat().st_size > 10_000
    assert runs(project)[-1] == ("FINISHED", facts["train_key"])
    assert "RUNNING" not in {status for status, _ in runs(project)}


def test_a_diverging_training_fails_with_one_message_and_publishes_nothing(project: Path) -> None:
    shutil.rmtree(project / "models/adapter", ignore_errors=True)
    params = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(params.replace("learning_rate: 5e-3", "learning_rate: 1e+30"), encoding="utf-8")
    process = start(project, LEGALQA_PROCESSES="1")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "train stopped.\ntrain step " in said and "Traceback" not in said
    assert not (project / "models/adapter").exists()
    assert [status for status, _ in runs(project)] == ["FAILED"]


@pytest.fixture
def two_hosts() -> Iterator[list[str]]:
    """Two network namespaces with an address each, joined by a cable: 10.77.0.1 and 10.77.0.2."""
    names = [f"legalqa{os.getpid()}-{number}" for number in (0, 1)]
    cable = [f"lq{os.getpid()}{end}" for end in "ab"]
    commands = [f"ip netns add {name}" for name in names]
    commands.append(f"ip link add {cable[0]} netns {names[0]} type veth peer name {cable[1]} netns {names[1]}")
    for number, (name, end) in enumerate(zip(names, cable, strict=True), start=1):
        commands += [
            f"ip -n {name} addr add 10.77.0.{number}/24 dev {end}",
            f"ip -n {name} link set {end} up",
            f"ip -n {name} link set lo up",
        ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
        yield [f"ip netns exec {name}" for name in names]
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def learned_alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The adapter of two processes on one host."""
    project = make_project(tmp_path_factory.mktemp("alone"), epochs=2)
    said, _ = (alone := start(project, LEGALQA_PROCESSES="2")).communicate(timeout=300)
    assert alone.returncode == 0, said
    return (project / ADAPTER).read_bytes()


def test_two_hosts_learn_what_one_host_learns(tmp_path: Path, two_hosts: list[str], learned_alone: bytes) -> None:
    project = make_project(tmp_path, epochs=2)
    shared = {"LEGALQA_HOSTS": "2", "LEGALQA_PROCESSES": "1", "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29577"}
    hosts = []
    for rank, (prefix, end) in enumerate(zip(two_hosts, "ab", strict=True)):
        card = f"lq{os.getpid()}{end}"
        hosts.append(start(project, prefix.split(), LEGALQA_HOST_RANK=str(rank), GLOO_SOCKET_IFNAME=card, **shared))
    try:
        outputs = [host.communicate(timeout=300)[0] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
            host.communicate()
    assert [host.returncode for host in hosts] == [0, 0], outputs
    assert "host 1 has done its part" in outputs[1]
    assert (project / ADAPTER).read_bytes() == learned_alone


PDSH = """#!{python}
import os, subprocess, sys
hosts, command = sys.argv[sys.argv.index("-w") + 1 :][:2][0].split(","), " ".join(sys.argv[sys.argv.index("-w") + 2 :])
bare = {{"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}}  # as sshd starts a command
runs = [subprocess.Popen(["sh", "-c", command.replace("%n", str(n))], env=bare) for n, host in enumerate(hosts)]
sys.exit(max(run.wait() for run in runs))
"""


def test_deepspeed_starts_the_hosts_of_a_hostfile(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, learned_alone: bytes
) -> None:
    """DeepSpeed's own launcher; pdsh and ssh are stand-ins that run what they are given here."""
    project = make_project(tmp_path, epochs=2)
    tools = tmp_path_factory.mktemp("tools")
    for name, text in {"pdsh": PDSH.format(python=sys.executable), "ssh": '#!/bin/sh\necho "$@" >> "$0.log"\n'}.items():
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    hostfile = tools / "hostfile"
    hostfile.write_text("# two hosts\none slots=1\ntwo slots=1\n", encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    stage = start(project, LEGALQA_HOSTFILE=str(hostfile), MASTER_ADDR="127.0.0.1", MASTER_PORT=port, PATH=path)
    said, _ = stage.communicate(timeout=300)
    assert stage.returncode == 0, said
    assert (project / ADAPTER).read_bytes() == learned_alone
    asked = [line.split()[-2:] for line in (tools / "ssh.log").read_text().splitlines()]
    assert sorted(asked) == [["one", "true"], ["two", "true"]]
