//===- Groups.h - Groups of columns and components of formats ---*- C++ -*-===//
//
// What the reference decodes of formats share. Part of the dialect alone.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef DIALECTS_LLQ_GROUPS_H
#define DIALECTS_LLQ_GROUPS_H

#include "llq/Numerics/Float16.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Support/LLVM.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>

namespace llq {

/// The groups of a row of `columns` weights; `group = 0`: one.
class Groups {
public:
  Groups(int64_t group, int64_t columns)
      : columns(columns), size(group == 0 ? columns : group) {}

  int64_t count() const { return llvm::divideCeil(columns, size); }
  int64_t begin(int64_t g) const { return g * size; }
  int64_t end(int64_t g) const { return std::min(columns, (g + 1) * size); }

private:
  int64_t columns, size;
};

inline llvm::LogicalResult
verifyGroup(llvm::function_ref<mlir::InFlightDiagnostic()> emitError,
            llvm::StringRef format, int64_t group) {
  if (group < 0)
    return emitError() << format << " group is negative: " << group;
  return llvm::success();
}

/// Bounds every later product of sizes well inside 64 bits.
inline llvm::LogicalResult
verifyElements(llvm::function_ref<mlir::InFlightDiagnostic()> emitError,
               int64_t n, int64_t k) {
  if (n > (int64_t(1) << 40) / k)
    return emitError() << "quantized weight of " << n << " x " << k
                       << " is too large";
  return llvm::success();
}

/// Element `index` of an f16 component.
inline float loadF16(mlir::ArrayRef<char> data, int64_t index) {
  uint16_t half;
  std::memcpy(&half, data.data() + index * 2, 2);
  return numerics::decodeF16(half);
}

/// Row `row` of a component with rows of `bytes` bytes.
inline std::span<const uint8_t> getRowBytes(mlir::ArrayRef<char> data,
                                            int64_t row, int64_t bytes) {
  return {reinterpret_cast<const uint8_t *>(data.data() + row * bytes),
          size_t(bytes)};
}
inline std::span<uint8_t> getRowBytes(mlir::MutableArrayRef<char> data,
                                      int64_t row, int64_t bytes) {
  return {reinterpret_cast<uint8_t *>(data.data() + row * bytes),
          size_t(bytes)};
}

/// The code from 0 to `most` nearest to `steps`; 0 if that is not a number.
inline uint8_t getNearestCode(float steps, float most) {
  return steps > 0 ? uint8_t(std::nearbyint(std::min(steps, most))) : 0;
}

inline bool getBit(std::span<const uint8_t> bits, int64_t index) {
  return (bits[index / 8] >> (index % 8)) & 1;
}

} // namespace llq

#endif // DIALECTS_LLQ_GROUPS_H
