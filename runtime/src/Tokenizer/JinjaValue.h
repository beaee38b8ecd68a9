//===- JinjaValue.h - Values of a chat template -----------------*- C++ -*-===//
//
// The Python values that a Jinja template computes with, and what they do when
// they are printed, compared, added or looked into. Strings and containers are
// shared and never change, except namespaces, which templates assign to.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_JINJAVALUE_H
#define LLQRT_TOKENIZER_JINJAVALUE_H

#include "TokenizerSpec.h"

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

namespace llqrt::tok::jinja {

class Value;
struct Arguments;

using Values = std::vector<Value>;

/// What a template may consume before it is stopped: templates come with a
/// model file and may be hostile or broken.
class Budget {
public:
  /// Pays for `count` steps of evaluation, and for `bytes` of new text or
  /// values.
  void step(uint64_t count = 1);
  void allocate(uint64_t bytes);

private:
  uint64_t stepsLeft = 4'000'000;
  uint64_t bytesLeft = uint64_t(1) << 29;
};

struct Sequence {
  Values items;
  bool isTuple = false;
};

struct Dict {
  /// In order of insertion, as in Python. Keys are strings here.
  std::vector<std::pair<std::string, Value>> entries;
  bool isNamespace = false;

  const Value *find(std::string_view key) const;
  void set(std::string_view key, Value value);
};

struct Function {
  std::string name;
  std::function<Value(Arguments &)> call;
};

class Value {
public:
  enum class Kind {
    Undefined,
    None,
    Bool,
    Int,
    Float,
    String,
    Sequence,
    Dict,
    Function
  };

  /// The undefined value that looking up `name` gave.
  static Value undefined(std::string name = {});
  static Value none() { return Value(Data(std::in_place_index<1>)); }
  static Value boolean(bool value) { return Value(Data(value)); }
  static Value integer(int64_t value) { return Value(Data(value)); }
  static Value number(double value) { return Value(Data(value)); }
  static Value string(std::string value);
  /// Containers are limited in depth and in all they contain, shared parts
  /// counted as often as they occur, so that going through one always ends.
  /// Throws Error beyond that.
  static Value list(Values items, bool isTuple = false);
  static Value dict(Dict entries);
  static Value function(std::string name,
                        std::function<Value(Arguments &)> call);

  Value() : Value(undefined()) {}

  Kind kind() const { return static_cast<Kind>(data.index()); }
  bool is(Kind k) const { return kind() == k; }
  bool isUndefined() const { return is(Kind::Undefined); }
  bool isString() const { return is(Kind::String); }
  /// Also true for booleans, which count as 0 and 1.
  bool isInteger() const { return is(Kind::Int) || is(Kind::Bool); }
  bool isNumber() const { return isInteger() || is(Kind::Float); }
  bool isNamespace() const { return is(Kind::Dict) && asDict().isNamespace; }

  /// The contents; the kind must fit.
  bool asBool() const { return std::get<bool>(data); }
  int64_t asInteger() const {
    return is(Kind::Bool) ? asBool() : std::get<int64_t>(data);
  }
  double asNumber() const {
    return is(Kind::Float) ? std::get<double>(data)
                           : static_cast<double>(asInteger());
  }
  const std::string &asString() const { return *std::get<StringPtr>(data); }
  const Sequence &asSequence() const { return *std::get<SequencePtr>(data); }
  const Values &items() const { return asSequence().items; }
  const Dict &asDict() const { return *std::get<DictPtr>(data); }
  const Function &asFunction() const { return *std::get<FunctionPtr>(data); }
  /// The name that an undefined value was looked up by.
  const std::string &undefinedName() const { return *std::get<0>(data).name; }

  /// A namespace as a thing that can be changed.
  const std::shared_ptr<Dict> &namespacePtr() const {
    return std::get<DictPtr>(data);
  }

  /// Python's truth, str(), repr() and type name.
  bool truthy() const;
  std::string str() const;
  std::string repr() const;
  const char *typeName() const;

  /// len(); Error for values without a length.
  size_t length() const;
  /// What a for loop goes through; Error for what cannot be iterated.
  Values iterate(Budget &budget) const;

private:
  struct Undefined {
    std::shared_ptr<const std::string> name;
  };
  using StringPtr = std::shared_ptr<const std::string>;
  using SequencePtr = std::shared_ptr<const Sequence>;
  using DictPtr = std::shared_ptr<Dict>;
  using FunctionPtr = std::shared_ptr<const Function>;
  using Data = std::variant<Undefined, std::monostate, bool, int64_t, double,
                            StringPtr, SequencePtr, DictPtr, FunctionPtr>;

  explicit Value(Data data) : data(std::move(data)) {}
  void contain(const Value &inner);
  void appendRepr(std::string &out) const;

  Data data;
  /// Levels of containers and bytes below this value. A namespace counts as
  /// empty: its contents change, and nothing ever goes through them.
  uint32_t depth = 0;
  uint32_t weight = 1;
};

/// Arguments of a call, by position and by name.
struct Arguments {
  Values positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Arguments matched with the parameters of a built-in function.
class Parameters {
public:
  /// Error if there are too many arguments or one of another name.
  Parameters(const char *callee, const Arguments &arguments,
             std::initializer_list<const char *> names);

  bool has(size_t i) const { return values[i].has_value(); }
  /// Argument i; Error if it is missing (or of the wrong type).
  const Value &value(size_t i) const;
  const std::string &string(size_t i) const;
  int64_t integer(size_t i) const;
  bool boolean(size_t i, bool absent) const {
    return has(i) ? value(i).truthy() : absent;
  }

private:
  const char *callee;
  std::vector<const char *> names;
  std::vector<std::optional<Value>> values;
};

/// Python's ==; never an error.
bool equal(const Value &a, const Value &b);
/// Python's <; Error for types without an order.
bool less(const Value &a, const Value &b);
/// Python's `needle in haystack`.
bool contains(const Value &haystack, const Value &needle);

enum class BinaryOp {
  Add,
  Subtract,
  Multiply,
  Divide,
  FloorDivide,
  Modulo,
  Power
};
Value arithmetic(BinaryOp op, const Value &a, const Value &b, Budget &budget);

/// `object[key]`, undefined where there is nothing, and
/// `object[start:stop:step]`, where absent parts are none.
Value subscript(const Value &object, const Value &key);
Value slice(const Value &object, const Value &start, const Value &stop,
            const Value &step, Budget &budget);

/// json.dumps() with ensure_ascii off; `indent` below 0 writes one line.
std::string toJson(const Value &value, int64_t indent, bool sortKeys);

/// "'name' is undefined".
[[noreturn]] void throwUndefined(const Value &value);

} // namespace llqrt::tok::jinja

#endif // LLQRT_TOKENIZER_JINJAVALUE_H
