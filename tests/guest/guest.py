# SPDX-License-Identifier: BSD-2-Clause
"""The guest kernel in QEMU: started, its serial line read, always ended."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

QEMU = "qemu-system-x86_64"
IMAGE = kms.BUILD / "bin/kmem_guest.elf"
DEADLINE_S = 120  # of anything: a busy machine runs an emulated CPU many times slower
POWERED_OFF, PANICKED = 1, 3  # status of QEMU's exit device: 2 * value + 1


def need():
    kms.need(QEMU)
    if not IMAGE.exists():
        kms.skip(f"{IMAGE} is not built")


def run_cases(namespace, prefix):
    """The functions test_NAME of a module that the command line names, or all of them: each with a workspace of its own."""
    cases = {name[5:]: f for name, f in list(namespace.items()) if name.startswith("test_")}
    need()
    checks = kms.Checks()
    for name in sys.argv[1:] or cases:
        with kms.Workspace(f"{prefix}-{name}") as workspace:
            cases[name](checks, workspace)
    return checks.status()


class Guest:
    """A running guest. Use it in a with statement."""

    def __init__(self, options="", machine="pc", cpus=1, more=()):
        arguments = [QEMU, "-machine", f"{machine},accel=tcg", "-smp", str(cpus), "-m", "512M",
                     "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio",
                     "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", str(IMAGE)]
        if options:
            arguments += ["-append", options]
        self.process = subprocess.Popen(arguments + list(more), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.seen = bytearray()
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            piece = os.read(self.process.stdout.fileno(), 4096)
            with self.changed:
                self.seen += piece
                self.changed.notify_all()
            if not piece:
                return

    @property
    def serial(self):
        return self.seen.decode(errors="replace").replace("\r", "")

    def wait_for(self, text, deadline_s=DEADLINE_S):
        """Until the serial line has said it; else the test fails and shows what was said."""
        with self.changed:
            said = self.changed.wait_for(
                lambda: text in self.serial or not self.reader.is_alive(), deadline_s)
        if not said or text not in self.serial:
            raise AssertionError(f"not within {deadline_s} s: {text!r}; serial:\n{self.serial}")

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self, deadline_s=DEADLINE_S):
        """The exit status, once it has powered itself off."""
        try:
            status = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"hangs: not off within {deadline_s} s; serial:\n{self.serial}") from None
        self.reader.join(DEADLINE_S)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()


class Finding:
    """A line "kmem: KIND: TEXT (LEVEL)" and the stacks under it, innermost function first."""

    def __init__(self, kind, level):
        self.kind, self.level, self.stacks = kind, level, {}

    def top(self, title):
        return self.stacks.get(title, [None])[0]


def findings(serial):
    found, stack = [], None
    for line in serial.splitlines():
        head = re.fullmatch(r"kmem: (\w+): .* \((\w+)\)", line)
        title = re.fullmatch(r"  (at|allocated by|freed by)", line)
        frame = re.fullmatch(r"    0x[0-9a-f]+ (\w+)\+0x[0-9a-f]+", line)
        if head:
            found.append(Finding(*head.groups()))
            stack = None
        elif title and found:
            stack = found[-1].stacks.setdefault(title.group(1), [])
        elif frame and stack is not None:
            stack.append(frame.group(1))
    return found
