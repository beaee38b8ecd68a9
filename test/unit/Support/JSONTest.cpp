//===- JSONTest.cpp - JSON out of files of any origin ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/JSON.h"

#include "llvm/Support/FormatVariadic.h"

#include "gtest/gtest.h"

using namespace llq;

static std::string parse(const std::string &text) {
  llvm::Expected<llvm::json::Value> value = parseJSON(text);
  if (!value)
    return llvm::toString(value.takeError());
  return llvm::formatv("{0}", *value);
}

TEST(JSONTest, DepthIsBounded) {
  EXPECT_EQ(parse("[{\"a\":[1]}]"), "[{\"a\":[1]}]");
  std::string deep(1000, '[');
  EXPECT_NE(parse(deep), "nested too deeply");
  EXPECT_EQ(parse(deep + "["), "nested too deeply");
  EXPECT_EQ(parse(std::string(1000000, '{')), "nested too deeply");
  // Side by side they are not deep.
  std::string wide = "[0";
  for (int i = 0; i < 2000; ++i)
    wide += ",[]";
  EXPECT_EQ(parse(wide + "]"), wide + "]");
}

TEST(JSONTest, BracketsInStringsCountNothing) {
  std::string text = "\"\\\"" + std::string(2000, '[') + "\"";
  EXPECT_EQ(parse(text), text);
}
