//===- LLQ.h - The llq dialect ----------------------------------*- C++ -*-===//
//
// The one header that users of the dialect include.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef DIALECTS_LLQ_LLQ_H
#define DIALECTS_LLQ_LLQ_H

#include "llq/Numerics/Rotation.h"
#include "llq/Numerics/SparseCodes.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/Support/Error.h"

namespace llq {

/// One array of a quantized weight: its name in `llq.quantized_weight`, its
/// shape and its element type, and whether its rows are those of the matrix or
/// it belongs to all of them.
struct WeightComponent {
  llvm::StringRef name;
  mlir::RankedTensorType type;
  bool hasRows = true;
};

/// Module attributes: the architecture, the tokenizer's files (a dictionary of
/// file name to resource blob of bytes) and where the model came from.
inline constexpr llvm::StringLiteral kArchitectureAttr = "llq.architecture";
inline constexpr llvm::StringLiteral kTokenizerAttr = "llq.tokenizer";
inline constexpr llvm::StringLiteral kSourceAttr = "llq.source";
/// Samples of token ids for methods that calibrate (llq/Calibration/Samples.h).
inline constexpr llvm::StringLiteral kCalibrationAttr = "llq.calibration";
/// Statistics of the inputs of a linear layer, on the layer
/// (llq/Calibration/InputStatistics.h).
inline constexpr llvm::StringLiteral kStatsAttr = "llq.stats";
/// On an llq.linear, an array of dictionaries: what scaled, clipped or rotated
/// its weight, as `method` says of what quantizes it.
inline constexpr llvm::StringLiteral kPreparedAttr = "llq.prepared";
/// On an llq.linear or llq.embedding, i64 of 2 to 8: the bits that its weight
/// gets, whatever the options of the method that quantizes it say
/// (llq-allocate-bits).
inline constexpr llvm::StringLiteral kBitsAttr = "llq.bits";
/// On an llq.linear, array<i64>: bytes of its weight quantized to 2, 3, ...
/// bits by the methods that are to come.
inline constexpr llvm::StringLiteral kWidthsAttr = "llq.widths";
/// On a module, to ask those who replace a weight to leave the source with the
/// layers (llq-keep-originals), and on each llq.rotate that was there by then;
/// on an llq.linear or llq.embedding, that source.
inline constexpr llvm::StringLiteral kKeepOriginalsAttr = "llq.keep_originals";
inline constexpr llvm::StringLiteral kOriginalAttr = "llq.original";
/// On a module of a dry run, only to see formats and sizes: layers stand for
/// larger ones, whose inputs cannot be computed, weights have no values, or their
/// blobs are those of another module. On such a layer the larger one's rows, i64,
/// or the rotation of its result.
inline constexpr llvm::StringLiteral kSketchAttr = "llq.sketch";
/// On such a module, by passes that would otherwise have run the model on
/// calibration samples.
inline constexpr llvm::StringLiteral kSketchSamplesAttr = "llq.sketch_samples";
/// Name of the function that takes token ids and past length to logits.
inline constexpr llvm::StringLiteral kForwardName = "forward";
/// Names of layers: that of the linear layer which makes the logits, and what
/// passes call the embedding table, which has no name in the IR.
inline constexpr llvm::StringLiteral kHeadName = "lm_head";
inline constexpr llvm::StringLiteral kEmbeddingName = "embed_tokens";

} // namespace llq

#include "dialects/LLQ/LLQEnums.h.inc"

#include "dialects/LLQ/LLQAttrInterfaces.h.inc"

#include "dialects/LLQ/LLQDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/LLQ/LLQAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/LLQ/LLQTypes.h.inc"

#define GET_OP_CLASSES
#include "dialects/LLQ/LLQOps.h.inc"

#endif // DIALECTS_LLQ_LLQ_H
