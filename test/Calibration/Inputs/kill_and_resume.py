"""Kills a compilation when it has finished more and more layers, and lets it go
on with --resume until it is through.

    kill_and_resume.py OUTPUT KILLS COMMAND...

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import subprocess
import sys
import time

output, kills, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
folder = pathlib.Path(output + ".resume")


def count():
    return len(list(folder.glob("*.llq-result"))) if folder.is_dir() else 0


killed = 0
for number in range(kills + 1):
    last = number == kills
    process = subprocess.Popen([*command, "-o", output, "--resume"])
    goal = count() + 2
    while process.poll() is None and not (count() >= goal and not last):
        time.sleep(0.001)
    if process.returncode is None:
        process.kill()
        killed += 1
    if process.wait() == 0:
        break
print(f"killed {killed > 0} complete {process.returncode == 0}")
if folder.exists():
    sys.exit(f"{folder} is still there")
