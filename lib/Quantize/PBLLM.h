//===- PBLLM.h - Types of the options of PB-LLM -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_PBLLM_H
#define LLQ_LIB_QUANTIZE_PBLLM_H

#include "llq/Numerics/PartialBinarization.h"
#include "llq/Quantize/Method.h"

#endif // LLQ_LIB_QUANTIZE_PBLLM_H
