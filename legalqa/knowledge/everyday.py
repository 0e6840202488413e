"""Which laws the questions of private people turn on. Written for this project, from what legal advice is asked about.

Three hundred laws are in force; most of them bind authorities or single trades. Where an article of the Civil Code and one of
the law on the reserve forces say nearly the same, the former is meant. How much that counts is learnt (``ranking``).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from legalqa.knowledge.statutes import Article

# Every day: families, contracts, wages, traffic, wrongs, and how to go to court.
_FIRST = """
民法典 刑法 劳动合同法 劳动法 社会保险法 道路交通安全法 消费者权益保护法 治安管理处罚法 民事诉讼法
"""
# Often: the other laws of private life, small business, and of the citizen before an authority.
_SECOND = """
劳动争议调解仲裁法 未成年人保护法 反家庭暴力法 妇女权益保障法 老年人权益保障法 食品安全法 产品质量法 电子商务法
个人信息保护法 公司法 合伙企业法 农村土地承包法 土地管理法 城市房地产管理法 著作权法 商标法 专利法 保险法 刑事诉讼法
行政诉讼法 行政复议法 行政处罚法 行政许可法 国家赔偿法 旅游法 法律援助法 义务教育法 教育法 医师法 网络安全法
反电信网络诈骗法 仲裁法 企业破产法 票据法 铁路法 民用航空法
"""


def tiers(articles: Sequence[Article]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[2, n] of 0 and 1: the article's law is asked about every day; every day or often."""
    first, second = set(_FIRST.split()), set(_SECOND.split())
    names = [article.law.removeprefix("中华人民共和国") for article in articles]
    rows = [[name in first for name in names], [name in first or name in second for name in names]]
    return np.array(rows, dtype=np.float32).reshape(2, len(names))
