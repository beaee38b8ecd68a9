//===- SHA256Test.cpp - Known digests, and any cut of the bytes -----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/SHA256.h"

#include <gtest/gtest.h>

#include <vector>

using namespace llq;

namespace {

std::string hash(std::span<const uint8_t> bytes, bool portable,
                 size_t piece = SIZE_MAX) {
  SHA256 sha(portable);
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(piece, bytes.size())))
    sha.update(bytes.first(std::min(piece, bytes.size())));
  return sha.finish();
}

std::string hash(std::string_view text, bool portable) {
  return hash({reinterpret_cast<const uint8_t *>(text.data()), text.size()},
              portable);
}

/// With and without the processor's instructions.
class SHA256s : public testing::TestWithParam<bool> {};

/// FIPS 180-4's examples.
TEST_P(SHA256s, KnownDigests) {
  EXPECT_EQ(hash("", GetParam()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b"
                                  "934ca495991b7852b855");
  EXPECT_EQ(hash("abc", GetParam()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                 GetParam()),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash(std::string(1000000, 'a'), GetParam()),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/// Every length around the ends of blocks, in pieces of any size, and both
/// implementations alike.
TEST_P(SHA256s, PiecesDoNotMatter) {
  std::vector<uint8_t> bytes;
  for (unsigned i = 0; i < 200; ++i)
    bytes.push_back(uint8_t(i * 37 + (i >> 3)));
  for (size_t length = 0; length <= bytes.size(); ++length) {
    std::span<const uint8_t> data(bytes.data(), length);
    std::string whole = hash(data, /*portable=*/true);
    for (size_t piece : {size_t(1), size_t(7), size_t(64), size_t(65)})
      ASSERT_EQ(hash(data, GetParam(), piece), whole)
          << length << " bytes in pieces of " << piece;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SHA256s, testing::Bool(), [](const auto &info) {
  return info.param ? "Portable" : "Fast";
});

} // namespace
