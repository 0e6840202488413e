"""From a file to conversations: texts, fates and bytes."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import stages.convert
import stages.split
import stages.validate
from legalqa.files import read_json
from legalqa.params import Columns, DataParams, Params, load_params
from legalqa.problems import UserError
from legalqa.records import Conversation, read_jsonl
from tests.legalqa.data.conftest import lines

SHIPPED = load_params(Path(__file__).resolve().parents[2] / "params.yaml")
Runner = Callable[..., list[Conversation]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Write records to qa.csv, validate and convert them in an empty folder, read the conversations."""
    monkeypatch.chdir(tmp_path)

    def runner(rows: list[tuple[object, ...]] | str, **changes: object) -> list[Conversation]:
        if isinstance(rows, str):
            Path("qa.csv").write_text(rows, encoding="utf-8")
        else:
            pd.DataFrame(rows, columns=["title", "question", "reply", "is_best"]).to_csv("qa.csv", index=False)
        data = DataParams(source="qa.csv")
        lenient = SHIPPED.validate_.model_copy(update={"expectations": SHIPPED.validate_.expectations[-1:]})
        stages.validate.main(data, lenient)
        stages.convert.main(data, _changed(SHIPPED, changes).convert)
        return read_jsonl("data/conversations.jsonl")

    return runner


def _changed(params: Params, changes: dict[str, object]) -> Params:
    tree = params.model_dump(by_alias=True)
    tree["convert"] |= changes
    return Params.model_validate(tree)


def _fates() -> dict[int, str]:
    ledger = pd.read_csv("reports/convert/ledger.csv", keep_default_na=False)
    return dict(zip(ledger["record"], ledger["reason"], strict=True))


def test_every_record_becomes_one_conversation(run: Runner) -> None:
    done = run("\n".join(lines(32)))
    assert [c.records for c in done] == [[number] for number in range(1, 33)]
    assert done[0].question == "甲市公司拖欠工资怎么办？\n已经三个月没有发了。"
    assert done[0].answer == "甲市的情况：先向劳动监察部门投诉，再申请劳动仲裁。"
    assert done[0].area == "labour"


def test_fates_add_up_and_name_their_reason(run: Runner) -> None:
    good = "先保留证据，再向法院起诉。"
    run(
        [
            ("甲怎么办？", "", good, 1),
            ("甲怎么办？", "", good, 0),
            ("甲怎么办？", "", "也可以先调解，再起诉。", 0),
            ("", "", good, 1),
            ("乙怎么办？", "nan", "", 1),
            ("丙怎么办？", "", "可以", 1),
            ("丁怎么办？", "", "加我微信abc_example1免费咨询。", 1),
            ("戊怎么办？", "", "建议咨询当地律师。", 1),
            ("己怎么办？", "", "长" * 5000, 1),
            ("庚怎么办？", "", f"{good}如需帮助请来电咨询。", 1),
            ("辛怎么办？", "", "先\ufffd\ufffd留证据，再\ufffd院起诉。", 1),
        ]
    )
    assert _fates() == {
        1: "",
        2: "duplicate",
        3: "not_chosen",
        4: "empty_prompt",
        5: "empty_reply",
        6: "reply_too_short",
        7: "advertising",
        8: "empty_advice",
        9: "reply_too_long",
        10: "",
        11: "mojibake",
    }
    ledger = read_json("reports/convert/ledger.json")
    assert ledger["read"] == ledger["kept"] + sum(ledger["dropped"].values()) == 11
    assert [c.answer for c in read_jsonl("data/conversations.jsonl")] == [good, good]


def test_several_best_replies_stay_together_and_conflicts_are_told(run: Runner) -> None:
    asked = "定金能退吗？"
    done = run([(asked, "", "可以双倍返还。", 1), (asked, "", "不可以，要看约定。", 1), ("别的怎么办？", "", "可以起诉。", 1)])
    assert (done[0].answer, done[0].references, done[0].records) == ("可以双倍返还。", ["不可以，要看约定。"], [1, 2])
    conflicts = read_json("reports/convert/ledger.json")["conflicts"]
    assert conflicts == {"count": 1, "examples": [{"question": asked, "records": [1, 2]}]}


def test_best_only_leaves_out_all_others(run: Runner) -> None:
    done = run([("甲怎么办？", "", "可以起诉。", 0), ("乙怎么办？", "", "可以仲裁。", 1)], replies="best")
    assert [c.answer for c in done] == ["可以仲裁。"]
    assert _fates()[1] == "not_best"
    with pytest.raises(UserError, match="all 1 records filtered out by is_best"):
        run([("甲怎么办？", "", "可以起诉。", 0)], replies="best")


def test_all_replies_can_train(run: Runner) -> None:
    done = run([("甲怎么办？", "", "可以起诉。", 0), ("甲怎么办？", "", "可以仲裁，也可以调解。", 1)], replies="all")
    assert [c.answer for c in done] == ["可以起诉。", "可以仲裁，也可以调解。"]
    assert done[0].group == done[1].group


def test_boilerplate_under_many_questions_is_dropped(run: Runner) -> None:
    rows = [(f"{word}怎么处理才好？", "", "请保留证据，必要时报警。", 1) for word in "甲乙丙丁戊己"]
    done = run([*rows, ("租房押金不退怎么办？", "", "可以起诉房东。", 1)])
    assert [c.answer for c in done] == ["可以起诉房东。"]
    assert read_json("reports/convert/ledger.json")["dropped"] == {"boilerplate": 6}


def test_sentences_of_thanks_in_many_replies_are_cut_out(run: Runner) -> None:
    rows = [(f"{word}怎么处理才好？", "", f"感谢您的提问。{word}的情况可以起诉。", 1) for word in "甲乙丙丁戊己"]
    done = run([*rows, ("租房押金不退怎么办？", "", "感谢您的提问。", 1)])
    assert [c.answer for c in done] == [f"{word}的情况可以起诉。" for word in "甲乙丙丁戊己"]
    ledger = read_json("reports/convert/ledger.json")
    assert (ledger["rules"]["boilerplate"], ledger["dropped"]) == (7, {"boilerplate": 1})


def test_near_duplicates_share_a_group_and_repeats_are_dropped(run: Runner) -> None:
    asked = "房东不退租房押金，合同已经到期，我应该怎么要回来"
    reply = "保留合同和转账记录，书面催告房东限期退还，仍不退还的可以向房屋所在地法院起诉"
    done = run(
        [
            (f"{asked}？", "", f"{reply}。", 1),
            (f"{asked}呢？", "", f"{reply}吧。", 1),
            (f"{asked}啊？", "", "到租赁合同约定的仲裁机构申请仲裁也可以。", 1),
            (f"{asked}3000元？", "", f"{reply}。", 1),
            ("离婚冷静期有多久？", "", "三十日。", 1),
        ]
    )
    assert _fates() == {1: "", 2: "near_duplicate", 3: "", 4: "", 5: ""}
    assert len({c.group for c in done[:3]}) == 1
    assert done[3].group != done[0].group


def test_personal_data_is_in_no_output(run: Runner, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    secrets = ["13800001234", "lawyer@example.com", "１３９００００１２３４", "110101199003071233"]
    rows = [
        (f"{city}怎么办？", "", f"可以先起诉对方，材料寄给{secret}这里。", 1)
        for city, secret in zip("甲乙丙丁", secrets, strict=True)
    ]
    run([*rows, *[(f"{secret}是谁？", "", "可以先向法院起诉对方。", 1) for secret in secrets]])
    outputs = [path for path in tmp_path.rglob("*") if path.suffix in {".jsonl", ".json", ".csv", ".html", ".md"}]
    said = "".join([*capfd.readouterr(), *(path.read_text(encoding="utf-8") for path in outputs if path.name != "qa.csv")])
    assert len(outputs) > 8
    for secret in [*secrets, "13900001234"]:
        assert secret not in said


def test_same_input_same_bytes_whatever_was_there_before(run: Runner) -> None:
    run("\n".join(lines(32)))
    outputs = ["data/conversations.jsonl", *map(str, sorted(Path("reports").rglob("*.*")))]
    before = {name: Path(name).read_bytes() for name in outputs}
    run("\n".join(lines(32)))
    assert {name: Path(name).read_bytes() for name in outputs} == before


def test_what_was_not_validated_is_refused(run: Runner) -> None:
    run("\n".join(lines(8)))
    before = Path("data/conversations.jsonl").read_bytes()
    Path("qa.csv").write_text("\n".join(lines(9)), encoding="utf-8")
    with pytest.raises(UserError, match="another file or an older one"):
        stages.convert.main(DataParams(source="qa.csv"), SHIPPED.convert)
    assert Path("data/conversations.jsonl").read_bytes() == before


def test_nothing_left_is_said_with_the_reasons(run: Runner) -> None:
    with pytest.raises(UserError, match=r"no conversation is left of 2 records .*empty_advice 2"):
        run([("甲怎么办？", "", "建议咨询当地律师。", 1), ("乙怎么办？", "", "视具体情况而定。", 1)])


@pytest.mark.parametrize("content", ["{cut", "[]", '{"success": true}'])
def test_damaged_summary_is_one_message(run: Runner, content: str) -> None:
    run("\n".join(lines(8)))
    Path("reports/validate/summary.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"summary\.json: is damaged.*dvc repro -f validate"):
        stages.convert.main(DataParams(source="qa.csv"), SHIPPED.convert)


def test_a_set_of_two_columns_goes_through_all_three_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [line.split(",") for line in lines(32)]
    pd.DataFrame([(row[0], row[2]) for row in rows[1:]], columns=["question", "reply"]).to_json("qa.json", orient="records")
    data = DataParams(source="qa.json", columns=Columns(title=None, is_best=None))
    about_two = [
        rule
        for rule in SHIPPED.validate_.expectations
        if rule.arguments().get("column") in ("prompt", "question", "reply") and rule.severity == "critical"
    ]
    stages.validate.main(data, SHIPPED.validate_.model_copy(update={"expectations": about_two}))
    stages.convert.main(data, SHIPPED.convert)
    assert len(read_jsonl("data/conversations.jsonl")) == 32
    assert pd.read_csv("reports/convert/ledger.csv")["line"].isna().all()
    loose = SHIPPED.split.model_copy(update={"leak_threshold": 1.0})
    stages.split.main(loose)
    names = [f"data/splits/{name}.jsonl" for name in ("train", "dev", "test")]
    first = {name: Path(name).read_bytes() for name in names}
    assert sum(text.count(b"\n") for text in first.values()) == 32
    stages.split.main(loose)
    assert {name: Path(name).read_bytes() for name in names} == first
