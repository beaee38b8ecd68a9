"""Quantizes a small model by each of some methods in every way that must not
matter, and with samples that say little.

    check_methods.py FOLDER MODEL.mlirbc METHOD...

A method is written as in a chain, e.g. `gptq(bits=3,group-size=32)`.

SPDX-License-Identifier: Apache-2.0
"""

import json
import pathlib
import shutil
import subprocess
import sys


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.returncode}\n{done.stderr}")
    return done.stdout


def quantize(model, method, output, samples, load="", *options):
    name, _, arguments = method.rstrip(")").partition("(")
    run("llq-opt", model, f"--llq-load-calibration=file={samples} length=16 {load}",
        f"--llq-quantize-{name}={arguments.replace(',', ' ')}", "-o", output, *options)
    return output.read_bytes()


def compile_model(model, method, output, samples, *options):
    return json.loads(run(
        "llq-compile", model, "--target=cpu:x86-64-v2", f"--quantize={method}",
        f"--calibration={samples}", "--length=16", "-o", output, "--json", *options))


def main():
    folder = pathlib.Path(sys.argv[1])
    model, *methods = sys.argv[2:]
    samples = {
        "some": [[7 * i * i % 40 for i in range(j, j + 16)] for j in range(4)],
        "one": [[3]],
        "same": [[5] * 16] * 2,
    }
    files = {name: folder / f"{name}.ids" for name in samples}
    for name, lines in samples.items():
        files[name].write_text("".join(" ".join(map(str, ids)) + "\n" for ids in lines))
    kept = f"statistics={folder / 's'} checkpoints={folder / 'c'}"
    for method in methods:
        plain, other, output = (folder / name for name in ("a.mlirbc", "b.mlirbc", "c.llq"))
        first = quantize(model, method, plain, files["some"], kept, "--mlir-disable-threading")
        for what in ("what is kept", "another number of threads"):
            if quantize(model, method, other, files["some"], kept) != first:
                sys.exit(f"{method}: {what} makes other bytes")
            shutil.rmtree(folder / "s", ignore_errors=True)
            shutil.rmtree(folder / "c", ignore_errors=True)
        # Where contents decide sizes, a dry run estimates them.
        plan = compile_model(model, method, output, files["some"], "--dry-run")
        made = compile_model(model, method, output, files["one"])
        if abs(plan["bits_per_weight"] / made["bits_per_weight"] - 1) > 0.05:
            sys.exit(f"{method}: planned {plan['bits_per_weight']}, made {made['bits_per_weight']}")
        said = json.loads(run("llq-eval", output, "--perplexity", f"t={files['some']}",
                              "--window=16", "--json"))
        if not said["perplexity"]["t"]["nll"] < 100:
            sys.exit(f"{method}: {said}")
        quantize(model, method, other, files["same"])
        print(method, "ok")


if __name__ == "__main__":
    main()
