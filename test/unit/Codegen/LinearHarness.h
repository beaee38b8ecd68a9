//===- LinearHarness.h - One product kernel against plain loops -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef TEST_UNIT_CODEGEN_LINEARHARNESS_H
#define TEST_UNIT_CODEGEN_LINEARHARNESS_H

#include "KernelHarness.h"

namespace llq::test {

/// Rows of activations and what a kernel reads of them: f32 rows padded with
/// zeros, or rows as QuantizedRow or TokenRow lay them out.
struct TestActivations {
  int64_t tokens;
  int64_t columns;
  /// [tokens, columns], the values that the kernel sees.
  std::vector<float> values;
  std::vector<char> bytes;
};

TestActivations makeActivations(int64_t tokens, int64_t columns,
                                ActivationType type, std::mt19937 &random);

/// The row of TokenRow of `codes`.
std::vector<char> makeTokenRow(llvm::ArrayRef<int8_t> codes, float scale);

/// Quantizes `count` values as #llq.dynamic<bits, group = 32> says; returns the
/// scale.
float quantizeGroup(const float *values, int64_t count, int8_t *codes,
                    int64_t bits = 8);

/// A product to test. SwiGLU takes two weights of equal rows (gate, up), other
/// epilogues one; Store also several.
struct LinearCase {
  std::vector<mlir::Type> weights;
  ActivationType input;
  bool bias;
  LinearKernel::Epilogue epilogue;
  int64_t tokens;

  LinearKernel getKernel() const;
  std::string getText() const;
};

/// Compiles all cases in one module, runs each and compares it. Returns the
/// largest error, relative to the sum of the magnitudes of the terms.
double runLinearCases(const CPULevel &level, llvm::ArrayRef<LinearCase> cases);

} // namespace llq::test

#endif // TEST_UNIT_CODEGEN_LINEARHARNESS_H
