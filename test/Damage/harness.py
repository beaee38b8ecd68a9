"""Runs the tools on damaged input and holds them to what the documentation says
of errors: one line, the right exit status, nothing on standard output, no file
left behind, never a crash, a report of a sanitizer or a hang.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess

# Of a sanitizer, of LLVM's handler of signals, of the C++ library.
CRASH = re.compile(
    rb"Sanitizer|runtime error:|Stack dump:|LLVM ERROR|terminate called|PLEASE submit"
)
TIMEOUT = 120
# Far above what any of the small models needs: a size out of a damaged file that
# is asked for without a look at it fails here.
MEMORY = 16 << 30


class Outcome:
    def __init__(self, command, status, output, errors):
        self.command, self.status = command, status
        self.output, self.errors = output, errors

    def accepted(self):
        return self.status == 0


class Checker:
    """Runs commands in an empty folder and collects what is wrong with them."""

    def __init__(self, tools, models, work, thorough):
        self.tools, self.models = pathlib.Path(tools), pathlib.Path(models)
        self.work, self.thorough = pathlib.Path(work), thorough
        self.counts, self.failures = {}, []
        self.area = ""
        # What sanitizers map up front does not count as memory.
        self.sanitized = b"__asan_init" in (self.tools / "llq-inspect").read_bytes()

    def begin(self, area):
        """Starts `area` with an empty folder and its own random numbers."""
        self.area = area
        self.random = random.Random(area)
        self.counts[area] = {"commands": 0, "refused": 0, "accepted": 0, "wrong": 0}
        self.folder = self.work / area
        shutil.rmtree(self.folder, ignore_errors=True)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir(parents=True)

    def sample(self, quick, thorough):
        """A number of rounds."""
        return thorough if self.thorough else quick

    def environment(self):
        return dict(
            os.environ,
            PATH=os.pathsep.join([str(self.tools), os.environ["PATH"]]),
            TMPDIR=str(self.temporary),
            # A tool that ends early need not free what it has.
            # LLVM itself is not sanitized, and memory that its headers poison it
            # does not unpoison.
            ASAN_OPTIONS="allow_user_poisoning=0:detect_leaks=0:"
            "max_allocation_size_mb=16384",
            UBSAN_OPTIONS="print_stacktrace=1",
        )

    def limits(self, file_size=None):
        """What a child process does before it becomes the tool."""
        memory = None if self.sanitized else MEMORY

        def apply():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            if file_size is not None:
                # Writing more fails as it does on a full disk.
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        return apply

    def run(self, *command, stdin=None, stdout=None, file_size=None, timeout=TIMEOUT):
        """Runs a tool and checks what holds for every run."""
        command = [str(word) for word in command]
        counts = self.counts[self.area]
        counts["commands"] += 1
        before = set(os.listdir(self.folder))
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=self.limits(file_size),
        )
        try:
            output, errors = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            self.wrong(command, f"still runs after {timeout} s", errors)
        outcome = Outcome(command, process.returncode, output or b"", errors)
        if outcome.status < 0 or outcome.status > 2 or CRASH.search(errors):
            self.wrong(command, f"crashes, status {outcome.status}", errors)
        left = os.listdir(self.temporary)
        if left:
            self.wrong(command, f"leaves {left} in the folder for temporary files")
            for name in left:
                path = self.temporary / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        counts["accepted" if outcome.accepted() else "refused"] += 1
        outcome.created = sorted(set(os.listdir(self.folder)) - before)
        return outcome

    def wrong(self, command, what, errors=b""):
        """Notes a failure and keeps the files it needs."""
        self.counts[self.area]["wrong"] += 1
        number = len(self.failures) + 1
        line = f"{self.area}: {' '.join(command)}: {what}"
        self.failures.append(line)
        print(f"wrong: {line}", flush=True)
        text = errors.decode(errors="replace")
        for part in text.splitlines()[: 40 if CRASH.search(errors) else 4]:
            print(f"    {part[:400]}", flush=True)
        if number <= 20:
            kept = self.work / "wrong" / str(number)
            kept.mkdir(parents=True, exist_ok=True)
            # Files only: a device may be endless.
            for file in self.folder.iterdir():
                if file.is_file() and not file.is_symlink():
                    shutil.copy(file, kept)

    def check_error(self, outcome, status, names):
        """`outcome` is one clear error."""
        command, errors = outcome.command, outcome.errors
        tool = pathlib.Path(command[0]).name
        if status is not None and outcome.status != status:
            return self.wrong(
                command, f"status {outcome.status}, expected {status}", errors
            )
        lines = errors.decode(errors="replace").splitlines()
        other = (f"{tool}: warning: ", f"{tool}: takes about ")
        lines = [line for line in lines if not line.startswith(other)]
        if len(lines) != 1 or not lines[0].startswith(f"{tool}: error: "):
            return self.wrong(command, "not one line 'error: ...'", errors)
        if len(lines[0]) < len(f"{tool}: error: ") + 8 or len(lines[0]) > 2000:
            return self.wrong(command, "no clear message", errors)
        for name in names:
            if name not in lines[0]:
                return self.wrong(command, f"does not name {name!r}", errors)
        if outcome.output:
            self.wrong(command, "an error, but there is output", outcome.output)
        if outcome.created:
            self.wrong(command, f"an error, but {outcome.created} is there")
            for name in outcome.created:
                (self.folder / name).unlink()

    def refuse(self, *command, status=1, names=(), **arguments):
        """The tool must refuse, with a message that holds each of `names`."""
        outcome = self.run(*command, **arguments)
        self.check_error(outcome, status, names)
        return outcome

    def accept(self, *command, **arguments):
        """The tool must succeed."""
        outcome = self.run(*command, **arguments)
        if not outcome.accepted():
            self.wrong(outcome.command, f"status {outcome.status}", outcome.errors)
        return outcome

    def either(self, *command, **arguments):
        """The tool may succeed or give one clear error."""
        outcome = self.run(*command, **arguments)
        if not outcome.accepted():
            self.check_error(outcome, 1, ())
        return outcome

    def expect(self, truth, command, what):
        if not truth:
            self.wrong([str(word) for word in command], what)

    def write(self, name, data):
        path = self.folder / name
        if isinstance(data, str):
            data = data.encode()
        path.write_bytes(data)
        return path

    def remove(self, *names):
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def flip(self, data, bits=1, begin=0, end=None):
        """A copy of `data` with some bits of [begin, end) flipped."""
        damaged = bytearray(data)
        for _ in range(bits):
            bit = self.random.randrange(begin * 8, (end or len(data)) * 8)
            damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)

    def copy_model(self, form):
        """The files of a bundled model, with its tokenizer; returns the graph."""
        for file in (self.models / "onnx" / form).iterdir():
            if file.suffix != ".npy" and file.name != "weights.json":
                shutil.copy(file, self.folder / file.name)
        return (self.folder / "model.onnx").read_bytes()

    def make_binary(self, name="m.llq"):
        """A small binary of the bundled model with tokenizer; returns it."""
        made = self.work / "made.llq"
        if not made.exists():
            tokenizer = self.work / "tokenizer"
            shutil.copytree(
                self.models, tokenizer, ignore=shutil.ignore_patterns("onnx")
            )
            config = json.loads((tokenizer / "tokenizer_config.json").read_text())
            config["chat_template"] = (
                "{% for m in messages %}{{ m.content }}\n{% endfor %}"
            )
            (tokenizer / "tokenizer_config.json").write_text(json.dumps(config))
            subprocess.run(
                [
                    self.tools / "llq-compile",
                    self.models / "onnx/optimum-past-fp16/model.onnx",
                    f"--tokenizer={tokenizer}",
                    "--quantize=rtn(bits=2,group-size=0,"
                    "embedding-bits=2,head-bits=2)",
                    "--target=cpu:x86-64-v2",
                    "-o",
                    made,
                ],
                check=True,
                env=self.environment(),
                stderr=subprocess.DEVNULL,
            )
        shutil.copy(made, self.folder / name)
        return made.read_bytes()

    def report(self):
        for area, counts in self.counts.items():
            line = ", ".join(f"{value} {key}" for key, value in counts.items())
            print(f"{area}: {line}")
        return 1 if self.failures else 0
