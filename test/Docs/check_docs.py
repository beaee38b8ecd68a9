"""Checks the hand-written documentation against the project.

    python3 check_docs.py links ROOT
    python3 check_docs.py commands ROOT TOOLS WORK

`links`: every relative link of every Markdown file leads to a file, and every
path in backquotes that looks like one of the project's exists. `commands`: the
llq-* commands of the documents below run, as they are printed, in a folder that
holds the bundled model under the names that the documents use.

SPDX-License-Identifier: Apache-2.0
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

# Documents whose commands run on any model.
WITH_COMMANDS = ["README.md", "docs/methods"]
MODEL = "test/models/tiny-llama3"
BESIDE_MODEL = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
FOLDERS = "cmake dialects docs include lib runtime scripts test tools"


def markdown_files(root):
    """All of them but those of builds and hidden folders."""

    def is_ours(file):
        return not any(
            part == "build" or part.startswith(".")
            for part in file.relative_to(root).parts
        )

    return sorted(filter(is_ours, root.rglob("*.md")))


def check_links(root):
    """Returns the links that lead nowhere."""
    broken = []
    folders = FOLDERS.replace(" ", "|")
    path_in_quotes = re.compile(rf"`((?:{folders})/[\w./-]+)`")
    for file in markdown_files(root):
        text = file.read_text()
        # Code is no prose.
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:|#", link):
                continue
            if not (file.parent / link.split("#")[0]).exists():
                broken.append(f"{file.relative_to(root)}: link {link}")
        for path in path_in_quotes.findall(prose):
            if not (root / path).exists():
                broken.append(f"{file.relative_to(root)}: path {path}")
    return broken


def commands_of(file):
    """The llq-* commands in code blocks, continuation lines joined."""
    text = file.read_text().replace("\\\n", " ")
    lines = []
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.strip())
    return [
        line
        for line in lines
        if re.match(r"llq-[a-z]+ ", line) and "..." not in line
    ]


def prepare(root, tools, work):
    """A folder with what the documents call model.onnx and so on."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    model = root / MODEL
    for name in BESIDE_MODEL:
        shutil.copy(model / name, work)
    shutil.copy(model / "onnx/optimum-past-fp16/model.onnx", work)
    for name in ("wiki.test.raw", "text.txt"):
        shutil.copy(model / "heldout.txt", work / name)
    subprocess.run(
        [tools / "llq-import", "model.onnx", "-o", "model.mlirbc"],
        cwd=work,
        check=True,
    )


def run_commands(root, tools, work):
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    environment = dict(os.environ, PATH=path)
    failed = []
    count = 0
    for document in WITH_COMMANDS:
        place = root / document
        for file in [place] if place.is_file() else sorted(place.glob("*.md")):
            prepare(root, tools, work)
            for command in commands_of(file):
                print(f"{file.relative_to(root)}: {command}", flush=True)
                count += 1
                done = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", command],
                    cwd=work,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                )
                if done.returncode:
                    failed.append(f"{file.relative_to(root)}: {command}")
    if not count:
        failed.append("no document has a command")
    return failed


def main():
    root = pathlib.Path(sys.argv[2]).resolve()
    if sys.argv[1] == "links":
        wrong = check_links(root)
    else:
        tools, work = (pathlib.Path(p).resolve() for p in sys.argv[3:5])
        wrong = run_commands(root, tools, work)
    for line in wrong:
        print(f"wrong: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
