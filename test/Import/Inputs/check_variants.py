"""Imports tiny LLaMA graphs in all their printed forms; see make_llama.py.

    check_variants.py FOLDER

What is good has to import, agree with its own graph (llq-import --check) and
give the hyperparameters it was made with. What normal form cannot hold has to
be refused by one line that says where and why, without an output file.
Needs llq-import in the PATH. SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import json
import os
import random
import re
import subprocess
import sys

from llama_attention import FUSED_ROPE
from make_llama import OPTIONS, ExternalData, Llama, parse

# f32 sums in another order. Half-precision graphs are run with f32 arithmetic on
# both sides, but their constant 1 / sqrt(D) is rounded, and the raised model's
# is not.
TOLERANCE = {"f32": 1e-5, "f16": 5e-3, "bf16": 4e-2}

GOOD = """
norm=mul
norm=mulself
norm=div
norm=powhalf
norm=sumsquare
norm=l2
norm=op opset=23
norm=simplified
norm=skip
norm=function
linear=gemm
linear=transposed
linear=reshape2d
linear=fused
linear=cast
linear=nbits
linear=nbits bits=2
linear=nbits bits=8
linear=nbits zeros=none
linear=nbits zeros=float
linear=nbits zeros=float dtype=f16
linear=nbits block=64
linear=nbits bias=all
linear=nbits hidden=40
linear=qdq opset=21
linear=qdq opset=21 hidden=40 head=tied
linear=qdqt opset=21
linear=qdqt opset=21 dtype=f16 qkv=split
linear=qdqt opset=21 hidden=33 headdim=8 heads=2 ffn=49
linear=qdqs opset=21
linear=qdqs opset=21 hidden=33 headdim=8 heads=2
linear=qdqrow opset=13
qkv=split
qkv=slice
gateup=split
bias=qkv
bias=all
bias=all linear=gemm
bias=qkv qkv=slice
rope=split
rope=interleaved
rope=complex
rope=einsum
rope=if
rope=op opset=23
rope=op3d opset=23
rope=contrib
rope=contrib3d
rope=contriboffset
rope=table
rope=table table=odd
rope=op table=odd opset=23
repeat=tile
repeat=gather
repeat=grouped
scale=div
scale=both
scale=query
scale=pow
scale=fused
scale=odd
mask=add
mask=add dtype=f16
mask=mul
mask=trilu
mask=bool
mask=table
attention=merged
attention=einsum
attention=op opset=23
attention=op opset=23 mask=bool
attention=op opset=23 mask=causal cache=none
attention=op3d opset=23
attention=op3d opset=24 mask=causal
attention=op3d opset=23 mask=causal cache=none
attention=oppast opset=23
attention=oppast opset=24 mask=causal
attention=oppast opset=24 mask=bool rope=op norm=op
attention=gqa
attention=gqa io=f32 dtype=f16
rope=op opset=23 dtype=bf16
rope=table dtype=f16
attention=gqapacked linear=nbits norm=skip embedding=nbits
attention=gqaplain rope=contrib3d
attention=mha
attention=mha kv=4
silu=exp
silu=swish opset=24
silu=up
silu=quickgelu
embedding=nbits
head=tied
head=copy
head=none
last=slice
last=slice linear=gemm
last=gather
last=input
cache=none
cache=none attention_mask=none
cache=none positions=derived batch=2
layout=bshd
positions=derived
positions=cumsum
attention_mask=none
attention_mask=4d
attention_mask=lengths attention=gqa
ids=int32
ids=int32 positions=cumsum
dtype=f16
dtype=f16 io=f32
dtype=bf16
opset=11
opset=13
opset=14
opset=17
opset=21
opset=24
batch=1
batch=2
tokens=1
tokens=4 cache=none
identity=yes
style=shuffled
style=merged
scaling=linear
scaling=llama3 headdim=64
scaling=odd
theta=500000
eps=1e-6
headdim=12
heads=8
kv=1
kv=4
layers=3
weights=external
weights=external linear=qdqt opset=21
rows=100 rope=table
rows=4200 rope=op opset=23
rows=4200 attention=gqa dtype=f16
"""

# Options, and what the one line of the error has to say. It names the node and
# its operator wherever one node is at fault.
WRONG = r"""
wrong=eps | \(Mul\) has epsilon 0.001, other norms 1e-05
wrong=window | \(Softmax\) hides 1 earlier tokens from token 4
wrong=window window=8 | \(Softmax\) hides 1 earlier tokens
wrong=window window=9 | \(Softmax\) hides 1 earlier tokens
wrong=window window=10 | \(Softmax\) masks scores for 12 tokens differently
wrong=window window=11 | \(Softmax\) masks scores for 13 tokens differently
wrong=window window=4096 | \(Softmax\) masks scores for 4098 tokens differently
wrong=window window=4096 cache=none | masks scores for 4098 tokens
wrong=window window=4096 mask=trilu | masks scores for 4098 tokens
wrong=window window=4096 mask=bool | masks scores for 4098 tokens
wrong=window window=4096 mask=mul | masks scores for 4098 tokens
wrong=window window=4096 mask=add dtype=f16 | masks scores for \d+ tokens
wrong=window window=40 mask=table | masks scores for 64 tokens
wrong=window window=4096 attention=merged | masks scores for 4098 tokens
wrong=window window=4096 attention=einsum | masks scores for 4098 tokens
wrong=window window=4096 attention=mha | \(MultiHeadAttention\) masks scores
wrong=window window=4096 attention=op opset=23 | \(Attention\) masks scores
wrong=window window=4096 attention=oppast opset=23 mask=bool | masks scores
wrong=window window=4096 attention=gqa | sliding window \(local_window_size\)
wrong=window window=4096 repeat=grouped | masks scores for 4098 tokens
wrong=window window=4096 batch=2 | masks scores for 4098 tokens
wrong=window window=4096 tokens=1 | masks scores for 4098 tokens
wrong=window window=4096 identity=yes style=shuffled | masks scores for 4098
wrong=bidirectional | lets token 3 see token 4: the mask is not causal
wrong=nomask | \(Softmax\) lets token 3 see token 4
wrong=nomask attention=op opset=23 | \(Attention\) lets token 3 see token 4
attention=op opset=23 mask=causal | \(Attention\) hides 3 earlier tokens
wrong=gap | hides 1 earlier tokens from token 3
wrong=alibi | adds -0.03\d* to an attention score
wrong=softcap | \(Tanh\) is applied to attention scores
wrong=softcap attention=op opset=23 | \(Attention\) caps scores
wrong=softcap attention=gqa | \(GroupQueryAttention\) caps scores
wrong=partial | \(MatMul\) rotates only part of each head
wrong=groups | \(MatMul\) lets query head 1 see key head 1
wrong=scaled | scales embeddings
wrong=parallel | \(Add\) adds the feed-forward part to something else
wrong=presents | uses the cache 'past_key_values.0.key', but no output
wrong=gelu | \(Gelu\) is applied to the result of a linear layer
wrong=unknown | \(Whirl\) is an operator that LLQ does not know
wrong=qknorm | \(Mul\) uses the result of a linear layer in rows of 8
wrong=layernorm | \(ReduceMean\) reduces embeddings
wrong=longrope rope=if | rotates queries and keys for 4098 tokens differently
wrong=longrope rope=if cache=none | rotates queries and keys for 4098 tokens
wrong=longrope rope=if batch=2 | rotates queries and keys for 4098 tokens
wrong=longtable rope=contrib | \(RotaryEmbedding\) rotates queries and keys for
wrong=longtable rope=op opset=23 | \(RotaryEmbedding\) rotates queries and keys
wrong=longtable attention=gqa | \(GroupQueryAttention\) rotates queries and keys
wrong=ntk | rotates queries and keys for 66 tokens differently than for few
wrong=logitscale | gives no logits
wrong=shared | has queries, keys and values of different inputs
wrong=keyrope | rotates keys differently from others at the same position
wrong=shifted | rotates by angles that are neither multiples of the position
wrong=shifted rope=table | rotates by angles that are neither multiples
wrong=shifted rope=contrib | rotates by angles that are neither multiples
wrong=order | \(MatMul\) weighs the value of another token or head
wrong=late | \(MatMul\) rotates cached keys
wrong=learned | uses embeddings in a sum
wrong=dynamic | \(DynamicQuantizeLinear\) is applied to normalized activations
wrong=int | \(Cast\) turns the result of a linear layer into another kind
"""


def is_possible(o):
    """Whether make_llama.py can write the combination of options `o`."""
    opset = int(o["opset"])
    fused = o["attention"] in ("op", "op3d", "oppast", "mha") or o[
        "attention"].startswith("gqa")
    plain = not fused
    needs = [
        (o["norm"] == "op" or o["attention"] in ("op", "op3d", "oppast")
         or o["rope"] in ("op", "op3d"), opset >= 23),
        (o["norm"] == "function", opset >= 18 and o["dtype"] == "f32"),
        (o["silu"] == "swish", opset >= 24),
        (o["linear"] in ("qdq", "qdqt", "qdqs"), opset >= 21),
        (o["linear"] == "qdqrow", opset >= 13),
        (o["linear"] == "cast", opset >= 13),
        (o["linear"].startswith("q") or o["zeros"] == "float",
         o["dtype"] != "bf16"),
        (o["dtype"] == "bf16", opset >= 13),
        (o["mask"] == "causal", o["attention"] in ("op3d", "oppast")
         and opset >= 24),
        (o["mask"] == "trilu", opset >= 14),
        (o["mask"] == "bool", o["attention"] != "mha"),
        (o["attention"].startswith("gqa"),
         o["attention_mask"] in ("input", "lengths") and o["layout"] == "bhsd"
         and o["mask"] == "where" and opset >= 13),
        (o["attention"] in ("gqa", "gqapacked"),
         o["rope"] in ("slice", "contrib")),
        (o["attention"] in ("op3d", "oppast"), o["layout"] == "bhsd"),
        (o["positions"] == "cumsum", o["attention_mask"] == "input"),
        (o["attention_mask"] == "4d", plain and o["mask"] in ("where",
                                                              "add")),
        (o["attention_mask"] == "lengths", o["attention"].startswith("gqa")),
        (o["scale"] == "fused", o["attention"] == "plain"
         and o["repeat"] != "grouped"),
        (fused, o["scale"] == "post" and o["repeat"] == "expand"),
        (o["repeat"] == "grouped", plain and o["attention"] == "plain"),
        (o["embedding"] == "nbits", o["head"] == "separate"),
        (o["linear"] == "gemm", o["last"] != "gather"),
        (o["style"] == "merged", o["identity"] == "no"
         and o["attention"] in ("plain", "merged", "op")
         and o["cache"] == "past" and o["norm"] != "function"),
        (o["rope"] in FUSED_ROPE,
         o["positions"] != "derived" or o["batch"] != "2"),
        (o["rope"] == "if", opset >= 13 and o["style"] != "merged"),
    ]
    return all(then for when, then in needs if when)


def combinations(count):
    """Random good combinations of options, always the same."""
    generator = random.Random(5)
    left = ("wrong", "window", "layers", "hidden", "heads", "ffn", "vocab",
            "rows", "block", "headdim", "tokens", "weights")
    choices = {"opset": ["13", "17", "18", "21", "23", "24"],
               "kv": ["1", "2", "4"], "batch": ["dynamic", "1", "2"],
               "theta": ["10000", "500000"], "eps": ["1e-5", "1e-6"]}
    for key, values in OPTIONS.items():
        if key not in left:
            choices.setdefault(key, values.split())
    found = []
    while len(found) < count:
        o = parse([])
        # About a dozen at once: all at once hardly ever fit together.
        for key in generator.sample(sorted(choices), 14):
            o[key] = generator.choice(choices[key])
        if is_possible(o):
            default = parse([])
            found.append(" ".join(f"{k}={v}" for k, v in o.items()
                                  if v != default[k]))
    return found


def expected_architecture(o):
    size = int(o["headdim"]) or int(o["hidden"]) // int(o["heads"])
    expected = {
        "hidden": int(o["hidden"]), "layers": int(o["layers"]),
        "heads": int(o["heads"]), "kv_heads": int(o["kv"]),
        "head_dim": size, "ffn": int(o["ffn"]),
        "vocab": 0 if o["head"] == "none" else int(o["vocab"]),
        "norm_eps": float(o["eps"]),
        "tied_embeddings": o["head"] in ("tied", "copy"),
    }
    tables = o["rope"] in FUSED_ROPE + ("table",) or o["attention"] in ("gqa", "gqapacked")
    if tables:
        expected["context"] = int(o["rows"])
    # Tables in half precision are kept: a formula would be more exact than the
    # graph.
    if (tables and (o["table"] == "odd" or o["dtype"] != "f32")) or (
            o["scaling"] == "odd"):
        expected["rope_scaling"] = {"type": "table"}
    else:
        expected["rope_theta"] = float(o["theta"])
        # Heads this small have no frequencies that LLAMA 3.1 keeps and ones
        # that it divides, from which the formula is known.
        if o["scaling"] != "llama3" or size >= 64:
            expected["rope_scaling"] = {
                "none": {"type": "none"},
                "linear": {"type": "linear", "factor": 4},
                "llama3": {"type": "llama3", "factor": 8,
                           "low_freq_factor": 1, "high_freq_factor": 4,
                           "original_max_position_embeddings": 8192},
            }[o["scaling"]]
        else:
            del expected["rope_theta"]
    return expected


class Case:
    def __init__(self, folder, number, text, reason=None):
        self.text, self.reason = text, reason
        self.path = os.path.join(folder, f"{number}.onnx")

    def make(self):
        self.options = parse(self.text.split())
        data = None
        if self.options["weights"] == "external":
            data = ExternalData(self.path + ".data")
        content = Llama(self.options, data).build()
        if data:
            data.file.close()
        with open(self.path, "wb") as file:
            file.write(content)

    def fault(self):
        """What is wrong with the import; empty if nothing is."""
        output = self.path + ".mlirbc"
        result = subprocess.run(
            ["llq-import", self.path, "-o", output, "--check", "--json"],
            capture_output=True, text=True)
        lines = result.stderr.splitlines()
        if self.reason:
            return self.refusal_fault(result, lines, os.path.exists(output))
        if result.returncode != 0 or lines:
            return f"status {result.returncode}: {result.stderr}"
        report = json.loads(result.stdout)
        if not os.path.exists(output):
            return "wrote no output"
        error = report["check"]["max_abs_error"]
        if not error <= TOLERANCE[self.options["dtype"]]:
            return f"differs from its graph by {error}"
        found = report["architecture"]
        for key, value in expected_architecture(self.options).items():
            if found[key] != value:
                return f"{key} is {found[key]}, expected {value}"
        return self.packing_fault(output)

    def packing_fault(self, output):
        """Codes must stay codes."""
        o = self.options
        if not o["linear"].startswith(("nbits", "qdq")):
            return ""
        bits = {"nbits": o["bits"], "qdqrow": "8"}.get(o["linear"], "4")
        text = subprocess.run(
            ["llq-opt", output, "--mlir-elide-resource-strings-if-larger=16"],
            capture_output=True, text=True).stdout
        for line in text.splitlines():
            if ("llq.linear" in line and not
                    (o["head"] in ("tied", "copy") and "lm_head" in line)
                    and f"#llq.uniform<bits = {bits}," not in line):
                return f"is not packed in {bits} bits: {line.strip()}"
        return ""

    def refusal_fault(self, result, lines, has_output):
        if result.returncode != 1:
            return f"status {result.returncode} instead of 1"
        if len(lines) != 1:
            return f"{len(lines)} lines of errors: {result.stderr}"
        if not lines[0].startswith(f"llq-import: error: {self.path}: "):
            return f"an error in another form: {lines[0]}"
        if not re.search(self.reason, lines[0]):
            return f"another reason: {lines[0]}"
        if has_output or result.stdout:
            return "has an output nonetheless"
        return ""


def unused_values(cases):
    """Options that make_llama.py offers and no case asks for."""
    used = {key: set() for key in OPTIONS}
    for case in cases:
        for key, value in case.options.items():
            used[key].add(value)
    return [f"{key}={value}" for key, values in OPTIONS.items()
            for value in values.split() if value not in used[key]]


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    texts = [(line, None) for line in GOOD.strip().splitlines()]
    texts += [(line, None) for line in combinations(60)]
    for line in WRONG.strip().splitlines():
        text, _, reason = line.partition(" | ")
        texts.append((text, reason))
    cases = [Case(folder, i, *text) for i, text in enumerate(texts)]
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = []
        for case in cases:
            case.make()
            runs.append(pool.submit(case.fault))
        for case, run in zip(cases, runs):
            if run.result():
                failures += 1
                print(f"{case.path} ({case.text}): {run.result()}")
    unused = unused_values(cases)
    if unused:
        failures += 1
        print("options that nothing tests:", " ".join(unused))
    print(f"{len(cases)} graphs, {failures} failures")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
