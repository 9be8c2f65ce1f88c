# SPDX-License-Identifier: BSD-2-Clause
"""Debian's Linux kernels as guests: downloaded by apt into a folder that is kept, booted by QEMU."""
import glob
import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
import time

SKIP = 77

# name, meta package whose dependency is the newest kernel of that series
SERIES = {
    "6.1": "linux-image-amd64",
    "6.12": "linux-image-6.12-cloud-amd64",
}

# On a busy host the emulator may be so late that the kernel takes the timer for broken, and gives up.
WORDS = "console=ttyS0 panic=-1 quiet no_timer_check "

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t tmpfs tmpfs /tmp
echo 1 > /proc/sys/kernel/printk
stty -echo
echo "==ready"
while read line; do eval "$line"; echo "==done"; done
poweroff -f
"""


class Skip(Exception):
    pass


def run(*words, cwd=None, timeout=120):
    return subprocess.run(words, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False)


def package_of(series):
    """The newest package of a series that apt knows, or None."""
    meta = SERIES[series]
    found = re.findall(r"Depends: (linux-image-%s\S*)" % re.escape(series + "."), run("apt-cache", "depends", meta).stdout)
    return found[0] if found else None


def unpacked(folder, package):
    """Downloads a package unless it was, and unpacks it; the folder of its files."""
    to = os.path.join(folder, package)
    if os.path.isdir(to):
        return to
    os.makedirs(folder, exist_ok=True)
    got = run("apt-get", "download", package, cwd=folder, timeout=300)
    files = glob.glob(os.path.join(folder, glob.escape(package) + "_*.deb"))
    if got.returncode or not files:
        raise Skip("%s cannot be downloaded: %s" % (package, got.stderr.strip().split("\n")[-1]))
    part = to + ".part%d" % os.getpid()
    run("dpkg", "-x", files[-1], part)
    os.rename(part, to)
    os.unlink(files[-1])
    return to


def kernel(folder, series):
    """The kernel that is kept in the folder, else the newest that apt has."""
    if not shutil.which("apt-get") or not shutil.which("qemu-system-x86_64"):
        raise Skip("apt-get or qemu-system-x86_64 is not installed")
    kept = glob.glob(os.path.join(glob.escape(folder), "linux-image-%s.*" % series, "boot", "vmlinuz-*"))
    if kept:
        return sorted(kept)[-1]
    package = package_of(series)
    if not package:
        raise Skip("apt knows no Linux %s" % series)
    return glob.glob(os.path.join(glob.escape(unpacked(folder, package)), "boot", "vmlinuz-*"))[0]


def cpio_entry(name, mode, data=b"", device=(0, 0)):
    name = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initramfs(folder, program=None):
    """busybox and a shell that evaluates the lines of its console; and a static program, in /bin."""
    name = os.path.basename(program) if program else "kmemscope"
    path = os.path.join(folder, "initrd-%s.gz" % name)
    busybox = os.path.join(unpacked(folder, "busybox-static"), "bin", "busybox")
    out = b"".join(cpio_entry(name, 0o40755) for name in ("bin", "proc", "sys", "dev", "tmp"))
    with open(busybox, "rb") as file:
        out += cpio_entry("bin/busybox", 0o100755, file.read())
    if program:
        with open(program, "rb") as file:
            out += cpio_entry("bin/" + name, 0o100755, file.read())
    out += cpio_entry("init", 0o100755, INIT.encode())
    out += cpio_entry("dev/console", 0o20600, device=(5, 1)) + cpio_entry("TRAILER!!!", 0)
    with gzip.open(path + ".part%d" % os.getpid(), "wb", 1) as file:
        file.write(out)
    os.rename(path + ".part%d" % os.getpid(), path)
    return path


def memory_words(machine, megabytes, ram):
    """QEMU's words for a machine with its RAM in a file, or, where none is named, anonymous."""
    words = ["-machine", machine, "-m", "%dM" % megabytes]
    if ram:
        words[1] += ",memory-backend=ram"
        words += ["-object", "memory-backend-file,id=ram,size=%dM,share=on,mem-path=%s" % (megabytes, ram)]
    return words


class Guest:
    """
    A booted kernel with a shell on its serial line. RAM is anonymous, where no file is named for it:
    nothing helps who attaches.
    """

    def __init__(self, folder, series, machine="q35", cpus=1, append="", megabytes=256, ram=None,
                 program=None, more=()):
        image = kernel(folder, series)
        initrd = initramfs(folder, program)
        ours, theirs = socket.socketpair()
        self.megabytes, self.machine = megabytes, machine
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg", "-cpu", "max",
             *memory_words(machine, megabytes, ram), "-smp", str(cpus),
             "-chardev", "socket,id=serial,fd=%d" % theirs.fileno(), "-serial", "chardev:serial",
             "-kernel", image, "-initrd", initrd, "-append", WORDS + append, *more],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        theirs.close()
        self.serial, self.unread = ours, b""
        try:
            self.read_to("==ready", 300)  # a busy machine may be many times slower
        except BaseException:
            self.close()
            raise

    def peek(self):
        """What was said so far and not read yet."""
        self.serial.setblocking(False)
        try:
            while more := self.serial.recv(65536):
                self.unread += more
        except BlockingIOError:
            pass
        return self.unread.decode(errors="replace")

    def read_to(self, end, seconds):
        deadline, text, self.unread = time.monotonic() + seconds, self.unread, b""
        while end.encode() not in text:
            self.serial.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                more = self.serial.recv(65536)
            except socket.timeout:
                raise AssertionError("the guest did not say %s: %r" % (end, text[-2000:])) from None
            assert more, "the guest ended: %r" % text[-2000:]
            text += more
        return text.decode(errors="replace").split(end)[0].replace("\r", "")

    def say(self, line):
        """Sends a line without waiting for its end."""
        self.serial.sendall(line.encode() + b"\n")

    def shell(self, line, seconds=60):
        self.say(line)
        return self.read_to("==done", seconds)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.serial.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Look:
    """The program linux_look on a guest."""

    def __init__(self, program, guest, folder=None, old_events=False):
        words = [program, *(["-o"] if old_events else []), "qemu:pid:%d" % guest.process.pid]
        self.process = subprocess.Popen(words + ([folder] if folder else []), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        lines = []
        while True:
            line = self.process.stdout.readline()
            assert line, "linux_look ended: %r" % lines
            if line == "==\n":
                break
            lines.append(line.rstrip("\n"))
        assert not lines or not lines[-1].startswith("error "), lines[-1]
        return lines

    def figures(self, line):
        return dict(row.split(" ", 1) for row in self.ask(line) if not row.startswith("site "))

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def main(function):
    try:
        function()
    except Skip as reason:
        print("skipped:", reason)
        sys.exit(SKIP)
