"""Runs a model with one type of KV cache, whole prompts down to single tokens.

    python3 check_kv_cache.py FOLDER TYPE BYTES_PER_TOKEN

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import pathlib
import random
import subprocess
import sys


def run(*command, **environment):
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE,
                            env={**os.environ, **environment})
    return result.stdout


def main():
    folder, cache, bytes_per_token = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    ids = folder / "ids.txt"
    random.seed(1)
    ids.write_text(" ".join(str(random.randrange(512)) for _ in range(53)) + "\n")
    logits = {}
    for chunk in (512, 7, 1):
        model = folder / f"{cache}-{chunk}.llq"
        run("llq-compile", "--shape=tiny", f"--kv-cache={cache}", f"--max-tokens={chunk}",
            "--target=cpu:native", "-o", model)
        for threads in (1, 3):
            output = folder / "logits.npy"
            run("llq-eval", model, "--logits", ids, "-o", output, f"--threads={threads}")
            logits[chunk, threads] = output.read_bytes()
    if len(set(logits.values())) != 1:
        first = next(iter(logits.values()))
        sys.exit(f"other logits for {[key for key, x in logits.items() if x != first]}")

    inside = json.loads(run("llq-inspect", model, "--json"))
    if inside["architecture"]["kv_cache"] != cache:
        sys.exit(f"the model says {inside['architecture']}")
    if inside["targets"][0]["kv_cache_bytes_per_token"] != bytes_per_token:
        sys.exit(f"bytes per token: {inside['targets'][0]}")
    said = json.loads(run("llq-run", model, "--ids=1,2,3", "-n", "5", "--json"))["kv_cache"]
    if said != {"type": cache, "tokens": 8, "bytes_per_token": bytes_per_token,
                "bytes": 8 * bytes_per_token}:
        sys.exit(f"llq-run says {said}")


if __name__ == "__main__":
    main()
