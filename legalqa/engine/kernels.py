"""What lies between two matrix products, compiled by numba: each function is one pass over rows that stay in the cache.

A step that writes one token has four products a layer; written in torch, some fifty small operations lie between them, and
each costs more than its arithmetic (docs/serving-speed.md has the figures). Here every row (a token) is computed from itself
alone, in the same order however many there are, so a token's numbers are the same alone and in company. All arrays are
float32 unless said.

The compiled code is kept beside this file, in the user's cache folder or in NUMBA_CACHE_DIR, and made anew for another
processor; where none of them can be written to, at each start (eight seconds on a slow processor).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numba
import numpy as np
from numpy import float32, int32, uint16, uint32
from numpy.typing import NDArray

Array = NDArray[float32]
Function = TypeVar("Function", bound=Callable[..., Any])

ROW_LEVELS = 127  # a row's largest number as an integer
FOUR = 4  # rows of the cache that are read together: fewer trips to memory for each product
_LEAST_BITS = float32(1e-12).view(uint32)
_NO_SIGN = uint32(0x7FFFFFFF)
_ZERO, _ONE = float32(0), float32(1)
_LEVELS = float32(ROW_LEVELS)
_LOG2_E = float32(1.4426950408889634)


def _compiled(function: Function) -> Function:
    # Sums may be cut into vectors; NaN and infinity keep their meaning.
    compiled = partial(numba.njit, fastmath={"reassoc", "contract", "nsz", "arcp"}, nogil=True, error_model="numpy")
    try:
        result: Any = compiled(function, cache=True)
    except RuntimeError:  # no folder to keep it in
        result = compiled(function)
    return result  # type: ignore[no-any-return]


@_compiled
def _raise_two(x: Array, bits: NDArray[int32]) -> None:
    """``x = 2 ** x`` in place, to 2e-7 of the result; about 2^127 or 2^-126 beyond these. ``bits``: scratch, as large.

    (The mathematical library takes one number at a time.) The Taylor series of the fraction's power, from -0.5 to 0.5.
    """
    powers = bits.view(np.float32)
    for i in range(len(x)):
        whole = np.floor(x[i] + float32(0.5))
        whole = min(max(whole, float32(-126)), float32(127))
        f = min(max(x[i] - whole, float32(-0.5)), float32(0.5)) if x[i] == x[i] else x[i]
        bits[i] = (int32(whole) + int32(127)) << int32(23)
        series = float32(1.5403530e-4)
        series = series * f + float32(1.3333558e-3)
        series = series * f + float32(9.6181291e-3)
        series = series * f + float32(5.5504109e-2)
        series = series * f + float32(2.4022651e-1)
        series = series * f + float32(6.9314718e-1)
        x[i] = series * f + _ONE
    for i in range(len(x)):
        x[i] *= powers[i]


@_compiled
def _row_in_integers(row: Array, levels: NDArray[Any], offset: float32, size: Array) -> None:
    numbers = row.view(np.uint32)
    largest = _LEAST_BITS  # as bits without the sign: in the order of the numbers, with NaN above all
    for i in range(len(row)):
        largest = max(largest, numbers[i] & _NO_SIGN)
    size.view(np.uint32)[0] = largest
    scale = _LEVELS / size[0]
    for i in range(len(row)):
        levels[i] = row[i] * scale + offset


@_compiled
def in_integers(rows: Array, offset: float32, levels: NDArray[Any], sizes: Array) -> None:
    """Rows (rows, features) as a product takes them: ``levels`` of the same shape, and ``sizes`` (rows, 1), what 127 are worth.

    ``levels`` may be floats, with ``offset`` 0, which the product rounds itself; or unsigned bytes, with the zero point and
    a half.
    """
    for r in range(len(rows)):
        _row_in_integers(rows[r], levels[r], offset, sizes[r])


@_compiled
def normed_in_integers(
    rows: Array, weight: Array, epsilon: float32, offset: float32, levels: NDArray[Any], sizes: Array
) -> None:
    """`in_integers` of the RMS norm ``x w / sqrt(mean(x^2) + epsilon)`` of rows."""
    count = rows.shape[1]
    weighted = np.empty(count, np.float32)
    for r in range(len(rows)):
        row = rows[r]
        squares = _ZERO
        for i in range(count):
            squares += row[i] * row[i]
            weighted[i] = row[i] * weight[i]
        # The quotient only scales the row: its integers are those of x w.
        _row_in_integers(weighted, levels[r], offset, sizes[r])
        sizes[r, 0] /= np.sqrt(squares / float32(count) + epsilon)


@_compiled
def add_product(rows: Array, product: Array, sizes: Array, bias: Array) -> None:
    """``rows += product sizes + bias``, in place; all (rows, features) but sizes (rows, 1) and bias (features)."""
    for r in range(len(rows)):
        size = sizes[r, 0]
        for i in range(rows.shape[1]):
            rows[r, i] += product[r, i] * size + bias[i]


@_compiled
def gated_in_integers(
    product: Array, product_sizes: Array, bias: Array, offset: float32, levels: NDArray[Any], sizes: Array
) -> None:
    """`in_integers` of ``silu(gate) up``: ``levels`` (rows, features). The scaled product (rows, 2 features): gate, up.

    Writes over ``product``.
    """
    count = levels.shape[1]
    power = np.empty(count, np.float32)
    bits = np.empty(count, np.int32)
    for r in range(len(product)):
        size = product_sizes[r, 0]
        row = product[r]
        for i in range(count):
            row[i] = row[i] * size + bias[i]
            power[i] = row[i] * -_LOG2_E
        _raise_two(power, bits)
        for i in range(count):
            up = row[count + i] * size + bias[count + i]
            row[i] = row[i] / (_ONE + power[i]) * up
        _row_in_integers(row[:count], levels[r], offset, sizes[r])


@_compiled
def write_heads(
    product: Array,
    sizes: Array,
    bias: Array,
    cosine: Array,
    sine: Array,
    query: Array,
    cache: NDArray[uint16],
    slots: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> None:
    """Scale, turn and hand out a product (rows, heads x width) of queries, keys and values.

    Turned queries go to ``query`` (rows, heads, width); turned keys and the values into ``cache`` (slots, 2 x key heads,
    length, width) at each row's slot and position, in bfloat16 (as bits). ``cosine`` and ``sine`` are (rows, width): RoPE,
    where halves are turned against each other.
    """
    heads, width = query.shape[1:]
    turned = heads + cache.shape[1] // 2
    half = width // 2
    row = np.empty(product.shape[1], np.float32)
    for r in range(len(product)):
        size = sizes[r, 0]
        for i in range(len(row)):
            row[i] = product[r, i] * size + bias[i]
        for head in range(turned):
            first = row[head * width : head * width + half]
            second = row[head * width + half : (head + 1) * width]
            for d in range(half):
                one, other = first[d], second[d]
                first[d] = one * cosine[r, d] - other * sine[r, d]
                second[d] = other * cosine[r, half + d] + one * sine[r, half + d]
        for head in range(heads):
            for d in range(width):
                query[r, head, d] = row[head * width + d]
        bits = row.view(np.uint32)
        for head in range(cache.shape[1]):
            new = cache[slots[r], head, positions[r]]
            first_bits = bits[(heads + head) * width : (heads + head + 1) * width]
            for d in range(width):  # to the nearest, a tie to the even one
                new[d] = (first_bits[d] + uint32(0x7FFF) + ((first_bits[d] >> uint32(16)) & uint32(1))) >> uint32(16)


@_compiled
def _read_four(rows: NDArray[uint16], at: int, length: int, bits: NDArray[uint32]) -> None:
    """Rows ``at`` and following (length, width) of the cache as bits of float32; zeros behind ``length``."""
    for k in range(FOUR):
        if at + k < length:
            for d in range(rows.shape[1]):
                bits[k, d] = uint32(rows[at + k, d]) << uint32(16)
        else:
            bits[k] = uint32(0)


@_compiled
def _softmax(x: Array, scaling: float32, bits: NDArray[int32]) -> None:
    """The softmax of ``scaling x``, in place."""
    largest = x[0]
    for i in range(len(x)):
        largest = max(largest, x[i])
    for i in range(len(x)):
        x[i] = (x[i] - largest) * (scaling * _LOG2_E)
    _raise_two(x, bits)
    total = _ZERO
    for i in range(len(x)):
        total += x[i]
    share = _ONE / total
    for i in range(len(x)):
        x[i] *= share


@_compiled
def attend(
    rows: NDArray[np.int64],
    query: Array,
    cache: NDArray[uint16],
    slots: NDArray[np.int64],
    positions: NDArray[np.int64],
    scaling: float32,
    seen: Array,
) -> None:
    """What the queries of ``rows`` see in their slots up to their own positions.

    ``query`` and ``seen``, of which only these rows are written: (all rows, heads, width). ``cache`` as in `write_heads`;
    query heads share key heads in groups of neighbours.
    """
    width = query.shape[2]
    shared = cache.shape[1] // 2
    group = query.shape[1] // shared
    bits = np.empty((FOUR, width), np.uint32)
    four = bits.view(np.float32)
    longest = 0
    for r in rows:
        longest = max(longest, positions[r] + 1)
    scores = np.empty((group, longest + FOUR), np.float32)
    scratch = np.empty(longest, np.int32)
    for r in rows:
        length = positions[r] + 1
        for head in range(shared):
            asked = query[r, head * group : (head + 1) * group]
            result = seen[r, head * group : (head + 1) * group]
            for at in range(0, length, FOUR):
                _read_four(cache[slots[r], head], at, length, bits)
                for g in range(group):
                    first, second, third, fourth = _ZERO, _ZERO, _ZERO, _ZERO
                    for d in range(width):
                        first += asked[g, d] * four[0, d]
                        second += asked[g, d] * four[1, d]
                        third += asked[g, d] * four[2, d]
                        fourth += asked[g, d] * four[3, d]
                    scores[g, at] = first
                    scores[g, at + 1] = second
                    scores[g, at + 2] = third
                    scores[g, at + 3] = fourth
            for g in range(group):
                _softmax(scores[g, :length], scaling, scratch[:length])
                scores[g, length : length + FOUR] = _ZERO
                result[g] = _ZERO
            for at in range(0, length, FOUR):
                _read_four(cache[slots[r], shared + head], at, length, bits)
                for g in range(group):
                    first, second, third, fourth = scores[g, at], scores[g, at + 1], scores[g, at + 2], scores[g, at + 3]
                    for d in range(width):
                        result[g, d] += first * four[0, d] + second * four[1, d] + (third * four[2, d] + fourth * four[3, d])
