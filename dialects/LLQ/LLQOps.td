//===- LLQOps.td - Operations of the llq dialect -----------*- tablegen -*-===//
//
// Normal form, quantized form and program form; see LLQDialect.td.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_OPS_TD
#define LLQ_OPS_TD

include "LLQTypes.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class LLQ_Op<string mnemonic, list<Trait> traits = []>
    : Op<LLQ_Dialect, mnemonic, traits>;

def LLQ_Activation : Type<And<[TensorRankOf<[F32], [2]>.predicate,
    CPred<"!::llvm::cast<::mlir::ShapedType>($_self).isDynamicDim(1)">]>,
    "2D tensor of f32 with a static number of columns", "::mlir::TensorType">;
def LLQ_Vector : TensorRankOf<[F16, BF16, F32], [1]>;
def LLQ_Matrix : TensorRankOf<[F16, BF16, F32], [2]>;
def LLQ_Weight : AnyTypeOf<[LLQ_Matrix, LLQ_QuantizedType]>;
def LLQ_ActivationOrQuantized : AnyTypeOf<[LLQ_Activation, LLQ_QuantizedType]>;
def LLQ_TokenIds : TensorRankOf<[I32], [1]>;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def LLQ_WeightOp : LLQ_Op<"weight", [Pure,
    AllTypesMatch<["value", "result"]>]> {
  let summary = "A weight in its source type";
  let description = [{
    Produces a weight that is a view of a file (`#llq.external`), a resource blob,
    or one of these with scales (`#llq.scaled`) or in another basis
    (`#llq.rotated`). Never a `dense` constant: those live as long as the context.

    ```mlir
    %w = llq.weight dense_resource<w> : tensor<256x256xf16>
    ```
  }];
  let arguments = (ins TypedAttrInterface:$value);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict $value";
  let hasVerifier = 1;
}

def LLQ_QuantizedWeightOp : LLQ_Op<"quantized_weight", [Pure]> {
  let summary = "A weight matrix in a quantized format";
  let description = [{
    Produces a matrix from the component arrays that its format asks for (names,
    shapes and element types: the format's description), each a resource blob or
    a view of a file.

    ```mlir
    %w = llq.quantized_weight {codes = dense_resource<c> : tensor<2x2xi8>,
                               scales = dense_resource<s> : tensor<2x1xf16>}
       : !llq.quantized<2x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
    ```
  }];
  let arguments = (ins DictionaryAttr:$components);
  let results = (outs LLQ_QuantizedType:$result);
  let assemblyFormat = "$components attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def LLQ_DequantizeOp : LLQ_Op<"dequantize", [Pure]> {
  let summary = "The values of a quantized weight or of quantized activations";
  let description = [{
    The reference meaning of every quantized format: `llq-dequantize` replaces
    quantized weights by the values that this op computes.
  }];
  let arguments = (ins LLQ_QuantizedType:$input);
  let results = (outs TensorRankOf<[F32], [2]>:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def LLQ_QuantizeActivationOp : LLQ_Op<"quantize_activation", [Pure]> {
  let summary = "Quantize activations at run time";
  let description = [{
    `codes[t,k] = round(x[t,k] / scale[t,g])` with the scale that the result's
    format, `#llq.dynamic` or `#llq.static`, says.

    ```mlir
    %q = llq.quantize_activation %x
       : tensor<?x256xf32> -> !llq.quantized<?x256, #llq.dynamic<bits = 8, group = 32>>
    ```
  }];
  let arguments = (ins LLQ_Activation:$input);
  let results = (outs LLQ_QuantizedType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// The decoder
//===----------------------------------------------------------------------===//

def LLQ_EmbeddingOp : LLQ_Op<"embedding", [Pure]> {
  let summary = "Rows of the embedding table";
  let description = [{
    `y[t,:] = table[ids[t],:]`, `ids[T]`, `table[V,K]`, `y[T,K]`. Ids are checked
    by the runtime before a call. `method` as in `llq.linear`.
  }];
  let arguments = (ins LLQ_TokenIds:$ids, LLQ_Weight:$table,
                       OptionalAttr<DictionaryAttr>:$method);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` type($ids) `,` type($table) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def LLQ_RMSNormOp : LLQ_Op<"rms_norm", [Pure,
    AllTypesMatch<["input", "result"]>]> {
  let summary = "Root-mean-square normalization";
  let description = [{
    `y[t,k] = weight[k] * x[t,k] / sqrt(mean_k(x[t,k]^2) + epsilon)`.

    ```mlir
    %y = llq.rms_norm %x, %w {epsilon = 1.0e-05 : f32} : tensor<?x256xf32>, tensor<256xf16>
    ```
  }];
  let arguments = (ins LLQ_Activation:$input, LLQ_Vector:$weight, F32Attr:$epsilon);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input) `,` type($weight)";
  let hasVerifier = 1;
}

def LLQ_LinearOp : LLQ_Op<"linear", [Pure]> {
  let summary = "A linear layer of the model";
  let description = [{
    `y[t,n] = sum_k x[t,k] * w[n,k] (+ bias[n])`, `x[T,K]`, `w[N,K]`, `y[T,N]`.
    `name` is the layer's name, e.g. `layers.3.self_attn.q_proj` or `lm_head`. Both
    `x` and `w` may be quantized. `method`, if present, records how the weight was
    quantized (provenance; no stage reads it).

    Folds: an operand `llq.dequantize(q)` becomes `q`.

    ```mlir
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x256xf32>, tensor<768x256xf16> -> tensor<?x768xf32>
    ```
  }];
  let arguments = (ins StrAttr:$name, LLQ_ActivationOrQuantized:$input,
                       LLQ_Weight:$weight, Optional<LLQ_Vector>:$bias,
                       OptionalAttr<DictionaryAttr>:$method);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = [{
    $name $input `,` $weight (`bias` $bias^ `:` type($bias))? attr-dict
        `:` type($input) `,` type($weight) `->` type($result)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
  let extraClassDeclaration = [{
    /// An error that names the layer: `emitLayerError() << "has no weight"`.
    ::mlir::InFlightDiagnostic emitLayerError();
  }];
}

def LLQ_PositionsOp : LLQ_Op<"positions", [Pure,
    AllTypesMatch<["ids", "result"]>]> {
  let summary = "Absolute positions of the tokens of a call";
  let description = [{ `positions[t] = past + t`. }];
  let arguments = (ins LLQ_TokenIds:$ids, Index:$past);
  let results = (outs LLQ_TokenIds:$result);
  let assemblyFormat = "$ids `,` $past attr-dict `:` type($ids)";
}

def LLQ_ObserveOp : LLQ_Op<"observe"> {
  let summary = "Ask for statistics of an activation";
  let description = [{
    Marks inputs `x[T,K]` of linear layers that `llq-attach-stats` collects
    statistics of: those per channel, with `second_moment` the mean of `x^T x`, and
    the inputs of up to `sample_tokens` tokens. Computes nothing; a model that is
    to be compiled has none left.
  }];
  let arguments = (ins LLQ_Activation:$input, UnitAttr:$second_moment,
                       DefaultValuedAttr<I64Attr, "0">:$sample_tokens);
  let assemblyFormat = [{
    $input (`second_moment` $second_moment^)? attr-dict `:` type($input)
  }];
}

def LLQ_RotaryTableOp : LLQ_Op<"rotary_table", [Pure,
    AllTypesMatch<["cos", "sin"]>]> {
  let summary = "Cosines and sines of rotary positions from frequencies";
  let description = [{
    `cos[t,i] = scale * cos(positions[t] * frequencies[i])`, sines likewise, `i` in
    `[0, D/2)`. The product is rounded to f32 as in the models' own code.
  }];
  let arguments = (ins LLQ_TokenIds:$positions, DenseF32ArrayAttr:$frequencies,
                       DefaultValuedAttr<F32Attr, "1.0f">:$scale);
  let results = (outs LLQ_Activation:$cos, LLQ_Activation:$sin);
  let assemblyFormat = "$positions attr-dict `:` type($positions) `->` type($cos)";
  let hasVerifier = 1;
}

def LLQ_RotaryLookupOp : LLQ_Op<"rotary_lookup", [Pure,
    AllTypesMatch<["cos", "sin"]>]> {
  let summary = "Cosines and sines of rotary positions from stored tables";
  let description = [{
    `cos[t,:] = cosTable[positions[t],:]`, for models whose tables follow no known
    formula. `cosTable[C, D/2]` bounds the context to `C`.
  }];
  let arguments = (ins LLQ_TokenIds:$positions, LLQ_Matrix:$cosTable, LLQ_Matrix:$sinTable);
  let results = (outs LLQ_Activation:$cos, LLQ_Activation:$sin);
  let assemblyFormat = [{
    $positions `,` $cosTable `,` $sinTable attr-dict
        `:` type($positions) `,` type($cosTable) `,` type($sinTable) `->` type($cos)
  }];
  let hasVerifier = 1;
}

def LLQ_RopeOp : LLQ_Op<"rope", [Pure, AllTypesMatch<["input", "result"]>,
    AllTypesMatch<["cos", "sin"]>]> {
  let summary = "Rotary position embedding";
  let description = [{
    Rotates every head of `x[T, H*D]`: with `i` in `[0, D/2)`, the pair `(x[i],
    x[i + D/2])` of a head (`(x[2i], x[2i+1])` if `interleaved`) becomes
    `(a*cos[t,i] - b*sin[t,i], b*cos[t,i] + a*sin[t,i])`.
  }];
  let arguments = (ins LLQ_Activation:$input, LLQ_Activation:$cos,
                       LLQ_Activation:$sin, UnitAttr:$interleaved);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = [{
    $input `,` $cos `,` $sin (`interleaved` $interleaved^)? attr-dict `:` type($input) `,` type($cos)
  }];
  let hasVerifier = 1;
}

def LLQ_AttentionOp : LLQ_Op<"attention"> {
  let summary = "Causal grouped-query attention with a KV cache";
  let description = [{
    Appends `k[T, KV*D]` and `v[T, KV*D]` at position `past` to the cache of
    `layer`, then for each query head `h` of `q[T, H*D]` and its key/value head
    `h / (H / KV)`:
    `y[t] = softmax_p(scale * q[t]·K[p]) V[p]` over `p <= past + t`. The cache is
    state outside the function, `cache` says in how many bits it is stored.

    ```mlir
    %y = llq.attention %q, %k, %v, %past {layer = 0, heads = 4, kv_heads = 2, scale = 0.125 : f32, cache = f32}
       : tensor<?x256xf32>, tensor<?x128xf32>
    ```
  }];
  let arguments = (ins LLQ_Activation:$query, LLQ_Activation:$key,
                       LLQ_Activation:$value, Index:$past,
                       I64Attr:$layer, I64Attr:$heads, I64Attr:$kv_heads,
                       F32Attr:$scale,
                       DefaultValuedAttr<LLQ_CacheTypeAttr, "::llq::CacheType::F32">:$cache);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $past attr-dict `:` type($query) `,` type($key)
        `,` type($value) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim() {
      return ::mlir::cast<::mlir::ShapedType>(getQuery().getType()).getDimSize(1) /
             int64_t(getHeads());
    }
  }];
}

def LLQ_SwiGLUOp : LLQ_Op<"swiglu", [Pure, SameOperandsAndResultType]> {
  let summary = "Gated activation of the feed-forward part";
  let description = [{ `y = gate / (1 + exp(-gate)) * up`. }];
  let arguments = (ins LLQ_Activation:$gate, LLQ_Activation:$up);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = "$gate `,` $up attr-dict `:` type($result)";
}

def LLQ_AddOp : LLQ_Op<"add", [Pure, Commutative, SameOperandsAndResultType]> {
  let summary = "Residual addition";
  let arguments = (ins LLQ_Activation:$lhs, LLQ_Activation:$rhs);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

def LLQ_PermuteChannelsOp : LLQ_Op<"permute_channels", [Pure,
    AllTypesMatch<["input", "result"]>]> {
  let summary = "Channels of activations in another order";
  let description = [{
    `y[t,j] = x[t, order[j]]`, `order` a permutation of `0..K-1`. In front of a
    linear layer whose weight is stored with its columns in that order: so a
    method forms groups of columns that are not neighbours, and formats and
    kernels of weights stay as they are.

    Folds: the identity disappears, two in a row become one.
    `llq-fold-permutations` moves it into weights where it can.

    ```mlir
    %y = llq.permute_channels %x by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
    ```
  }];
  let arguments = (ins LLQ_Activation:$input, I32ElementsAttr:$order);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = "$input `by` $order attr-dict `:` type($input)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def LLQ_RotateOp : LLQ_Op<"rotate", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Activations in another orthogonal basis";
  let description = [{
    `y[t,:] = V (scale * x[t,:])`, element by element if there is a `scale[K]`, with
    the orthogonal `V` of `rotation`, or `V^T` if `transposed`. In front of a linear
    layer whose weight is `w diag(1 / scale) V^T`, or behind one of `V w` to undo
    it: so a method quantizes a matrix without outliers.

    ```mlir
    %y = llq.rotate %x by <kind = hadamard, size = 64, seed = 1> : tensor<?x128xf32>
    ```
  }];
  let arguments = (ins LLQ_Activation:$input, Optional<LLQ_Vector>:$scale,
                       LLQ_RotationAttr:$rotation, UnitAttr:$transposed);
  let results = (outs LLQ_Activation:$result);
  let assemblyFormat = [{
    $input (`scaled` $scale^ `:` type($scale))? `by` $rotation
        (`transposed` $transposed^)? attr-dict `:` type($input)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Dispatch formation
//===----------------------------------------------------------------------===//

def LLQ_RegionOp : LLQ_Op<"region", [SingleBlock]> {
  let summary = "Ops that become one kernel";
  let description = [{
    Groups ops that one kernel computes: a normalization with the permutation and
    the quantization of its result, the products q, k and v of one input, gate and
    up with their gated activation, a product with its residual addition. Formed
    by `llq-form-dispatches`; each target has one kernel generator for each kind.
  }];
  let arguments = (ins);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "attr-dict `:` type($results) $body";
  let hasRegionVerifier = 1;
}

def LLQ_YieldOp : LLQ_Op<"yield", [Pure, Terminator, HasParent<"RegionOp">]> {
  let summary = "Results of a region";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

//===----------------------------------------------------------------------===//
// Program form
//===----------------------------------------------------------------------===//

def LLQ_BufferKind : I32Enum<"BufferKind", "What a buffer of a program holds", [
      I32EnumCase<"Input", 0, "input">,
      I32EnumCase<"Output", 1, "output">,
      I32EnumCase<"Temporary", 2, "temporary">,
      I32EnumCase<"Weight", 3, "weight">,
      I32EnumCase<"State", 4, "state">,
    ]> {
  let cppNamespace = "::llq";
}

def LLQ_BufferKindAttr : EnumAttr<LLQ_Dialect, LLQ_BufferKind, "buffer_kind">;

def LLQ_BufferType : TypeDef<LLQ_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "A buffer of a program";
}

def LLQ_ProgramOp : LLQ_Op<"program", [Symbol, SingleBlock, NoTerminator,
    NoRegionArguments, IsolatedFromAbove]> {
  let summary = "What one call of the model does on one kind of target";
  let description = [{
    Buffers and a list of dispatches in order. A call handles up to `max_tokens`
    tokens behind `past` tokens that are in the cache already. `arena_bytes` is
    the memory of all temporaries (set by `llq-plan-memory`), `scratch_bytes` that
    of each thread.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$max_tokens,
                       DefaultValuedAttr<I64Attr, "0">:$scratch_bytes,
                       DefaultValuedAttr<I64Attr, "0">:$arena_bytes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `max_tokens` `=` $max_tokens attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def LLQ_BufferOp : LLQ_Op<"buffer", [HasParent<"ProgramOp">]> {
  let summary = "A buffer: weight, input, output, cache or temporary";
  let description = [{
    Bytes needed: `bytes` (weights) or `bytes_per_token * max_tokens` (inputs,
    outputs, temporaries) or `bytes_per_position * capacity` (state), where the
    capacity of the cache is chosen at run time, in multiples of 16 positions.
    `content` is what a weight holds, in the order in which the target's kernels
    read it. `offset` is the place in the arena, assigned by `llq-plan-memory`.
  }];
  let arguments = (ins LLQ_BufferKindAttr:$kind,
                       StrAttr:$name,
                       DefaultValuedAttr<I64Attr, "0">:$bytes,
                       DefaultValuedAttr<I64Attr, "0">:$bytes_per_token,
                       DefaultValuedAttr<I64Attr, "0">:$bytes_per_position,
                       OptionalAttr<I64Attr>:$offset,
                       OptionalAttr<AnyAttr>:$content);
  let results = (outs LLQ_BufferType:$result);
  let assemblyFormat = "custom<Keyword>($kind) $name attr-dict";
  let hasVerifier = 1;
}

def LLQ_DispatchOp : LLQ_Op<"dispatch", [HasParent<"ProgramOp">]> {
  let summary = "Runs a kernel over a grid";
  let description = [{
    Calls `kernel` for work items `[0, items + items_per_token * tokens)`, cut in
    contiguous ranges for the threads. `outputs_only` limits the call to the
    tokens whose outputs are asked for. `reads` and `writes` in operand order:
    the last `num_writes` buffers are written, the others read.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel,
                       DefaultValuedAttr<I64Attr, "0">:$items,
                       DefaultValuedAttr<I64Attr, "0">:$items_per_token,
                       I64Attr:$num_writes,
                       UnitAttr:$outputs_only,
                       Variadic<LLQ_BufferType>:$buffers);
  let assemblyFormat = "$kernel `(` $buffers `)` attr-dict";
  let hasVerifier = 1;
}

#endif // LLQ_OPS_TD
