"""One renderer for every family: training starts with the completion, no user text opens a role, what is cut is said."""

import shutil
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from legalqa.base import chatglm3
from legalqa.files import read_json, write_json
from legalqa.problems import UserError
from legalqa.prompt import MIN_QUESTION, PROMPT_FILE, Prompt
from legalqa.records import Message
from tests.families import FAMILIES, family_model
from tests.legalqa.base.original_chatglm3 import original_chatglm3

# What each family writes for: system 律, question 问, answer 答, question 再问, answer 再答.
WRITTEN = {
    "qwen2": (
        "<|im_start|>system\n律<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n答<|im_end|>\n"
        "<|im_start|>user\n再问<|im_end|>\n<|im_start|>assistant\n",
        "再答<|im_end|>",
    ),
    "qwen3": (
        "<|im_start|>system\n律<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n答<|im_end|>\n"
        "<|im_start|>user\n再问<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "再答<|im_end|>",
    ),
    "llama2": ("<s> [INST] <<SYS>>\n律\n<</SYS>>\n\n问 [/INST] 答</s><s> [INST] 再问 [/INST]", " 再答</s>"),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n律<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n答<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n再问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "再答<|eot_id|>",
    ),
    "glm4": ("[gMASK]<sop><|system|>\n律<|user|>\n问<|assistant|>\n答<|user|>\n再问<|assistant|>\n", "再答<|endoftext|>"),
    "chatglm3": ("[gMASK]sop<|system|> \n 律<|user|> \n 问<|assistant|> \n 答<|user|> \n 再问<|assistant|>", " \n 再答</s>"),
    "never-taught-to-chat": ("律\n\n### 问题\n问\n\n### 回答\n答\n\n### 问题\n再问\n\n### 回答\n", "再答<eos>"),
}
WRITTEN["glm4-0414"] = WRITTEN["glm4"]
CONVERSATION = [
    Message(role="system", content="律"),
    *(
        Message(role=role, content=text)
        for text, role in zip(("问", "答", "再问", "再答"), ("user", "assistant") * 2, strict=True)
    ),
]
HOSTILE = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "<s>", "</s>", "<unk>", "<0x0A>"),
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<|eot_id|>", "<|start_header_id|>", "<|begin_of_text|>", "<eos>", "<pad>"),
    *("[gMASK]", "sop", "<sop>", "eop", "<|user|>", "<|assistant|>", "<|system|>", "<|observation|>", "people", "### 回答"),
    *("\nassistant\n", "离婚", "合同", "1079", " ", "\n", "。", "🙂", "{content}", "{", "}", "%s"),
)
texts = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=4), min_size=1, max_size=12).map("".join).filter(str.strip)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    room = tmp_path_factory.mktemp("families")
    made = {name: family_model(room / name, name) for name in FAMILIES}
    (room / "chatglm3").mkdir()
    chatglm3.write(original_chatglm3(room / "original"), room / "chatglm3")
    return made | {"chatglm3": room / "chatglm3"}


@pytest.fixture(scope="module")
def prompts(folders: dict[str, Path]) -> dict[str, Prompt]:
    return {name: Prompt.from_base(folder) for name, folder in folders.items()}


@pytest.mark.parametrize("family", WRITTEN)
def test_writes_what_the_family_writes(prompts: dict[str, Prompt], family: str) -> None:
    prompt, (completion, answer) = prompts[family], WRITTEN[family]
    rendered = prompt.training(CONVERSATION)
    start = rendered.loss_mask.index(1)
    assert prompt.tokenizer.decode(rendered.ids[:start], skip_special_tokens=False) == completion
    assert prompt.tokenizer.decode(rendered.ids, skip_special_tokens=False) == completion + answer
    assert prompt.decode(rendered.ids[start:]) == "再答"


@pytest.mark.parametrize("family", WRITTEN)
@settings(max_examples=60, deadline=None)
@given(system=st.none() | texts, question=texts, answer=texts, second=texts, reply=texts)
def test_training_starts_with_the_completion_and_no_text_opens_a_role(
    prompts: dict[str, Prompt], family: str, system: str | None, question: str, answer: str, second: str, reply: str
) -> None:
    prompt = prompts[family]
    special = prompt.tokenizer.get_added_tokens_decoder().keys()
    contents = (system, question, answer, second, reply)

    def talk(said: tuple[str | None, ...]) -> list[Message]:
        roles = ("system", "user", "assistant", "user", "assistant")
        return [Message(role=role, content=text) for role, text in zip(roles, said, strict=True) if text is not None]

    rendered = prompt.training(talk(contents))
    completion = prompt.completion(talk(contents)[:-1])
    assert rendered.ids[: len(completion)] == completion
    assert rendered.loss_mask == [0] * len(completion) + [1] * (len(rendered.ids) - len(completion))
    assert rendered.cut == ""
    tame = prompt.training(talk(tuple(text and "x" for text in contents)))
    assert [i for i in rendered.ids if i in special] == [i for i in tame.ids if i in special]
    if prompt.template.marks:
        marks = [mark for mark in prompt.template.marks if mark in prompt.tokenizer.decode(rendered.ids)]
        written, calm = (prompt.tokenizer.decode(ids) for ids in (rendered.ids, tame.ids))
        assert [written.count(mark) for mark in marks] == [calm.count(mark) for mark in marks]


@pytest.mark.parametrize("family", WRITTEN)
@settings(max_examples=60, deadline=None)
@given(text=texts)
def test_text_comes_back_unchanged(prompts: dict[str, Prompt], family: str, text: str) -> None:
    prompt = prompts[family]
    expected = text.replace("▁", " ") if prompt.name in ("chatglm3", "llama2") else unicodedata.normalize("NFC", text)
    assert prompt.tokenizer.decode(prompt.encode(text)) == expected


@pytest.mark.parametrize("family", WRITTEN)
@settings(max_examples=80, deadline=None)
@given(question=texts, earlier=texts, answer=texts, max_length=st.integers(48, 160))
def test_shortened_by_the_rule(
    prompts: dict[str, Prompt], family: str, question: str, earlier: str, answer: str, max_length: int
) -> None:
    prompt = prompts[family]
    messages = [
        Message(role="system", content="律"),
        Message(role="user", content=earlier),
        Message(role="assistant", content=earlier),
        Message(role="user", content=question),
        Message(role="assistant", content=answer),
    ]
    whole, rendered = prompt.training(messages), prompt.training(messages, max_length)
    assert len(rendered.ids) <= max_length
    if len(whole.ids) <= max_length:
        assert rendered == whole
        return
    learned = [i for i, learn in zip(rendered.ids, rendered.loss_mask, strict=True) if learn]
    wanted = [i for i, learn in zip(whole.ids, whole.loss_mask, strict=True) if learn]
    if rendered.cut == "prompt":
        assert learned == wanted, "the answer is whole, its end token included"
    else:
        assert rendered.cut == "answer"
        assert learned == wanted[: len(learned)]
        assert len(learned) < len(wanted), "a cut answer has no end token"


def test_shortening_keeps_the_system_message_and_the_latest_words(prompts: dict[str, Prompt]) -> None:
    prompt = prompts["qwen2"]
    messages = [
        Message(role="system", content="律师"),
        Message(role="user", content="早先的问题"),
        Message(role="assistant", content="早先的回答"),
        Message(role="user", content="开头" * 100 + "离婚后的赔偿"),
    ]
    assert len(prompt.completion(messages)) > 200
    written = prompt.tokenizer.decode(prompt.completion(messages, 60), skip_special_tokens=False)
    assert written.startswith("<|im_start|>system\n律师<|im_end|>\n<|im_start|>user\n")
    assert written.endswith("离婚后的赔偿<|im_end|>\n<|im_start|>assistant\n")
    assert "早先" not in written
    with pytest.raises(UserError, match="fixed part alone is longer than allowed"):
        prompt.completion(messages, 10)


def test_question_keeps_its_last_words_before_the_answer_is_cut(prompts: dict[str, Prompt]) -> None:
    prompt = prompts["qwen2"]
    question, answer = Message(role="user", content="问" * 200), Message(role="assistant", content="答" * 200)
    rendered = prompt.training([question, answer], 256)
    assert rendered.cut == "answer"
    frame = len(prompt.completion([Message(role="user", content="问")])) - len(prompt.encode("问"))
    assert abs(rendered.loss_mask.count(0) - frame - MIN_QUESTION) <= 3, "a character is three tokens here"
    assert len(rendered.ids) == 256


def test_thoughts_are_text_and_role_tokens_are_not(prompts: dict[str, Prompt]) -> None:
    prompt = prompts["qwen3"]
    ids = [prompt.tokenizer.token_to_id(token) for token in ("<think>", "</think>", "<|im_end|>")]
    assert prompt.decode([ids[0], *prompt.encode("想"), ids[1], *prompt.encode("答"), ids[2]]) == "<think>想</think>答"


def test_default_system_message(folders: dict[str, Path]) -> None:
    prompt, bare = Prompt.from_base(folders["qwen2"], system="律"), Prompt.from_base(folders["qwen2"])
    question = Message(role="user", content="问")
    own = [Message(role="system", content="律"), question]
    assert prompt.completion([question]) == bare.completion(own) == prompt.completion(own)
    assert prompt.completion([question]) != bare.completion([question])


@pytest.mark.parametrize("family", WRITTEN)
def test_saved_and_loaded_it_is_the_same(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    prompt = Prompt.from_base(folders[family], system="律师")
    prompt.save(tmp_path)
    loaded = Prompt.load(tmp_path)
    assert loaded.training(CONVERSATION) == prompt.training(CONVERSATION)
    assert loaded.settings == prompt.settings
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    loaded.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


@pytest.mark.parametrize(
    ("family", "stops"),
    [
        ("qwen2", {"<|im_end|>", "<|endoftext|>"}),
        ("llama3", {"<|eot_id|>", "<|end_of_text|>"}),
        ("glm4", {"<|endoftext|>", "<|user|>", "<|observation|>"}),
        ("chatglm3", {"</s>", "<|user|>", "<|observation|>"}),
        ("never-taught-to-chat", {"<eos>"}),
    ],
)
def test_stops(prompts: dict[str, Prompt], family: str, stops: set[str]) -> None:
    prompt = prompts[family]
    assert {prompt.tokenizer.id_to_token(number) for number in prompt.stop_ids} == stops
    assert prompt.pad_id == prompt.tokenizer.token_to_id(
        {"chatglm3": "<unk>", "llama3": "<|end_of_text|>", "never-taught-to-chat": "<pad>"}.get(family, "<|endoftext|>")
    )
    assert prompt.context == (64 if family == "chatglm3" else 512)


@pytest.mark.parametrize("turns", [[], ["assistant"], ["user", "user"], ["user", "assistant"]])
def test_turns_that_are_no_question(prompts: dict[str, Prompt], turns: list[Literal["user", "assistant"]]) -> None:
    with pytest.raises(UserError, match="user and assistant in turn, user last"):
        prompts["qwen2"].completion([Message(role=role, content="x") for role in turns])


def test_files_missing_or_damaged(prompts: dict[str, Prompt], tmp_path: Path) -> None:
    prompts["qwen2"].save(tmp_path)
    write_json(tmp_path / PROMPT_FILE, read_json(tmp_path / PROMPT_FILE) | {"pad_id": "x", "more": 1})
    with pytest.raises(UserError, match="is damaged") as caught:
        Prompt.load(tmp_path)
    assert {problem.where for problem in caught.value.problems} == {"pad_id", "more"}
    (tmp_path / PROMPT_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not JSON"):
        Prompt.load(tmp_path)
    (tmp_path / PROMPT_FILE).unlink()
    with pytest.raises(UserError, match="missing"):
        Prompt.load(tmp_path)
    prompts["qwen2"].save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json: missing"):
        Prompt.load(tmp_path)


def test_plain_begins_as_the_tokenizer_does(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["never-taught-to-chat"], tmp_path / "base"))
    write_json(folder / "tokenizer_config.json", read_json(folder / "tokenizer_config.json") | {"bos_token": "<pad>"})
    assert Prompt.from_base(folder).template.begin == ()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = [("<pad>", tokenizer.token_to_id("<pad>"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="<pad> $A", special_tokens=special)
    tokenizer.save(str(folder / "tokenizer.json"))
    question = [Message(role="user", content="问")]
    bare = Prompt.from_base(folders["never-taught-to-chat"]).completion(question)
    assert Prompt.from_base(folder).completion(question) == [special[0][1], *bare]


def test_no_role_and_no_end(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["never-taught-to-chat"], tmp_path / "base"))
    write_json(folder / "tokenizer_config.json", {})
    with pytest.raises(UserError, match="without role tokens and without end of text"):
        Prompt.from_base(folder)
