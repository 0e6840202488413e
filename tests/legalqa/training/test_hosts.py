from pathlib import Path

import pytest

from legalqa.problems import UserError
from legalqa.training import hosts
from legalqa.training.machine import detect


def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    path = tmp_path / "hostfile"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("LEGALQA_HOSTFILE", str(path))
    return path


def test_hosts_and_processes_come_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEGALQA_PROCESSES", raising=False)
    assert detect("fp32", 16).hostfile is None
    path = write(tmp_path, monkeypatch, "# the cluster\n\ngpu-1 slots=2\ngpu-2 slots=2\n")
    machine = detect("fp32", 16)
    assert (machine.hostfile, machine.hosts, machine.processes, machine.world) == (path, 2, 2, 4)
    assert (machine.address, machine.port, machine.host_rank) == ("gpu-1", 29500, 0)
    assert detect("fp32", 2).world == 2  # no process without a sample


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gpu-1 slots=two\n", "bad entry: gpu-1 slots=two"),
        ("gpu-1 slots=2\ngpu-1 slots=2\n", "multiple entries for gpu-1"),
        ("\n", "Hostfile is empty"),
        ("gpu-1 slots=2\ngpu-2 slots=4\n", "gpu-1 slots=2, gpu-2 slots=4; expected the same number"),
        ("gpu-1 slots=0\n", "gpu-1 slots=0; expected the same number of processes on each host, at least 1"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, found: str) -> None:
    write(tmp_path, monkeypatch, text)
    with pytest.raises(UserError, match=found):
        detect("fp32", 16)


def test_a_missing_file_and_two_ways_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGALQA_HOSTFILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match="none\\): no such file; expected a host a line, such as: gpu-1 slots=8"):
        hosts.read_hostfile()
    write(tmp_path, monkeypatch, "gpu-1 slots=1\n")
    monkeypatch.setenv("LEGALQA_HOSTS", "2")
    with pytest.raises(UserError, match="the stage runs on gpu-1 alone and starts the others: unset LEGALQA_HOSTS"):
        hosts.read_hostfile()


def test_all_hosts_out_of_reach_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, monkeypatch, "a slots=1\nb slots=1\nc slots=1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pdsh: not installed"):
        hosts.check(path)
    for name, script in {"pdsh": "", "ssh": 'case "$*" in *b*true) exit 0;; *) echo refused >&2; exit 255;; esac'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(UserError) as error:
        hosts.check(path)
    assert [problem.where for problem in error.value.problems] == ["host a", "host c"]
    assert "refused" in str(error.value) and "without a password" in str(error.value)
