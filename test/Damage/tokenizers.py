"""Damaged tokenizer.json, tokenizer_config.json, generation_config.json and
config.json, beside a model and named by an option.

SPDX-License-Identifier: Apache-2.0
"""

import copy
import json

IMPORT = ("llq-import", "model.onnx", "-o", "out.mlirbc")
NAMES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
VALUES = (None, True, -1, 0, 1 << 63, 1e400, -0.5, "", "x", [], {}, [[]], {"a": 1})


def import_either(t):
    outcome = t.either(*IMPORT)
    if outcome.accepted():
        t.remove("out.mlirbc")


def check_files(t):
    """Text that is no JSON, or not of the right shape."""
    t.copy_model("optimum-past")
    for name in NAMES:
        file = t.folder / name
        whole = file.read_bytes()
        # An error names the file.
        wrong = [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"\0"]
        wrong += [whole[: len(whole) // 2], whole[:-3], whole.replace(b'"', b"'")]
        wrong += [b'{"a":' + bracket * 200000 for bracket in (b"[", b'{"a":')]
        wrong += [whole[:-1] + b', "\xff": 1}', b'{"a": 1e999999}' + whole]
        for data in wrong:
            file.write_bytes(data)
            t.refuse(*IMPORT, names=[name])
        # A folder in the place of the file.
        file.unlink()
        file.mkdir()
        t.refuse(*IMPORT, names=[name])
        file.rmdir()
        for _ in range(t.sample(6, 80)):
            file.write_bytes(t.flip(whole, t.random.randrange(1, 20)))
            import_either(t)
        file.write_bytes(whole)
    for option in ("--tokenizer", "--config"):
        t.refuse(*IMPORT, f"{option}=none", names=["none"])
        t.refuse(*IMPORT, f"{option}=/dev/null", names=["/dev/null"])
    t.refuse(*IMPORT, "--tokenizer=tmp", names=["tmp"])
    t.refuse(*IMPORT, "--config=tmp", names=["tmp"])
    t.refuse(*IMPORT, "--tokenizer=model.onnx", names=["model.onnx"])


def paths_of(value, depth=3):
    """The places of the first levels of a JSON value."""
    yield ()
    if depth and isinstance(value, dict):
        for key in list(value)[:12]:
            for path in paths_of(value[key], depth - 1):
                yield (key, *path)
    elif depth and isinstance(value, list):
        for index in range(min(len(value), 2)):
            for path in paths_of(value[index], depth - 1):
                yield (index, *path)


def check_values(t):
    """Values of other types, of no sense, far too large or missing."""
    t.copy_model("optimum-past")
    for name in NAMES:
        file = t.folder / name
        whole = file.read_bytes()
        value = json.loads(whole)
        cases = [(p, v) for p in paths_of(value) if p for v in VALUES]
        for path, new in t.random.sample(cases, min(len(cases), t.sample(15, 400))):
            changed = copy.deepcopy(value)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = new
            text = json.dumps(changed).replace("Infinity", "1e400")
            file.write_text(text)
            import_either(t)
        file.write_bytes(whole)


def check_patterns(t):
    """Regular expressions of the pre-tokenizer: of no sense, or without an end."""
    t.copy_model("optimum-past")
    tokenizer = json.loads((t.folder / "tokenizer.json").read_text())
    split = {
        "type": "Split",
        "pattern": {"Regex": ""},
        "behavior": "Isolated",
        "invert": False,
    }
    tokenizer["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            split,
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ],
    }
    wrong = ["(", ")", "[", "a{2", "(?<=a+)b", "*", "\\", "(?P<n>a)", "\\p{Xx}", "a" * 99999]
    wrong += ["(" * 2000 + ")" * 2000, "(?:" * 500 + "a" + ")" * 500]
    for pattern in wrong:
        split["pattern"]["Regex"] = pattern
        (t.folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        import_either(t)
    text = "a" * 20000 + " " + "b" * 20000
    for pattern in ("(?:a*)*b", "(?:a|aa)+$", "(?:a|b|ab)*c", "(?:.*){9}x"):
        split["pattern"]["Regex"] = pattern
        (t.folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        made = t.either("llq-compile", "model.onnx", "--target=cpu:x86-64-v2", "-o", "out.llq")
        if made.accepted():
            prompt = t.write("prompt.txt", text)
            outcome = t.run("llq-run", "out.llq", "--prompt-file", prompt, "-n", "1")
            # Too long for the context if it can be cut at all.
            t.check_error(outcome, 1, [])
            t.remove("out.llq")
        if not t.thorough:
            break


TEMPLATES = (
    # Of no sense.
    "{{", "{% if %}", "{% for %}", "{{ 1 +", "{% endfor %}", "{{ messages[0", "{#",
    "{{ nothing.at.all }}", "{{ messages['x'].y }}", "{{ 1 / 0 }}", "{{ [][1] }}",
    "{{ raise_exception('no') }}", "{{ messages | nothing }}", "{{ 'a' + 1 }}", "\xff",
    # Without an end, or too large.
    "{% for i in range(1000000000000) %}x{% endfor %}",
    "{{ 'a' * 1000000000000 }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(s='a') %}{% for i in range(200) %}{% set ns.s = ns.s + ns.s %}"
    "{% endfor %}{{ ns.s }}",
    "{{ " + "(" * 50000 + "1" + ")" * 50000 + " }}",
    "{{ " + "-" * 50000 + "1 }}",
    "{{ " + "[" * 50000 + "]" * 50000 + " }}",
    "{% if 1 %}" * 20000 + "{% endif %}" * 20000,
    "{{ 1" + " + 1" * 100000 + " }}",
    "{{ 'x'" + "|upper" * 50000 + " }}",
    "{{ a" + ".a" * 50000 + " }}",
)  # fmt: skip


def check_templates(t):
    """Chat templates: of no sense, without an end, nested too deeply."""
    t.copy_model("optimum-past")
    t.accept(
        "llq-import", "model.onnx", "-o", "in.mlirbc", "--tokenizer=tokenizer.json"
    )
    quantize = "--quantize=rtn(bits=2,group-size=0)"
    for template in TEMPLATES if t.thorough else TEMPLATES[15:20:2]:
        config = json.dumps({"chat_template": template})
        (t.folder / "tokenizer_config.json").write_text(config)
        made = t.either(
            "llq-compile", "in.mlirbc", quantize, "--target=cpu:x86-64-v2",
            "--tokenizer=.", "-o", "out.llq",
        )  # fmt: skip
        if made.accepted():
            t.either("llq-run", "out.llq", "--chat", "--prompt=hi", "-n", "1")
            t.either("llq-run", "out.llq", "--chat", "-n", "1", stdin=b"hi\n")
            t.remove("out.llq")
