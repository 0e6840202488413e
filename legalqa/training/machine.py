"""What this machine trains with: devices, processes, threads, dtype. Comes from the environment, never from params.yaml."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from legalqa.problems import Problem, UserError
from legalqa.training.hosts import PORT, read_hostfile

CPU_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # flags of x86 and Arm processors that multiply bf16 in hardware
CPU_INT8 = {"avx512_vnni", "avx_vnni"}  # flags of x86 processors that multiply int8 in hardware
PROCESSES = "LEGALQA_PROCESSES"  # overrides the number of processes
MAX_CPU_PROCESSES = 8  # each holds its own activations


class Machine(BaseModel):
    """``processes`` are those of this host, each with ``threads`` threads; ``hosts`` with this one's ``rank`` among them."""

    model_config = ConfigDict(frozen=True)

    device: Literal["cpu", "cuda"]
    processes: int
    threads: int
    precision: Literal["bf16", "fp32"]
    hosts: int = 1
    host_rank: int = 0
    hostfile: Path | None = None
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def world(self) -> int:
        """Processes of all hosts."""
        return self.processes * self.hosts

    @property
    def layout(self) -> dict[str, str | int]:
        """What of it a checkpoint and the bytes of an adapter depend on."""
        return {"device": self.device, "processes": self.world, "threads": self.threads, "precision": self.precision}


def detect(precision: Literal["auto", "bf16", "fp32"], most: int) -> Machine:
    """Read the hardware and the environment: LEGALQA_PROCESSES; for several hosts, whose project folder is shared, either
    LEGALQA_HOSTFILE on the first of them alone, or on each LEGALQA_HOSTS, its own LEGALQA_HOST_RANK, and MASTER_ADDR and
    MASTER_PORT of host 0.

    At most ``most`` processes in all, so that each has a sample in every step. On CPU one pinned thread a process is faster
    than one process with all threads. Raises UserError for a hostfile that can't be used and a dtype that the device has not.
    """
    cores = len(os.sched_getaffinity(0))
    gpus = _gpus()
    hostfile, slots = read_hostfile() or (None, {})
    hosts = len(slots) or _number("LEGALQA_HOSTS") or 1
    processes = _number(PROCESSES) or max(slots.values(), default=0) or gpus or min(cores, MAX_CPU_PROCESSES)
    processes = max(1, min(processes, most // hosts))
    if gpus and processes > gpus:
        raise UserError(Problem(PROCESSES, str(processes), f"at most {gpus}, one a GPU"))
    return Machine(
        device="cuda" if gpus else "cpu",
        processes=processes,
        threads=max(1, cores // processes),
        precision=_precision(precision, gpus),
        hosts=hosts,
        host_rank=_number("LEGALQA_HOST_RANK") or 0,
        hostfile=hostfile,
        address=os.environ.get("MASTER_ADDR") or (next(iter(slots)) if hosts > 1 and slots else "127.0.0.1"),
        port=_number("MASTER_PORT") or (PORT if slots else 0),
    )


def multiplies_int8(device: str) -> bool:
    """Whether integer products are faster there than others; on a processor without VNNI they take 16 times as long as fp32."""
    return device == "cpu" and not CPU_INT8.isdisjoint(cpu_flags())


def cpu_flags() -> set[str]:
    """Words of /proc/cpuinfo, among them what the processor has; none where there is no such file."""
    path = Path("/proc/cpuinfo")
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    if text and not text.isdigit():
        raise UserError(Problem(f"environment variable {name}", repr(text), "a whole number"))
    return int(text) if text else None


def _gpus() -> int:
    if not Path("/dev/nvidiactl").exists():  # no driver: spares the import of torch
        return 0
    import torch

    return torch.cuda.device_count()


def _precision(wanted: Literal["auto", "bf16", "fp32"], gpus: int) -> Literal["bf16", "fp32"]:
    if gpus:
        import torch

        has, device = torch.cuda.is_bf16_supported(including_emulation=False), torch.cuda.get_device_name(0)
    else:
        has, device = not CPU_BF16.isdisjoint(cpu_flags()), "this processor"
    if wanted == "bf16" and not has:
        raise UserError(
            Problem("train.precision", f"bf16, which {device} can't multiply", "auto or fp32", "set precision: auto")
        )
    return "bf16" if has and wanted != "fp32" else "fp32"
