#!/usr/bin/env python3
"""Makes node tests whose expected outputs are onnxruntime's.

They cover what the vectors of other projects leave out: onnxruntime's own
operators with all their operands, and older versions of standard operators.

    make_onnxruntime_vectors.py OUTPUT_FOLDER

Needs numpy, onnx and onnxruntime (CPU). The same folder layout as the ONNX
node tests: NAME/model.onnx, NAME/test_data_set_0/{input,output}_N.pb.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

MS = "com.microsoft"
rng = np.random.default_rng(7)
tests = []


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def test(name, op, inputs, outputs, *, domain="", opset=18, ir=10, **attrs):
    """`inputs` holds arrays or None; `outputs` names, '' for absent ones."""
    tests.append((f"ort_{name}", op, inputs, outputs, domain, opset, ir, attrs))


def save(root, name, op, inputs, outputs, domain, opset, ir, attrs):
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    arrays = {n: x for n, x in zip(names, inputs) if n}
    node = helper.make_node(op, names, outputs, domain=domain, **attrs)
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(
            n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
         for n, x in arrays.items()],
        [helper.make_empty_tensor_value_info(o) for o in outputs if o])
    imports = [helper.make_opsetid("", 18 if domain else opset)]
    if domain:
        imports.append(helper.make_opsetid(domain, opset))
    model = helper.make_model(graph, opset_imports=imports, ir_version=ir)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options,
        providers=["CPUExecutionProvider"])
    results = session.run(None, arrays)
    for info, result in zip(graph.output, results):
        info.CopyFrom(helper.make_tensor_value_info(
            info.name, helper.np_dtype_to_tensor_dtype(result.dtype),
            result.shape))
    folder = root / name / "test_data_set_0"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=ir),
              folder.parent / "model.onnx")
    for kind, values in (("input", arrays.values()), ("output", results)):
        for i, value in enumerate(values):
            proto = numpy_helper.from_array(np.asarray(value))
            (folder / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())


def rope_tables(rows, half):
    angle = np.arange(rows)[:, None] * 100.0 ** (-np.arange(half) / half)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def group_query_attention():
    b, s, h, kv, d = 1, 5, 4, 2, 16  # d: a multiple of 16 for packed rotation

    def gqa(name, batch=b, new=s, past=None, lengths=None, total=None,
            packed=False, rotary=False, capacity=None, half=None,
            dtype=np.float32, extra=(), **attrs):
        past = [0] * batch if past is None else past
        lengths = lengths or [p + new for p in past]
        total = total or max(lengths)
        rows = capacity if capacity is not None else max(past)
        if packed:
            query = [f32(batch, new, (h + 2 * kv) * d), None, None]
        else:
            query = [f32(batch, new, h * d), f32(batch, new, kv * d),
                     f32(batch, new, kv * d)]
        caches = [f32(batch, kv, rows, d), f32(batch, kv, rows, d)]
        tables = rope_tables(32, half or d // 2) if rotary else [None, None]
        inputs = [x if x is None else x.astype(dtype)
                  for x in (*query, *caches)]
        inputs += [np.array(lengths, np.int32) - 1,
                   np.array([total], np.int32)]
        inputs += [x if x is None else x.astype(dtype) for x in tables]
        inputs += list(extra)
        while inputs[-1] is None:
            inputs.pop()
        test(f"gqa_{name}", "GroupQueryAttention", inputs,
             ["y", "present_key", "present_value"], domain=MS, opset=1,
             num_heads=h, kv_num_heads=kv, do_rotary=int(rotary), **attrs)

    gqa("prompt")
    gqa("prompt_rotary", rotary=True)
    gqa("prompt_rotary_interleaved", rotary=True, rotary_interleaved=1)
    gqa("prompt_rotary_packed", rotary=True, packed=True)
    gqa("prompt_scale", scale=0.5)
    gqa("prompt_f16", rotary=True, dtype=np.float16)
    gqa("prompt_local_window", new=7, local_window_size=3)
    gqa("prompt_softcap", softcap=1.5)
    gqa("prompt_smooth_softmax", smooth_softmax=1)
    gqa("prompt_head_sink", extra=[None, None, f32(h)])
    gqa("prompt_bias", extra=[None, f32(1, h, s, s)])
    gqa("prompt_bias_broadcast", extra=[None, f32(1, 1, s, s)])
    gqa("prompt_shared_buffer", rotary=True, capacity=12)
    gqa("prompt_batch_padded", batch=2, new=4, lengths=[4, 4], rotary=True)
    gqa("decode", new=1, past=[6], rotary=True)
    gqa("decode_packed", new=1, past=[6], rotary=True, packed=True)
    gqa("decode_shared_buffer", new=1, past=[6], rotary=True, capacity=12)
    gqa("decode_batch_ragged", batch=2, new=1, past=[6, 3], rotary=True,
        capacity=8)
    gqa("decode_local_window", new=1, past=[6], local_window_size=3)
    gqa("decode_f16", new=1, past=[6], rotary=True, dtype=np.float16)
    gqa("second_prompt", new=3, past=[4], rotary=True)
    gqa("second_prompt_local_window", new=3, past=[4], local_window_size=2)
    gqa("decode_bias", new=1, past=[6], extra=[None, f32(1, h, 1, 7)])
    gqa("second_prompt_positions", new=3, past=[4], rotary=True,
        extra=[np.array([[4, 5, 6]], np.int64)])


def multi_head_attention():
    b, s, t, n, d = 2, 3, 4, 2, 8

    def mha(name, inputs, outputs=("y",), **attrs):
        test(f"mha_{name}", "MultiHeadAttention", inputs, list(outputs),
             domain=MS, opset=1, num_heads=n, **attrs)

    q, k, v = f32(b, s, n * d), f32(b, t, n * d), f32(b, t, n * d)
    mha("cross", [q, k, v])
    mha("scale", [q, k, v], scale=0.3)
    mha("value_size", [q, k, f32(b, t, n * 4)])
    mha("bias", [q, k, v, f32(3 * n * d)])
    mha("mask_lengths", [q, k, v, None, np.array([3, 4], np.int32)])
    mha("mask_keys", [q, k, v, None,
                      np.array([[1, 1, 0, 0], [1, 1, 1, 0]], np.int32)])
    mha("mask_3d", [q, k, v, None,
                    rng.integers(0, 2, (b, s, t)).astype(np.int32)],
        mask_filter_value=-50.0)
    mha("attention_bias", [q, k, v, None, None, f32(1, n, s, t)])
    mha("causal", [q, f32(b, s, n * d), f32(b, s, n * d)], unidirectional=1)
    mha("past", [q, f32(b, s, n * d), f32(b, s, n * d), None, None, None,
                 f32(b, n, 2, d), f32(b, n, 2, d)],
        ["y", "present_key", "present_value"])
    mha("past_causal", [q, f32(b, s, n * d), f32(b, s, n * d), None, None,
                        None, f32(b, n, 2, d), f32(b, n, 2, d)],
        ["y", "present_key", "present_value"], unidirectional=1)


def quantized_weights():
    def nbits(name, m, n, k, block, bits=4, zeros=None, groups=False,
              bias=False, dtype=np.float32):
        blocks = -(-k // block)
        codes = rng.integers(0, 256, (n, blocks, block * bits // 8),
                             dtype=np.uint8)
        inputs = [f32(m, k).astype(dtype), codes,
                  f32(n, blocks).astype(dtype)]
        packed = -(-blocks * bits // 8)
        inputs.append({None: None,
                       "packed": rng.integers(0, 256, (n, packed),
                                              dtype=np.uint8),
                       "float": f32(n, blocks).astype(dtype)}[zeros])
        inputs.append(rng.integers(0, blocks, k).astype(np.int32)
                      if groups else None)
        inputs.append(f32(n).astype(dtype) if bias else None)
        while inputs[-1] is None:
            inputs.pop()
        test(f"matmulnbits_{name}", "MatMulNBits", inputs, ["y"], domain=MS,
             opset=1, K=k, N=n, bits=bits, block_size=block,
             accuracy_level=0)

    nbits("4", 3, 6, 64, 16)
    nbits("4_tail", 2, 5, 72, 32)
    nbits("4_zeros", 2, 6, 96, 32, zeros="packed")
    nbits("4_zeros_float", 2, 6, 96, 32, zeros="float")
    nbits("4_bias", 2, 6, 64, 32, bias=True)
    nbits("4_f16", 2, 6, 64, 32, dtype=np.float16)
    nbits("8", 2, 6, 64, 32, bits=8)
    nbits("8_zeros", 2, 6, 64, 32, bits=8, zeros="packed")
    nbits("2", 2, 6, 128, 64, bits=2)
    nbits("2_zeros", 2, 6, 320, 64, bits=2, zeros="packed")

    def gather(name, bits, zeros, dtype=np.float32):
        rows, columns, block = 5, 48, 16
        inputs = [rng.integers(0, 256, (rows, columns * bits // 8),
                               dtype=np.uint8),
                  np.array([[1, 4], [0, -1]], np.int64),
                  f32(rows, columns // block).astype(dtype)]
        if zeros:
            inputs.append(rng.integers(
                0, 256, (rows, -(-columns // block * bits // 8)),
                dtype=np.uint8))
        test(f"gather_block_quantized_{name}", "GatherBlockQuantized", inputs,
             ["y"], domain=MS, opset=1, bits=bits, block_size=block,
             gather_axis=0, quantize_axis=1)

    gather("4", 4, False)
    gather("4_zeros", 4, True)
    gather("8", 8, False)
    gather("8_zeros", 8, True)
    gather("4_f16", 4, False, np.float16)
    test("dynamic_quantize_linear", "DynamicQuantizeLinear", [f32(3, 5)],
         ["y", "scale", "zero"])
    test("dynamic_quantize_linear_positive", "DynamicQuantizeLinear",
         [np.abs(f32(7)) + 1], ["y", "scale", "zero"])
    test("matmul_integer_zeros", "MatMulInteger",
         [rng.integers(0, 256, (2, 3, 5), dtype=np.uint8),
          rng.integers(-128, 128, (5, 4)).astype(np.int8),
          np.array(7, np.uint8),
          np.array([1, -2, 3, -4], np.int8)], ["y"])
    x = f32(4, 6)
    scale = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    zero = np.array([1, -2, 3, 0], np.int8)
    test("quantize_axis0", "QuantizeLinear", [x, scale, zero], ["y"],
         opset=13, axis=0)
    test("dequantize_axis0", "DequantizeLinear",
         [rng.integers(-128, 128, (4, 6)).astype(np.int8), scale, zero],
         ["y"], opset=13, axis=0)
    test("dequantize_i32", "DequantizeLinear",
         [rng.integers(-70000, 70000, (4, 6)).astype(np.int32),
          np.array(0.01, np.float32)], ["y"], opset=13)


def norms_and_activations():
    x, skip = f32(2, 3, 16), f32(2, 3, 16)
    gamma, beta, bias = f32(16), f32(16), f32(16)
    test("layer_norm", "LayerNormalization", [x, gamma, beta],
         ["y", "mean", "inverse"], opset=17, epsilon=1e-3)
    test("layer_norm_axis", "LayerNormalization", [x, f32(3, 16)], ["y"],
         opset=17, axis=1)
    test("skip_layer_norm", "SkipLayerNormalization",
         [x, skip, gamma, beta, bias], ["y", "", "", "sum"], domain=MS,
         opset=1, epsilon=1e-5)
    test("skip_simplified_layer_norm", "SkipSimplifiedLayerNormalization",
         [x, skip, gamma, bias], ["y", "", "", "sum"], domain=MS, opset=1,
         epsilon=1e-5)
    test("skip_simplified_layer_norm_broadcast",
         "SkipSimplifiedLayerNormalization", [x, skip[:1], gamma],
         ["y", "", "", "sum"], domain=MS, opset=1)
    test("fast_gelu", "FastGelu", [x, bias], ["y"], domain=MS, opset=1)
    test("bias_gelu", "BiasGelu", [x, bias], ["y"], domain=MS, opset=1)
    test("quick_gelu", "QuickGelu", [x], ["y"], domain=MS, opset=1)
    test("quick_gelu_silu", "QuickGelu", [x], ["y"], domain=MS, opset=1,
         alpha=1.0)
    test("gelu_tanh", "Gelu", [x], ["y"], opset=20, approximate="tanh")
    test("gelu", "Gelu", [x], ["y"], opset=20)
    test("fused_matmul", "FusedMatMul", [f32(2, 4, 3), f32(2, 5, 4)], ["y"],
         domain=MS, opset=1, transA=1, transB=1, alpha=0.25)
    for op in ("Softplus", "Elu", "LeakyRelu", "HardSigmoid"):
        test(op.lower(), op, [f32(3, 4) * 3], ["y"])


def older_versions():
    x = f32(2, 3, 4)
    test("softmax_v11", "Softmax", [x], ["y"], opset=11, axis=1)
    test("log_softmax_v11", "LogSoftmax", [x], ["y"], opset=11, axis=1)
    test("squeeze_v11", "Squeeze", [x[:, :1]], ["y"], opset=11, axes=[-2])
    test("unsqueeze_v11", "Unsqueeze", [x], ["y"], opset=11, axes=[0, -1])
    test("split_v11", "Split", [x], ["a", "b"], opset=11, axis=2,
         split=[1, 3])
    test("reduce_sum_v11", "ReduceSum", [x], ["y"], opset=11, axes=[0, -1],
         keepdims=0)
    test("reduce_mean_v13", "ReduceMean", [x], ["y"], opset=13, axes=[1])
    test("slice_v9", "Slice", [x], ["y"], opset=9, starts=[1, -3],
         ends=[100, -1], axes=[1, 2])
    test("clip_v6", "Clip", [x], ["y"], opset=9, min=-0.5, max=0.25)
    test("pad_v9", "Pad", [x], ["y"], opset=9, pads=[0, 1, 0, 0, 0, 2],
         value=1.5)
    test("topk_v9", "TopK", [x], ["values", "indices"], opset=9, k=2, axis=1)
    test("dropout_v11", "Dropout", [x], ["y"], opset=11, ratio=0.3)


def selection_and_movement():
    x = f32(3, 4, 5)
    i64 = lambda *v: np.array(v, np.int64)
    for mode in ("edge", "reflect", "wrap"):
        test(f"pad_{mode}", "Pad", [x, i64(1, 0, 2, 0, 1, 3)], ["y"],
             opset=19, mode=mode)
    test("pad_axes_crop", "Pad", [x, i64(-1, 2), np.array(2.5, np.float32),
                                  i64(-1)], ["y"], opset=19)
    test("topk", "TopK", [x, i64(3)], ["values", "indices"], axis=1)
    test("topk_smallest", "TopK",
         [rng.integers(0, 3, (4, 6)).astype(np.int64), i64(4)],
         ["values", "indices"], largest=0)
    test("non_zero", "NonZero", [rng.integers(0, 2, (3, 4)).astype(bool)],
         ["y"], opset=13)
    test("one_hot", "OneHot", [i64(0, 3, -1, 9), np.array(4, np.int64),
                               np.array([2, 5], np.float32)], ["y"], axis=0)
    test("gather_nd_batch", "GatherND", [x, i64([1, 2], [0, 0], [3, -1])],
         ["y"], batch_dims=1)
    test("gather_nd_slices", "GatherND", [x, i64([1], [0])], ["y"])
    test("scatter_elements_add", "ScatterElements",
         [x, np.zeros((1, 4, 5), np.int64) + 1, f32(1, 4, 5)], ["y"],
         reduction="add")
    for upper in (0, 1):
        test(f"trilu_{upper}", "Trilu", [x, np.array(-1, np.int64)], ["y"],
             upper=upper)
    test("trilu_far", "Trilu", [x, np.array(40, np.int64)], ["y"])
    test("tile_3d", "Tile", [x, i64(2, 1, 3)], ["y"])
    test("slice_backwards", "Slice", [x, i64(-1, 100), i64(-100, 0),
                                      i64(0, 2), i64(-2, -1)], ["y"])
    test("cumsum_reverse", "CumSum", [x, np.array(1, np.int32)], ["y"],
         reverse=1, exclusive=1)
    test("mod_float", "Mod", [x, f32(3, 4, 5)], ["y"], fmod=1)
    test("mod_int", "Mod", [rng.integers(-9, 9, (8,)).astype(np.int32),
                            i64(-4, -3, 2, 3, 5, 7, -2, 4).astype(np.int32)],
         ["y"])
    test("range_int", "Range", [np.array(n, np.int64) for n in (10, -5, -4)],
         ["y"])
    test("is_inf", "IsInf", [np.array([1, np.inf, -np.inf, np.nan],
                                      np.float32)], ["y"], detect_negative=0)
    test("round", "Round", [np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4],
                                     np.float32)], ["y"])
    test("pow_int", "Pow", [rng.integers(-5, 5, (6,)).astype(np.int64),
                            rng.integers(0, 5, (6,)).astype(np.int64)],
         ["y"])
    test("cast_float_to_i32", "Cast", [np.array([1.9, -1.9, 1e3],
                                                np.float32)], ["y"], to=6)
    test("cast_i64_to_u8", "Cast", [i64(-1, 255, 256, 1000)], ["y"], to=2)
    for op in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
               "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare"):
        test(op.lower(), op, [np.abs(x), i64(0, 2)], ["y"], keepdims=0)
    test("reduce_sum_noop", "ReduceSum", [x, np.zeros(0, np.int64)], ["y"],
         noop_with_empty_axes=1)
    test("arg_min", "ArgMin", [rng.integers(0, 3, (4, 6)).astype(np.int32)],
         ["y"], axis=1)
    for i, equation in enumerate(("bhid,bhjd->bhij", "i,j->ij", "ij->",
                                  "bij,bjk", "...ij->...ji")):
        operands = {0: [f32(1, 2, 3, 4), f32(1, 2, 5, 4)],
                    1: [f32(3), f32(4)], 2: [f32(2, 3)],
                    3: [f32(2, 3, 4), f32(2, 4, 2)], 4: [f32(2, 2, 3)]}[i]
        test(f"einsum_{i}", "Einsum", operands, ["y"], equation=equation)


def standard_attention():
    q, k, v = f32(1, 4, 3, 8), f32(1, 2, 6, 8), f32(1, 2, 6, 8)
    mask = rng.integers(0, 2, (3, 6)).astype(bool)
    mask[:, 0] = True
    test("attention_softcap_mask", "Attention", [q, k, v, f32(3, 6)], ["y"],
         opset=23, softcap=2.0)
    test("attention_softcap_bool_mask", "Attention", [q, k, v, mask], ["y"],
         opset=23, softcap=2.0)
    test("attention_causal_past", "Attention",
         [q, k[:, :, :3], v[:, :, :3], None, f32(1, 2, 4, 8),
          f32(1, 2, 4, 8)], ["y", "present_key", "present_value"], opset=23,
         is_causal=1)
    test("attention_f16_mask", "Attention",
         [q.astype(np.float16), k.astype(np.float16), v.astype(np.float16),
          mask], ["y"], opset=23)
    cos, sin = rope_tables(16, 4)
    x = f32(2, 3, 4, 8)
    positions = rng.integers(0, 16, (2, 4)).astype(np.int64)
    test("contrib_rotary", "RotaryEmbedding", [x, positions, cos, sin],
         ["y"], domain=MS, opset=1)
    test("contrib_rotary_offset", "RotaryEmbedding",
         [x, np.array([5], np.int64), cos, sin], ["y"], domain=MS, opset=1,
         interleaved=1)
    test("contrib_rotary_partial", "RotaryEmbedding",
         [f32(2, 4, 3 * 16), positions, cos, sin], ["y"], domain=MS, opset=1,
         num_heads=3, rotary_embedding_dim=8)


def main():
    root = pathlib.Path(sys.argv[1])
    for group in (group_query_attention, multi_head_attention,
                  quantized_weights, norms_and_activations, older_versions,
                  selection_and_movement, standard_attention):
        group()
    for entry in tests:
        save(root, *entry)


main()
