"""Compares the hash in `llq-inspect --json` with that of files.

    llq-inspect m.llq --json | check_source_hash.py FOLDER FILE...

One file has its own SHA-256. Several have what
`sha256sum FILE... | sha256sum` prints. SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import json
import os
import sys

folder, *names = sys.argv[1:]
lines = []
for name in names:
    with open(os.path.join(folder, name), "rb") as file:
        lines.append(f"{hashlib.sha256(file.read()).hexdigest()}  {name}\n")
if len(lines) == 1:
    expected = lines[0].split()[0]
else:
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
found = json.load(sys.stdin)["provenance"]["source_sha256"]
if found != expected:
    sys.exit(f"the hash of {' '.join(names)} is {expected}, found {found}")
