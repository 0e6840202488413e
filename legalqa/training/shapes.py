"""What a model's shape says before it is loaded: parameters, LoRA parameters, work and memory of a training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legalqa.files import read_json
from legalqa.params import TrainParams
from legalqa.problems import Problem, UserError

GB = 1e9
FUSED_GATES = ("glm", "glm4")  # model types whose gate and up projections are one layer
CHUNK, WORDS = 512, 4096  # answer tokens whose logits exist at once, words of them in fp32, as in loss.py
FUSED, PLAIN = (20, 4), (66, 8)  # bytes of activations a token and layer in bf16, measured: times hidden size, times MLP size
INT8_WORK = 0.67  # of an int8 product, with all that goes with it, against a bf16 one: measured
NF4_BYTES = 0.52  # a 4-bit weight with its share of the block scales
GATHERED = 1e9  # weights that DeepSpeed's ZeRO-3 keeps for their next use (stage3_max_live_parameters, max_reuse_distance)
RUNTIME = {"cpu": 1.05, "cuda": 1.5}  # GB, measured: libraries and kernels' workspace; a GPU's context


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder-only transformer with gated MLPs."""

    name: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    fused_gate: bool = False

    @classmethod
    def of(cls, folder: Path, name: str) -> "Shape":
        """Read it off the config.json of a plain model folder."""
        return cls.from_config(read_json(folder / "config.json"), name)

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str) -> "Shape":
        """Read it off a model's configuration. Raises UserError for one that names its sizes otherwise."""
        needed = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size", "model_type")
        if missing := [key for key in needed if key not in config]:
            found = f"no {', '.join(missing)}"
            raise UserError(
                Problem(f"{name}: config.json", found, "a decoder-only transformer with gated MLPs, sizes at the top")
            )
        heads = config["num_attention_heads"]
        return cls(
            name=name,
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            ffn=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or config["hidden_size"] // heads,
            vocabulary=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", False)),
            fused_gate=config["model_type"] in FUSED_GATES,
        )

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's linear layers."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = {"q_proj": (self.hidden, queries), "k_proj": (self.hidden, keys), "v_proj": (self.hidden, keys)}
        mlp = {"gate_proj": (self.hidden, self.ffn), "up_proj": (self.hidden, self.ffn)}
        if self.fused_gate:
            mlp = {"gate_up_proj": (self.hidden, 2 * self.ffn)}
        return {**attention, "o_proj": (queries, self.hidden), **mlp, "down_proj": (self.ffn, self.hidden)}

    @property
    def linear_parameters(self) -> int:
        """Weights of all layers' linear layers."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def parameters(self) -> int:
        """All weights (biases, a few thousandths, left out)."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear_parameters + embeddings + self.hidden * (2 * self.layers + 1)

    @property
    def in_int8(self) -> int:
        """Weights of which `quantise: int8` makes bytes: those of the layers and of the head."""
        return self.linear_parameters + self.vocabulary * self.hidden

    def head_share(self, params: TrainParams) -> float:
        """Work of the head for a token against that of all layers (less with gradient_checkpointing)."""
        layers = self.linear_parameters * (INT8_WORK if params.quantise == "int8" else 1)
        return self.vocabulary * self.hidden / layers

    def trainable(self, params: TrainParams) -> int:
        """LoRA's weights. Raises UserError for a target that no layer has."""
        targets = list(self.linears) if params.lora.targets == "all-linear" else params.lora.targets
        if missing := [name for name in targets if name not in self.linears]:
            found = f"{', '.join(missing)} not in {self.name}"
            raise UserError(Problem("train.lora.targets", found, f"some of {', '.join(self.linears)}"))
        return self.layers * sum(params.lora.r * sum(self.linears[name]) for name in targets)

    def flops(self, params: TrainParams, answer_share: float, sample_tokens: float) -> float:
        """Work of one token: forward, and backward to the inputs alone, as frozen weights get no gradient."""
        attention = 2 * passes(params) * self.layers * self.heads * self.head_size * sample_tokens
        head = 4 * self.vocabulary * self.hidden * answer_share
        return self.linear_flops(params) + attention + head + 6 * self.trainable(params)

    def linear_flops(self, params: TrainParams) -> float:
        """The part of `flops` in the frozen linear layers."""
        return 2 * passes(params) * self.linear_parameters


def passes(params: TrainParams) -> int:
    """Forward, backward, and with gradient_checkpointing forward again."""
    return 2 if not params.gradient_checkpointing else 3


PUBLIC = {
    "ChatGLM3-6B": Shape("ChatGLM3-6B", 28, 4096, 13696, 32, 2, 128, 65024, False, fused_gate=True),
    "Llama-2-7B": Shape("Llama-2-7B", 32, 4096, 11008, 32, 32, 128, 32000, False),
    "Qwen2.5-32B": Shape("Qwen2.5-32B", 64, 5120, 27648, 40, 8, 128, 152064, False),
    "GLM-130B": Shape("GLM-130B", 70, 12288, 32768, 96, 96, 128, 150528, False),
    "Qwen/Qwen2.5-Coder-0.5B-Instruct": Shape("Qwen2.5-0.5B", 24, 896, 4864, 14, 2, 64, 151936, True),
}
"""Shapes from the models' public configs."""


@dataclass(frozen=True)
class Memory:
    """GB of one device: what training keeps there, and of its host what is offloaded (all devices of the host together)."""

    weights: float
    adapter: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    runtime: float
    host: float

    @property
    def total(self) -> float:
        """GB of the device at the peak."""
        return self.weights + self.adapter + self.gradients + self.optimizer + self.activations + self.logits + self.runtime


def memory(shape: Shape, params: TrainParams, device: str, processes: int, per_host: int, wide: bool, tokens: int) -> Memory:
    """Peak memory of each of ``processes`` devices with micro-batches of ``tokens``.

    Gradients and optimizer count trainable weights alone.
    ``wide``: weights in fp32 instead of bf16. Gradients are summed in fp32; the optimizer keeps a copy of the weights and two
    moments in fp32, shared out by ZeRO-1; ZeRO-2 shares out gradients, ZeRO-3 the weights, of which then `GATHERED` stay
    gathered for their next use: all of a small model.
    """
    size = 4 if wide else 2
    trained = shape.trainable(params)
    linear = shape.linear_parameters
    weights = float(shape.parameters * size)
    if params.quantise == "int8":  # a tied head becomes a second copy of the words' vectors
        weights += shape.in_int8 - (linear if shape.tied else shape.in_int8) * size
    elif params.quantise == "nf4":
        weights += linear * (NF4_BYTES - size)
        if device == "cpu":
            weights += linear * size  # the file they are made from stays mapped
    gathered = 0.0
    if params.zero == 3 and (processes > 1 or params.offload == "parameters"):
        largest = 2 * shape.linear_parameters / shape.layers + shape.vocabulary * shape.hidden
        gathered = min(max(largest, GATHERED), shape.parameters) * size
        weights /= processes
    gradients = trained * 4 / (processes if params.zero >= 2 else 1)
    optimizer = trained * (8 if wide else 12) / processes
    host = 0.0
    if params.offload != "none" and device == "cuda":
        host += (optimizer + gradients) * per_host
        optimizer = gradients = 0.0
    if params.offload == "parameters" and device == "cuda":
        host += weights * per_host
        weights = 0.0
    by_hidden, by_ffn = FUSED if device == "cpu" and params.zero < 3 else PLAIN
    token_layer = (by_hidden * shape.hidden + by_ffn * shape.ffn) * size / 2
    kept = shape.hidden * size * shape.layers + token_layer if params.gradient_checkpointing else token_layer * shape.layers
    logits = min(CHUNK, tokens) * (shape.vocabulary * size + WORDS * 12)
    return Memory(
        weights=(weights + gathered) / GB,
        adapter=trained * size / GB,
        gradients=gradients / GB,
        optimizer=optimizer / GB,
        activations=kept * tokens / GB,
        logits=logits / GB,
        runtime=RUNTIME[device],
        host=host / GB,
    )


def checkpoint_bytes(shape: Shape, params: TrainParams) -> float:
    """One checkpoint: the adapter twice (its own file, DeepSpeed's) and the optimizer."""
    return shape.trainable(params) * (2 + 2 + 12)
