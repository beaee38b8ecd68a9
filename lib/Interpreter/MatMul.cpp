//===- MatMul.cpp - Matrix products ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Dispatch.h"
#include "Gemm.h"
#include "Operators.h"

using namespace llq::interp;

namespace {

/// A stack of matrix products as NumPy's matmul sees its operands.
struct ProductPlan {
  Shape batch; // broadcast leading dimensions
  Shape outShape;
  std::vector<int64_t> batchStridesA, batchStridesB; // in elements
  int64_t m, n, k;
  int64_t rowLengthA, rowLengthB; // as stored
};

} // namespace

/// Strides of the leading dimensions of matrices, broadcast to `batch`.
static std::vector<int64_t> batchStrides(const Shape &shape,
                                         const Shape &batch) {
  Shape lead(shape.begin(), shape.end() - 2);
  std::vector<int64_t> strides = broadcastStrides(lead, batch);
  for (int64_t &stride : strides)
    stride *= shape[shape.size() - 2] * shape[shape.size() - 1];
  return strides;
}

static std::optional<ProductPlan>
planProduct(OpContext &context, Shape a, Shape b, bool transA, bool transB) {
  if (a.empty() || b.empty())
    return context.failure("cannot multiply shapes ", a, " and ", b);
  // A vector is a matrix of one row or column that the result drops again;
  // transposing it changes nothing.
  bool isRow = a.size() == 1;
  bool isColumn = b.size() == 1;
  ProductPlan plan;
  if (isRow)
    a.insert(a.begin(), 1);
  if (isColumn)
    b.push_back(1);
  transA &= !isRow;
  transB &= !isColumn;
  size_t lastA = a.size() - 1;
  size_t lastB = b.size() - 1;
  plan.m = a[transA ? lastA : lastA - 1];
  plan.k = a[transA ? lastA - 1 : lastA];
  plan.n = b[transB ? lastB - 1 : lastB];
  plan.rowLengthA = a[lastA];
  plan.rowLengthB = b[lastB];
  std::optional<Shape> batch = broadcastShape(
      context, Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  if (!batch)
    return std::nullopt;
  if (plan.k != b[transB ? lastB : lastB - 1])
    return context.failure("cannot multiply shapes ", a, " and ", b);
  plan.batch = plan.outShape = *batch;
  if (!isRow)
    plan.outShape.push_back(plan.m);
  if (!isColumn)
    plan.outShape.push_back(plan.n);
  plan.batchStridesA = batchStrides(a, *batch);
  plan.batchStridesB = batchStrides(b, *batch);
  return plan;
}

/// Calls fn(index of the product, offset in a, offset in b).
template <typename Fn>
static void forEachProduct(const ProductPlan &plan, Fn &&fn) {
  StridedLoop<2> loop(plan.batch, {plan.batchStridesA, plan.batchStridesB});
  loop.forEachRun([&](int64_t position, const auto &offsets, const auto &steps,
                      int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      fn(position + i, offsets[0] + i * steps[0], offsets[1] + i * steps[1]);
  });
}

/// out = alpha * a * b for floating-point types, wide result.
template <typename T>
static void multiplyFloat(const Tensor &a, const Tensor &b,
                          const ProductPlan &plan, bool transA, bool transB,
                          double alpha, MutableTensor &out) {
  forEachProduct(plan, [&](int64_t index, int64_t offsetA, int64_t offsetB) {
    MatrixView left{a, offsetA, plan.rowLengthA, transA && a.rank() > 1};
    MatrixView right{b, offsetB, plan.rowLengthB, transB && b.rank() > 1};
    T *result = out.data<T>() + index * plan.m * plan.n;
    gemm(
        plan.m, plan.n, plan.k,
        [&](int64_t row, int64_t k0, int64_t count, double *to) {
          loadRow(left, row, k0, count, to);
        },
        [&](int64_t k0, int64_t kCount, int64_t n0, int64_t nCount,
            double *panel) { loadPanel(right, k0, kCount, n0, nCount, panel); },
        [&](int64_t row, int64_t n0, int64_t count, const double *sums) {
          for (int64_t i = 0; i < count; ++i)
            result[row * plan.n + n0 + i] = T(alpha * sums[i]);
        });
  });
}

/// Integer products wrap around.
template <typename T>
static void multiplyInteger(const Tensor &a, const Tensor &b,
                            const ProductPlan &plan, MutableTensor &out) {
  forEachProduct(plan, [&](int64_t index, int64_t offsetA, int64_t offsetB) {
    const T *left = a.data<T>() + offsetA;
    const T *right = b.data<T>() + offsetB;
    T *result = out.data<T>() + index * plan.m * plan.n;
    for (int64_t m = 0; m < plan.m; ++m)
      for (int64_t k = 0; k < plan.k; ++k)
        for (int64_t n = 0; n < plan.n; ++n) {
          T &sum = result[m * plan.n + n];
          sum = T(uint64_t(sum) + uint64_t(left[m * plan.k + k]) *
                                      uint64_t(right[k * plan.n + n]));
        }
  });
}

static void multiply(OpContext &context, bool transA, bool transB,
                     float alpha) {
  const Tensor &a = context.input(0);
  const Tensor &b = context.input(1);
  if (!context.requireSameType(a, "the first operand", b, "the second"))
    return;
  std::optional<ProductPlan> plan =
      planProduct(context, a.shape(), b.shape(), transA, transB);
  if (!plan)
    return;
  std::optional<MutableTensor> out =
      context.allocate(computeType(a.type()), plan->outShape);
  if (!out)
    return;
  if (out->type() == ElementType::Float32) {
    multiplyFloat<float>(a, b, *plan, transA, transB, alpha, *out);
  } else if (out->type() == ElementType::Float64) {
    multiplyFloat<double>(a, b, *plan, transA, transB, alpha, *out);
  } else if (transA || transB || alpha != 1.0f) {
    return context.fail("integers cannot be transposed or scaled here");
  } else {
    bool known = visitInteger(a.type(), [&]<typename T>(T) {
      multiplyInteger<T>(a, b, *plan, *out);
    });
    if (!known)
      return context.fail("operands of type ", a.type(), " are not supported");
  }
  context.setOutputAs(0, std::move(*out), a.type());
}

static void evalMatMul(OpContext &context) {
  multiply(context, false, false, 1.0f);
}

static void evalFusedMatMul(OpContext &context) {
  context.requireAttribute("transBatchA", 0);
  context.requireAttribute("transBatchB", 0);
  bool transA = context.intAttribute("transA", 0) != 0;
  bool transB = context.intAttribute("transB", 0) != 0;
  float alpha = context.floatAttribute("alpha", 1.0f);
  if (!context.failed())
    multiply(context, transA, transB, alpha);
}

/// alpha * op(A) * op(B) + beta * C.
static void evalGemm(OpContext &context) {
  const Tensor &a = context.input(0);
  const Tensor &b = context.input(1);
  const Tensor *c = context.optionalInput(2);
  bool transA = context.intAttribute("transA", 0) != 0;
  bool transB = context.intAttribute("transB", 0) != 0;
  double alpha = context.floatAttribute("alpha", 1.0f);
  double beta = context.floatAttribute("beta", 1.0f);
  if (!context.requireRank(a, "the first operand", 2) ||
      !context.requireRank(b, "the second operand", 2) ||
      !context.requireFloat(a, "the first operand") ||
      !context.requireSameType(a, "the first operand", b, "the second"))
    return;
  if (c && !context.requireSameType(a, "the first operand", *c, "the third"))
    return;
  std::optional<ProductPlan> plan =
      planProduct(context, a.shape(), b.shape(), transA, transB);
  if (!plan)
    return;
  if (c && !requireBroadcastTo(context, "the third operand", c->shape(),
                               plan->outShape))
    return;
  // The product stays in double until C has been added.
  std::optional<MutableTensor> product =
      context.allocate(ElementType::Float64, plan->outShape);
  std::optional<MutableTensor> out =
      context.allocate(computeType(a.type()), plan->outShape);
  if (!product || !out)
    return;
  multiplyFloat<double>(a, b, *plan, transA, transB, alpha, *product);
  double *sums = product->data<double>();
  if (c) {
    StridedLoop<1> loop(plan->outShape,
                        {broadcastStrides(c->shape(), plan->outShape)});
    loop.forEachRun([&](int64_t position, const auto &offsets,
                        const auto &steps, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        double addend;
        readDoubles(*c, offsets[0] + i * steps[0], 1, &addend);
        sums[position + i] += beta * addend;
      }
    });
  }
  for (int64_t i = 0, e = out->numElements(); i < e; ++i)
    writeDouble(*out, i, sums[i]);
  context.setOutputAs(0, std::move(*out), a.type());
}

/// A zero point of MatMulInteger as one value per row or column.
static std::optional<std::vector<double>>
zeroPoints(OpContext &context, unsigned index, int64_t count) {
  std::vector<double> values(size_t(count), 0.0);
  const Tensor *zero = context.optionalInput(index);
  if (!zero)
    return values;
  if (!context.requireSameType(context.input(index - 2), "a matrix", *zero,
                               "its zero point"))
    return std::nullopt;
  if (zero->numElements() != 1 && zero->shape() != Shape{count})
    return context.failure("a zero point has shape ", zero->shape(),
                           ", need one value or ", count);
  std::vector<double> given = zero->toDoubles();
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = given[given.size() == 1 ? 0 : i];
  return values;
}

/// Products of 8-bit integers are exact in double for any K in memory.
static void evalMatMulInteger(OpContext &context) {
  const Tensor &a = context.input(0);
  const Tensor &b = context.input(1);
  for (const Tensor *operand : {&a, &b})
    if (!context.requireType(*operand, "an operand",
                             {ElementType::Int8, ElementType::UInt8}))
      return;
  std::optional<ProductPlan> plan =
      planProduct(context, a.shape(), b.shape(), false, false);
  if (!plan)
    return;
  std::optional<std::vector<double>> zeroA = zeroPoints(context, 2, plan->m);
  std::optional<std::vector<double>> zeroB = zeroPoints(context, 3, plan->n);
  std::optional<MutableTensor> out =
      context.allocate(ElementType::Int32, plan->outShape);
  if (!zeroA || !zeroB || !out)
    return;
  forEachProduct(*plan, [&](int64_t index, int64_t offsetA, int64_t offsetB) {
    MatrixView left{a, offsetA, plan->rowLengthA, false};
    MatrixView right{b, offsetB, plan->rowLengthB, false};
    int32_t *result = out->data<int32_t>() + index * plan->m * plan->n;
    gemm(
        plan->m, plan->n, plan->k,
        [&](int64_t row, int64_t k0, int64_t count, double *to) {
          loadRow(left, row, k0, count, to);
          for (int64_t i = 0; i < count; ++i)
            to[i] -= (*zeroA)[size_t(row)];
        },
        [&](int64_t k0, int64_t kCount, int64_t n0, int64_t nCount,
            double *panel) {
          loadPanel(right, k0, kCount, n0, nCount, panel);
          for (int64_t k = 0; k < kCount; ++k)
            for (int64_t n = 0; n < nCount; ++n)
              panel[k * gemmColumns + n] -= (*zeroB)[size_t(n0 + n)];
        },
        [&](int64_t row, int64_t n0, int64_t count, const double *sums) {
          for (int64_t i = 0; i < count; ++i)
            result[row * plan->n + n0 + i] =
                int32_t(uint32_t(int64_t(sums[i])));
        });
  });
  context.setOutput(0, std::move(*out));
}

constexpr Operator table[] = {
    {"FusedMatMul", 1, 2, 2, 1, evalFusedMatMul, microsoftDomain},
    {"Gemm", 7, 2, 3, 1, evalGemm},
    {"MatMul", 1, 2, 2, 1, evalMatMul},
    {"MatMulInteger", 10, 2, 4, 1, evalMatMulInteger},
    {"TransposeMatMul", 1, 2, 2, 1, evalFusedMatMul, microsoftDomain},
};

std::span<const Operator> llq::interp::matMulOperators() { return table; }
