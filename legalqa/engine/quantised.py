"""Linear layers with int8 weights: a quarter of fp32's bytes to read for each token, and rows that don't see each other.

Weights are quantised symmetrically for each output channel, activations for each token (row). The sums are exact 32-bit
integers, so a row gives the same result alone and in any batch: greedy tokens of a batch equal those of a single request.
(torch's own dynamic quantisation takes one scale for the whole batch, where a neighbour's outlier changes a row's result.)

torch has two kernels for such products. With VNNI it is oneDNN's; without (x86 before 2019, AMD's before 2022) FBGEMM's takes
a fifth of its time for one row and half for sixteen.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional

from legalqa.engine import kernels
from legalqa.problems import Problem, UserError

ZERO_POINT = 128  # the products take unsigned activations
VNNI = torch.cpu._is_vnni_supported()
FBGEMM = not VNNI and "fbgemm" in torch.backends.quantized.supported_engines
SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # layers that transformers' models give the same input
# Without VNNI the processor adds two products in 16 bits first: 7-bit weights keep that from overflowing.
WEIGHT_LEVELS = 127 if VNNI else 63
CHEAP_ROWS = 2 if FBGEMM else 7  # a step with so many tokens costs hardly more than with one: an eighth, or a tenth
FEW = 16  # oneDNN makes and keeps a kernel for each number of rows: beyond this one only for its multiples
# What a product takes. FBGEMM's rounds, and adds the zero point, itself; for oneDNN's a half is added and the rest cut off.
_LEVELS, OFFSET = (torch.float32, np.float32(0)) if FBGEMM else (torch.uint8, np.float32(ZERO_POINT + 0.5))


class Int8Linear(nn.Module):
    """``y = x W^T + b`` with ``x`` (..., in_features) and ``y`` in float32, W in int8. CPU only."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Quantise ``weight`` (out_features, in_features); ``bias`` stays float32."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        rows = weight.detach().float()
        other = rows.abs()
        scales = (other.amax(dim=1) / WEIGHT_LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        whole = torch.div(rows, scales[:, None], out=other).round_().to(torch.int8)
        self.scales = scales / kernels.ROW_LEVELS
        if FBGEMM:
            self.packed = _packed_for_fbgemm(whole, self.scales)
        else:
            self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
            self.zeros = torch.zeros(self.out_features, dtype=torch.int32)
        self.bias = None if bias is None else bias.detach().float()

    @property
    def weight(self) -> Tensor:
        """Raises UserError: packed weights can't be read, as some models' layers would (Mamba's)."""
        found = "int8, and a model whose code reads the weights of its layers"
        raise UserError(Problem("weights", found, "bf16 or fp32", "set evaluate.weights; for a service, LEGALQA_WEIGHTS"))

    def forward(self, x: Tensor) -> Tensor:
        """Quantise each row of ``x``, multiply in integers, scale back."""
        rows = x.reshape(-1, self.in_features).contiguous()
        levels, sizes = rows_in_integers(len(rows), self.in_features)
        kernels.in_integers(rows.numpy(), OFFSET, levels.numpy(), sizes.numpy())
        y = self.product(levels).mul_(sizes)
        if self.bias is not None:
            y += self.bias
        return y.view(*x.shape[:-1], self.out_features)

    def product(self, levels: Tensor) -> Tensor:
        """The product of `rows_in_integers`, to be scaled by their sizes: (rows, out_features) in float32."""
        y: Tensor
        if FBGEMM:
            y = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(levels, 1.0, ZERO_POINT, self.packed)
            return y
        rows = len(levels)
        if rows > FEW:
            levels = functional.pad(levels, (0, 0, 0, -rows % FEW))
        y = torch.ops.onednn.qlinear_pointwise(
            levels, 1.0, ZERO_POINT, self.packed, self.scales, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y[:rows]


def rows_in_integers(rows: int, features: int) -> tuple[Tensor, Tensor]:
    """Room for rows as a product takes them: levels (rows, features) for the functions of `kernels`, and sizes (rows, 1)."""
    return torch.empty(rows, features, dtype=_LEVELS), torch.empty(rows, 1)


def _packed_for_fbgemm(whole: Tensor, scales: Tensor) -> Any:
    with warnings.catch_warnings():  # a tensor of a quantised type is deprecated, but the only way in
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions", category=UserWarning)
        weight = torch._make_per_channel_quantized_tensor(whole, scales.double(), torch.zeros(len(scales), dtype=torch.long), 0)
    return torch.ops.quantized.linear_prepack(weight, None)


class _Joined:
    """Several layers of one input as one product; each part asks for its own columns."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        weights: list[Tensor] = [layer.weight for layer in layers]
        biases: list[Tensor] = [
            w.new_zeros(len(w)) if layer.bias is None else layer.bias for layer, w in zip(layers, weights, strict=True)
        ]
        with_bias = any(layer.bias is not None for layer in layers)
        self.layer = Int8Linear(torch.cat(weights), torch.cat(biases) if with_bias else None)
        self._widths = [layer.out_features for layer in layers]
        self._input: Tensor | None = None
        self._outputs: dict[int, Tensor] = {}

    def columns(self, part: int, x: Tensor) -> Tensor:
        """The output of layer ``part``; computed for all of them when the first one is asked."""
        if x is not self._input:
            self._input = x
            self._outputs = dict(enumerate(self.layer(x).split(self._widths, -1)))
        y = self._outputs.pop(part)
        if not self._outputs:
            self._input = None
        return y


class _Part(nn.Module):
    def __init__(self, joined: _Joined, part: int) -> None:
        super().__init__()
        self.joined, self._part = joined, part

    def forward(self, x: Tensor) -> Tensor:
        return self.joined.columns(self._part, x)


def quantise(model: nn.Module, merged: bool = True) -> None:
    """Replace every linear layer of ``model``, in place; those that share their input become one product.

    A joined product gives each layer the very numbers it would give alone, with fewer passes over the activations. Adapters
    of peft are merged in float32, layer by layer: a float32 copy of the whole model would take most of the time and memory.
    Not ``merged``, they stay beside their layers, which then are not joined.
    """
    for parent in list(_outside_adapters(model)):
        layers = {name: child for name, child in parent.named_children() if isinstance(child, nn.Linear | BaseTunerLayer)}
        if not merged:
            for name in [name for name, child in layers.items() if isinstance(child, BaseTunerLayer)]:
                adapted: Any = layers.pop(name)
                adapted.base_layer = Int8Linear(adapted.base_layer.weight, adapted.base_layer.bias)
        linear = {name: _merged(layer) for name, layer in layers.items()}
        for names in SIBLINGS:
            if linear.keys() >= set(names):
                joined = _Joined([linear.pop(name) for name in names])
                for part, name in enumerate(names):
                    setattr(parent, name, _Part(joined, part))
        for name, layer in linear.items():
            setattr(parent, name, Int8Linear(layer.weight, layer.bias))


def _outside_adapters(module: nn.Module) -> Iterator[nn.Module]:
    yield module
    for child in module.children():
        if not isinstance(child, BaseTunerLayer):
            yield from _outside_adapters(child)


def _merged(layer: Any) -> nn.Linear:
    if isinstance(layer, BaseTunerLayer):
        layer.float()
        layer.merge()
        layer = layer.get_base_layer()
    linear: nn.Linear = layer
    return linear
