//===- MakeTestModel.cpp - Writes the tests' model to a file --------------===//
//
// llqrt-make-test-model OUT.llq: what programs under test need that are not in
// the test's own process.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

#include <cstdio>

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  std::vector<std::byte> bytes = llqrt::test::TestModel().build();
  std::FILE *file = std::fopen(argv[1], "wb");
  return file &&
                 std::fwrite(bytes.data(), 1, bytes.size(), file) ==
                     bytes.size() &&
                 std::fclose(file) == 0
             ? 0
             : 1;
}
