"""ChatGLM3's fine-tuning demo (finetune_hf.py) has eleven defects that users met; each is a test that we don't have it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM

from legalqa.evaluation.scores import SCORES
from legalqa.params import TrainParams
from legalqa.prompt import Prompt
from legalqa.records import Conversation, Message
from legalqa.training import lora
from legalqa.training.batches import MicroBatches
from legalqa.training.job import Job
from legalqa.training.packing import lay_out, plan_steps, tokenise
from tests.legalqa.training.conftest import conversations
from tests.legalqa.training.processes import train

ROOT = Path(__file__).resolve().parents[3]
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.mark.parametrize("count", [1, 5, 49, 51])
def test_a_the_dev_split_is_scored_whole_whatever_its_size(prompt: Prompt, count: int) -> None:
    """The demo takes the first 50 rows: fewer are an IndexError, more are never seen."""
    dev = tokenise("dev", conversations(count), prompt, 64)
    laid = lay_out([list(range(len(dev)))], dev.lengths, 2, 128)
    batches = [MicroBatches(dev, laid, rank, 2, 0, packed=True) for rank in (0, 1)]
    learned = sum(int((part[i]["labels"] >= 0).sum()) for part in batches for i in range(len(part)))
    assert learned == sum(dev.answer_tokens)


def test_b_the_best_checkpoint_is_chosen_without_the_test_split() -> None:
    """In the demo's configs the test file is the dev file."""
    assert "data/splits/dev.jsonl" in STAGES["train"]["deps"]
    assert not any("test" in dep for dep in STAGES["train"]["deps"] if dep.startswith("data/"))


def test_c_the_test_split_ends_in_numbers() -> None:
    """The demo generates over the whole test set and throws the result away."""
    assert any("scores.json" in str(metric) for metric in STAGES["evaluate"]["metrics"])


def test_d_steps_follow_the_size_of_the_data() -> None:
    """The demo trains 3,000 steps, 40 epochs of 300 rows."""
    params = TrainParams()
    for count in (300, 30_000):
        assert len(plan_steps([100] * count, params.batch, params.epochs, 0)) == round(
            params.epochs * round(count / params.batch)
        )


def test_e_the_best_and_the_last_state_are_kept(make_job: Callable[..., Job]) -> None:
    """The demo keeps what its period happens to hit: after 3,000 steps a user had only checkpoint 2,000."""
    job = make_job(learning_rate=0.3, schedule="constant", checks=12, patience=1)
    outcome = train(job)
    assert outcome is not None and outcome.best_step < outcome.step
    for step in (outcome.best_step, outcome.step):
        lora.check_adapter(job.checkpoints.step_folder(step))


def test_f_a_question_that_is_too_long_is_shortened_at_its_beginning(prompt: Prompt) -> None:
    """In the demo the answer is cut away, all labels are -100 and the loss is NaN; in its scoring the latest words go."""
    turns = [Message(role="user", content="的" * 300 + "离婚"), Message(role="assistant", content="法律")]
    samples = tokenise("train", [Conversation(conversations=turns, records=[3])], prompt, 96)
    ids, answer = samples.sample(0)
    assert samples.prompt_cut == [3] and samples.answer_cut == [] and samples.dropped == []
    assert "离婚" in prompt.decode(ids[:answer].tolist()) and prompt.decode(ids[answer:].tolist()) == "法律"


@pytest.mark.parametrize("extra", [{"loss": False}, {"tools": []}])
def test_g_a_field_that_is_not_read_is_refused(extra: dict[str, object]) -> None:
    """The demo documents a loss flag that it ignores and a tools format that raises NotImplementedError."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Message.model_validate({"role": "assistant", "content": "好", **extra})


def test_h_scores_share_one_scale() -> None:
    """The demo puts a BLEU from 0 to 1 beside a ROUGE from 0 to 100."""
    assert {float(SCORES[name].scale(0.5)) for name in ("bleu_zh", "rouge_l_char", "rouge_l_word", "chrf")} == {50.0}


def test_i_all_linear_layers_are_trained_unless_told_otherwise(base: Path) -> None:
    """The demo leaves the target open and PEFT takes query_key_value alone, 0.03 % of the weights."""
    plain = AutoModelForCausalLM.from_pretrained(base)
    linear = lora.linear_names(plain)
    trained = lora.attach(plain, TrainParams().lora).targeted_module_names
    assert sorted({name.rpartition(".")[2] for name in trained}) == linear


def test_j_models_run_on_current_libraries_without_code_of_their_own() -> None:
    """The demo is tied to transformers 4.40 by the code that comes with its checkpoint."""
    code = "".join(
        path.read_text(encoding="utf-8") for folder in ("legalqa", "stages") for path in (ROOT / folder).rglob("*.py")
    )
    assert not re.search(r"trust_remote_code\s*=\s*True", code)


def test_k_each_score_names_its_tokeniser() -> None:
    """The demo's BLEU-4 counts jieba words, LLaMA-Factory's characters, and both call it BLEU-4."""
    for name in SCORES:
        if name.startswith(("rouge", "bleu")):
            assert name.endswith(("_char", "_word", "_zh"))
