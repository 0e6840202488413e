"""Clauses that sell the writer instead of answering: "call me", "add my WeChat", "please adopt this answer"."""

import re

import pandas as pd

from legalqa.data.cells import apply_where

# RE2 and Python's re read this the same way. Masked numbers stand as [电话] and the like.
SELLING = (
    r"(?:来|致)电(?:本人|本律师|我|咨询|详谈|详询|沟通|联系|免费|来访|或)|可(?:以)?来电|欢迎(?:您|你)?(?:随时|直接|免费)?(?:来电|来函|来访|来所|致电|拨打|联系|咨询|加)"
    r"|(?:电话|微信|当面|随时|直接|可以)(?:联系|咨询|找)(?:我|本人|本律师)|(?:联系|咨询|私信|关注|委托)(?:我们?|本人|本律师|本所)(?:[^一-龥]|吧|电话|咨询|律师|$)"
    r"|加(?:我|本人|律师)?(?:的)?(?:微信|[vV]信?|[qQ]{2}|扣扣|企鹅)|添加(?:我|本人)?(?:的)?微信|(?:我|本人|律师)(?:的)?(?:电话|手机|微信|[qQ]{2}|联系方式)"
    r"|(?:电话|手机|微信|[qQ]{2}|热线|联系方式|邮箱|座机|号码)[^，。；！？\n]{0,8}\[(?:电话|微信号|QQ号|邮箱)\]|(?:拨打|联系|致电|咨询)[^，。；！？\n]{0,6}\[(?:电话|微信号|QQ号)\]"
    r"|\[(?:电话|微信号|QQ号)\][^，。；！？\n]{0,4}(?:微信|咨询|联系|律师)|先到先得|胜诉(?:后)?(?:再)?(?:收费|付费)|不(?:成功|胜诉)不收费|免费(?:分析|提供法律)|点击\s*(?:链接|我的?|头像|查看|下方|https?)"
    r"|我(?:律)?所(?:律师)?(?:具有|有丰富|专业)|(?:本|我们?)(?:律师)?(?:团队|事务所)(?:专业|具有|擅长|可以为)|专业(?:律师)?团队|点我头像|主页(?:电话|联系)|扫(?:描|码)(?:加|添加|联系|咨询)"
    r"|(?:请|望)(?:您|你)?(?:及时)?(?:采纳|好评|评价)|给予(?:好评|评价)|(?:竭诚|为您)(?:为您)?(?:提供)?(?:代理|服务)"
    r"|(?:携|带|拿)[^，。；！？\n]{0,8}(?:来|到)(?:本|我)(?:所|律所|事务所)|(?:本|我)(?:所|律所|事务所)(?:当面|面谈|咨询)|来(?:我)?(?:所|律所|事务所)(?:咨询|面谈|里)|约见(?:免费)?咨询"
)
_SELLING = re.compile(SELLING)
_LEAD = re.compile(  # what leads into such a clause and says nothing without it
    r"^\s*(?:如|若|假如|要是|您?有)[^\n]{0,24}(?:需要?|疑问|问题|帮助|不明|不清楚|不懂|咨询|代理|委托|意向|满意)[^\n]{0,8}$"
    r"|^\s*(?:具体|详细)?(?:情况|详情|细节|内容|问题|事宜)\s*$|^\s*以上(?:答复|回答|解答|回复)\s*$"
    r"|(?:律师事务所|合伙人|专家律师|首席律师|执业律师|专业律师)[^\n]{0,12}$"
)
_ADOPT = re.compile(
    r"(?:以上(?:答复|回答|回复)[，,]?)?(?:(?:如果?|若)?[您你]?(?:对)?(?:以上|我的|上述)?满意[^，。\n]{0,6}[，,])?"
    r"(?:希望|望|敬?请|恳请)(?:您|你)?(?:及时)?采纳(?:回复|答案|为最佳)*[。.！!]*"
)
_CLAUSE = re.compile(r"[^，,。；;！!？?\n]*(?:[，,。；;！!？?\n]+|$)")
_TAIL = re.compile(rf"(?:(?:如|若|假如|有)[^\n]{{0,8}}(?:需要?|疑问|问题|帮助)[^\n]{{0,8}}?)?(?:{SELLING}).*$", re.S)
LONG = 30  # characters of a clause that says something besides: only its selling end goes
_SAID = re.compile(r"[您你]好|[\W_]+")
LEAST = 6  # letters that must be left for an answer
MOST = 0.75  # a reply of which more than this share sells is no answer


def cut(text: str) -> str:
    """The reply without its selling clauses and what leads into them. "" when hardly an answer is left."""
    text = _ADOPT.sub("", text)
    clauses = [clause for clause in _CLAUSE.findall(text) if clause]
    sells = [bool(_SELLING.search(clause)) for clause in clauses]
    if not any(sells):
        return text.strip()
    for place in range(len(clauses) - 2, -1, -1):
        if sells[place + 1] and _LEAD.match(clauses[place].rstrip("，,。；;！!？?\n ")):
            sells[place] = True
    kept = "".join(clause if not selling else _rest(clause) for clause, selling in zip(clauses, sells, strict=True))
    if len(_SAID.sub("", kept)) < LEAST or len(kept) < (1 - MOST) * len(text):
        return ""
    return re.sub(r"[，,；;、：:\s]+$", "。", kept)


def _rest(clause: str) -> str:
    """What stays of a selling clause: nothing, or the beginning of a long one."""
    return _TAIL.sub("，", clause) if len(clause) > LONG else ""


def cut_column(replies: pd.Series) -> tuple[pd.Series, pd.Index]:
    """A column of replies after `cut`, and the records it changed."""
    return apply_where(replies, SELLING, cut)
