//===- UniformFormat.cpp - Reference decode of #llq.uniform ---------------===//
//
// Which arrays the uniform format stores and what they mean, in plain loops.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Groups.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/BitPacking.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llq;

LogicalResult UniformAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t bits, int64_t group, ZeroPoint zero,
                                  ScaleType scale) {
  if (bits < 2 || bits > 8)
    return emitError() << "uniform bits are 2 to 8, found " << bits;
  return verifyGroup(emitError, "uniform", group);
}

int64_t UniformAttr::getGroupSize(int64_t k) const {
  return getGroup() == 0 ? k : getGroup();
}

int64_t UniformAttr::getNumGroups(int64_t k) const {
  return llvm::divideCeil(k, getGroupSize(k));
}

LogicalResult
UniformAttr::verifyShape(function_ref<InFlightDiagnostic()> emitError,
                         int64_t n, int64_t k) const {
  return verifyElements(emitError, n, k);
}

SmallVector<WeightComponent> UniformAttr::getComponents(int64_t n,
                                                        int64_t k) const {
  Builder b(getContext());
  Type i8 = b.getI8Type();
  int64_t groups = getNumGroups(k);
  auto rows = [&](int64_t columns, Type type) {
    return RankedTensorType::get({n, columns}, type);
  };
  Type scaleType = getScale() == ScaleType::F16 ? Type(b.getF16Type())
                                                : Type(b.getF32Type());
  SmallVector<WeightComponent> components;
  components.push_back({"codes", rows(llvm::divideCeil(k * getBits(), 8), i8)});
  components.push_back({"scales", rows(groups, scaleType)});
  if (getZero() == ZeroPoint::Int)
    components.push_back(
        {"zeros", rows(llvm::divideCeil(groups * getBits(), 8), i8)});
  else if (getZero() == ZeroPoint::Float)
    components.push_back({"zeros", rows(groups, b.getF16Type())});
  return components;
}

bool UniformAttr::hasIndependentRows() const { return true; }

/// Element `index` of an f16 or f32 array.
static float loadScale(ArrayRef<char> data, int64_t index, ScaleType type) {
  if (type == ScaleType::F16)
    return loadF16(data, index);
  float value;
  std::memcpy(&value, data.data() + index * 4, 4);
  return value;
}

/// Calls `visit(group, begin, end, scale, zero)` for the groups of `row`, which
/// are counted through all rows and have columns [begin, end).
template <typename Visit>
static void visitGroups(UniformAttr format, ArrayRef<ArrayRef<char>> data,
                        int64_t k, int64_t row, Visit visit) {
  int64_t bits = format.getBits(), groups = format.getNumGroups(k);
  int64_t size = format.getGroupSize(k);
  std::vector<uint8_t> zeros(groups);
  if (format.getZero() == ZeroPoint::Int)
    numerics::unpackCodes(
        getRowBytes(data[2], row, numerics::packedRowBytes(groups, bits)), bits,
        zeros);
  for (int64_t g = 0; g < groups; ++g) {
    int64_t group = row * groups + g;
    float zero = float(1 << (bits - 1));
    if (format.getZero() == ZeroPoint::Int)
      zero = zeros[g];
    else if (format.getZero() == ZeroPoint::Float)
      zero = loadF16(data[2], group);
    visit(group, g * size, std::min(k, (g + 1) * size),
          loadScale(data[1], group, format.getScale()), zero);
  }
}

/// Calls `visit(column, group, scale, zero, code - zero)` for the weights of
/// `row`.
template <typename Visit>
static void visitRow(UniformAttr format, ArrayRef<ArrayRef<char>> data,
                     int64_t k, int64_t row, Visit visit) {
  int64_t bits = format.getBits();
  std::vector<uint8_t> codes(k);
  numerics::unpackCodes(
      getRowBytes(data[0], row, numerics::packedRowBytes(k, bits)), bits,
      codes);
  visitGroups(
      format, data, k, row,
      [&](int64_t group, int64_t begin, int64_t end, float scale, float zero) {
        for (int64_t i = begin; i < end; ++i)
          visit(i, group, scale, zero, float(codes[i]) - zero);
      });
}

void UniformAttr::dequantizeRows(ArrayRef<ArrayRef<char>> data, int64_t n,
                                 int64_t k, int64_t rowBegin, int64_t rowEnd,
                                 float *out) const {
  for (int64_t row = rowBegin; row < rowEnd; ++row, out += k)
    visitRow(*this, data, k, row,
             [&](int64_t i, int64_t, float scale, float, float steps) {
               out[i] = scale * steps;
             });
}

bool UniformAttr::differentiateRows(
    ArrayRef<ArrayRef<char>> data, int64_t n, int64_t k, int64_t rowBegin,
    int64_t rowEnd, const float *gradient, const float *source,
    ArrayRef<MutableArrayRef<float>> gradients) const {
  bool floatZeros = getZero() == ZeroPoint::Float;
  float most = float((1 << getBits()) - 1);
  auto add = [&](int64_t i, int64_t group, float scale, float zero,
                 float steps) {
    float g = gradient[i];
    if (source) {
      // Inside of the range a weight moves with nothing but its rounding.
      float exact = source[i] / scale;
      if (exact + zero >= 0 && exact + zero <= most) {
        gradients[1][group] += g * (steps - exact);
        return;
      }
    }
    gradients[1][group] += g * steps;
    if (floatZeros)
      gradients[2][group] -= g * scale;
  };
  for (int64_t row = rowBegin; row < rowEnd; ++row, gradient += k) {
    visitRow(*this, data, k, row, add);
    if (source)
      source += k;
  }
  return true;
}

bool UniformAttr::encodeRows(ArrayRef<ArrayRef<char>> data, int64_t n,
                             int64_t k, int64_t rowBegin, int64_t rowEnd,
                             const float *weights,
                             MutableArrayRef<char> codes) const {
  int64_t bytes = numerics::packedRowBytes(k, getBits());
  float most = float((1 << getBits()) - 1);
  std::vector<uint8_t> row(k);
  for (int64_t r = rowBegin; r < rowEnd; ++r, weights += k) {
    visitGroups(
        *this, data, k, r,
        [&](int64_t, int64_t begin, int64_t end, float scale, float zero) {
          for (int64_t i = begin; i < end; ++i)
            row[i] = getNearestCode(weights[i] / scale + zero, most);
        });
    numerics::packCodes(row, getBits(), getRowBytes(codes, r, bytes));
  }
  return true;
}
