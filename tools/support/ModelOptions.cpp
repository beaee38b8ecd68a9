//===- ModelOptions.cpp - Options for opening and running models ----------===//
//
// See ModelOptions.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/ModelOptions.h"

using namespace llq::tools;
using llqrt::Status;

void ModelOptions::addTo(CLI::App &app, bool required) {
  auto *model = app.add_option("model", path, "Model file (.llq)");
  if (required)
    model->required();
  app.add_option("--verify", verify,
                 "What to compare with checksums before anything runs: header "
                 "(header, program, tables, code) or full (weights too)")
      ->check(CLI::IsMember({"header", "full"}))
      ->capture_default_str();
  app.add_option("--weights", weights,
                 "map: use the weights in the mapped file; copy: copy them to "
                 "huge pages, for systems that do not map files in huge pages")
      ->check(CLI::IsMember({"map", "copy"}))
      ->capture_default_str();
}

Status ModelOptions::open(std::shared_ptr<const llqrt::Model> &model) const {
  if (path.empty())
    return Status::invalidArgument("give a model file; see --help");
  llqrt::OpenOptions options;
  if (verify == "full")
    options.verify = LLQRT_VERIFY_FULL;
  if (weights == "copy")
    options.weights = LLQRT_WEIGHTS_COPY;
  return llqrt::Model::open(path, options, model);
}

void ThreadOptions::addTo(CLI::App &app) {
  app.add_option("--threads", threads,
                 "Threads to use; one per physical core if not given")
      ->check(CLI::Range(1u, 1024u));
  app.add_flag("--pin", pin, "Keep each thread on one core");
}

void ThreadOptions::apply(llqrt::SessionOptions &options) const {
  options.threads = threads;
  options.pinThreads = pin;
}
