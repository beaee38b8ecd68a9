"""Takes every third result of a folder away, cuts every third short, and changes
a byte in the middle of the others. Fails if there are fewer than three.

    damage_results.py FOLDER

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import sys

files = sorted(pathlib.Path(sys.argv[1]).glob("*.llq-result"))
if len(files) < 3:
    sys.exit(f"{len(files)} results in {sys.argv[1]}")
for number, file in enumerate(files):
    data = bytearray(file.read_bytes())
    if number % 3 == 0:
        file.unlink()
    elif number % 3 == 1:
        file.write_bytes(data[: len(data) * 2 // 3])
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
