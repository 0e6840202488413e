"""The gate: what may not be served is refused by name; the rest is bundled with its card."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from legalqa import parity
from legalqa.bundle import Bundle
from legalqa.engine import loading
from legalqa.files import read_json, write_json
from legalqa.params import DataParams, Limit, PackageParams, WinnerParams, load_params
from legalqa.problems import UserError
from legalqa.tracking.store import connect, find_runs
from stages import package
from tests.packed import TRAIN_KEY, packable

SHIPPED = load_params(Path(__file__).resolve().parents[2] / "params.yaml")
WINNER = WinnerParams(primary="rouge_l_char")
PACKAGE = PackageParams(licence="apache-2.0", data_licence="invented", parity_prompts=2)


def run(winner: WinnerParams = WINNER) -> Bundle:
    package.main(DataParams(source="data/raw.csv"), SHIPPED.train, SHIPPED.evaluate, winner, PACKAGE)
    return Bundle.open("models/bundle")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packable")
    packable(folder)
    return folder


@pytest.fixture
def ready(project: Path, template: Path) -> Path:
    shutil.copytree(template, project, dirs_exist_ok=True)
    return project


def test_bundle_holds_what_the_stages_made(ready: Path) -> None:
    bundle = run()
    assert {path.name for path in bundle.folder.iterdir()} >= {"base", "adapter", "knowledge", "evaluation", "README.md"}
    assert bundle.manifest.train_key == TRAIN_KEY
    assert set(bundle.manifest.data) == {"raw", "conversations", "splits", "knowledge"}
    assert bundle.generation["temperature"] == 0.0
    agreement = read_json("reports/package/parity.json")
    assert agreement["prompts"] == 2
    assert agreement["same_tokens"] == agreement["same_answers"] == 1
    assert agreement["largest_logit_difference"] < 1e-3 < agreement["adapter_effect"]


def test_card_says_what_it_is_for_and_where_it_comes_from(ready: Path) -> None:
    card = (run().folder / "README.md").read_text(encoding="utf-8")
    front, body = card.split("---\n", 2)[1:]
    for entry in ("language: zh", "license: apache-2.0", "base_model: tiny", "library_name: peft"):
        assert entry in front
    assert "77.7" not in body
    for said in (
        "gives no legal advice",
        "| rouge_l_char | 22.50 | 45.00 | +22.50 [+1.50, +40.00] | better |",
        "| kept | 4 |",
        TRAIN_KEY,
        "invented",
    ):
        assert said in body


def test_run_gets_hashes_and_card(ready: Path) -> None:
    bundle = run()
    client, experiment = connect()
    (found,) = find_runs(client, experiment, TRAIN_KEY)
    assert found.data.tags["bundle"] == bundle.version
    assert found.data.tags["package"] == "accepted"
    assert found.data.tags["sha256.raw"] == bundle.manifest.data["raw"]
    assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"README.md", "parity.json"}


def test_card_tells_the_form_that_is_served(ready: Path) -> None:
    bundle = run()
    card = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert f"merged weights are then kept as {bundle.generation['weights']}" in " ".join(card.split())
    assert "100.00% of the greedy tokens" in card
    assert "unmerged" not in card


def test_a_merge_that_changes_the_model_is_refused_with_numbers(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run().sha256

    real = loading.load_model

    def merged_wrongly(base: Path, adapter: Path | None, _weights: str) -> Any:
        model = real(base, adapter, "fp32")
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.mul_(-30)
        return model

    monkeypatch.setattr(parity, "load_model", merged_wrongly)
    with pytest.raises(UserError) as caught:
        run()
    for said in ("not what was trained", "same_tokens", "at least 0.99", "largest_logit_difference", "at most 0.05"):
        assert said in str(caught.value)
    assert Bundle.open("models/bundle").sha256 == before


def test_repeats_byte_for_byte(ready: Path) -> None:
    assert run().sha256 == run().sha256


def change_tensor(project: Path, part: str, change: Any) -> str:
    path = project / "models/adapter/adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if part in name)
    tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, path)
    return name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensor: tensor[:0], "empty"),
        (lambda tensor: tensor * 0, "all zero"),
        (lambda tensor: tensor / 0, "NaN"),
    ],
    ids=["empty", "zero", "infinite"],
)
def test_doctored_adapter_is_refused_by_file_and_tensor(ready: Path, change: Any, said: str) -> None:
    name = change_tensor(ready, "lora_B", change)
    with pytest.raises(UserError) as caught:
        run()
    assert f"adapter_model.safetensors: {name}: {said}" in str(caught.value)
    assert not (ready / "models/bundle").exists()


def test_adapter_of_other_weights_is_refused(ready: Path) -> None:
    training = read_json("models/adapter/training.json")
    training["base"]["sha256"] = "0" * 64
    write_json("models/adapter/training.json", training)
    with pytest.raises(UserError, match="trained on weights 0000"):
        run()


def test_broken_limits_are_all_named_and_the_old_bundle_stays(ready: Path) -> None:
    before = run().sha256
    limits = [Limit(score="rouge_l_char", min=90.0), Limit(score="rogue", max=1.0)]
    with pytest.raises(UserError) as caught:
        run(WINNER.model_copy(update={"limits": limits}))
    assert "tuned.rouge_l_char: 45; expected at least 90" in str(caught.value)
    assert "no score rogue" in str(caught.value)
    (found,) = find_runs(*connect(), TRAIN_KEY)
    assert found.data.tags["package"].startswith("refused: tuned.rouge_l_char: 45; expected at least 90")
    assert found.data.tags["sha256.raw"]
    assert Bundle.open("models/bundle").sha256 == before


def test_a_slow_model_breaks_a_limit(ready: Path) -> None:
    limit = Limit(score="seconds", max_rise=0.4)
    with pytest.raises(UserError, match=r"tuned\.seconds: 1\.5; expected at most 1\.4"):
        run(WINNER.model_copy(update={"limits": [limit]}))


def test_works_elsewhere_and_tells_nothing_about_this_machine(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    moved = shutil.copytree(run().folder, tmp_path_factory.mktemp("elsewhere") / "bundle")
    shutil.rmtree(ready / "models")
    bundle = Bundle.open(moved)
    assert bundle.prompt.encode("离婚")
    for path in moved.rglob("*"):
        assert not path.is_file() or str(ready).encode() not in path.read_bytes(), path
