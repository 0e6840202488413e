"""Every form of file that means the same is read as the same; everything else is refused with its place named."""

import gzip
import io
import json
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from legalqa.data.reading import read_best, read_table
from legalqa.params import Columns, DataParams
from legalqa.problems import UserError
from tests.legalqa.data.conftest import Reader, lines

TEXT = "\n".join(lines()) + "\n"


def _refused(read: Reader, content: str | bytes, **given: object) -> str:
    with pytest.raises(UserError) as caught:
        read(content, **given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode("utf-8"), "utf-8-sig"),
        (TEXT.encode("utf-8-sig"), "utf-8-sig"),
        ('"title"'.encode("utf-8-sig") + TEXT.encode()[5:], "utf-8-sig"),
        (TEXT.encode("gb18030"), "gb18030"),
        (TEXT.encode("gbk"), "gb18030"),
        (TEXT.encode("utf-16"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (TEXT.replace("\n", "\r\n").encode(), "utf-8-sig"),
        (TEXT.rstrip("\n").encode(), "utf-8-sig"),
        (TEXT.replace(",", "\t").encode(), "utf-8-sig"),
        (TEXT.replace(",", ";").encode(), "utf-8-sig"),
    ],
)
def test_same_records_in_every_encoding_and_dialect(read: Reader, content: bytes, encoding: str) -> None:
    table = read(content)
    pd.testing.assert_frame_equal(table.frame, read(TEXT).frame)
    assert table.encoding == encoding


def test_utf8_that_also_decodes_as_gb18030_is_utf8(read: Reader) -> None:
    text = "title,question,reply,is_best\n工资拖欠,拖欠工资,工资拖欠,1\n"
    text.encode("utf-8").decode("gb18030")
    assert read(text).frame.at[1, "reply"] == "工资拖欠"


def test_a_character_outside_gbk_needs_gb18030(read: Reader) -> None:
    assert "㐂" in read(TEXT.replace("公司", "㐂公司").encode("gb18030")).frame.at[1, "title"]


def test_declared_encoding_is_checked_not_forced(read: Reader) -> None:
    assert "byte 29, line 2" in _refused(read, TEXT.encode("gb18030"), encoding="utf-8")
    assert read(TEXT.encode("big5", "ignore"), encoding="big5").encoding == "big5"
    assert "auto or a Python codec" in _refused(read, TEXT, encoding="utf9")


def test_nothing_is_guessed_into_rubbish(read: Reader) -> None:
    broken = TEXT.encode("utf-8")[:60] + b"\xff" + TEXT.encode("utf-8")[60:]
    assert "neither UTF-8 (byte" in _refused(read, broken)
    korean = (
        "title,question,reply,is_best\n" + "임금을 받지 못했습니다,어떻게 해야 합니까,노동청에 신고하십시오,1\n" * 9
    ).encode("cp949")
    assert "characters that nobody writes" in _refused(read, korean)


def test_line_ends_and_quotes_inside_cells(read: Reader) -> None:
    table = read('title,question,reply,is_best\r\n甲,"第一行\r\n第二行，""引用""",回复，有逗号,1\r\n\r\n乙,,"末行",0')
    assert table.frame["question"].tolist()[0] == '第一行\n第二行，"引用"'
    assert table.frame["line"].tolist() == [2, 5]
    assert table.records == 2


def test_lost_quote_names_where_it_opens(read: Reader) -> None:
    rows = lines(20)
    rows[6] = rows[6].replace(",1", "").rsplit(",", 1)[0] + ',"没有收尾的回复,1'
    rows[15] = rows[15] + '"'
    said = _refused(read, "\n".join(rows))
    assert "line 7, record 6: a quote opened here is not closed" in said


def test_lost_quote_whose_swallowed_text_fits_one_field(read: Reader) -> None:
    rows = lines(20)
    rows[6] = '甲问,乙问,"没有收尾的回复,1'
    rows[15] = '甲问,乙问,补上一个引号",1'
    assert "line 7, record 6" in _refused(read, "\n".join(rows))


def test_lost_quote_up_to_the_end_of_the_file(read: Reader) -> None:
    rows = lines(20)
    rows[18] = '甲问,乙问,"没有收尾的回复,1'
    assert "line 19, record 18" in _refused(read, "\n".join(rows))


def test_a_long_quoted_reply_of_many_lines_is_no_lost_quote(read: Reader) -> None:
    reply = "\n".join(f"{number}、保留证据，必要时起诉。" for number in range(1, 40))
    assert read(f'title,question,reply,is_best\n问,,"{reply}",1\n').frame.at[1, "reply"] == reply


def test_ragged_records_are_all_named_or_dropped_and_counted(read: Reader) -> None:
    rows = lines(20)
    rows[3] = "只有,两格"
    rows[9] += ",多,余"
    said = _refused(read, "\n".join(rows))
    assert "line 4, record 3: has 2 fields, the header 4" in said
    assert "line 10, record 9: has 6 fields, the header 4" in said
    table = read("\n".join(rows), bad_records="drop")
    assert [bad.record for bad in table.bad] == [3, 9]
    assert table.records == 20
    assert 3 not in table.frame.index
    assert table.frame.at[4, "title"] == rows[4].split(",")[0]


def test_a_header_in_the_middle_is_named(read: Reader) -> None:
    assert "line 10, record 9: repeats the header" in _refused(read, TEXT + TEXT)
    assert read(TEXT + TEXT, bad_records="drop").frame.index.tolist() == [*range(1, 9), *range(10, 18)]


def test_lines_of_blanks_and_the_end_mark_of_old_editors_are_no_records(read: Reader) -> None:
    table = read(TEXT + "  \n\u3000\n\x1a")
    assert table.records == 8
    pd.testing.assert_frame_equal(table.frame, read(TEXT).frame)


def test_a_field_longer_than_csv_allows_by_default(read: Reader) -> None:
    assert len(read(f"title,question,reply,is_best\n问,,{'长' * 200_000},1\n").frame.at[1, "reply"]) == 200_000


def test_nul_does_not_cut_a_cell(read: Reader) -> None:
    assert read("title,question,reply,is_best\n问,,前\0后,1\n").frame.at[1, "reply"] == "前\0后"


def test_empty_in_any_form_is_null_and_words_stay_words(read: Reader) -> None:
    cells = ["", "  ", "\u3000\u3000", "\u200b\ufeff", "nan", "NaN", "null", "None", "NA", "无", "合同里的NA和null", "0"]
    table = read("title,question,reply,is_best\n" + "".join(f"问,,{cell},1\n" for cell in cells))
    assert table.frame["reply"].isna().tolist() == [True] * 9 + [False] * 3


@pytest.mark.parametrize(
    ("value", "best"),
    [
        *((word, True) for word in ("1", "1.0", " 1 ", "TRUE", "是", "Y", "１")),
        *((word, False) for word in ("0", "0.0", "False", "否", "no")),
        *((word, None) for word in ("2", "-1", "最佳", "nan", "inf", "")),
    ],
)
def test_the_one_reading_of_is_best(value: str, best: bool | None) -> None:
    assert read_best(value) is best


class TestColumns:
    def test_by_name_not_by_place(self, read: Reader) -> None:
        table = read("x,is_best,reply,y,question,title\n1,1,答,2,问,题\n")
        assert table.frame.loc[1, ["title", "question", "reply", "is_best"]].tolist() == ["题", "问", "答", "1"]

    def test_case_and_blanks_are_forgiven_and_said(self, read: Reader) -> None:
        table = read(TEXT.replace("title,question,reply,is_best", " Title,QUESTION,reply ,Is_Best"))
        assert len(table.notes) == 4

    def test_missing_ones_are_listed_with_a_mapping_to_copy(self, read: Reader) -> None:
        said = _refused(read, TEXT.replace("title,question,reply,is_best", "标题,问题,回答,是否最佳"))
        assert "{title: 标题, question: 问题, reply: 回答, is_best: 是否最佳}" in said
        mapped = Columns(title="标题", question="问题", reply="回答", is_best="是否最佳")
        assert read(TEXT.replace("title,question,reply,is_best", "标题,问题,回答,是否最佳"), columns=mapped).records == 8

    def test_doubled_one_is_refused(self, read: Reader) -> None:
        assert "'reply' stands 2 times" in _refused(read, "title,question,reply,reply,is_best\n1,2,3,4,1\n")

    def test_no_header_is_not_eaten(self, read: Reader) -> None:
        assert "no header" in _refused(read, TEXT.split("\n", 1)[1])

    def test_two_columns_are_enough(self, read: Reader) -> None:
        table = read("提问,回答\n怎么办？,这样办。\n", columns=Columns(title=None, question="提问", reply="回答", is_best=None))
        assert table.frame.loc[1, ["question", "reply"]].tolist() == ["怎么办？", "这样办。"]
        assert not table.tells_best


class TestNothingToRead:
    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such file"):
            read_table(DataParams(source=str(tmp_path / "absent.csv")))

    def test_empty_header_only_and_blank(self, read: Reader) -> None:
        assert "0 bytes" in _refused(read, "")
        assert "0 records" in _refused(read, lines()[0])
        assert "only blank lines" in _refused(read, "\n\n \n".replace(" ", ""))

    def test_unknown_type(self, read: Reader) -> None:
        assert "unknown file type '.xlsx'" in _refused(read, TEXT, name="qa.xlsx")

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="is a folder"):
            read_table(DataParams(source=str(tmp_path)))

    @pytest.mark.parametrize(
        ("head", "kind"), [(b"PK\x03\x04", "Excel workbook"), (b"PAR1", "Parquet"), (b"\x1f\x8b", "gzip"), (b"%PDF", "a PDF")]
    )
    def test_other_kinds_of_file_are_told_by_their_first_bytes(self, read: Reader, head: bytes, kind: str) -> None:
        assert kind in _refused(read, head + bytes(range(256)))

    def test_plain_text_named_gz(self, read: Reader) -> None:
        assert "qa.csv.gz: the packed file is damaged" in _refused(read, TEXT, name="qa.csv.gz")

    def test_damaged_gz(self, read: Reader) -> None:
        assert "is damaged" in _refused(read, gzip.compress(TEXT.encode() * 50)[:-20], name="qa.csv.gz")


class TestOtherFormats:
    def test_gz_parquet_jsonl_and_json_hold_the_same(self, read: Reader, tmp_path: Path) -> None:
        expected = read(TEXT).frame.drop(columns="line")
        rows = [dict(zip(lines()[0].split(","), line.split(","), strict=True)) for line in lines()[1:]]
        pd.DataFrame(rows).astype({"is_best": int}).to_parquet(tmp_path / "qa.parquet")
        for content, name in (
            (gzip.compress(TEXT.encode()), "qa.csv.gz"),
            ((tmp_path / "qa.parquet").read_bytes(), "qa.parquet"),
            ("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "qa.jsonl"),
            (json.dumps(rows), "qa.json"),
            (json.dumps([[row] for row in rows]), "nested.json"),
        ):
            pd.testing.assert_frame_equal(read(content, name=name).frame.drop(columns="line"), expected)

    def test_null_and_nan_values_are_empty(self, read: Reader) -> None:
        table = read('[{"title": "问", "question": null, "reply": NaN, "is_best": 1.0}]', name="qa.json")
        assert table.frame["reply"].isna().all()
        assert table.frame.at[1, "best"]

    def test_ready_made_conversations(self, read: Reader) -> None:
        line = '{"conversations": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]}'
        for content in (f"{line}\n{line}\n", f"{line}\n{line}"):
            assert read(content, name="ready.jsonl").frame["reply"].tolist() == ["答", "答"]

    def test_every_bad_line_is_named(self, read: Reader) -> None:
        good = '{"conversations": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]}'
        bad = [
            good.replace('"答"', "NaN"),
            good.replace('"答"', "12345"),
            good.replace('"答"', "null"),
            good.replace('"答"', '"\\ud800"'),
            good.replace('"答"', '" "'),
            good.replace("conversations", "messages"),
            good.replace("role", "from").replace("content", "value"),
            good.replace('"user"', '"assistant"'),
            good[:-1],
        ]
        said = _refused(read, "\n".join([good, *bad]), name="ready.jsonl")
        for number in range(2, 2 + len(bad)):
            assert f"line {number}, record {number}: " in said

    def test_pretty_printed_and_joined_lines_are_explained(self, read: Reader) -> None:
        record = {"title": "问", "question": "", "reply": "答", "is_best": 1}
        assert "one JSON object a line" in _refused(read, json.dumps(record, indent=2), name="qa.jsonl")
        joined = "\\n".join([json.dumps(record)] * 3)
        assert "the two characters \\ and n" in _refused(read, joined, name="qa.jsonl")

    def test_fields_of_other_names_are_listed(self, read: Reader) -> None:
        said = _refused(read, '{"prompt": "问", "answer": "答"}', name="qa.jsonl")
        assert "the file has prompt, answer" in said
        assert "reply: answer" in said

    def test_a_missing_field_is_named(self, read: Reader) -> None:
        rows = [
            '{"title": "问", "question": "", "reply": "答", "is_best": 1}',
            '{"title": "问", "question": "", "repyl": "答", "is_best": 1}',
        ]
        assert "line 2, record 2: has no field reply" in _refused(read, "\n".join(rows), name="qa.jsonl")

    @pytest.mark.parametrize(
        ("line", "trouble"),
        [
            ('{"title": "问", "question": "", "reply": {"text": "答"}, "is_best": 1}', "field reply holds an object or a list"),
            ('{"title": ["问"], "question": "", "reply": "答", "is_best": 1}', "field title holds an object or a list"),
            ('{"title": "问", "question": "", "reply": "答\\ud800", "is_best": 1}', "field reply holds half a character"),
            ('{"title": "问", "question": "", "reply": "答", "reply": "另答", "is_best": 1}', "the field 'reply' stands twice"),
            ("[" * 100_000, "nested without end"),
        ],
    )
    def test_what_is_no_text_is_named(self, read: Reader, line: str, trouble: str) -> None:
        good = '{"title": "问", "question": "", "reply": "答", "is_best": 1}'
        said = _refused(read, f"{good}\n{line}\n{good}", name="qa.jsonl")
        assert "line 2, record 2: " in said
        assert trouble in said
        assert "1 broken record(s)" in said

    @pytest.mark.parametrize(
        ("line", "fix"),
        [
            ('{"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]}', "rename from to role"),
            ('{"messages": [{"role": "user", "content": "问"}]}', "rename messages to conversations"),
        ],
    )
    def test_chats_of_other_tools_are_explained_once(self, read: Reader, line: str, fix: str) -> None:
        said = _refused(read, f"{line}\n" * 30, name="qa.jsonl")
        assert fix in said
        assert said.count("line") == 1

    def test_parquet_columns_of_any_type(self, read: Reader, tmp_path: Path) -> None:
        frame = pd.DataFrame({"title": ["问"], "question": [date(2024, 1, 2)], "reply": ["答".encode()], "is_best": [True]})
        frame.to_parquet(tmp_path / "typed.parquet")
        table = read((tmp_path / "typed.parquet").read_bytes(), name="qa.parquet")
        assert table.frame.loc[1, ["title", "question", "reply"]].tolist() == ["问", "2024-01-02", "答"]
        assert table.frame.at[1, "best"]
        frame.assign(reply=[b"\xff"], title=[{"a": "问"}]).to_parquet(tmp_path / "typed.parquet")
        said = _refused(read, (tmp_path / "typed.parquet").read_bytes(), name="qa.parquet")
        assert "field title holds an object or a list, not text; field reply holds bytes that are not UTF-8" in said


@pytest.mark.parametrize(("width", "last"), [(4, 6), (4, 7), (3, 8), (3, 12), (2, 8), (2, 12)])
def test_a_lost_quote_that_a_later_stray_one_closes_is_named(read: Reader, width: int, last: int) -> None:
    names = ["question", "reply"] if width == 2 else ["title", "question", "reply", "is_best"][:width]
    body = [[f"问{n}", f"答{n}。"] if width == 2 else [f"问{n}", "述", f"答{n}。", "1"][:width] for n in range(15)]
    reply = names.index("reply")
    body[5][reply] = '"' + body[5][reply]
    body[last][reply] += '"'
    text = "\n".join(",".join(cells) for cells in [names, *body])
    given = Columns.model_validate(
        {name: name if name in names else None for name in ("title", "question", "reply", "is_best")}
    )
    with pytest.raises(UserError, match="line 7, record 6: a quote opened here is not closed"):
        read(text, columns=given)


def test_commas_in_an_answer_of_several_lines_are_no_lost_quote(read: Reader) -> None:
    columns = Columns(title=None, is_best=None)
    assert read('question,reply\n问什么,"先起诉\n再执行, 不要等"\n', columns=columns).records == 1
    assert read('title,question,reply,is_best\nq,d,"a, b\nsee c, d",1\n').records == 1


@pytest.mark.parametrize("answer", ["甲\n乙,丙,丁", "甲\n乙,丙,丁\n戊", "甲\n乙,丙,丁\n戊,己,庚\n辛"])
def test_lines_of_an_answer_with_as_many_commas_as_a_record_are_lawful(read: Reader, answer: str) -> None:
    table = read(f'id,question,answer\n1,问,"{answer}"\n2,问,答\n', columns=Columns(title=None, reply="answer", is_best=None))
    assert table.frame["reply"].tolist() == [answer, "答"]


def test_header_of_a_joined_file_with_its_own_mark_is_named(read: Reader) -> None:
    part = "\ufeff" + "\n".join(lines(2)) + "\n"
    with pytest.raises(UserError, match="line 4, record 3: repeats the header"):
        read(part + part)


@pytest.mark.parametrize("name", ["hex", "rot13", "base64", "undefined", "utf8\0"])
def test_codec_that_is_none_of_text_is_refused(read: Reader, name: str) -> None:
    with pytest.raises(UserError, match=r"data\.encoding"):
        read("\n".join(lines(2)), encoding=name)


def test_cut_utf16_without_mark_is_refused_and_stray_nul_is_none(read: Reader) -> None:
    with pytest.raises(UserError, match="neither UTF-8"):
        read("\n".join(lines(8)).encode("utf-16-le") + b"\0")


@pytest.mark.parametrize("name", ["QA.CSV", "qa.Csv.GZ"])
def test_case_of_the_suffix_is_no_matter(read: Reader, name: str) -> None:
    content = "\n".join(lines(2)).encode()
    assert read(gzip.compress(content) if name.endswith("GZ") else content, name).records == 2


def test_damaged_parquet_and_dates_that_python_lacks_are_refused_with_the_file(read: Reader) -> None:
    columns = Columns(title=None, is_best=None)
    table = pa.table({"question": ["问什么"] * 500, "reply": ["可以起诉"] * 500})
    whole = io.BytesIO()
    pq.write_table(table, whole)
    damaged = bytearray(whole.getvalue())
    damaged[20:80] = b"\xff" * 60
    with pytest.raises(UserError, match=r"qa\.parquet: can't be read after record 0"):
        read(bytes(damaged), "qa.parquet", columns)
    late = io.BytesIO()
    pq.write_table(table.append_column("at", pa.array([2**62] * 500, pa.timestamp("us"))), late)
    with pytest.raises(UserError, match=r"qa\.parquet: can't be read after record 0"):
        read(late.getvalue(), "qa.parquet", columns)


RECORD = '{"title": "问", "question": "", "reply": "答", "is_best": 1}'


@pytest.mark.parametrize(
    ("content", "name", "fix"),
    [
        (f"{RECORD}\n{RECORD}\n", "qa.json", "name it .jsonl"),
        (f"[{RECORD}]]", "qa.json", "mend it there, or write it again"),
        (f"[{RECORD}, {RECORD}]", "qa.jsonl", "name it .json"),
        (b"abcdefgh" * 4, "qa.parquet", "not a whole Parquet file"),
        (b"PAR1" + bytes(40), "qa.parquet", "copy or export it again"),
        (TEXT.encode("utf-32"), "qa.csv", "is UTF-32"),
        ("sep=;\n" + TEXT.replace(",", ";"), "qa.csv", "delete that line"),
    ],
)
def test_message_says_what_to_do(read: Reader, content: str | bytes, name: str, fix: str) -> None:
    assert fix in _refused(read, content, name=name)


def test_records_of_an_array_have_no_line_rather_than_a_wrong_one(read: Reader) -> None:
    said = _refused(read, f"[\n{RECORD},\n\n3]", name="qa.json")
    assert "qa.json record 2: is a int" in said
    assert "line" not in said.splitlines()[1]
