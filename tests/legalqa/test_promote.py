"""Champions come and go; registry, store and history agree about them."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import bentoml
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models import ModelStore

from legalqa import promote, store
from legalqa.bundle import ITEMS_FILE, Bundle
from legalqa.files import write_json, write_text
from legalqa.params import load_params
from legalqa.problems import UserError
from legalqa.tracking import train_run
from legalqa.tracking.registry import Registry
from legalqa.tracking.store import connect, find_runs
from stages import package
from tests.packed import TRAIN_KEY, packable, write_scores

ROOT = Path(__file__).resolve().parents[2]
BASE = [10.0, 20.0, 30.0, 30.0]
GOOD, BETTER, WORSE = [30.0, 40.0, 50.0, 60.0], [40.0, 50.0, 60.0, 70.0], [1.0, 1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packable")
    packable(folder)
    return folder


@pytest.fixture
def ready(project: Path, template: Path) -> Iterator[Path]:
    """A project with a finished run, a store and params of its own."""
    shutil.copytree(template, project, dirs_exist_ok=True)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    write_text("params.yaml", params.replace("data/sample/legal_qa.csv", "data/raw.csv"))
    (project / "bento/models").mkdir(parents=True)
    BentoMLContainer.model_store.set(ModelStore(project / "bento/models"))
    with train_run(TRAIN_KEY, {"lora": {"r": 8}}):
        pass
    yield project
    BentoMLContainer.model_store.reset()


def packed(scores: list[float]) -> str:
    """Package a model with these scores; returns the bundle's version."""
    write_scores(Path.cwd(), scores, BASE)
    return packed_as_it_is()


def packed_as_it_is() -> str:
    params = load_params()
    package.main(params.data, params.train, params.evaluate, params.winner, params.package)
    return Bundle.open("models/bundle").version


def served() -> str:
    bundle = store.champion()
    assert bundle
    assert Bundle.open(bundle.folder).version == bundle.version
    return bundle.version


def forget_the_run() -> None:
    client, experiment = connect()
    for run in find_runs(client, experiment, TRAIN_KEY):
        client.delete_run(run.info.run_id)


def refused() -> None:
    with pytest.raises(SystemExit) as stopped:
        promote.promote()
    assert stopped.value.code == promote.NOT_THE_WINNER


def test_first_champion_is_registered_and_served(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = packed(GOOD)
    promote.promote()
    champion = Registry().champion()
    assert champion
    assert champion.bundle == version == served()
    assert champion.tags["promoted_why"].startswith("the first champion")
    assert champion.tags["promoted_by"]
    assert Registry().run(champion.run_id).data.tags["train_key"] == TRAIN_KEY
    assert f"promoted: version 1, bundle {version}" in capsys.readouterr().out


def test_weights_are_linked_into_the_store_and_kept_out_of_the_registry(ready: Path) -> None:
    packed(GOOD)
    promote.promote()
    bundle = store.champion()
    assert bundle
    assert (bundle.base / "model.safetensors").samefile("models/base/model.safetensors")
    assert not list((ready / "mlartifacts").rglob("model.safetensors"))
    assert list((ready / "mlartifacts").rglob("bundle/manifest.json"))


def test_worse_than_its_base_is_refused(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(WORSE)
    refused()
    assert "not promoted: clearly worse than its base" in capsys.readouterr().out
    assert Registry().champion() is None
    assert store.champion() is None


def test_the_same_bundle_again_is_no_new_champion(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(GOOD)
    promote.promote()
    promote.promote()
    assert "already champion: version 1" in capsys.readouterr().out
    assert len(Registry().history()) == 1


def test_a_lost_store_is_mended_by_promoting_again(ready: Path) -> None:
    version = packed(GOOD)
    promote.promote()
    shutil.rmtree(ready / "bento/models")
    (ready / "bento/models").mkdir()
    promote.promote()
    assert served() == version


def test_a_damaged_store_is_mended_by_promoting_again(ready: Path) -> None:
    version = packed(GOOD)
    promote.promote()
    (ready / f"bento/models/legalqa/{version}/README.md").unlink()
    promote.promote()
    assert served() == version


def test_better_one_takes_over_and_rollback_gives_back(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = packed(GOOD)
    promote.promote()
    new = packed(BETTER)
    promote.promote()
    assert served() == new
    promote.rollback()
    assert served() == old
    promote.rollback()
    assert served() == new
    capsys.readouterr()
    promote.champions()
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in said[:-1]] == ["promote", "promote", "rollback", "rollback"]
    assert "clearly better than the champion: +10.00" in said[1]
    assert said[-1] == f"champion: version 2, bundle {new}"


def test_no_better_than_the_champion_is_refused_with_the_table(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    champion = packed(BETTER)
    promote.promote()
    packed(GOOD)
    refused()
    said = capsys.readouterr().out
    assert f"of champion {champion}" in said
    assert "-10.00 [-10.00, -10.00]  4 questions" in said
    assert served() == champion


@pytest.mark.parametrize(("tuned", "wins"), [(9.0, True), (1.0, False)])
def test_other_test_questions_let_the_base_decide(
    ready: Path, capsys: pytest.CaptureFixture[str], tuned: float, wins: bool
) -> None:
    old = packed(BETTER)
    promote.promote()
    other = {arm: {"rouge_l_char": {"another": value}} for arm, value in (("tuned", tuned), ("base", 1.0))}
    write_json("reports/evaluate/items.json", other)
    new = packed_as_it_is()
    if wins:
        promote.promote()
    else:
        refused()
    said = capsys.readouterr().out
    assert f"champion {old} was scored on other test questions" in said
    assert "first champion" not in said.partition("other test questions")[2]
    assert ("clearly better than base: +8.00" if wins else "its gain over base is not clear of 0") in said
    assert served() == (new if wins else old)


def test_what_is_read_again_is_registered_whatever_its_size(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"{number} {'问' * 40}": float(number % 7) for number in range(50_000)}
    write_json(
        "reports/evaluate/items.json",
        {
            "tuned": {"rouge_l_char": {question: score + 5 for question, score in many.items()}},
            "base": {"rouge_l_char": many},
        },
    )
    packed_as_it_is()
    assert (ready / "models/bundle" / ITEMS_FILE).stat().st_size > 2 * promote.LARGEST_COPY
    promote.promote()
    champion = Registry().champion()
    assert champion
    assert len(Registry().read(champion, ITEMS_FILE)["tuned"]["rouge_l_char"]) == 50_000
    packed(BETTER)  # 4 questions, none of them among the 50,000
    promote.promote()
    assert len(Registry().history()) == 2


def test_a_crown_that_fails_leaves_the_old_champion_to_serve(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = packed(GOOD)
    promote.promote()
    packed(BETTER)

    def full(new: Path, old: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "swap", full)
    with pytest.raises(OSError, match="No space left"):
        promote.promote()
    assert served() == old
    champion = Registry().champion()
    assert champion
    assert champion.bundle == old
    assert [path.name for path in (ready / "bento").iterdir()] == ["models"]


def test_there_is_a_champion_whenever_somebody_looks(ready: Path) -> None:
    versions = [packed(GOOD)]
    promote.promote()
    versions.append(packed(BETTER))
    promote.promote()
    place, seen, ended = ready / "bento/models/legalqa/champion/manifest.json", 0, threading.Event()

    def crowns() -> None:
        for number in range(60):
            store.crown(versions[number % 2])
        ended.set()

    changes = threading.Thread(target=crowns)
    changes.start()
    try:
        while not ended.is_set():
            assert place.is_file()
            seen += 1
    finally:
        changes.join()
    assert seen > 60
    assert {str(model.tag) for model in bentoml.models.list("legalqa")} == {
        "legalqa:champion",
        *(f"legalqa:{version}" for version in versions),
    }


def test_only_a_finished_training_becomes_champion(ready: Path) -> None:
    packed(GOOD)
    forget_the_run()
    with pytest.raises(KeyboardInterrupt), train_run(TRAIN_KEY, {}):
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="is KILLED"):
        promote.promote()
    assert store.champion() is None


def test_training_from_the_cache_can_become_champion(ready: Path) -> None:
    packed(GOOD)
    forget_the_run()
    promote.promote()
    assert Registry().champion()


def test_rollback_needs_a_previous_champion(ready: Path) -> None:
    with pytest.raises(UserError, match="no previous champion"):
        promote.rollback()


def test_rollback_to_a_lost_bundle_changes_nothing(ready: Path) -> None:
    old = packed(GOOD)
    promote.promote()
    new = packed(BETTER)
    promote.promote()
    shutil.rmtree(ready / f"bento/models/legalqa/{old}")
    with pytest.raises(UserError, match=f"legalqa:{old}: not in the BentoML store"):
        promote.rollback()
    champion = Registry().champion()
    assert champion
    assert champion.bundle == served() == new


def test_unreachable_registry_is_said(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(GOOD)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match="can't be used"):
        promote.promote()


def test_trace_goes_back_to_the_rows(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = packed(GOOD)
    promote.promote()
    capsys.readouterr()
    promote.trace()
    said = capsys.readouterr().out
    for part in (version, TRAIN_KEY, "FINISHED", "data/raw.csv", "as on disk", "record 1", "借款不还怎么办？", "1 more"):
        assert part in said
    promote.trace(everything=True)
    assert "record 4" in capsys.readouterr().out


def test_trace_says_when_the_data_on_disk_are_others(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(GOOD)
    promote.promote()
    write_text("data/splits/test.jsonl", "")
    promote.trace()
    assert "not what is on disk now" in capsys.readouterr().out


def test_trace_after_a_move_names_what_is_missing(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(GOOD)
    promote.promote()
    shutil.rmtree(ready / "mlartifacts")
    with pytest.raises(UserError, match=r"mlartifacts.*bundle/manifest\.json"):
        promote.trace()
