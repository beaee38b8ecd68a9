"""Writes `lines` sequences of `length` token ids below `vocabulary`.

    make_ids.py FILE LINES LENGTH VOCABULARY

SPDX-License-Identifier: Apache-2.0
"""

import random
import sys

path, lines, length, vocabulary = sys.argv[1], *map(int, sys.argv[2:])
draw = random.Random(1)
with open(path, "w", encoding="utf-8") as file:
    for _ in range(lines):
        print(*(draw.randrange(vocabulary) for _ in range(length)), file=file)
