"""Writes ONNX files without any package: just enough of protobuf's wire format.

A `Graph` collects nodes and initializers in their encoded form; `model` wraps
it, the operator sets it needs and its functions.

SPDX-License-Identifier: Apache-2.0
"""

import struct

FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16 = (
    1, 2, 3, 6, 7, 9, 10, 11, 16)
UINT4, INT4 = 21, 22

FORMATS = {FLOAT: "f", UINT8: "B", INT8: "b", INT32: "i", INT64: "q",
           BOOL: "?", FLOAT16: "e", DOUBLE: "d"}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(field, value):
    return varint(field << 3) + varint(value)


def blob(field, data):
    if isinstance(data, str):
        data = data.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def pack(dtype, values):
    """Elements in ONNX's raw form."""
    if dtype == BFLOAT16:
        # Rounded to nearest even, as every exporter does.
        bits = [struct.unpack("<I", struct.pack("<f", v))[0] for v in values]
        return b"".join(struct.pack("<H", b + 0x7FFF + (b >> 16 & 1) >> 16)
                        for b in bits)
    if dtype in (UINT4, INT4):
        # Two to a byte, the first in the low bits.
        padded = [v & 15 for v in values] + [0] * (len(values) % 2)
        return bytes(a | b << 4 for a, b in zip(padded[::2], padded[1::2]))
    return struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)


def tensor(name, dtype, dims, values=None, external=None, raw=None):
    """A TensorProto; `external` is (location, offset, length)."""
    out = b"".join(integer(1, d) for d in dims) + integer(2, dtype)
    out += blob(8, name)
    if external:
        for key, value in zip(("location", "offset", "length"), external):
            if value is not None:
                out += blob(13, blob(1, key) + blob(2, str(value)))
        return out + integer(14, 1)
    return out + blob(9, raw if raw is not None else pack(dtype, values))


def attribute(name, value):
    out = blob(1, name)
    if isinstance(value, int):
        return out + integer(3, value) + integer(20, 2)
    if isinstance(value, float):
        return out + varint(2 << 3 | 5) + struct.pack("<f", value) + integer(
            20, 1)
    if isinstance(value, str):
        return out + blob(4, value) + integer(20, 3)
    if isinstance(value, bytes):  # a TensorProto
        return out + blob(5, value) + integer(20, 4)
    if isinstance(value, Graph):
        return out + blob(6, value.encode()) + integer(20, 5)
    if value and isinstance(value[0], float):
        return out + b"".join(varint(7 << 3 | 5) + struct.pack("<f", v)
                              for v in value) + integer(20, 6)
    return out + b"".join(integer(8, v) for v in value) + integer(20, 7)


def reference(name, parameter, kind):
    """An attribute of a function's node that a call gives."""
    return blob(1, name) + blob(21, parameter) + integer(20, kind)


def value_info(name, dtype, dims):
    shape = b"".join(
        blob(1, integer(1, d) if isinstance(d, int) else blob(2, d))
        for d in dims)
    return blob(1, name) + blob(2, blob(1, integer(1, dtype) + blob(2, shape)))


def node(op, inputs, outputs, domain="", name="", attributes=()):
    out = b"".join(blob(1, i) for i in inputs)
    out += b"".join(blob(2, o) for o in outputs)
    out += blob(3, name) + blob(4, op)
    out += b"".join(blob(5, a) for a in attributes)
    return out + (blob(7, domain) if domain else b"")


class Graph:
    """A GraphProto under construction."""

    def __init__(self, prefix="t"):
        self.prefix = prefix
        self.nodes, self.initializers = [], []
        self.inputs, self.outputs = [], []
        self.count = 0

    def fresh(self):
        self.count += 1
        return f"{self.prefix}{self.count}"

    def op(self, op, *inputs, outputs=1, domain="", **attrs):
        """Adds a node; gives the name of its output, or of all of them.

        `outputs` is a number, or says for each output whether it is there.
        """
        wanted = [True] * outputs if isinstance(outputs, int) else outputs
        names = [self.fresh() if there else "" for there in wanted]
        while inputs and inputs[-1] == "":
            inputs = inputs[:-1]
        self.nodes.append(
            node(op, inputs, names, domain, f"{op}_{names[0]}",
                 [attribute(k, v) for k, v in attrs.items()]))
        return names[0] if len(names) == 1 else names

    def rename(self, value, name):
        """Gives `value` a name of its own, that of an output."""
        self.nodes.append(node("Identity", [value], [name], name=name))

    def weight(self, name, dtype, dims, values):
        self.initializers.append(tensor(name, dtype, dims, values))
        return name

    def function(self, name, domain, inputs, outputs, attributes, opset):
        """The nodes so far as a FunctionProto."""
        out = blob(1, name)
        out += b"".join(blob(4, i) for i in inputs)
        out += b"".join(blob(5, o) for o in outputs)
        out += b"".join(blob(6, a) for a in attributes)
        out += b"".join(blob(7, n) for n in self.nodes)
        return out + blob(9, blob(1, "") + integer(2, opset)) + blob(
            10, domain)

    def const(self, values, dims=None, dtype=INT64):
        """A constant, as a node; a list is a vector, a number a scalar."""
        scalar = not isinstance(values, (list, tuple))
        values = [values] if scalar else list(values)
        dims = dims if dims is not None else ([] if scalar else [len(values)])
        return self.op("Constant", value=tensor("", dtype, dims, values))

    def encode(self):
        out = b"".join(blob(1, n) for n in self.nodes) + blob(2, "graph")
        out += b"".join(blob(5, i) for i in self.initializers)
        out += b"".join(blob(11, i) for i in self.inputs)
        return out + b"".join(blob(12, o) for o in self.outputs)


def model(graph, opsets, ir_version=8, functions=()):
    out = integer(1, ir_version) + blob(2, "llq-test")
    out += blob(7, graph if isinstance(graph, bytes) else graph.encode())
    for domain, version in opsets.items():
        out += blob(8, blob(1, domain) + integer(2, version))
    return out + b"".join(blob(25, f) for f in functions)
