"""Damaged input and hopeless requests, for all tools.

    python3 damage.py TOOLS MODELS WORK [--thorough] [AREA...]
    python3 damage.py --list

TOOLS is the folder of the tools, MODELS the bundled model with the weights of
all its graphs, WORK a folder that may be emptied. Whatever is wrong, a tool says
so in one line with the right exit status and leaves no file; or, where damage
hits nothing that matters, it does what it does on the whole file. What fails is
listed as a command, with its files in WORK/wrong. Each area has random numbers
of its own with a fixed seed. Meant to run on a sanitized build, too. Plain
Python, no packages.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import pathlib
import shutil
import sys
import time

import binaries
import calibration
import graphs
import harness
import options
import outputs
import prompts
import tokenizers

AREAS = {
    "graphs": graphs.check_graphs,
    "graph-edits": graphs.check_edits,
    "external-data": graphs.check_external,
    "bytecode": binaries.check_bytecode,
    "truncated-binaries": binaries.check_truncation,
    "flipped-binaries": binaries.check_flips,
    "configuration-files": tokenizers.check_files,
    "configuration-values": tokenizers.check_values,
    "patterns": tokenizers.check_patterns,
    "chat-templates": tokenizers.check_templates,
    "runtime-options": options.check_runtime_options,
    "compiler-options": options.check_compiler_options,
    "calibration-samples": calibration.check_samples,
    "calibration-weights": calibration.check_weights,
    "prompts": prompts.check_prompts,
    "ids": prompts.check_ids,
    "places": outputs.check_places,
    "inputs-as-outputs": outputs.check_inputs_as_outputs,
    "standard-output": outputs.check_standard_output,
    "two-writers": outputs.check_two_writers,
    "signals": outputs.check_signals,
}


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(AREAS))
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("tools", type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("models", type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("work", type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(AREAS))
    parser.add_argument("--thorough", action="store_true")
    arguments = parser.parse_intermixed_args()
    unknown = set(arguments.areas) - set(AREAS)
    if unknown:
        parser.error(f"no area {', '.join(sorted(unknown))}")
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    checker = harness.Checker(
        arguments.tools, arguments.models, arguments.work, arguments.thorough
    )
    for area in arguments.areas or AREAS:
        start = time.monotonic()
        checker.begin(area)
        AREAS[area](checker)
        shutil.rmtree(checker.folder, ignore_errors=True)
        checker.counts[area]["seconds"] = round(time.monotonic() - start)
    return checker.report()


if __name__ == "__main__":
    sys.exit(main())
