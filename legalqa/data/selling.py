"""Clauses that sell the writer instead of answering: "call me", "add my WeChat", "please adopt this answer"."""

import re

import pandas as pd

from legalqa.data.cells import apply_where

# RE2 and Python's re read these the same way. Masked numbers stand as [电话] and the like.
_CONTACT = r"\[(?:电话|微信号|QQ号|邮箱)\]"
_SELLING_PHRASES = (
    # call, write, come
    r"(?:来|致)电(?:本人|本律师|我|咨询|详谈|详询|沟通|联系|免费|来访|或)|可(?:以)?来电|详询|打电话(?:详细)?咨询|电话(?:来谈|详谈|详聊|回复)",
    r"欢迎(?:您|你)?(?:随时|直接|免费)?(?:来电|来函|来访|来所|致电|拨打|联系|咨询|加)|随时联系(?:[^一-龥]|$)|约见(?:免费)?咨询",
    r"(?:电话|微信|当面|随时|直接|可以)(?:联系|咨询|找)(?:我|本人|本律师)|(?:与|和|跟)(?:我|本人|本律师|我们)(?:直接)?(?:取得)?联系",
    r"(?:联系|咨询|私信|关注|委托)(?:我们?|本人|本律师|本所)(?:[^一-龥]|吧|电话|咨询|律师|帮|为|代|办|$)|律师(?:直接|线下)?取得联系",
    r"预约(?:本|我)?(?:律师)?(?:面谈|详谈|咨询)|免费(?:的)?(?:咨询[^，。；！？\n]{0,6}(?:[。！!]|$)|分析|提供法律)|(?:携|带|拿)[^，。；！？\n]{0,8}(?:来|到)(?:本|我)?(?:所|律所|事务所)",
    r"(?:本|我)(?:所|律所|事务所)(?:当面|面谈|咨询)|来(?:我)?(?:所|律所|事务所)(?:咨询|面谈|里)|到所(?:咨询|面谈)",
    # accounts and numbers
    r"加(?:我|本人|律师)?(?:的)?(?:微信|[vV]信?|[qQ]{2}|扣扣|企鹅)|添加(?:我|本人)?(?:的)?微信|(?:我|本人|律师)(?:的)?(?:电话|手机|微信|[qQ]{2}|联系方式)",
    rf"(?:电话|手机|微信|[qQ]{{2}}|热线|联系方式|邮箱|座机|号码)[^，。；！？\n]{{0,8}}{_CONTACT}|(?:拨打|联系|致电|咨询)[^，。；！？\n]{{0,6}}{_CONTACT}",
    rf"{_CONTACT}[^，。；！？\n]{{0,4}}(?:微信|咨询|联系|律师)|(?:^|[，,。；;！!？?\n])\s*{_CONTACT}\s*(?:[，,。；;！!\n]|$)",
    r"点击\s*(?:链接|我的?|头像|查看|下方|https?)|点我头像|主页(?:电话|联系)|扫(?:描|码)(?:加|添加|联系|咨询)",
    # what a good lawyer the writer is, and the offer to take the case
    r"我(?:律)?所(?:律师)?(?:具有|有丰富|专业)|(?:本|我们?)(?:律师)?(?:团队|事务所)(?:专业|具有|擅长|可以为)|专业的?(?:律师)?团队|我长期代理|我的案例",
    r"(?:本|我)(?:所在)?(?:的)?(?:律)?所(?:律师)?可(?:以)?(?:接受|承接|代理|办理)|(?:律师事务所|律所)可以(?:承接|办理|代理)|可以办理[此该这]项?(?:业务|事宜)",
    r"(?:竭诚|为您)(?:为您)?(?:提供)?(?:代理|服务)|为您具体分析|先到先得|胜诉(?:后)?(?:再)?(?:收费|付费)|不(?:成功|胜诉)不收费|(?:私人|您身边的)法律顾问",
    r"需要?帮[助忙](?:请|可以?联|[。！!\s]*$)|有更多(?:法律)?问题|[—-]{2}[^，。；\n]{0,8}律师(?:[—\-，。！\s]|$)",
    # stars
    r"(?:请|望)(?:您|你)?(?:及时)?(?:采纳|好评|评价)|给予(?:好评|评价)",
)
SELLING = "|".join(_SELLING_PHRASES)
_SELLING = re.compile(SELLING)
_LEAD = re.compile(  # what leads into such a clause and says nothing without it
    r"^\s*(?:如|若|假如|要是|您?有)[^\n]{0,24}(?:需要?|疑问|问题|帮助|不明|不清楚|不懂|咨询|代理|委托|意向|满意)[^\n]{0,8}$"
    r"|^\s*(?:具体|详细)?(?:情况|详情|细节|内容|问题|事宜)\s*$|^\s*以上(?:答复|回答|解答|回复)\s*$"
)
_SIGNATURE = re.compile(  # who writes, and where: nothing by itself, before such a clause or after it
    r"(?:律师事务所|合伙人|(?:专家|首席|执业|专业|刑事|辩护|离婚|房产)[^\n，]{0,4}律师)[^\n]{0,12}$|^\s*(?:地址|办公|网址|邮编)"
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
    bare = [clause.rstrip("，,。；;！!？?\n ") for clause in clauses]
    for place in range(len(clauses) - 2, -1, -1):
        sells[place] |= sells[place + 1] and bool(_LEAD.match(bare[place]) or _SIGNATURE.search(bare[place]))
    for place in range(1, len(clauses)):
        sells[place] |= sells[place - 1] and bool(_SIGNATURE.search(bare[place]))
    kept = "".join(clause if not selling else _rest(clause) for clause, selling in zip(clauses, sells, strict=True))
    if len(_SAID.sub("", kept)) < LEAST or len(kept) < (1 - MOST) * len(text):
        return ""
    return re.sub(r"[，,；;、：:\s]+$", "。", kept.rstrip())


def _rest(clause: str) -> str:
    """What stays of a selling clause: nothing, or the beginning of a long one."""
    return _TAIL.sub("，", clause) if len(clause) > LONG else ""


def cut_column(replies: pd.Series) -> tuple[pd.Series, pd.Index]:
    """A column of replies after `cut`, and the records it changed."""
    return apply_where(replies, SELLING, cut)
