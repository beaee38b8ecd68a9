//===- ChatTemplateTest.cpp - Tests of chat templates ---------------------===//
//
// What templates write is compared with the reference implementation of Jinja;
// limits and messages are tested by hand.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaInterpreter.h"
#include "TokenizerFixture.h"

#include <random>

using namespace llqrt;
using namespace llqrt::test;
using tok::jinja::Dict;
using tok::jinja::Value;

static Value toValue(const Json &json) {
  if (json.is_null())
    return Value::none();
  if (json.is_boolean())
    return Value::boolean(json.get<bool>());
  if (json.is_number_integer())
    return Value::integer(json.get<int64_t>());
  if (json.is_number())
    return Value::number(json.get<double>());
  if (json.is_string())
    return Value::string(json.get<std::string>());
  if (json.is_array()) {
    tok::jinja::Values items;
    for (const Json &item : json)
      items.push_back(toValue(item));
    return Value::list(std::move(items));
  }
  Dict dict;
  for (const auto &[key, item] : json.items())
    dict.set(key, toValue(item));
  return Value::dict(std::move(dict));
}

static std::string render(std::string_view source,
                          const Json &variables = Json::object(),
                          int64_t now = 0) {
  Dict values;
  for (const auto &[key, item] : variables.items())
    values.set(key, toValue(item));
  return tok::jinja::render(tok::jinja::parseTemplate(source),
                            std::move(values), now);
}

static std::string errorOf(std::string_view source,
                           const Json &variables = Json::object()) {
  try {
    return "no error: " + render(source, variables);
  } catch (const tok::Error &e) {
    return e.what();
  }
}

TEST(ChatTemplateTest, AgreesWithTheReference) {
  Json vectors = readJson("data/tokenizer/chat-vectors.json");
  ASSERT_GT(vectors["cases"].size(), 100u);
  auto now = vectors["now"].get<int64_t>();
  for (const Json &vector : vectors["cases"]) {
    auto source = vector["template"].get<std::string>();
    const Json &variables =
        vectors["variables"][vector["variables"].get<std::string>()];
    if (!vector.contains("text")) {
      EXPECT_THROW(render(source, variables, now), tok::Error) << source;
      continue;
    }
    try {
      EXPECT_EQ(render(source, variables, now),
                vector["text"].get<std::string>())
          << source;
    } catch (const tok::Error &e) {
      ADD_FAILURE() << source << "\n" << e.what();
    }
  }
}

TEST(ChatTemplateTest, MessagesNameTheLineAndTheConstruct) {
  EXPECT_EQ(errorOf("a\n{{ b.c }}"), "line 2: 'b' is undefined");
  EXPECT_EQ(errorOf("\n\n{% include 'x' %}"),
            "line 3: the statement 'include' is not supported");
  EXPECT_EQ(errorOf("{{ 1|shuffle }}"),
            "line 1: the filter 'shuffle' is not supported");
  EXPECT_EQ(errorOf("{{ 1 is prime }}"),
            "line 1: the test 'prime' with 0 arguments is not supported");
  EXPECT_EQ(errorOf("{{ 'a'.encode() }}"),
            "line 1: the method 'encode' of a string is not supported");
  EXPECT_EQ(errorOf("{{ [].append(1) }}"),
            "line 1: the method 'append' of a list is not supported");
  EXPECT_EQ(errorOf("\n{{ raise_exception('roles must alternate') }}"),
            "line 2: roles must alternate");
  EXPECT_EQ(errorOf("{{ raise_exception('two\\nlines\\x07') }}"),
            "line 1: two\\nlines\\x07");
  EXPECT_EQ(errorOf("{% if a %}\nb"), "line 2: the template ends without "
                                      "'endif'");
  EXPECT_EQ(errorOf("{% endif %}"), "line 1: 'endif' has nothing to end");
  EXPECT_EQ(errorOf("{{ 1 + }}"), "line 1: the tag ends too early");
  EXPECT_EQ(errorOf("\n{{ (1"), "line 2: the tag does not end");
  EXPECT_EQ(errorOf("{{ 'a"), "line 1: the string does not end");
  EXPECT_EQ(errorOf("{{ \"\\ud800\" }}"),
            "line 1: a string contains an escape that is no character");
  EXPECT_EQ(errorOf("{{ '\u00e9'|upper }}"),
            "line 1: changing the case of text that is not ASCII is not "
            "supported");
  EXPECT_EQ(errorOf("{{ 9223372036854775807 + 1 }}"),
            "line 1: an integer of the template is too large");
  EXPECT_EQ(errorOf("{{ 9223372036854775808 }}"),
            "line 1: the number 9223372036854775808 is too large");
  EXPECT_EQ(errorOf("{{ (-9223372036854775807 - 1) // -1 }}"),
            "line 1: an integer of the template is too large");
  EXPECT_EQ(errorOf("{{ 1 % 0 }}"), "line 1: division by zero");
  EXPECT_EQ(errorOf("{% break %}"), "line 1: 'break' outside of a loop");
  EXPECT_EQ(errorOf("{% for x in [1] %}{% macro f() %}{% endmacro %}"),
            "line 1: a macro inside a loop, macro or block is not supported");
}

TEST(ChatTemplateTest, RunawayTemplatesEnd) {
  std::string loop = "{% for i in range(999) %}";
  std::string end = "{% endfor %}";
  EXPECT_EQ(errorOf(loop + loop + loop + end + end + end),
            "line 1: the template takes too long");
  EXPECT_EQ(errorOf("{% set ns = namespace(s='x') %}{% for i in range(99) %}"
                    "{% set ns.s = ns.s + ns.s %}{% endfor %}"),
            "line 1: the template makes too much text");
  EXPECT_EQ(errorOf("{{ 'x' * 9223372036854775807 }}"),
            "line 1: the template makes too much text");
  EXPECT_EQ(errorOf("{{ range(9999999) }}"),
            "line 1: range: more than 100000 numbers");
  EXPECT_EQ(errorOf("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}"
                    "{% set ns.l = [ns.l, ns.l] %}{% endfor %}"),
            "line 1: a list or mapping of the template is nested too deeply "
            "or is too large");
  EXPECT_EQ(errorOf("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
            "line 1: the template calls itself too often");
  EXPECT_EQ(errorOf("{{ " + std::string(100000, '(') + "1" +
                    std::string(100000, ')') + " }}"),
            "line 1: the template is nested too deeply");
  EXPECT_EQ(errorOf("{{ " + std::string(100000, '-') + "1 }}"),
            "line 1: the template is nested too deeply");
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i)
    sum += "+1";
  EXPECT_EQ(errorOf(sum + " }}"), "line 1: an expression is nested too deeply");
  std::string nested;
  for (int i = 0; i < 100000; ++i)
    nested += "{% if 1 %}";
  EXPECT_EQ(errorOf(nested), "line 1: the template is nested too deeply");
}

TEST(ChatTemplateTest, NamespacesMayReferToThemselves) {
  EXPECT_EQ(render("{% set a = namespace() %}{% set b = namespace(a=a) %}"
                   "{% set a.b = b %}{% set a.l = [a, b] %}{{ a == a.b.a }}"),
            "True");
  EXPECT_EQ(errorOf("{% set a = namespace() %}{% set a.a = a %}{{ a }}"),
            "line 1: a namespace cannot be written as text");
}

TEST(ChatTemplateTest, DatesAreThoseOfTheGivenTime) {
  std::string source = "{{ strftime_now('%d %b %Y, %H:%M') }}";
  EXPECT_EQ(render(source, Json::object(), 1721952000), "26 Jul 2024, 00:00");
  EXPECT_EQ(render("{{ strftime_now('') }}"), "");
}

TEST(ChatTemplateTest, ChangedTemplatesGiveAMessageOrText) {
  Json vectors = readJson("data/tokenizer/chat-vectors.json");
  const Json &cases = vectors["cases"];
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) {
    const Json &vector = cases[random() % cases.size()];
    auto source = vector["template"].get<std::string>();
    for (unsigned k = random() % 3 + 1; k > 0; --k) {
      size_t at = random() % (source.size() + 1);
      if (random() % 2)
        source.erase(at, random() % 6);
      else
        source.insert(at, 1, "{}%()[]|.-+*'\"#\n ax1,:=~"[random() % 24]);
    }
    const Json &variables =
        vectors["variables"][vector["variables"].get<std::string>()];
    EXPECT_NE(errorOf(source, variables), "");
  }
}
