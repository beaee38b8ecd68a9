//===- VectorClones.h - One loop for several vector widths ------*- C++ -*-===//
//
// Marks a function whose loops the compiler vectorises. It is compiled once per
// vector width and chosen at load; the lanes are the same, so the bits are too.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_VECTORCLONES_H
#define LLQ_LIB_NUMERICS_VECTORCLONES_H

#if defined(__x86_64__) && defined(__ELF__)
#define LLQ_VECTOR_CLONES                                                      \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LLQ_VECTOR_CLONES
#endif

#endif // LLQ_LIB_NUMERICS_VECTORCLONES_H
