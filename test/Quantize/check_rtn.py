"""Compares llq-quantize-rtn with the formulas, written out in plain Python.

    python3 check_rtn.py WORK

Layers of odd shapes, in every source type, as resources and as strided views of
a file, under every combination of the options. Codes, scales and zero points
have to be equal bit for bit; for clip=mse the objective to within 1e-6, because
equal objectives may have different codes.

Every operation is rounded to f32: a double holds the exact sum or product of two
f32, and its quotient rounds to the right f32.

SPDX-License-Identifier: Apache-2.0
"""

import itertools
import math
import pathlib
import random
import re
import struct
import subprocess
import sys


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def f16(value):
    return struct.unpack("<e", struct.pack("<e", value))[0]


def bf16(value):
    """To the nearest, ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return struct.unpack("<f", struct.pack("<I", bits))[0]


ENCODE = {
    "f32": (f32, lambda value: struct.pack("<f", value)),
    "f16": (f16, lambda value: struct.pack("<e", value)),
    "bf16": (bf16, lambda value: struct.pack("<f", value)[2:]),
}


# The method.


def round_scale(scale, kind):
    return max(f16(scale), 2.0**-24) if kind == "f16" else scale


def grid(lo, hi, bits, scheme, kind):
    top, middle = 2**bits - 1, 2 ** (bits - 1)
    if scheme == "signed":
        return round_scale(f32(hi / (middle - 1)), kind), middle
    scale = round_scale(f32(f32(hi - lo) / top), kind)
    if scheme == "symmetric":
        return scale, middle
    return scale, min(round(f32(-lo / scale)), top)


def encode(group, scale, zero, bits, scheme):
    least = 1 if scheme == "signed" else 0
    steps = (round(f32(value / scale)) for value in group)
    return [min(max(step + zero, least), 2**bits - 1) for step in steps]


def objective(group, codes, scale, zero):
    return math.fsum(
        abs(f32(scale * (code - zero)) - value) ** 2.4
        for code, value in zip(codes, group)
    )


def quantize(group, bits, scheme, kind, clip):
    """(codes, scale, zero, objective) of a group."""
    lo, hi = min(0.0, *group, 0.0), max(0.0, *group, 0.0)
    if scheme != "asymmetric":
        hi, lo = max(hi, -lo), -max(hi, -lo) if lo < 0 or scheme == "signed" else 0.0
    if lo == hi:
        lo, hi = -1.0, 1.0
    best = None
    for step in range(80 if clip == "mse" else 1):
        shrink = f32(1 - step / 100)
        scale, zero = grid(f32(shrink * lo), f32(shrink * hi), bits, scheme, kind)
        codes = encode(group, scale, zero, bits, scheme)
        value = objective(group, codes, scale, zero)
        if best is None or value < best[3]:
            best = codes, scale, zero, value
    return best


def split(row, size):
    size = size or len(row)
    return [row[i : i + size] for i in range(0, len(row), size)]


# The layers.


class Layer:
    """A random matrix [n, k], half of it in a group of its own range."""

    def __init__(self, number, n, k, kind, where):
        self.name, self.n, self.k, self.kind, self.where = f"l{number}", n, k, kind, where
        self.rows = []
        for row in range(n):
            scale = 10.0 ** random.randint(-3, 1)
            shift = random.choice((0.0, 0.0, 2.0 * scale))
            values = [random.gauss(shift, scale) for _ in range(k)]
            if row == n - 1:
                values = [0.0] * k
            self.rows.append([ENCODE[kind][0](value) for value in values])

    def data(self):
        by_column = self.where == "transposed"
        rows = zip(*self.rows) if by_column else self.rows
        return b"".join(ENCODE[self.kind][1](value) for row in rows for value in row)

    def attribute(self, file, offset, size):
        kind = f"tensor<{self.n}x{self.k}x{self.kind}>"
        if self.where == "resource":
            return f"dense_resource<w{self.name}> : {kind}"
        strides = f"1, {self.n}" if self.where == "transposed" else f"{self.k}, 1"
        return (
            f'#llq.external<"{file}", offset = {offset}, strides = [{strides}], '
            f"fileSize = {size}, modified = 0> : {kind}"
        )


def write_module(layers, work):
    file = work / "weights.bin"
    in_file = [layer for layer in layers if layer.where != "resource"]
    blob = b"".join(b"\0" + layer.data() for layer in in_file)
    file.write_bytes(blob)
    text, resources, offset = "", [], 0
    for layer in layers:
        if layer in in_file:
            offset += 1
        else:
            data = layer.data().hex().upper()
            resources.append(f'w{layer.name}: "0x04000000{data}"')
        value = layer.attribute(file, offset, len(blob))
        source = f"tensor<{layer.n}x{layer.k}x{layer.kind}>"
        text += (
            f"func.func @{layer.name}(%x: tensor<?x{layer.k}xf32>) {{\n"
            f"  %w = llq.weight {value}\n"
            f'  %y = llq.linear "{layer.name}" %x, %w : tensor<?x{layer.k}xf32>, '
            f"{source} -> tensor<?x{layer.n}xf32>\n  return\n}}\n"
        )
        if layer in in_file:
            offset += len(layer.data())
    text += "{-# dialect_resources: { builtin: {" + ",\n".join(resources) + "} } #-}\n"
    (work / "model.mlir").write_text(text)


# The comparison.


def unpack(row, bits, count):
    value = int.from_bytes(row, "little")
    assert value >> (bits * count) == 0, "padding bits are not zero"
    return [value >> (bits * i) & (2**bits - 1) for i in range(count)]


def rows_of(data, n):
    size = len(data) // n
    return [data[i * size : (i + 1) * size] for i in range(n)]


def compare(layer, blobs, bits, size, scheme, kind, clip):
    groups = math.ceil(layer.k / (size or layer.k))
    codes = rows_of(blobs[f"{layer.name}.codes"], layer.n)
    scales = rows_of(blobs[f"{layer.name}.scales"], layer.n)
    has_zeros = scheme == "asymmetric"
    zeros = rows_of(blobs[f"{layer.name}.zeros"], layer.n) if has_zeros else codes
    for index, row in enumerate(layer.rows):
        found = split(unpack(codes[index], bits, layer.k), size)
        form = f"<{groups}{'e' if kind == 'f16' else 'f'}"
        found_scales = struct.unpack(form, scales[index])
        found_zeros = [2 ** (bits - 1)] * groups
        if has_zeros:
            found_zeros = unpack(zeros[index], bits, groups)
        for got in zip(split(row, size), found, found_scales, found_zeros):
            group, *got = got
            *wanted, least = quantize(group, bits, scheme, kind, clip)
            if clip == "mse":
                value = objective(group, *got)
                same = abs(value - least) <= 1e-6 * least
            else:
                same = got == wanted
            if not same:
                return f"{layer.name} row {index}: {group}: {got}, expected {wanted}"
    return None


def main(work):
    random.seed(20240422)
    work.mkdir(parents=True, exist_ok=True)
    shapes = [(3, 7), (4, 33), (2, 64), (3, 100)]
    variants = itertools.product(ENCODE, ("resource", "file", "transposed"))
    layers = [
        Layer(number, *shapes[number % len(shapes)], kind, where)
        for number, (kind, where) in enumerate(variants)
    ]
    write_module(layers, work)

    every = itertools.product(
        range(2, 9), ("asymmetric", "symmetric", "signed"), ("f16", "f32"), ("none",)
    )
    clipped = itertools.product(
        (2, 4), ("asymmetric", "symmetric", "signed"), ("f16", "f32"), ("mse",)
    )
    sizes = itertools.cycle((0, 1, 3, 32, 64, 128))
    for bits, scheme, kind, clip in itertools.chain(every, clipped):
        size = next(sizes)
        options = (
            f"bits={bits} group-size={size} scheme={scheme} scale-type={kind} clip={clip}"
        )
        output = subprocess.run(
            ["llq-opt", work / "model.mlir", f"--llq-quantize-rtn={options}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        blobs = {
            name: bytes.fromhex(data)[4:]
            for name, data in re.findall(r'(\S+): "0x([0-9A-F]+)"', output)
        }
        for layer in layers:
            wrong = compare(layer, blobs, bits, size, scheme, kind, clip)
            if wrong:
                print(f"{options}: {wrong}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
