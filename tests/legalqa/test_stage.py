"""One message and a truthful exit code for whatever a user, a disk, a server or a damaged file causes."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from bentoml.exceptions import BentoMLException
from mlflow.exceptions import MlflowException
from safetensors import safe_open
from sqlalchemy.exc import OperationalError

from legalqa.problems import Problem, UserError
from legalqa.stage import NO_READER, STOPPED, stage


@pytest.fixture(autouse=True)
def own_filters() -> object:
    with warnings.catch_warnings():
        yield


def stopped(error: BaseException) -> str:
    with pytest.raises(SystemExit) as caught, stage("train"):
        raise error
    assert isinstance(caught.value.code, str)  # printed to stderr, exit code 1
    assert "Traceback" not in caught.value.code
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError(Problem("params.yaml line 3", "unknown key", fix="remove it")), "params.yaml line 3"),
        (OSError(28, "No space left on device", "models/adapter"), "models/adapter: No space left on device"),
        (MemoryError(), "make plan"),
        (MlflowException("API request failed"), "MLFLOW_TRACKING_URI"),
        (OperationalError("INSERT", {}, Exception("database is locked")), "MLFLOW_TRACKING_URI"),
        (BentoMLException("store is odd"), "BENTOML_HOME"),
    ],
)
def test_one_message(error: Exception, said: str) -> None:
    message = stopped(error)
    assert message.startswith("\ntrain stopped.\n")
    assert said in message


def test_a_damaged_weights_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(SystemExit, match="dvc repro -f base"), stage("base"), safe_open(path, "pt"):
        pass


def test_ctrl_c_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, stage("train"):
        raise KeyboardInterrupt
    assert caught.value.code == STOPPED
    assert "stopped by Ctrl-C" in capsys.readouterr().err


def test_an_error_in_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), stage("train"):
        raise ZeroDivisionError


def test_a_good_end_says_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with stage("train"):
        pass
    assert capsys.readouterr().out.startswith("train: done in 0.")


def test_a_reader_that_has_gone_is_no_error_of_the_system() -> None:
    code = "from legalqa.stage import stage\nwith stage('plan'):\n    input()\n    print('x' * 100_000, flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, said = process.communicate("\n")
    assert process.returncode == NO_READER
    assert said == "plan stopped: nobody reads its output any more\n"
