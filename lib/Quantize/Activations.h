//===- Activations.h - Options of quantized activations ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_ACTIVATIONS_H
#define LLQ_LIB_QUANTIZE_ACTIVATIONS_H

#include "llq/Quantize/Method.h"

namespace llq {

/// What shares a scale of activations.
enum class ActivationScale {
  Token,  ///< each token, at run time
  Tensor, ///< all tokens, from calibration
};

} // namespace llq

#endif // LLQ_LIB_QUANTIZE_ACTIVATIONS_H
