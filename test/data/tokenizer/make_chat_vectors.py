#!/usr/bin/env python3
"""Writes chat-vectors.json: what the `jinja2` library makes of templates.

The environment is the one that the transformers library sets up for chat
templates. Each case has a template, the name of its variables and the text, or
no text where rendering fails. Needs the PyPI package `jinja2`.
Usage: make_chat_vectors.py

SPDX-License-Identifier: Apache-2.0
"""

import copy
import datetime
import json
import pathlib

import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
NOW = 1721952000  # 26 July 2024, UTC


class Generation(jinja2.ext.Extension):
    """The transformers library's {% generation %}, which writes its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("render_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def render_body(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Generation, jinja2.ext.loopcontrols],
    )

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(text):
        now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
        return now.strftime(text)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


VALUES = {
    "a": 1, "b": 2.5, "s": "Hello World", "e": "", "l": [3, 1, 2],
    "ls": ["b", "A", "c"],
    "d": {"x": 1, "y": [1, 2], "items": 5, "n": None}, "t": True, "n": None,
    "m": [
        {"role": "user", "content": " hi "},
        {"role": "assistant", "content": "yo", "k": {"z": 1}},
    ],
    "u": "na\u00efve \u2603 \u65e5\u672c", "q": "it's \"q\"", "w": " \t x \n",
    "f": 1e20, "g": 0.1,
}  # fmt: skip

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'The "weather" of a caf\u00e9',
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"minimum": -1.5}},
            "required": ["place"],
            "also": [],
        },
        "return": 1,
    },
}
USER = {"role": "user", "content": "  Why is the sky blue? \n"}
ANSWER = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nScattering."}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "abcdefghi", "function": {"name": "weather", "arguments": {"days": 2}}}
    ],
}


def chat(messages, prompt, tools=None):
    return {
        "messages": messages,
        "add_generation_prompt": prompt,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "tools": tools,
        "documents": None,
    }


VARIABLES = {
    "values": VALUES,
    "question": chat([USER], True),
    "system": chat([SYSTEM, USER], True),
    "turns": chat([SYSTEM, USER, ANSWER, USER], True),
    "answered": chat([USER, ANSWER], False),
    "wrong-order": chat([ANSWER, USER], True),
    "tools": chat([SYSTEM, USER, CALL, {"role": "tool", "content": "sun"}], True, [TOOL]),
}


def main():
    env = environment()
    cases = []

    def add(template, variables):
        case = {"template": template, "variables": variables}
        try:
            values = copy.deepcopy(VARIABLES[variables])
            case["text"] = env.from_string(template).render(**values)
        except Exception:  # Any failure counts; the message is not compared.
            pass
        cases.append(case)

    snippets = (HERE / "chat-snippets.txt").read_text(encoding="utf-8")
    for template in snippets.split("\n====\n"):
        add(template, "values")
    chats = (HERE / "chat-templates.txt").read_text(encoding="utf-8")
    for template in chats.split("\n====\n"):
        for variables in VARIABLES:
            if variables != "values":
                add(template, variables)
    # Line ends other than \n.
    add("\r\na\r\n{% if t %}\r\nb\r{% endif %}\r\n", "values")

    lines = ",\n".join(
        json.dumps(case, separators=(",", ":"), ensure_ascii=False) for case in cases
    )
    variables = json.dumps(VARIABLES, separators=(",", ":"), ensure_ascii=False)
    (HERE / "chat-vectors.json").write_text(
        f'{{"now":{NOW},"variables":{variables},"cases":[\n{lines}\n]}}\n', encoding="utf-8"
    )


if __name__ == "__main__":
    main()
