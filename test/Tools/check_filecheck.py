"""Finds lit files whose expectations nothing reads.

    python3 check_filecheck.py FOLDER

A file with CHECK lines but without FileCheck on a RUN line passes whatever the
tool prints; one with expected-error lines needs --verify-diagnostics. A prefix
of a CHECK line that no RUN line names is a slip of the same kind.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import re
import sys

SUFFIX = r"(?:-NEXT|-SAME|-NOT|-DAG|-LABEL|-EMPTY|-COUNT-\d+)?"
# An expectation stands at the start of a line, behind a comment mark if any.
EXPECTATION = re.compile(rf"^\s*(?://|#)?\s*([A-Z][A-Z0-9_-]*?){SUFFIX}:(?!:)", re.M)
KEYWORDS = {"RUN", "REQUIRES", "UNSUPPORTED", "XFAIL", "DEFINE", "REDEFINE", "NOTE"}


def problems(file):
    text = file.read_text()
    run = " ".join(re.findall(r"RUN:(.*)", text))
    known = set(re.findall(r"--?check-prefix[= ](\S+)", run))
    for several in re.findall(r"--?check-prefixes[= ](\S+)", run):
        known.update(several.split(","))
    if re.search(r"FileCheck(?![^|]*check-prefix)", run):
        known.add("CHECK")
    used = set(EXPECTATION.findall(text)) - KEYWORDS
    yield from (f"no RUN line checks {prefix}" for prefix in sorted(used - known))
    yield from (f"nothing to check for {prefix}" for prefix in sorted(known - used))
    if re.search(r"expected-(error|note|warning|remark)", text):
        if "verify-diagnostics" not in run:
            yield "expected diagnostics without --verify-diagnostics"


def main(folder):
    count = 0
    for file in sorted(pathlib.Path(folder).rglob("*")):
        if file.suffix in (".mlir", ".test") and "Inputs" not in file.parts:
            if "RUN:" not in file.read_text():
                print(f"{file}: no RUN line")
                count += 1
            for problem in problems(file):
                print(f"{file}: {problem}")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
