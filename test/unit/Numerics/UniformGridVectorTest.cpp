//===- UniformGridVectorTest.cpp - The grid against NumPy, bit for bit ---===//
//
// Cases and answers come from make_rtn_vectors.py and its independent NumPy
// implementation of the formulas: all widths, schemes and scale types, tails,
// ties, one-sided groups, zeros, and scales at both ends of their types.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuantizeMatrix.h"

#include <bit>
#include <gtest/gtest.h>
#include <ostream>

using namespace llq::numerics;

namespace {
struct RTNVector {
  const char *name;
  unsigned bits;
  int64_t groupSize;
  GridScheme scheme;
  ScaleType scaleType;
  ClipSearch clip;
  int64_t rows, columns;
  std::vector<uint32_t> weights; // f32 bits
  std::vector<uint8_t> codes;
  std::vector<uint32_t> scales; // f32 bits
  std::vector<uint8_t> zeros;
};

std::ostream &operator<<(std::ostream &os, const RTNVector &vector) {
  return os << vector.name << ", bits " << vector.bits << ", group size "
            << vector.groupSize << ", scheme " << int(vector.scheme)
            << ", scale type " << int(vector.scaleType);
}

const RTNVector vectors[] = {
#include "RTNVectors.inc"
};

TEST(UniformGridVectors, EqualNumPy) {
  for (const RTNVector &vector : vectors) {
    SCOPED_TRACE(testing::Message() << vector);
    std::vector<float> weights;
    for (uint32_t bits : vector.weights)
      weights.push_back(std::bit_cast<float>(bits));
    ASSERT_EQ(int64_t(weights.size()), vector.rows * vector.columns);
    auto q = quantizeMatrix(weights, vector.rows,
                            {vector.bits, vector.groupSize, vector.scheme,
                             vector.scaleType, vector.clip});
    EXPECT_EQ(q.codes, vector.codes);
    EXPECT_EQ(q.zeros, vector.zeros);
    std::vector<uint32_t> scales;
    for (float scale : q.scales)
      scales.push_back(std::bit_cast<uint32_t>(scale));
    EXPECT_EQ(scales, vector.scales);
  }
}
} // namespace
