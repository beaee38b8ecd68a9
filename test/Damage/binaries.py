"""Damaged .llq and .mlirbc files.

SPDX-License-Identifier: Apache-2.0
"""

import json

SEGMENT = 64 << 10
OPENERS = (
    ("llq-run", "--ids=1,2,3", "-n", "2", "--threads=1"),
    ("llq-eval", "--perplexity=a=text.ids", "--window=4", "--threads=1"),
    ("llq-bench", "-p", "2", "-n", "2", "--runs=1", "--threads=1"),
    ("llq-inspect",),
)


def check_truncation(t):
    """A file that ends too early is refused by every tool that opens one."""
    model = t.make_binary()
    t.write("text.ids", "1 2 3 4 5 6 7 8\n")
    for tool, *options in OPENERS:
        t.accept(tool, "m.llq", *options)
    sizes = list(range(0, len(model), SEGMENT))
    sizes += [1, 7, 63, 64, 65, 1000, SEGMENT + 1, len(model) - 1]
    for number, size in enumerate(sizes):
        t.write("bad.llq", model[:size])
        # Each size with every tool, or with one of them in turn.
        for tool, *options in OPENERS if t.thorough else [OPENERS[number % 4]]:
            t.refuse(tool, "bad.llq", *options, names=["bad.llq"])
    t.write("bad.llq", model + b"\0")
    t.refuse("llq-inspect", "bad.llq", names=["bad.llq"])
    for tool, *options in OPENERS:
        t.refuse(tool, "none.llq", *options, names=["none.llq"])
        t.refuse(tool, "tmp", *options, names=["tmp"])
        t.refuse(tool, "/dev/null", *options, names=["/dev/null"])
        t.refuse(tool, "text.ids", *options, names=["text.ids"])


def check_flips(t):
    """Flipped bits are found, or have hit padding and change nothing."""
    model = t.make_binary()
    run = ["llq-run", "m.llq", "--ids=1,2,3,4", "-n", "8", "--ignore-eos", "--json"]
    expected = json.loads(t.accept(*run).output)["tokens"]
    run = ["llq-run", "bad.llq", "--verify=full", *run[2:]]
    harmless = 0
    for round in range(t.sample(100, 1000)):
        # Every other one in prelude, header and code, where there is little
        # padding.
        end = None if round % 2 else 2 * SEGMENT
        t.write("bad.llq", t.flip(model, end=end))
        outcome = t.either(*run)
        if outcome.accepted():
            harmless += 1
            tokens = json.loads(outcome.output)["tokens"]
            t.expect(tokens == expected, outcome.command, "other tokens")
    t.expect(harmless < t.sample(100, 1000) // 2, run, "half of all flips unnoticed")


def check_bytecode(t):
    """MLIR reads the file; what it lets through meets the verifiers."""
    t.copy_model("optimum-past")
    t.accept("llq-import", "model.onnx", "-o", "in.mlirbc")
    embedded = ["--llq-quantize-rtn=bits=2 group-size=0 except=*mlp*"]
    t.accept("llq-opt", "in.mlirbc", *embedded, "-o", "q.mlirbc")
    target = "--target=cpu:x86-64-v2"
    for name, rounds in (("in.mlirbc", (10, 250)), ("q.mlirbc", (5, 150))):
        module = (t.folder / name).read_bytes()
        sizes = [0, 1, 4, 5, 16, len(module) - 1]
        sizes += [t.random.randrange(len(module)) for _ in range(t.sample(2, 40))]
        for size in sizes:
            t.write("bad.mlirbc", module[:size])
            t.refuse("llq-compile", "bad.mlirbc", "-o", "out.llq", names=["bad.mlirbc"])
        for round in range(t.sample(*rounds)):
            # Operations, attributes and strings, not the weights.
            end = min(len(module), 60000) if round % 2 else None
            t.write("bad.mlirbc", t.flip(module, end=end))
            compiled = t.either("llq-compile", "bad.mlirbc", target, "-o", "out.llq")
            if compiled.accepted():
                t.either("llq-run", "out.llq", "--ids=1,2,3", "-n", "1")
                t.remove("out.llq")
    for text in ("", "module {", "func.func @f() { return }", "module {}", "\0" * 9):
        t.write("bad.mlir", text)
        t.refuse("llq-compile", "bad.mlir", "-o", "out.llq")
