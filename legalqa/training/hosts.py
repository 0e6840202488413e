"""Several hosts from DeepSpeed's hostfile: its own launcher starts the processes on each of them, by pdsh and ssh."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from legalqa.problems import Problem, UserError

HOSTFILE = "LEGALQA_HOSTFILE"  # path of the file; a host a line: NAME slots=PROCESSES
EXPECTED = "a host a line, such as: gpu-1 slots=8"
PORT = 29500  # torch's usual one, where MASTER_PORT names no other
CARDS = ("GLOO_", "NCCL_")  # variables that say which network card to use


def read_hostfile() -> tuple[Path, dict[str, int]] | None:
    """The hostfile that the environment names: its path, and each host with its processes. None when there is none.

    Raises UserError when it is missing, can't be read, or gives hosts different numbers of processes.
    """
    if not (name := os.environ.get(HOSTFILE)):
        return None
    path = Path(name).resolve()
    if not path.is_file():
        raise UserError(Problem(f"{HOSTFILE} ({path})", "no such file", EXPECTED))
    slots = _slots(path)
    if min(slots.values()) < 1 or len(set(slots.values())) > 1:
        found = ", ".join(f"{host} slots={number}" for host, number in slots.items())
        raise UserError(Problem(str(path), found, "the same number of processes on each host, at least 1"))
    if os.environ.get("LEGALQA_HOSTS"):
        fix = f"the stage runs on {next(iter(slots))} alone and starts the others: unset LEGALQA_HOSTS and LEGALQA_HOST_RANK"
        raise UserError(Problem(HOSTFILE, "set together with LEGALQA_HOSTS", "one of them", fix))
    return path, slots


def _slots(hostfile: Path) -> dict[str, int]:
    logging.disable(logging.ERROR)  # it says the same before it raises, and that it found no GPU
    try:
        from deepspeed.launcher.runner import fetch_hostfile

        return dict(fetch_hostfile(str(hostfile)))
    except ValueError as error:
        raise UserError(Problem(str(hostfile), str(error), EXPECTED)) from None
    finally:
        logging.disable(logging.NOTSET)


def check(hostfile: Path) -> None:
    """Raises UserError naming what is missing: pdsh, or every host that ssh can't reach without a password."""
    if not shutil.which("pdsh"):
        fix = "install it (Debian: apt-get install pdsh)"
        raise UserError(Problem("pdsh", "not installed", "the program by which DeepSpeed reaches hosts", fix))
    ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
    asked = {host: subprocess.Popen([*ssh, host, "true"], stderr=subprocess.PIPE, text=True) for host in _slots(hostfile)}
    problems = []
    for host, process in asked.items():
        said = process.communicate()[1].strip()
        if process.returncode:
            found = said or f"ssh ended with exit code {process.returncode}"
            problems.append(Problem(f"host {host}", found, fix="ssh to it must work without a password (ssh-copy-id)"))
    if problems:
        raise UserError(problems, "hosts that can't be reached")


def command(hostfile: Path, processes: int, address: str, port: int) -> list[str]:
    """DeepSpeed's launcher, to be followed by a module and its arguments."""
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", f"--hostfile={hostfile}", f"--num_gpus={processes}"]
    launcher += [f"--master_addr={address}", f"--master_port={port}"]
    return [*launcher, "--no_ssh_check", "--no_local_rank", "--quiet", "--module"]


def environment_file(path: Path, variables: dict[str, str]) -> dict[str, str]:
    """Write down what the other hosts' processes need of our environment; the variable that points DeepSpeed there."""
    cards = {name: value for name, value in os.environ.items() if name.startswith(CARDS)}
    path.write_text("".join(f"{name}={value}\n" for name, value in {**variables, **cards}.items()), encoding="utf-8")
    return {"DS_ENV_FILE": str(path)}
