"""Writes RTNVectors.inc: small matrices and what the NumPy reference makes of them.

    python3 make_rtn_vectors.py > RTNVectors.inc        (needs NumPy)

The file is committed; run this again only when the reference changes. Weights
and scales are given by their bits. Cases of the range search are kept only if
no other range comes within 1e-5 of the best objective, so that they have one
right answer.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Tools"))
import rtn_reference as rtn  # noqa: E402

F32 = np.float32


def has_clear_winner(weights, bits, group_size, scheme, scale_type):
    """Whether the search's best range beats all other grids by 1e-5."""
    for groups in rtn.split_groups(weights, group_size):
        args = (bits, scheme)
        scale, zero = rtn.choose_grid(groups, *args, scale_type, "mse")
        best = rtn.objective(groups, scale, zero, *args)
        lo = np.minimum(groups.min(axis=-1), F32(0))
        hi = np.maximum(groups.max(axis=-1), F32(0))
        if scheme != "asymmetric":
            magnitude = np.maximum(hi, -lo)
            lo = np.where((lo < 0) | (scheme == "signed"), -magnitude, F32(0))
            hi = magnitude
        for step in range(80):
            shrink = F32(1 - step / 100)
            s, z = rtn.grid_of_range(shrink * lo, shrink * hi, *args, scale_type)
            close = rtn.objective(groups, s, z, *args) < best * (1 + 1e-5)
            if np.any(close & ((s != scale) | (z != zero))):
                return False
    return True


def emit(name, weights, bits, group_size, scheme, scale_type, clip):
    codes, scales, zeros = rtn.quantize(
        weights, bits, group_size, scheme, scale_type, clip
    )
    hexes = lambda a: ",".join(f"0x{v:x}" for v in a.ravel().view(np.uint32))
    plain = lambda a: ",".join(map(str, a.ravel()))
    print(
        f'{{"{name}", {bits}, {group_size}, GridScheme::{scheme.capitalize()}, '
        f"ScaleType::{scale_type.upper()}, ClipSearch::"
        f"{'MSE' if clip == 'mse' else 'None'}, "
        f"{weights.shape[0]}, {weights.shape[1]},\n {{{hexes(weights)}}},\n"
        f" {{{plain(codes)}}},\n {{{hexes(scales)}}},\n {{{plain(zeros)}}}}},"
    )


def normal(rng, rows, columns, deviation=0.05):
    return (rng.standard_normal((rows, columns)) * deviation).astype(F32)


def main():
    rng = np.random.default_rng(20240422)
    print("// Made by make_rtn_vectors.py. SPDX-License-Identifier: Apache-2.0")

    for bits in range(2, 9):
        for scheme in rtn.SCHEMES:
            emit("normal", normal(rng, 2, 21), bits, 8, scheme, "f16", "none")
    for scheme in rtn.SCHEMES:
        emit("f32 scale", normal(rng, 2, 19), 4, 7, scheme, "f32", "none")
        emit("per row", normal(rng, 2, 40), 3, 0, scheme, "f16", "none")
        emit("group beyond row", normal(rng, 2, 18), 3, 128, scheme, "f16", "none")
        emit("group of one", normal(rng, 1, 9), 4, 1, scheme, "f16", "none")

        # v / s is a half, exactly, about every other time.
        halves = rng.integers(-15, 16, (2, 32)).astype(F32) / F32(4)
        halves[:, ::16] = F32(-3.75)
        halves[:, 1::16] = F32(3.75)
        emit("ties", halves, 4, 16, scheme, "f32", "none")
        emit("ties f16", halves, 4, 16, scheme, "f16", "none")

        one_sided = np.abs(normal(rng, 2, 16)) + F32(0.1)
        one_sided[1] *= -1
        emit("one-sided", one_sided, 3, 8, scheme, "f16", "none")
        emit("one-sided f32", one_sided, 2, 8, scheme, "f32", "none")

        zeros = normal(rng, 2, 16)
        zeros[0, :8] = 0
        zeros[1, 8:] = F32(-0.0)
        emit("zeros", zeros, 4, 8, scheme, "f16", "none")

        # Scales that are subnormal in f16, below all of it, and above it.
        emit("subnormal", normal(rng, 2, 16, 1e-6), 4, 8, scheme, "f16", "none")
        emit("tiny", normal(rng, 1, 16, 1e-8), 8, 8, scheme, "f16", "none")
        emit("tinier f32", normal(rng, 1, 16, 1e-42), 8, 8, scheme, "f32", "none")
        emit("huge", normal(rng, 1, 16, 1e7), 2, 8, scheme, "f16", "none")
        largest = normal(rng, 1, 16, 1)
        largest *= np.finfo(F32).max / np.abs(largest).max()
        largest[0, 3], largest[0, 5] = np.finfo(F32).max, np.finfo(F32).min
        emit("largest f32", largest, 4, 8, scheme, "f32", "none")

        for bits in (2, 3, 4, 8):
            for scale_type in ("f16", "f32"):
                while True:
                    weights = normal(rng, 1, 35)
                    weights[0, 4] *= 4
                    if has_clear_winner(weights, bits, 16, scheme, scale_type):
                        break
                emit("clip", weights, bits, 16, scheme, scale_type, "mse")


main()
