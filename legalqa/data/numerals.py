"""Numbers as people write them: wide and Chinese digits, what may stand between, before and after them, case numbers."""

import re
from collections.abc import Callable, Iterator

Search = Callable[[str], Iterator[tuple[int, int]]]  # a text -> the spans of what is found in it

WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {ord("　"): " ", ord("—"): "-", ord("–"): "-", ord("－"): "-"}
CHINESE = "零〇○一二三四五六七八九幺壹贰叁肆伍陆柒捌玖"
_DIGIT = dict(zip(map(ord, CHINESE), "0001234567891123456789", strict=True))
_NO_DIGIT = re.compile(  # the end of a number may touch the word 一直; between two amounts 一 is a dash: 13000一15000
    r"一(?=[直个起定样般下次边些共切旦])|(?:(?<=[0-9]{4})|(?<=[0-9]{4} ))一(?= ?[0-9]{4})"
)

GAP = r"[ \-·.]{0,2}"  # what people put between any two digits of a number
SPACED = r" {0,2}[\-·./_]{0,2} {0,2}"  # and between its groups
AMOUNT = r"(?![ ]{0,1}(?:元|圆|万|亿|块|美元|港元|人民币|平方|平米|㎡|股|吨|公里|米|%|人次|年|分))"
BEFORE = r"(?<![0-9A-Za-z])(?<![0-9][.\-])(?<!第)(?<!¥)(?<!￥)(?<!\$)"
AFTER = r"(?![0-9A-Za-z])(?!\.[0-9])"

_SIGNS = r"[ \-－—–·./_　．／＿]"
# The number of a case, a judgment or a certificate: its kind, then digits, then 号. 字 alone is also the end of 签字 or 几行字.
DOCKET = re.compile(
    r"(?:[民刑行商知赔][初终申再监抗辖撤特督催他更保]|[0-9](?:执|破|清|财保|司惩|司救|执[恢异复保监他])"
    r"|(?:[民刑证初终申再监抗执产仲裁]|(?<![一二两几])行)字|(?<![签名写打])字第|[)\]〕证书]第) ?"
    r"[0-9]{5,}(?:-[0-9]+)? ?号(?!码)"
)


def run(digits: int, kinds: str = "0-9０-９") -> str:
    """A cheap pattern (RE2): so many digits with at most five signs between them."""
    return rf"(?:[{kinds}]{_SIGNS}{{0,5}}){{{digits}}}"


def spelled(search: Search) -> Search:
    """``search`` in the text as it is, then as it reads with Chinese digits, plain and financial ones, for figures."""

    def both(text: str) -> Iterator[tuple[int, int]]:
        yield from search(text)
        read = _NO_DIGIT.sub("、", text).translate(_DIGIT)  # one character for one, so that positions stay
        if read != text:
            yield from search(read)

    return both
