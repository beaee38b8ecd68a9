//===- Method.h - All of MLIR that a quantization method needs --*- C++ -*-===//
//
// A method chooses values; this driver does the rest: it walks the linear
// layers in network order, reads their weights in blocks of rows whether they
// are in a file or in the IR, stores what the method returns in a format, frees
// what it replaced, measures the error and records where the values came from.
// See docs/AddingAQuantizationPass.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_QUANTIZE_METHOD_H
#define LLQ_QUANTIZE_METHOD_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Calibration/InputStatistics.h"
#include "llq/Numerics/Statistics.h"
#include "llq/Numerics/UniformGrid.h"
#include "llq/Support/BoundedInt.h"
#include "llq/Support/WeightData.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llq {

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

/// The options that QuantPass.td gives every method, and which method it is.
struct WeightOptions {
  /// Grid of the decoder's linear layers; the embedding and the head have their
  /// own bits and otherwise the same grid.
  numerics::UniformGridOptions grid;
  int64_t embeddingBits = 0, headBits = 0; ///< 0: not quantized
  /// Whether a layer's own bits (`llq.bits`) take the place of the grid's.
  bool hasLayerBits = true;
  llvm::SmallVector<std::string> only, except;
  std::string method;  ///< `rtn` of `llq-quantize-rtn`
  std::string options; ///< all options of the pass, as in a pipeline
};

/// All options of `pass`, as a pipeline's text has them.
std::string getOptionText(mlir::Pass &pass);

namespace detail {
/// Adds the method and the text of its options; `symmetric` settles the scheme.
mlir::FailureOr<WeightOptions> finishOptions(mlir::Pass &pass,
                                             mlir::ModuleOp module,
                                             WeightOptions options,
                                             bool symmetric = false);

/// The options that td generates are protected members of the pass; naming them
/// through a derived class is what makes them accessible.
template <typename Pass> struct OptionAccess : Pass {
  static void getLayerOptions(Pass &pass, WeightOptions &result) {
    result.embeddingBits = pass.*&OptionAccess::embeddingBits;
    result.headBits = pass.*&OptionAccess::headBits;
    llvm::append_range(result.only, pass.*&OptionAccess::only);
    llvm::append_range(result.except, pass.*&OptionAccess::except);
  }
  static void getGroupOptions(Pass &pass, WeightOptions &result) {
    result.grid.bits = unsigned(int64_t(pass.*&OptionAccess::bits));
    result.grid.groupSize = pass.*&OptionAccess::groupSize;
  }
  static void getGridOptions(Pass &pass, WeightOptions &result) {
    getGroupOptions(pass, result);
    result.grid.scheme = pass.*&OptionAccess::scheme;
    result.grid.scaleType = pass.*&OptionAccess::scaleType;
    result.grid.clip = pass.*&OptionAccess::clip;
  }
  static bool isSymmetric(Pass &pass) { return pass.*&OptionAccess::symmetric; }
};
} // namespace detail

/// The shared options of `pass`, whose td says `weightOptions`. Fails with an
/// error at `module` if they contradict each other.
template <typename Pass>
mlir::FailureOr<WeightOptions> getWeightOptions(Pass &pass,
                                                mlir::ModuleOp module) {
  using Access = detail::OptionAccess<Pass>;
  WeightOptions options;
  Access::getLayerOptions(pass, options);
  Access::getGridOptions(pass, options);
  return detail::finishOptions(pass, module, std::move(options),
                               Access::isSymmetric(pass));
}

/// The same for a pass whose td says `groupOptions # layerOptions`: a method
/// that has its own grid of `bits` and `group-size`.
template <typename Pass>
mlir::FailureOr<WeightOptions> getGroupOptions(Pass &pass,
                                               mlir::ModuleOp module) {
  using Access = detail::OptionAccess<Pass>;
  WeightOptions options;
  Access::getLayerOptions(pass, options);
  Access::getGroupOptions(pass, options);
  return detail::finishOptions(pass, module, std::move(options));
}

/// The same for a pass whose td says `layerOptions`: a method that has no
/// choice of a grid and sets `options.grid` itself.
template <typename Pass>
mlir::FailureOr<WeightOptions> getLayerOptions(Pass &pass,
                                               mlir::ModuleOp module) {
  WeightOptions options;
  options.hasLayerBits = false;
  detail::OptionAccess<Pass>::getLayerOptions(pass, options);
  return detail::finishOptions(pass, module, std::move(options));
}

//===----------------------------------------------------------------------===//
// Layers and their quantized weights
//===----------------------------------------------------------------------===//

/// One linear layer, or the embedding table, as a method sees it.
class LinearLayer {
public:
  LinearLayer(mlir::Operation *op, llvm::StringRef name, mlir::TypedAttr weight,
              numerics::UniformGridOptions grid, WeightReader &reader,
              std::shared_ptr<const InputStatistics> statistics = nullptr);

  /// E.g. `layers.3.self_attn.q_proj`.
  llvm::StringRef getName() const { return name; }
  /// Whether it is the embedding table or the head, which have bits of their
  /// own.
  bool isTable() const { return name == kEmbeddingName || name == kHeadName; }
  /// Output features N and input features K of `w[N,K]`.
  int64_t getRows() const { return type.getDimSize(0); }
  int64_t getColumns() const { return type.getDimSize(1); }
  /// N of the layer that one of a dry run stands for, which has fewer rows.
  int64_t getModelRows() const;
  bool hasBias() const;
  /// The grid that the user asked for in this layer.
  const numerics::UniformGridOptions &getGrid() const { return grid; }
  mlir::Location getLoc() const { return op->getLoc(); }
  mlir::MLIRContext *getContext() const { return op->getContext(); }
  /// Statistics of the layer's inputs, one object for all layers that read the
  /// same; null for the embedding, and where the method asks for none.
  const std::shared_ptr<const InputStatistics> &getStatistics() const {
    return statistics;
  }

  /// Whether the layer stands for one of a dry run, whose inputs cannot be
  /// computed.
  bool isSketch() const;

  /// Reads rows [begin, end) as f32 into `out[end - begin, K]`. Fails if the
  /// data is not there or a weight is NaN or infinite. Callable from several
  /// threads.
  llvm::Error readRows(int64_t begin, int64_t end,
                       llvm::MutableArrayRef<float> out) const;

  /// An error that names the layer: `emitError() << "has no statistics"`.
  mlir::InFlightDiagnostic emitError() const;

private:
  mlir::Operation *op;
  llvm::StringRef name;
  mlir::TypedAttr weight;
  mlir::RankedTensorType type;
  numerics::UniformGridOptions grid;
  WeightReader &reader;
  std::shared_ptr<const InputStatistics> statistics;
};

/// What a method returns: a format and the bytes of its components.
class QuantizedWeight {
public:
  /// Zeroed components of `w[n,k]`. Emits an error at `layer` if the format
  /// cannot store such a matrix or memory is short.
  static mlir::FailureOr<QuantizedWeight> create(const LinearLayer &layer,
                                                 WeightFormatInterface format);

  int64_t getRows() const { return rows; }
  int64_t getColumns() const { return columns; }
  WeightFormatInterface getFormat() const { return format; }
  /// Components as `getFormat().getComponents(n, k)` lists them.
  llvm::ArrayRef<WeightComponent> getComponents() const { return components; }
  /// Bytes of component `index`.
  llvm::MutableArrayRef<char> getData(size_t index);

  /// The channel of the layer's input, and column of its weight, that column j
  /// stands for; empty: channel j. The driver puts llq.permute_channels in
  /// front of the layer, one for all layers of a site that have the same order.
  std::vector<int32_t> inputOrder;
  /// Puts rows `values[rows, K]` of the layer's weight in that order.
  void permuteColumns(llvm::MutableArrayRef<float> values) const;

  /// The bases that the matrix is stored in: that of its input, with `scale` in
  /// front if it is not empty, and that of its result. The driver puts
  /// llq.rotate in front of the layer and behind it; with an order of the
  /// inputs, the order is that of the rotated ones. A layer with a bias has no
  /// basis of its result.
  RotationAttr inputRotation, outputRotation;
  std::vector<float> inputScale; ///< exact in f16

  /// Error against the source weight. The driver measures it if the method has
  /// not.
  std::optional<numerics::ErrorStatistics> error;
  /// What else the method says of the result; it is kept with the layer and
  /// reported. Names are `snake_case`.
  struct Figure {
    llvm::StringLiteral name;
    double value;
  };
  llvm::SmallVector<Figure, 2> figures;

  /// Adds the least and the largest scale of some groups, and the number of
  /// weights that their grids cannot reach. From several threads.
  void addRange(float scaleMin, float scaleMax, int64_t clipped);

private:
  /// Moves the data to resource blobs `<name>.<component>` and returns the
  /// components of an llq.quantized_weight.
  mlir::DictionaryAttr takeComponents(llvm::StringRef name);
  friend class LayerRewriter;

  int64_t rows, columns;
  WeightFormatInterface format;
  llvm::SmallVector<WeightComponent, 3> components;
  llvm::SmallVector<mlir::AsmResourceBlob, 3> blobs;
  float scaleMin = std::numeric_limits<float>::infinity();
  float scaleMax = -std::numeric_limits<float>::infinity();
  int64_t clipped = 0;
};

//===----------------------------------------------------------------------===//
// Drivers
//===----------------------------------------------------------------------===//

/// Quantizes one layer. Has emitted an error if it fails.
using QuantizeLayerFn =
    llvm::function_ref<mlir::FailureOr<QuantizedWeight>(const LinearLayer &)>;

/// Calls `quantize` for every layer that `options` choose, in network order,
/// and replaces the layer's weight by the result. A weight that several layers
/// share (a tied embedding and head) is quantized and stored once.
///
/// Fails with one error if a layer is quantized already, a glob matches
/// nothing, or `quantize` fails.
mlir::LogicalResult quantizeLayers(mlir::ModuleOp module,
                                   const WeightOptions &options,
                                   QuantizeLayerFn quantize);

/// What calibration samples run through on their way to a layer.
enum class CalibrationInputs {
  Quantized, ///< the layers quantized so far
  Original,  ///< the model as it was
};

/// What a method that calibrates needs.
struct CalibrationOptions {
  /// The second moment of inputs, besides the statistics per channel.
  bool secondMoment = true;
  CalibrationInputs inputs = CalibrationInputs::Quantized;
  /// Whether quantized inputs come out of the quantized layers of the layer's
  /// own decoder block too, not only of the blocks in front of it.
  bool trueSequential = true;
  /// Least share of the first tokens of all samples in the second moment.
  double firstTokenShare = 0;
  /// The inputs themselves of about so many tokens.
  int64_t sampleTokens = 0;
};

/// The same as quantizeLayers for methods that need statistics of each layer's
/// inputs: those that the layers carry as `llq.stats`, or those of a run over
/// the module's calibration samples. Layers that read the same follow each
/// other. Without statistics are the embedding, which has no inputs, and the
/// layers of a dry run: a method rounds them to nearest.
mlir::LogicalResult
quantizeCalibratedLayers(mlir::ModuleOp module, const WeightOptions &options,
                         const CalibrationOptions &calibration,
                         QuantizeLayerFn quantize);

/// A block of consecutive rows of a layer.
struct RowBlock {
  int64_t begin, end;
  int64_t columns;
  llvm::ArrayRef<float> weights; ///< [end - begin, columns]

  int64_t rows() const { return end - begin; }
};

/// For methods that treat rows independently: calls `quantize` for blocks of
/// rows, in parallel, to fill these rows of the components of `result`, and
/// measures the error on the way. Blocks do not depend on the number of
/// threads. Emits one error at `layer`, that of the first block that fails.
mlir::LogicalResult
quantizeRowBlocks(const LinearLayer &layer, QuantizedWeight &result,
                  llvm::function_ref<llvm::Error(const RowBlock &)> quantize);

} // namespace llq

#endif // LLQ_QUANTIZE_METHOD_H
