//===- OutliersFormat.cpp - Reference decode of #llq.outliers -------------===//
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

LogicalResult OutliersAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   Attribute base, int64_t masks,
                                   int64_t outliers) {
  if (!isa<PlanesAttr, UniformAttr, CodebookAttr>(base))
    return emitError() << "outliers are those of #llq.planes, #llq.uniform or "
                          "#llq.codebook, found "
                       << base;
  if (masks < 0 || outliers < masks)
    return emitError() << "outliers are at least as many as their masks, found "
                       << outliers << " and " << masks;
  return success();
}

LogicalResult
OutliersAttr::verifyShape(function_ref<InFlightDiagnostic()> emitError,
                          int64_t n, int64_t k) const {
  if (failed(getBaseFormat().verifyShape(emitError, n, k)) ||
      failed(verifyElements(emitError, n, k)))
    return failure();
  if (getOutliers() > std::min(n * k, int64_t(UINT32_MAX)))
    return emitError() << "a matrix of " << n << " x " << k << " cannot have "
                       << getOutliers() << " outliers";
  return success();
}

SmallVector<WeightComponent> OutliersAttr::getComponents(int64_t n,
                                                         int64_t k) const {
  Builder b(getContext());
  SmallVector<WeightComponent> result = getBaseFormat().getComponents(n, k);
  auto add = [&](StringRef name, ArrayRef<int64_t> shape, Type type,
                 bool hasRows) {
    result.push_back({name, RankedTensorType::get(shape, type), hasRows});
  };
  // Resources have at least one byte.
  int64_t masks = std::max<int64_t>(getMasks(), 1);
  int64_t codes = std::max<int64_t>(getOutliers(), 1);
  int64_t starts = llvm::divideCeil(n, numerics::kSparseRows);
  add("presence", {n, numerics::sparsePresenceBytes(k)}, b.getI8Type(), true);
  add("masks", {masks}, b.getI8Type(), false);
  add("outliers", {codes}, b.getI8Type(), false);
  add("starts", {starts, 2}, b.getI32Type(), false);
  add("outlier_scales", {n}, b.getF16Type(), true);
  add("outlier_zeros", {n}, b.getI8Type(), true);
  return result;
}

numerics::SparseView OutliersAttr::getSparse(ArrayRef<ArrayRef<char>> data,
                                             int64_t n, int64_t k) const {
  ArrayRef<ArrayRef<char>> mine = data.take_back(getNumOwnComponents());
  auto bytes = [&](size_t component) {
    return std::span(reinterpret_cast<const uint8_t *>(mine[component].data()),
                     mine[component].size());
  };
  return {.presence = bytes(0),
          .masks = bytes(1).first(getMasks()),
          .codes = bytes(2).first(getOutliers()),
          .starts = bytes(3),
          .rows = n,
          .columns = k};
}

/// The code of a weight in a format that may have outliers, or of several
/// planes one that is not 0 if one of them is not.
static uint8_t getBaseCode(Attribute base, ArrayRef<char> codes, int64_t row,
                           int64_t column, int64_t k) {
  if (auto planes = dyn_cast<PlanesAttr>(base)) {
    bool any = false;
    int64_t bytes = llvm::divideCeil(k, 8);
    for (int64_t p = 0; p < planes.getCount(); ++p)
      any |= getBit(getRowBytes(codes, row * planes.getCount() + p, bytes),
                    column);
    return any;
  }
  auto uniform = dyn_cast<UniformAttr>(base);
  int64_t bits =
      uniform ? uniform.getBits() : cast<CodebookAttr>(base).getBits();
  return numerics::packedCode(
      getRowBytes(codes, row, numerics::packedRowBytes(k, bits)), bits, column);
}

llvm::Error OutliersAttr::verifyContents(ArrayRef<ArrayRef<char>> data,
                                         int64_t n, int64_t k) const {
  if (llvm::Error error = getBaseFormat().verifyContents(
          data.drop_back(getNumOwnComponents()), n, k))
    return error;
  numerics::SparseView sparse = getSparse(data, n, k);
  if (auto fault = sparse.findFault())
    return llvm::createStringError(*fault);
  // The kernels add up both codes.
  int64_t badRow = -1;
  sparse.forRows(0, n, [&](int64_t row, int64_t column, uint8_t) {
    if (getBaseCode(getBase(), data[0], row, column, k))
      badRow = row;
  });
  if (badRow >= 0)
    return llvm::createStringError("has an outlier in row " +
                                   std::to_string(badRow) +
                                   " whose code in the base is not 0");
  return llvm::Error::success();
}

Attribute OutliersAttr::getKernelFormat() const {
  return OutliersAttr::get(getContext(), getBaseFormat().getKernelFormat(), 0,
                           0);
}

Attribute OutliersAttr::withRows(int64_t from, int64_t to) const {
  auto scale = [&](int64_t count) {
    return int64_t(double(count) * double(to) / double(from));
  };
  return OutliersAttr::get(getContext(), getBaseFormat().withRows(from, to),
                           scale(getMasks()), scale(getOutliers()));
}

/// Calls `visit(row, column, steps)` for the outliers of rows
/// [rowBegin, rowEnd), each of which is `steps` times the scale of its row.
template <typename Visit>
static void visitOutliers(OutliersAttr format, ArrayRef<ArrayRef<char>> data,
                          int64_t n, int64_t k, int64_t rowBegin,
                          int64_t rowEnd, Visit visit) {
  int64_t begin = rowBegin / numerics::kSparseRows * numerics::kSparseRows;
  format.getSparse(data, n, k)
      .forRows(begin, rowEnd, [&](int64_t row, int64_t column, uint8_t code) {
        if (row < rowBegin)
          return;
        float zero = float(uint8_t(OutliersAttr::getZeros(data)[row]));
        visit(row, column, float(code) - zero);
      });
}

void OutliersAttr::dequantizeRows(ArrayRef<ArrayRef<char>> data, int64_t n,
                                  int64_t k, int64_t rowBegin, int64_t rowEnd,
                                  float *out) const {
  getBaseFormat().dequantizeRows(data.drop_back(getNumOwnComponents()), n, k,
                                 rowBegin, rowEnd, out);
  visitOutliers(*this, data, n, k, rowBegin, rowEnd,
                [&](int64_t row, int64_t column, float steps) {
                  out[(row - rowBegin) * k + column] =
                      loadF16(getScales(data), row) * steps;
                });
}

bool OutliersAttr::differentiateRows(
    ArrayRef<ArrayRef<char>> data, int64_t n, int64_t k, int64_t rowBegin,
    int64_t rowEnd, const float *gradient, const float *source,
    ArrayRef<MutableArrayRef<float>> gradients) const {
  if (rowBegin == rowEnd)
    return getBaseFormat().differentiateRows({}, n, k, rowBegin, rowEnd,
                                             nullptr, nullptr, {});
  // Where an outlier is, the base's code does not count.
  std::vector<float> others(gradient, gradient + (rowEnd - rowBegin) * k);
  MutableArrayRef<float> scales = gradients.drop_back().back();
  visitOutliers(*this, data, n, k, rowBegin, rowEnd,
                [&](int64_t row, int64_t column, float steps) {
                  float &at = others[(row - rowBegin) * k + column];
                  scales[row] += at * steps;
                  at = 0;
                });
  return getBaseFormat().differentiateRows(
      data.drop_back(getNumOwnComponents()), n, k, rowBegin, rowEnd,
      others.data(), source, gradients.drop_back(getNumOwnComponents()));
}
