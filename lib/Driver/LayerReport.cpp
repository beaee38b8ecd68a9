//===- LayerReport.cpp - What became of each layer ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/LayerReport.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace llq;

/// Forwards remarks of an MLIR context.
class LayerReport::Streamer : public remark::detail::MLIRRemarkStreamerBase {
public:
  explicit Streamer(LayerReport &report) : report(report) {}
  void streamOptimizationRemark(const remark::detail::Remark &remark) override;

private:
  LayerReport &report;
};

/// `BitsPerWeight` as `bits_per_weight`.
static std::string toSnakeCase(StringRef name) {
  std::string result;
  for (char c : name) {
    if (llvm::isUpper(c) && !result.empty() && result.back() != '_')
      result += '_';
    result += llvm::toLower(c);
  }
  return result;
}

void LayerReport::Streamer::streamOptimizationRemark(
    const remark::detail::Remark &remark) {
  LayerRecord record;
  record.pass = remark.getCategoryName();
  record.what = remark.getRemarkName();
  for (const remark::detail::Remark::Arg &arg : remark.getArgs()) {
    double number;
    if (arg.key == "Layer")
      record.layer = arg.val;
    else if (!StringRef(arg.val).getAsDouble(number))
      record.values[toSnakeCase(arg.key)] = number;
    else
      record.values[toSnakeCase(arg.key)] = arg.val;
  }
  if (report.listener)
    report.listener(record);
  report.records.push_back(std::move(record));
}

LayerReport::LayerReport(Listener listener) : listener(std::move(listener)) {}

LogicalResult LayerReport::listenTo(MLIRContext &context) {
  // A kind of remark is left out unless it has a filter of its own.
  remark::RemarkCategories every;
  every.analysis = every.missed = "llq-.*";
  return remark::enableOptimizationRemarks(
      context, std::make_unique<Streamer>(*this),
      std::make_unique<remark::RemarkEmittingPolicyAll>(), every);
}

llvm::json::Array LayerReport::toJSON() const {
  llvm::json::Array array;
  for (const LayerRecord &record : records) {
    llvm::json::Object object = record.values;
    object["layer"] = llvm::json::fixUTF8(record.layer);
    object["pass"] = record.pass;
    object["what"] = record.what;
    array.push_back(std::move(object));
  }
  return array;
}
