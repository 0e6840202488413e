"""The scores of one answer against its references. The tokeniser stands in each name: `_word` rjieba, `_char` characters.

Scores are percent unless `SCORES` says otherwise. Where a question has several references, the best one counts.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np
import rjieba
from sacrebleu.metrics import BLEU, CHRF

from legalqa.evaluation.compare import Counted, Vector
from legalqa.evaluation.predictions import Prediction
from legalqa.evaluation.rouge import rouge_l, rouge_n
from legalqa.evaluation.similarity import Similarity
from legalqa.knowledge import citations, support
from legalqa.knowledge.statutes import Statutes

Parts = dict[str, Counted]


@dataclass(frozen=True)
class Score:
    """How a score is shown: which direction is good ("" for neither), what it says, and how a ratio becomes its value."""

    name: str
    better: Literal["more", "less", ""]
    chinese: str
    english: str
    scale: Callable[[Vector], Vector] = lambda ratio: 100 * ratio


def _plain(ratio: Vector) -> Vector:
    return ratio


SCORES = {
    score.name: score
    for score in (
        Score(
            "rouge_l_char",
            "more",
            "与参考答案的最长公共子序列（按字）",
            "longest common subsequence with the reference, characters",
        ),
        Score("rouge_1_char", "more", "单字重合", "overlap of characters"),
        Score("rouge_2_char", "more", "双字重合", "overlap of character pairs"),
        Score("rouge_l_word", "more", "最长公共子序列（按 rjieba 分词）", "longest common subsequence, rjieba words"),
        Score("rouge_1_word", "more", "词重合", "overlap of words"),
        Score("rouge_2_word", "more", "双词重合", "overlap of word pairs"),
        Score("bleu_zh", "more", "句级 BLEU（sacrebleu 中文切分）", "sentence BLEU, sacrebleu's zh tokeniser"),
        Score("chrf", "more", "chrF", "chrF"),
        Score(
            "similarity_e5_small",
            "more",
            "与参考答案的语义相似度（multilingual-e5-small，4 位）",
            "similarity in meaning, multilingual-e5-small in 4 bits",
        ),
        Score("citation_f1", "more", "引用法条与参考一致", "cited articles agree with the reference's"),
        Score("citation_precision", "more", "所引法条中参考也引用的", "cited articles that the reference cites, too"),
        Score("citation_recall", "more", "参考法条中被引用的", "the reference's articles that are cited"),
        Score("citation_valid", "more", "所引法条现行有效", "cited articles that exist and are in force"),
        Score("citation_repealed", "less", "所引法律已废止", "cited articles of repealed laws"),
        Score("citation_unknown", "less", "所引法条查无此条", "cited articles that are not known"),
        Score("citation_supported", "more", "引用句与法条内容相符", "sentences that say what the cited article says"),
        Score("repetition", "less", "重复（四字组）", "repeated 4-grams of characters"),
        Score("truncated", "less", "被长度截断", "answers cut by the limit"),
        Score("empty", "less", "空答案", "empty answers"),
        Score("boilerplate", "less", "训练集中最常见的四字组", "4-grams that are among the commonest of the training answers"),
        Score("chinese", "", "汉字占比", "share of Chinese characters"),
        Score("lawyer", "", "建议咨询律师", "answers that say to consult a lawyer"),
        Score("refusal", "less", "拒答", "answers that say they can't answer"),
        Score("length_ratio", "", "长度与参考之比", "length against the reference", _plain),
        Score("loss", "less", "参考答案每词元的损失（nat）", "loss on the reference's tokens, nats", _plain),
        Score("perplexity", "less", "参考答案的困惑度", "perplexity of the reference", np.exp),
        Score("probe_accuracy", "more", "通用能力小测：答对", "general probe: right answers"),
        Score("probe_loss", "less", "通用能力小测：损失（nat）", "general probe: loss on the right answer, nats", _plain),
        Score("seconds", "less", "每个回答的秒数（成批）", "seconds an answer, max_batch at once", _plain),
    )
}

_BLEU = BLEU(tokenize="zh", effective_order=True)
_CHRF = CHRF()
_GRAM = 4  # characters
_COMMON = 100  # so many of the commonest 4-grams of the training answers count as boilerplate
_LAWYER = re.compile(r"(?:咨询|请教|委托|联系|聘请|寻求)[^。；！？\n]{0,12}律师")
_REFUSAL = re.compile(
    r"(?:我|本人|作为[^，。]{0,20})?(?:无法|不能|没有办法)(?:为您|给您|直接)?(?:回答|提供(?:具体的?)?(?:法律)?(?:意见|建议|帮助)|给出)"
)


class Scorer:
    """Scores answers against their references, the statutes, and what training answers say all the time."""

    def __init__(self, statutes: Statutes, training_answers: Iterable[str], similarity: Similarity) -> None:
        self._statutes, self._similarity = statutes, similarity
        counts = Counter(gram for answer in training_answers for gram in set(_grams(answer)))
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        self._common = {gram for gram, times in ranked[:_COMMON] if times > 1}

    def score(self, prediction: Prediction) -> Parts:
        """Every score of one prediction. An empty answer scores 0 wherever it is compared with a reference."""
        text, references = prediction.text.strip(), prediction.references
        parts = _overlap(text, references) | self._cited(text, references)
        grams, letters = _grams(text), re.sub(r"\s", "", text)
        parts["similarity_e5_small"] = Counted(self._similarity.best(text, references) if text else 0.0)
        parts["repetition"] = Counted(1 - len(set(grams)) / len(grams) if grams else 0.0)
        parts["boilerplate"] = Counted(sum(gram in self._common for gram in grams), len(grams))
        parts["truncated"] = Counted(prediction.finish_reason == "length")
        parts["empty"] = Counted(not text)
        parts["chinese"] = Counted(len(re.findall(r"[\u3400-\u9fff]", letters)), len(letters))
        parts["lawyer"] = Counted(bool(_LAWYER.search(text)))
        parts["refusal"] = Counted(bool(_REFUSAL.search(text)))
        parts["length_ratio"] = Counted(len(text) / len(references[0]))
        if prediction.answer_tokens:
            parts["loss"] = parts["perplexity"] = Counted(prediction.answer_loss, prediction.answer_tokens)
        return parts

    def _cited(self, text: str, references: Sequence[str]) -> Parts:
        """Agreement of citations over (law, article) pairs, and the state of each cited article.

        F1 is summed over questions (micro): where the reference cites nothing, only what is cited in vain counts.
        """
        found = {checked.citation.key: checked for checked in citations.check(text, self._statutes)}
        ours = found.keys()
        theirs = max((citations.keys(reference, self._statutes) for reference in references), key=lambda k: _agreement(ours, k))
        common = len(ours & theirs)
        parts = {
            "citation_f1": Counted(2 * common, len(ours) + len(theirs)),
            "citation_precision": Counted(common, len(ours)),
            "citation_recall": Counted(common, len(theirs)),
        }
        states = [checked.status for checked in found.values()]
        for state in ("valid", "repealed", "unknown"):
            parts[f"citation_{state}"] = Counted(states.count(state), len(states))
        said = [
            support.matches(support.sentence(text, checked.citation), checked.article)
            for checked in found.values()
            if checked.article
        ]
        parts["citation_supported"] = Counted(sum(said), len(said))
        return parts


def _overlap(text: str, references: Sequence[str]) -> Parts:
    if not text:
        return {
            name: Counted(0.0) for name in (*(f"rouge_{n}_{by}" for n in "12l" for by in ("char", "word")), "bleu_zh", "chrf")
        }
    parts: Parts = {}
    for by, cut in (("char", _characters), ("word", _words)):
        ours, theirs = cut(text), [cut(reference) for reference in references]
        parts[f"rouge_1_{by}"] = Counted(max(rouge_n(ours, their, 1) for their in theirs))
        parts[f"rouge_2_{by}"] = Counted(max(rouge_n(ours, their, 2) for their in theirs))
        parts[f"rouge_l_{by}"] = Counted(max(rouge_l(ours, their) for their in theirs))
    parts["bleu_zh"] = Counted(_BLEU.sentence_score(text, list(references)).score / 100)
    parts["chrf"] = Counted(_CHRF.sentence_score(text, list(references)).score / 100)
    return parts


def _agreement(ours: Set[tuple[str, str]], theirs: Set[tuple[str, str]]) -> float:
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours or theirs else 0.0


def _grams(text: str) -> list[str]:
    return [text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)]


def _characters(text: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9]+|\S", text)


def _words(text: str) -> list[str]:
    return [word for word in rjieba.cut(text) if not word.isspace()]
