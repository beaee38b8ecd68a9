//===- Kernels.h - The kernels of the CPU target ----------------*- C++ -*-===//
//
// Each struct describes one kernel: what it is specialised for. `emit` builds
// its function in a module for a level; equal descriptions have equal names, so
// that a kernel is built once. The buffers of a kernel are listed in the order
// of its dispatch, inputs first.
//
// Activations are f32 rows whose stride is the number of columns rounded up to
// 32; the padding is zero. Quantized activations (`QuantizedRow`, `TokenRow`)
// are rows of bytes.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CODEGEN_CPU_KERNELS_H
#define LIB_CODEGEN_CPU_KERNELS_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Codegen/CPULevel.h"

#include "mlir/IR/BuiltinOps.h"

namespace llq {

/// Where codes, scales and sums of a row of activations quantized in groups of
/// 32 lie: `codes` i8[Kp], `scales` f32[Kp/32], `sums` f32[Kp/32], the sums
/// those of the codes of each group (exact integers).
struct QuantizedRow {
  explicit QuantizedRow(int64_t columns);
  int64_t codes = 0;
  int64_t scales;
  int64_t sums;
  int64_t bytes;
  int64_t groups;
};

/// The same for a row that has one scale: `codes` i8[Kp], `sums` i32[Kp/32 +
/// 1], the sum of all codes in front of each block of 32 columns and of all
/// codes of the row, and `scale` f32.
struct TokenRow {
  explicit TokenRow(int64_t columns);
  int64_t codes = 0;
  int64_t sums;
  int64_t scale;
  int64_t bytes;
  int64_t blocks;
};

/// What the rows of an activation hold.
struct ActivationType {
  enum class Kind {
    Float,  ///< f32
    Group,  ///< QuantizedRow: #llq.dynamic, group = 32
    Token,  ///< TokenRow: #llq.dynamic, group = 0
    Static, ///< TokenRow: #llq.static
  };
  Kind kind = Kind::Float;
  int64_t bits = 8;

  /// Of a value's type; an error for a format that has no kernels.
  static mlir::FailureOr<ActivationType>
  get(mlir::Type type,
      llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

  bool isQuantized() const { return kind != Kind::Float; }
  /// Whether a row has one scale: it is a TokenRow.
  bool hasOneScale() const {
    return kind == Kind::Token || kind == Kind::Static;
  }
  /// Q: codes are -Q to Q.
  int64_t getLargestCode() const { return (1 << (bits - 1)) - 1; }
  int64_t getRowBytes(int64_t columns) const;
  /// As a part of a kernel's name: `exact`, `int8`, `token8`, `static8`.
  std::string getName() const;
};

/// Most columns of a group of weights whose products with 8-bit codes fit a sum
/// of 32 bits.
inline constexpr int64_t kMostUnitColumns = 65536;

/// Columns K of a weight w[N,K].
int64_t getWeightColumns(mlir::Type weight);

/// Columns and format of a weight as a part of a kernel's name.
std::string getWeightSuffix(mlir::Type weight);

/// y = x · wᵀ with what follows it.
/// Buffers: x, weight, [bias], [residual], y.
struct LinearKernel {
  enum class Epilogue { Store, Residual, SwiGLU };
  mlir::Type weight;
  /// Columns of y: the rows of all weights of the product, each padded.
  int64_t columns;
  ActivationType input;
  bool bias;
  Epilogue epilogue;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
  /// Work items: tiles, or pairs of a gate and an up tile.
  int64_t getItems() const;
  /// Of the levels that look up products with planes (PlaneTables.h).
  int64_t getScratchBytes() const;
};

/// What is done to a row in front of a product: root-mean-square normalization,
/// another order of its channels, quantization, or several of these.
/// Buffers: x, [weight f32[Kp] if there is a norm, then order u16[Kp] if the
/// channels are permuted], [scale f32 if the result is static], y.
struct NormKernel {
  int64_t columns;
  bool norm;
  float epsilon;
  ActivationType result;
  bool permute = false;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
};

/// Rows times an orthogonal matrix: blocks of `size` channels, all alike.
/// Buffers: x, [scale f32[Kp]], [the tables of the rotation, see getTables], y.
struct RotateKernel {
  RotationKind kind;
  int64_t size, columns;
  bool transposed;
  bool scaled;
  bool hasSigns; ///< of a Hadamard rotation

  std::string getName() const;
  /// An error for a rotation that has no kernel.
  mlir::LogicalResult
  verify(llvm::function_ref<mlir::InFlightDiagnostic()> emitError) const;
  bool hasTables() const {
    return hasSigns || kind == RotationKind::Kronecker;
  }
  /// Contents of the table buffer, for #llq.padded_vector.
  llvm::SmallVector<mlir::Attribute> getTables(mlir::Builder &b,
                                               int64_t seed) const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
  int64_t getScratchBytes() const;
};

/// Rows of the embedding table. Buffers: ids i32, table, y.
struct EmbeddingKernel {
  mlir::Type table;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
};

/// Cosines and sines of the positions of the call. Buffers: frequencies f32
/// [half], y (cosines, then sines, each `half` padded to 16).
struct RotaryKernel {
  int64_t half;
  float scale;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
};

/// The same as rows of stored tables. Buffers: cosines and sines, each f32
/// [rows][half], y.
struct RotaryLookupKernel {
  int64_t half, rows;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
};

/// Sums and gated activations of whole buffers. Buffers: a, b, y.
struct ElementwiseKernel {
  enum class Kind { Add, SwiGLU };
  Kind kind;
  /// First column of a and b in their rows and the strides of the rows.
  int64_t columns, aOffset, aStride, bOffset, bStride;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
};

/// Shape of an attention and of its cache, see CacheLayout.h.
struct AttentionShape {
  int64_t heads, kvHeads, headDim;
  CacheType type;

  int64_t getHeadBytes() const;
  int64_t getBlockBytes() const { return kvHeads * getHeadBytes(); }
  std::string getSuffix() const;
};

/// Rotates queries to a buffer of their own and appends keys and values to the
/// cache. Buffers: q, k, v (each with an offset in its row), rotary, then
/// written: rotated q, cache.
struct RopeAppendKernel {
  AttentionShape shape;
  int64_t qOffset, qStride, kOffset, kStride, vOffset, vStride;
  bool interleaved, rotateQuery, rotateKey;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
  int64_t getScratchBytes() const;
};

/// Softmax-weighted values. Buffers: rotated q, cache, y.
struct AttentionKernel {
  AttentionShape shape;
  float scale;

  std::string getName() const;
  void emit(mlir::ModuleOp module, const CPULevel &level) const;
  int64_t getScratchBytes() const;
};

} // namespace llq

#endif // LIB_CODEGEN_CPU_KERNELS_H
