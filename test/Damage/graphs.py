"""Damaged ONNX files and external data.

SPDX-License-Identifier: Apache-2.0
"""

import os
import shutil
import struct

import protobuf as pb

FORMS = (
    "optimum-past",
    "dynamo-opset18",
    "dynamo-past-opset23",
    "genai-fp32",
    "genai-int4",
    "optimum-past-fp16",
)


def import_either(t, path="model.onnx"):
    """Imports `path` with a comparison with the graph that it describes: an error
    is as good as a model, a model that computes something else is not."""
    outcome = t.either("llq-import", path, "--check", "-o", "out.mlirbc")
    if b"differs from the graph" in outcome.errors:
        t.wrong(outcome.command, "imports another model", outcome.errors)
    if outcome.accepted():
        t.expect("out.mlirbc" in outcome.created, outcome.command, "no output")
        t.remove("out.mlirbc")


def check_graphs(t):
    """Truncated and bit-flipped graphs, and files that are none."""
    t.refuse("llq-import", "none.onnx", "-o", "out.mlirbc", names=["none.onnx"])
    (t.folder / "folder.onnx").mkdir()
    t.refuse("llq-import", "folder.onnx", "-o", "out.mlirbc", names=["folder.onnx"])
    for data in (b"", b"\0", b"ML\xefR", b"not a model", bytes(1000), b"\xff" * 1000):
        t.write("bad.onnx", data)
        t.refuse("llq-import", "bad.onnx", "-o", "out.mlirbc", names=["bad.onnx"])
        t.refuse("llq-compile", "bad.onnx", "-o", "out.llq", names=["bad.onnx"])
    for form in FORMS if t.thorough else FORMS[:1]:
        model = t.copy_model(form)
        sizes = sorted(
            t.random.randrange(len(model)) for _ in range(t.sample(10, 60))
        )
        for size in sizes + [1, 2, 3] + [len(model) - i for i in (1, 2, 8, 30, 100)]:
            t.write("model.onnx", model[:size])
            import_either(t)
        # The graph first, then names, shapes and small constants at both ends.
        for round in range(t.sample(30, 200)):
            end = None if round % 2 else min(len(model), 20000)
            t.write("model.onnx", t.flip(model, 1 + round % 3, end=end))
            import_either(t)


def tensor_edits():
    """(what, edit of an initializer's fields) that no model survives or that must
    be found out."""

    def without(*numbers):
        return lambda parts: [p for p in parts if p[0] not in numbers]

    def replace(number, kind, value):
        return lambda parts: [p for p in parts if p[0] != number] + [
            (number, kind, value)
        ]

    yield "no type", without(pb.TENSOR_TYPE)
    yield "unknown type", replace(pb.TENSOR_TYPE, 0, 77)
    yield "type string", replace(pb.TENSOR_TYPE, 0, 8)
    yield "type double", replace(pb.TENSOR_TYPE, 0, 11)
    yield "type complex", replace(pb.TENSOR_TYPE, 0, 15)
    yield "type int4", replace(pb.TENSOR_TYPE, 0, 22)
    yield "no name", without(pb.TENSOR_NAME)
    yield "no shape", without(pb.TENSOR_DIMS)
    for dim in (-1, 0, 1 << 31, 1 << 62, (1 << 63) - 1, -(1 << 63)):
        yield f"dimension {dim}", replace(pb.TENSOR_DIMS, 0, dim)
        yield f"more dimensions {dim}", lambda parts, dim=dim: parts + [
            (pb.TENSOR_DIMS, 0, dim)
        ] * 3
    yield "many dimensions", lambda parts: parts + [(pb.TENSOR_DIMS, 0, 1)] * 5000
    yield "name of another", replace(pb.TENSOR_NAME, 2, b"input_ids")
    yield "name with control characters", replace(pb.TENSOR_NAME, 2, b"a\n\x00\xff\x1b")
    yield "long name", replace(pb.TENSOR_NAME, 2, b"n" * 1000000)


def graph_edits():
    """(what, edit of the graph's bytes)."""

    def node(index, edit):
        return lambda graph: pb.change(
            graph,
            pb.GRAPH_NODE,
            lambda data: pb.message(edit(pb.fields(data))),
            index,
        )

    def swap(number, value):
        return lambda parts: [
            pb.text(number, value) if p[0] == number else p for p in parts
        ]

    def without(number):
        return lambda parts: [p for p in parts if p[0] != number]

    for index in (0, 1, 7, 40):
        yield f"node {index} dropped", lambda graph, index=index: pb.change(
            graph, pb.GRAPH_NODE, lambda data: None, index
        )
        yield f"operator of node {index}", node(index, swap(pb.NODE_OP_TYPE, "Bogus"))
        yield f"no operator in node {index}", node(index, without(pb.NODE_OP_TYPE))
        yield f"domain of node {index}", node(
            index, lambda parts: parts + [pb.text(pb.NODE_DOMAIN, "my\ndomain")]
        )
        yield f"inputs of node {index}", node(index, without(pb.NODE_INPUT))
        yield f"many inputs of node {index}", node(
            index, lambda parts: parts + [p for p in parts if p[0] == 1] * 50
        )
        yield f"outputs of node {index}", node(index, without(pb.NODE_OUTPUT))
        yield f"node {index} reads itself", node(
            index,
            lambda parts: parts
            + [pb.text(pb.NODE_INPUT, v) for n, _, v in parts if n == pb.NODE_OUTPUT],
        )
        yield f"attributes of node {index}", node(index, without(pb.NODE_ATTRIBUTE))
        yield f"attribute without type in node {index}", node(
            index, lambda parts: parts + [(pb.NODE_ATTRIBUTE, 2, pb.message([]))]
        )
    yield "nothing in it", lambda graph: b""
    yield "no nodes", lambda graph: pb.message(
        [f for f in pb.fields(graph) if f[0] != pb.GRAPH_NODE]
    )
    yield "no initializers", lambda graph: pb.message(
        [f for f in pb.fields(graph) if f[0] != pb.GRAPH_INITIALIZER]
    )
    yield "no inputs", lambda graph: pb.message(
        [f for f in pb.fields(graph) if f[0] != pb.GRAPH_INPUT]
    )
    yield "everything twice", lambda graph: graph + graph
    yield "nodes backwards", lambda graph: pb.message(reversed(pb.fields(graph)))


def check_edits(t):
    """Graphs that are whole protobufs but say something impossible."""
    edits = list(graph_edits())
    for form in FORMS if t.thorough else FORMS[:1]:
        model = t.copy_model(form)
        count = len(pb.initializers(model))
        for what, edit in edits if t.thorough else edits[::3]:
            t.write("model.onnx", pb.change_graph(model, edit))
            import_either(t)
        for number, (what, edit) in enumerate(tensor_edits()):
            index = number * 7 % count
            t.write("model.onnx", pb.change_initializer(model, index, edit))
            import_either(t)


def external_edits(offset, length):
    """(what, entries, words of the message) of the external data of one tensor."""
    whole = {"location": "model.onnx.data", "offset": offset, "length": length}

    def but(**changes):
        entries = {**whole, **changes}
        return [(k, str(v)) for k, v in entries.items() if v is not None]

    outside = ["external data"]
    yield "absolute path", but(location="/etc/passwd"), ["/etc/passwd"]
    yield "parent folder", but(location="../secret.data"), ["secret.data"]
    yield "parent inside", but(location="a/../../secret.data"), ["secret.data"]
    yield "link out", but(location="link.data"), ["link.data"]
    yield "linked folder", but(location="away/secret.data"), ["away/secret.data"]
    yield "folder", but(location="."), []
    yield "no such file", but(location="none.data"), ["none.data"]
    yield "no location", but(location=None), outside
    yield "empty location", but(location=""), outside
    yield "NUL in the location", but(location="model.onnx.data\0x"), outside
    yield "line end in the location", but(location="a\nb"), []
    yield "long location", but(location="x/" * 5000), []
    yield "device", but(location="device"), ["device"]
    for number in ("-1", "99999999999999999999", "1e3", "x", "", " 1", "0x10"):
        yield f"offset {number}", but(offset=number), ["offset"]
        yield f"length {number}", but(length=number), ["length"]
    yield "offset behind the end", but(offset=1 << 40), ["model.onnx.data"]
    yield "offset that overflows", but(offset=(1 << 63) - 8), ["model.onnx.data"]
    yield "length of more", but(length=length + 4), ["bytes"]
    yield "length of less", but(length=length - 4), ["bytes"]


def read_entries(parts):
    entries = {}
    for number, _, value in parts:
        if number == pb.TENSOR_EXTERNAL:
            pair = {n: v.decode() for n, _, v in pb.fields(value)}
            entries[pair[1]] = pair.get(2, "")
    return entries


def check_external(t):
    """External data that is missing, elsewhere, too short, damaged or changed."""
    model = t.copy_model("optimum-past")
    tensors = pb.initializers(model)
    index, entries = next(
        (i, e) for i, e in enumerate(map(read_entries, map(pb.fields, tensors))) if e
    )
    offset, length = int(entries.get("offset", 0)), int(entries["length"])
    data = (t.folder / "model.onnx.data").read_bytes()

    # Secrets beside the model's folder, and ways that lead there.
    secret = t.folder.parent / "secret.data"
    secret.write_bytes(data)
    os.symlink(secret, t.folder / "link.data")
    os.symlink(t.folder.parent, t.folder / "away")
    os.symlink("/dev/zero", t.folder / "device")
    for what, changed, words in external_edits(offset, length):

        def edit(parts):
            parts = [p for p in parts if p[0] != pb.TENSOR_EXTERNAL]
            return parts + [pb.external_entry(k, v) for k, v in changed]

        t.write("model.onnx", pb.change_initializer(model, index, edit))
        t.refuse("llq-import", "model.onnx", "-o", "out.mlirbc", names=words)
    secret.unlink()

    t.write("model.onnx", model)
    for size in (0, 1, len(data) // 2, len(data) - 4096, len(data) - 1):
        t.write("model.onnx.data", data[:size])
        for tool, out in (("llq-import", "out.mlirbc"), ("llq-compile", "out.llq")):
            t.refuse(tool, "model.onnx", "-o", out, names=["model.onnx.data"])
    t.remove("model.onnx.data")
    t.refuse("llq-import", "model.onnx", "-o", "out.mlirbc", names=["model.onnx.data"])
    (t.folder / "model.onnx.data").mkdir()
    t.refuse("llq-import", "model.onnx", "-o", "out.mlirbc", names=["model.onnx.data"])
    (t.folder / "model.onnx.data").rmdir()

    # Gone, shorter or other contents after the import.
    t.write("model.onnx.data", data)
    t.accept("llq-import", "model.onnx", "-o", "in.mlirbc")
    compile = ["llq-compile", "in.mlirbc", "--target=cpu:x86-64-v2", "-o", "out.llq"]
    quantize = ["llq-opt", "in.mlirbc", "--llq-quantize-rtn=bits=4", "-o", "q.mlirbc"]
    for damaged in (data[: len(data) // 2], data + b"\0", data[:-1] + b"\0"):
        t.write("model.onnx.data", damaged)
        t.refuse(*compile, names=["has changed since the import"])
        outcome = t.run(*quantize)
        t.expect(outcome.status == 1, quantize, "reads changed weights")
        t.remove("q.mlirbc")
    t.remove("model.onnx.data")
    t.refuse(*compile, names=["model.onnx.data"])

    # Values that are no numbers are refused where they would spread.
    for values in (b"\xff", struct.pack("<f", float("inf"))):
        damaged = data[: len(data) // 4] * 1 + values * (
            (len(data) - len(data) // 4) // len(values)
        )
        t.write("model.onnx.data", damaged)
        t.accept("llq-import", "model.onnx", "-o", "in.mlirbc")
        t.refuse(*compile, "--quantize=rtn(bits=4)", names=["finite"])
        t.remove("in.mlirbc")
    shutil.rmtree(t.folder / "away", ignore_errors=True)
