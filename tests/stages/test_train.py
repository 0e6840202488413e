"""The stage as DVC runs it: torchrun, DeepSpeed, an MLflow run, a folder that later stages can use."""

import json
import os
import shutil
import signal
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
from tests.needs import program
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


CABLE = "cable"  # its end has this name on both hosts
CORES = (sorted(os.sched_getaffinity(0)) * 2)[:2]


@pytest.fixture
def two_hosts() -> Iterator[list[str]]:
    """Two network namespaces with an address each, joined by a cable: 10.77.0.1 and 10.77.0.2. What runs a command on each.

    Each has one core: the last bits of an adapter depend on the threads of a process.
    """
    names = [f"legalqa{os.getpid()}-{number}" for number in (0, 1)]
    commands = [f"ip netns add {name}" for name in names]
    commands.append(f"ip link add {CABLE} netns {names[0]} type veth peer name {CABLE} netns {names[1]}")
    for number, name in enumerate(names, start=1):
        commands += [
            f"ip -n {name} addr add 10.77.0.{number}/24 dev {CABLE}",
            f"ip -n {name} link set {CABLE} up",
            f"ip -n {name} link set lo up",
        ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
        yield [f"ip netns exec {name} taskset -c {core}" for name, core in zip(names, CORES, strict=True)]
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def learned_alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The adapter of two processes on one host."""
    project = make_project(tmp_path_factory.mktemp("alone"), epochs=2)
    pinned = ["taskset", "-c", ",".join(map(str, CORES))]
    said, _ = (alone := start(project, pinned, LEGALQA_PROCESSES="2")).communicate(timeout=300)
    assert alone.returncode == 0, said
    return (project / ADAPTER).read_bytes()


def test_two_hosts_learn_what_one_host_learns(tmp_path: Path, two_hosts: list[str], learned_alone: bytes) -> None:
    project = make_project(tmp_path, epochs=2)
    shared = {"LEGALQA_HOSTS": "2", "LEGALQA_PROCESSES": "1", "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29577"}
    hosts = []
    for rank, prefix in enumerate(two_hosts):
        hosts.append(start(project, prefix.split(), LEGALQA_HOST_RANK=str(rank), GLOO_SOCKET_IFNAME=CABLE, **shared))
    try:
        outputs = [host.communicate(timeout=300)[0] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
            host.communicate()
    assert [host.returncode for host in hosts] == [0, 0], outputs
    assert "host 1 has done its part" in outputs[1]
    assert (project / ADAPTER).read_bytes() == learned_alone


@pytest.fixture
def tools(tmp_path_factory: pytest.TempPathFactory, two_hosts: list[str]) -> Iterator[Path]:
    """An SSH server on both hosts, and a folder with an `ssh` that has the key to them."""
    program("pdsh", package="pdsh")
    server = program("sshd", "/usr/sbin/sshd", package="openssh-server")
    folder = tmp_path_factory.mktemp("tools")
    for name in ("user", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    known = f"{folder}/known_hosts"
    options = f"-F none -i {folder}/user -o UserKnownHostsFile={known} -o StrictHostKeyChecking=accept-new"
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {options} "$@"\n', encoding="utf-8")
    (folder / "ssh").chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)  # it insists on this one
    lines = ["UsePAM no", "StrictModes no", "PidFile none", f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/user.pub"]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n", encoding="utf-8")
    servers = [subprocess.Popen([*prefix.split(), server, "-D", "-f", folder / "sshd_config"]) for prefix in two_hosts]
    try:
        yield folder
    finally:
        for process in servers:
            process.terminate()
            process.wait()


def test_deepspeed_starts_the_hosts_of_a_hostfile(
    tmp_path: Path, two_hosts: list[str], tools: Path, learned_alone: bytes
) -> None:
    """The stage on the first host alone; DeepSpeed's launcher reaches both by pdsh and ssh."""
    project = make_project(tmp_path, epochs=2)
    hostfile = tools / "hostfile"
    hostfile.write_text("# two hosts\n10.77.0.1 slots=1\n10.77.0.2 slots=1\n", encoding="utf-8")
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment = {"LEGALQA_HOSTFILE": str(hostfile), "GLOO_SOCKET_IFNAME": CABLE, "PATH": path}
    said, _ = (stage := start(project, two_hosts[0].split(), **environment)).communicate(timeout=300)
    assert stage.returncode == 0, said
    assert (project / ADAPTER).read_bytes() == learned_alone


def test_a_host_without_a_key_is_named_before_anything_starts(tmp_path: Path, two_hosts: list[str], tools: Path) -> None:
    project = make_project(tmp_path, epochs=2)
    (tools / "hostfile").write_text("10.77.0.1 slots=1\n10.77.0.2 slots=1\n", encoding="utf-8")
    (tools / "user.pub").write_text("", encoding="utf-8")
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    stage = start(project, two_hosts[0].split(), LEGALQA_HOSTFILE=str(tools / "hostfile"), PATH=path)
    said, _ = stage.communicate(timeout=300)
    assert stage.returncode == 1
    for host in ("10.77.0.1", "10.77.0.2"):
        assert f"host {host}: " in said and "Permission denied" in said
    assert "ssh to it must work without a password" in said and "Traceback" not in said
