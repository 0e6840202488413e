from pathlib import Path

import pytest

from legalqa.problems import UserError
from legalqa.training import machine
from legalqa.training.machine import detect, multiplies_int8


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with three cores and no GPU that can't multiply bf16; nothing in the environment."""
    for name in ("LEGALQA_PROCESSES", "LEGALQA_HOSTS", "LEGALQA_HOST_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(machine, "_gpus", lambda: 0)
    monkeypatch.setattr(machine, "CPU_BF16", {"no such flag"})


def test_one_pinned_thread_a_process() -> None:
    found = detect("auto", 16)
    assert (found.device, found.processes, found.threads, found.precision, found.world) == ("cpu", 3, 1, "fp32", 3)


def test_no_process_without_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    assert detect("auto", 1).layout == {"device": "cpu", "processes": 1, "threads": 3, "precision": "fp32"}
    monkeypatch.setenv("LEGALQA_PROCESSES", "2")
    assert (detect("auto", 16).processes, detect("auto", 16).threads) == (2, 1)


def test_bf16_is_taken_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"train.precision: bf16, which this processor can't multiply; .*set precision: auto"):
        detect("bf16", 16)
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("no /proc/cpuinfo")
    monkeypatch.setattr(machine, "CPU_BF16", {flags.read_text(encoding="utf-8").split()[0]})
    assert detect("auto", 16).precision == detect("bf16", 16).precision == "bf16"
    assert detect("fp32", 16).precision == "fp32"


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni"])
def test_integer_products_are_those_of_a_processor_with_vnni(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx2", flag})
    assert multiplies_int8("cpu") and not multiplies_int8("cuda")
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx2", "avx512f", "asimddp"})
    assert not multiplies_int8("cpu")


def test_several_hosts_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOSTS": "2", "HOST_RANK": "1"}.items():
        monkeypatch.setenv(f"LEGALQA_{name}", value)
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29501")
    found = detect("auto", 16)
    assert (found.world, found.host_rank, found.address, found.port) == (6, 1, "10.0.0.1", 29501)
    monkeypatch.setenv("LEGALQA_HOSTS", "two")
    with pytest.raises(UserError, match="environment variable LEGALQA_HOSTS: 'two'; expected a whole number"):
        detect("auto", 16)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_gpus", lambda: 2)
    monkeypatch.setattr(machine, "_precision", lambda *_: "bf16")
    assert (detect("auto", 16).device, detect("auto", 16).processes) == ("cuda", 2)
    monkeypatch.setenv("LEGALQA_PROCESSES", "4")
    with pytest.raises(UserError, match="LEGALQA_PROCESSES: 4; expected at most 2, one a GPU"):
        detect("auto", 16)
