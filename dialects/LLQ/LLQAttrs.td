//===- LLQAttrs.td - Formats, weights and the architecture -*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_ATTRS_TD
#define LLQ_ATTRS_TD

include "LLQDialect.td"
include "LLQInterfaces.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"

class LLQ_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<LLQ_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

//===----------------------------------------------------------------------===//
// Enumerations
//===----------------------------------------------------------------------===//

def LLQ_ZeroPoint : I32Enum<"ZeroPoint",
    "Where the zero of a uniform grid lies", [
      I32EnumCase<"None", 0, "none">,
      I32EnumCase<"Int", 1, "int">,
      I32EnumCase<"Float", 2, "float">,
    ]> {
  let cppNamespace = "::llq";
}

def LLQ_ScaleType : I32Enum<"ScaleType", "How scales are stored", [
      I32EnumCase<"F16", 0, "f16">,
      I32EnumCase<"F32", 1, "f32">,
    ]> {
  let cppNamespace = "::llq";
}

def LLQ_CacheType : I32Enum<"CacheType", "How keys and values are cached", [
      I32EnumCase<"F32", 0, "f32">,
      I32EnumCase<"F16", 1, "f16">,
      I32EnumCase<"Int8", 2, "int8">,
      I32EnumCase<"Int4", 3, "int4">,
    ]> {
  let cppNamespace = "::llq";
}

def LLQ_CacheTypeAttr : EnumAttr<LLQ_Dialect, LLQ_CacheType, "cache_type">;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def LLQ_ExternalAttr : LLQ_Attr<"External", "external", [TypedAttrInterface]> {
  let summary = "A weight that stays in the file it came from";
  let description = [{
    Refers to a strided view of a file: element `(i, j, ...)` of the tensor lies
    at byte `offset + (i * strides[0] + j * strides[1] + ...) * sizeof(element)`,
    little-endian. A matrix stored transposed or a slice of a larger one is a view,
    never a copy. `fileSize` and `modified` (nanoseconds since 1970) are those of
    the file at import: a file that has changed since then is an error when the
    weight is read. `path` is absolute.

    ```mlir
    #llq.external<"/m/model.onnx.data", offset = 8192, strides = [1, 256],
                  fileSize = 13631488, modified = 0> : tensor<768x256xf16>
    ```
  }];
  let parameters = (ins
    AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type,
    StringRefParameter<"absolute path of the file">:$path,
    "int64_t":$offset,
    ArrayRefParameter<"int64_t", "elements between neighbours, per dimension">:$strides,
    "int64_t":$fileSize,
    "int64_t":$modified);
  let assemblyFormat = [{
    `<` $path `,` `offset` `=` $offset `,` `strides` `=` `[` $strides `]` `,`
        `fileSize` `=` $fileSize `,` `modified` `=` $modified `>`
  }];
  let genVerifyDecl = 1;
}

def LLQ_ScaledAttr : LLQ_Attr<"Scaled", "scaled", [TypedAttrInterface]> {
  let summary = "A weight whose rows and columns are scaled when it is read";
  let description = [{
    `w[n,k] = clamp(source[n,k] * rows[n] * columns[k], -clip[n,g], clip[n,g])`
    with `g = k / group`; `group = 0` is one group per row, the last group of a
    row may be shorter. At least one of `rows[N]`, `columns[K]` and
    `clip[N, ceil(K / group)]` is there, each f32 and stored as a resource blob or
    a view of a file. Products are rounded to f32, rows first.

    So methods that move scales between layers copy no matrix: the source stays
    where it is, and all that reads weights sees the values of this one. A source
    may be scaled itself, or rotated (`#llq.rotated`).

    ```mlir
    %w = llq.weight #llq.scaled<source = dense_resource<w> : tensor<2x4xf16>,
                                columns = dense_resource<s> : tensor<4xf32>> : tensor<2x4xf32>
    ```
  }];
  let parameters = (ins
    AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type,
    "::mlir::TypedAttr":$source,
    OptionalParameter<"::mlir::TypedAttr">:$rows,
    OptionalParameter<"::mlir::TypedAttr">:$columns,
    OptionalParameter<"::mlir::TypedAttr">:$clip,
    DefaultValuedParameter<"int64_t", "0">:$group);
  let assemblyFormat = "`<` struct($source, $rows, $columns, $clip, $group) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The weight `source` with what is given; its type follows.
    static ScaledAttr get(::mlir::TypedAttr source, ::mlir::TypedAttr rows,
                          ::mlir::TypedAttr columns,
                          ::mlir::TypedAttr clip = {}, int64_t group = 0);
    /// Weights in each group of `clip` but the last of a row, at least 1.
    int64_t getGroupSize() const {
      return getGroup() ? getGroup()
                        : std::max<int64_t>(getType().getDimSize(1), 1);
    }
  }];
}

//===----------------------------------------------------------------------===//
// Formats
//===----------------------------------------------------------------------===//

def LLQ_UniformAttr : LLQ_Attr<"Uniform", "uniform",
    [DeclareAttrInterfaceMethods<LLQ_WeightFormatInterface,
                                 ["hasIndependentRows",
                                  "differentiateRows", "encodeRows"]>]> {
  let summary = "Uniform grid of 2 to 8 bits in groups along K";
  let description = [{
    `w[n,k] = scale[n,g] * (code[n,k] - zero[n,g])`, `g = k / group`. `group = 0`
    means one group per row; the last group of a row may be shorter. Codes are
    unsigned. `zero`:
    - `none`: no zero point is stored, it is the middle code `2^(bits-1)`;
    - `int`: an unsigned integer of `bits` bits for each group;
    - `float`: an f16 for each group.

    Components, in this order (G = ceil(K / group)):
    | name | shape and type | content |
    |---|---|---|
    | codes | [N, ceil(K*bits/8)] i8 | bit stream: code k is bits k*bits.. of its row, low bit first |
    | scales | [N, G] f16 or f32 | |
    | zeros | `int`: [N, ceil(G*bits/8)] i8, the same bit stream; `float`: [N, G] f16 | |

    ```mlir
    #llq.uniform<bits = 4, group = 128, zero = int, scale = f16>
    ```
  }];
  let parameters = (ins
    "int64_t":$bits,
    "int64_t":$group,
    EnumParameter<LLQ_ZeroPoint>:$zero,
    EnumParameter<LLQ_ScaleType>:$scale);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Number of groups in a row of `k` weights.
    int64_t getNumGroups(int64_t k) const;
    /// Weights in each group but the last of a row of `k` weights.
    int64_t getGroupSize(int64_t k) const;
  }];
}

def LLQ_PlanesAttr : LLQ_Attr<"Planes", "planes",
    [DeclareAttrInterfaceMethods<LLQ_WeightFormatInterface,
                                 ["hasIndependentRows",
                                  "differentiateRows"]>]> {
  let summary = "Sums of bit planes, each with a scale per group";
  let description = [{
    `w[n,k] = offset[n,g] + sum_p scale[n,g,p] * bit[n,p,k]`, `g = k / group`, bits
    0 or 1. `group = 0` means one group per row; the last group of a row may be
    shorter. One plane with an offset stores two values per group, two planes
    without one the values 0, s1, s2, s1 + s2.

    Components, in this order (G = ceil(K / group)):
    | name | shape and type | content |
    |---|---|---|
    | planes | [N, count, ceil(K/8)] i8 | bit k % 8 of byte k / 8 |
    | scales | [N, G, count] f16 | |
    | offsets | [N, G] f16 | if `offset` |

    ```mlir
    #llq.planes<count = 2, group = 128, offset = false>
    ```
  }];
  let parameters = (ins "int64_t":$count, "int64_t":$group, "bool":$offset);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def LLQ_CodebookAttr : LLQ_Attr<"Codebook", "codebook",
    [DeclareAttrInterfaceMethods<LLQ_WeightFormatInterface,
                                 ["hasIndependentRows", "verifyContents",
                                  "differentiateRows"]>]> {
  let summary = "Codes that stand for any values, listed per group";
  let description = [{
    `w[n,k] = level[n,g,table(k),code[n,k]]`, `g = k / group`. `group = 0` means
    one group per row; the last group of a row may be shorter. With `tables = 2`
    the first columns of each group, `counts[g]` of them in all rows, use the
    second table, the others the first. A table lists the value of each code; with
    `symmetric` it lists the values of the upper half of the codes,
    `2^(bits-1) + i`, and `2^(bits-1) - 1 - i` stands for minus that.

    Components, in this order (G = ceil(K / group), L listed values of a table):
    | name | shape and type | content |
    |---|---|---|
    | codes | [N, ceil(K*bits/8)] i8 | bit stream, as in `#llq.uniform` |
    | levels | [N, G, tables, L] f16 | |
    | counts | [G] i8 | if `tables = 2`: 0 to 32 |

    Which columns of the model a group begins with is up to the order of the
    layer's input (`llq.permute_channels`).

    ```mlir
    #llq.codebook<bits = 2, group = 128, tables = 2, symmetric = true>
    ```
  }];
  let parameters = (ins "int64_t":$bits, "int64_t":$group, "int64_t":$tables,
                        "bool":$symmetric);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Values that a table lists.
    int64_t getNumListed() const {
      return int64_t(1) << (getBits() - (getSymmetric() ? 1 : 0));
    }
  }];
}

def LLQ_MixedAttr : LLQ_Attr<"Mixed", "mixed",
    [DeclareAttrInterfaceMethods<LLQ_WeightFormatInterface,
                                 ["hasIndependentRows", "verifyContents",
                                  "differentiateRows", "encodeRows"]>]> {
  let summary = "Uniform groups whose bits differ from column group to group";
  let description = [{
    `w[n,k] = scale[n,g] * code[n,k] + offset[n,g]`, `g = k / group`. Codes of group
    `g` have `bits[g]` bits in all rows, one of `widths`; the last group of a row
    may be shorter. `row_bits` is what the codes of a row take together.

    Components, in this order (G = ceil(K / group)):
    | name | shape and type | content |
    |---|---|---|
    | codes | [N, ceil(row_bits/8)] i8 | bit stream of the codes, low bit first |
    | scales | [N, G] f16 | |
    | offsets | [N, G] f16 | |
    | bits | [G] i8 | |

    ```mlir
    #llq.mixed<widths = [1, 2, 3], row_bits = 8192, group = 128>
    ```
  }];
  let parameters = (ins
    ArrayRefParameter<"int64_t", "bits that occur, ascending, 1 to 8">:$widths,
    "int64_t":$row_bits, "int64_t":$group);
  let assemblyFormat = [{
    `<` `widths` `=` `[` $widths `]` `,` `row_bits` `=` $row_bits `,`
        `group` `=` $group `>`
  }];
  let genVerifyDecl = 1;
}

def LLQ_E8PAttr : LLQ_Attr<"E8P", "e8p",
    [DeclareAttrInterfaceMethods<LLQ_WeightFormatInterface,
                                 ["hasIndependentRows",
                                  "differentiateRows"]>]> {
  let summary = "Tuples of eight weights on the E8 lattice";
  let description = [{
    The codebooks of QuIP# (llq/Numerics/E8P.h). Tuple `t` of a row is columns
    `32 (t / 4) + t % 4 + 4 i`, `i` from 0 to 7, so that a kernel finds four
    neighbouring columns side by side. It is `scale[n,0] * p`, `p` the point of E8P
    of its code; with 3 bits, plus `scale[n,1] * r` with the point `r` of E8 of its
    residual, with 4 bits with that of E8P. K is a multiple of 32.

    Components, in this order (S = 1 with 2 bits, else 2):
    | name | shape and type | content |
    |---|---|---|
    | codes | [N, K/8, 2] i8 | signs, then the entry of the table |
    | residuals | 3 bits: [N, K/8] i8; 4 bits: [N, K/8, 2] i8 | |
    | scales | [N, S] f16 | |

    ```mlir
    #llq.e8p<bits = 2>
    ```
  }];
  let parameters = (ins "int64_t":$bits);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Columns that tuples take from each other.
    static constexpr int64_t kBlock = 32;
    /// The column of weight `i` of tuple `t` of a row.
    static int64_t getColumn(int64_t t, int64_t i) {
      return t / 4 * kBlock + t % 4 + 4 * i;
    }
    /// Scales of a row.
    int64_t getNumScales() const { return getBits() == 2 ? 1 : 2; }
  }];
}

def LLQ_OutliersAttr : LLQ_Attr<"Outliers", "outliers",
    [DeclareAttrInterfaceMethods<LLQ_WeightFormatInterface,
                                 ["verifyContents", "getKernelFormat",
                                  "withRows", "differentiateRows"]>]> {
  let summary = "A format of which some weights have 8 bits instead";
  let description = [{
    `w[n,k] = outlier_scale[n] * (code - outlier_zero[n])` where the sparse codes
    have one, else what `base` says. They may be anywhere in the matrix;
    llq/Numerics/SparseCodes.h describes their arrays. Codes of `base` are 0 where
    there is an outlier.

    Components: those of `base`, then
    | name | shape and type | content |
    |---|---|---|
    | presence | [N, ceil(ceil(K/32)/2)] i8 | which bytes of masks there are |
    | masks | [max(masks, 1)] i8 | |
    | outliers | [max(outliers, 1)] i8 | codes |
    | starts | [ceil(N/16), 2] i32 | of 16 rows in `masks` and `outliers` |
    | outlier_scales | [N] f16 | |
    | outlier_zeros | [N] i8 | unsigned |

    ```mlir
    #llq.outliers<base = #llq.planes<count = 1, group = 128, offset = true>,
                  masks = 1000, outliers = 1200>
    ```
  }];
  let parameters = (ins "::mlir::Attribute":$base, "int64_t":$masks,
                        "int64_t":$outliers);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    ::llq::WeightFormatInterface getBaseFormat() const {
      return ::llvm::cast<::llq::WeightFormatInterface>(getBase());
    }
    /// Components that are not those of the base, which come first.
    static int64_t getNumOwnComponents() { return 6; }
    /// Of all components of a matrix w[n,k] the sparse ones, the scales and the
    /// zeros.
    ::llq::numerics::SparseView
    getSparse(::llvm::ArrayRef<::llvm::ArrayRef<char>> data, int64_t n,
              int64_t k) const;
    static ::llvm::ArrayRef<char>
    getScales(::llvm::ArrayRef<::llvm::ArrayRef<char>> data) {
      return data[data.size() - 2];
    }
    static ::llvm::ArrayRef<char>
    getZeros(::llvm::ArrayRef<::llvm::ArrayRef<char>> data) {
      return data.back();
    }
  }];
}

def LLQ_DynamicAttr : LLQ_Attr<"Dynamic", "dynamic"> {
  let summary = "Activations quantized at run time, symmetric, per group";
  let description = [{
    `x[t,k] = scale[t,g] * code[t,k]` with `g = k / group`, codes signed, of
    magnitude up to `Q = 2^(bits-1) - 1` and rounded to nearest even after a true
    division; scales are f32:
    - `group = 0`: one scale per token, `scale = max(1e-5, max|x|) / Q`;
    - otherwise one per group of columns, `scale = max|x| / Q`. Codes and scale of
      a group whose scale is below the least normal f32 are zero.

    A token of zeros has codes of zero either way.

    ```mlir
    #llq.dynamic<bits = 8, group = 32>
    ```
  }];
  let parameters = (ins "int64_t":$bits, "int64_t":$group);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def LLQ_StaticAttr : LLQ_Attr<"Static", "static"> {
  let summary = "Activations quantized with a scale known beforehand";
  let description = [{
    `x[t,k] = scale * code[t,k]` with one f32 `scale` for all tokens, positive and
    finite, which calibration has found. Codes are signed, of magnitude up to
    `2^(bits-1) - 1`, rounded to nearest even after a true division; what lies
    beyond the largest code is clamped to it.

    ```mlir
    #llq.static<bits = 8, scale = 1.250000e-01 : f32>
    ```
  }];
  let parameters = (ins "int64_t":$bits, "::mlir::FloatAttr":$scale);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def LLQ_RotationKind : I32Enum<"RotationKind", "Kinds of orthogonal matrices", [
      I32EnumCase<"Hadamard", 0, "hadamard">,
      I32EnumCase<"Kronecker", 1, "kronecker">,
    ]> {
  let cppNamespace = "::llq";
}

def LLQ_RotationAttr : LLQ_Attr<"Rotation", "rotation"> {
  let summary = "An orthogonal matrix that follows from a seed";
  let description = [{
    `V[K,K]` is block-diagonal, the same `R[size,size]` in all blocks:
    - `hadamard`: `R = H diag(s) / sqrt(size)` with a Hadamard matrix `H` and random
      signs `s`; `seed = 0`: without signs. `size` is a power of two, or one times
      12, 20, 28 or 36.
    - `kronecker`: `R = P (A x B) Q` with random orthogonal `A`, `B` of about
      `sqrt(size)` rows and random permutations `P`, `Q`; any `size`.

    Numbers follow from `size` and `seed` in the same way everywhere
    (llq/Numerics/Rotation.h).

    ```mlir
    #llq.rotation<kind = hadamard, size = 576, seed = 1>
    ```
  }];
  let parameters = (ins EnumParameter<LLQ_RotationKind>:$kind, "int64_t":$size,
                        "int64_t":$seed);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// R, to rotate rows with.
    std::unique_ptr<numerics::Rotation> getMatrix() const;
  }];
}

def LLQ_RotatedAttr : LLQ_Attr<"Rotated", "rotated", [TypedAttrInterface]> {
  let summary = "A weight in another orthogonal basis when it is read";
  let description = [{
    `R source V^T` with `V` = `input`, the basis of what the weight is multiplied
    with, and `R` = `output`, that of its rows; one that is absent is the identity.
    Computed in f32, `V` first, then rounded to the element type, which may be
    another one than the source's.

    As with `#llq.scaled`, no matrix is copied. A source may be scaled, and what is
    rotated may be scaled in turn, but not rotated again. The rows of a weight with
    an `output` depend on each other: reading some of them computes all.

    ```mlir
    %w = llq.weight #llq.rotated<source = dense_resource<w> : tensor<32x16xf16>,
                                 input = <kind = hadamard, size = 16, seed = 1>> : tensor<32x16xf32>
    ```
  }];
  let parameters = (ins
    AttributeSelfTypeParameter<"", "::mlir::RankedTensorType">:$type,
    "::mlir::TypedAttr":$source,
    OptionalParameter<"::llq::RotationAttr">:$input,
    OptionalParameter<"::llq::RotationAttr">:$output);
  let assemblyFormat = "`<` struct($source, $input, $output) `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Contents of a program's weight buffers
//===----------------------------------------------------------------------===//

def LLQ_WeightPartAttr : LLQ_Attr<"WeightPart", "weight_part"> {
  let summary = "One weight of a packed buffer";
  let description = [{
    `type` is a tensor or `!llq.quantized`; `components` are the arrays of its
    format, or `{values = ...}` for a weight in its source type. `method` is the
    provenance that the layer carried.
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "::mlir::Type":$type,
                        "::mlir::DictionaryAttr":$components,
                        OptionalParameter<"::mlir::DictionaryAttr">:$method);
  let assemblyFormat = "`<` struct(params) `>`";
}

def LLQ_PackedAttr : LLQ_Attr<"Packed", "packed"> {
  let summary = "Weights in the order in which a target's kernels read them";
  let description = [{
    The tiles of all parts one after another, or, if `interleaved`, one tile of
    each part in turn. `target` names the layout. The bytes are made when the
    buffer is written, one tile at a time.
  }];
  let parameters = (ins "::mlir::StringAttr":$target,
                        ArrayRefParameter<"::llq::WeightPartAttr">:$parts,
                        "bool":$interleaved);
  let assemblyFormat = "`<` $target `,` `interleaved` `=` $interleaved `,` `[` $parts `]` `>`";
}

def LLQ_PaddedVectorAttr : LLQ_Attr<"PaddedVector", "padded_vector"> {
  let summary = "Vectors, each padded with zeros, one after another";
  let description = [{
    `values` are weights (`#llq.external`, resource blobs), whose rows follow each
    other as f32, `array<f32>`, or `dense` vectors of i16 (orders of channels),
    each padded to a multiple of `padding` elements.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::Attribute">:$values,
                        "int64_t":$padding);
  let assemblyFormat = "`<` $padding `,` `[` $values `]` `>`";
}

//===----------------------------------------------------------------------===//
// Architecture
//===----------------------------------------------------------------------===//

def LLQ_ArchitectureAttr : LLQ_Attr<"Architecture", "architecture"> {
  let summary = "Hyperparameters of the model, recovered from the graph";
  let description = [{
    Module attribute `llq.architecture`. `vocab = 0` means a backbone without
    head. `rope_scaling` is `"none"`, `"llama3"`, `"linear"` or `"table"`;
    `rope_parameters` holds its numbers (llama3: factor, low_freq_factor,
    high_freq_factor, original context; linear: factor). `rope_theta` and
    `norm_eps` are f64; `rope_theta` is 0 for a table.
  }];
  let parameters = (ins
    "int64_t":$hidden, "int64_t":$layers, "int64_t":$heads, "int64_t":$kv_heads,
    "int64_t":$head_dim, "int64_t":$ffn, "int64_t":$vocab, "int64_t":$context_length,
    "::mlir::FloatAttr":$rope_theta,
    StringRefParameter<"kind of frequency scaling">:$rope_scaling,
    "::mlir::DenseF64ArrayAttr":$rope_parameters,
    "::mlir::FloatAttr":$norm_eps,
    "bool":$tied_embeddings);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // LLQ_ATTRS_TD
