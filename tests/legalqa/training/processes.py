"""Trainings in processes of their own that start fast: forks of a server that has imported torch and DeepSpeed once."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

from legalqa.training import worker
from legalqa.training.job import OUTCOME, Job, Outcome
from legalqa.training.launch import locked

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.legalqa.training.preloaded"])

Trap = Callable[[], None]


def train(job: Job, trap: Trap | None = None, rounds: int = 1) -> Outcome | None:
    """Run a job as the launcher would, but without torchrun; None when a process died. ``trap`` runs first in each process."""
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / OUTCOME).unlink(missing_ok=True)
    job.save()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with locked(job.folder / "lock-0"):
        processes = [
            CONTEXT.Process(target=_process, args=(job.folder, rank, job.machine.world, port, trap))
            for rank in range(job.machine.world)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    return Outcome.load(job.folder) if all(process.exitcode == 0 for process in processes) else None


def _process(folder: Path, rank: int, world: int, port: int, trap: Trap | None) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if trap:
        trap()
    worker.main(folder)
