#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A Linux guest and its clients: names at the prompt, writes with leave, two kmemscopes at once.

linux_clients.py FOLDER KMEMSCOPE
"""
import json
import os
import signal
import subprocess
import sys
import tempfile

from linux_kernels import Guest, main

FOLDER, KMEMSCOPE = sys.argv[1], sys.argv[2]


class Attach:
    """kmemscope attach, and its clients, in a folder of sessions of their own."""

    def __init__(self, folder, target, *options):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=folder, XDG_CACHE_HOME=tempfile.gettempdir())
        self.process = subprocess.Popen([KMEMSCOPE, "attach", *options, target], stderr=subprocess.PIPE, text=True,
                                        env=self.environment)
        self.said = []
        while "API socket" not in (line := self.process.stderr.readline()):
            self.said.append(line)
            if not line:
                break
        self.socket = line.split()[-1] if line else ""

    def db(self, line):
        return subprocess.run([KMEMSCOPE, "db", "-e", line, self.socket], capture_output=True, text=True,
                              env=self.environment, check=False, timeout=60).stdout

    def audit(self):
        return json.loads(subprocess.run(["curl", "-s", "--unix-socket", self.socket, "http://kmemscope/api/v1/audit"],
                                         capture_output=True, check=True).stdout)["items"]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        _, text = self.process.communicate(timeout=60)
        return self.process.returncode, text


def names(guest, attach):
    """What the prompt shows is what the guest itself says."""
    banner = guest.shell("cat /proc/version").strip()
    said = attach.db("x/s linux_banner")
    assert said.startswith("linux_banner:\tLinux version ") and banner in said, (said, banner)
    at = guest.shell("echo 0 > /proc/sys/kernel/kptr_restrict; grep -w linux_banner /proc/kallsyms").split()[0]
    assert attach.db("p linux_banner").strip() == at, at
    assert attach.db("p/a %x" % (int(at, 16) + 4)).strip() == "linux_banner+0x4"
    first = int(attach.db("x/gx jiffies").split()[-1], 16)
    guest.shell("usleep 100000")
    assert int(attach.db("x/gx jiffies").split()[-1], 16) > first, first
    assert "did you mean jiffies?" in attach.db("x/gx jifies")
    assert "did you mean vm_swappiness?" in attach.db("w vm_swapiness 5")
    assert "no such variable" in attach.db("w kmem_guard_depth 0t30000")


def writes(guest, attach):
    """A variable is changed and the guest sees it; what its kernel has protected is refused."""
    assert attach.db("w vm_swappiness 0t42").split() == ["vm_swappiness", "3c", "=", "2a"]
    assert guest.shell("cat /proc/sys/vm/swappiness").strip() == "42"
    said = attach.db("w linux_banner 41")
    assert "write-protected" in said, said
    assert guest.shell("cat /proc/version").strip().startswith("Linux version")
    assert "write-protected" in attach.db("w kfree 0")
    rows = attach.audit()
    assert [(row["value"], row["result"] == "ok") for row in rows] == [(0, False), (0x41, False), (42, True)], rows


def beside(guest, folder):
    """A second one of the same user is refused by name; it may come when the first has gone."""
    target = "qemu:pid:%d" % guest.process.pid
    first = Attach(folder + "/first", target, "--allow-write")
    names(guest, first)
    writes(guest, first)
    same = Attach(folder + "/first", target)
    assert not same.socket and "is traced already" in "".join(same.said), same.said
    assert same.process.wait(timeout=60) == 1
    status, text = first.end()
    assert status == 0, text
    reader = Attach(folder + "/first", target)
    assert "--allow-write" in reader.db("w vm_swappiness 0t60"), "not without leave"
    assert guest.shell("cat /proc/sys/vm/swappiness").strip() == "42"
    status, text = reader.end()
    assert status == 0 and "goes on without us" in text and "cannot be read" not in text, text
    assert guest.shell("echo alive").strip() == "alive"


def clients():
    with tempfile.TemporaryDirectory() as folder, Guest(FOLDER, "6.12") as guest:
        beside(guest, folder)


main(clients)
