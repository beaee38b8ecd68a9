//===- GPTQ.h - Types of the options of GPTQ --------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_GPTQ_H
#define LLQ_LIB_QUANTIZE_GPTQ_H

#include "llq/Numerics/GPTQ.h"
#include "llq/Quantize/Method.h"

#endif // LLQ_LIB_QUANTIZE_GPTQ_H
