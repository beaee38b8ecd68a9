"""Outputs that cannot be written, and tools that are stopped half way: what was
there stays as it was, what was not there is not there.

SPDX-License-Identifier: Apache-2.0
"""

import os
import signal
import stat
import subprocess
import time


def writers(t):
    """Every tool that writes a file, as (command without -o, suffix)."""
    t.copy_model("optimum-past")
    t.make_binary()
    t.accept("llq-import", "model.onnx", "-o", "in.mlirbc")
    t.write("good.ids", "1 2 3\n4 5\n")
    target = "--target=cpu:x86-64-v2"
    return (
        (["llq-import", "model.onnx"], ".mlirbc"),
        (["llq-import", "model.onnx", "--embed-weights"], ".mlirbc"),
        (["llq-import", "model.onnx", "--emit=onnx"], ".mlir"),
        (["llq-compile", "--shape=tiny", target], ".llq"),
        (["llq-compile", "in.mlirbc", target], ".llq"),
        (["llq-eval", "m.llq", "--logits=good.ids"], ".npy"),
    )


def make_device(t):
    """The full disk as a device; one of our own for root, who could replace the
    system's."""
    if os.geteuid():
        return "/dev/full"
    os.mknod(t.folder / "device", stat.S_IFCHR | 0o666, os.makedev(1, 7))
    return "device"


def check_places(t):
    """Places where no file can be put."""
    kinds = writers(t)
    device = make_device(t)
    (t.folder / "closed").mkdir()
    (t.folder / "closed").chmod(0o500)
    # What a tool says of a limit on its files, its temporary ones included.
    full = ["File too large"]
    for command, suffix in kinds if t.thorough else kinds[1::2]:
        output = t.folder / f"out{suffix}"
        places = ["none/out", "tmp", "m.llq/out", "x" * 300 + suffix, device]
        places += ["/dev/null/out", "."]
        for place in places:
            t.refuse(*command, "-o", place, names=[place[:250]])
        # A device stays one.
        t.expect(not os.path.isfile(t.folder / device), command, "replaces a device")
        os.mkfifo(t.folder / "pipe")
        t.refuse(*command, "-o", "pipe", names=["pipe"])
        os.unlink(t.folder / "pipe")
        # No folder is closed to root, but this one is.
        closed = "closed/out" if os.geteuid() else "/proc/out"
        t.refuse(*command, "-o", closed, names=[closed])
        # A failure leaves alone what was there, and a success replaces it.
        output.write_bytes(b"kept")
        output.chmod(0o600)
        t.refuse(*command, "-o", output.name, file_size=2000, names=full)
        t.expect(output.read_bytes() == b"kept", command, "replaced by a failure")
        t.accept(*command, "-o", output.name)
        t.expect(output.read_bytes() != b"kept", command, "not replaced")
        t.remove(output.name)
        # Full before the first byte, in the middle, at the end.
        t.accept(*command, "-o", output.name)
        size = output.stat().st_size
        t.remove(output.name)
        for limit in (0, 1, 4096, size // 2, size - 1)[:: t.sample(3, 1)]:
            t.refuse(*command, "-o", output.name, file_size=limit, names=full)
        # Through a link, into the file that it names.
        t.write("target", b"old")
        link = t.folder / f"link{suffix}"
        link.symlink_to("target")
        t.accept(*command, "-o", link.name)
        t.expect(link.is_symlink(), command, "replaces a link")
        whole = (t.folder / "target").stat().st_size
        t.expect(whole == size, command, "does not follow a link")
        t.remove(link.name, "target")


def check_inputs_as_outputs(t):
    """An output that is an input is refused before it is gone."""
    writers(t)
    os.link(t.folder / "in.mlirbc", t.folder / "same.mlirbc")
    os.symlink("model.onnx", t.folder / "link.onnx")
    data = {n: (t.folder / n).read_bytes() for n in os.listdir(t.folder) if n != "tmp"}
    for command in (
        ["llq-import", "model.onnx", "-o", "model.onnx"],
        ["llq-import", "model.onnx", "-o", "./model.onnx"],
        ["llq-import", "link.onnx", "-o", "model.onnx"],
        ["llq-import", "model.onnx", "-o", "link.onnx"],
        ["llq-import", "model.onnx", "-o", "model.onnx.data"],
        ["llq-import", "model.onnx", "-o", "tokenizer.json"],
        ["llq-import", "model.onnx", "-o", "config.json"],
        ["llq-compile", "in.mlirbc", "-o", "in.mlirbc"],
        ["llq-compile", "in.mlirbc", "-o", "same.mlirbc"],
        ["llq-compile", "in.mlirbc", "-o", "model.onnx.data"],
        ["llq-compile", "model.onnx", "-o", "model.onnx"],
        ["llq-eval", "m.llq", "--logits=good.ids", "-o", "m.llq"],
        ["llq-eval", "m.llq", "--logits=good.ids", "-o", "good.ids"],
        ["llq-opt", "in.mlirbc", "-o", "in.mlirbc"],
        ["llq-opt", "in.mlirbc", "-o", "same.mlirbc"],
    ):
        t.refuse(*command, status=2, names=[command[-1]])
        for name, bytes in data.items():
            path = t.folder / name
            same = path.exists() and path.read_bytes() == bytes
            t.expect(same, command, f"changes {name}")
            if not same:
                t.write(name, bytes)


def check_standard_output(t):
    """Standard output that is full or closed."""
    writers(t)
    with open("/dev/full", "wb") as full:
        for command in (
            ["llq-run", "m.llq", "--ids=1", "-n", "4"],
            ["llq-run", "m.llq", "--ids=1", "-n", "4", "--json"],
            ["llq-eval", "m.llq", "--perplexity=a=good.ids", "--window=2"],
            ["llq-eval", "m.llq", "--perplexity=a=good.ids", "--window=2", "--json"],
            ["llq-bench", "m.llq", "-p1", "-n1", "--runs=1"],
            ["llq-inspect", "m.llq"],
            ["llq-inspect", "m.llq", "--json"],
            ["llq-import", "model.onnx", "-o", "-"],
            ["llq-import", "model.onnx", "--check", "--json"],
            ["llq-compile", "--shape=tiny", "--dump-pass-pipeline"],
            ["llq-compile", "--shape=tiny", "--dry-run"],
        ):
            t.refuse(*command, stdout=full, names=["standard output"])
        command = ["llq-compile", "--shape=tiny", "--target=cpu:x86-64-v2", "--json"]
        outcome = t.run(*command, "-o", "out.llq", stdout=full)
        t.expect(outcome.status == 1, command, "its report is lost")
        t.remove("out.llq")


def check_two_writers(t):
    """Two tools that write one file at a time: one of the two results."""
    commands = [
        [t.tools / "llq-compile", "--shape=tiny", "--target=cpu:x86-64-v2"]
        + ["-o", "out.llq", f"--quantize=rtn(bits={bits})"]
        for bits in (2, 8)
    ]
    for _ in range(t.sample(2, 10)):
        processes = [
            subprocess.Popen(
                command,
                cwd=t.folder,
                env=t.environment(),
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]
        for process, command in zip(processes, commands):
            t.expect(process.wait() == 0, command, "fails beside another")
        t.accept("llq-inspect", "out.llq", "--verify=full")
        t.expect(
            sorted(os.listdir(t.folder)) == ["out.llq", "tmp"], commands[0], "leavings"
        )


def stop(t, command, delay, number, output, size):
    """Sends a signal after a while; returns whether it was in time."""
    before = set(os.listdir(t.folder))
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=t.folder,
        env=t.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    t.counts[t.area]["commands"] += 1
    time.sleep(delay)
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
        t.wrong(command, f"ignores signal {number}", errors)
    created = set(os.listdir(t.folder)) - before
    if process.returncode == 0:
        t.counts[t.area]["accepted"] += 1
        t.remove(*created)
        return False
    t.counts[t.area]["refused"] += 1
    if output in created and (t.folder / output).stat().st_size == size:
        # All was done but the end of the process.
        created.remove(output)
        t.remove(output)
    if process.returncode not in (-number, 128 + number):
        t.wrong(command, f"status {process.returncode} after {number}", errors)
    if created or os.listdir(t.temporary):
        left = sorted(created) + os.listdir(t.temporary)
        t.wrong(command, f"leaves {left} after signal {number}", errors)
        t.remove(*created)
    return True


def check_signals(t):
    """Ctrl-C, hang-up and termination at any time leave nothing behind."""
    commands = []
    for command, suffix in writers(t):
        commands.append([*command, "-o", f"out{suffix}"])
    # Long enough to be stopped while it writes.
    t.write("good.ids", "\n".join(["1 2 3 4 5 6 7 8 " * 60] * 8))
    commands.append(
        ["llq-bench", "--shape=tiny", "-p1", "-n1", "--quantize=rtn(bits=2)"]
    )
    for command in commands:
        start = time.monotonic()
        t.accept(*command)
        whole = time.monotonic() - start
        output = command[command.index("-o") + 1] if "-o" in command else None
        size = (t.folder / output).stat().st_size if output else 0
        t.remove(output or "none")
        rounds = t.sample(2, 20)
        stopped = 0
        for round in range(rounds):
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[round % 3]
            delay = whole * (round + 0.5) / rounds
            stopped += stop(t, command, delay, number, output, size)
        # Another run may have been faster than the measured one.
        while not stopped and delay > 0.001:
            delay /= 2
            stopped += stop(t, command, delay, signal.SIGINT, output, size)
        t.expect(stopped, command, "was never stopped in time")
