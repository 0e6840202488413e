"""Linear layers with int8 weights: a quarter of fp32's bytes to read for each token, and rows that don't see each other.

Weights are quantised symmetrically for each output channel, activations for each token (row). The sums are exact 32-bit
integers, so a row gives the same result alone and in any batch: greedy tokens of a batch equal those of a single request.
(torch's own dynamic quantisation takes one scale for the whole batch, where a neighbour's outlier changes a row's result.)
"""

import torch
from torch import Tensor, nn

ZERO_POINT = 128  # the kernel takes unsigned activations
# Without VNNI the processor adds two products in 16 bits first: 7-bit weights keep that from overflowing.
WEIGHT_LEVELS = 127 if torch.cpu._is_vnni_supported() else 63


class Int8Linear(nn.Module):
    """``y = x W^T + b`` with ``x`` (..., in_features) and ``y`` in float32, W in int8. CPU only."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Quantise ``weight`` (out_features, in_features); ``bias`` stays float32."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        rows = weight.detach().float()
        self.scales = (rows.abs().amax(dim=1) / WEIGHT_LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        whole = (rows / self.scales[:, None]).round_().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self.zeros = torch.zeros(self.out_features, dtype=torch.int32)
        self.bias = None if bias is None else bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """Quantise each row of ``x``, multiply in integers, scale back."""
        rows = x.reshape(-1, self.in_features)
        scales = rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-12).div_(127)
        whole = (rows / scales).round_().add_(ZERO_POINT).to(torch.uint8)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, ZERO_POINT, self.packed, self.scales, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        y.mul_(scales)
        if self.bias is not None:
            y.add_(self.bias)
        return y.view(*x.shape[:-1], self.out_features)
