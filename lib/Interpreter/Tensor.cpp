//===- Tensor.cpp - Immutable tensors of the interpreter ------------------===//
//
// Element type facts, size checks and the ways a tensor comes into being.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "llq/Interpreter/Tensor.h"

#include "Convert.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

using namespace llq::interp;

namespace {

struct ElementTypeInfo {
  std::string_view name;
  uint8_t bits;
  int32_t onnxDataType;
};

} // namespace

// Indexed by ElementType. The numbers are TensorProto.DataType's.
constexpr std::array<ElementTypeInfo, 17> typeInfos = {{
    {"f32", 32, 1},
    {"f64", 64, 11},
    {"f16", 16, 10},
    {"bf16", 16, 16},
    {"i2", 2, 26},
    {"ui2", 2, 25},
    {"i4", 4, 22},
    {"ui4", 4, 21},
    {"i8", 8, 3},
    {"ui8", 8, 2},
    {"i16", 16, 5},
    {"ui16", 16, 4},
    {"i32", 32, 6},
    {"ui32", 32, 12},
    {"i64", 64, 7},
    {"ui64", 64, 13},
    {"bool", 8, 9},
}};

static const ElementTypeInfo &info(ElementType type) {
  return typeInfos[size_t(type)];
}

/// Spreads packed sub-byte values, low bits first, to a byte each.
static void unpack(ElementType type, const uint8_t *packed, int64_t count,
                   uint8_t *out) {
  unsigned bits = elementBits(type);
  unsigned perByte = 8 / bits;
  uint8_t mask = uint8_t((1u << bits) - 1);
  bool isSigned = type == ElementType::Int4 || type == ElementType::Int2;
  uint8_t signBit = uint8_t(1u << (bits - 1));
  for (int64_t i = 0; i < count; ++i) {
    uint8_t value =
        uint8_t(packed[i / perByte] >> (bits * unsigned(i % perByte))) & mask;
    out[i] = isSigned ? uint8_t((value ^ signBit) - signBit) : value;
  }
}

std::string_view llq::interp::elementTypeName(ElementType type) {
  return info(type).name;
}

unsigned llq::interp::elementBits(ElementType type) { return info(type).bits; }

size_t llq::interp::elementSize(ElementType type) {
  return std::max<size_t>(1, info(type).bits / 8);
}

bool llq::interp::isFloat(ElementType type) {
  return type <= ElementType::BFloat16;
}

bool llq::interp::isInteger(ElementType type) {
  return type > ElementType::BFloat16 && type < ElementType::Bool;
}

int32_t llq::interp::toONNXDataType(ElementType type) {
  return info(type).onnxDataType;
}

std::optional<ElementType> llq::interp::fromONNXDataType(int64_t dataType) {
  for (size_t i = 0; i < typeInfos.size(); ++i)
    if (typeInfos[i].onnxDataType == dataType)
      return ElementType(i);
  return std::nullopt;
}

std::string llq::interp::toString(const Shape &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Result<int64_t> llq::interp::countElements(const Shape &shape) {
  if (shape.size() > maxRank)
    return Error{"a tensor of rank " + std::to_string(shape.size()) +
                 " is above the limit of " + std::to_string(maxRank)};
  // Empty dimensions do not excuse the others: strides must not overflow.
  int64_t count = 1;
  bool isEmpty = false;
  for (int64_t dim : shape) {
    if (dim < 0)
      return Error{"shape " + toString(shape) + " has a negative dimension"};
    isEmpty |= dim == 0;
    int64_t factor = std::max<int64_t>(dim, 1);
    if (factor > maxElements / count)
      return Error{"shape " + toString(shape) + " has more than 2^40 elements"};
    count *= factor;
  }
  return isEmpty ? 0 : count;
}

Result<Tensor> Tensor::fromRaw(ElementType type, Shape shape, const void *data,
                               size_t size, std::shared_ptr<const void> owner) {
  Result<int64_t> count = countElements(shape);
  if (!count)
    return Error{count.message()};
  // At most 2^40 elements of 64 bits: no overflow.
  uint64_t needed = (uint64_t(*count) * elementBits(type) + 7) / 8;
  if (size != needed)
    return Error{"a tensor of type " + std::string(elementTypeName(type)) +
                 " and shape " + toString(shape) + " needs " +
                 std::to_string(needed) + " bytes, found " +
                 std::to_string(size)};
  bool packed = elementBits(type) < 8;
  bool aligned = reinterpret_cast<uintptr_t>(data) % elementSize(type) == 0;
  if (packed || !aligned || size == 0)
    return copyRaw(type, std::move(shape), data, size);
  Tensor tensor;
  tensor.elementType = type;
  tensor.dims = std::move(shape);
  tensor.count = *count;
  tensor.bytes = std::shared_ptr<const std::byte>(
      std::move(owner), static_cast<const std::byte *>(data));
  return tensor;
}

Result<Tensor> Tensor::copyRaw(ElementType type, Shape shape, const void *data,
                               size_t size) {
  Result<MutableTensor> copy = MutableTensor::allocate(type, std::move(shape));
  if (!copy)
    return Error{copy.message()};
  uint64_t needed = (uint64_t(copy->numElements()) * elementBits(type) + 7) / 8;
  if (size != needed)
    return Error{"a tensor of type " + std::string(elementTypeName(type)) +
                 " and shape " + toString(copy->shape()) + " needs " +
                 std::to_string(needed) + " bytes, found " +
                 std::to_string(size)};
  if (elementBits(type) < 8)
    unpack(type, static_cast<const uint8_t *>(data), copy->numElements(),
           copy->data<uint8_t>());
  else if (size != 0)
    std::memcpy(copy->data<std::byte>(), data, size);
  return std::move(*copy).freeze();
}

Tensor Tensor::ofInts(std::span<const int64_t> values) {
  // The values are in memory, so a copy of them is of a reasonable size.
  Tensor tensor;
  tensor.elementType = ElementType::Int64;
  tensor.dims = {int64_t(values.size())};
  tensor.count = int64_t(values.size());
  auto copy =
      std::make_shared<std::vector<int64_t>>(values.begin(), values.end());
  copy->reserve(1); // never a null pointer
  tensor.bytes = std::shared_ptr<const std::byte>(
      copy, reinterpret_cast<const std::byte *>(copy->data()));
  return tensor;
}

Tensor Tensor::ofInt(int64_t value) {
  Tensor tensor = ofInts({&value, 1});
  tensor.dims.clear();
  return tensor;
}

Tensor Tensor::ofFloat(float value) {
  Tensor tensor;
  auto copy = std::make_shared<float>(value);
  tensor.count = 1;
  tensor.bytes = std::shared_ptr<const std::byte>(
      copy, reinterpret_cast<const std::byte *>(copy.get()));
  return tensor;
}

Result<Tensor> Tensor::reshaped(Shape shape) const {
  Result<int64_t> newCount = countElements(shape);
  if (!newCount)
    return Error{newCount.message()};
  if (*newCount != count)
    return Error{"cannot view shape " + toString(dims) + " as " +
                 toString(shape)};
  Tensor view = *this;
  view.dims = std::move(shape);
  return view;
}

Result<std::vector<int64_t>> Tensor::toInts() const {
  if (isFloat(type()))
    return Error{"found a tensor of type " +
                 std::string(elementTypeName(type())) + ", need integers"};
  std::vector<int64_t> values(static_cast<size_t>(count));
  readInts(*this, 0, count, values.data());
  return values;
}

std::vector<double> Tensor::toDoubles() const {
  std::vector<double> values(static_cast<size_t>(count));
  readDoubles(*this, 0, count, values.data());
  return values;
}

Result<MutableTensor> MutableTensor::allocate(ElementType type, Shape shape) {
  Result<int64_t> count = countElements(shape);
  if (!count)
    return Error{count.message()};
  size_t size = size_t(*count) * elementSize(type);
  auto *memory =
      static_cast<std::byte *>(std::calloc(std::max<size_t>(size, 1), 1));
  if (!memory)
    return Error{"out of memory: a tensor of shape " + toString(shape) +
                 " needs " + std::to_string(size) + " bytes"};
  MutableTensor result;
  result.storage = std::shared_ptr<std::byte>(memory, std::free);
  result.tensor.elementType = type;
  result.tensor.dims = std::move(shape);
  result.tensor.count = *count;
  return result;
}

Tensor MutableTensor::freeze() && {
  tensor.bytes = std::move(storage);
  return std::move(tensor);
}
