"""One message with every problem: line, key, what was found, the nearest valid name."""

from pathlib import Path

import pytest

from legalqa.params import Params, check_source, load_params
from legalqa.problems import UserError

SHIPPED = Path(__file__).resolve().parents[2] / "params.yaml"


def _edited(folder: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text(encoding="utf-8")
    assert old in text
    path = folder / "params.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def _message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_params(path)
    return str(caught.value)


def test_shipped_file_is_valid() -> None:
    assert isinstance(load_params(SHIPPED), Params)


def test_unknown_key_names_line_and_nearest(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  encoding: auto", "  encodign: auto")
    line = (
        path.read_text(encoding="utf-8")
        .splitlines()
        .index(next(line for line in path.read_text(encoding="utf-8").splitlines() if "encodign" in line))
    )
    message = _message(path)
    assert f"line {line + 1}: data.encodign" in message
    assert "did you mean encoding?" in message


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  encoding: auto", "  encodign: auto\n  delimiter: 7\n  delimitr: x")
    text = path.read_text(encoding="utf-8").replace("  delimiter: auto ", "  delimiter2: auto ", 1)
    path.write_text(text, encoding="utf-8")
    message = _message(path)
    for key in ("data.encodign", "data.delimiter:", "data.delimitr", "data.delimiter2"):
        assert key in message


def test_yaml_1_2_numbers_and_strings(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  train: 0.8 ", "  train: 8e-1 ")
    assert load_params(path).split.train == 0.8
    path = _edited(tmp_path, "  key: legalqa", "  key: no")
    assert load_params(path).split.key == "no"


def test_number_as_text_is_refused(tmp_path: Path) -> None:
    message = _message(_edited(tmp_path, "  train: 0.8 ", '  train: "0.8" '))
    assert "split.train" in message
    assert "'0.8'" in message


def test_shares_that_do_not_add_up(tmp_path: Path) -> None:
    message = _message(_edited(tmp_path, "  test: 0.1", "  test: 0.4"))
    assert "split" in message
    assert "must be 1, found 1.3" in message


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("  zero: 2 ", "  zero: 3 ", "int8 can't be combined with zero: 3, which cuts weights apart"),
        ("    dora: false", "    dora: true", "int8 can't be combined with lora.dora, which needs the weights themselves"),
    ],
)
def test_int8_where_it_can_not_be(tmp_path: Path, old: str, new: str, found: str) -> None:
    path = _edited(tmp_path, old, new)
    path.write_text(path.read_text(encoding="utf-8").replace("  quantise: none", "  quantise: int8", 1), encoding="utf-8")
    assert found in _message(path)


def test_missing_block_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("data:\n  source: a.csv\n", encoding="utf-8")
    message = _message(path)
    assert "train: missing key" in message
    assert "evaluate: missing key" in message


def test_file_that_is_not_yaml(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("data: [1, 2\nsplit: {", encoding="utf-8")
    assert "params.yaml line" in _message(path)


def test_missing_file_is_said(tmp_path: Path) -> None:
    assert "params.yaml" in _message(tmp_path / "params.yaml")


def test_missing_raw_file_is_said_with_what_to_do(tmp_path: Path) -> None:
    params = load_params(_edited(tmp_path, "data/sample/legal_qa.csv", "data/nowhere.csv"))
    with pytest.raises(UserError, match=r"data\.source: data/nowhere\.csv: there is no such file; -> put the file there"):
        check_source(params)
