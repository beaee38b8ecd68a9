//===- LinearEmitter.h - Emits products with packed weights -----*- C++ -*-===//
//
// The body of a product kernel: tiles, units and blocks (LinearKernel.cpp), and
// sums of blocks with f32 activations (LinearFloat.cpp), integer ones
// (LinearInteger.cpp) and integer ones of weights of several streams of codes
// (LinearTerms.cpp).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CODEGEN_CPU_LINEAREMITTER_H
#define LIB_CODEGEN_CPU_LINEAREMITTER_H

#include "Decoder.h"
#include "Kernels.h"
#include "PlaneTables.h"

#include "llq/Packing/CPULayout.h"

namespace llq {

/// Emits the body of a product kernel.
class LinearEmitter {
public:
  using Value = mlir::Value;

  LinearEmitter(KernelBuilder &b, const LinearKernel &kernel)
      : b(b), kernel(kernel), format(createCPUDecoder(kernel.weight)),
        decoder(format.get()), row(getWeightColumns(kernel.weight)),
        tokenRow(getWeightColumns(kernel.weight)),
        xStride(kernel.input.getRowBytes(getWeightColumns(kernel.weight))),
        lanes(kernel.input.isQuantized() ? b.level.vectorBytes / 4
                                         : kTileRows) {}

  void emit();

private:
  using Epilogue = LinearKernel::Epilogue;

  /// Whether products with planes are looked up, at least a single token's.
  bool looksUp() const {
    return kernel.input.isQuantized() && decoder->hasPlanes &&
           PlaneTables::isSupported(b.level);
  }

  /// Rows [row, row + lanes) of a tile.
  struct Strip {
    Value tile;
    int64_t row;
  };

  /// Sums of strips for `count` tokens from the row `x` on.
  llvm::SmallVector<Value> products(llvm::ArrayRef<Strip> strips, Value x,
                                    int64_t count);
  void compute(Value item, int64_t items, Value token, int64_t count);
  /// The kernel's items, `atOnce` at a time and the rest one by one.
  void forItems(int64_t atOnce, llvm::function_ref<void(Value, int64_t)> run);
  /// One block, for the int8 form: adds to `sums` (by token) the products
  /// scaled by the activations' scales.
  void blockInt8(const Strip &strip, Value x, Value block, Value zero,
                 llvm::MutableArrayRef<Value> sums);
  /// A block that holds several units: adds to the final sums.
  void splitBlockInt8(const Strip &strip, Value x, Value block,
                      llvm::MutableArrayRef<Value> sums);
  /// The sums of products() for rows with one scale.
  llvm::SmallVector<Value> tokenProducts(llvm::ArrayRef<Strip> strips, Value x,
                                         int64_t count);
  /// `sums` of products with codes -> sums of products with weights without
  /// their scale, as f32. `codeSum` is the i32 sum of the activations' codes.
  Value subtractZero(Value sums, Value zero, Value codeSum);
  /// Adds the unit of blocks [first, last) to the sums of strips and tokens.
  using AddUnitFn = llvm::function_ref<llvm::SmallVector<Value>(
      llvm::ArrayRef<Strip> strips, Value unit, Value first, Value last,
      mlir::ValueRange)>;
  llvm::SmallVector<Value> addUnits(llvm::ArrayRef<Strip> strips, int64_t count,
                                    AddUnitFn add);
  llvm::SmallVector<Value> addFloatUnit(llvm::ArrayRef<Strip> strips, Value x,
                                        int64_t count, Value unit, Value first,
                                        Value last, mlir::ValueRange carried);
  llvm::SmallVector<Value> addTokenUnit(llvm::ArrayRef<Strip> strips, Value x,
                                        int64_t count, Value unit, Value first,
                                        Value last, mlir::ValueRange carried);
  /// Sums of a unit of several terms: those of the terms of each strip and
  /// token, then, unless activations have one scale, those of the activations.
  struct TermSums {
    int64_t tokens, terms;
    int64_t ofTerms;
    KernelBuilder::Carried values;

    Value &at(int64_t strip, int64_t token, int64_t term) {
      return values[(strip * tokens + token) * terms + term];
    }
    llvm::MutableArrayRef<Value> activations() {
      return llvm::MutableArrayRef(values).drop_front(ofTerms);
    }
  };
  void addTermBlock(llvm::ArrayRef<Strip> strips, Value x, Value unit,
                    Value block, bool isFirst, TermSums &sums);
  llvm::SmallVector<Value> addTermUnit(llvm::ArrayRef<Strip> strips, Value x,
                                       int64_t count, Value unit, Value first,
                                       Value last, mlir::ValueRange carried);
  /// `sums` of codes times the activations' codes -> of the activations, for
  /// rows with one scale.
  void scaleTokens(llvm::MutableArrayRef<Value> sums, Value x, int64_t count);
  void addSplitBlock(const Strip &strip, Value x, Value block,
                     llvm::MutableArrayRef<Value> sums);
  Value dot(llvm::ArrayRef<Value> codes, int64_t maxCode, Value x,
            int64_t firstStep);
  Value dot(llvm::ArrayRef<Value> codes, int64_t maxCode,
            llvm::ArrayRef<Value> activations);
  Value dotPairs(llvm::ArrayRef<Value> codes, int64_t maxCode,
                 llvm::ArrayRef<Value> activations);
  /// `sum` and the products of one step.
  Value accumulate(Value sum, Value codes, int64_t maxCode, Value activations) {
    if (b.level.dot == DotKind::DotAccumulate)
      return b.dotAccumulate(sum, codes, activations);
    return b.add(sum, dotPairs(codes, maxCode, activations));
  }
  /// Products with a one for each sparse code of a block, and with the codes,
  /// by token.
  llvm::SmallVector<Value> sparseProducts(const Strip &strip, Value columns,
                                          Value block, int64_t count);
  Value activationBytes(Value x, int64_t step);
  void blockF32(const Strip &strip, Value x, Value block,
                llvm::ArrayRef<Value> zeros, llvm::MutableArrayRef<Value> sums);
  /// The same of its sparse codes.
  void addSparseF32(const Strip &strip, Value x, Value block, Value unit,
                    llvm::MutableArrayRef<Value> sums);
  void splitBlockF32(const Strip &strip, Value x, Value block,
                     llvm::MutableArrayRef<Value> sums);
  void prefetch(Value tile, Value block);
  /// Asks for what the tiles behind these have beside their blocks, a part of
  /// it in each unit.
  void prefetchNext(llvm::ArrayRef<Strip> strips, Value unit);
  void finish(Value token, Value column, llvm::ArrayRef<Value> first,
              llvm::ArrayRef<Value> second);

  KernelBuilder &b;
  const LinearKernel &kernel;
  std::unique_ptr<CPUDecoder> format;
  /// `format`, or the variant of it that the present unit needs.
  const CPUDecoder *decoder;
  QuantizedRow row;
  TokenRow tokenRow;
  int64_t xStride;
  int64_t lanes;
  Value x, weight, bias, residual, y;
  /// Of the present token, where products are looked up.
  std::optional<PlaneTables> tables;
};

} // namespace llq

#endif // LIB_CODEGEN_CPU_LINEAREMITTER_H
