//===- Attention.cpp - Scores, softmax and weighted values ----------------===//
//
// Works out, element by element, which query meets which key: heads and their
// grouping, the order of positions, the mask. Repeated keys, transposed caches
// and merged batch dimensions are all the same here.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

#include "llvm/ADT/BitVector.h"

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Scores at or below this are masked out: exp(-1e4) is 0.
static constexpr float kMasked = -1e4f;

/// The address of each element of a single-term activation.
static Tensor getAddresses(const Activation &activation) {
  const Term &term = activation.terms[0];
  if (term.addresses)
    return term.addresses;
  std::vector<int64_t> addresses(countElements(activation.shape));
  for (auto [i, address] : llvm::enumerate(addresses))
    address = makeAddress(term.root, int64_t(i));
  return makeInts(activation.shape, addresses);
}

/// The factor that all elements have.
static Result<float> getFactor(const Activation &activation, StringRef what) {
  const Tensor &coefficients = activation.terms[0].coefficients;
  if (activation.constant)
    return Error{"shifts " + what.str()};
  if (!coefficients)
    return 1.0f;
  if (std::optional<float> uniform = getUniform(coefficients))
    return *uniform;
  return Error{"scales elements of " + what.str() + " differently"};
}

/// Which vector of a head the elements at `addresses` are: its sequence,
/// position and first column. `order` is the order of its elements; `source`
/// the root they are from.
Result<Root::Vector> Evaluator::getHead(ArrayRef<int64_t> addresses,
                                        RootId &source,
                                        SmallVectorImpl<int64_t> &order) const {
  Root::Vector vector;
  order.clear();
  if (llvm::all_of(addresses, [](int64_t a) { return a == kNoElement; })) {
    // Zeros: room in a cache that nothing has been written to.
    vector.position = -1;
    return vector;
  }
  source = getRootOf(addresses[0]);
  const Root &root = getRoot(source);
  std::optional<int64_t> row;
  for (int64_t address : addresses) {
    if (address == kNoElement || getRootOf(address) != source) {
      bool partial = root.kind == Root::Kind::Rope ||
                     (address != kNoElement &&
                      getRoot(getRootOf(address)).kind == Root::Kind::Rope);
      return Error{partial ? "rotates only part of each head, which is not "
                             "supported"
                           : "mixes activations within one vector of a head"};
    }
    int64_t index = getIndexOf(address);
    int64_t batch = 0, position = 0, column = 0;
    if (root.kind == Root::Kind::Past) {
      // Positions are one dimension, the first is the batch, the others are
      // columns.
      Shape at(root.shape.size());
      for (size_t axis = at.size(); axis-- > 0; index /= root.shape[axis])
        at[axis] = index % root.shape[axis];
      for (size_t axis = 0; axis < at.size(); ++axis) {
        if (axis == root.positionAxis)
          position = at[axis];
        else if (axis == 0)
          batch = at[axis];
        else
          column = column * root.shape[axis] + at[axis];
      }
    } else if (root.shape.size() == 2 && root.rows) {
      int64_t token = (*root.rows)[index / root.shape[1]];
      column = index % root.shape[1];
      batch = token / lengths.tokens;
      position = lengths.past + token % lengths.tokens;
    } else {
      return Error{"takes queries, keys or values from something else"};
    }
    int64_t key = batch * lengths.total() + position;
    if (row && *row != key)
      return Error{"mixes tokens within one vector of a head"};
    row = key;
    vector.batch = batch;
    vector.position = position;
    order.push_back(column);
  }
  vector.column = *llvm::min_element(order);
  llvm::BitVector seen(unsigned(order.size()));
  for (int64_t &column : order) {
    column -= vector.column;
    if (column >= int64_t(order.size()) || seen[unsigned(column)])
      return Error{"does not take the elements of one head"};
    seen.set(unsigned(column));
  }
  return vector;
}

/// Makes columns of the selected vectors relative to the first of them, which
/// is the result.
static int64_t countFromFirst(std::vector<Root::Vector> &vectors,
                              llvm::function_ref<bool(size_t)> isSelected) {
  int64_t first = INT64_MAX;
  for (auto [i, vector] : llvm::enumerate(vectors))
    if (vector.position >= 0 && isSelected(i))
      first = std::min(first, vector.column);
  for (auto [i, vector] : llvm::enumerate(vectors))
    if (vector.position >= 0 && isSelected(i))
      vector.column -= first;
  return first == INT64_MAX ? 0 : first;
}

Result<Activation> Evaluator::scores(const Activation &queries,
                                     const Activation &keys, Operation *op) {
  Result<Activation> q = resolveRope(queries, op), k = resolveRope(keys, op);
  if (!q || !k)
    return q ? k : q;
  if (q->shape.size() < 2 || k->shape.size() < 2 ||
      q->shape.back() != k->shape[k->shape.size() - 2])
    return Error{"multiplies " + describe(queries) + " and " + describe(keys) +
                 " of shapes " + toString(q->shape) + " and " +
                 toString(k->shape)};
  int64_t size = q->shape.back(), numQueries = q->shape[q->shape.size() - 2];
  int64_t numKeys = k->shape.back();
  Result<float> qFactor = getFactor(*q, "queries");
  Result<float> kFactor = getFactor(*k, "keys");
  if (!qFactor || !kFactor)
    return Error{qFactor ? kFactor.message() : qFactor.message()};
  q->terms[0].coefficients = k->terms[0].coefficients = Tensor();
  Result<Shape> batch = broadcast(Shape(q->shape.begin(), q->shape.end() - 2),
                                  Shape(k->shape.begin(), k->shape.end() - 2));
  if (!batch)
    return Error{batch.message()};
  Shape qShape = *batch, kShape = *batch;
  qShape.insert(qShape.end(), {numQueries, size});
  kShape.insert(kShape.end(), {size, numKeys});
  q = expandTo(*q, qShape);
  k = expandTo(*k, kShape);
  if (!q || !k)
    return q ? k : q;

  Root root(Root::Kind::Scores);
  root.op = op;
  root.shape = *batch;
  root.shape.insert(root.shape.end(), {numQueries, numKeys});
  root.headDim = size;
  int64_t numBatches = countElements(*batch);
  Tensor qAddresses = getAddresses(*q), kAddresses = getAddresses(*k);
  const int64_t *qa = qAddresses.data<int64_t>();
  const int64_t *ka = kAddresses.data<int64_t>();
  std::optional<RootId> querySource, keySource;
  SmallVector<int64_t> order, expected, vector(size);
  llvm::BitVector fromPast;
  for (int64_t i = 0; i < numBatches * numQueries; ++i) {
    RootId source = 0;
    Result<Root::Vector> query =
        getHead(ArrayRef(qa + i * size, size), source, order);
    if (!query)
      return Error{query.message()};
    if (i == 0) {
      expected = order;
      querySource = source;
    }
    if (order != expected || source != *querySource ||
        getRoot(source).kind == Root::Kind::Past)
      return Error{"has queries that are not the heads of one activation"};
    root.queries.push_back(*query);
  }
  for (int64_t n = 0; n < numBatches; ++n) {
    for (int64_t j = 0; j < numKeys; ++j) {
      for (int64_t d = 0; d < size; ++d)
        vector[d] = ka[(n * size + d) * numKeys + j];
      RootId source = 0;
      Result<Root::Vector> key = getHead(vector, source, order);
      if (!key)
        return Error{key.message()};
      bool isPast =
          key->position >= 0 && getRoot(source).kind == Root::Kind::Past;
      root.keys.push_back(*key);
      fromPast.push_back(isPast);
      if (key->position < 0)
        continue;
      if (order != expected)
        return Error{"multiplies elements of queries and keys that do not "
                     "belong together"};
      if (isPast) {
        if (root.pastKeys.value_or(source) != source)
          return Error{"takes keys from several caches"};
        root.pastKeys = source;
      } else {
        if (keySource.value_or(source) != source)
          return Error{"takes keys from several activations"};
        keySource = source;
      }
    }
  }
  if (!querySource || !keySource)
    return Error{"multiplies " + describe(queries) + " and " + describe(keys) +
                 " that hold no tokens"};
  // Columns count from the first one of each activation or cache.
  int64_t qBegin = countFromFirst(root.queries, [](size_t) { return true; });
  int64_t kBegin = countFromFirst(
      root.keys, [&](size_t i) { return !fromPast.test(unsigned(i)); });
  countFromFirst(root.keys,
                 [&](size_t i) { return fromPast.test(unsigned(i)); });
  root.inputs = {{*querySource, qBegin, 0}, {*keySource, kBegin, 0}};
  return scale(addRoot(std::move(root)), *qFactor * *kFactor);
}

Result<Activation> Evaluator::softmax(const Activation &value, Operation *op) {
  const Root *scores = nullptr;
  Tensor addresses;
  if (value.terms.size() == 1) {
    addresses = getAddresses(value);
    for (int64_t i = 0; i < addresses.numElements() && !scores; ++i)
      if (int64_t address = addresses.data<int64_t>()[i]; address != kNoElement)
        scores = &getRoot(getRootOf(address));
  }
  if (!scores || scores->kind != Root::Kind::Scores)
    return Error{"is applied to " + describe(value) +
                 ", needed are attention scores"};
  Result<Tensor> mask =
      expand(value.constant ? value.constant : Tensor::ofFloat(0), value.shape);
  const Tensor &coefficients = value.terms[0].coefficients;
  Result<Tensor> factors =
      expand(coefficients ? coefficients : Tensor::ofFloat(1), value.shape);
  if (!mask || !factors)
    return Error{mask ? factors.message() : mask.message()};

  int64_t width = value.shape.back();
  int64_t numRows = countElements(value.shape) / std::max<int64_t>(width, 1);
  int64_t numKeys = scores->shape.back();
  int64_t numQueries = scores->shape[scores->shape.size() - 2];
  Root root(Root::Kind::Probabilities);
  root.op = op;
  root.shape = value.shape;
  root.inputs = scores->inputs;
  root.pastKeys = scores->pastKeys;
  root.headDim = scores->headDim;
  std::vector<int64_t> kept(addresses.numElements(), kNoElement);
  std::optional<float> scale;
  for (int64_t row = 0; row < numRows; ++row) {
    std::optional<Root::Vector> query;
    std::optional<int64_t> keyColumn;
    llvm::BitVector seen(unsigned(lengths.total()));
    for (int64_t e = row * width; e < (row + 1) * width; ++e) {
      int64_t address = addresses.data<int64_t>()[e];
      float summand = mask->data<float>()[e];
      bool masked = summand <= kMasked;
      if (address == kNoElement) {
        if (!masked)
          return Error{"has scores that are neither computed nor masked out"};
        continue;
      }
      int64_t index = getIndexOf(address);
      const Root::Vector &q = scores->queries[index / numKeys];
      const Root::Vector &k =
          scores
              ->keys[index / numKeys / numQueries * numKeys + index % numKeys];
      if (getRootOf(address) != scores->id || query.value_or(q) != q)
        return Error{"mixes scores of different queries"};
      query = q;
      if (masked)
        continue;
      float factor = factors->data<float>()[e];
      if (summand != 0)
        return Error{"adds " + std::to_string(summand) +
                     " to an attention score; biases other than a causal mask "
                     "are not supported"};
      if (scale.value_or(factor) != factor)
        return Error{"scales attention scores differently"};
      scale = factor;
      if (k.position < 0 || k.batch != q.batch)
        return Error{"lets a token see something that is no token before it"};
      if (k.position > q.position)
        return Error{"lets token " + std::to_string(q.position) +
                     " see token " + std::to_string(k.position) +
                     ": the mask is not causal"};
      if (keyColumn.value_or(k.column) != k.column ||
          seen[unsigned(k.position)])
        return Error{"mixes keys of different heads"};
      keyColumn = k.column;
      seen.set(unsigned(k.position));
      kept[e] = address;
    }
    if (!query || int64_t(seen.count()) != query->position + 1)
      return Error{
          "hides " +
          std::to_string(query ? query->position + 1 - int64_t(seen.count())
                               : 0) +
          " earlier tokens from token " +
          std::to_string(query ? query->position : 0) +
          ": sliding windows and other masks that are not causal are not "
          "supported"};
    root.queries.push_back(*query);
    root.keys.push_back({query->batch, query->position, *keyColumn});
  }
  root.scale = scale.value_or(1);
  root.scoreAddresses = makeInts(value.shape, kept);
  return addRoot(std::move(root));
}

Result<Activation> Evaluator::weighValues(const Activation &probabilities,
                                          const Activation &values,
                                          Operation *op) {
  Result<Activation> v = resolveRope(values, op);
  if (!v)
    return v;
  if (!probabilities.isPlain() || !v->isPlain() ||
      probabilities.shape.size() < 2 || v->shape.size() < 2 ||
      probabilities.shape.back() != v->shape[v->shape.size() - 2])
    return Error{"multiplies " + describe(probabilities) + " and " +
                 describe(values) + " in a way that attention does not"};
  int64_t size = v->shape.back(), numKeys = probabilities.shape.back();
  int64_t numQueries = probabilities.shape[probabilities.shape.size() - 2];
  Result<Shape> batch = broadcast(
      Shape(probabilities.shape.begin(), probabilities.shape.end() - 2),
      Shape(v->shape.begin(), v->shape.end() - 2));
  if (!batch)
    return Error{batch.message()};
  Shape pShape = *batch, vShape = *batch;
  pShape.insert(pShape.end(), {numQueries, numKeys});
  vShape.insert(vShape.end(), {numKeys, size});
  Result<Activation> p = expandTo(probabilities, pShape);
  v = expandTo(*v, vShape);
  if (!p || !v)
    return p ? v : p;
  Tensor pAddresses = getAddresses(*p), vAddresses = getAddresses(*v);
  const int64_t *pa = pAddresses.data<int64_t>();
  const int64_t *va = vAddresses.data<int64_t>();
  if (pa[0] == kNoElement)
    return Error{"weighs values by something else than probabilities"};
  const Root &soft = getRoot(getRootOf(pa[0]));
  const Root *scores = nullptr;
  for (int64_t i = 0; i < soft.scoreAddresses.numElements() && !scores; ++i)
    if (int64_t a = soft.scoreAddresses.data<int64_t>()[i]; a != kNoElement)
      scores = &getRoot(getRootOf(a));
  if (soft.kind != Root::Kind::Probabilities || !scores ||
      soft.shape.back() != numKeys)
    return Error{"weighs values by something else than probabilities"};
  if (size != soft.headDim)
    return Error{"has values of " + std::to_string(size) +
                 " elements and keys of " + std::to_string(soft.headDim)};

  // Where the values of each head are.
  int64_t numBatches = countElements(*batch);
  std::vector<Root::Vector> vectors;
  std::vector<SmallVector<int64_t>> orders;
  std::optional<RootId> valueSource, pastValues;
  llvm::BitVector fromPast;
  for (int64_t i = 0; i < numBatches * numKeys; ++i) {
    RootId source = 0;
    SmallVector<int64_t> order;
    Result<Root::Vector> vector =
        getHead(ArrayRef(va + i * size, size), source, order);
    if (!vector)
      return Error{vector.message()};
    bool isPast =
        vector->position >= 0 && getRoot(source).kind == Root::Kind::Past;
    vectors.push_back(*vector);
    orders.push_back(order);
    fromPast.push_back(isPast);
    if (vector->position < 0)
      continue;
    std::optional<RootId> &slot = isPast ? pastValues : valueSource;
    if (slot.value_or(source) != source)
      return Error{"takes values from several activations"};
    slot = source;
  }
  if (!valueSource)
    return Error{"weighs values that hold no tokens"};

  // The grouping of heads.
  int64_t vBegin = countFromFirst(
      vectors, [&](size_t i) { return !fromPast.test(unsigned(i)); });
  countFromFirst(vectors, [&](size_t i) { return fromPast.test(unsigned(i)); });
  auto getWidth = [&](ArrayRef<Root::Vector> vectors) {
    int64_t width = 0;
    for (const Root::Vector &vector : vectors)
      if (vector.position >= 0)
        width = std::max(width, vector.column + size);
    return width;
  };
  int64_t qWidth = getWidth(soft.queries), kWidth = getWidth(soft.keys);
  int64_t vWidth = getWidth(vectors);
  Root root(Root::Kind::Attention);
  root.op = op;
  root.heads = qWidth / size;
  root.kvHeads = kWidth / size;
  root.headDim = size;
  root.scale = soft.scale;
  if (qWidth % size || kWidth % size || vWidth != kWidth ||
      root.heads % root.kvHeads)
    return Error{"has " + std::to_string(root.heads) + " query heads, " +
                 std::to_string(root.kvHeads) + " key heads and " +
                 std::to_string(vWidth / size) + " value heads"};
  root.inputs = {{soft.inputs[0].root, soft.inputs[0].begin, qWidth},
                 {soft.inputs[1].root, soft.inputs[1].begin, kWidth},
                 {*valueSource, vBegin, vWidth}};
  root.pastKeys = soft.pastKeys;
  root.pastValues = pastValues;
  int64_t numTokens = lengths.batch * lengths.tokens;
  root.shape = {numTokens, root.heads * size};
  auto rows = std::make_shared<std::vector<int64_t>>();
  for (int64_t token = 0; token < numTokens; ++token)
    rows->push_back(token);
  root.rows = rows;

  Shape shape = *batch;
  shape.insert(shape.end(), {numQueries, size});
  std::vector<int64_t> result;
  result.reserve(countElements(shape));
  auto id = RootId(roots.size());
  int64_t group = root.heads / root.kvHeads;
  int64_t numScoreKeys = scores->shape.back();
  int64_t numScoreQueries = scores->shape[scores->shape.size() - 2];
  for (int64_t i = 0; i < numBatches * numQueries; ++i) {
    int64_t n = i / numQueries;
    const int64_t *row = pa + i * numKeys;
    int64_t from = getIndexOf(row[0]);
    if (row[0] == kNoElement || getRootOf(row[0]) != soft.id || from % numKeys)
      return Error{"weighs values by parts of probabilities"};
    const Root::Vector &q = soft.queries[from / numKeys];
    const Root::Vector &k = soft.keys[from / numKeys];
    int64_t head = q.column / size;
    int64_t kvHead = k.column / size;
    if (q.column % size || k.column % size || kvHead != head / group)
      return Error{
          "lets query head " + std::to_string(head) + " see key head " +
          std::to_string(kvHead) + ", grouped-query attention of " +
          std::to_string(root.heads) + " and " + std::to_string(root.kvHeads) +
          " heads needs " + std::to_string(head / group)};
    const SmallVector<int64_t> *order = nullptr;
    for (int64_t j = 0; j < numKeys; ++j) {
      if (row[j] != row[0] + j)
        return Error{"reorders probabilities"};
      int64_t score = soft.scoreAddresses.data<int64_t>()[from + j];
      if (score == kNoElement)
        continue;
      int64_t index = getIndexOf(score);
      const Root::Vector &key =
          scores->keys[index / numScoreKeys / numScoreQueries * numScoreKeys +
                       index % numScoreKeys];
      const Root::Vector &vector = vectors[n * numKeys + j];
      if (vector.position != key.position || vector.batch != key.batch ||
          vector.column != kvHead * size)
        return Error{"weighs the value of another token or head than that of "
                     "the key"};
      if (order && *order != orders[n * numKeys + j])
        return Error{"orders the elements of values differently"};
      order = &orders[n * numKeys + j];
    }
    if (!order)
      return Error{"weighs no values"};
    int64_t token = q.batch * lengths.tokens + q.position - lengths.past;
    for (int64_t d = 0; d < size; ++d)
      result.push_back(
          makeAddress(id, token * root.shape[1] + head * size + (*order)[d]));
  }
  addRoot(std::move(root));
  Activation activation;
  activation.shape = shape;
  activation.terms.emplace_back().addresses = makeInts(shape, result);
  simplify(activation);
  return activation;
}

Result<Evaluator::Values> Evaluator::ruleSoftmax(Node &node) {
  const Activation &value = *node.activation(0);
  int64_t axis = node.getInt("axis", node.opset < 13 ? 1 : -1);
  if (axis != -1 && axis != int64_t(value.shape.size()) - 1)
    return Error{"normalizes along something else than the last dimension"};
  Result<Activation> result = softmax(value, node.op);
  if (!result)
    return Error{result.message()};
  return Values{std::move(*result)};
}
