//===- WeightData.h - Read the values of weights ----------------*- C++ -*-===//
//
// The one accessor that hides where a weight is: in a file that
// `#llq.external` refers to, or in a resource blob, and whether it is scaled or
// rotated on the way. Passes read rows as f32 or raw bytes and never see the
// difference.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_WEIGHTDATA_H
#define LLQ_SUPPORT_WEIGHTDATA_H

#include "dialects/LLQ/LLQ.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"

#include <memory>
#include <mutex>
#include <vector>

namespace llq {

/// Reads weights: `#llq.external`, `dense_resource`, `#llq.scaled`,
/// `#llq.rotated` and (for small constants) `dense` attributes. Files are
/// mapped once for the lifetime of the reader or until `release`; size and
/// modification time must still be those of the import (a recorded time of 0 is
/// not compared). Safe to share among threads.
///
/// Every error is one line that names the file or resource and what is wrong.
class WeightReader {
public:
  WeightReader() = default;
  WeightReader(const WeightReader &) = delete;
  WeightReader &operator=(const WeightReader &) = delete;

  /// Converts rows `[rowBegin, rowEnd)` of an f16, bf16 or f32 tensor to f32,
  /// row-major. A row is everything behind the first dimension (one element of
  /// a vector); `out` has exactly as many elements as the rows.
  llvm::Error readRows(mlir::TypedAttr weight, int64_t rowBegin, int64_t rowEnd,
                       llvm::MutableArrayRef<float> out);

  /// The same for the result of `llq.weight` or `llq.quantized_weight`; the
  /// latter is decoded by its format's reference decode.
  llvm::Error readRows(mlir::Value weight, int64_t rowBegin, int64_t rowEnd,
                       llvm::MutableArrayRef<float> out);

  /// All values of a tensor as f32, row-major.
  llvm::Expected<std::vector<float>> readAll(mlir::TypedAttr weight);

  /// The bytes of a tensor whose elements are contiguous and row-major, without
  /// copying. They stay valid until `release`, the end of the reader, or a
  /// change of the resource. An error for `#llq.scaled` and `#llq.rotated`,
  /// which have none.
  llvm::Expected<llvm::ArrayRef<char>> getBytes(mlir::TypedAttr weight);

  /// The bytes of any tensor in row-major order, copied.
  llvm::Expected<std::vector<char>> copyBytes(mlir::TypedAttr weight);

  /// The same for rows `[rowBegin, rowEnd)`.
  llvm::Expected<std::vector<char>> copyRows(mlir::TypedAttr weight,
                                             int64_t rowBegin, int64_t rowEnd);

  /// Copies columns of rows `[rowBegin, rowEnd)` of a matrix of 2- or 4-byte
  /// elements to `out`, `pitch` elements from one column to the next.
  llvm::Error copyColumns(mlir::TypedAttr weight, int64_t rowBegin,
                          int64_t rowEnd, int64_t pitch, char *out);

  /// The bytes of the components of a quantized weight, in the order of its
  /// format's `getComponents`, verified. Valid as for `getBytes`.
  llvm::Expected<llvm::SmallVector<llvm::ArrayRef<char>>>
  getComponents(QuantizedWeightOp weight);
  llvm::Expected<llvm::SmallVector<llvm::ArrayRef<char>>>
  getComponents(QuantizedType type, mlir::DictionaryAttr components);

  /// Unmaps all files, and forgets what was computed; bytes handed out before
  /// become invalid.
  void release();

private:
  struct View;
  llvm::Expected<View> getView(mlir::TypedAttr weight);
  llvm::Error readScaledRows(ScaledAttr weight, int64_t rowBegin,
                             int64_t rowEnd, llvm::MutableArrayRef<float> out);
  llvm::Error readRotatedRows(RotatedAttr weight, int64_t rowBegin,
                              int64_t rowEnd, llvm::MutableArrayRef<float> out);
  /// The rows of `weight` rotated on the input's side only, not rounded.
  llvm::Error rotateInputs(RotatedAttr weight, int64_t rowBegin, int64_t rowEnd,
                           llvm::MutableArrayRef<float> out);
  /// All values of a weight that has an output rotation.
  using Matrix = std::shared_ptr<const std::vector<float>>;
  llvm::Expected<Matrix> getRotatedMatrix(RotatedAttr weight);
  const numerics::Rotation &getRotation(RotationAttr rotation);
  /// The bytes of rows of a weight whose values are nowhere in memory.
  llvm::Expected<std::vector<char>>
  computeRows(mlir::TypedAttr weight, int64_t rowBegin, int64_t rowEnd);
  llvm::Expected<llvm::ArrayRef<char>> mapFile(ExternalAttr weight);

  std::mutex mutex; ///< of files and rotations
  llvm::StringMap<std::unique_ptr<llvm::sys::fs::mapped_file_region>> files;
  llvm::DenseMap<mlir::Attribute, std::unique_ptr<numerics::Rotation>>
      rotations;
  /// The last matrix whose rows depend on each other: readers ask for a few of
  /// them at a time.
  std::mutex matrixMutex;
  RotatedAttr lastRotated;
  Matrix lastMatrix;
};

/// An error that names the first of `values`, whole rows of `columns` numbers
/// from row `firstRow` on, that is not finite.
llvm::Error verifyFinite(llvm::ArrayRef<float> values, int64_t firstRow,
                         int64_t columns);

/// Bytes that the elements of `type` need in row-major order, or nullopt if
/// the shape is not static, elements are not whole bytes, or 63 bits do not
/// suffice.
std::optional<int64_t> getTensorBytes(mlir::ShapedType type);

/// Frees the data of a resource blob that no operation uses any more; blobs
/// live as long as the context otherwise. Does nothing for other attributes.
void releaseWeight(mlir::TypedAttr weight);

/// The same for all resources in `attribute`.
void releaseResources(mlir::Attribute attribute);

} // namespace llq

#endif // LLQ_SUPPORT_WEIGHTDATA_H
