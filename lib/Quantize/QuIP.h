//===- QuIP.h - Types of the options of QuIP --------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_QUIP_H
#define LLQ_LIB_QUANTIZE_QUIP_H

#include "llq/Quantize/Method.h"

namespace llq {
enum class QuIPRotation { Auto, Hadamard, Kronecker, None };
enum class QuIPCodebook { None, E8P };
} // namespace llq

#endif // LLQ_LIB_QUANTIZE_QUIP_H
