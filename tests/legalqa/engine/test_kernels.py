import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from legalqa.engine import kernels
from legalqa.engine.kernels import Array

ROWS, HEADS, KEY_HEADS, WIDTH, LENGTH = 5, 6, 2, 12, 11
FLOATS = np.float32(0)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(math.prod(shape)))


def _levels(write: Callable[[Array, Array], None], rows: int, features: int) -> Tensor:
    """What levels and sizes stand for together."""
    levels, sizes = np.empty((rows, features), np.float32), np.empty((rows, 1), np.float32)
    write(levels, sizes)
    assert np.abs(levels).max(axis=1) == pytest.approx(127, rel=1e-6)
    return torch.from_numpy(levels * sizes / 127)


def test_integers_stand_for_the_row() -> None:
    x = _random(ROWS, 37)
    x[2] *= 1e6
    assert torch.allclose(_levels(lambda *out: kernels.in_integers(x.numpy(), FLOATS, *out), ROWS, 37), x, rtol=1e-5)


def test_bytes_are_rounded_around_the_zero_point() -> None:
    row = np.array([[127, -127, 0.4, -0.4, 0.6, -0.6, 126.4, 0]], np.float32)
    levels, sizes = np.empty(row.shape, np.uint8), np.empty((1, 1), np.float32)
    kernels.in_integers(row, np.float32(128.5), levels, sizes)
    assert levels[0].tolist() == [255, 1, 128, 128, 129, 127, 254, 128]
    assert sizes[0, 0] == 127


@pytest.mark.parametrize("wrong", [math.nan, -math.nan, math.inf])
def test_what_is_no_number_does_not_look_like_one(wrong: float) -> None:
    x = _random(3, 37).numpy()
    x[1, 30] = wrong
    levels, sizes = np.empty(x.shape, np.float32), np.empty((3, 1), np.float32)
    kernels.in_integers(x, FLOATS, levels, sizes)
    assert np.isfinite(sizes[:, 0]).tolist() == [True, False, True]


def test_a_row_of_zeros() -> None:
    levels, sizes = np.ones((1, 5), np.float32), np.ones((1, 1), np.float32)
    kernels.in_integers(np.zeros((1, 5), np.float32), FLOATS, levels, sizes)
    assert not levels.any()
    assert np.isfinite(sizes).all()


def test_norm() -> None:
    x, weight = _random(ROWS, 37), _random(37)
    found = _levels(lambda *out: kernels.normed_in_integers(x.numpy(), weight.numpy(), np.float32(0.1), FLOATS, *out), ROWS, 37)
    assert torch.allclose(found, rms_norm(x, (37,), weight, 0.1), atol=1e-5)


def test_add_product() -> None:
    x, product, sizes, bias = _random(ROWS, 37), _random(ROWS, 37) * 9, _random(ROWS, 1), _random(37)
    expected = x + product * sizes + bias
    kernels.add_product(x.numpy(), product.numpy(), sizes.numpy(), bias.numpy())
    assert torch.allclose(x, expected, atol=1e-5)


def test_gate() -> None:
    product, sizes, bias = _random(ROWS, 74) * 20, _random(ROWS, 1), _random(74)
    product[0] = torch.linspace(-400, 400, 74)  # far beyond what an exponential can hold
    gate, up = (product * sizes + bias).chunk(2, 1)
    expected = silu(gate) * up
    found = _levels(
        lambda *out: kernels.gated_in_integers(product.numpy(), sizes.numpy(), bias.numpy(), FLOATS, *out), ROWS, 37
    )
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def _cache() -> tuple[Tensor, Array]:
    cache = torch.full((3, 2 * KEY_HEADS, LENGTH, WIDTH), math.nan, dtype=torch.bfloat16)  # what is not written is not read
    bits: Array = cache.view(torch.uint16).numpy()
    return cache, bits


def test_heads_are_turned_and_kept() -> None:
    both = HEADS + 2 * KEY_HEADS
    product, sizes, bias = _random(ROWS, both * WIDTH), _random(ROWS, 1), _random(both * WIDTH)
    angles = _random(ROWS, 1, WIDTH // 2).repeat(1, 1, 2)
    slots, positions = np.array([2, 0, 2, 1, 2]), np.array([0, 3, 1, 10, 2])
    cache, bits = _cache()
    query = np.empty((ROWS, HEADS, WIDTH), np.float32)
    cosine, sine = angles.cos(), angles.sin()
    kernels.write_heads(
        product.numpy(), sizes.numpy(), bias.numpy(), cosine[:, 0].numpy(), sine[:, 0].numpy(), query, bits, slots, positions
    )
    heads = (product * sizes + bias).view(ROWS, both, WIDTH)
    first, second = heads.chunk(2, -1)
    turned = heads * cosine + torch.cat((-second, first), -1) * sine
    assert torch.allclose(torch.from_numpy(query), turned[:, :HEADS], atol=1e-5)
    kept = cache[slots, :, positions]
    assert torch.allclose(kept[:, :KEY_HEADS].float(), turned[:, HEADS:-KEY_HEADS], rtol=1e-2)
    assert torch.allclose(kept[:, KEY_HEADS:].float(), heads[:, -KEY_HEADS:], rtol=1e-2)
    assert int(cache.isfinite().sum()) == kept.numel()


def test_kept_numbers_are_rounded_as_torch_rounds() -> None:
    both = HEADS + 2 * KEY_HEADS
    values = torch.from_numpy((np.arange(both * WIDTH, dtype=np.uint32) * 0x4000 + 0x3F800000).view(np.float32))  # ties, too
    nothing, one = np.zeros((1, WIDTH), np.float32), np.ones((1, 1), np.float32)
    cache, bits = _cache()
    query = np.empty((1, HEADS, WIDTH), np.float32)
    at = np.zeros(1, np.int64)
    bias = np.zeros(both * WIDTH, np.float32)
    kernels.write_heads(values[None].numpy(), one, bias, nothing + 1, nothing, query, bits, at, at)
    assert torch.equal(cache[0, :, 0].flatten(), values[HEADS * WIDTH :].bfloat16())


def test_each_row_sees_its_own_slot_up_to_itself() -> None:
    cache, bits = _cache()
    slots, positions = np.array([0, 0, 0, 1, 2]), np.array([4, 5, 6, 10, 0])
    for slot in range(3):
        end = int(positions[slots == slot].max()) + 1
        cache[slot, :, :end] = _random(2 * KEY_HEADS, end, WIDTH)
    query = _random(ROWS, HEADS, WIDTH)
    seen = np.empty_like(query.numpy())
    kernels.attend(np.arange(ROWS), query.numpy(), bits, slots, positions, np.float32(0.7), seen)
    for row, (slot, position) in enumerate(zip(slots, positions, strict=True)):
        keys, values = cache[slot, :, : position + 1].float().repeat_interleave(HEADS // KEY_HEADS, 0).chunk(2)
        expected = scaled_dot_product_attention(query[row, :, None], keys, values, scale=0.7)[:, 0]
        assert torch.allclose(torch.from_numpy(seen[row]), expected, atol=1e-5)
        alone = np.zeros_like(seen)
        kernels.attend(np.array([row]), query.numpy(), bits, slots, positions, np.float32(0.7), alone)
        assert np.array_equal(alone[row], seen[row])
        assert np.count_nonzero(alone) == HEADS * WIDTH


def test_without_a_folder_for_compiled_code() -> None:
    program = """
from numba.core import caching
caching.CacheImpl._locator_classes = []
from legalqa.engine import kernels
import numpy as np
rows = np.ones((1, 4), np.float32)
kernels.add_product(rows, rows.copy(), np.ones((1, 1), np.float32), np.ones(4, np.float32))
print(rows.tolist())
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout == "[[3.0, 3.0, 3.0, 3.0]]\n"
