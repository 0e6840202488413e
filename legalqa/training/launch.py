"""Starts the training processes, passes their metrics on while they run, and ends every one of them whatever happens.

The launcher holds a lock as long as it lives and each training process waits for it: after a `kill -9` of the launcher the
processes end as well, so that the next run never meets survivors of the last.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from legalqa.problems import Problem, UserError
from legalqa.training import hosts
from legalqa.training.checkpoints import LOCK
from legalqa.training.job import LOG, OUTCOME, STOP, Job, Outcome

ENVIRONMENT = "environment"  # what processes on other hosts need of it
GRACE = 300  # seconds that a step and a save may take after somebody asked to stop
LOCK_PATIENCE = 20  # seconds that the processes of a killed launcher may take to end


def launch(job: Job, report: Callable[[dict[str, float], int], None]) -> Outcome:
    """Run one training to its end. ``report`` gets the metrics of each step as they come.

    Ctrl-C or SIGTERM (as SystemExit) let the processes finish their step and save, then go on upwards; a second one, or the
    end of the grace time, kills them. Raises UserError when the training failed or a process died.
    """
    if job.machine.hostfile and job.machine.hosts > 1:
        hosts.check(job.machine.hostfile)
    job.folder.mkdir(parents=True, exist_ok=True)
    with locked(job.folder / _lock(0)):
        for name in (STOP, OUTCOME):
            (job.folder / name).unlink(missing_ok=True)
        _trim(job.folder / LOG, job.resume or 0)
        job.save()
        with (job.folder / LOG).open(encoding="utf-8") as log:
            log.seek(0, os.SEEK_END)
            code = _run(job, lambda: _pass_on(log, report))
        outcome = Outcome.load(job.folder)
    if outcome is None:
        found = f"a training process died (its launcher ended with exit code {code})"
        fix = (
            "see its last lines above; run again to go on from the last checkpoint (killed for memory? lower train.pack_tokens)"
        )
        raise UserError(Problem("train", found, fix=fix))
    if outcome.status == "failed":
        raise UserError([], outcome.problem)
    return outcome


def join(job: Job) -> None:
    """Lend this host's processes to the training that host 0 runs. Raises UserError when it ended badly."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with locked(job.folder / _lock(job.machine.host_rank)):
        code = _run(job, lambda: None)
    if code:
        raise UserError(Problem("train", f"its launcher ended with exit code {code}", fix="see host 0"))


def wait_for_end_of_launcher(folder: Path) -> None:
    """For a thread of a training process: returns when this host's launcher is dead."""
    if int(os.environ.get("CROSS_RANK", "0")):  # DeepSpeed's launcher started it on another host: no lock is held there
        launcher = os.getppid()
        while os.getppid() == launcher:
            time.sleep(1)
        return
    with (folder / _lock(int(os.environ.get("GROUP_RANK", "0")))).open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)


def _lock(host_rank: int) -> str:
    return f"{LOCK}{host_rank}"


def _run(job: Job, watch: Callable[[], None]) -> int:
    process = subprocess.Popen(_command(job), env=_environment(job), start_new_session=True)
    try:
        while process.poll() is None:
            watch()
            time.sleep(0.2)
    except (KeyboardInterrupt, SystemExit):
        print("\ntrain: ending after this step, with a checkpoint; once more ends at once", file=sys.stderr, flush=True)
        (job.folder / STOP).touch()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        raise
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        watch()
    return process.returncode


def _pass_on(log: IO[str], report: Callable[[dict[str, float], int], None]) -> None:
    while line := log.readline():
        if not line.endswith("\n"):  # half a line: read it again when it is whole
            log.seek(log.tell() - len(line.encode()))
            return
        metrics = json.loads(line)
        report(metrics, int(metrics.pop("step")))


def _trim(log: Path, step: int) -> None:
    """Keep the log's lines up to the checkpoint; the steps after it will be done again."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kept = [line for line in lines if step and line.endswith("}") and json.loads(line)["step"] <= step]
    log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _command(job: Job) -> list[str]:
    machine = job.machine
    worker = ["legalqa.training.worker", str(job.folder)]
    if machine.hostfile:
        return [*hosts.command(machine.hostfile, machine.processes, machine.address, machine.port), *worker]
    place = ["--standalone"]
    if machine.hosts > 1:
        place = [f"--nnodes={machine.hosts}", f"--node-rank={machine.host_rank}"]
        place += [f"--master-addr={machine.address}", f"--master-port={machine.port}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *place, f"--nproc-per-node={machine.processes}"]
    return [*torchrun, "-m", *worker]


def _environment(job: Job) -> dict[str, str]:
    tools = str(Path(sys.executable).parent)  # the venv's own compiler helpers before the system's
    ours = {
        "OMP_NUM_THREADS": str(job.machine.threads),
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",  # kernels of one micro-batch; those of other lengths would only pile up
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")])),
    }
    elsewhere = hosts.environment_file(job.folder / ENVIRONMENT, ours) if job.machine.hostfile else {}
    return {**os.environ, **ours, **elsewhere, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that the training processes wait for. Raises UserError when another launcher holds it."""
    with path.open("w") as stream:
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    found = "the same training is running already"
                    raise UserError(Problem(str(path.parent), found, fix="wait for it, or stop it")) from None
                time.sleep(0.1)
        yield
