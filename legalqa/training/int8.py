"""Frozen linear layers in int8, forward and backward: on a processor with VNNI an integer product takes half a bf16 one's time.

Weights have a scale for each output, activations and gradients one for each token, and sums are exact 32-bit integers. LoRA's
own matrices and their gradients stay as they are, which is what keeps such a training stable (SwitchBack: Wortsman et al. 2023,
"Stable and low-precision training for large-scale vision-language models", arXiv:2304.13013).
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

LEVELS = 127
# Without VNNI the processor adds two products in 16 bits first: 7-bit weights keep that from overflowing.
WEIGHT_LEVELS = LEVELS if torch.cpu._is_vnni_supported() else 63
WEIGHTS, SCALES = "weight", "scales"


class Int8Linear(nn.Module):
    """``y = x W^T + b`` where W (out, in) is int8 with a scale for each output; it learns nothing itself."""

    def __init__(self, weight: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight, self.scales, self.bias = weight, scales, bias  # plain attributes: DeepSpeed casts and counts all others

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), dtype as it comes."""
        y: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return y

    def ahead(self, rows: Tensor) -> Tensor:
        """The forward product, (tokens, in) -> (tokens, out)."""
        levels, sizes = in_levels(rows)
        y = torch._int_mm(levels, self.weight.T).float().mul_(sizes).mul_(self.scales)
        return (y if self.bias is None else y.add_(self.bias)).to(rows.dtype)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient of the input, (tokens, out) -> (tokens, in)."""
        levels, sizes = in_levels(gradient * self.scales)
        return torch._int_mm(levels, self.weight).float().mul_(sizes).to(gradient.dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Int8Linear) -> Tensor:
        ctx.layer = layer
        return layer.ahead(x.reshape(-1, layer.in_features)).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = outputs
        return ctx.layer.back(gradient.reshape(-1, ctx.layer.out_features)).view(*gradient.shape[:-1], -1), None


def in_levels(rows: Tensor, levels: int = LEVELS) -> tuple[Tensor, Tensor]:
    """Each row of (rows, features) as int8 from -levels to levels, and the size (rows, 1) in fp32 of one level."""
    wide = rows.float()
    sizes = wide.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny * levels).div_(levels)
    return (wide * sizes.reciprocal()).round_().to(torch.int8), sizes


def write(model: nn.Module, path: Path) -> None:
    """Quantise the linear layers of a base, all but its head, into a file which all processes of a host map."""
    tensors: dict[str, Tensor] = {}
    for name, layer in _linear(model):
        levels, sizes = in_levels(layer.weight.detach(), WEIGHT_LEVELS)
        tensors |= {f"{name}.{WEIGHTS}": levels, f"{name}.{SCALES}": sizes.flatten()}
    save_file(tensors, path)


def install(model: nn.Module, path: Path) -> None:
    """Put what `write` wrote in the places of the linear layers of the same base, which may have got LoRA around them."""
    tensors = load_file(path)
    for place, layer in _linear(model):
        name = place.removesuffix(".base_layer")
        bias = None if layer.bias is None else layer.bias.detach().float()
        model.set_submodule(place, Int8Linear(tensors[f"{name}.{WEIGHTS}"], tensors[f"{name}.{SCALES}"], bias))


def _linear(model: Any) -> list[tuple[str, nn.Linear]]:
    head = model.get_output_embeddings()
    linear = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and layer is not head)
    return [(name, layer) for name, layer in linear if ".lora_" not in name]
