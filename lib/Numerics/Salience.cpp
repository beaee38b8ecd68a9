//===- Salience.cpp - Which weights a layer cannot do without -------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Salience.h"

using namespace llq;
using namespace llq::numerics;

std::vector<float> llq::numerics::salienceFactors(const GPTQFactor &factor,
                                                  SalienceCriterion criterion,
                                                  ThreadPool &pool) {
  std::vector<float> factors(factor.columns(), 1.0f);
  switch (criterion) {
  case SalienceCriterion::Magnitude:
    break;
  case SalienceCriterion::Hessian:
    for (int64_t j = 0; j != factor.columns(); ++j)
      factors[j] = factor.pivot(j);
    break;
  case SalienceCriterion::InverseDiagonal:
    factors = factor.inverseDiagonal(pool);
    for (float &value : factors)
      value = 1 / value;
    break;
  }
  return factors;
}
