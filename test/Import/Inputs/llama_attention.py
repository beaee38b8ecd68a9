"""Rotary embedding, masks, caches and attention of make_llama.py.

Shapes: B sequences, T new and S all tokens, H query and KV key heads of D.

SPDX-License-Identifier: Apache-2.0
"""

import math

from onnx_writer import BOOL, FLOAT, FLOAT16, INT64, Graph, value_info

FUSED_ROPE = ("op", "op3d", "contrib", "contrib3d", "contriboffset")


class Attention:
    # Whether this is the branch of a merged graph that has no cached tokens.
    ignores_past = False

    @property
    def is_gqa(self):
        return self.o["attention"].startswith("gqa")

    @property
    def cache_heads(self):
        return self.kv

    # --- rotary embedding ---------------------------------------------------

    def frequencies(self):
        theta, half = float(self.o["theta"]), self.size // 2
        f = [theta ** (-2 * i / self.size) for i in range(half)]
        if self.is_("scaling", "linear"):
            f = [x / 4 for x in f]
        if self.is_("scaling", "odd"):
            f = [x * (1 + 0.1 * i) for i, x in enumerate(f)]
        if self.is_("scaling", "llama3"):
            factor, low, high, context = 8, 1, 4, 8192
            scaled = []
            for x in f:
                length = 2 * math.pi / x
                smooth = (context / length - low) / (high - low)
                scaled.append(x if length < context / high else
                              x / factor if length > context / low else
                              (1 - smooth) * x / factor + smooth * x)
            f = scaled
        return f

    def make_tables(self, rows, factor=1.0, to="weight"):
        """Cosines and sines [rows, D / 2], as weights or constants."""
        # No formula gives the rows from 20 on of an odd table.
        shift = lambda p: 0.1 if self.is_("table", "odd") and p >= 20 else 0
        angles = [p * x * factor + shift(p) for p in range(rows)
                  for x in self.frequencies()]
        dims = [rows, self.size // 2]
        names = []
        for name, fn in (("cos_cache", math.cos), ("sin_cache", math.sin)):
            values = [fn(a) for a in angles]
            names.append(self.g.weight(name, self.dtype, dims, values)
                         if to == "weight" else
                         self.g.const(values, dims=dims, dtype=self.dtype))
        return names

    def rotary(self):
        """Cosines and sines, once for the graph."""
        rows = int(self.o["rows"])
        fused = self.is_("rope", *FUSED_ROPE) or self.is_(
            "attention", "gqa", "gqapacked")
        if self.is_("wrong", "longtable"):
            self.tables = self.either_by_length(rows, [
                lambda: self.make_tables(4 * rows, 0.25, to="constant"),
                lambda: self.make_tables(rows, to="constant")])
            return
        if fused or self.is_("rope", "table"):
            self.tables = self.make_tables(rows)
            if self.is_("rope", "table"):
                self.cos, self.sin = [
                    self.op("Concat", r, r, axis=-1) for r in (
                        self.op("Gather", t, self.positions)
                        for t in self.tables)]
            return
        self.cos, self.sin = self.angles(self.frequencies())
        if self.is_("wrong", "late"):
            positions, self.positions = self.positions, self.unsqueeze(
                self.op("Range", self.g.const(0), self.total,
                        self.g.const(1)), 0)
            self.all_angles = self.angles(self.frequencies())
            self.positions = positions
        if self.is_("wrong", "keyrope"):
            self.key_angles = self.angles([x * 2 for x in self.frequencies()])

    def either_by_length(self, length, branches):
        """If: the first branch for more than `length` tokens."""
        outer, graphs = self.g, []
        identity, self.o = self.o, dict(self.o, identity="no")
        for name, build in zip(("long", "short"), branches):
            self.g = Graph(name)
            results = [f"{name}_result{i}" for i in range(2)]
            for value, result in zip(build(), results):
                self.g.rename(value, result)
            self.g.outputs = [value_info(r, self.dtype, ["x", "y"])
                              for r in results]
            graphs.append(self.g)
        self.g, self.o = outer, identity
        condition = self.op("Greater", self.total, self.g.const(length))
        return outer.op("If", condition, outputs=2, then_branch=graphs[0],
                        else_branch=graphs[1])

    def angles(self, f):
        """Cosines and sines [B, T, D], or [B, T, D / 2] of pairs."""
        half, rope = self.size // 2, self.o["rope"]
        p = self.cast(self.positions, FLOAT)
        constant = lambda values, dims: self.g.const(values, dims=dims,
                                                     dtype=FLOAT)
        product = lambda inverse: self.transpose(self.op(
            "MatMul", inverse, self.unsqueeze(p, 1)), 0, 2, 1)
        if rope == "einsum":
            angles = self.op("Einsum", p, constant(f, [half]),
                             equation="bt,d->btd")
        elif rope == "if":
            # LongRoPE: other frequencies for long sequences.
            other = [x / 4 for x in f] if self.is_("wrong",
                                                   "longrope") else f
            angles = product(self.either_by_length(4096, [
                lambda x=x: [constant(x, [1, half, 1])] * 2
                for x in (other, f)
            ])[0])
        elif self.is_("wrong", "ntk"):
            # The base grows with what is longer than 64.
            total = self.op("Max", self.total, self.g.const(64))
            ratio = self.op("Div", self.cast(total, FLOAT),
                            constant([64.0], [1]))
            angles = self.op("Div", product(constant(f, [1, half, 1])), ratio)
        else:
            angles = product(constant(f, [1, half, 1]))
        if rope not in ("interleaved", "complex"):
            angles = self.op("Concat", angles, angles, axis=-1)
        result = [self.op(name, angles) for name in ("Cos", "Sin")]
        if self.dtype != FLOAT:
            result = [self.cast(x, self.dtype) for x in result]
        return result

    def rope(self, x, heads, is_key):
        """[B, T, H * D] rotated, as [B, H, T, D]."""
        rope = self.o["rope"]
        if rope == "op3d":
            return self.heads_of(self.op("RotaryEmbedding", x, *self.tables,
                                         self.positions, num_heads=heads),
                                 heads)
        if rope == "contrib3d":
            return self.heads_of(self.ms("RotaryEmbedding", x, self.positions,
                                         *self.tables, num_heads=heads),
                                 heads)
        x = self.heads_of(x, heads)
        if rope == "contriboffset":
            # One number: the position of the first token.
            return self.ms("RotaryEmbedding", x, self.unsqueeze(self.past, 0),
                           *self.tables)
        if rope == "op":
            return self.op("RotaryEmbedding", x, *self.tables, self.positions)
        if rope == "contrib":
            return self.ms("RotaryEmbedding", x, self.positions, *self.tables)
        cos, sin = self.cos, self.sin
        if is_key and self.is_("wrong", "keyrope"):
            cos, sin = self.key_angles
        cos, sin = self.unsqueeze(cos, 1), self.unsqueeze(sin, 1)
        if rope in ("interleaved", "complex"):
            return self.rotate_pairs(x, heads, cos, sin)
        if self.is_("wrong", "partial"):
            part = self.size // 2
            x, rest = self.split(x, 3, part, self.size - part)
            cos, sin = [self.op("Concat", *[
                self.slice(t, 3, 0, part // 2)] * 2, axis=-1)
                for t in (cos, sin)]
            y = self.rotate_half(x, part, cos, sin)
            return self.op("Concat", y, rest, axis=-1)
        return self.rotate_half(x, self.size, cos, sin)

    def rotate_half(self, x, size, cos, sin):
        half = size // 2
        if self.is_("rope", "split"):
            a, b = self.split(x, 3, half, half)
        else:
            a = self.slice(x, 3, 0, half)
            b = self.slice(x, 3, half, 1 << 62)
        turned = self.op("Concat", self.op("Neg", b), a, axis=-1)
        return self.op("Add", self.op("Mul", x, cos),
                       self.op("Mul", turned, sin))

    def rotate_pairs(self, x, heads, cos, sin):
        half = self.size // 2
        pairs = self.op("Reshape", x, self.dims(
            self.batch, heads, self.tokens, half, 2))
        if self.is_("rope", "complex"):
            a, b = (self.op("Gather", pairs, self.g.const(i), axis=4)
                    for i in (0, 1))
        else:
            a, b = (self.op("Squeeze", p, self.ints(4)) if self.opset >= 13
                    else self.op("Squeeze", p, axes=[4])
                    for p in self.split(pairs, 4, 1, 1))
        real = self.op("Sub", self.op("Mul", a, cos), self.op("Mul", b, sin))
        imaginary = self.op("Add", self.op("Mul", a, sin),
                            self.op("Mul", b, cos))
        both = self.op("Concat", self.unsqueeze(real, 4),
                       self.unsqueeze(imaginary, 4), axis=4)
        return self.op("Reshape", both, self.dims(
            self.batch, heads, self.tokens, self.size))

    # --- masks ----------------------------------------------------------------

    def make_mask(self):
        """What hides later tokens, once for the graph: `seen` [B, 1, T, S]
        booleans and `summands` that broadcast to it."""
        self.seen = self.summands = ""
        if self.is_gqa or self.is_("mask", "causal") or self.is_("wrong",
                                                                 "nomask"):
            return
        if self.is_("attention_mask", "4d"):
            self.summands = "attention_mask"
            return
        zero, one = self.g.const(0), self.g.const(1)
        low = -65504.0 if self.dtype == FLOAT16 else -3.4e38
        mask = self.o["mask"]
        if mask == "trilu":
            full = self.op("Expand", self.scalar(low), self.dims(
                self.tokens, self.total))
            shift = self.op("Add", self.past, one)
            self.summands = self.op("Trilu", full, shift, upper=1)
            if self.is_("wrong", "window"):
                # What is more than a window back.
                old = self.op("Trilu", full, self.op(
                    "Sub", self.past, self.g.const(int(self.o["window"]))),
                    upper=0)
                self.summands = self.op("Add", self.summands, old)
            return
        columns = self.op("Range", zero, self.total, one)
        rows = self.unsqueeze(self.op("Range", self.past, self.total, one), 1)
        if mask == "table":
            size = int(self.o["rows"])
            window = (int(self.o["window"]) if self.is_("wrong", "window")
                      else size)
            table = self.g.weight("bias", BOOL, [1, 1, size, size], [
                t - window < s <= t for t in range(size) for s in range(size)])
            seen = self.op("Slice", table, self.op(
                "Concat", self.unsqueeze(self.past, 0), self.ints(0), axis=0),
                self.op("Concat", *[self.unsqueeze(self.total, 0)] * 2,
                        axis=0), self.ints(2, 3))
        else:
            seen = (self.op("LessOrEqual", columns, rows) if self.opset >= 16
                    else self.op("Not", self.op("Greater", columns, rows)))
            if self.is_("wrong", "window"):
                near = self.op("Less", self.op("Sub", rows, columns),
                               self.g.const(int(self.o["window"])))
                seen = self.op("And", seen, near)
            if self.is_("wrong", "gap"):
                other = self.op("Not", self.op("Equal", columns,
                                               self.g.const(2)))
                seen = self.op("And", seen, other)
            if self.is_("wrong", "bidirectional"):
                seen = self.op("Or", seen, self.op("Not", seen))
            seen = self.unsqueeze(seen, 0, 1)
        padding = None
        if self.is_("attention_mask", "input"):
            padding = self.cast(self.unsqueeze("attention_mask", 1, 2), BOOL)
        hide = lambda seen: self.op("Where", seen, self.scalar(0),
                                    self.scalar(low))
        if mask == "add" and padding:
            # The sum is -inf where both hide; scores are bounded below again.
            self.summands = self.op("Add", hide(seen), hide(padding))
            return
        self.seen = self.op("And", seen, padding) if padding else seen
        if mask == "mul":
            # (1 - seen) * low, as Hugging Face inverts its masks.
            number = self.op("Sub", self.scalar(1),
                             self.cast(self.seen, self.dtype))
            self.summands = self.op("Mul", number, self.scalar(low))
        elif mask != "bool":
            self.summands = hide(self.seen)
        if self.is_("wrong", "alibi"):
            bias = self.cast(self.op("Sub", columns, rows), self.dtype)
            self.summands = self.op("Add", self.summands, self.op(
                "Mul", bias, self.scalar(0.01)))

    # --- queries, keys and values ---------------------------------------------

    def heads_of(self, x, heads):
        """[B, T, H * D] as [B, H, T, D]."""
        y = self.op("Reshape", x, self.dims(self.batch, self.tokens, heads,
                                            self.size))
        return self.transpose(y, 0, 2, 1, 3)

    def flat(self, x, heads):
        """[B, H, T, D] as [B, T, H * D]."""
        y = self.transpose(x, 0, 2, 1, 3)
        return self.op("Reshape", y, self.dims(self.batch, self.tokens,
                                               heads * self.size))

    def project(self, x, prefix):
        """Queries, keys and values: [B, T, columns] each."""
        q, kv = self.heads * self.size, self.kv * self.size
        bias = self.is_("bias", "qkv", "all")
        if self.is_("qkv", "separate") and not self.is_("attention",
                                                        "gqapacked"):
            return [self.linear(x, f"{prefix}.{n}", width, self.hidden, bias)
                    for n, width in (("q", q), ("k", kv), ("v", kv))]
        packed = self.linear(x, f"{prefix}.qkv", q + 2 * kv, self.hidden,
                             bias)
        if self.is_("attention", "gqapacked"):
            return [packed, "", ""]
        if self.is_("qkv", "split"):
            return self.split(packed, 2, q, kv, kv)
        return [self.slice(packed, 2, a, b)
                for a, b in ((0, q), (q, q + kv), (q + kv, q + 2 * kv))]

    def repeat(self, x):
        """[B, KV, S, D] as [B, H, S, D]."""
        group = self.heads // self.kv
        if group == 1:
            return x
        if self.is_("repeat", "gather") or self.is_("wrong", "groups"):
            order = [h // group for h in range(self.heads)]
            if self.is_("wrong", "groups"):
                order = [h % self.kv for h in range(self.heads)]
            return self.op("Gather", x, self.ints(*order), axis=1)
        y = self.unsqueeze(x, 2)
        if self.is_("repeat", "tile"):
            y = self.op("Tile", y, self.ints(1, 1, group, 1, 1))
        else:
            y = self.op("Expand", y, self.dims(
                self.batch, self.kv, group, self.total, self.size))
        return self.op("Reshape", y, self.dims(self.batch, self.heads,
                                               self.total, self.size))

    def append(self, past, x):
        """The new cache, in its layout and as [B, KV, S, D]."""
        if not self.has_past:
            return None, x
        bshd = self.is_("layout", "bshd")
        if bshd:
            x = self.transpose(x, 0, 2, 1, 3)
        present = x if self.ignores_past else self.op(
            "Concat", self.from_io(past), x, axis=1 if bshd else 2)
        return present, (self.transpose(present, 0, 2, 1, 3) if bshd
                         else present)

    # --- attention ------------------------------------------------------------

    def attention(self, x, index):
        """What attention adds to the stream, and the new cache."""
        prefix, bias = f"layers.{index}", self.is_("bias", "all")
        pasts = [f"past_key_values.{index}.{n}" for n in ("key", "value")]
        q, k, v = self.project(x, prefix)
        if self.is_gqa:
            y, presents = self.group_query(q, k, v, pasts)
        else:
            if self.is_("wrong", "int"):
                q = self.cast(self.cast(q, INT64), self.dtype)
            if self.is_("wrong", "qknorm"):
                q = self.head_norm(q)
            q = self.rope(q, self.heads, False)
            k = (self.heads_of(k, self.kv) if self.is_("wrong", "late")
                 else self.rope(k, self.kv, True))
            v = self.heads_of(v, self.kv)
            if self.is_("attention", "oppast", "op3d") and self.has_past:
                y, *presents = self.operator(q, k, v, pasts)
            else:
                present_k, k = self.append(pasts[0], k)
                present_v, v = self.append(pasts[1], v)
                if self.is_("wrong", "late"):
                    # Keys are cached as they were and rotated at every step.
                    cos, sin = [self.unsqueeze(t, 1) for t in self.all_angles]
                    k = self.rotate_half(k, self.size, cos, sin)
                presents = [present_k, present_v]
                if self.is_("wrong", "shared") and index:
                    k = self.first_keys
                self.first_keys = k
                if self.is_("wrong", "order"):
                    v = self.op("Gather", v, self.ints(
                        *reversed(range(self.kv))), axis=1)
                y = self.attend(q, k, v)
        width = self.heads * self.size
        return (self.linear(y, f"{prefix}.o", self.hidden, width, bias),
                presents)

    def head_norm(self, q):
        split = self.op("Reshape", q, self.dims(self.batch, self.tokens,
                                                self.heads, self.size))
        mean = self.reduce("ReduceMean", self.op("Mul", split, split))
        root = self.op("Sqrt", self.op("Add", mean, self.scalar(self.eps)))
        return self.op("Reshape", self.op("Div", split, root), self.dims(
            self.batch, self.tokens, self.heads * self.size))

    def group_query(self, q, k, v, pasts):
        attributes = {"num_heads": self.heads, "kv_num_heads": self.kv}
        tables = []
        if self.is_("attention", "gqaplain"):
            q = self.flat(self.rope(q, self.heads, False), self.heads)
            k = self.flat(self.rope(k, self.kv, True), self.kv)
        else:
            attributes.update(do_rotary=1, rotary_interleaved=0)
            tables = self.tables
        if self.is_("wrong", "window"):
            attributes["local_window_size"] = int(self.o["window"])
        if self.is_("wrong", "softcap"):
            attributes["softcap"] = 30.0
        if self.has_past:
            pasts = [self.from_io(p) for p in pasts]
        else:
            pasts = ["", ""]
        y, *presents = self.ms(
            "GroupQueryAttention", q, k, v, *pasts, self.last_keys,
            self.total32, *tables, outputs=3, **attributes)
        return y, presents

    def operator(self, q, k, v, pasts=()):
        """The standard Attention, with or without a cache of its own."""
        attributes = {"scale": 1 / math.sqrt(self.size)}
        if self.is_("mask", "causal"):
            attributes["is_causal"] = 1
        if self.is_("wrong", "softcap"):
            attributes["softcap"] = 30.0
        flat = self.is_("attention", "op3d")
        if flat:
            q, k, v = (self.flat(x, n) for x, n in (
                (q, self.heads), (k, self.kv), (v, self.kv)))
            attributes.update(q_num_heads=self.heads, kv_num_heads=self.kv)
        mask = self.seen if self.is_("mask", "bool") else self.summands
        y, *presents = self.g.op(
            "Attention", q, k, v, mask, *[self.from_io(p) for p in pasts],
            outputs=[True] + [True] * len(pasts) + [False] * (2 - len(pasts)),
            **attributes)
        return [y if flat else self.flat(y, self.heads), *presents]

    def attend(self, q, k, v):
        """[B, T, H * D] from [B, H or KV, T or S, D]."""
        kind = self.o["attention"]
        if kind in ("op", "oppast", "op3d"):
            return self.operator(q, k, v)[0]
        if kind == "mha":
            q = self.flat(q, self.heads)
            k, v = self.repeat(k), self.repeat(v)
            return self.ms("MultiHeadAttention", q, k, v, "", "",
                           self.summands, num_heads=self.heads)
        if self.is_("repeat", "grouped"):
            return self.grouped(q, k, v)
        k, v = self.repeat(k), self.repeat(v)
        if kind == "merged":
            return self.merged(q, k, v)
        q, k = self.scale_before(q, k)
        if kind == "einsum":
            scores = self.op("Einsum", q, k, equation="bhtd,bhsd->bhts")
        elif self.is_("scale", "fused"):
            scores = self.ms("FusedMatMul", q, k, transB=1,
                             alpha=1 / math.sqrt(self.size))
        else:
            scores = self.op("MatMul", q, self.transpose(k, 0, 1, 3, 2))
        p = self.probabilities(scores, q)
        y = (self.op("Einsum", p, v, equation="bhts,bhsd->bhtd")
             if kind == "einsum" else self.op("MatMul", p, v))
        return self.flat(y, self.heads)

    def grouped(self, q, k, v):
        """Keys broadcast over the queries of a group: no repetition."""
        group = self.heads // self.kv
        q, k = self.scale_before(q, k)
        q = self.op("Reshape", q, self.dims(self.batch, self.kv, group,
                                            self.tokens, self.size))
        k, v = self.unsqueeze(k, 2), self.unsqueeze(v, 2)
        scores = self.op("MatMul", q, self.transpose(k, 0, 1, 2, 4, 3))
        scores = self.op("Reshape", scores, self.dims(
            self.batch, self.heads, self.tokens, self.total))
        p = self.op("Reshape", self.probabilities(scores, q), self.dims(
            self.batch, self.kv, group, self.tokens, self.total))
        y = self.op("Reshape", self.op("MatMul", p, v), self.dims(
            self.batch, self.heads, self.tokens, self.size))
        return self.flat(y, self.heads)

    def merged(self, q, k, v):
        """Sequences and heads as one dimension."""
        q, k = self.scale_before(q, k)
        q, k, v = (self.op("Reshape", t, self.dims(-1, n, self.size))
                   for t, n in ((q, self.tokens), (k, self.total),
                                (v, self.total)))
        scores = self.op("MatMul", q, self.transpose(k, 0, 2, 1))
        scores = self.op("Reshape", scores, self.dims(
            self.batch, self.heads, self.tokens, self.total))
        p = self.op("Reshape", self.probabilities(scores, q),
                    self.dims(-1, self.tokens, self.total))
        y = self.op("Reshape", self.op("MatMul", p, v), self.dims(
            self.batch, self.heads, self.tokens, self.size))
        return self.flat(y, self.heads)

    def scale_before(self, q, k):
        scale = 1 / math.sqrt(self.size)
        if self.is_("scale", "query"):
            q = self.op("Mul", q, self.scalar(scale))
        if self.is_("scale", "both"):
            q, k = (self.op("Mul", t, self.scalar(math.sqrt(scale)))
                    for t in (q, k))
        return q, k

    def probabilities(self, scores, q):
        """Scaled and masked scores [B, H, T, S] through Softmax."""
        how, size = self.o["scale"], self.size
        if how in ("post", "odd"):
            factor = 1 / math.sqrt(size) if how == "post" else 0.2
            scores = self.op("Mul", scores, self.scalar(factor))
        if how == "div":
            scores = self.op("Div", scores, self.scalar(math.sqrt(size)))
        if how == "pow":
            rank = {"merged": 2}.get(self.o["attention"], 3)
            rank = 4 if self.is_("repeat", "grouped") else rank
            width = self.cast(self.dim(q, rank), self.dtype)
            scores = self.op("Div", scores, self.op("Pow", width,
                                                    self.scalar(0.5)))
        if self.is_("wrong", "softcap"):
            scores = self.op("Mul", self.op("Tanh", self.op(
                "Div", scores, self.scalar(30))), self.scalar(30))
        hide_all = self.is_("mask", "bool")
        if hide_all:
            scores = self.op("Where", self.seen, scores,
                             self.scalar(-math.inf))
        elif self.summands:
            scores = self.op("Add", scores, self.summands)
        if self.is_("mask", "add"):
            scores = self.op("Max", scores, self.scalar(
                -65504.0 if self.dtype == FLOAT16 else -3.4e38))
        if self.dtype != FLOAT:
            scores = self.cast(scores, FLOAT)
        p = self.op("Softmax", scores, axis=-1 if self.opset >= 13 else 3)
        if hide_all:
            # Rows of a sequence that is all padding.
            p = self.op("Where", self.op("IsNaN", p),
                        self.g.const(0.0, dtype=FLOAT), p)
        return self.cast(p, self.dtype) if self.dtype != FLOAT else p
