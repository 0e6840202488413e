from pathlib import Path

import pytest
from transformers import Gemma2Config, Qwen2Config

from legalqa.params import TrainParams
from legalqa.problems import UserError
from legalqa.training.job import refuse_unfit

PACKED = TrainParams(max_length=64)
GROUPED = TrainParams(max_length=64, layout="grouped")


def test_what_keeps_a_base_from_being_trained_is_told_at_once(tmp_path: Path) -> None:
    Gemma2Config(sliding_window=32, num_hidden_layers=2).save_pretrained(tmp_path)
    with pytest.raises(UserError) as packed:
        refuse_unfit(PACKED, tmp_path)
    assert "train.layout: packed, and a base of model_type 'gemma2', with layers of kind sliding_attention" in str(packed.value)
    assert "set layout: grouped" in str(packed.value)
    assert "config.json: final_logit_softcapping: 30" in str(packed.value)
    with pytest.raises(UserError) as grouped:
        refuse_unfit(GROUPED, tmp_path)
    assert "train.layout" not in str(grouped.value)
    (tmp_path / "config.json").write_text('{"model_type": "gemma2"}', encoding="utf-8")
    with pytest.raises(UserError, match="final_logit_softcapping: 30"):  # what its class adds counts too
        refuse_unfit(GROUPED, tmp_path)


def test_others_fit(tmp_path: Path) -> None:
    Gemma2Config(sliding_window=32, num_hidden_layers=2, final_logit_softcapping=None).save_pretrained(tmp_path)
    refuse_unfit(GROUPED, tmp_path)
    Qwen2Config().save_pretrained(tmp_path)
    refuse_unfit(PACKED, tmp_path)
