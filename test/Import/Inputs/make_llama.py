"""Writes a tiny LLaMA-style ONNX graph, printed in one of many ways.

    make_llama.py OUT.onnx [key=value ...]

Every key has a default; together they choose how norms, linear layers, rotary
embedding, masks, attention and caches are written. `wrong` makes the graph one
that normal form cannot hold, in one respect. Weights are random and the same
for equal options. check_variants.py lists what has to import and what not.

SPDX-License-Identifier: Apache-2.0
"""

import math
import random
import struct
import sys

from llama_attention import Attention
from llama_layers import Layers
from onnx_writer import (BFLOAT16, BOOL, FLOAT, FLOAT16, INT32, INT64, Graph,
                         model, pack, tensor, value_info)

# Each key with its default and all that it can be; numbers are free.
OPTIONS = {
    "opset": "18",
    "dtype": "f32 f16 bf16",
    # Type of the graph's float inputs and outputs.
    "io": "same f32",
    "layers": "2", "hidden": "32", "heads": "4", "kv": "2", "ffn": "48",
    "vocab": "40",
    "headdim": "0",  # 0: hidden / heads
    "theta": "10000",
    "eps": "1e-5",
    "scaling": "none linear llama3 odd",
    "cache": "past none",
    # Order of heads and positions in the cache.
    "layout": "bhsd bshd",
    "batch": "dynamic",
    "tokens": "dynamic",
    "ids": "int64 int32",
    "positions": "input derived cumsum",
    # 4d: summands for scores from outside; lengths: of each sequence, for GQA.
    "attention_mask": "input none 4d lengths",
    "norm": "pow mul mulself div powhalf sumsquare l2 op simplified skip "
            "function",
    "linear": "matmul gemm transposed reshape2d fused cast nbits qdq qdqt "
              "qdqs qdqrow",
    # Of linear=nbits: codes, zero points and columns that share a scale.
    "bits": "4 2 8",
    "zeros": "packed none float",
    "block": "16",
    "qkv": "separate split slice",
    "gateup": "separate split",
    "bias": "none qkv all",
    "rope": "slice split interleaved complex op op3d contrib contrib3d "
            "contriboffset table einsum if",
    # Of rotary tables: rows, and whether a formula explains all of them.
    "table": "formula odd",
    "rows": "64",
    "repeat": "expand tile gather grouped",
    "scale": "post div both query pow fused odd",
    # causal: by an attribute of the operator.
    "mask": "where add mul trilu bool table causal",
    "attention": "plain merged op op3d oppast gqa gqapacked gqaplain mha "
                 "einsum",
    "silu": "mul exp swish up quickgelu",
    "embedding": "plain nbits",
    "head": "separate tied copy none",
    "last": "all slice gather input",
    "identity": "no yes",
    "style": "plain shuffled merged",
    "weights": "inline external",
    "wrong": "none eps window bidirectional alibi softcap partial "
             "groups scaled parallel presents gelu qknorm layernorm longrope "
             "longtable ntk logitscale shared keyrope shifted nomask gap "
             "unknown order int late learned dynamic",
    "window": "4",  # of wrong=window
}


def parse(arguments):
    """The options that `key=value` arguments give."""
    options = {key: values.split()[0] for key, values in OPTIONS.items()}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in options:
            raise ValueError(f"unknown key {key}")
        known = OPTIONS[key].split()
        if len(known) > 1 and value not in known:
            raise ValueError(f"{key} is one of {' '.join(known)}")
        options[key] = value
    return options


class Llama(Layers, Attention):
    """One graph; base classes hold the parts of a decoder layer."""

    def __init__(self, options, data_file=None):
        self.o = options
        self.g = Graph()
        self.random = random.Random(7)
        self.dtype = {"f32": FLOAT, "f16": FLOAT16, "bf16": BFLOAT16}[
            options["dtype"]]
        for key in ("layers", "hidden", "heads", "kv", "ffn", "vocab",
                    "opset"):
            setattr(self, key, int(options[key]))
        self.size = int(options["headdim"]) or self.hidden // self.heads
        self.eps = float(options["eps"])
        self.contrib = False
        self.functions = []
        # Of weights in external data: the open file, its name in the model and
        # how many bytes it has.
        self.data_file = data_file

    # --- small helpers ------------------------------------------------------

    def is_(self, key, *values):
        return self.o[key] in values

    @property
    def has_past(self):
        return self.is_("cache", "past")

    def op(self, name, *inputs, **attrs):
        result = self.g.op(name, *inputs, **attrs)
        if self.is_("identity", "yes") and isinstance(result, str):
            result = self.g.op("Identity", self.g.op("Identity", result))
        return result

    def ms(self, name, *inputs, **attrs):
        self.contrib = True
        return self.g.op(name, *inputs, domain="com.microsoft", **attrs)

    def ints(self, *values):
        return self.g.const(list(values))

    def scalar(self, value):
        return self.g.const(float(value), dtype=self.dtype)

    def values(self, count, spread, centre=0.0):
        return [self.random.gauss(centre, spread) for _ in range(count)]

    def weight(self, name, *dims, spread=None, centre=0.0, dtype=None):
        """A random weight; by default one of as many inputs as rows."""
        count = math.prod(dims)
        if spread is None:
            spread = 1 / math.sqrt(dims[0])
        dtype = dtype or self.dtype
        if self.data_file and count > 1 << 20:
            self.g.initializers.append(tensor(
                name, dtype, dims,
                external=self.data_file.append(dtype, count, spread)))
            return name
        values = self.values(count, spread, centre)
        if self.data_file:
            self.g.initializers.append(tensor(
                name, dtype, dims,
                external=self.data_file.write(dtype, values)))
            return name
        return self.g.weight(name, dtype, dims, values)

    def unsqueeze(self, x, *axes):
        if self.opset >= 13:
            return self.op("Unsqueeze", x, self.ints(*axes))
        return self.op("Unsqueeze", x, axes=list(axes))

    def slice(self, x, axis, begin, end):
        return self.op("Slice", x, self.ints(begin), self.ints(end),
                       self.ints(axis))

    def split(self, x, axis, *sizes):
        if self.opset >= 13:
            return self.g.op("Split", x, self.ints(*sizes),
                             outputs=len(sizes), axis=axis)
        return self.g.op("Split", x, outputs=len(sizes), axis=axis,
                         split=list(sizes))

    def transpose(self, x, *perm):
        return self.op("Transpose", x, perm=list(perm))

    def dim(self, x, axis):
        shape = self.op("Shape", x)
        return self.op("Gather", shape, self.g.const(axis), axis=0)

    def dims(self, *parts):
        """A shape: numbers are constants, names are scalars."""
        return self.op("Concat", *[
            self.ints(p) if isinstance(p, int) else self.unsqueeze(p, 0)
            for p in parts], axis=0)

    def cast(self, x, to):
        return self.op("Cast", x, to=to)

    def from_io(self, x):
        return self.cast(x, self.dtype) if self.is_("io", "f32") else x

    @property
    def io_type(self):
        return FLOAT if self.is_("io", "f32") else self.dtype

    # --- the graph ----------------------------------------------------------

    def inputs(self):
        g, o = self.g, self.o
        number = lambda key, name: (name if o[key] == "dynamic"
                                    else int(o[key]))
        b, t = number("batch", "batch"), number("tokens", "sequence")
        s = "total" if self.has_past else t
        whole = INT32 if self.is_("ids", "int32") else INT64
        g.inputs.append(value_info("input_ids", whole, [b, t]))
        if self.is_("attention_mask", "input"):
            g.inputs.append(value_info("attention_mask", whole, [b, s]))
        elif self.is_("attention_mask", "4d"):
            g.inputs.append(value_info("attention_mask", self.dtype,
                                       [b, 1, t, s]))
        elif self.is_("attention_mask", "lengths"):
            g.inputs.append(value_info("seqlens_k", INT32, [b]))
            g.inputs.append(value_info("total_sequence_length", INT32, []))
        if self.is_("positions", "input"):
            g.inputs.append(value_info("position_ids", whole, [b, t]))
        if self.is_("last", "input"):
            g.inputs.append(value_info("num_logits_to_keep", INT64, []))
        if self.is_("style", "merged"):
            g.inputs.append(value_info("use_cache_branch", BOOL, [1]))
        if self.has_past:
            dims = [b, self.cache_heads, "past", self.size]
            if self.is_("layout", "bshd"):
                dims = [b, "past", self.cache_heads, self.size]
            for i in range(self.layers):
                for n in ("key", "value"):
                    g.inputs.append(value_info(f"past_key_values.{i}.{n}",
                                               self.io_type, dims))

    def lengths(self):
        """Numbers of sequences, new and cached tokens, and positions."""
        g = self.g
        self.batch, self.tokens = self.dim("input_ids", 0), self.dim(
            "input_ids", 1)
        if self.has_past:
            axis = 1 if self.is_("layout", "bshd") else 2
            self.past = self.dim("past_key_values.0.key", axis)
        else:
            self.past = g.const(0)
        self.total = self.op("Add", self.past, self.tokens)
        if self.is_("positions", "input"):
            self.positions = "position_ids"
        elif self.is_("positions", "cumsum"):
            count = self.op("CumSum", "attention_mask", g.const(1))
            count = self.op("Sub", count, g.const(
                1, dtype=INT32 if self.is_("ids", "int32") else INT64))
            self.positions = self.op("Slice", count,
                                     self.unsqueeze(self.past, 0),
                                     self.ints(1 << 62), self.ints(1))
        else:
            self.positions = self.unsqueeze(
                self.op("Range", self.past, self.total, g.const(1)), 0)
        if self.is_("wrong", "shifted"):
            self.positions = self.op("Add", self.positions, self.ints(1))
        if self.is_gqa and self.is_("attention_mask", "lengths"):
            self.last_keys = "seqlens_k"
            self.total32 = "total_sequence_length"
        elif self.is_gqa:
            reduced = self.op("ReduceSum", "attention_mask", self.ints(1),
                              keepdims=1)
            one = self.g.const(
                [1], dtype=INT32 if self.is_("ids", "int32") else INT64)
            self.last_keys = self.cast(self.op("Sub", reduced, one), INT32)
            self.total32 = self.cast(self.dim("attention_mask", 1), INT32)

    def body(self):
        """Nodes from the tokens to logits, and the new caches by layer."""
        self.lengths()
        x = self.embed()
        self.rotary()
        self.make_mask()
        presents = []
        rest = None  # what is still to be added to x
        for i in range(self.layers):
            x, h = self.add_and_norm(x, rest, f"layers.{i}.norm")
            y, present = self.attention(h, i)
            presents.append(present)
            x, h = self.add_and_norm(x, y, f"layers.{i}.post")
            if self.is_("wrong", "parallel"):
                h = self.rms_norm(y, f"layers.{i}.other")
            rest = self.mlp(h, f"layers.{i}")
        x, h = self.add_and_norm(x, rest, "norm")
        return self.logits(h), presents

    def logits(self, x):
        last, rows = self.o["last"], self.tokens
        if last == "slice":
            x, rows = self.slice(x, 1, -1, 1 << 62), 1
        elif last == "gather":
            # Without the dimension of tokens.
            x = self.op("Gather", x, self.g.const(-1), axis=1)
            x, rows = self.unsqueeze(x, 1), 1
        elif last == "input":
            begin = self.op("Neg", self.unsqueeze("num_logits_to_keep", 0))
            x = self.op("Slice", x, begin, self.ints(1 << 62), self.ints(1))
            rows = "num_logits_to_keep"
        if self.is_("head", "none"):
            return x
        if self.is_("head", "tied"):
            y = self.op("MatMul", x, self.transpose("embed", 1, 0))
        elif self.is_("head", "copy"):
            self.g.weight("head", self.dtype, [self.hidden, self.vocab], [
                self.table[v * self.hidden + k] for k in range(self.hidden)
                for v in range(self.vocab)])
            y = self.op("MatMul", x, "head")
        else:
            y = self.linear(x, "head", self.vocab, self.hidden, rows=rows)
        if self.is_("wrong", "logitscale"):
            y = self.op("Mul", y, self.scalar(0.25))
        return y

    def finish(self, logits, presents):
        """Gives results their names and the type of the interface."""
        named = [("logits", logits)]
        for i, pair in enumerate(presents if self.has_past else ()):
            named += [(f"present.{i}.{n}", value)
                      for n, value in zip(("key", "value"), pair)]
        if self.is_("wrong", "presents"):
            named[1] = (named[1][0],
                        self.op("Mul", named[1][1], self.scalar(2)))
        for name, value in named:
            if self.is_("io", "f32"):
                value = self.cast(value, FLOAT)
            self.g.rename(value, name)
        width = self.hidden if self.is_("head", "none") else self.vocab
        outputs = [value_info("logits", self.io_type, ["b", "t", width])]
        for name, _ in named[1:]:
            outputs.append(value_info(name, self.io_type,
                                      ["b", "x", "y", self.size]))
        return [name for name, _ in named], outputs

    def build(self):
        g = self.g
        self.inputs()
        if self.is_("style", "merged"):
            self.build_branches()
        else:
            g.outputs = self.finish(*self.body())[1]
        if self.is_("style", "shuffled"):
            self.random.shuffle(g.nodes)
        opsets = {"": self.opset}
        if self.contrib:
            opsets["com.microsoft"] = 1
        if self.functions:
            opsets["local"] = 1
        return model(g, opsets, functions=self.functions)

    def build_branches(self):
        """As optimum merges a decoder with its form without cached tokens."""
        outer, branches = self.g, []
        for past in (True, False):
            branch = Llama(dict(self.o, style="plain"))
            branch.g.prefix = f"{'with' if past else 'without'}_"
            branch.ignores_past = not past
            names, outputs = branch.finish(*branch.body())
            branch.g.outputs = outputs
            branches.append(branch.g)
        # Both branches use the weights of the graph around them.
        outer.initializers = branches[0].initializers
        branches[0].initializers = branches[1].initializers = []
        results = outer.op("If", "use_cache_branch", outputs=len(names),
                           then_branch=branches[0], else_branch=branches[1])
        for name, value in zip(names, results):
            outer.rename(value, name)
        outer.outputs = outputs


class ExternalData:
    """The file beside a model that holds its weights."""

    CHUNK = 1 << 20  # elements

    def __init__(self, path):
        self.file = open(path, "wb")
        self.name = path.rsplit("/", 1)[-1]
        self.chunks = {}

    def place(self, length):
        """Where `length` bytes go: pages of their own."""
        begin = -(-self.file.tell() // 4096) * 4096
        self.file.seek(begin)
        return self.name, begin, length

    def write(self, dtype, values):
        data = pack(dtype, values)
        place = self.place(len(data))
        self.file.write(data)
        return place

    def append(self, dtype, count, spread):
        """Random numbers that repeat after every CHUNK and some."""
        key = dtype, spread
        if key not in self.chunks:
            generator = random.Random(11)
            self.chunks[key] = pack(dtype, [
                generator.gauss(0, spread) for _ in range(self.CHUNK)])
        data = self.chunks[key]
        length = count * (len(data) // self.CHUNK)
        place = self.place(length)
        for begin in range(0, length, len(data)):
            self.file.write(data[:length - begin])
        return place


def main():
    path = sys.argv[1]
    try:
        options = parse(sys.argv[2:])
    except ValueError as error:
        sys.exit(f"make_llama.py: {error}")
    data = None
    if options["weights"] == "external":
        data = ExternalData(path + ".data")
    llama = Llama(options, data)
    with open(path, "wb") as file:
        file.write(llama.build())


if __name__ == "__main__":
    main()
