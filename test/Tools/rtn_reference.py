"""Round-to-nearest on uniform grids in NumPy: the reference for the quantizer.

Written from the formulas, one array operation per formula, without regard to
speed. Everything is float32 with one rounding per operation; only the objective
of the range search is evaluated in float64. Codes, scales and zero points are
expected to equal those of the compiler bit for bit (with clip="mse" wherever no
two ranges come within 1e-6 of the same objective).

SPDX-License-Identifier: Apache-2.0
"""

import numpy as np

SCHEMES = ("asymmetric", "symmetric", "signed")
F32 = np.float32


def round_scale(scale, scale_type):
    """Rounds to the storage type, never to zero nor to infinity."""
    if scale_type == "f32":
        return np.clip(scale, np.finfo(F32).smallest_subnormal, np.finfo(F32).max)
    with np.errstate(over="ignore", under="ignore"):
        half = scale.astype(np.float16)
    return np.clip(half, np.float16(2.0**-24), np.float16(65504)).astype(F32)


def grid_of_range(lo, hi, bits, scheme, scale_type):
    """Scale and zero point of groups whose weights lie in [lo, hi]."""
    top, mid = 2**bits - 1, 2 ** (bits - 1)
    if scheme == "signed":
        return round_scale(hi / F32(mid - 1), scale_type), np.full(lo.shape, mid)
    with np.errstate(over="ignore"):
        width = hi - lo
    scale = np.where(
        np.isinf(width),
        (hi / F32(2) - lo / F32(2)) / F32(top / 2),
        width / F32(top),
    )
    scale = round_scale(scale, scale_type)
    if scheme == "symmetric":
        return scale, np.full(lo.shape, mid)
    return scale, np.minimum(np.rint(-lo / scale), top).astype(np.int64)


def encode(groups, scale, zero, bits, scheme):
    """Codes of groups[..., g] on the grids scale[...], zero[...]."""
    with np.errstate(over="ignore"):
        steps = np.rint(groups / scale[..., None])
    # Far outside of all codes a float32 sum is not exact: clamp twice.
    codes = np.clip(steps, -1024, 1024) + zero[..., None]
    return np.clip(codes, 1 if scheme == "signed" else 0, 2**bits - 1)


def decode(codes, scale, zero):
    """scale * (codes - zero), as float32."""
    return scale[..., None] * (codes - zero[..., None]).astype(F32)


def objective(groups, scale, zero, bits, scheme):
    """sum |decoded - weight|^2.4 of each group, as float64."""
    decoded = decode(encode(groups, scale, zero, bits, scheme), scale, zero)
    error = decoded.astype(np.float64) - groups.astype(np.float64)
    return np.sum(np.abs(error) ** 2.4, axis=-1)


def choose_grid(groups, bits, scheme, scale_type, clip):
    """Scale and zero point of each of groups[..., g]."""
    lo = np.minimum(groups.min(axis=-1), F32(0))
    hi = np.maximum(groups.max(axis=-1), F32(0))
    if scheme != "asymmetric":
        magnitude = np.maximum(hi, -lo)
        lo = np.where((lo < 0) | (scheme == "signed"), -magnitude, F32(0))
        hi = magnitude
    empty = (lo == 0) & (hi == 0)
    lo, hi = np.where(empty, F32(-1), lo), np.where(empty, F32(1), hi)

    scale, zero = grid_of_range(lo, hi, bits, scheme, scale_type)
    if clip == "none":
        return scale, zero
    best = objective(groups, scale, zero, bits, scheme)
    for step in range(1, 80):
        shrink = F32(1 - step / 100)
        new_scale, new_zero = grid_of_range(
            shrink * lo, shrink * hi, bits, scheme, scale_type
        )
        value = objective(groups, new_scale, new_zero, bits, scheme)
        better = value < best
        best = np.where(better, value, best)
        scale = np.where(better, new_scale, scale)
        zero = np.where(better, new_zero, zero)
    return scale, zero


def split_groups(matrix, group_size):
    """The columns of [N, K] as pieces [N, G, g]: whole groups, then the rest."""
    rows, columns = matrix.shape
    size = min(group_size or columns, columns)
    whole = columns // size * size
    pieces = [matrix[:, :whole].reshape(rows, -1, size)]
    if whole != columns:
        pieces.append(matrix[:, None, whole:])
    return pieces


def quantize(
    weights,
    bits=4,
    group_size=128,
    scheme="asymmetric",
    scale_type="f16",
    clip="none",
):
    """weights[N, K] -> codes uint8 [N, K], scales float32 [N, G], zeros uint8 [N, G].

    Codes of the signed scheme are stored plus 2^(bits-1), which is also their
    zero point; that of the symmetric scheme is 2^(bits-1) throughout.
    """
    weights = np.asarray(weights, F32)
    codes, scales, zeros = [], [], []
    for groups in split_groups(weights, group_size):
        scale, zero = choose_grid(groups, bits, scheme, scale_type, clip)
        code = encode(groups, scale, zero, bits, scheme)
        codes.append(code.reshape(len(weights), -1).astype(np.uint8))
        scales.append(scale)
        zeros.append(zero.astype(np.uint8))
    return (
        np.concatenate(codes, axis=1),
        np.concatenate(scales, axis=1).astype(F32),
        np.concatenate(zeros, axis=1),
    )


def dequantize(codes, scales, zeros, group_size):
    """The float32 weights [N, K] that quantized ones stand for."""
    pieces, first = [], 0
    for groups in split_groups(codes.astype(np.int64), group_size):
        last = first + groups.shape[1]
        zero = zeros[:, first:last].astype(np.int64)
        pieces.append(decode(groups, scales[:, first:last], zero))
        first = last
    return np.concatenate([p.reshape(len(codes), -1) for p in pieces], axis=1)


def pack(codes, bits):
    """Codes [N, K] as the canonical bit stream, uint8 [N, ceil(K * bits / 8)]."""
    each = (codes[:, :, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(each.reshape(len(codes), -1), axis=1, bitorder="little")
