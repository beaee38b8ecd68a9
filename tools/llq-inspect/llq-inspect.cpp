//===- llq-inspect.cpp - What is inside a model file ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Describe.h"

#include "support/ModelOptions.h"
#include "support/Tool.h"

using namespace llq::tools;
using llqrt::Status;

int main(int argc, char **argv) {
  Tool tool("llq-inspect",
            "Shows what a model file holds: shape, formats, bytes and bits per "
            "weight, kernels, provenance.",
            "  llq-inspect model.llq\n"
            "  llq-inspect model.llq --program\n"
            "  llq-inspect model.llq --json | jq .bits_per_weight");
  ModelOptions options;
  bool json = false, program = false;
  options.addTo(tool.app);
  tool.app.add_flag("--program", program,
                    "Show the buffers and dispatches of each target too");
  tool.app.add_flag("--json", json, "Print one JSON object");
  return tool.run(argc, argv, [&]() -> Status {
    std::shared_ptr<const llqrt::Model> model;
    LLQRT_RETURN_IF_ERROR(options.open(model));
    if (json)
      return printJson(describe(model->info(), program));
    printSummary(options.path, model->info());
    if (program)
      printPrograms(model->info());
    return {};
  });
}
