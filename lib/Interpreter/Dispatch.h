//===- Dispatch.h - From element types to C++ types ------------*- C++ -*-===//
//
// Calls a generic lambda with a value of the C++ type that stores an element
// type, e.g. `visitNumber(type, [&](auto tag) { using T = decltype(tag); ...`.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_DISPATCH_H
#define LLQ_LIB_INTERPRETER_DISPATCH_H

#include "Half.h"

#include "llq/Interpreter/Tensor.h"

namespace llq::interp {

/// Calls `fn` for the integer types of whole bytes; false for other types.
template <typename Fn> bool visitInteger(ElementType type, Fn &&fn) {
  switch (type) {
  case ElementType::Int8:
    return fn(int8_t()), true;
  case ElementType::UInt8:
    return fn(uint8_t()), true;
  case ElementType::Int16:
    return fn(int16_t()), true;
  case ElementType::UInt16:
    return fn(uint16_t()), true;
  case ElementType::Int32:
    return fn(int32_t()), true;
  case ElementType::UInt32:
    return fn(uint32_t()), true;
  case ElementType::Int64:
    return fn(int64_t()), true;
  case ElementType::UInt64:
    return fn(uint64_t()), true;
  default:
    return false;
  }
}

/// Calls `fn` for the types that arithmetic runs in: f32, f64 and integers of
/// whole bytes; false for other types (half precision is widened before).
template <typename Fn> bool visitNumber(ElementType type, Fn &&fn) {
  if (type == ElementType::Float32)
    return fn(float()), true;
  if (type == ElementType::Float64)
    return fn(double()), true;
  return visitInteger(type, fn);
}

/// Calls `fn` with the type that stores `type` in memory.
template <typename Fn> void visitStorage(ElementType type, Fn &&fn) {
  switch (type) {
  case ElementType::Float16:
    return fn(Half());
  case ElementType::BFloat16:
    return fn(BFloat16());
  case ElementType::Int2:
  case ElementType::Int4:
    return fn(int8_t());
  case ElementType::UInt2:
  case ElementType::UInt4:
  case ElementType::Bool:
    return fn(uint8_t());
  default:
    visitNumber(type, fn);
  }
}

/// Calls `fn` with an unsigned integer of the element's size: for operators
/// that only move elements.
template <typename Fn> void visitSize(ElementType type, Fn &&fn) {
  switch (elementSize(type)) {
  case 1:
    return fn(uint8_t());
  case 2:
    return fn(uint16_t());
  case 4:
    return fn(uint32_t());
  default:
    return fn(uint64_t());
  }
}

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_DISPATCH_H
