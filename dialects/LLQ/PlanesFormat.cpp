//===- PlanesFormat.cpp - Reference decode of #llq.planes -----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Groups.h"
#include "dialects/LLQ/LLQ.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llq;

LogicalResult PlanesAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t count, int64_t group, bool offset) {
  if (count < 1 || count > 4)
    return emitError() << "planes are 1 to 4, found " << count;
  return verifyGroup(emitError, "planes", group);
}

LogicalResult
PlanesAttr::verifyShape(function_ref<InFlightDiagnostic()> emitError, int64_t n,
                        int64_t k) const {
  return verifyElements(emitError, n, k);
}

SmallVector<WeightComponent> PlanesAttr::getComponents(int64_t n,
                                                       int64_t k) const {
  Builder b(getContext());
  int64_t groups = Groups(getGroup(), k).count();
  SmallVector<WeightComponent> components;
  components.push_back(
      {"planes",
       RankedTensorType::get({n, getCount(), int64_t(llvm::divideCeil(k, 8))},
                             b.getI8Type())});
  components.push_back({"scales", RankedTensorType::get({n, groups, getCount()},
                                                        b.getF16Type())});
  if (getOffset())
    components.push_back(
        {"offsets", RankedTensorType::get({n, groups}, b.getF16Type())});
  return components;
}

bool PlanesAttr::hasIndependentRows() const { return true; }

void PlanesAttr::dequantizeRows(ArrayRef<ArrayRef<char>> data, int64_t n,
                                int64_t k, int64_t rowBegin, int64_t rowEnd,
                                float *out) const {
  Groups groups(getGroup(), k);
  int64_t bytes = llvm::divideCeil(k, 8);
  for (int64_t row = rowBegin; row < rowEnd; ++row, out += k)
    for (int64_t g = 0; g < groups.count(); ++g) {
      int64_t at = row * groups.count() + g;
      float offset = getOffset() ? loadF16(data[2], at) : 0.0f;
      std::fill(out + groups.begin(g), out + groups.end(g), offset);
      for (int64_t p = 0; p < getCount(); ++p) {
        float scale = loadF16(data[1], at * getCount() + p);
        auto bits = getRowBytes(data[0], row * getCount() + p, bytes);
        for (int64_t i = groups.begin(g); i < groups.end(g); ++i)
          if (getBit(bits, i))
            out[i] += scale;
      }
    }
}

bool PlanesAttr::differentiateRows(
    ArrayRef<ArrayRef<char>> data, int64_t n, int64_t k, int64_t rowBegin,
    int64_t rowEnd, const float *gradient, const float *,
    ArrayRef<MutableArrayRef<float>> gradients) const {
  Groups groups(getGroup(), k);
  int64_t bytes = llvm::divideCeil(k, 8);
  for (int64_t row = rowBegin; row < rowEnd; ++row, gradient += k)
    for (int64_t g = 0; g < groups.count(); ++g) {
      int64_t at = row * groups.count() + g;
      for (int64_t p = 0; p < getCount(); ++p) {
        auto bits = getRowBytes(data[0], row * getCount() + p, bytes);
        for (int64_t i = groups.begin(g); i < groups.end(g); ++i)
          if (getBit(bits, i))
            gradients[1][at * getCount() + p] += gradient[i];
      }
      for (int64_t i = groups.begin(g); getOffset() && i < groups.end(g); ++i)
        gradients[2][at] += gradient[i];
    }
  return true;
}
