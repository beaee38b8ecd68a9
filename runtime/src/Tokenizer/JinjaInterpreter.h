//===- JinjaInterpreter.h - Running a chat template -------------*- C++ -*-===//
//
// Evaluates a parsed template with given variables. Filters, tests, methods and
// global functions are in files of their own and know only an Environment.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_JINJAINTERPRETER_H
#define LLQRT_TOKENIZER_JINJAINTERPRETER_H

#include "JinjaSyntax.h"

namespace llqrt::tok::jinja {

/// What built-in functions share with the interpreter that calls them.
struct Environment {
  Budget budget;
  /// The current time in seconds since 1970.
  int64_t now = 0;
  /// All namespaces that were made. They may refer to each other in circles,
  /// which end when the interpreter empties them.
  std::vector<std::shared_ptr<Dict>> namespaces;
};

/// `operand | name(arguments)`. Error if there is no such filter.
Value applyFilter(const std::string &name, const Value &operand,
                  const Arguments &arguments, Environment &environment);

/// `operand is name(arguments)`. Error if there is no such test.
bool applyTest(const std::string &name, const Value &operand,
               const Arguments &arguments);

/// `object.name`: a method or an entry of a mapping; undefined if neither.
Value attribute(const Value &object, const std::string &name,
                Environment &environment);

/// range, namespace, dict, raise_exception and strftime_now.
Dict globalFunctions(Environment &environment);

/// Runs `body` and returns what it writes. Throws Error with a line number.
std::string render(const Body &body, Dict variables, int64_t now);

} // namespace llqrt::tok::jinja

#endif // LLQRT_TOKENIZER_JINJAINTERPRETER_H
