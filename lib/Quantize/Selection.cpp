//===- Selection.cpp - Which weights a method gets ------------------------===//
//
// Options, globs on layer names, and weights that several layers share.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Selection.h"

#include "llq/Support/Globs.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace llq;

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

static InFlightDiagnostic emitOptionError(ModuleOp module,
                                          const WeightOptions &options) {
  return module.emitError("llq-quantize-") << options.method << ": ";
}

std::string llq::getOptionText(Pass &pass) {
  // `llq-quantize-rtn{bits=4 ...}`: what is in the braces, less the blanks that
  // empty lists leave.
  std::string text;
  llvm::raw_string_ostream stream(text);
  pass.printAsTextualPipeline(stream);
  auto isBlankPair = [](char a, char b) { return a == ' ' && b == ' '; };
  text.erase(llvm::unique(text, isBlankPair), text.end());
  return StringRef(text).split('{').second.drop_back().trim().str();
}

FailureOr<WeightOptions> llq::detail::finishOptions(Pass &pass, ModuleOp module,
                                                    WeightOptions options,
                                                    bool symmetric) {
  StringRef method = pass.getArgument();
  method.consume_front("llq-quantize-");
  options.method = method.str();

  // Pipelines print every option, so the default of each has to go with every
  // value of the other.
  if (symmetric) {
    if (options.grid.scheme == numerics::GridScheme::Signed)
      return emitOptionError(module, options)
             << "symmetric=true contradicts scheme=signed, give one of them";
    options.grid.scheme = numerics::GridScheme::Symmetric;
  }

  options.options = getOptionText(pass);
  return options;
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

const WeightUse *SelectedWeight::findTable() const {
  auto table = llvm::find_if(
      uses, [](const WeightUse &use) { return isa<EmbeddingOp>(use.op); });
  return table == uses.end() ? nullptr : table;
}

/// Every linear layer and embedding of the module, in network order.
static SmallVector<WeightUse> collectUses(ModuleOp module) {
  SmallVector<WeightUse> uses;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (auto linear = dyn_cast<LinearOp>(op))
      uses.push_back({op, &linear.getWeightMutable(), linear.getName()});
    else if (auto embedding = dyn_cast<EmbeddingOp>(op))
      uses.push_back({op, &embedding.getTableMutable(), kEmbeddingName});
  });
  return uses;
}

/// The source weight of a use, or null if it is not an llq.weight.
static TypedAttr getSource(const WeightUse &use) {
  auto weight = use.operand->get().getDefiningOp<WeightOp>();
  return weight ? weight.getValue() : TypedAttr();
}

static LogicalResult reportUnusable(const WeightUse &use) {
  InFlightDiagnostic error = use.op->emitOpError("\"") << use.name << "\" ";
  if (auto type = dyn_cast<QuantizedType>(use.operand->get().getType())) {
    error << "is quantized already, as " << type.getFormat();
    error.attachNote() << "exclude it with except=" << use.name
                       << " or run llq-dequantize first";
    return error;
  }
  return error << "has a weight that is not an llq.weight";
}

/// An embedding and a head that share a table are stored once, so that the bits
/// of one count for both. `chosen`: by name.
static LogicalResult tieBits(ArrayRef<WeightUse> uses, ArrayRef<bool> chosen,
                             MutableArrayRef<int64_t> bits) {
  for (auto [embedding, embeddingChosen, embeddingBits] :
       llvm::zip_equal(uses, chosen, bits)) {
    TypedAttr table = getSource(embedding);
    if (!isa<EmbeddingOp>(embedding.op) || !table)
      continue;
    for (auto [head, headChosen, headBits] :
         llvm::zip_equal(uses, chosen, bits)) {
      if (head.name != kHeadName || getSource(head) != table)
        continue;
      if (embeddingChosen != headChosen && (embeddingBits || headBits))
        return head.op->emitOpError("\"")
               << head.name << "\" shares its weight with " << kEmbeddingName
               << ", only and except choose both or neither of them";
      if (embeddingBits && headBits && embeddingBits != headBits)
        return head.op->emitOpError("\"")
               << head.name << "\" shares its weight with the embedding, but "
               << "embedding-bits is " << embeddingBits << " and head-bits "
               << headBits;
      embeddingBits = headBits = std::max(embeddingBits, headBits);
    }
  }
  return success();
}

FailureOr<SmallVector<SelectedWeight>>
llq::selectWeights(ModuleOp module, const WeightOptions &options, bool report) {
  SmallVector<WeightUse> uses = collectUses(module);
  if (uses.empty())
    return emitOptionError(module, options)
           << "found no llq.linear to quantize, the normal form of a model is "
              "needed";

  auto emitError = [&] { return emitOptionError(module, options); };
  Globs only("only"), except("except");
  if (failed(only.compile(options.only, emitError)) ||
      failed(except.compile(options.except, emitError)))
    return failure();
  SmallVector<bool> isChosen;
  SmallVector<int64_t> bits;
  for (const WeightUse &use : uses) {
    bool chosen = only.match(use.name) || only.empty();
    chosen &= !except.match(use.name);
    isChosen.push_back(chosen);
    int64_t wanted = isa<EmbeddingOp>(use.op) ? options.embeddingBits
                     : use.name == kHeadName  ? options.headBits
                                              : options.grid.bits;
    if (auto allocated = use.op->getAttrOfType<IntegerAttr>(kBitsAttr)) {
      if (chosen && !options.hasLayerBits)
        return use.op->emitOpError("\"")
               << use.name << "\" has " << kBitsAttr << " = "
               << allocated.getInt() << ", but llq-quantize-" << options.method
               << " takes no bits per layer, as --fit chooses them: use "
                  "rtn, hqq, gptq or awq";
      wanted = allocated.getInt();
    }
    bits.push_back(chosen ? wanted : 0);
  }
  if (failed(only.checkAllMatched(emitError)) ||
      failed(except.checkAllMatched(emitError)) ||
      failed(tieBits(uses, isChosen, bits)))
    return failure();

  std::string category = "llq-quantize-" + options.method;
  llvm::MapVector<std::pair<Attribute, int64_t>, SelectedWeight> selected;
  for (auto [use, useBits] : llvm::zip_equal(uses, bits)) {
    if (useBits == 0) {
      if (report)
        remark::missed(
            use.op->getLoc(),
            remark::RemarkOpts::name("NotQuantized").category(category))
            << remark::metric("Layer", use.name)
            << remark::reason("it keeps its source type");
      continue;
    }
    TypedAttr source = getSource(use);
    if (!source)
      return reportUnusable(use);
    SelectedWeight &weight = selected[{source, useBits}];
    weight.value = source;
    weight.bits = useBits;
    weight.uses.push_back(use);
  }
  if (selected.empty()) {
    InFlightDiagnostic error = emitError() << "no layer is left to quantize";
    error.attachNote() << "the embedding and the head keep their source type "
                          "unless embedding-bits and head-bits say otherwise";
    return error;
  }
  return llvm::map_to_vector(
      selected, [](auto &entry) { return std::move(entry.second); });
}
