//===- ModelOptions.h - Options for opening and running models --*- C++ -*-===//
//
// The options that llq-run, llq-eval, llq-bench and llq-inspect share.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_MODELOPTIONS_H
#define LLQ_TOOLS_SUPPORT_MODELOPTIONS_H

#include "llqrt/Session.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

namespace llq::tools {

/// How to open a model.
struct ModelOptions {
  std::string path;
  std::string verify = "header";
  std::string weights = "map";

  /// `required`: the file must be named.
  void addTo(CLI::App &app, bool required = true);
  llqrt::Status open(std::shared_ptr<const llqrt::Model> &model) const;
};

/// How to run one.
struct ThreadOptions {
  unsigned threads = 0;
  bool pin = false;

  void addTo(CLI::App &app);
  /// Adds these to `options`.
  void apply(llqrt::SessionOptions &options) const;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_MODELOPTIONS_H
