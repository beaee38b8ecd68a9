//===- SmoothingStrength.h - A number or `search` ---------------*- C++ -*-===//
//
// The strength of llq-smooth as a pass option, checked while it is read.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRANSFORMS_SMOOTHINGSTRENGTH_H
#define LLQ_TRANSFORMS_SMOOTHINGSTRENGTH_H

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Format.h"

#include <optional>

namespace llq {

/// A number from 0 to 1, or nothing for `search`.
struct SmoothingStrength {
  std::optional<double> alpha;

  SmoothingStrength(double alpha = 0.85) : alpha(alpha) {}
};

inline llvm::raw_ostream &operator<<(llvm::raw_ostream &os,
                                     const SmoothingStrength &strength) {
  if (strength.alpha)
    return os << llvm::format("%g", *strength.alpha);
  return os << "search";
}

} // namespace llq

template <>
class llvm::cl::parser<llq::SmoothingStrength>
    : public basic_parser<llq::SmoothingStrength> {
public:
  parser(Option &option) : basic_parser<llq::SmoothingStrength>(option) {}

  /// Returns true on error, having reported it.
  bool parse(Option &option, StringRef name, StringRef text,
             llq::SmoothingStrength &result) {
    if (text == "search") {
      result.alpha.reset();
      return false;
    }
    double alpha;
    if (text.getAsDouble(alpha) || !(alpha >= 0 && alpha <= 1))
      return option.error(
          "'" + text + "' is neither 'search' nor a number from 0 to 1", name);
    result.alpha = alpha;
    return false;
  }

  StringRef getValueName() const override { return "strength"; }

  void printOptionDiff(const Option &option,
                       const llq::SmoothingStrength &value,
                       const OptionValue<llq::SmoothingStrength> &,
                       size_t width) const {
    this->printOptionName(option, width);
    llvm::outs() << "= " << value << "\n";
  }
};

#endif // LLQ_TRANSFORMS_SMOOTHINGSTRENGTH_H
