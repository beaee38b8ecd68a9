//===- DecoderBlocks.h - A model as a sequence of blocks --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRAINING_DECODERBLOCKS_H
#define LLQ_TRAINING_DECODERBLOCKS_H

#include "dialects/LLQ/LLQ.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llq::training {

/// `layers.3.` and what its linear layers lie between.
struct DecoderBlock {
  llvm::StringRef name;
  /// The hidden state in front of the block and behind it.
  mlir::Value input, output;
  llvm::SmallVector<LinearOp> layers;
};

/// The decoder blocks of a model in normal or quantized form, in order; the
/// output of one is the input of the next.
llvm::SmallVector<DecoderBlock> getDecoderBlocks(mlir::func::FuncOp forward);

/// Whether `rotate` belongs to the quantized form of a layer and not to the
/// model as llq-keep-originals has found it.
bool isOfMethod(RotateOp rotate);

/// Puts the originals that layers and the embedding carry (llq-keep-originals)
/// in place of their weights, and takes away what permutes, rotates and
/// quantizes the activations of these layers. Originals stay attached.
void restoreOriginals(mlir::func::FuncOp forward);

} // namespace llq::training

#endif // LLQ_TRAINING_DECODERBLOCKS_H
