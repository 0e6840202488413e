"""Small bundles for the service: a tiny random model, five laws, a few past answers."""

from pathlib import Path

from legalqa.base.identity import Identity
from legalqa.bundle import Bundle, Origin
from legalqa.knowledge.embedding import Embedder
from legalqa.knowledge.retrieval import Knowledge
from legalqa.knowledge.statutes import Statutes
from legalqa.prompt import Prompt
from legalqa.records import Conversation, Message
from tests.legalqa.knowledge.laws import CIVIL, LABOUR, OLD, article
from tests.tiny import tiny_model

PROBATION = "试用期最长可以约定多久？"
PROBATION_ANSWER = "三年以上固定期限的劳动合同，试用期不得超过六个月，见《中华人民共和国劳动合同法》第十条。"
INTEREST = "民间借贷利息怎么算？"


def statutes() -> Statutes:
    return Statutes(
        [
            article(CIVIL, "1079", "夫妻一方要求离婚的，可以由有关组织进行调解或者直接向人民法院提起离婚诉讼。"),
            article(CIVIL, "680", "禁止高利放贷，借款的利率不得违反国家有关规定。"),
            article(LABOUR, "10", "建立劳动关系，应当订立书面劳动合同。"),
            article(LABOUR, "82", "用人单位自用工之日起超过一个月不满一年未与劳动者订立书面劳动合同的，应当支付二倍的工资。"),
            article(OLD, "1", "旧条文。", status="repealed"),
        ]
    )


def knowledge(embedder: Embedder | None = None) -> Knowledge:
    pairs = [(PROBATION, PROBATION_ANSWER), (INTEREST, "借款利率不得违反国家规定，见民法典第680条。")]
    conversations = [
        Conversation(conversations=[Message(role="user", content=q), Message(role="assistant", content=a)], records=[number])
        for number, (q, a) in enumerate(pairs, start=1)
    ]
    return Knowledge.build(statutes(), conversations, threshold=0.2, embedder=embedder)


def bundle(folder: Path, with_adapter: bool = False) -> Path:
    """Write a bundle at ``folder``/bundle and return that. Without adapter it is for engines that need no model."""
    parts = {"base": tiny_model(folder / "base", seed=3), "knowledge": folder / "knowledge"}
    knowledge().save(parts["knowledge"])
    if with_adapter:
        parts["adapter"] = _adapter(parts["base"], folder / "adapter")
    origin = Origin(
        train_key="0" * 16,
        revision="none",
        dirty=False,
        base=Identity.load(parts["base"]),
        template="chatml",
        data={"sample.csv": "0" * 64},
    )
    documents = {"generation.json": {"max_new_tokens": 64, "temperature": 0.0, "weights": "bf16"}}
    return Bundle.build(folder / "bundle", parts, Prompt.from_base(parts["base"]), documents, "# Card\n", origin).folder


def _adapter(base: Path, folder: Path) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2ForCausalLM

    model = get_peft_model(Qwen2ForCausalLM.from_pretrained(base), LoraConfig(r=2, target_modules="all-linear"))
    model.peft_config["default"].base_model_name_or_path = "tiny"
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.fill_(0.01)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder
