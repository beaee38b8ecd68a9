//===- WeightData.cpp - Read the values of weights ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/WeightData.h"
#include "llq/Numerics/Float16.h"
#include "llq/Support/ParallelFor.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace llq;

/// A tensor in memory: element (i, j, ...) is at
/// `data + (i * strides[0] + j * strides[1] + ...) * elementBytes`. Every such
/// element lies inside the mapped file or blob.
struct WeightReader::View {
  const char *data;
  ArrayRef<int64_t> shape;
  SmallVector<int64_t> strides;
  Type elementType;
  int64_t elementBytes;
};

template <typename... Args>
static llvm::Error makeError(const char *format, Args &&...args) {
  return llvm::createStringError(
      llvm::formatv(format, std::forward<Args>(args)...).str());
}

static std::string toString(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

std::optional<int64_t> llq::getTensorBytes(ShapedType type) {
  if (!type.hasStaticShape() || !type.getElementType().isIntOrFloat() ||
      type.getElementTypeBitWidth() % 8)
    return std::nullopt;
  std::optional<int64_t> bytes = type.getElementTypeBitWidth() / 8;
  for (int64_t dim : type.getShape())
    if (bytes)
      bytes = llvm::checkedMul(*bytes, dim);
  return bytes;
}

static SmallVector<int64_t> getRowMajorStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i > 1; --i)
    strides[i - 2] = strides[i - 1] * shape[i - 1];
  return strides;
}

/// Whether the values of a weight are computed when it is read.
static bool isComputed(TypedAttr weight) {
  return isa<ScaledAttr, RotatedAttr>(weight);
}

//===----------------------------------------------------------------------===//
// Finding the bytes
//===----------------------------------------------------------------------===//

llvm::Expected<ArrayRef<char>> WeightReader::mapFile(ExternalAttr weight) {
  StringRef path = weight.getPath();
  std::lock_guard<std::mutex> lock(mutex);
  auto &region = files[path];
  if (!region) {
    auto fail = [&](std::error_code error) {
      return makeError("cannot read weight file {0}: {1}", path,
                       error.message());
    };
    llvm::Expected<llvm::sys::fs::file_t> file =
        llvm::sys::fs::openNativeFileForRead(path);
    if (!file)
      return fail(llvm::errorToErrorCode(file.takeError()));
    llvm::sys::fs::file_status status;
    std::error_code error = llvm::sys::fs::status(*file, status);
    int64_t modified =
        status.getLastModificationTime().time_since_epoch().count();
    if (!error &&
        (int64_t(status.getSize()) != weight.getFileSize() ||
         (weight.getModified() && modified != weight.getModified()))) {
      llvm::sys::fs::closeFile(*file);
      return makeError("weight file {0} has changed since the import ({1} "
                       "bytes then, {2} now): import the model again",
                       path, weight.getFileSize(), status.getSize());
    }
    if (!error)
      region = std::make_unique<llvm::sys::fs::mapped_file_region>(
          *file, llvm::sys::fs::mapped_file_region::readonly,
          size_t(status.getSize()), 0, error);
    llvm::sys::fs::closeFile(*file);
    if (error) {
      region.reset();
      return fail(error);
    }
  }
  // Another attribute may have recorded another size for the same path.
  if (int64_t(region->size()) != weight.getFileSize())
    return makeError("weight file {0} has {1} bytes, another weight expects "
                     "{2}",
                     path, region->size(), weight.getFileSize());
  return ArrayRef<char>(region->const_data(), region->size());
}

llvm::Expected<WeightReader::View> WeightReader::getView(TypedAttr weight) {
  auto type = dyn_cast<RankedTensorType>(weight.getType());
  std::optional<int64_t> bytes;
  if (type)
    bytes = getTensorBytes(type);
  if (!bytes)
    return makeError("weight of type {0} is not a tensor of static shape and "
                     "whole bytes",
                     toString(weight.getType()));
  View view = {nullptr, type.getShape(), getRowMajorStrides(type.getShape()),
               type.getElementType(), type.getElementTypeBitWidth() / 8};

  if (auto external = dyn_cast<ExternalAttr>(weight)) {
    // The verifier of the attribute keeps the whole view inside the file.
    llvm::Expected<ArrayRef<char>> file = mapFile(external);
    if (!file)
      return file.takeError();
    view.data = file->data() + external.getOffset();
    view.strides.assign(external.getStrides().begin(),
                        external.getStrides().end());
    return view;
  }

  ArrayRef<char> data;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(weight)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return makeError("resource '{0}' has no data: it was elided or released",
                       resource.getRawHandle().getKey());
    data = blob->getData();
    if (int64_t(data.size()) != *bytes)
      return makeError("resource '{0}' has {1} bytes, its type {2} needs {3}",
                       resource.getRawHandle().getKey(), data.size(),
                       toString(type), *bytes);
  } else if (auto dense = dyn_cast<DenseElementsAttr>(weight)) {
    data = dense.getRawData();
    if (dense.isSplat())
      view.strides.assign(type.getRank(), 0);
  } else {
    return makeError(isComputed(weight)
                         ? "the values of a scaled or rotated weight are "
                           "nowhere in memory"
                         : "weight is neither #llq.external nor a resource");
  }
  view.data = data.data();
  return view;
}

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

template <typename T> static T load(const char *from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

/// `count` elements one after the other, as f32.
static void convertContiguous(const char *from, Type type, int64_t count,
                              float *out) {
  if (type.isF32()) {
    std::memcpy(out, from, count * sizeof(float));
    return;
  }
  // Nothing says that the file keeps them at even addresses.
  uint16_t halves[256];
  bool isF16 = type.isF16();
  for (int64_t begin = 0; begin < count; begin += std::size(halves)) {
    size_t size = std::min<int64_t>(std::size(halves), count - begin);
    std::memcpy(halves, from + begin * 2, size * 2);
    std::span<const uint16_t> source(halves, size);
    std::span<float> target(out + begin, size);
    if (isF16)
      numerics::decodeF16(source, target);
    else
      numerics::decodeBF16(source, target);
  }
}

/// `out[i] = from[i * stride]` as f32 for `count` elements; `stride` in
/// elements.
static void convertRun(const char *from, Type type, int64_t stride,
                       int64_t count, float *out) {
  if (stride == 1)
    return convertContiguous(from, type, count, out);
  if (type.isF32()) {
    for (int64_t i = 0; i < count; ++i)
      out[i] = load<float>(from + i * stride * 4);
  } else if (type.isF16()) {
    for (int64_t i = 0; i < count; ++i)
      out[i] = numerics::decodeF16(load<uint16_t>(from + i * stride * 2));
  } else {
    for (int64_t i = 0; i < count; ++i)
      out[i] = numerics::decodeBF16(load<uint16_t>(from + i * stride * 2));
  }
}

/// A matrix whose columns are contiguous, in tiles: both the source and the
/// result are touched by whole cache lines. Rows of the result lie a large
/// power of two apart, so that stores to one column at a time would all meet in
/// the same set of a cache.
static void convertTransposed(const char *from, Type type, int64_t stride,
                              int64_t rows, int64_t columns, float *out) {
  constexpr int64_t tileRows = 64, tileColumns = 16;
  int64_t bytes = type.getIntOrFloatBitWidth() / 8;
  float tile[tileColumns][tileRows];
  for (int64_t row = 0; row < rows; row += tileRows)
    for (int64_t column = 0; column < columns; column += tileColumns) {
      int64_t n = std::min(tileRows, rows - row);
      int64_t m = std::min(tileColumns, columns - column);
      for (int64_t c = 0; c < m; ++c)
        convertContiguous(from + (row + (column + c) * stride) * bytes, type, n,
                          tile[c]);
      for (int64_t r = 0; r < n; ++r) {
        float *to = out + (row + r) * columns + column;
        for (int64_t c = 0; c < m; ++c)
          to[c] = tile[c][r];
      }
    }
}

/// Calls `visit(offset, position)` for each innermost run, where `offset` is in
/// elements of the source and `position` counts elements of the row-major
/// result.
static void forEachRun(ArrayRef<int64_t> shape, ArrayRef<int64_t> strides,
                       function_ref<void(int64_t, int64_t)> visit) {
  if (llvm::is_contained(shape, 0))
    return;
  if (shape.empty())
    return visit(0, 0);
  SmallVector<int64_t> index(shape.size() - 1, 0);
  int64_t offset = 0, position = 0;
  while (true) {
    visit(offset, position);
    position += shape.back();
    int64_t axis = int64_t(index.size()) - 1;
    for (; axis >= 0; --axis) {
      offset += strides[axis];
      if (++index[axis] < shape[axis])
        break;
      offset -= index[axis] * strides[axis];
      index[axis] = 0;
    }
    if (axis < 0)
      return;
  }
}

llvm::Error WeightReader::readScaledRows(ScaledAttr weight, int64_t rowBegin,
                                         int64_t rowEnd,
                                         MutableArrayRef<float> out) {
  int64_t rows = rowEnd - rowBegin, columns = weight.getType().getDimSize(1);
  int64_t length = weight.getGroupSize();
  llvm::Error error = readRows(weight.getSource(), rowBegin, rowEnd, out);
  auto read = [&](TypedAttr values, int64_t begin, int64_t end,
                  int64_t perRow) {
    std::vector<float> result;
    if (!values || error)
      return result;
    result.resize((end - begin) * perRow);
    error = readRows(values, begin, end, result);
    return result;
  };
  std::vector<float> rowScales = read(weight.getRows(), rowBegin, rowEnd, 1);
  std::vector<float> columnScales = read(weight.getColumns(), 0, columns, 1);
  int64_t groups =
      weight.getClip()
          ? cast<ShapedType>(weight.getClip().getType()).getDimSize(1)
          : 0;
  std::vector<float> bounds = read(weight.getClip(), rowBegin, rowEnd, groups);
  if (error)
    return error;
  for (int64_t i = 0; i < rows; ++i) {
    MutableArrayRef<float> row = out.slice(i * columns, columns);
    if (!rowScales.empty())
      for (float &value : row)
        value *= rowScales[i];
    if (!columnScales.empty())
      for (auto [value, scale] : llvm::zip_equal(row, columnScales))
        value *= scale;
    for (int64_t g = 0; g < groups; ++g) {
      // The order of arguments keeps a weight that is not a number.
      float bound = std::fabs(bounds[i * groups + g]);
      int64_t end = std::min(columns, (g + 1) * length);
      for (int64_t k = g * length; k < end; ++k)
        row[k] = std::min(std::max(row[k], -bound), bound);
    }
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Rotation
//===----------------------------------------------------------------------===//

/// Encodes `values` in `type`, f16 or bf16.
static void encodeHalves(ArrayRef<float> values, Type type,
                         MutableArrayRef<uint16_t> out) {
  if (type.isF16())
    numerics::encodeF16(values, out);
  else
    numerics::encodeBF16(values, out);
}

/// Rounds `values` to what `type` holds.
static void roundTo(Type type, MutableArrayRef<float> values) {
  if (type.isF32())
    return;
  std::vector<uint16_t> halves(values.size());
  encodeHalves(values, type, halves);
  convertContiguous(reinterpret_cast<const char *>(halves.data()), type,
                    values.size(), values.data());
}

const numerics::Rotation &WeightReader::getRotation(RotationAttr rotation) {
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<numerics::Rotation> &matrix = rotations[rotation];
  if (!matrix)
    matrix = rotation.getMatrix();
  return *matrix;
}

llvm::Error WeightReader::rotateInputs(RotatedAttr weight, int64_t rowBegin,
                                       int64_t rowEnd,
                                       MutableArrayRef<float> out) {
  if (llvm::Error error = readRows(weight.getSource(), rowBegin, rowEnd, out))
    return error;
  // Who reads in parallel does so by rows already.
  ThreadPool pool(1);
  if (RotationAttr input = weight.getInput())
    getRotation(input).apply(out.data(), out.size() / input.getSize(), pool);
  return llvm::Error::success();
}

llvm::Expected<WeightReader::Matrix>
WeightReader::getRotatedMatrix(RotatedAttr weight) {
  std::lock_guard<std::mutex> lock(matrixMutex);
  if (weight == lastRotated)
    return lastMatrix;
  lastRotated = {};
  lastMatrix.reset();
  int64_t rows = weight.getType().getDimSize(0);
  int64_t columns = weight.getType().getDimSize(1);
  auto values = std::make_shared<std::vector<float>>(rows * columns);
  if (llvm::Error error = rotateInputs(weight, 0, rows, *values))
    return std::move(error);
  ThreadPool pool(1);
  const numerics::Rotation &output = getRotation(weight.getOutput());
  for (int64_t row = 0; row < rows; row += output.size())
    output.applyToColumns(values->data() + row * columns, columns, pool);
  roundTo(weight.getType().getElementType(), *values);
  lastRotated = weight;
  lastMatrix = std::move(values);
  return lastMatrix;
}

llvm::Error WeightReader::readRotatedRows(RotatedAttr weight, int64_t rowBegin,
                                          int64_t rowEnd,
                                          MutableArrayRef<float> out) {
  if (!weight.getOutput()) {
    if (llvm::Error error = rotateInputs(weight, rowBegin, rowEnd, out))
      return error;
    roundTo(weight.getType().getElementType(), out);
    return llvm::Error::success();
  }
  llvm::Expected<Matrix> matrix = getRotatedMatrix(weight);
  if (!matrix)
    return matrix.takeError();
  int64_t columns = weight.getType().getDimSize(1);
  llvm::copy(ArrayRef(**matrix).slice(rowBegin * columns, out.size()),
             out.begin());
  return llvm::Error::success();
}

llvm::Expected<std::vector<char>>
WeightReader::computeRows(TypedAttr weight, int64_t rowBegin, int64_t rowEnd) {
  auto type = cast<RankedTensorType>(weight.getType());
  Type element = type.getElementType();
  std::vector<float> values((rowEnd - rowBegin) * type.getDimSize(1));
  if (llvm::Error error = readRows(weight, rowBegin, rowEnd, values))
    return std::move(error);
  std::vector<char> bytes(values.size() * element.getIntOrFloatBitWidth() / 8);
  if (element.isF32())
    std::memcpy(bytes.data(), values.data(), bytes.size());
  else
    encodeHalves(values, element,
                 {reinterpret_cast<uint16_t *>(bytes.data()), values.size()});
  return bytes;
}

llvm::Error WeightReader::readRows(TypedAttr weight, int64_t rowBegin,
                                   int64_t rowEnd, MutableArrayRef<float> out) {
  if (auto scaled = dyn_cast<ScaledAttr>(weight))
    return readScaledRows(scaled, rowBegin, rowEnd, out);
  if (auto rotated = dyn_cast<RotatedAttr>(weight))
    return readRotatedRows(rotated, rowBegin, rowEnd, out);
  llvm::Expected<View> view = getView(weight);
  if (!view)
    return view.takeError();
  Type type = view->elementType;
  if (!type.isF32() && !type.isF16() && !type.isBF16())
    return makeError("weight has elements of type {0}, needed are f16, bf16 or "
                     "f32",
                     toString(type));
  if (view->shape.empty()) {
    assert(rowBegin == 0 && rowEnd == 1 && out.size() == 1);
    convertRun(view->data, type, 1, 1, out.data());
    return llvm::Error::success();
  }
  assert(rowBegin >= 0 && rowBegin <= rowEnd && rowEnd <= view->shape[0]);
  SmallVector<int64_t> shape(view->shape);
  shape[0] = rowEnd - rowBegin;
  assert(int64_t(out.size()) == llvm::product_of(shape));
  const char *data =
      view->data + rowBegin * view->strides[0] * view->elementBytes;

  if (shape.size() == 2 && view->strides[0] == 1 && view->strides[1] > 1) {
    convertTransposed(data, type, view->strides[1], shape[0], shape[1],
                      out.data());
    return llvm::Error::success();
  }
  forEachRun(shape, view->strides, [&](int64_t offset, int64_t position) {
    convertRun(data + offset * view->elementBytes, type, view->strides.back(),
               shape.back(), out.data() + position);
  });
  return llvm::Error::success();
}

llvm::Error WeightReader::readRows(Value weight, int64_t rowBegin,
                                   int64_t rowEnd, MutableArrayRef<float> out) {
  if (auto op = weight.getDefiningOp<WeightOp>())
    return readRows(op.getValue(), rowBegin, rowEnd, out);
  auto op = weight.getDefiningOp<QuantizedWeightOp>();
  if (!op)
    return makeError("weight is not produced by llq.weight or "
                     "llq.quantized_weight");
  llvm::Expected<SmallVector<ArrayRef<char>>> components = getComponents(op);
  if (!components)
    return components.takeError();
  QuantizedType type = op.getType();
  assert(int64_t(out.size()) == (rowEnd - rowBegin) * type.getColumns());
  cast<WeightFormatInterface>(type.getFormat())
      .dequantizeRows(*components, type.getRows(), type.getColumns(), rowBegin,
                      rowEnd, out.data());
  return llvm::Error::success();
}

llvm::Error llq::verifyFinite(ArrayRef<float> values, int64_t firstRow,
                              int64_t columns) {
  // Magnitudes order like their bits, and infinity is below every NaN.
  constexpr uint32_t infinity = 0x7f800000;
  uint32_t largest = 0;
  for (float value : values)
    largest = std::max(largest, std::bit_cast<uint32_t>(std::fabs(value)));
  if (largest < infinity)
    return llvm::Error::success();
  const float *found =
      llvm::find_if_not(values, [](float v) { return std::isfinite(v); });
  int64_t index = found - values.begin();
  return llvm::createStringError(
      "has weight %f in row %lld, column %lld, weights need to be finite",
      std::isnan(*found) ? std::fabs(double(*found)) : double(*found),
      static_cast<long long>(firstRow + index / columns),
      static_cast<long long>(index % columns));
}

llvm::Expected<std::vector<float>> WeightReader::readAll(TypedAttr weight) {
  auto type = dyn_cast<RankedTensorType>(weight.getType());
  if (!type || !getTensorBytes(type))
    return getView(weight).takeError();
  std::vector<float> values(type.getNumElements());
  int64_t rows = type.getRank() == 0 ? 1 : type.getDimSize(0);
  if (llvm::Error error = readRows(weight, 0, rows, values))
    return error;
  return values;
}

llvm::Expected<ArrayRef<char>> WeightReader::getBytes(TypedAttr weight) {
  llvm::Expected<View> view = getView(weight);
  if (!view)
    return view.takeError();
  auto type = cast<RankedTensorType>(weight.getType());
  SmallVector<int64_t> rowMajor = getRowMajorStrides(view->shape);
  for (auto [dim, stride, wanted] :
       llvm::zip_equal(view->shape, view->strides, rowMajor))
    if (dim > 1 && stride != wanted)
      return makeError("weight of type {0} is a strided view, a contiguous one "
                       "is needed",
                       toString(type));
  return ArrayRef<char>(view->data, *getTensorBytes(type));
}

llvm::Expected<std::vector<char>> WeightReader::copyBytes(TypedAttr weight) {
  auto type = dyn_cast<RankedTensorType>(weight.getType());
  if (!type || !getTensorBytes(type))
    return getView(weight).takeError();
  return copyRows(weight, 0, type.getRank() == 0 ? 1 : type.getDimSize(0));
}

llvm::Expected<std::vector<char>>
WeightReader::copyRows(TypedAttr weight, int64_t rowBegin, int64_t rowEnd) {
  if (isComputed(weight))
    return computeRows(weight, rowBegin, rowEnd);
  llvm::Expected<View> view = getView(weight);
  if (!view)
    return view.takeError();
  int64_t width = view->elementBytes;
  if (view->shape.empty())
    return std::vector<char>(view->data, view->data + width);
  assert(rowBegin >= 0 && rowBegin <= rowEnd && rowEnd <= view->shape[0]);
  SmallVector<int64_t> shape(view->shape);
  shape[0] = rowEnd - rowBegin;
  const char *data = view->data + rowBegin * view->strides[0] * width;
  std::vector<char> bytes(llvm::product_of(shape) * width);
  int64_t run = shape.back(), stride = view->strides.back();
  // A transposed matrix is copied along its memory, as in readRows.
  if (shape.size() == 2 && view->strides[0] == 1 && stride > 1) {
    constexpr int64_t tile = 64;
    for (int64_t row = 0; row < shape[0]; row += tile)
      for (int64_t column = 0; column < run; ++column)
        for (int64_t i = row, e = std::min(shape[0], row + tile); i < e; ++i)
          std::memcpy(&bytes[(i * run + column) * width],
                      data + (i + column * stride) * width, width);
    return bytes;
  }
  forEachRun(shape, view->strides, [&](int64_t offset, int64_t position) {
    const char *from = data + offset * width;
    char *to = bytes.data() + position * width;
    if (stride == 1) {
      std::memcpy(to, from, run * width);
      return;
    }
    for (int64_t i = 0; i < run; ++i)
      std::memcpy(to + i * width, from + i * stride * width, width);
  });
  return bytes;
}

/// Element (i, j) of a strided matrix to `out[j * pitch + i]`.
template <typename T>
static void copyColumnsAs(const char *from, ArrayRef<int64_t> strides,
                          int64_t rows, int64_t columns, int64_t pitch,
                          char *out) {
  // By columns in the source already.
  if (strides[0] == 1) {
    for (int64_t j = 0; j < columns; ++j)
      std::memcpy(out + j * pitch * sizeof(T),
                  from + j * strides[1] * sizeof(T), rows * sizeof(T));
    return;
  }
  // Some columns of each row at a time: what is read is a cache line, what is
  // written stays in the cache.
  constexpr int64_t block = 64 / sizeof(T);
  for (int64_t begin = 0; begin < columns; begin += block)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = begin, e = std::min(columns, begin + block); j < e; ++j)
        std::memcpy(out + (j * pitch + i) * sizeof(T),
                    from + (i * strides[0] + j * strides[1]) * sizeof(T),
                    sizeof(T));
}

llvm::Error WeightReader::copyColumns(TypedAttr weight, int64_t rowBegin,
                                      int64_t rowEnd, int64_t pitch,
                                      char *out) {
  if (isComputed(weight)) {
    auto bytes = computeRows(weight, rowBegin, rowEnd);
    if (!bytes)
      return bytes.takeError();
    auto type = cast<RankedTensorType>(weight.getType());
    auto copy = type.getElementType().isF32() ? copyColumnsAs<float>
                                              : copyColumnsAs<uint16_t>;
    int64_t columns = type.getDimSize(1);
    copy(bytes->data(), {columns, 1}, rowEnd - rowBegin, columns, pitch, out);
    return llvm::Error::success();
  }
  llvm::Expected<View> view = getView(weight);
  if (!view)
    return view.takeError();
  if (view->shape.size() != 2 ||
      (view->elementBytes != 2 && view->elementBytes != 4))
    return makeError("weight of type {0} is no matrix of 2- or 4-byte elements",
                     toString(weight.getType()));
  assert(rowBegin >= 0 && rowBegin <= rowEnd && rowEnd <= view->shape[0] &&
         pitch >= rowEnd - rowBegin);
  const char *data =
      view->data + rowBegin * view->strides[0] * view->elementBytes;
  auto copy =
      view->elementBytes == 2 ? copyColumnsAs<uint16_t> : copyColumnsAs<float>;
  copy(data, view->strides, rowEnd - rowBegin, view->shape[1], pitch, out);
  return llvm::Error::success();
}

llvm::Expected<SmallVector<ArrayRef<char>>>
WeightReader::getComponents(QuantizedType type, DictionaryAttr components) {
  auto format = cast<WeightFormatInterface>(type.getFormat());
  SmallVector<ArrayRef<char>> data;
  for (const WeightComponent &component :
       format.getComponents(type.getRows(), type.getColumns())) {
    llvm::Expected<ArrayRef<char>> bytes =
        getBytes(components.getAs<TypedAttr>(component.name));
    if (!bytes)
      return bytes.takeError();
    data.push_back(*bytes);
  }
  if (llvm::Error error =
          format.verifyContents(data, type.getRows(), type.getColumns()))
    return std::move(error);
  return data;
}

llvm::Expected<SmallVector<ArrayRef<char>>>
WeightReader::getComponents(QuantizedWeightOp weight) {
  return getComponents(weight.getType(), weight.getComponents());
}

void WeightReader::release() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    files.clear();
  }
  std::lock_guard<std::mutex> lock(matrixMutex);
  lastRotated = {};
  lastMatrix.reset();
}

void llq::releaseWeight(TypedAttr weight) {
  auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(weight);
  if (!resource)
    return;
  if (DenseResourceElementsHandle handle = resource.getRawHandle();
      handle.getBlob())
    handle.getResource()->setBlob(AsmResourceBlob());
}

void llq::releaseResources(Attribute attribute) {
  attribute.walk(
      [](DenseResourceElementsAttr resource) { releaseWeight(resource); });
}
