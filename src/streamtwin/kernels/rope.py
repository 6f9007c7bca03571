"""By which angles are queries and keys rotated, given where their tokens lie in the video?

Rotary position embedding over three axes (Wan 2.1): a head's complex pairs are divided among
time, height and width (22, 21, 21 of 64 at head_dim 128), base 10000. Angles are computed in
float64 and kept as float32 cosine and sine, as complex64 numbers (complex128 for a model in
float64). Positions are unbounded: a stream that runs for days needs no longer table, only its
current frame's angles.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from streamtwin.kernels.rows import PassRow

THETA = 10000.0
"""Base of the frequencies (Wan 2.1)."""


def axis_pairs(head_dim: int) -> tuple[int, int, int]:
    """Complex pairs for time, height and width; in real dimensions d - 4*(d//6), then 2*(d//6)."""
    space = head_dim // 6
    return head_dim // 2 - 2 * space, space, space


def frequencies(pairs: int, device: torch.device) -> Tensor:
    """Radians per position, float64 [pairs]: theta^(-i / pairs)."""
    exponent = torch.arange(pairs, dtype=torch.float64, device=device) / pairs
    return THETA**-exponent


def rotations(positions: Tensor, pairs: int, dtype: torch.dtype) -> Tensor:
    """exp(i * angle), complex *dtype* [..., pairs], of float64 *positions* [...]."""
    angles = positions[..., None] * frequencies(pairs, positions.device)
    # Rounded to float32 only after cosine and sine: at frame 1e6 a float32 angle is off by 0.03.
    return torch.complex(angles.cos(), angles.sin()).to(dtype)


def space_rotations(
    rows: int,
    columns: int,
    head_dim: int,
    device: torch.device,
    dtype: torch.dtype = torch.complex64,
) -> Tensor:
    """Height and width part, complex [rows * columns, pairs]."""
    _, high, wide = axis_pairs(head_dim)
    y = rotations(torch.arange(rows, dtype=torch.float64, device=device), high, dtype)
    x = rotations(torch.arange(columns, dtype=torch.float64, device=device), wide, dtype)
    y = y[:, None].expand(rows, columns, high)
    x = x[None].expand(rows, columns, wide)
    return torch.cat([y, x], dim=-1).flatten(0, 1)


def frame_positions(rows: Sequence[PassRow], device: torch.device) -> Tensor:
    """Temporal positions of the frames of a pass, float64 [B, T'].

    They reach the device as kernel arguments (`arange`), so nothing is copied or awaited.
    """
    frames = [
        torch.arange(
            r.first_position, r.first_position + r.frames, dtype=torch.float64, device=device
        )
        for r in rows
    ]
    return torch.stack(frames)


def pass_rotations(positions: Tensor, space: Tensor, head_dim: int) -> Tensor:
    """Rotations of a pass, complex [B, T'*S, 1, head_dim/2].

    *positions* as from `frame_positions`, *space* from `space_rotations`. On the device alone, so
    that a captured pass follows what stands in *positions* when it is replayed.
    """
    time = rotations(positions, axis_pairs(head_dim)[0], space.dtype)
    B, T, pairs = time.shape
    S = space.shape[0]
    time = time[:, :, None].expand(B, T, S, pairs)
    table = torch.cat([time, space.expand(B, T, *space.shape)], dim=-1)
    return table.flatten(1, 2)[:, :, None]


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate [B, L, heads, head_dim] by *table*; neighbouring entries form a complex pair.

    The product is taken in the table's precision, float32 or float64, whatever x has. A complex
    table [.., head_dim/2] makes it one complex product, which is the faster way operator by
    operator. The same table as real numbers [.., head_dim/2, 2] spells the product out, for a
    compiler, which fuses it but knows no complex numbers.
    """
    if table.is_complex():
        pairs = torch.view_as_complex(x.to(table.dtype.to_real()).view(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * table).flatten(-2).to(x.dtype)
    even, odd = x.to(table.dtype).view(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = table.unbind(-1)
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(-2).to(x.dtype)


def turn(keys: Tensor, shift: int) -> Tensor:
    """Rotated keys [S, heads, head_dim] moved by *shift* positions in time.

    A rotation by p followed by one by shift is one by p + shift. Computed as in `rotate`.
    """
    precise = keys.dtype == torch.float64
    pairs = axis_pairs(keys.shape[-1])[0]
    distance = torch.full((1, 1, 1), shift, dtype=torch.float64, device=keys.device)
    table = rotations(distance, pairs, torch.complex128 if precise else torch.complex64)
    turned = keys.clone()
    turned[..., : 2 * pairs] = rotate(keys[None, ..., : 2 * pairs], table)[0]
    return turned
