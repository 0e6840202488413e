"""The base stage: a plain folder with its identity, or a refusal that leaves the earlier one."""

import shutil
from pathlib import Path

import pytest

from legalqa.base.identity import Identity
from legalqa.params import BaseParams
from legalqa.problems import UserError
from stages.base import FOLDER, main
from tests.tiny import tiny_model


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tiny_model(tmp_path / "my model")


def test_local_folder_with_its_identity(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(BaseParams(source="local", path=str(source)))
    identity = Identity.load(FOLDER)
    assert (identity.name, identity.source, identity.architecture) == ("my model", "local", "Qwen2ForCausalLM")
    assert identity.sha256 == Identity.load(source).sha256
    assert "chat format chatml" in capsys.readouterr().out


def test_other_weights_than_pinned_leave_the_earlier_base(source: Path) -> None:
    pinned = Identity.load(source).sha256
    main(BaseParams(source="local", path=str(source), sha256=pinned))
    before = (FOLDER / "model.safetensors").read_bytes()
    tiny_model(source, seed=1)
    with pytest.raises(UserError, match=rf"expected {pinned} \(base.sha256\)"):
        main(BaseParams(source="local", path=str(source), sha256=pinned))
    assert (FOLDER / "model.safetensors").read_bytes() == before
    assert [path.name for path in FOLDER.parent.iterdir()] == ["base"], "nothing half-written stays"


def test_same_bytes_each_time(source: Path) -> None:
    params = BaseParams(source="local", path=str(source), name="mine")
    main(params)
    first = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    shutil.rmtree(FOLDER)
    main(params)
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == first


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"source": "hub", "name": "Qwen/Qwen2.5-0.5B"}, "source hub needs revision"),
        ({"source": "hub", "name": "Qwen/Qwen2.5-0.5B", "revision": "main"}, "should match pattern"),
        ({"source": "local"}, "source local needs path"),
        ({"source": "packaged", "path": "x"}, "source packaged takes no path"),
    ],
)
def test_keys_that_contradict_the_source(values: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BaseParams.model_validate(values)
