//===- TestWeights.h - Random weights, packed and in plain form -*- C++ -*-===//
//
// A weight as the tests of packing, kernels and emission need it: its component
// arrays in the IR's canonical form, the values that its format's reference
// decode gives them, and the bytes of its tiles.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef TEST_UNIT_CODEGEN_TESTWEIGHTS_H
#define TEST_UNIT_CODEGEN_TESTWEIGHTS_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Packing/CPULayout.h"

#include "mlir/IR/MLIRContext.h"

#include <random>
#include <vector>

namespace llq::test {

/// One context for all tests of a program, with the dialects that kernels use
/// and the CPU interfaces of the formats.
mlir::MLIRContext &getContext();

/// How the codes of a weight are drawn.
enum class Codes { Random, AllMax };

/// A weight w[rows, columns] of a tensor type or !llq.quantized.
struct TestWeight {
  mlir::Type type;
  int64_t rows;
  int64_t columns;
  /// Components in the order of the format, or the elements of a tensor.
  std::vector<std::vector<char>> components;
  /// [rows, columns], what the components mean.
  std::vector<float> values;
  /// What bounds the terms that a kernel adds up for one weight: for uniform
  /// grids |scale| * (|code| + |zero|), for a tensor |value|.
  std::vector<float> magnitudes;
};

TestWeight makeWeight(mlir::Type type, std::mt19937 &random,
                      Codes codes = Codes::Random);

/// `!llq.quantized` of `format`, or a tensor.
mlir::Type getQuantized(int64_t rows, int64_t columns,
                        WeightFormatInterface format);
mlir::Type getTensor(int64_t rows, int64_t columns, mlir::Type element);

/// Groups of these widths in turn, for rows of `columns` weights.
MixedAttr makeMixed(llvm::ArrayRef<int64_t> widths, int64_t group,
                    int64_t columns);

/// Outliers over `base` in a matrix of that size, whose masks have `percent` of
/// the bytes that they could have.
OutliersAttr makeOutliers(WeightFormatInterface base, int64_t rows,
                          int64_t columns, int64_t percent);

/// The tiles of a weight, rows padded, by way of its layout.
std::vector<std::vector<char>> packTiles(const TestWeight &weight);

/// The buffer of a product: the tiles of all weights one after another, or one
/// of each in turn.
std::vector<char> packBuffer(llvm::ArrayRef<TestWeight> weights,
                             bool interleaved);

} // namespace llq::test

#endif // TEST_UNIT_CODEGEN_TESTWEIGHTS_H
