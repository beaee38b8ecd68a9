"""Norms, linear layers, embedding and feed-forward part of make_llama.py.

SPDX-License-Identifier: Apache-2.0
"""

import math

from onnx_writer import (FLOAT, FLOAT16, INT4, INT8, UINT4, UINT8, Graph, node,
                         reference)


class Layers:
    # --- norms --------------------------------------------------------------

    def add_and_norm(self, x, y, name):
        """x + y and its norm; y may be None."""
        if self.is_("norm", "skip") and y is not None:
            w = self.norm_weight(name)
            h, total = [value for value in self.ms(
                "SkipSimplifiedLayerNormalization", x, y, w,
                outputs=[True, False, False, True],
                epsilon=self.norm_eps(name)) if value]
            return total, h
        if y is not None:
            x = self.op("Add", x, y)
        return x, self.rms_norm(x, name)

    def norm_eps(self, name):
        wrong = self.is_("wrong", "eps") and name.endswith("post")
        return self.eps * 100 if wrong else self.eps

    def norm_weight(self, name):
        return self.weight(name, self.hidden, spread=0.1, centre=1.0)

    def rms_norm(self, x, name):
        w, eps = self.norm_weight(name), self.norm_eps(name)
        norm = self.o["norm"]
        if norm == "op":
            return self.op("RMSNormalization", x, w, epsilon=eps, axis=-1)
        if norm in ("simplified", "skip"):
            return self.g.op("SimplifiedLayerNormalization", x, w,
                             epsilon=eps, axis=-1, stash_type=1)
        if norm == "function":
            self.define_norm()
            return self.g.op("Norm", x, w, domain="local", epsilon=eps)
        half = self.dtype != FLOAT
        h = self.cast(x, FLOAT) if half else x
        f = lambda v: self.g.const(float(v), dtype=FLOAT)
        if self.is_("wrong", "layernorm"):
            h = self.op("Sub", h, self.reduce("ReduceMean", h))
        if norm == "l2":
            # x / max(||x|| / sqrt(K), eps) is another norm; the square of the
            # length is the sum of squares.
            length = self.reduce("ReduceL2", h)
            mean = self.op("Div", self.op("Pow", length, f(2)),
                           f(self.hidden))
        elif norm == "sumsquare":
            mean = self.op("Div", self.reduce("ReduceSumSquare", h),
                           f(self.hidden))
        else:
            square = (self.op("Mul", h, h) if norm == "mulself"
                      else self.op("Pow", h, f(2)))
            mean = self.reduce("ReduceMean", square)
        shifted = self.op("Add", mean, f(eps))
        if norm == "div":
            y = self.op("Div", h, self.op("Sqrt", shifted))
        elif norm == "powhalf":
            y = self.op("Mul", h, self.op("Pow", shifted, f(-0.5)))
        elif norm == "mulself":
            y = self.op("Mul", self.op("Reciprocal",
                                       self.op("Sqrt", shifted)), h)
        else:
            y = self.op("Mul", h, self.op("Div", f(1),
                                          self.op("Sqrt", shifted)))
        if half:
            y = self.cast(y, self.dtype)
        return self.op("Mul", y, w) if norm == "mul" else self.op("Mul", w, y)

    def reduce(self, name, x):
        """Along the last dimension, which opset 18 gives as an input."""
        # ReduceSum had it from opset 13 on.
        if self.opset < 18:
            return self.op(name, x, axes=[-1], keepdims=1)
        return self.op(name, x, self.ints(-1), keepdims=1)

    def define_norm(self):
        """A model-local function, as dynamo exports of modules have them."""
        if self.functions:
            return
        f = Graph("f")
        square = f.op("Mul", "X", "X")
        mean = f.op("ReduceMean", square, f.const([-1]), keepdims=1)
        epsilon = f.fresh()
        f.nodes.append(node("Constant", [], [epsilon], attributes=[
            reference("value_float", "epsilon", 1)]))
        root = f.op("Sqrt", f.op("Add", mean, epsilon))
        y = f.op("Mul", f.op("Div", "X", root), "W")
        f.rename(y, "Y")
        self.functions.append(f.function("Norm", "local", ["X", "W"], ["Y"],
                                         ["epsilon"], self.opset))

    # --- linear layers ------------------------------------------------------

    def linear(self, x, name, n, k, bias=False, rows=None):
        """x [B, T, K] times a weight, as [B, T, N]; `rows` replaces T."""
        linear = self.o["linear"]
        b = self.weight(name + ".bias", n, spread=0.5) if bias else None
        if linear == "nbits":
            return self.nbits(x, name, n, k, b)
        if self.is_("wrong", "dynamic"):
            return self.dynamic(x, name, n, k)
        by_rows = lambda dtype=None: self.weight(
            name, n, k, spread=1 / math.sqrt(k), dtype=dtype)
        flatten = lambda y: self.op("Reshape", y, self.ints(-1, k))
        restore = lambda y: self.op("Reshape", y, self.dims(
            self.batch, self.tokens if rows is None else rows, n))
        if linear == "gemm":
            y = self.op("Gemm", flatten(x), by_rows(), *([b] if b else []),
                        transB=1)
            return restore(y)
        if linear == "transposed":
            y = self.op("MatMul", x, self.transpose(by_rows(), 1, 0))
        elif linear == "fused":
            y = self.ms("FusedMatMul", x, by_rows(), transB=1)
        elif linear == "reshape2d":
            y = restore(self.op("MatMul", flatten(x), self.weight(name, k, n)))
        elif linear == "cast":
            w = self.weight(name, k, n, dtype=FLOAT16)
            y = self.op("MatMul", x, self.cast(w, self.dtype))
        elif linear in ("qdq", "qdqt", "qdqs", "qdqrow"):
            y = self.op("MatMul", x, self.dequantized(name, n, k))
        else:
            y = self.op("MatMul", x, self.weight(name, k, n))
        return self.op("Add", y, b) if b else y

    def scales(self, name, k, bits, count):
        """Scales that give weights of `k` inputs a spread of 1 / sqrt(k)."""
        middle = 1.7 / (math.sqrt(k) * 2 ** (bits - 1))
        return self.g.weight(
            name, self.dtype, count,
            [abs(v) for v in self.values(math.prod(count), 0.2 * middle,
                                         middle)])

    def codes(self, count, limit):
        return [self.random.randrange(limit) for _ in range(count)]

    def nbits(self, x, name, n, k, bias):
        bits, block = int(self.o["bits"]), int(self.o["block"])
        blocks = -(-k // block)
        w = self.g.weight(name + "_Q4", UINT8, [n, blocks, block * bits // 8],
                          self.codes(n * blocks * block * bits // 8, 256))
        s = self.scales(name + "_scales", k, bits, [n * blocks])
        z = ""
        row = -(-blocks * bits // 8)
        if self.is_("zeros", "packed"):
            z = self.g.weight(name + "_zeros", UINT8, [n * row],
                              self.codes(n * row, 256))
        elif self.is_("zeros", "float"):
            middle = 1 << bits - 1
            z = self.g.weight(name + "_zeros", self.dtype, [n, blocks],
                              [middle + v / 4 for v in
                               self.codes(n * blocks, 8)])
        return self.ms("MatMulNBits", x, w, s, z, "", bias or "", K=k, N=n,
                       bits=bits, block_size=block)

    def dequantized(self, name, n, k):
        """A weight [K, N] through DequantizeLinear.

        qdq: blocks along K of [K, N], 4 bits; qdqt: blocks of [N, K] that is
        transposed; qdqs: the same of signed codes without zero points; qdqrow:
        one scale for each row of [N, K], 8 bits.
        """
        block = int(self.o["block"])
        blocks = -(-k // block)
        linear = self.o["linear"]
        if linear == "qdqrow":
            w = self.g.weight(name + "_q", INT8, [n, k],
                              [c - 128 for c in self.codes(n * k, 256)])
            s = self.scales(name + "_scales", k, 8, [n])
            y = self.op("DequantizeLinear", w, s, axis=0)
            return self.transpose(y, 1, 0)
        shape, counts, axis = ([k, n], [blocks, n], 0) if linear == "qdq" else (
            [n, k], [n, blocks], 1)
        w = self.g.weight(name + "_q", INT4 if linear == "qdqs" else UINT4,
                          shape, self.codes(n * k, 16))
        s = self.scales(name + "_scales", k, 4, counts)
        z = "" if linear == "qdqs" else self.g.weight(
            name + "_zeros", UINT4, counts, self.codes(n * blocks, 16))
        y = self.op("DequantizeLinear", w, s, z, axis=axis, block_size=block)
        return y if axis == 0 else self.transpose(y, 1, 0)

    def dynamic(self, x, name, n, k):
        """As onnxruntime quantizes activations to integers at run time."""
        w = self.g.weight(name + "_q", INT8, [k, n],
                          [c - 128 for c in self.codes(n * k, 256)])
        codes, scale, zero = self.g.op("DynamicQuantizeLinear", x, outputs=3)
        y = self.cast(self.op("MatMulInteger", codes, w, zero), FLOAT)
        return self.op("Mul", y, self.op("Mul", scale, self.g.const(
            1 / (128 * math.sqrt(k)), dtype=FLOAT)))

    # --- embedding and feed-forward part --------------------------------------

    def embed(self):
        ids = "input_ids"
        if self.is_("embedding", "nbits"):
            block = 16
            w = self.g.weight("embed_Q4", UINT8,
                              [self.vocab, self.hidden // 2],
                              self.codes(self.vocab * self.hidden // 2, 256))
            s = self.scales("embed_scales", 1, 4,
                            [self.vocab, self.hidden // block])
            x = self.ms("GatherBlockQuantized", w, ids, s, bits=4,
                        block_size=block, gather_axis=0, quantize_axis=1)
        elif self.is_("head", "copy"):
            self.table = self.values(self.vocab * self.hidden, 1.0)
            self.g.weight("embed", self.dtype, [self.vocab, self.hidden],
                          self.table)
            x = self.op("Gather", "embed", ids)
        else:
            self.weight("embed", self.vocab, self.hidden, spread=1.0)
            x = self.op("Gather", "embed", ids)
        if self.is_("wrong", "learned"):
            table = self.weight("positions", 64, self.hidden, spread=0.1)
            x = self.op("Add", x, self.op("Gather", table, self.positions))
        if self.is_("wrong", "scaled"):
            x = self.op("Mul", x, self.scalar(5.5))
        return x

    def mlp(self, x, prefix):
        bias = self.is_("bias", "all")
        if self.is_("gateup", "split"):
            both = self.linear(x, f"{prefix}.gate_up", 2 * self.ffn,
                               self.hidden, bias)
            gate, up = self.split(both, 2, self.ffn, self.ffn)
        else:
            gate = self.linear(x, f"{prefix}.gate", self.ffn, self.hidden,
                               bias)
            up = self.linear(x, f"{prefix}.up", self.ffn, self.hidden, bias)
        return self.linear(self.gated(gate, up), f"{prefix}.down",
                           self.hidden, self.ffn, bias)

    def gated(self, gate, up):
        silu = self.o["silu"]
        if self.is_("wrong", "gelu"):
            return self.op("Mul", self.ms("Gelu", gate), up)
        if self.is_("wrong", "unknown"):
            return self.op("Mul", self.g.op("Whirl", gate, domain="me"), up)
        if silu == "up":
            # sigmoid(gate) * up first, then times gate.
            return self.op("Mul", self.op("Mul", self.op("Sigmoid", gate), up),
                           gate)
        if silu == "swish":
            act = self.op("Swish", gate)
        elif silu == "quickgelu":
            act = self.ms("QuickGelu", gate, alpha=1.0)
        elif silu == "exp":
            e = self.op("Exp", self.op("Neg", gate))
            act = self.op("Div", gate, self.op("Add", e, self.scalar(1)))
        else:
            act = self.op("Mul", gate, self.op("Sigmoid", gate))
        return self.op("Mul", act, up)
