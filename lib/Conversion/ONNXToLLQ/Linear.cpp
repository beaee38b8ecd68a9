//===- Linear.cpp - Matrices, linear layers and embeddings ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

using namespace mlir;
using namespace llq;
using namespace llq::raise;

static Result<std::vector<AbstractValue>> asValues(Result<Activation> result) {
  if (!result)
    return Error{result.message()};
  return std::vector<AbstractValue>{std::move(*result)};
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

Result<Slice> Evaluator::getMatrix(const Activation &activation) {
  if (activation.terms.size() != 1 || activation.constant)
    return Error{"uses " + describe(activation) +
                 " in a sum that no step of a LLaMA decoder makes"};
  const Term &term = activation.terms[0];
  if (activation.shape.empty() || countElements(activation.shape) == 0)
    return Error{"uses an empty activation"};
  int64_t width = activation.shape.back();
  int64_t numRows = countElements(activation.shape) / width;

  Slice slice;
  if (!term.addresses) {
    const Root &root = getRoot(term.root);
    if (root.shape.size() != 2 || root.shape[1] != width)
      return Error{"uses " + describe(activation) + " in rows of " +
                   std::to_string(width) + " instead of " +
                   std::to_string(root.shape.back())};
    slice = {term.root, 0, width};
  } else {
    const int64_t *address = term.addresses.data<int64_t>();
    RootId id = getRootOf(address[0]);
    if (address[0] == kNoElement || getRoot(id).shape.size() != 2)
      return Error{"uses " + describe(activation) + " as if it were rows"};
    int64_t columns = getRoot(id).shape[1];
    slice = {id, getIndexOf(address[0]) % columns, width};
    std::vector<int64_t> selected;
    for (int64_t row = 0; row < numRows; ++row, address += width) {
      int64_t first = getIndexOf(address[0]);
      if (address[0] == kNoElement || getRootOf(address[0]) != id ||
          first % columns != slice.begin || slice.begin + width > columns)
        return Error{"mixes rows or columns of " + describe(activation)};
      for (int64_t i = 1; i < width; ++i)
        if (address[i] != address[0] + i)
          return Error{"mixes columns of " + describe(activation)};
      if (!selected.empty() && first / columns <= selected.back())
        return Error{"reorders tokens"};
      selected.push_back(first / columns);
    }
    if (numRows != getRoot(id).shape[0]) {
      const Root &all = getRoot(id);
      Root part(Root::Kind::Rows);
      part.shape = {numRows, width};
      part.op = all.op;
      part.inputs = {slice};
      auto rows = std::make_shared<std::vector<int64_t>>();
      for (int64_t row : selected)
        rows->push_back((*all.rows)[row]);
      part.rows = rows;
      slice = {findOrAddRoot(std::move(part)).terms[0].root, 0, width};
    }
  }
  const Root &source = getRoot(skipRows(slice).root);
  if (source.kind == Root::Kind::Normalized) {
    if (getRoot(slice.root).kind == Root::Kind::Rows) {
      // Select rows of the norm instead of normalizing selected rows.
      Result<Slice> norm = getWeightedNorm(activation, skipRows(slice));
      if (!norm)
        return norm;
      Root part = getRoot(slice.root);
      part.inputs = {*norm};
      return Slice{findOrAddRoot(std::move(part)).terms[0].root, 0, width};
    }
    return getWeightedNorm(activation, slice);
  }
  if (term.coefficients)
    return Error{"scales " + describe(activation) +
                 ", which no step of a LLaMA decoder does"};
  return slice;
}

Slice Evaluator::skipRows(Slice slice) const {
  while (getRoot(slice.root).kind == Root::Kind::Rows) {
    const Slice &inner = getRoot(slice.root).inputs[0];
    slice.root = inner.root;
    slice.begin += inner.begin;
  }
  return slice;
}

//===----------------------------------------------------------------------===//
// Linear layers
//===----------------------------------------------------------------------===//

Result<WeightSource> Evaluator::getWeight(const AbstractValue &value) {
  WeightSource source;
  if (auto *dequantized = std::get_if<Dequantized>(&value))
    return WeightSource::of(dequantized->matrix);
  if (auto *unread = std::get_if<Unread>(&value)) {
    source = WeightSource::of(unread->view);
  } else if (auto *known = std::get_if<Known>(&value)) {
    if (!known->isConstant)
      return Error{"multiplies activations by something that depends on their "
                   "positions"};
    if (known->view) {
      source = WeightSource::of(*known->view);
    } else {
      Result<Tensor> wide = toFloat(known->tensor);
      if (!wide)
        return Error{wide.message()};
      source = WeightSource::of(*wide);
    }
  } else {
    return Error{"has no constant weight"};
  }
  if (source.view && source.view->type != ElementType::Float32 &&
      source.view->type != ElementType::Float16 &&
      source.view->type != ElementType::BFloat16)
    return Error{"has a weight of type " +
                 std::string(interp::elementTypeName(source.view->type)) +
                 ", needed are f16, bf16 or f32"};
  // Leading dimensions of size 1 are batches of one.
  Shape shape = source.getShape();
  while (shape.size() > 2 && shape.front() == 1)
    shape.erase(shape.begin());
  if (shape.size() != 2 || shape[0] <= 0 || shape[1] <= 0)
    return Error{"has a weight of shape " + toString(source.getShape()) +
                 ", a matrix is needed"};
  if (source.view) {
    source.view = source.view->reshaped(shape);
  } else {
    Result<Tensor> matrix = source.computed.reshaped(shape);
    if (!matrix)
      return Error{matrix.message()};
    source.computed = *matrix;
  }
  return source;
}

/// A weight [K, N] as [N, K].
static Result<WeightSource> transposeWeight(WeightSource weight) {
  if (weight.view)
    return WeightSource::of(weight.view->transposed({1, 0}));
  if (weight.dequantized)
    return WeightSource::of(weight.dequantized->transposed());
  interp::Attributes attributes;
  attributes["perm"] = std::vector<int64_t>{1, 0};
  Result<Tensor> transposed =
      compute("Transpose", {&weight.computed}, attributes);
  if (!transposed)
    return Error{transposed.message()};
  return WeightSource::of(*transposed);
}

Result<Activation> Evaluator::linear(const Activation &input,
                                     WeightSource weight, Operation *op) {
  Result<Slice> matrix = getMatrix(input);
  if (!matrix)
    return Error{matrix.message()};
  if (weight.dequantized && weight.dequantized->blockAxis != 1) {
    // Blocks of outputs: no format has these.
    Result<Known> values = getKnown(Dequantized{*weight.dequantized});
    if (!values)
      return Error{values.message()};
    weight = WeightSource::of(values->tensor);
  }
  Shape size = weight.getShape();
  if (size[1] != matrix->width)
    return Error{"multiplies rows of " + std::to_string(matrix->width) +
                 " by a weight for rows of " + std::to_string(size[1])};
  Root root(Root::Kind::Linear);
  root.shape = {getRoot(matrix->root).shape[0], size[0]};
  root.rows = getRoot(matrix->root).rows;
  root.op = op;
  root.inputs = {*matrix};
  root.weight = std::move(weight);
  Shape shape = input.shape;
  shape.back() = size[0];
  return reshape(addRoot(std::move(root)), shape);
}

Result<Activation> Evaluator::addBias(const Activation &value,
                                      const Known &bias, Operation *op) {
  if (!value.isPlain() || !bias.isConstant)
    return Error{"adds something that is no bias"};
  Result<Slice> matrix = getMatrix(value);
  if (!matrix)
    return Error{matrix.message()};
  const Root &layer = getRoot(matrix->root);
  if (layer.kind != Root::Kind::Linear || layer.bias ||
      bias.tensor.numElements() != matrix->width ||
      bias.tensor.shape().empty() ||
      bias.tensor.shape().back() != matrix->width)
    return Error{"adds a bias to " + describe(value)};
  Root root = layer;
  root.op = op;
  root.shape[1] = matrix->width;
  root.weight = layer.weight.sliceRows(matrix->begin, matrix->width);
  std::optional<WeightView> view;
  if (bias.view)
    view = bias.view->reshaped({matrix->width});
  if (view) {
    root.bias = WeightSource::of(std::move(*view));
  } else {
    Result<Tensor> wide = toFloat(bias.tensor);
    if (wide)
      wide = wide->reshaped({matrix->width});
    if (!wide)
      return Error{wide.message()};
    root.bias = WeightSource::of(*wide);
  }
  return reshape(addRoot(std::move(root)), value.shape);
}

Result<Activation> Evaluator::matMul(const AbstractValue &a,
                                     const AbstractValue &b, Operation *op) {
  auto *x = std::get_if<Activation>(&a), *y = std::get_if<Activation>(&b);
  if (!x)
    return Error{"multiplies a weight by activations from the right"};
  if (!y) {
    Result<WeightSource> weight = getWeight(b);
    if (weight)
      weight = transposeWeight(std::move(*weight));
    if (!weight)
      return Error{weight.message()};
    return linear(*x, std::move(*weight), op);
  }
  // Two activations: queries and keys, or probabilities and values.
  bool isProbability = false;
  if (x->terms.size() == 1) {
    const Term &term = x->terms[0];
    RootId id = term.root;
    if (term.addresses && term.addresses.numElements() &&
        term.addresses.data<int64_t>()[0] != kNoElement)
      id = getRootOf(term.addresses.data<int64_t>()[0]);
    isProbability = getRoot(id).kind == Root::Kind::Probabilities;
  }
  return isProbability ? weighValues(*x, *y, op) : scores(*x, *y, op);
}

Result<Evaluator::Values> Evaluator::ruleMatMul(Node &node) {
  return asValues(matMul(node.input(0), node.input(1), node.op));
}

/// With the last two dimensions exchanged.
static Shape swapLast(size_t rank) {
  Shape permutation(rank);
  for (size_t i = 0; i < rank; ++i)
    permutation[i] = int64_t(i);
  std::swap(permutation[rank - 1], permutation[rank - 2]);
  return permutation;
}

Result<Evaluator::Values> Evaluator::ruleFusedMatMul(Node &node) {
  if (node.getInt("transBatchA", 0) || node.getInt("transBatchB", 0))
    return Error{"exchanges batch dimensions"};
  for (auto [i, name] : {std::pair(0u, "transA"), std::pair(1u, "transB")}) {
    if (!node.getInt(name, 0))
      continue;
    if (const Activation *value = node.activation(i)) {
      if (value->shape.size() < 2)
        return Error{"transposes a vector"};
      Result<Activation> transposed =
          transpose(*value, swapLast(value->shape.size()));
      if (!transposed)
        return asValues(transposed);
      node.inputs[i] = std::move(*transposed);
    } else if (i == 1) {
      // matMul turns [K, N] to [N, K]; here it is so already.
      const Activation *input = node.activation(0);
      Result<WeightSource> weight = getWeight(node.input(1));
      if (!input || !weight)
        return Error{input ? weight.message() : "has no activation"};
      Result<Activation> result = linear(*input, std::move(*weight), node.op);
      return asValues(result ? scale(*result, node.getFloat("alpha", 1))
                             : result);
    }
  }
  Result<Activation> result = matMul(node.input(0), node.input(1), node.op);
  return asValues(result ? scale(*result, node.getFloat("alpha", 1)) : result);
}

Result<Evaluator::Values> Evaluator::ruleGemm(Node &node) {
  const Activation *input = node.activation(0);
  if (!input || node.getInt("transA", 0))
    return Error{"needs activations [M, K] as its first input"};
  if (node.activation(2))
    return Error{"adds activations"};
  Result<WeightSource> weight = getWeight(node.input(1));
  if (weight && !node.getInt("transB", 0))
    weight = transposeWeight(std::move(*weight));
  if (!weight)
    return Error{weight.message()};
  Result<Activation> result = linear(*input, std::move(*weight), node.op);
  if (!result)
    return asValues(result);
  float alpha = node.getFloat("alpha", 1), beta = node.getFloat("beta", 1);
  if (!node.has(2) || beta == 0)
    return asValues(scale(*result, alpha));
  if (alpha != 1 || beta != 1)
    return Error{"scales a layer or its bias"};
  Result<Known> bias = getKnown(node.input(2));
  if (!bias)
    return Error{bias.message()};
  return asValues(addBias(*result, *bias, node.op));
}

//===----------------------------------------------------------------------===//
// Quantized layers
//===----------------------------------------------------------------------===//

/// The view of a constant under another shape.
static Result<WeightView> viewAs(const AbstractValue &value, Shape shape,
                                 StringRef what) {
  const WeightView *view = nullptr;
  if (auto *unread = std::get_if<Unread>(&value))
    view = &unread->view;
  else if (auto *known = std::get_if<Known>(&value); known && known->view)
    view = &*known->view;
  if (!view)
    return Error{"has " + what.str() + " that are no constant"};
  if (view->numElements() != countElements(shape) || !view->isContiguous())
    return Error{"has " + what.str() + " of shape " + toString(view->shape) +
                 ", needed is " + toString(shape)};
  return *view->reshaped(std::move(shape));
}

Result<Evaluator::Values> Evaluator::ruleMatMulNBits(Node &node) {
  const Activation *input = node.activation(0);
  if (!input)
    return Error{"has a first input that is no activation"};
  BlockQuantizedMatrix matrix;
  matrix.rows = node.getInt("N", 0);
  matrix.columns = node.getInt("K", 0);
  matrix.bits = node.getInt("bits", 4);
  matrix.block = node.getInt("block_size", 0);
  constexpr int64_t limit = int64_t(1) << 31;
  if (matrix.rows <= 0 || matrix.columns <= 0 || matrix.rows > limit ||
      matrix.columns > limit)
    return Error{"has an invalid size N or K"};
  if (matrix.bits != 2 && matrix.bits != 4 && matrix.bits != 8)
    return Error{"has " + std::to_string(matrix.bits) +
                 " bits, supported are 2, 4 and 8"};
  if (matrix.block < 8 || matrix.block > limit)
    return Error{"has blocks of " + std::to_string(matrix.block)};
  if (node.has(4))
    return Error{"reorders columns (g_idx), which is not supported"};
  int64_t blocks = matrix.numBlocks();
  int64_t codeBytes = blocks * (matrix.block * matrix.bits / 8);
  Result<WeightView> codes =
      viewAs(node.input(1), {matrix.rows, codeBytes}, "codes");
  Result<WeightView> scales =
      viewAs(node.input(2), {matrix.rows, blocks}, "scales");
  if (!codes || !scales)
    return Error{codes ? scales.message() : codes.message()};
  if (codes->type != ElementType::UInt8 || !interp::isFloat(scales->type))
    return Error{"has codes or scales of an unexpected type"};
  matrix.codes = *codes;
  matrix.scales = *scales;
  if (node.has(3)) {
    int64_t zeroBytes = (blocks * matrix.bits + 7) / 8;
    Result<WeightView> zeros =
        viewAs(node.input(3), {matrix.rows, zeroBytes}, "zero points");
    if (!zeros || zeros->type != ElementType::UInt8)
      zeros = viewAs(node.input(3), {matrix.rows, blocks}, "zero points");
    if (!zeros)
      return Error{zeros.message()};
    matrix.zeros = *zeros;
  }
  Result<Activation> result =
      linear(*input, WeightSource::of(std::move(matrix)), node.op);
  if (!result || !node.has(5))
    return asValues(result);
  Result<Known> bias = getKnown(node.input(5));
  if (!bias)
    return Error{bias.message()};
  return asValues(addBias(*result, *bias, node.op));
}

//===----------------------------------------------------------------------===//
// Embeddings
//===----------------------------------------------------------------------===//

/// Whether all token ids are selected from in their order.
static bool isAllTokens(const Evaluator &evaluator, const Activation &value) {
  return value.isPlain() && !value.terms[0].addresses &&
         evaluator.getRoot(value.terms[0].root).kind == Root::Kind::Tokens;
}

Result<Evaluator::Values> Evaluator::ruleGather(Node &node) {
  const Activation *indices = node.activation(1);
  if (!indices)
    return ruleMove(node);
  if (!isAllTokens(*this, *indices) || node.getInt("axis", 0) != 0)
    return Error{"selects by " + describe(*indices)};
  Result<WeightSource> table = getWeight(node.input(0));
  if (table && table->dequantized && table->dequantized->blockAxis != 1) {
    Result<Known> values = getKnown(node.input(0));
    table = values ? Result<WeightSource>(WeightSource::of(values->tensor))
                   : Error{values.message()};
  }
  if (!table)
    return Error{table.message()};
  Root root(Root::Kind::Embedding);
  root.rows = getRoot(indices->terms[0].root).rows;
  root.shape = {int64_t(root.rows->size()), table->getShape()[1]};
  root.op = node.op;
  root.weight = std::move(*table);
  Shape shape = indices->shape;
  shape.push_back(root.shape[1]);
  return asValues(reshape(addRoot(std::move(root)), shape));
}

/// Embedding rows quantized in blocks along the last dimension.
Result<Evaluator::Values> Evaluator::ruleGatherBlockQuantized(Node &node) {
  const Activation *indices = node.activation(1);
  if (!indices || !isAllTokens(*this, *indices) ||
      node.getInt("gather_axis", 0) != 0)
    return Error{"selects by something else than the tokens"};
  const WeightView *codes = nullptr;
  if (auto *unread = std::get_if<Unread>(&node.input(0)))
    codes = &unread->view;
  else if (const Known *known = node.known(0); known && known->view)
    codes = &*known->view;
  BlockQuantizedMatrix matrix;
  matrix.bits = node.getInt("bits", 4);
  matrix.block = node.getInt("block_size", 128);
  int64_t axis = node.getInt("quantize_axis", 1);
  if (!codes || codes->shape.size() != 2 || (axis != 1 && axis != -1) ||
      codes->type != ElementType::UInt8 || !codes->isContiguous() ||
      (matrix.bits != 2 && matrix.bits != 4 && matrix.bits != 8) ||
      matrix.block < 8)
    return Error{
        "has a table in a form that is not supported; needed are bytes "
        "of 2, 4 or 8 bit codes [V, K * bits / 8]"};
  matrix.rows = codes->shape[0];
  matrix.columns = codes->shape[1] * 8 / matrix.bits;
  if (matrix.columns % matrix.block)
    return Error{"has rows that are no whole number of blocks"};
  int64_t blocks = matrix.numBlocks();
  Result<WeightView> scales =
      viewAs(node.input(2), {matrix.rows, blocks}, "scales");
  if (!scales || !interp::isFloat(scales->type))
    return Error{scales ? "has scales of an unexpected type"
                        : scales.message()};
  matrix.codes = *codes;
  matrix.scales = *scales;
  if (node.has(3)) {
    Result<WeightView> zeros =
        viewAs(node.input(3), {matrix.rows, (blocks * matrix.bits + 7) / 8},
               "zero points");
    if (!zeros)
      return Error{zeros.message()};
    matrix.zeros = *zeros;
  }
  Root root(Root::Kind::Embedding);
  root.rows = getRoot(indices->terms[0].root).rows;
  root.shape = {int64_t(root.rows->size()), matrix.columns};
  root.op = node.op;
  root.weight = WeightSource::of(std::move(matrix));
  Shape shape = indices->shape;
  shape.push_back(root.shape[1]);
  return asValues(reshape(addRoot(std::move(root)), shape));
}
