"""Reads and writes protobuf messages without their schema, as far as changing
single fields of an ONNX file takes.

SPDX-License-Identifier: Apache-2.0
"""

# Field numbers of onnx.proto.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT = 1, 5, 11
NODE_INPUT, NODE_OUTPUT, NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data):
    """The (number, wire type, value) of a message; bytes or an integer."""
    at, result = 0, []
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = read_varint(data, at)
        else:
            if kind == 2:
                size, at = read_varint(data, at)
            else:
                size = {1: 8, 5: 4}[kind]
            value, at = bytes(data[at : at + size]), at + size
        result.append((key >> 3, kind, value))
    return result


def message(parts):
    """The bytes of a list of (number, wire type, value)."""
    out = bytearray()
    for number, kind, value in parts:
        out += varint(number << 3 | kind)
        if kind == 0:
            out += varint(value)
        else:
            out += (varint(len(value)) if kind == 2 else b"") + value
    return bytes(out)


def text(number, value):
    """A field of type string or bytes."""
    return (number, 2, value.encode() if isinstance(value, str) else value)


def change(data, number, edit, index=0):
    """`data` with the `index`-th field `number` replaced by edit(value); edit may
    return None to drop it."""
    result = []
    for field in fields(data):
        if field[0] == number:
            if index == 0:
                value = edit(field[2])
                field = None if value is None else (number, field[1], value)
            index -= 1
        if field is not None:
            result.append(field)
    return message(result)


def change_graph(model, edit):
    return change(model, MODEL_GRAPH, edit)


def initializers(model):
    graph = next(v for n, _, v in fields(model) if n == MODEL_GRAPH)
    return [v for n, _, v in fields(graph) if n == GRAPH_INITIALIZER]


def change_initializer(model, index, edit):
    """`model` with its initializer number `index` replaced by edit(parts)."""

    def edit_tensor(tensor):
        return message(edit(fields(tensor)))

    return change_graph(
        model, lambda graph: change(graph, GRAPH_INITIALIZER, edit_tensor, index)
    )


def external_entry(key, value):
    """One entry of a tensor's external_data."""
    return (TENSOR_EXTERNAL, 2, message([text(1, key), text(2, value)]))
