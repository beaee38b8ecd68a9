"""Checks the memory plans of the programs on standard input: no two temporaries
that are live at the same time overlap, all are aligned and inside the arena.

usage: check_plan.py NUMBER_OF_PROGRAMS

SPDX-License-Identifier: Apache-2.0
"""

import re
import sys


def check(program):
    tokens = int(re.search(r"max_tokens = (\d+)", program)[1])
    arena = int(re.search(r"arena_bytes = (\d+)", program)[1])
    buffers = {
        name: (int(offset), int(size) * tokens)
        for name, size, offset in re.findall(
            r"(%\w+) = llq\.buffer temporary .*bytes_per_token = (\d+) : i64,"
            r" offset = (\d+)",
            program,
        )
    }
    live = {}
    for step, operands in enumerate(
        re.findall(r"llq\.dispatch @\S+?\(([^)]*)\)", program)
    ):
        for name in operands.split(", "):
            first, _ = live.get(name, (step, step))
            live[name] = (first, step)
    assert len(buffers) >= 3, "a program of temporaries was expected"
    for name, (offset, size) in buffers.items():
        assert offset % 64 == 0, f"{name} is not aligned"
        assert offset + size <= arena, f"{name} ends behind the arena"
        for other, (start, length) in buffers.items():
            if other == name:
                continue
            together = (
                live[name][0] <= live[other][1] and live[other][0] <= live[name][1]
            )
            apart = offset + size <= start or start + length <= offset
            assert apart or not together, f"{name} and {other} overlap"


programs = re.split(r"(?=llq\.program @)", sys.stdin.read())[1:]
assert len(programs) == int(sys.argv[1]), f"found {len(programs)} programs"
for text in programs:
    check(text)
