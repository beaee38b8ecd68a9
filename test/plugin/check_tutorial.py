"""Checks docs/AddingA*.md against the examples that they explain.

    python3 check_tutorial.py code ROOT
    python3 check_tutorial.py commands ROOT TOOLS PLUGIN WORK

`code`: every block of code is in a file of the example, word for word.
`commands`: the shell commands of AddingAQuantizationPass.md run as they are
printed, in a folder with the bundled model, the example and its plugin.

SPDX-License-Identifier: Apache-2.0
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys


# Each page and where the code is that it shows.
PAGES = {
    "AddingAQuantizationPass.md": ["test/plugin/*"],
    "AddingAFormat.md": ["dialects/LLQ/*", "lib/Packing/*", "lib/Codegen/CPU/*"],
}


def blocks(root, page):
    """(language, code) of every fenced block."""
    text = (root / "docs" / page).read_text()
    found = re.findall(r"^```(\w+)\n(.*?)^```", text, re.S | re.M)
    assert len(found) > 5, "the document has lost its code"
    return found


def check_code(root):
    status = 0
    for page, patterns in PAGES.items():
        files = [file for pattern in patterns for file in root.glob(pattern)]
        texts = [file.read_text() for file in files if file.is_file()]
        for language, code in blocks(root, page):
            if language != "sh" and not any(code in text for text in texts):
                print(f"{page}: not in {' '.join(patterns)}:\n{code}")
                status = 1
    return status


def run_commands(root, tools, plugin, work):
    sys.path.insert(0, str(root / "test/Docs"))
    from check_docs import prepare

    prepare(root, tools, work)
    shutil.copy(root / "test/plugin/ternary.mlir", work)
    shutil.copy(plugin, work)
    script = "".join(
        code for language, code in blocks(root, next(iter(PAGES)))
        if language == "sh"
    )
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-ex", "-o", "pipefail", "-c", script],
        cwd=work,
        env=dict(os.environ, PATH=path),
        stdin=subprocess.DEVNULL,
    ).returncode


def main():
    paths = [pathlib.Path(argument).resolve() for argument in sys.argv[2:]]
    return (check_code if sys.argv[1] == "code" else run_commands)(*paths)


if __name__ == "__main__":
    sys.exit(main())
