//===- Tensor.h - Immutable tensors of the interpreter ---------*- C++ -*-===//
//
// A tensor is an element type, a shape and shared immutable bytes. The bytes
// may be owned or borrowed from mapped memory that an owner handle keeps
// alive, so that the weights of a model are never copied to be evaluated.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_INTERPRETER_TENSOR_H
#define LLQ_INTERPRETER_TENSOR_H

#include "llq/Interpreter/Result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llq::interp {

/// The ONNX element types that the interpreter knows. In memory the types
/// below a byte take one byte per element.
enum class ElementType : uint8_t {
  Float32,
  Float64,
  Float16,
  BFloat16,
  Int2,
  UInt2,
  Int4,
  UInt4,
  Int8,
  UInt8,
  Int16,
  UInt16,
  Int32,
  UInt32,
  Int64,
  UInt64,
  Bool,
};

/// "f32", "i64", "ui8", "bool", ...
std::string_view elementTypeName(ElementType type);
/// Bytes per element in memory: 1, 2, 4 or 8.
size_t elementSize(ElementType type);
/// Width of the type as ONNX stores it: 2, 4, 8, 16, 32 or 64 bits.
unsigned elementBits(ElementType type);
/// f16, bf16, f32 or f64.
bool isFloat(ElementType type);
/// Any integer type, bool excluded.
bool isInteger(ElementType type);
/// The value of ONNX's TensorProto.DataType.
int32_t toONNXDataType(ElementType type);
/// The inverse; none for strings, complex, float8 and other unknown types.
std::optional<ElementType> fromONNXDataType(int64_t dataType);

/// Sizes of the dimensions, outermost first.
using Shape = std::vector<int64_t>;

/// "[2, 3]".
std::string toString(const Shape &shape);

/// More elements than this are an error for any tensor.
inline constexpr int64_t maxElements = int64_t(1) << 40;
/// More dimensions than this are an error.
inline constexpr size_t maxRank = 64;

/// Product of the dimensions; an error if one is negative or a limit is
/// exceeded.
Result<int64_t> countElements(const Shape &shape);

/// A tensor whose contents never change; copies share the bytes.
class Tensor {
public:
  /// A null tensor: stands for an output that was not produced.
  Tensor() = default;

  /// A tensor over `size` bytes in ONNX's raw form (little endian, sub-byte
  /// types packed low bits first). They are borrowed, and `owner` is held for
  /// as long as any copy lives; they are copied only where they must be
  /// unpacked or are not aligned to their element size. An error if `size` is
  /// not what type and shape need.
  static Result<Tensor> fromRaw(ElementType type, Shape shape, const void *data,
                                size_t size, std::shared_ptr<const void> owner);

  /// The same, with the bytes copied.
  static Result<Tensor> copyRaw(ElementType type, Shape shape, const void *data,
                                size_t size);

  /// A tensor of 64-bit integers of rank 1.
  static Tensor ofInts(std::span<const int64_t> values);
  /// A scalar (rank 0).
  static Tensor ofInt(int64_t value);
  static Tensor ofFloat(float value);

  /// False for a null tensor.
  explicit operator bool() const { return bytes != nullptr; }

  ElementType type() const { return elementType; }
  const Shape &shape() const { return dims; }
  int64_t rank() const { return int64_t(dims.size()); }
  int64_t dim(int64_t axis) const { return dims[size_t(axis)]; }
  int64_t numElements() const { return count; }
  /// Bytes in memory.
  size_t sizeInBytes() const { return size_t(count) * elementSize(type()); }

  /// The elements in row-major order. `T` must have the size of the element
  /// type; bool and sub-byte types are one byte per element.
  template <typename T> const T *data() const {
    return reinterpret_cast<const T *>(bytes.get());
  }

  /// The same bytes under another shape of as many elements.
  Result<Tensor> reshaped(Shape shape) const;

  /// All elements as integers; an error for floating-point tensors.
  Result<std::vector<int64_t>> toInts() const;
  /// All elements as doubles.
  std::vector<double> toDoubles() const;

private:
  friend class MutableTensor;
  ElementType elementType = ElementType::Float32;
  Shape dims;
  int64_t count = 0;
  std::shared_ptr<const std::byte> bytes;
};

/// A tensor under construction; becomes a Tensor once it is complete.
class MutableTensor {
public:
  /// Zero-initialised storage; an error if the shape is unreasonable or memory
  /// is short.
  static Result<MutableTensor> allocate(ElementType type, Shape shape);

  ElementType type() const { return tensor.type(); }
  const Shape &shape() const { return tensor.shape(); }
  int64_t numElements() const { return tensor.numElements(); }
  size_t sizeInBytes() const { return tensor.sizeInBytes(); }

  /// The elements in row-major order; see Tensor::data.
  template <typename T> T *data() {
    return reinterpret_cast<T *>(storage.get());
  }

  /// Gives up write access.
  Tensor freeze() &&;

private:
  Tensor tensor;
  std::shared_ptr<std::byte> storage;
};

} // namespace llq::interp

#endif // LLQ_INTERPRETER_TENSOR_H
