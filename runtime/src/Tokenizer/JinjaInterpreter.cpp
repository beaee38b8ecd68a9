//===- JinjaInterpreter.cpp - Running a chat template ---------------------===//
//
// Walks the syntax tree. Scopes are Jinja's: a loop, macro or block has its own
// variables, which end with it; only namespaces carry values out of a loop.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaInterpreter.h"

#include "JinjaLexer.h"

#include <algorithm>

namespace llqrt::tok::jinja {

namespace {
/// How a body ended: at its end, or at a break or continue.
enum class Flow { Normal, Break, Continue };

class Interpreter {
public:
  Interpreter(Dict variables, int64_t now);
  ~Interpreter();

  std::string run(const Body &body);

private:
  /// Evaluations inside each other, across macro calls.
  static constexpr unsigned kMaxDepth = 1000;

  struct Depth {
    explicit Depth(Interpreter &interpreter) : interpreter(interpreter) {
      if (++interpreter.depth > kMaxDepth)
        throw Error("the template calls itself too often");
    }
    ~Depth() { --interpreter.depth; }
    Interpreter &interpreter;
  };
  /// A scope of its own for the variables set while it lives.
  struct Scope {
    explicit Scope(Interpreter &interpreter) : interpreter(interpreter) {
      interpreter.scopes.emplace_back();
    }
    ~Scope() { interpreter.scopes.pop_back(); }
    Interpreter &interpreter;
  };

  Flow execute(const Body &body);
  Flow execute(const Stmt &stmt);
  Flow executeIf(const Stmt &stmt);
  Flow executeFor(const Stmt &stmt);
  Flow executeCapture(const Stmt &stmt);
  Values loopItems(const Stmt &stmt);
  void defineMacro(const Stmt &stmt);
  Value callMacro(const Stmt &stmt, const Arguments &arguments);
  void assign(const Stmt &stmt, const Value &value);
  void assign(const Stmt::Target &target, const Value &value);
  void write(std::string_view text);

  Value evaluate(const Expr &expr);
  Value evaluateOperator(const Expr &expr);
  Value lookUp(const std::string &name) const;
  bool compare(const Expr &expr);
  bool compare(Expr::Comparison comparison, const Value &a, const Value &b);
  Value negate(const Value &value);
  Value call(const Expr &expr);
  Arguments arguments(const Expr &expr);

  Environment environment;
  /// scopes[0] are the global variables. A macro sees these and the scopes from
  /// `frame` on.
  std::vector<Dict> scopes;
  size_t frame = 1;
  std::string *out = nullptr;
  unsigned depth = 0;
  /// Line of what is being evaluated, for messages.
  unsigned line = 1;
};
} // namespace

Interpreter::Interpreter(Dict variables, int64_t now) {
  environment.now = now;
  scopes.push_back(globalFunctions(environment));
  for (auto &[name, value] : variables.entries)
    scopes[0].set(name, std::move(value));
}

Interpreter::~Interpreter() {
  for (const std::shared_ptr<Dict> &dict : environment.namespaces)
    dict->entries.clear();
}

std::string Interpreter::run(const Body &body) {
  std::string text;
  out = &text;
  try {
    execute(body);
  } catch (const Error &e) {
    failAtLine(line, e.what());
  }
  return text;
}

void Interpreter::write(std::string_view text) {
  environment.budget.allocate(text.size());
  out->append(text);
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

Flow Interpreter::execute(const Body &body) {
  Depth guard(*this);
  for (const std::unique_ptr<Stmt> &stmt : body) {
    environment.budget.step();
    if (Flow flow = execute(*stmt); flow != Flow::Normal)
      return flow;
  }
  return Flow::Normal;
}

Flow Interpreter::execute(const Stmt &stmt) {
  line = stmt.line;
  switch (stmt.kind) {
  case Stmt::Kind::Text:
    write(stmt.text);
    return Flow::Normal;
  case Stmt::Kind::Print:
    write(evaluate(*stmt.exprs[0]).str());
    return Flow::Normal;
  case Stmt::Kind::If:
    return executeIf(stmt);
  case Stmt::Kind::For:
    return executeFor(stmt);
  case Stmt::Kind::Set:
    assign(stmt, evaluate(*stmt.exprs[0]));
    return Flow::Normal;
  case Stmt::Kind::SetBlock:
  case Stmt::Kind::FilterBlock:
    return executeCapture(stmt);
  case Stmt::Kind::Macro:
    defineMacro(stmt);
    return Flow::Normal;
  case Stmt::Kind::With: {
    // The values are computed outside of the new scope.
    Values values;
    for (const ExprPtr &expr : stmt.exprs)
      values.push_back(evaluate(*expr));
    Scope scope(*this);
    for (size_t i = 0; i < values.size(); ++i)
      assign(stmt.targets[i], values[i]);
    return execute(stmt.bodies[0]);
  }
  case Stmt::Kind::Group:
    return execute(stmt.bodies[0]);
  case Stmt::Kind::Break:
    return Flow::Break;
  case Stmt::Kind::Continue:
    return Flow::Continue;
  }
  return Flow::Normal;
}

Flow Interpreter::executeIf(const Stmt &stmt) {
  size_t taken = 0;
  while (taken < stmt.exprs.size() && !evaluate(*stmt.exprs[taken]).truthy())
    ++taken;
  return taken < stmt.bodies.size() ? execute(stmt.bodies[taken])
                                    : Flow::Normal;
}

/// The text of a body, filtered, and then assigned or written.
Flow Interpreter::executeCapture(const Stmt &stmt) {
  std::string text;
  std::string *outer = out;
  Flow flow;
  Value value;
  {
    Scope scope(*this);
    out = &text;
    // An error ends the whole run, so that `out` needs no more care.
    flow = execute(stmt.bodies[0]);
    out = outer;
    scopes.back().set(kBlockText, Value::string(std::move(text)));
    value = evaluate(*stmt.exprs[0]);
  }
  if (stmt.kind == Stmt::Kind::SetBlock)
    assign(stmt, value);
  else
    write(value.str());
  return flow;
}

Values Interpreter::loopItems(const Stmt &stmt) {
  Value sequence = evaluate(*stmt.exprs[0]);
  Values items = sequence.iterate(environment.budget);
  if (stmt.exprs.size() == 1)
    return items;
  Values kept;
  for (Value &item : items) {
    Scope scope(*this);
    assign(stmt, item);
    if (evaluate(*stmt.exprs[1]).truthy())
      kept.push_back(std::move(item));
  }
  return kept;
}

/// The variable `loop` for item `i`.
static Value loopVariable(const Values &items, size_t i) {
  auto count = static_cast<int64_t>(items.size());
  auto index = static_cast<int64_t>(i);
  Dict loop;
  loop.set("index", Value::integer(index + 1));
  loop.set("index0", Value::integer(index));
  loop.set("revindex", Value::integer(count - index));
  loop.set("revindex0", Value::integer(count - index - 1));
  loop.set("first", Value::boolean(i == 0));
  loop.set("last", Value::boolean(i + 1 == items.size()));
  loop.set("length", Value::integer(count));
  // Only recursive loops have a depth.
  loop.set("depth", Value::integer(1));
  loop.set("depth0", Value::integer(0));
  loop.set("previtem", i ? items[i - 1] : Value::undefined("previtem"));
  loop.set("nextitem",
           i + 1 < items.size() ? items[i + 1] : Value::undefined("nextitem"));
  loop.set("cycle", Value::function("cycle", [i](Arguments &arguments) {
             const Values &choices = arguments.positional;
             if (choices.empty())
               throw Error("cycle needs something to choose from");
             return choices[i % choices.size()];
           }));
  return Value::dict(std::move(loop));
}

Flow Interpreter::executeFor(const Stmt &stmt) {
  Values items = loopItems(stmt);
  if (items.empty())
    return stmt.bodies.size() > 1 ? execute(stmt.bodies[1]) : Flow::Normal;
  for (size_t i = 0; i < items.size(); ++i) {
    // The loop variable has a dozen parts.
    environment.budget.step(10);
    Scope scope(*this);
    scopes.back().set("loop", loopVariable(items, i));
    assign(stmt, items[i]);
    if (execute(stmt.bodies[0]) == Flow::Break)
      break;
  }
  return Flow::Normal;
}

void Interpreter::assign(const Stmt &stmt, const Value &value) {
  if (!stmt.unpacks)
    return assign(stmt.targets[0], value);
  Values items = value.iterate(environment.budget);
  if (items.size() != stmt.targets.size())
    throw Error("cannot unpack " + std::to_string(items.size()) +
                " values into " + std::to_string(stmt.targets.size()) +
                " variables");
  for (size_t i = 0; i < items.size(); ++i)
    assign(stmt.targets[i], items[i]);
}

void Interpreter::assign(const Stmt::Target &target, const Value &value) {
  if (target.attribute.empty()) {
    // Outside of any scope of its own a template sets global variables.
    scopes.back().set(target.name, value);
    return;
  }
  Value object = lookUp(target.name);
  if (!object.isNamespace())
    throw Error("cannot set an attribute of '" + excerpt(target.name) +
                "', which is no namespace");
  object.namespacePtr()->set(target.attribute, value);
}

void Interpreter::defineMacro(const Stmt &stmt) {
  assign({stmt.text, {}},
         Value::function(stmt.text, [this, &stmt](Arguments &arguments) {
           return callMacro(stmt, arguments);
         }));
}

Value Interpreter::callMacro(const Stmt &stmt, const Arguments &arguments) {
  Depth guard(*this);
  size_t count = stmt.targets.size();
  if (arguments.positional.size() > count)
    throw Error("macro '" + excerpt(stmt.text) + "' takes at most " +
                std::to_string(count) + " arguments");
  std::vector<std::optional<Value>> values(count);
  std::copy(arguments.positional.begin(), arguments.positional.end(),
            values.begin());
  for (const auto &[name, value] : arguments.named) {
    size_t i = 0;
    while (i < count && stmt.targets[i].name != name)
      ++i;
    if (i == count || values[i])
      throw Error("macro '" + excerpt(stmt.text) + "' takes no argument '" +
                  excerpt(name) + "' here");
    values[i] = value;
  }

  size_t outerFrame = frame;
  unsigned callLine = line;
  std::string text;
  std::string *outer = out;
  {
    Scope scope(*this);
    frame = scopes.size() - 1;
    out = &text;
    size_t firstDefault = count - stmt.exprs.size();
    for (size_t i = 0; i < count; ++i) {
      const std::string &name = stmt.targets[i].name;
      if (!values[i])
        values[i] = i < firstDefault ? Value::undefined(name)
                                     : evaluate(*stmt.exprs[i - firstDefault]);
      scopes.back().set(name, *values[i]);
    }
    execute(stmt.bodies[0]);
  }
  out = outer;
  frame = outerFrame;
  line = callLine;
  return Value::string(std::move(text));
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

Value Interpreter::lookUp(const std::string &name) const {
  for (size_t i = scopes.size(); i-- > frame;)
    if (const Value *value = scopes[i].find(name))
      return *value;
  if (const Value *value = scopes[0].find(name))
    return *value;
  return Value::undefined(name);
}

Value Interpreter::evaluate(const Expr &expr) {
  Depth guard(*this);
  environment.budget.step();
  line = expr.line;
  auto operand = [&](size_t i) { return evaluate(*expr.operands[i]); };
  switch (expr.kind) {
  case Expr::Kind::Literal:
    return expr.value;
  case Expr::Kind::Name:
    return lookUp(expr.name);
  case Expr::Kind::List:
  case Expr::Kind::Tuple: {
    Values items;
    for (size_t i = 0; i < expr.operands.size(); ++i)
      items.push_back(operand(i));
    environment.budget.allocate(items.size() * sizeof(Value));
    return Value::list(std::move(items), expr.kind == Expr::Kind::Tuple);
  }
  case Expr::Kind::Dict: {
    Dict dict;
    for (size_t i = 0; i < expr.operands.size(); i += 2) {
      Value key = operand(i);
      if (!key.isString())
        throw Error("only strings are supported as keys of a mapping");
      dict.set(key.asString(), operand(i + 1));
    }
    environment.budget.allocate(dict.entries.size() * sizeof(Value));
    return Value::dict(std::move(dict));
  }
  case Expr::Kind::Attribute:
    return attribute(operand(0), expr.name, environment);
  case Expr::Kind::Index: {
    Value object = operand(0), key = operand(1);
    Value value = subscript(object, key);
    // As in Jinja, object["name"] falls back to object.name.
    return value.isUndefined() && key.isString()
               ? attribute(object, key.asString(), environment)
               : value;
  }
  case Expr::Kind::Slice:
    return slice(operand(0), operand(1), operand(2), operand(3),
                 environment.budget);
  case Expr::Kind::Call:
    return call(expr);
  case Expr::Kind::Filter: {
    Value value = operand(0);
    return applyFilter(expr.name, value, arguments(expr), environment);
  }
  case Expr::Kind::Test: {
    Value value = operand(0);
    return Value::boolean(applyTest(expr.name, value, arguments(expr)));
  }
  default:
    return evaluateOperator(expr);
  }
}

Value Interpreter::evaluateOperator(const Expr &expr) {
  auto operand = [&](size_t i) { return evaluate(*expr.operands[i]); };
  switch (expr.kind) {
  case Expr::Kind::Not:
    return Value::boolean(!operand(0).truthy());
  case Expr::Kind::Negate:
    return negate(operand(0));
  case Expr::Kind::Plus:
    return arithmetic(BinaryOp::Add, Value::integer(0), operand(0),
                      environment.budget);
  case Expr::Kind::And: {
    Value left = operand(0);
    return left.truthy() ? operand(1) : left;
  }
  case Expr::Kind::Or: {
    Value left = operand(0);
    return left.truthy() ? left : operand(1);
  }
  case Expr::Kind::Concat: {
    std::string text;
    for (size_t i = 0; i < expr.operands.size(); ++i)
      text += operand(i).str();
    environment.budget.allocate(text.size());
    return Value::string(std::move(text));
  }
  case Expr::Kind::Binary: {
    Value left = operand(0), right = operand(1);
    return arithmetic(expr.op, left, right, environment.budget);
  }
  case Expr::Kind::Compare:
    return Value::boolean(compare(expr));
  case Expr::Kind::Conditional:
    return operand(1).truthy() ? operand(0) : operand(2);
  default:
    throw Error("an expression of an unknown kind");
  }
}

Value Interpreter::negate(const Value &value) {
  if (value.is(Value::Kind::Float))
    return Value::number(-value.asNumber());
  return arithmetic(BinaryOp::Subtract, Value::integer(0), value,
                    environment.budget);
}

bool Interpreter::compare(const Expr &expr) {
  Value left = evaluate(*expr.operands[0]);
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = evaluate(*expr.operands[i + 1]);
    if (!compare(expr.comparisons[i], left, right))
      return false;
    left = std::move(right);
  }
  return true;
}

bool Interpreter::compare(Expr::Comparison comparison, const Value &a,
                          const Value &b) {
  switch (comparison) {
  case Expr::Comparison::Equal:
    return equal(a, b);
  case Expr::Comparison::NotEqual:
    return !equal(a, b);
  case Expr::Comparison::Less:
    return less(a, b);
  case Expr::Comparison::LessEqual:
    return less(a, b) || equal(a, b);
  case Expr::Comparison::Greater:
    return less(b, a);
  case Expr::Comparison::GreaterEqual:
    return less(b, a) || equal(a, b);
  case Expr::Comparison::In:
    return contains(b, a);
  case Expr::Comparison::NotIn:
    return !contains(b, a);
  }
  return false;
}

Arguments Interpreter::arguments(const Expr &expr) {
  Arguments result;
  for (size_t i = 1; i < expr.operands.size(); ++i)
    result.positional.push_back(evaluate(*expr.operands[i]));
  for (const auto &[name, value] : expr.named)
    result.named.emplace_back(name, evaluate(*value));
  return result;
}

Value Interpreter::call(const Expr &expr) {
  Value callee = evaluate(*expr.operands[0]);
  if (callee.isUndefined())
    throwUndefined(callee);
  if (!callee.is(Value::Kind::Function))
    throw Error(std::string(callee.typeName()) + " cannot be called");
  Arguments values = arguments(expr);
  return callee.asFunction().call(values);
}

std::string render(const Body &body, Dict variables, int64_t now) {
  return Interpreter(std::move(variables), now).run(body);
}

} // namespace llqrt::tok::jinja
