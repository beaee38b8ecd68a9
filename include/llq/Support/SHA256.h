//===- SHA256.h - SHA-256 of large files ------------------------*- C++ -*-===//
//
// LLVM's SHA256 takes a minute for the weights of an 8B model. This one uses
// the processor's instructions for it where there are some, and is then no
// slower than a disk.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_SHA256_H
#define LLQ_SUPPORT_SHA256_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace llq {

/// The digest of bytes that come in pieces.
class SHA256 {
public:
  /// `portable` leaves the processor's instructions aside, for tests.
  explicit SHA256(bool portable = false);

  void update(std::span<const uint8_t> bytes);
  /// The digest in lower-case hexadecimal digits. Nothing may follow.
  std::string finish();

private:
  using Compress = void (*)(uint32_t *state, const uint8_t *blocks,
                            size_t count);
  static constexpr size_t kBlock = 64;

  Compress compress;
  std::array<uint32_t, 8> state;
  std::array<uint8_t, kBlock> buffer;
  /// Bytes so far; the last `bytes % kBlock` are in the buffer.
  uint64_t bytes = 0;
};

} // namespace llq

#endif // LLQ_SUPPORT_SHA256_H
