"""The same arithmetic with fewer tensors kept for the backward pass: a third less activation memory on a CPU.

RMS norms keep their input instead of two copies in fp32, gated MLPs compute silu again instead of keeping it, a LoRA
layer adds its part in place, and the last MLP computes the answers' tokens alone. Only weights that stay frozen get no
gradient here: those of norms and bases.
"""

from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from legalqa.training.int8 import FrozenInt8Linear

Tensors = tuple[torch.Tensor | None, ...]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return wide.mul_(scale).to(x.dtype) * weight if wide is not x else (x * scale) * weight

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Tensors:
        x, weight, scale = ctx.saved_tensors
        gradient = (outputs[0] * weight).float()
        normal = x.float() * scale
        projection = (gradient * normal).mean(-1, keepdim=True)
        return (gradient - normal.mul_(projection)).mul_(scale).to(x.dtype), None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Tensors:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(outputs[0] * up, gate), functional.silu(gate).mul_(outputs[0])


class _Lora(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, flat: torch.Tensor, base: nn.Linear | FrozenInt8Linear, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        inner = (flat @ a.T).mul_(scale)
        ctx.save_for_backward(flat, a, b, inner)
        ctx.base, ctx.scale = base, scale
        y = base.ahead(flat) if isinstance(base, FrozenInt8Linear) else functional.linear(flat, base.weight, base.bias)
        return y.addmm_(inner, b.T)

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Tensors:
        flat, a, b, inner = ctx.saved_tensors
        (gradient,) = outputs
        back = (gradient @ b).mul_(ctx.scale)
        below = None
        if ctx.needs_input_grad[0]:
            below = ctx.base.back(gradient) if isinstance(ctx.base, FrozenInt8Linear) else gradient @ ctx.base.weight
            below = below.addmm_(back, a)
        return below, None, back.T @ flat, gradient.T @ inner, None


def _norm(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    normal: torch.Tensor = _Norm.apply(hidden_states, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]
    return normal


def _mlp(self: Any, x: torch.Tensor) -> torch.Tensor:
    lowered: torch.Tensor = self.down_proj(_Gate.apply(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-untyped-call]
    return lowered


def _mlp_of_answers(self: Any, x: torch.Tensor) -> torch.Tensor:
    """Nobody reads what the last layer gives for other tokens: they get zeros."""
    if self.answers is None:
        return _mlp(self, x)
    lowered = _mlp(self, x[:, self.answers])
    return torch.zeros_like(x).index_copy(1, self.answers, lowered)


def _lora(self: Any, x: torch.Tensor) -> torch.Tensor:
    (name,) = self.active_adapters
    a, b = self.lora_A[name].weight, self.lora_B[name].weight
    flat: torch.Tensor = _Lora.apply(  # type: ignore[no-untyped-call]
        x.reshape(-1, x.shape[-1]), self.base_layer, a, b, self.scaling[name]
    )
    return flat.view(*x.shape[:-1], -1)  # not made inside: some models write into what they get, which autograd forbids there


def install(model: Any) -> None:
    """Give a model with LoRA layers these forwards where they say the same as its own."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = MethodType(_norm, module)
        elif _gated_mlp(module):
            module.forward = MethodType(_mlp, module)
        elif _plain_lora(module):
            module.forward = MethodType(_lora, module)
    layers = getattr(model.get_decoder(), "layers", None)
    mlp = getattr(layers[-1], "mlp", None) if layers else None
    if mlp is not None and _gated_mlp(mlp):  # not one of several experts, which get their tokens in another order
        mlp.forward = MethodType(_mlp_of_answers, mlp)
        model.register_forward_pre_hook(partial(_tell_answers, mlp), with_kwargs=True)


def _tell_answers(mlp: Any, _model: nn.Module, _arguments: Any, keywords: dict[str, Any]) -> None:
    mlp.answers = keywords.get("logits_to_keep")


def _gated_mlp(module: Any) -> bool:
    gated = {"gate_proj", "up_proj", "down_proj"} <= module._modules.keys()
    return gated and type(module.act_fn).__name__.startswith("SiLU")


def _plain_lora(module: Any) -> bool:
    """A LoRA layer over a plain or int8 linear one, without DoRA and without dropout."""
    from peft.tuners.lora import Linear

    plain = type(module) is Linear and type(module.base_layer) in (nn.Linear, FrozenInt8Linear) and not module.lora_variant
    return plain and all(isinstance(dropout, nn.Identity) for dropout in module.lora_dropout.values())
