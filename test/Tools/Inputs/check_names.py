"""A file name may be any bytes: JSON says it with replacement characters.

    python3 check_names.py FOLDER

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys


def main():
    folder = pathlib.Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    output = os.fsencode(folder) + b"/name\xff.llq"
    samples = os.fsencode(folder) + b"/samples\xff.ids"
    with open(samples, "w") as file:
        file.write("1 2 3 4 5 6 7 8\n")
    command = [
        *("llq-compile", "--shape=tiny", "--quantize=gptq(bits=4)", "--json"),
        *("--target=cpu:x86-64-v2", "--length=8", "--samples=1", "-o", output),
        b"--calibration=" + samples,
    ]
    for more in (["--dry-run"], []):
        done = subprocess.run(command + more, check=True, stdout=subprocess.PIPE)
        report = json.loads(done.stdout)
        if "samples\ufffd.ids" not in report["pipeline"]:
            sys.exit(f"the pipeline is {report['pipeline']}")
    if not report["output"].endswith("/name\ufffd.llq"):
        sys.exit(f"the output is {report['output']}")
    if not os.path.exists(output):
        sys.exit("the output is not there")


if __name__ == "__main__":
    main()
