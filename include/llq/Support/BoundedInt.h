//===- BoundedInt.h - Pass options that check their range -------*- C++ -*-===//
//
// An integer option whose type states its range, so that a value out of range
// is refused while the command line or pipeline is read, by name, and no pass
// has to check it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_BOUNDEDINT_H
#define LLQ_SUPPORT_BOUNDEDINT_H

#include "llvm/Support/CommandLine.h"

#include <cassert>
#include <cstdint>
#include <limits>
#include <string>

namespace llq {

/// An integer in [Min, Max], or `Other`. As the type of a pass option:
/// `Option<"bits", "bits", "::llq::BoundedInt<2, 8>", "4", "...">`.
template <int64_t Min, int64_t Max = std::numeric_limits<int64_t>::max(),
          int64_t Other = Min>
class BoundedInt {
public:
  BoundedInt(int64_t value = Other) : value(value) {
    assert(isValid(value) && "value out of the range of its type");
  }
  operator int64_t() const { return value; }

  static bool isValid(int64_t value) {
    return (value >= Min && value <= Max) || value == Other;
  }

private:
  int64_t value;
};

} // namespace llq

template <int64_t Min, int64_t Max, int64_t Other>
class llvm::cl::parser<llq::BoundedInt<Min, Max, Other>>
    : public basic_parser<llq::BoundedInt<Min, Max, Other>> {
  using Value = llq::BoundedInt<Min, Max, Other>;

public:
  parser(Option &option) : basic_parser<Value>(option) {}

  /// Returns true on error, having reported it.
  bool parse(Option &option, StringRef name, StringRef text, Value &result) {
    int64_t value;
    if (text.getAsInteger(10, value) || !Value::isValid(value)) {
      bool bounded = Max != std::numeric_limits<int64_t>::max();
      std::string message = "'" + text.str() + "' is not ";
      if (Other != Min)
        message += std::to_string(Other) + " or ";
      message += bounded ? "a number from " : "a number of at least ";
      message += std::to_string(Min);
      if (bounded)
        message += " to " + std::to_string(Max);
      return option.error(message, name);
    }
    result = value;
    return false;
  }

  StringRef getValueName() const override { return "int"; }

  void printOptionDiff(const Option &option, const Value &value,
                       const OptionValue<Value> &, size_t width) const {
    this->printOptionName(option, width);
    llvm::outs() << "= " << int64_t(value) << "\n";
  }
};

#endif // LLQ_SUPPORT_BOUNDEDINT_H
