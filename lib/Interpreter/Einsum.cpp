//===- Einsum.cpp - Einstein summation ------------------------------------===//
//
// Plain loops over all index combinations: correct for every equation, fast
// enough for the small ones that exporters write.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <algorithm>
#include <map>
#include <type_traits>

using namespace llq::interp;

/// An index: a letter, or a dimension of the ellipsis counted from its end as
/// a negative number.
using Label = int;

namespace {

struct Term {
  std::vector<Label> labels;
  std::vector<int64_t> strides; // per label of the iteration space
};

} // namespace

/// Splits one side of the equation into labels; `rank` is that of the operand
/// (-1 for the result, whose ellipsis has `ellipsisRank` dimensions).
static std::optional<std::vector<Label>> parseTerm(OpContext &context,
                                                   std::string_view text,
                                                   int64_t rank,
                                                   int64_t ellipsisRank) {
  std::vector<Label> labels;
  size_t dots = text.find("...");
  int64_t letters = int64_t(text.size()) - (dots == text.npos ? 0 : 3);
  if (rank >= 0) {
    ellipsisRank = rank - letters;
    if (ellipsisRank < 0 || (ellipsisRank > 0 && dots == text.npos))
      return context.failure("term '", text, "' does not fit rank ", rank);
  }
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == dots) {
      for (int64_t d = ellipsisRank; d > 0; --d)
        labels.push_back(Label(-d));
      i += 2;
      continue;
    }
    bool isLetter = (text[i] >= 'a' && text[i] <= 'z') ||
                    (text[i] >= 'A' && text[i] <= 'Z');
    if (!isLetter)
      return context.failure("term '", text, "' has an unknown index");
    labels.push_back(text[i]);
  }
  return labels;
}

namespace {

/// The iteration space: result labels first, then summed ones.
struct Space {
  std::vector<Label> labels;
  std::vector<int64_t> sizes;
  size_t resultRank = 0;
  std::vector<Term> terms;
};

} // namespace

static std::optional<Space> parseEquation(OpContext &context) {
  std::string equation = context.stringAttribute("equation", "");
  std::erase(equation, ' ');
  size_t arrow = equation.find("->");
  std::string_view left = std::string_view(equation).substr(
      0, arrow == std::string::npos ? equation.size() : arrow);
  Space space;
  std::map<Label, int64_t> sizes;
  std::map<Label, int> uses;
  int64_t ellipsisRank = 0;
  for (unsigned i = 0; i < context.numInputs(); ++i) {
    const Tensor *operand = context.optionalInput(i);
    if (!operand)
      return context.failure("operand ", int64_t(i), " is missing");
    if (!context.requireSameType(context.input(0), "the first operand",
                                 *operand, "the others"))
      return std::nullopt;
    size_t comma = std::min(left.find(','), left.size());
    std::string_view text = left.substr(0, comma);
    bool isLast = i + 1 == context.numInputs();
    if (isLast != (comma == left.size()))
      return context.failure("equation '", equation, "' does not have ",
                             int64_t(context.numInputs()), " terms");
    left.remove_prefix(isLast ? comma : comma + 1);
    std::optional<std::vector<Label>> labels =
        parseTerm(context, text, operand->rank(), 0);
    if (!labels)
      return std::nullopt;
    for (size_t d = 0; d < labels->size(); ++d) {
      Label label = (*labels)[d];
      int64_t dim = operand->dim(int64_t(d));
      auto [it, isNew] = sizes.try_emplace(label, dim);
      if (it->second != dim && it->second != 1 && dim != 1)
        return context.failure("equation '", equation, "' gives one index the ",
                               "sizes ", it->second, " and ", dim);
      if (it->second == 1)
        it->second = dim;
      ++uses[label];
      if (label < 0)
        ellipsisRank = std::max<int64_t>(ellipsisRank, -label);
    }
    space.terms.push_back({std::move(*labels), {}});
  }
  if (arrow != std::string::npos) {
    std::optional<std::vector<Label>> labels =
        parseTerm(context, std::string_view(equation).substr(arrow + 2), -1,
                  ellipsisRank);
    if (!labels)
      return std::nullopt;
    space.labels = std::move(*labels);
  } else { // implicit: the ellipsis, then letters used once, in order
    for (const auto &[label, count] : uses)
      if (label < 0 || count == 1)
        space.labels.push_back(label);
  }
  space.resultRank = space.labels.size();
  for (size_t i = 0; i < space.resultRank; ++i) {
    auto begin = space.labels.begin();
    if (!sizes.count(space.labels[i]) ||
        std::count(begin, space.labels.end(), space.labels[i]) != 1)
      return context.failure("equation '", equation, "' has a bad result term");
  }
  for (const auto &[label, size] : sizes)
    if (std::find(space.labels.begin(), space.labels.end(), label) ==
        space.labels.end())
      space.labels.push_back(label);
  for (Label label : space.labels)
    space.sizes.push_back(sizes[label]);
  for (unsigned i = 0; i < context.numInputs(); ++i) {
    Term &term = space.terms[i];
    std::vector<int64_t> own = rowMajorStrides(context.input(i).shape());
    term.strides.assign(space.labels.size(), 0);
    for (size_t d = 0; d < term.labels.size(); ++d) {
      size_t at = size_t(
          std::find(space.labels.begin(), space.labels.end(), term.labels[d]) -
          space.labels.begin());
      if (context.input(i).dim(int64_t(d)) != 1)
        term.strides[at] += own[d]; // a repeated index walks the diagonal
    }
  }
  return space;
}

template <typename T>
static void contract(const Space &space, const std::vector<Tensor> &operands,
                     MutableTensor &out) {
  using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
  size_t rank = space.labels.size();
  int64_t summed = 1;
  for (size_t d = space.resultRank; d < rank; ++d)
    summed *= space.sizes[d];
  std::vector<int64_t> index(rank, 0);
  std::vector<int64_t> offsets(operands.size(), 0);
  auto advance = [&](size_t begin, size_t end) {
    for (size_t d = end; d-- > begin;) {
      bool wraps = ++index[d] == space.sizes[d];
      for (size_t t = 0; t < operands.size(); ++t)
        offsets[t] +=
            space.terms[t].strides[d] * (wraps ? 1 - space.sizes[d] : 1);
      if (!wraps)
        return;
      index[d] = 0;
    }
  };
  for (int64_t i = 0, e = out.numElements(); i < e; ++i) {
    Sum sum = 0;
    for (int64_t j = 0; j < summed; ++j) {
      Sum product = 1;
      for (size_t t = 0; t < operands.size(); ++t)
        product *= Sum(operands[t].data<T>()[offsets[t]]);
      sum += product;
      advance(space.resultRank, rank);
    }
    out.data<T>()[i] = T(sum);
    advance(0, space.resultRank);
  }
}

static void evalEinsum(OpContext &context) {
  std::optional<Space> space = parseEquation(context);
  if (!space)
    return;
  // Also bounds the time that a hostile equation can take.
  Result<int64_t> steps = countElements(space->sizes);
  if (!steps)
    return context.fail(steps.message());
  ElementType type = context.input(0).type();
  std::vector<Tensor> operands;
  for (unsigned i = 0; i < context.numInputs(); ++i) {
    std::optional<Tensor> wide = context.widened(context.input(i));
    if (!wide)
      return;
    operands.push_back(std::move(*wide));
  }
  Shape shape(space->sizes.begin(),
              space->sizes.begin() + int64_t(space->resultRank));
  std::optional<MutableTensor> out =
      context.allocate(computeType(type), std::move(shape));
  if (!out)
    return;
  bool known = visitNumber(
      out->type(), [&]<typename T>(T) { contract<T>(*space, operands, *out); });
  if (!known)
    return context.fail("operands of type ", type, " are not supported");
  context.setOutputAs(0, std::move(*out), type);
}

constexpr Operator table[] = {
    {"Einsum", 12, 1, variadic, 1, evalEinsum},
};

std::span<const Operator> llq::interp::einsumOperators() { return table; }
