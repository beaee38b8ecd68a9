//===- Reduce.cpp - Reductions, softmax and running sums ------------------===//
//
// Floating-point reductions accumulate in double, integer sums wrap around in
// 64 bits.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

using namespace llq::interp;

/// Accumulator type: double for floats, 64 bits for integers.
template <typename T>
using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

namespace {

/// The reductions: start value, step and finish over `n` elements.
struct SumFn {
  template <typename T> static Sum<T> start() { return 0; }
  template <typename T> static Sum<T> step(Sum<T> sum, T x) {
    return sum + Sum<T>(x);
  }
  template <typename T> static T finish(Sum<T> sum, int64_t) { return T(sum); }
};

struct MeanFn : SumFn {
  template <typename T> static T finish(Sum<T> sum, int64_t n) {
    if constexpr (std::is_floating_point_v<T>)
      return T(sum / double(n));
    else if (n == 0)
      return T(0);
    else if constexpr (std::is_signed_v<T>)
      return T(int64_t(sum) / n);
    else
      return T(sum / uint64_t(n));
  }
};

struct ProdFn : SumFn {
  template <typename T> static Sum<T> start() { return 1; }
  template <typename T> static Sum<T> step(Sum<T> product, T x) {
    return product * Sum<T>(x);
  }
};

struct SumSquareFn : SumFn {
  template <typename T> static Sum<T> step(Sum<T> sum, T x) {
    return sum + Sum<T>(x) * Sum<T>(x);
  }
};

struct L1Fn : SumFn {
  template <typename T> static Sum<T> step(Sum<T> sum, T x) {
    return x < T(0) ? sum - Sum<T>(x) : sum + Sum<T>(x);
  }
};

struct L2Fn : SumSquareFn {
  template <typename T> static T finish(Sum<T> sum, int64_t) {
    return fromDouble<T>(std::sqrt(double(sum)));
  }
};

struct LogSumFn : SumFn {
  template <typename T> static T finish(Sum<T> sum, int64_t) {
    return fromDouble<T>(std::log(double(sum)));
  }
};

/// Extremes keep T itself; NaN wins.
template <bool isMax> struct ExtremeFn {
  template <typename T> static T start() {
    using Limits = std::numeric_limits<T>;
    if constexpr (Limits::has_infinity)
      return isMax ? -Limits::infinity() : Limits::infinity();
    else
      return isMax ? Limits::lowest() : Limits::max();
  }
  template <typename T> static T step(T best, T x) {
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(best) || std::isnan(x))
        return std::numeric_limits<T>::quiet_NaN();
    return isMax ? std::max(best, x) : std::min(best, x);
  }
  template <typename T> static T finish(T best, int64_t) { return best; }
};

/// What is reduced and what stays.
struct ReducedAxes {
  std::vector<int64_t> axes; // ascending
  bool keepDims = true;
  bool isNoop = false;
};

} // namespace

/// Reads axes (attribute before version `asOperand`, operand since) and flags.
static std::optional<ReducedAxes> reducedAxes(OpContext &context,
                                              int64_t asOperand) {
  ReducedAxes result;
  result.keepDims = context.intAttribute("keepdims", 1) != 0;
  int64_t rank = context.input(0).rank();
  std::optional<std::vector<int64_t>> axes;
  bool noopIfEmpty = false;
  if (context.opset() < asOperand) {
    axes = context.intsAttribute("axes");
  } else {
    noopIfEmpty = context.intAttribute("noop_with_empty_axes", 0) != 0;
    if (const Tensor *operand = context.optionalInput(1))
      axes = context.intsOf(*operand, "axes");
  }
  if (context.failed())
    return std::nullopt;
  if (axes && !axes->empty()) {
    axes = context.normalizeAxes(*axes, rank);
    if (!axes)
      return std::nullopt;
    result.axes = *axes;
  } else if (noopIfEmpty) {
    result.isNoop = true;
  } else {
    for (int64_t d = 0; d < rank; ++d)
      result.axes.push_back(d);
  }
  return result;
}

namespace {

/// A reduction seen as two loop nests: over results and over what each sums.
struct ReductionPlan {
  Shape outShape;
  Shape kept, reduced;
  std::vector<int64_t> keptStrides, reducedStrides;
  int64_t reducedCount = 1;

  ReductionPlan(const Shape &shape, const ReducedAxes &what) {
    std::vector<int64_t> strides = rowMajorStrides(shape);
    for (size_t d = 0; d < shape.size(); ++d) {
      bool isReduced =
          std::binary_search(what.axes.begin(), what.axes.end(), int64_t(d));
      (isReduced ? reduced : kept).push_back(shape[d]);
      (isReduced ? reducedStrides : keptStrides).push_back(strides[d]);
      if (isReduced)
        reducedCount *= shape[d];
      if (!isReduced || what.keepDims)
        outShape.push_back(isReduced ? 1 : shape[d]);
    }
  }

  /// Calls fn(result position, first operand position).
  template <typename Fn> void forEachResult(Fn &&fn) const {
    StridedLoop<1> loop(kept, {keptStrides});
    loop.forEachRun([&](int64_t position, const auto &offsets,
                        const auto &steps, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        fn(position + i, offsets[0] + i * steps[0]);
    });
  }
};

} // namespace

template <typename Fn, int64_t asOperand>
static void evalReduce(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<ReducedAxes> what = reducedAxes(context, asOperand);
  std::optional<Tensor> wide = context.widened(data);
  if (!what || !wide)
    return;
  ReductionPlan plan(data.shape(), *what);
  std::optional<MutableTensor> out =
      context.allocate(wide->type(), plan.outShape);
  if (!out)
    return;
  bool known = visitNumber(wide->type(), [&]<typename T>(T) {
    const T *elements = wide->data<T>();
    StridedLoop<1> inner(plan.reduced, {plan.reducedStrides});
    plan.forEachResult([&](int64_t position, int64_t first) {
      auto state = Fn::template start<T>();
      inner.forEachRun(
          [&](int64_t, const auto &offsets, const auto &steps, int64_t count) {
            const T *from = elements + first + offsets[0];
            for (int64_t i = 0; i < count; ++i)
              state = Fn::template step<T>(state, from[i * steps[0]]);
          });
      // A no-op reduces over nothing but still applies the element function.
      out->data<T>()[position] =
          Fn::template finish<T>(state, plan.reducedCount);
    });
  });
  if (!known)
    return context.fail("reductions of type ", data.type(),
                        " are not supported");
  context.setOutputAs(0, std::move(*out), data.type());
}

/// log(sum(exp(x))), shifted by the maximum.
static void evalReduceLogSumExp(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<ReducedAxes> what = reducedAxes(context, 18);
  if (!what || !context.requireFloat(data, "the operand"))
    return;
  ReductionPlan plan(data.shape(), *what);
  std::optional<MutableTensor> out =
      context.allocate(computeType(data.type()), plan.outShape);
  if (!out)
    return;
  StridedLoop<1> inner(plan.reduced, {plan.reducedStrides});
  plan.forEachResult([&](int64_t position, int64_t first) {
    auto forEach = [&](auto &&fn) {
      inner.forEachRun(
          [&](int64_t, const auto &offsets, const auto &steps, int64_t count) {
            for (int64_t i = 0; i < count; ++i) {
              double x;
              readDoubles(data, first + offsets[0] + i * steps[0], 1, &x);
              fn(x);
            }
          });
    };
    double largest = -INFINITY;
    forEach([&](double x) { largest = std::fmax(largest, x); });
    double shift = std::isfinite(largest) ? largest : 0.0;
    double sum = 0;
    forEach([&](double x) { sum += std::exp(x - shift); });
    double value = shift + std::log(sum);
    writeDouble(*out, position, value);
  });
  context.setOutputAs(0, std::move(*out), data.type());
}

template <bool isMax> static void evalArg(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", 0), data.rank());
  bool keepDims = context.intAttribute("keepdims", 1) != 0;
  bool selectLast = context.opset() >= 12 &&
                    context.intAttribute("select_last_index", 0) != 0;
  std::optional<Tensor> wide = context.widened(data);
  if (!axis || !wide)
    return;
  if (data.dim(*axis) == 0)
    return context.fail("axis ", *axis, " of shape ", data.shape(),
                        " is empty");
  ReductionPlan plan(data.shape(), {{*axis}, keepDims, false});
  std::optional<MutableTensor> out =
      context.allocate(ElementType::Int64, plan.outShape);
  if (!out)
    return;
  bool known = visitNumber(wide->type(), [&]<typename T>(T) {
    plan.forEachResult([&](int64_t position, int64_t first) {
      const T *from = wide->data<T>() + first;
      int64_t best = 0;
      T bestValue = from[0];
      for (int64_t i = 1; i < plan.reducedCount; ++i) {
        T value = from[i * plan.reducedStrides[0]];
        if ((isMax ? value > bestValue : value < bestValue) ||
            (selectLast && value == bestValue)) {
          best = i;
          bestValue = value;
        }
      }
      out->data<int64_t>()[position] = best;
    });
  });
  if (!known)
    return context.fail("operands of type ", data.type(), " are not supported");
  context.setOutput(0, std::move(*out));
}

/// Softmax and LogSoftmax over one axis or, before version 13, over all axes
/// from `axis` on.
template <bool isLog> static void evalSoftmax(OpContext &context) {
  const Tensor &data = context.input(0);
  bool flattens = context.opset() < 13;
  std::optional<int64_t> axis = context.normalizeAxis(
      context.intAttribute("axis", flattens ? 1 : -1), data.rank());
  std::optional<Tensor> wide = context.widened(data);
  if (!axis || !wide || !context.requireFloat(data, "the operand"))
    return;
  std::optional<MutableTensor> out =
      context.allocate(wide->type(), data.shape());
  if (!out)
    return;
  std::vector<int64_t> strides = rowMajorStrides(data.shape());
  int64_t stride = flattens ? 1 : strides[size_t(*axis)];
  int64_t length = data.dim(*axis) * (flattens ? strides[size_t(*axis)] : 1);
  auto apply = [&]<typename T>(T) {
    for (int64_t i = 0, e = data.numElements(); i < e; ++i) {
      if (i / stride % length != 0)
        continue; // not the first of its row
      const T *from = wide->data<T>() + i;
      T *to = out->data<T>() + i;
      double largest = -INFINITY;
      for (int64_t j = 0; j < length; ++j)
        largest = std::max(largest, double(from[j * stride]));
      double sum = 0;
      for (int64_t j = 0; j < length; ++j)
        sum += std::exp(double(from[j * stride]) - largest);
      for (int64_t j = 0; j < length; ++j) {
        double shifted = double(from[j * stride]) - largest;
        to[j * stride] =
            T(isLog ? shifted - std::log(sum) : std::exp(shifted) / sum);
      }
    }
  };
  if (wide->type() == ElementType::Float64)
    apply(double());
  else
    apply(float());
  context.setOutputAs(0, std::move(*out), data.type());
}

static void evalCumSum(OpContext &context) {
  const Tensor &data = context.input(0);
  bool exclusive = context.intAttribute("exclusive", 0) != 0;
  bool reverse = context.intAttribute("reverse", 0) != 0;
  std::optional<int64_t> axis = context.intOf(context.input(1), "the axis");
  if (axis)
    axis = context.normalizeAxis(*axis, data.rank());
  std::optional<Tensor> wide = context.widened(data);
  if (!axis || !wide)
    return;
  ReductionPlan plan(data.shape(), {{*axis}, true, false});
  std::optional<MutableTensor> out =
      context.allocate(wide->type(), data.shape());
  if (!out)
    return;
  bool known = visitNumber(wide->type(), [&]<typename T>(T) {
    plan.forEachResult([&](int64_t, int64_t first) {
      Sum<T> sum = 0;
      for (int64_t j = 0; j < plan.reducedCount; ++j) {
        int64_t step = reverse ? plan.reducedCount - 1 - j : j;
        int64_t i = first + step * plan.reducedStrides[0];
        if (exclusive)
          out->data<T>()[i] = T(sum);
        sum += Sum<T>(wide->data<T>()[i]);
        if (!exclusive)
          out->data<T>()[i] = T(sum);
      }
    });
  });
  if (!known)
    return context.fail("sums of type ", data.type(), " are not supported");
  context.setOutputAs(0, std::move(*out), data.type());
}

constexpr Operator table[] = {
    {"ArgMax", 1, 1, 1, 1, evalArg<true>},
    {"ArgMin", 1, 1, 1, 1, evalArg<false>},
    {"CumSum", 11, 2, 2, 1, evalCumSum},
    {"LogSoftmax", 1, 1, 1, 1, evalSoftmax<true>},
    {"ReduceL1", 1, 1, 2, 1, evalReduce<L1Fn, 18>},
    {"ReduceL2", 1, 1, 2, 1, evalReduce<L2Fn, 18>},
    {"ReduceLogSum", 1, 1, 2, 1, evalReduce<LogSumFn, 18>},
    {"ReduceLogSumExp", 1, 1, 2, 1, evalReduceLogSumExp},
    {"ReduceMax", 1, 1, 2, 1, evalReduce<ExtremeFn<true>, 18>},
    {"ReduceMean", 1, 1, 2, 1, evalReduce<MeanFn, 18>},
    {"ReduceMin", 1, 1, 2, 1, evalReduce<ExtremeFn<false>, 18>},
    {"ReduceProd", 1, 1, 2, 1, evalReduce<ProdFn, 18>},
    {"ReduceSum", 1, 1, 2, 1, evalReduce<SumFn, 13>},
    {"ReduceSumSquare", 1, 1, 2, 1, evalReduce<SumSquareFn, 18>},
    {"Softmax", 1, 1, 1, 1, evalSoftmax<false>},
};

std::span<const Operator> llq::interp::reduceOperators() { return table; }
