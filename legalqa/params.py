"""The one typed schema of params.yaml: strict, frozen, nothing unknown; every problem of a file in one message."""

import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic import Field as Key
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from legalqa.problems import Problem, UserError
from legalqa.stage import stage


class Block(BaseModel):
    """Strict, frozen, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


# ---------------------------------------------------------------- data, validate, convert, split


class Columns(Block):
    title: str | None = "title"
    question: str | None = "question"
    reply: str = "reply"
    is_best: str | None = "is_best"

    @model_validator(mode="after")
    def _a_question(self) -> "Columns":
        if self.title is None and self.question is None:
            raise ValueError("title and question can't both be null: one of them asks")
        return self


class DataParams(Block):
    source: str
    encoding: str = "auto"
    delimiter: str = "auto"
    bad_records: Literal["stop", "drop"] = "stop"
    empty_words: list[str] = ["nan", "NaN", "null", "NULL", "None", "NA", "N/A", "<NA>", "\\N"]
    columns: Columns = Columns()

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if value != "auto" and len(value) != 1:
            raise ValueError("auto or one character")
        return value


class Expectation(Block):
    """One rule: its GX name, how bad a failure is, and GX's own arguments beside them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)

    type: str
    severity: Literal["critical", "warning"] = "critical"

    def arguments(self) -> dict[str, Any]:
        """What is handed to the GX class."""
        return dict(self.__pydantic_extra__ or {})


class ValidateParams(Block):
    expectations: list[Expectation]


class Lengths(Block):
    min: int = Key(ge=1)
    max: int = Key(ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> "Lengths":
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class NearDuplicates(Block):
    group: float = Key(gt=0, le=1)
    drop: float = Key(gt=0, le=1)

    @model_validator(mode="after")
    def _drop_within_group(self) -> "NearDuplicates":
        if self.drop < self.group:
            raise ValueError(f"drop {self.drop} is below group {self.group}: what is dropped must belong to the group")
        return self


class ConvertParams(Block):
    replies: Literal["best", "all", "best_else_first", "longest"]
    clean: list[Literal["html", "control", "full_width", "furniture", "repeats", "greeting", "whitespace"]]
    mask: list[Literal["email", "id_card", "bank_card", "wechat", "qq", "phone", "plate", "address"]]
    question_length: Lengths
    reply_length: Lengths
    advertising: Literal["cut", "drop", "keep"]
    empty_advice: Literal["drop", "keep"]
    repealed_law: Literal["drop", "keep"]
    boilerplate: int = Key(ge=0)
    near_duplicates: NearDuplicates


class SplitParams(Block):
    train: float = Key(gt=0, lt=1)
    dev: float = Key(gt=0, lt=1)
    test: float = Key(gt=0, lt=1)
    key: str = Key(min_length=1, max_length=64)
    exact_below: int = Key(ge=0)
    leak_threshold: float = Key(gt=0, le=1)
    benchmarks: list[str]

    @model_validator(mode="after")
    def _sum_to_one(self) -> "SplitParams":
        total = self.train + self.dev + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + dev + test must be 1, found {total:g}")
        return self


# ---------------------------------------------------------------- base


class BaseParams(Block):
    source: Literal["packaged", "hub", "local"]
    name: str | None = None
    revision: str | None = Key(None, pattern=r"^[0-9a-f]{40}$")
    path: str | None = None
    sha256: str | None = Key(None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _keys_of_the_source(self) -> "BaseParams":
        needed, allowed = {
            "packaged": (set(), set()),
            "hub": ({"name", "revision"}, {"name", "revision", "sha256"}),
            "local": ({"path"}, {"path", "name", "sha256"}),
        }[self.source]
        given = {key for key in ("name", "revision", "path", "sha256") if getattr(self, key) is not None}
        if missing := sorted(needed - given):
            raise ValueError(f"source {self.source} needs {' and '.join(missing)}")
        if extra := sorted(given - allowed):
            raise ValueError(f"source {self.source} takes no {' and no '.join(extra)}: set null there, or another source")
        return self


# ---------------------------------------------------------------- knowledge


class KnowledgeParams(Block):
    as_of: str = Key(pattern=r"^\d{4}-\d{2}-\d{2}$")
    answers: bool = True
    meaning: bool = True
    threshold: float = Key(0.5, ge=0, le=1)
    near: float = Key(0.6, ge=0, le=1)


# ---------------------------------------------------------------- train


class LoraParams(Block):
    r: int = Key(16, gt=0)
    alpha: float = Key(32, gt=0)
    dropout: float = Key(0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = "all-linear"
    rslora: bool = False
    dora: bool = False
    init: Literal["default", "gaussian", "orthogonal"] = "default"

    @field_validator("targets")
    @classmethod
    def _named(cls, targets: str | list[str]) -> str | list[str]:
        if not targets:
            raise ValueError("all-linear, or at least one name of a linear layer")
        return targets


class TrainParams(Block):
    seed: int = Key(42, ge=0)
    system: str | None = None
    max_length: int = Key(512, ge=16)
    batch: int = Key(16, gt=0)
    epochs: float = Key(2.0, gt=0)
    learning_rate: float = Key(4e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Key(0.05, ge=0, lt=1)
    weight_decay: float = Key(0.0, ge=0)
    max_grad_norm: float = Key(1.0, gt=0)
    checks: int = Key(4, gt=0)
    best_by: Literal["dev_loss", "dev_accuracy"] = "dev_loss"
    patience: int | None = Key(None, gt=0)
    layout: Literal["packed", "grouped"] = "packed"
    pack_tokens: int = Key(512, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    gradient_checkpointing: bool = False
    quantise: Literal["auto", "none", "int8", "nf4"] = "none"
    zero: Literal[1, 2, 3] = 2
    offload: Literal["none", "optimizer", "parameters"] = "none"
    lora: LoraParams = LoraParams()

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainParams":
        if self.pack_tokens < self.max_length:
            raise ValueError(f"pack_tokens {self.pack_tokens} must be at least max_length {self.max_length}")
        if self.offload == "parameters" and self.zero != 3:
            raise ValueError(f"offload: parameters needs zero: 3, found zero: {self.zero}")
        if self.offload == "optimizer" and self.zero == 1:
            raise ValueError("offload: optimizer needs zero: 2 or 3, found zero: 1")
        if self.quantise == "nf4" and self.zero == 3:
            raise ValueError(
                "quantise: nf4 can't be combined with zero: 3, which would cut the 4-bit blocks apart; use zero: 2"
            )
        if self.quantise == "int8" and (self.zero == 3 or self.lora.dora):
            other, why = ("zero: 3", "cuts weights apart") if self.zero == 3 else ("lora.dora", "needs the weights themselves")
            raise ValueError(f"quantise: int8 can't be combined with {other}, which {why}; use quantise: none")
        return self


# ---------------------------------------------------------------- evaluate


Arm = Literal["base", "tuned", "knowledge", "base+knowledge", "tuned+knowledge", "api", "api+knowledge"]


class EvaluateParams(Block):
    seed: int = 42
    arms: list[Arm] = Key(min_length=1)
    questions: int | None = Key(None, gt=0)
    max_new_tokens: int = Key(160, gt=0)
    weights: Literal["int8", "bf16", "fp32"] = "int8"
    max_batch: int = Key(16, gt=0)
    passages: int = Key(2, ge=1, le=10)
    passage_tokens: int = Key(400, gt=0)
    resamples: int = Key(2000, ge=100)
    confidence: float = Key(0.95, gt=0.5, lt=1)


class BenchmarkParams(Block):
    lawbench: str | None = None
    lawbench_scorer: str | None = None
    tasks: list[Literal["1-1", "1-2", "2-1", "2-4", "3-2", "3-6", "3-8"]] = ["1-1", "2-4", "3-8"]
    disc: str | None = None
    lecoqa: str | None = None
    arms: list[Arm] = ["base", "tuned"]
    items: int | None = Key(None, gt=0)
    max_new_tokens: int = Key(1024, gt=0)

    @model_validator(mode="after")
    def _scorer_for_corrections(self) -> "BenchmarkParams":
        if self.lawbench and "2-1" in self.tasks and not self.lawbench_scorer:
            raise ValueError("task 2-1 needs lawbench_scorer, the folder evaluation/utils/data of LawBench's repository")
        return self


# ---------------------------------------------------------------- winner, package


class Limit(Block):
    score: str
    min: float | None = None
    max: float | None = None
    max_drop: float | None = Key(None, ge=0)
    max_rise: float | None = Key(None, ge=0)

    @model_validator(mode="after")
    def _limits_something(self) -> "Limit":
        if self.min is self.max is self.max_drop is self.max_rise is None:
            raise ValueError("at least one of min, max, max_drop, max_rise")
        return self


class WinnerParams(Block):
    arm: str = "tuned"
    primary: str
    min_gain: float = Key(0.0, ge=0)
    limits: list[Limit] = []


class PackageParams(Block):
    licence: str
    data_licence: str
    parity_prompts: int = Key(50, ge=1)
    parity_tokens: float = Key(0.99, ge=0, le=1)
    parity_logits: float = Key(0.05, gt=0)


# ---------------------------------------------------------------- serve


class BreakerParams(Block):
    window_s: float = Key(20.0, gt=0)
    min_calls: int = Key(5, ge=1)
    failure_rate: float = Key(0.5, gt=0, le=1)
    slow_rate: float = Key(0.8, gt=0, le=1)
    open_s: float = Key(5.0, gt=0)
    max_open_s: float = Key(15.0, gt=0)
    probes: int = Key(2, ge=1)


class LimitParams(Block):
    requests_per_minute: int = Key(120, gt=0)
    tokens_per_minute: int = Key(60_000, gt=0)
    concurrent: int = Key(32, gt=0)


AROUND_PASSAGES = 64  # tokens of the words that surround passages in a prompt: some forty, with titles


class ServeParams(Block):
    knowledge: Literal["always", "auto", "never"] = "auto"
    passages: int = Key(2, ge=1, le=10)
    passage_tokens: int = Key(400, gt=0)
    agent: Literal["auto", "never"] = "never"
    auto_score: float = Key(0.3, ge=0, le=1)
    default_new_tokens: int = Key(256, gt=0)
    max_new_tokens: int = Key(1024, gt=0)
    max_prompt_tokens: int = Key(1280, gt=0)
    deadline_s: float = Key(60.0, gt=0)
    first_token_s: float = Key(10.0, gt=0)
    stall_s: float = Key(10.0, gt=0)
    restart_after_s: float = Key(30.0, gt=0)
    max_requests: int = Key(64, gt=0)
    max_tokens: int = Key(65_536, gt=0)
    max_batch: int = Key(16, gt=0)
    mark_citations: bool = True
    label_text: bool = False
    breaker: BreakerParams = BreakerParams()
    limits: LimitParams = LimitParams()

    @property
    def context(self) -> int:
        """Tokens of the longest conversation with passages, and of its answer."""
        return self.max_prompt_tokens + self.passage_tokens + AROUND_PASSAGES + self.max_new_tokens

    @model_validator(mode="after")
    def _times_in_order(self) -> "ServeParams":
        if self.first_token_s >= self.deadline_s:
            raise ValueError(f"first_token_s {self.first_token_s:g} must be shorter than deadline_s {self.deadline_s:g}")
        if self.default_new_tokens > self.max_new_tokens:
            raise ValueError(f"default_new_tokens {self.default_new_tokens} is over max_new_tokens {self.max_new_tokens}")
        return self


# ---------------------------------------------------------------- the whole file


class Params(Block):
    """params.yaml, one attribute a block. Rules that tie two blocks together are checked here."""

    data: DataParams
    validate_: ValidateParams = Key(alias="validate")
    convert: ConvertParams
    split: SplitParams
    base: BaseParams
    knowledge: KnowledgeParams
    train: TrainParams
    evaluate: EvaluateParams
    benchmarks: BenchmarkParams
    winner: WinnerParams
    package: PackageParams
    serve: ServeParams = ServeParams()


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check the params file. Raises UserError with every problem: line, key, value, and the nearest valid name."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(Problem(str(path), "there is no such file", fix="run from the project folder")) from None
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(Problem(f"{path}{line}", error.problem or "not YAML", fix="correct the YAML there")) from None
    if not isinstance(tree, dict):
        raise UserError(Problem(str(path), "holds no mapping", "one block a stage"))
    try:
        return Params.model_validate(_plain(tree))
    except ValidationError as error:
        problems = [_problem(str(path), tree, detail) for detail in error.errors()]
        raise UserError(problems, f"{path}: {len(problems)} problem(s), nothing was run") from None


def _plain(node: Any) -> Any:
    """ruamel's round-trip nodes (they know their line) as plain Python values."""
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _problem(path: str, tree: Any, detail: Any) -> Problem:
    location = [part for part in detail["loc"] if part != "validate_"]
    key = ".".join(str(part) for part in location)
    where = f"{path} line {_line(tree, location)}: {key}" if key else path
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        return Problem(where, "unknown key", f"one of {', '.join(known)}", f"did you mean {near[0]}?" if near else "remove it")
    if detail["type"] == "missing":
        return Problem(where, "missing key", fix="add it (the params.yaml of this project shows each key with its meaning)")
    message = str(detail["msg"]).removeprefix("Value error, ")
    if isinstance(detail["input"], dict):  # several keys together: the message names them and says what was found
        return Problem(where, message)
    return Problem(where, repr(_plain(detail["input"])), message)


def _line(tree: Any, location: list[Any]) -> int:
    """Line (from 1) of the deepest part of ``location`` that the file has."""
    line = 1
    node: Any = tree
    for part in location:
        lines: Any = getattr(node, "lc", None)  # ruamel's
        try:
            position = lines.value(part) if isinstance(node, list) else lines.key(part)
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line = position[0] + 1
        node = node[part]
    return line


def _known_keys(location: list[Any]) -> list[str]:
    """The names that the schema allows under ``location``."""
    model: Any = Params
    for part in location:
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == part), None)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return [f.alias or name for name, f in model.model_fields.items()]


def check_source(params: Params) -> None:
    """Raises UserError when the raw file is not there: DVC would only name it."""
    if not Path(params.data.source).is_file():
        fix = "put the file there or name another one, relative to the project folder"
        raise UserError(Problem(f"params.yaml: data.source: {params.data.source}", "there is no such file", fix=fix))


if __name__ == "__main__":
    with stage("params"):
        check_source(load_params())
