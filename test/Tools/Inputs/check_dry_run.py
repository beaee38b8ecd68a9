"""Compares a dry run of llq-compile with the compilation.

    python3 check_dry_run.py FOLDER ARGUMENTS...

SPDX-License-Identifier: Apache-2.0
"""

import json
import pathlib
import shutil
import subprocess
import sys


def run(*command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    folder = pathlib.Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    output = folder / "out.llq"
    command = ["llq-compile", *sys.argv[2:], "--target=cpu:x86-64-v2", "-o", output]
    plan = run(*command, "--dry-run", "--json")
    if list(folder.iterdir()):
        sys.exit("the dry run wrote something")
    made = run(*command, "--json")
    inside = run("llq-inspect", output, "--json")
    if made["output"] != str(output) or made["bytes"] != output.stat().st_size:
        sys.exit(f"the report says {made['output']}, {made['bytes']} bytes")
    if set(made["seconds"]) != {"import", "passes", "code", "weights"}:
        sys.exit(f"stages are {made['seconds']}")
    for key in ("pipeline", "bits_per_weight", "bits_per_weight_total"):
        if plan[key] != made[key]:
            sys.exit(f"{key}: planned {plan[key]}, made {made[key]}")
    if plan["weight_bytes"] != inside["bytes"]["weights"]:
        sys.exit(f"planned {plan['weight_bytes']} bytes, made {inside['bytes']}")
    # Each segment begins on a page, and the header names a target's kernels.
    page = 4096
    code = made["bytes"] - plan["bytes"]
    if not inside["bytes"]["code"] <= code + page <= inside["bytes"]["code"] + 16 * page:
        sys.exit(f"planned {plan['bytes']} bytes, made {made['bytes']}")
    # Near the truth, where no sanitizer takes memory of its own.
    sanitized = b"__asan_init" in pathlib.Path(shutil.which("llq-inspect")).read_bytes()
    if not sanitized and not made["peak_rss_bytes"] / 2 < plan["peak_rss_bytes"] < made["peak_rss_bytes"] * 4:
        sys.exit(f"planned {plan['peak_rss_bytes']}, took {made['peak_rss_bytes']}")


if __name__ == "__main__":
    main()
