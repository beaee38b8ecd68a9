//===- TestPasses.h - Passes that only tests need ---------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef TEST_LIB_TESTPASSES_H
#define TEST_LIB_TESTPASSES_H

namespace llq::test {

/// Registers the passes whose names start with llq-test-.
void registerTestPasses();

} // namespace llq::test

#endif // TEST_LIB_TESTPASSES_H
