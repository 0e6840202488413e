from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legalqa.problems import UserError
from legalqa.prompt import Prompt
from legalqa.records import Conversation, Message
from legalqa.training.packing import Samples, deal, lay_out, plan_steps, tokenise
from tests.legalqa.training.conftest import conversations

LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=80)


def long(question: int, answer: int, record: int) -> Conversation:
    turns = [Message(role="user", content="的" * question), Message(role="assistant", content="了" * answer)]
    return Conversation(conversations=turns, records=[record])


def test_a_sample_is_the_rendered_prompt_and_answer(prompt: Prompt) -> None:
    [conversation] = conversations(1)
    ids, answer = tokenise("train", [conversation], prompt, 64).sample(0)
    rendered = prompt.training(conversation.conversations)
    assert ids.tolist() == rendered.ids
    assert rendered.loss_mask == [0] * answer + [1] * (len(ids) - answer)
    assert ids[-1] in prompt.stop_ids


def test_every_answer_of_a_long_conversation_is_a_sample(prompt: Prompt) -> None:
    turns = [m for c in conversations(3) for m in c.conversations]
    samples = tokenise("train", [Conversation(conversations=turns)], prompt, 512)
    assert len(samples) == 3
    assert samples.lengths == sorted(samples.lengths)


def test_what_was_cut_is_counted_by_record_number(prompt: Prompt) -> None:
    samples = tokenise("train", [*conversations(3), long(200, 5, 7), long(5, 200, 8), long(200, 200, 9)], prompt, 96)
    assert samples.prompt_cut == [7]
    assert samples.answer_cut == [8, 9]
    assert samples.dropped == [] and samples.changed == 3
    assert max(samples.lengths) == 96
    whole, answer = samples.sample(3)
    assert whole[-1] in prompt.stop_ids and len(whole) - answer == 6  # the answer of record 7 is whole
    assert samples.sample(4)[0][-1] not in prompt.stop_ids  # an answer that was cut has no end


def test_nothing_to_learn_is_refused(prompt: Prompt) -> None:
    with pytest.raises(UserError, match=r"train split: 0 trainable tokens in 4 .* raise train.max_length"):
        tokenise("train", conversations(4), prompt, 4)


def test_saved_and_loaded(prompt: Prompt, tmp_path: Path) -> None:
    samples = tokenise("train", conversations(5), prompt, 64)
    samples.save(tmp_path / "s.npz")
    again = Samples.load(tmp_path / "s.npz")
    assert np.array_equal(again.ids, samples.ids)
    assert again.lengths == samples.lengths
    assert again.answer_tokens == samples.answer_tokens


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 20), st.integers(0, 3))
def test_every_sample_once_an_epoch(lengths: list[int], batch: int, seed: int) -> None:
    per_epoch = len(plan_steps(lengths, batch, 1, seed))
    steps = plan_steps(lengths, batch, 2, seed)
    assert len(steps) == 2 * per_epoch
    for epoch in (steps[:per_epoch], steps[per_epoch:]):
        assert sorted(index for step in epoch for index in step) == list(range(len(lengths)))
        assert all(epoch)


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    lengths = list(range(10, 60))
    steps = plan_steps(lengths, 8, 2, 1)
    assert steps == plan_steps(lengths, 8, 2, 1)
    assert steps != plan_steps(lengths, 8, 2, 2)
    assert sorted(map(sorted, steps[: len(steps) // 2])) != sorted(map(sorted, steps[len(steps) // 2 :]))


def test_steps_follow_the_size_of_the_data() -> None:
    assert len(plan_steps([5] * 320, 16, 1.5, 0)) == 30
    assert len(plan_steps([5], 16, 0.1, 0)) == 1


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 6), st.integers(60, 200), st.booleans())
def test_layout_loses_nothing_and_fits(lengths: list[int], processes: int, capacity: int, by_work: bool) -> None:
    steps = plan_steps(lengths, 8, 1, 0)
    work = [length * (1 + index % 3) / 2 for index, length in enumerate(lengths)] if by_work else None
    laid = lay_out(steps, lengths, processes, capacity, work)
    assert len({len(step) for step in laid}) == 1 and len(laid[0]) % processes == 0
    for step, rows in zip(steps, laid, strict=True):
        assert sorted(index for row in rows for index in row) == sorted(step)
        assert all(sum(lengths[index] for index in row) <= capacity for row in rows)


def test_hands_are_balanced() -> None:
    lengths = list(range(1, 101))
    totals = [sum(lengths[i] for i in hand) for hand in deal(range(99, -1, -1), lengths, 7)]
    assert max(totals) - min(totals) < 30


def test_micro_batches_get_the_same_work() -> None:
    ids, answers = np.zeros(16 * 100, np.int32), np.array([95, 5] * 8)  # every other sample is nearly all answer
    samples = Samples(ids, np.arange(17) * 100, answers)
    work = samples.work(0.4)
    assert work[:2] == [100 + 0.4 * 5, 100 + 0.4 * 95]
    ((*rows,),) = lay_out([list(range(16))], samples.lengths, 2, 400, work)
    totals = [sum(work[index] for index in row) for row in rows]
    assert max(totals) - min(totals) < 0.01 * max(totals)
    ((*blind,),) = lay_out([list(range(16))], samples.lengths, 2, 400)
    assert max(spread := [sum(work[index] for index in row) for row in blind]) - min(spread) > 0.1 * max(spread)
