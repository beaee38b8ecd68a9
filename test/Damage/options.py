"""Command lines that no tool can obey: exit status 2.

SPDX-License-Identifier: Apache-2.0
"""

NO_COUNT = ("-1", "x", "", "1.5", "99999999999999999999", "1e3", "0x", "nan")
NO_SHARE = ("-0.1", "1.1", "x", "", "nan", "inf", "-inf")

# For each tool: arguments that are right, and the values that each option must
# refuse. A value of None is the option without one, in the last place.
MODEL = {"--verify": ("", "x", None), "--weights": ("", "x", None)}
THREADS = {"--threads": ("0", "1025", "100000", *NO_COUNT, None)}
RUNTIME_TOOLS = {
    "llq-run": (
        ["m.llq", "--ids=1,2"],
        {
            **MODEL,
            **THREADS,
            "-n": ("4294967297", *NO_COUNT, None),
            "--context": ("0", "2049", "4294967296", *NO_COUNT, None),
            "--temperature": ("-1", "1001", "x", "", "nan", "inf", None),
            "--top-k": NO_COUNT,
            "--top-p": ("0", *NO_SHARE),
            "--min-p": NO_SHARE,
            "--repeat-penalty": ("0", "-1", "x", "", "nan", "inf"),
            "--seed": NO_COUNT,
            "--ids": ("", "x", "1,-1", "4096", "1,99999999999999999999", "1;2", "1\n2"),
            "--json": ("maybe",),
            "--pin": ("maybe",),
        },
    ),
    "llq-eval": (
        ["m.llq", "--perplexity=a=text.ids", "--window=4"],
        {
            **MODEL,
            **THREADS,
            "--window": ("0", "1", "2049", "67108865", *NO_COUNT, None),
            "--windows": ("0", *NO_COUNT, None),
            "--bos": ("", "x", "-1", "3", None),
            "--perplexity": ("", "text.ids", "=text.ids", "a=", "b=", None),
            "--logits": ("", "ids.txt", None),
            "-o": ("x.npy", None),
            "--reference": ("x.npy", None),
        },
    ),
    "llq-bench": (
        ["m.llq", "-n1", "-p1", "--runs=1"],
        {
            **MODEL,
            **THREADS,
            "-p": ("2049", "1048577", *NO_COUNT, None),
            "-n": ("2049", "1048577", *NO_COUNT, None),
            "--depth": ("2048", *NO_COUNT, None),
            "--runs": ("0", "1001", *NO_COUNT, None),
            "--shape": ("", "tiny", None),
            "--quantize": ("rtn(bits=4)",),
            "--accuracy": ("int8",),
            "--kv-cache": ("f16",),
        },
    ),
    "llq-inspect": (["m.llq"], MODEL),
}
# llq-bench takes these for --shape.
SHAPE = {
    "--shape": ("x", "LLAMA3-8B"),
    "--quantize": ("x", "rtn(bits=9)", "rtn(", "rtn(x=1)"),
    "--accuracy": ("x",),
    "--kv-cache": ("x",),
}
COMPILE = {
    "--threads": ("0", "100000", *NO_COUNT, None),
    "--max-tokens": ("0", "65537", *NO_COUNT, None),
    "--context": ("4294967296", "2147483648", *NO_COUNT, None),
    "--target": ("", "x", "cpu:", "cpu:x", "cpu:x86-64-v9", "cuda", "cpu,cpu", None),
    "--accuracy": ("", "x", "INT8", None),
    "--kv-cache": ("", "x", "f64", None),
    "--quantize": (
        "", " ", "x", "rtn(", "rtn)", "rtn()()", "rtn(bits)", "rtn(bits=1)",
        "rtn(bits=9)", "rtn(bits=x)", "rtn(bits=)", "rtn(bits=99999999999999999999)",
        "rtn(bits=4.5)", "rtn(bits=-4)", "rtn(group-size=-1)", "rtn(group-size=x)",
        "rtn(scheme=x)", "rtn(clip=x)", "rtn(scale-type=f64)", "rtn(symmetric=2)",
        "rtn(head-bits=1)", "rtn(embedding-bits=17)", "rtn(nothing=1)", "rtn(only={)",
        "rtn(bits=4", "rtn{bits=4}", "builtin.module(rtn)", "rtn;", "(", ",", "\n(",
        None,
    ),
    "--tokenizer": ("", None),
    "--config": ("", None),
    "-o": ("", None),
    "--json": ("maybe",),
    "--dry-run": ("maybe",),
}  # fmt: skip
IMPORT = {
    "--context": ("4294967296", "2147483648", *NO_COUNT, None),
    "--emit": ("", "x", None),
    "--tokenizer": ("", None),
    "--config": ("", None),
    "-o": ("", None),
    "--check": ("maybe",),
}


def refuse_values(t, tool, right, values, names=True):
    for option, wrong in values.items():
        for value in wrong:
            # The value in question replaces one that is right.
            kept = [w for w in right if not w.startswith(option)]
            if value is None:
                words = [option]
            elif option.startswith("--"):
                words = [f"{option}={value}"]
            else:
                words = [option, value]
            t.refuse(tool, *kept, *words, status=2)


def refuse_shapes(t, tool, right):
    """What every tool refuses."""
    for words in (["--bogus"], ["--bogus=1"], ["-z"], ["--", "-z"], ["two", "files"]):
        t.refuse(tool, *right, *words, status=2)
    for words in ([], [""], ["--json"], ["--"]):
        t.refuse(tool, *words, status=2)
    for word in ("--help", "--version"):
        outcome = t.accept(tool, word)
        t.expect(outcome.output and not outcome.errors, outcome.command, "no text")


def check_runtime_options(t):
    t.make_binary()
    t.write("text.ids", "1 2 3 4 5 6 7 8\n")
    for tool, (right, values) in RUNTIME_TOOLS.items():
        t.accept(tool, *right)
        refuse_values(t, tool, right, values)
        refuse_shapes(t, tool, right)
    for words in (
        ["--prompt=a", "--ids=1"],
        ["--prompt=a", "--prompt-file=text.ids"],
        ["--chat", "--ids=1"],
        ["--chat", "--json"],
        [],
    ):
        t.refuse("llq-run", "m.llq", *words, status=2)
    for option, values in SHAPE.items():
        for value in values:
            words = ["--shape=llama3.2-1b"] if option != "--shape" else []
            t.refuse("llq-bench", *words, f"{option}={value}", status=2)
    t.refuse("llq-bench", "m.llq", "-p0", "-n0", status=2)


def check_compiler_options(t):
    t.copy_model("optimum-past")
    t.accept("llq-import", "model.onnx", "-o", "in.mlirbc")
    values = dict(COMPILE)
    refuse_values(t, "llq-compile", ["--shape=tiny", "-o", "out.llq"], values)
    refuse_shapes(t, "llq-compile", ["--shape=tiny", "-o", "out.llq"])
    refuse_values(t, "llq-import", ["model.onnx", "-o", "out.mlirbc"], IMPORT)
    refuse_shapes(t, "llq-import", ["model.onnx", "-o", "out.mlirbc"])
    for words in (
        ["--shape=x", "-o", "out.llq"],
        ["--shape=", "-o", "out.llq"],
        ["--shape=tiny", "model.onnx", "-o", "out.llq"],
        ["model.onnx"],
        ["-o", "out.llq"],
        # What only reading a graph or a tokenizer could obey.
        ["in.mlirbc", "--context=64", "-o", "out.llq"],
        ["in.mlirbc", "--config=config.json", "-o", "out.llq"],
        ["--shape=tiny", "--tokenizer=tokenizer.json", "-o", "out.llq"],
        ["--shape=tiny", "--config=config.json", "-o", "out.llq"],
        ["--shape=tiny", "--context=64", "-o", "out.llq"],
    ):
        t.refuse("llq-compile", *words, status=2)
    for words in (
        ["model.onnx"],
        ["-o", "out.mlirbc"],
        ["model.onnx", "--emit=onnx", "--check", "-o", "out.mlirbc"],
        ["model.onnx", "--emit=onnx", "--embed-weights", "-o", "out.mlirbc"],
        ["model.onnx", "--check", "--json", "-o", "-"],
    ):
        t.refuse("llq-import", *words, status=2)
