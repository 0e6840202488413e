"""Frozen linear layers in int8: on a processor with VNNI an integer product takes half a bf16 one's time; others are refused.

Weights have a scale for each output, activations and gradients one for each token, and sums are exact 32-bit integers. LoRA's
own matrices and their gradients stay in 16 bits, as weight gradients do in SwitchBack (Wortsman et al. 2023, "Stable and
low-precision training for large-scale vision-language models", arXiv:2304.13013), and so does the gradient of the head's
input. A feature that is hundreds of times as large as the others of its token drowns them; models from some 6 billion
parameters on have such (LLM.int8(), arXiv:2208.07339).
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

LEVELS = 127
# Without VNNI (only tests run there; torch knows AVX-512's only) two products are added in 16 bits first: 7-bit weights fit.
WEIGHT_LEVELS = LEVELS if torch.cpu._is_vnni_supported() else 63
WEIGHT, SCALES = "weight", "scales"


class FrozenInt8Linear(nn.Module):
    """``y = x W^T + b`` where W (out, in) is int8 with a scale for each output; it learns nothing itself."""

    def __init__(self, weight: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight, self.scales, self.bias = weight, scales, bias  # plain attributes: DeepSpeed casts and counts all others

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), dtype as it comes."""
        rows: Tensor = _Product.apply(x.reshape(-1, self.in_features), self)  # type: ignore[no-untyped-call]
        return rows.view(*x.shape[:-1], -1)  # not made inside, see `legalqa.training.fused`

    def ahead(self, rows: Tensor) -> Tensor:
        """The forward product, (tokens, in) -> (tokens, out)."""
        y = product(*in_levels(rows), self.weight.T).mul_(self.scales)
        return (y if self.bias is None else y.add_(self.bias)).to(rows.dtype)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient of the input, (tokens, out) -> (tokens, in)."""
        return product(*in_levels(gradient * self.scales), self.weight).to(gradient.dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, layer: FrozenInt8Linear) -> Tensor:
        ctx.layer = layer
        return layer.ahead(rows)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = outputs
        return ctx.layer.back(gradient), None


def in_levels(rows: Tensor, levels: int = LEVELS) -> tuple[Tensor, Tensor]:
    """Each row of (rows, features) as int8 from -levels to levels, and the size (rows, 1) in fp32 of one level."""
    wide = rows.float()
    other = wide.abs()
    sizes = other.amax(1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny * levels).div_(levels)
    return torch.mul(wide, sizes.reciprocal(), out=other).round_().to(torch.int8), sizes


def product(levels: Tensor, sizes: Tensor, weight: Tensor) -> Tensor:
    """What `in_levels` gave of (rows, features), times int8 ``weight`` (features, n): (rows, n) in fp32."""
    return torch._int_mm(levels, weight).float().mul_(sizes)


def write(model: nn.Module, folder: Path) -> None:
    """Quantise the linear layers of a base into files of ``folder`` which all processes of a host map."""
    for name, layer in _linear(model):
        levels, sizes = in_levels(layer.weight.detach(), WEIGHT_LEVELS)
        save_file({WEIGHT: levels, SCALES: sizes.flatten()}, folder / f"{name}.safetensors")


def install(model: nn.Module, folder: Path) -> None:
    """Put what `write` wrote in the places of the linear layers of the same base, which may have got LoRA around them."""
    for place, layer in _linear(model):
        tensors = load_file(folder / f"{place.removesuffix('.base_layer')}.safetensors")
        bias = None if layer.bias is None else layer.bias.detach().float()
        model.set_submodule(place, FrozenInt8Linear(tensors[WEIGHT], tensors[SCALES], bias))


def _linear(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    linear = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear))
    return [(name, layer) for name, layer in linear if ".lora_" not in name]
