//===- Convert.cpp - Conversions between element types --------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Convert.h"

#include "Dispatch.h"

#include <type_traits>

using namespace llq::interp;

template <typename T>
constexpr bool isHalf = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

/// One element between storage types of whole bytes.
template <typename To, typename From> static To convertElement(From value) {
  if constexpr (isHalf<From>)
    return convertElement<To>(float(value));
  else if constexpr (isHalf<To> && std::is_same_v<From, float>)
    return To::from(value);
  else if constexpr (isHalf<To>)
    return To::from(double(value));
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return saturatingCast<To>(value);
  else
    return static_cast<To>(value);
}

/// Keeps the low `bits` of a value, sign-extended if Byte is signed.
template <typename Byte> static Byte toSubByte(int64_t value, unsigned bits) {
  unsigned low = unsigned(value) & ((1u << bits) - 1);
  if (!std::is_signed_v<Byte>)
    return Byte(low);
  unsigned sign = 1u << (bits - 1);
  return Byte(int(low ^ sign) - int(sign));
}

template <typename From, typename To>
static void convertRange(const From *source, To *out, int64_t count,
                         ElementType type) {
  if (type == ElementType::Bool) {
    for (int64_t i = 0; i < count; ++i)
      if constexpr (isHalf<From>)
        out[i] = To(float(source[i]) != 0.0f);
      else
        out[i] = To(source[i] != From(0));
    return;
  }
  if constexpr (sizeof(To) == 1) {
    unsigned bits = elementBits(type);
    if (bits < 8) {
      for (int64_t i = 0; i < count; ++i)
        out[i] = toSubByte<To>(convertElement<int64_t>(source[i]), bits);
      return;
    }
  }
  for (int64_t i = 0; i < count; ++i)
    out[i] = convertElement<To>(source[i]);
}

Result<Tensor> llq::interp::convert(const Tensor &source, ElementType type) {
  if (source.type() == type)
    return source;
  Result<MutableTensor> result = MutableTensor::allocate(type, source.shape());
  if (!result)
    return Error{result.message()};
  visitStorage(source.type(), [&](auto from) {
    using From = decltype(from);
    visitStorage(type, [&](auto to) {
      using To = decltype(to);
      // A storage type of 16 bits is never a bool or sub-byte target.
      if constexpr (isHalf<To>)
        for (int64_t i = 0, e = source.numElements(); i < e; ++i)
          result->template data<To>()[i] =
              convertElement<To>(source.data<From>()[i]);
      else
        convertRange(source.data<From>(), result->template data<To>(),
                     source.numElements(), type);
    });
  });
  return std::move(*result).freeze();
}

void llq::interp::readDoubles(const Tensor &source, int64_t begin,
                              int64_t count, double *out) {
  visitStorage(source.type(), [&](auto from) {
    const auto *elements = source.data<decltype(from)>() + begin;
    for (int64_t i = 0; i < count; ++i)
      out[i] = convertElement<double>(elements[i]);
  });
}

void llq::interp::readInts(const Tensor &source, int64_t begin, int64_t count,
                           int64_t *out) {
  visitStorage(source.type(), [&](auto from) {
    const auto *elements = source.data<decltype(from)>() + begin;
    for (int64_t i = 0; i < count; ++i)
      out[i] = convertElement<int64_t>(elements[i]);
  });
}
