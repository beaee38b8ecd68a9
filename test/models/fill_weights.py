"""Makes runnable copies of the bundled graphs that are kept without weights.

    python3 fill_weights.py MODEL_DIR OUT_DIR

MODEL_DIR/onnx/optimum-past-fp16/model.onnx holds all weights of the model. Every
other folder of MODEL_DIR/onnx holds the graph of another exporter, whose float32
weights are external data, and a weights.json that says which of those weights
goes where. OUT_DIR becomes a copy of MODEL_DIR with each model.onnx.data in
place. Needs nothing but Python's standard library.

SPDX-License-Identifier: Apache-2.0
"""

import array
import json
import pathlib
import shutil
import struct
import sys

SOURCE = "optimum-past-fp16"
BESIDE_MODEL = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)

# Field numbers of onnx.proto and the element types used here.
MODEL_GRAPH, GRAPH_INITIALIZER = 7, 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
FLOAT, FLOAT16 = 1, 10


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Yields (field number, value) of one protobuf message."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            size = {1: 8, 5: 4}[key & 7]
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def read_weights(path):
    """Returns {initializer name: (dims, float32 bytes)} of an ONNX file."""
    weights = {}
    graph = dict(fields(memoryview(path.read_bytes())))[MODEL_GRAPH]
    for number, tensor in fields(graph):
        if number != GRAPH_INITIALIZER:
            continue
        dims, kind, name, raw = [], 0, "", b""
        for number, value in fields(tensor):
            if number == TENSOR_DIMS:
                dims.append(value)
            elif number == TENSOR_TYPE:
                kind = value
            elif number == TENSOR_NAME:
                name = bytes(value).decode()
            elif number == TENSOR_RAW:
                raw = value
        if kind == FLOAT16:
            raw = array.array("f", struct.unpack(f"<{len(raw) // 2}e", raw))
            weights[name] = (dims, raw.tobytes())
        elif kind == FLOAT:
            weights[name] = (dims, bytes(raw))
    return weights


def side_by_side(parts):
    """Joins float32 matrices [K, Ni], given as (dims, bytes), to [K, sum Ni]."""
    if len(parts) == 1:
        return parts[0][1]
    rows = []
    for k in range(parts[0][0][0]):
        for dims, data in parts:
            rows.append(data[4 * dims[1] * k : 4 * dims[1] * (k + 1)])
    return b"".join(rows)


def main():
    model, out = map(pathlib.Path, sys.argv[1:])
    shutil.copytree(model, out, dirs_exist_ok=True)
    weights = read_weights(model / "onnx" / SOURCE / "model.onnx")
    for folder in sorted((out / "onnx").iterdir()):
        for name in BESIDE_MODEL:
            shutil.copyfile(model / name, folder / name)
        table = folder / "weights.json"
        if not table.exists():
            continue
        with open(folder / "model.onnx.data", "wb") as file:
            for entry in json.loads(table.read_text()):
                data = side_by_side([weights[name] for name in entry["from"]])
                if len(data) != entry["bytes"]:
                    sys.exit(f"fill_weights: error: {table}: {entry} is wrong")
                file.seek(entry["offset"])
                file.write(data)


if __name__ == "__main__":
    main()
