#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What cannot be attached to, or not as it was asked for: said plainly, and nothing breaks.

usage: attach_bad.py targets|permission|image|cut ...
"""

import os
import shutil
import signal
import subprocess
import sys
import time

import guest
import kms
from attach import Attached, Machine

DEADLINE_S = guest.DEADLINE_S
EM_AARCH64 = 183


def refused(checks, workspace, words, what, *arguments, status=(1, 2)):
    """One line that has these words, soon."""
    done = workspace.run([kms.KMEMSCOPE, "attach", *arguments], timeout=DEADLINE_S)
    text = done.stderr.decode()
    checks.that(done.status in status and text.count("\n") == 1 and all(w in text for w in words), what, repr(done))


def test_targets(checks, workspace):
    """A wrong pid, a process that is no QEMU, a QEMU of another processor, one without a kernel yet."""
    sleeper = workspace.start(["/usr/bin/sleep", "1000"])
    ended = workspace.start(["/usr/bin/true"])
    ended.wait(DEADLINE_S)
    refused(checks, workspace, ["no process"], "a pid of nobody", f"qemu:pid:{ended.pid}")
    refused(checks, workspace, ["is not a QEMU", "sleep"], "no QEMU", f"qemu:pid:{sleeper.pid}")
    refused(checks, workspace, ["qemu:pid:-1"], "no pid", "qemu:pid:-1")
    # its name is what tells one: there need be no emulator for arm here
    arm = workspace.path / "qemu-system-aarch64"
    shutil.copy("/usr/bin/sleep", arm)
    foreign = workspace.start([arm, "1000"])
    kms.wait_for(lambda: os.readlink(f"/proc/{foreign.pid}/exe") == str(arm), DEADLINE_S, "it runs")
    refused(checks, workspace, ["qemu-system-aarch64", "other processors than x86"], "another architecture",
            f"qemu:pid:{foreign.pid}")
    listed = workspace.run([kms.KMEMSCOPE, "attach", "--list"]).stdout.decode()
    checks.that(any(f"qemu:pid:{foreign.pid}" in line and "other processors" in line for line in listed.splitlines()),
                "and listed with the reason", listed)
    empty = workspace.start([guest.QEMU, "-display", "none", "-m", "64M"], stdin=subprocess.DEVNULL)
    waiting = workspace.start([kms.KMEMSCOPE, "attach", f"qemu:pid:{empty.pid}"], stdin=subprocess.DEVNULL)
    line = waiting.stderr.readline().decode()
    checks.that("no kernel" in line and "waiting for it" in line, "without a kernel: it waits, and says so", line)
    checks.equal(waiting.poll(), None, "it does")
    waiting.send_signal(signal.SIGINT)
    waiting.wait(DEADLINE_S)
    checks.equal(empty.poll(), None, "the machine is as it was")


def test_permission(checks, workspace):
    """Somebody else's QEMU: who may, and by which capability; it is listed so, too."""
    if os.geteuid() != 0:
        kms.skip("takes root, to be somebody else")
    machine = Machine(workspace, "work=flood")
    product = kms.reachable_product(workspace)
    os.chmod(workspace.path, 0o755)
    shared = workspace.path / "nobody"
    (shared / "runtime").mkdir(parents=True)
    os.chmod(shared / "runtime", 0o700)
    kms.give_to_nobody(shared)
    environment = {"XDG_RUNTIME_DIR": str(shared / "runtime"), "HOME": str(shared)}
    done = workspace.run(kms.unprivileged([product, "attach", machine.target]), env=environment, cwd=shared)
    text = done.stderr.decode()
    checks.that(done.status == 1 and text.count("\n") == 1 and "CAP_SYS_PTRACE" in text and "user 0" in text,
                "refused, with what it takes", repr(done))
    done = workspace.run(kms.unprivileged([product, "attach", "--list"]), env=environment, cwd=shared)
    lines = [line for line in done.stdout.decode().splitlines() if machine.target in line]
    checks.that(len(lines) == 1 and "CAP_SYS_PTRACE" in lines[0], "and listed", done.stdout)
    after = Attached(workspace, machine.target, "after")
    after.reaches("allocs", 1000)
    after.detach()


def test_image(checks, workspace):
    """A file that is no kernel, of another processor, or of another build than what runs."""
    content = bytearray(guest.IMAGE.read_bytes())
    machine = Machine(workspace, "bugs=double-free")
    arm = workspace.path / "arm.elf"
    arm.write_bytes(content[:18] + EM_AARCH64.to_bytes(2, "little") + content[20:])
    short = workspace.path / "short.elf"
    short.write_bytes(content[:40])
    refused(checks, workspace, ["another kind of processor"], "an image for arm", "--kernel", arm, machine.target)
    refused(checks, workspace, ["no ELF file"], "an image that was cut short", "--kernel", short, machine.target)
    refused(checks, workspace, ["No such file"], "no image", "--kernel", workspace.path / "none", machine.target)
    at = content.index(b"GNU\0", content.index(b"\x03\0\0\0GNU\0"))
    other = workspace.path / "other.elf"
    other.write_bytes(content[:at + 4] + bytes(20) + content[at + 24:])
    attached = Attached(workspace, machine.target, "other", ["--kernel", other])
    attached.reaches("faults", 1)
    checks.that("kmem_init" in attached.db("p/a " + attached.db("p kmem_init").strip()), "names are of what runs")
    _, text = attached.detach()
    checks.that(str(other) in text and "another build" in text, "another build is said", text)


def cut(checks, workspace, name, target, path, more=()):
    """The file becomes empty while it is read: kmemscope says so and ends, its trace is whole."""
    attached = Attached(workspace, target, name, more)
    attached.reaches("allocs", 1000)
    os.truncate(path, 0)
    status, text = attached.ended()
    checks.that(status in (0, 1), f"{name}: it ends by itself", (status, text))
    checks.equal(kms.integrity(attached.trace), "ok", f"{name}: integrity_check")
    return text


def test_cut(checks, workspace):
    """A RAM file that is cut short under the reader."""
    def start(ram):
        machine = Machine(workspace, "work=flood", ["-machine", "memory-backend=ram", "-object",
                                                    f"memory-backend-file,id=ram,size=512M,mem-path={ram},share=on"])
        kms.wait_for(lambda: ram.exists() and ram.stat().st_size, DEADLINE_S, "it has its memory")
        return machine

    machine = start(workspace.path / "live")
    cut(checks, workspace, "by-pid", machine.target, workspace.path / "live")
    machine.end()
    machine = start(workspace.path / "ram")
    attached = Attached(workspace, f"ram:{workspace.path / 'ram'}", "by-file")
    attached.reaches("allocs", 1000)
    attached.detach()
    saved = workspace.path / "saved"
    subprocess.run(["cp", "--sparse=always", workspace.path / "ram", saved], check=True)
    machine.end()
    whole = workspace.run([kms.KMEMSCOPE, "attach", "-o", workspace.path / "whole.kms", f"ram:{saved}"],
                          timeout=DEADLINE_S)
    checks.that(whole.status == 0 and b"the guest" in whole.stderr and b"pid 0" not in whole.stderr, "all of it",
                (whole.status, whole.stderr))
    trace = workspace.path / "saved.kms"
    child = workspace.start([kms.KMEMSCOPE, "attach", "-o", trace, f"ram:{saved}"], stdin=subprocess.DEVNULL)
    checks.that(b"attached to" in child.stderr.readline(), "saved: it is being read")
    os.truncate(saved, 0)
    _, text = child.communicate(timeout=DEADLINE_S)
    checks.that(child.returncode in (0, 1), "saved: it ends", (child.returncode, text))
    checks.equal(kms.integrity(trace), "ok", "saved: integrity_check")
    shutil.copy(workspace.path / "ram", saved)
    for part in (4096, 1 << 20, 3 << 20):
        os.truncate(saved, part)
        begin = time.monotonic()
        done = workspace.run([kms.KMEMSCOPE, "attach", "-o", workspace.path / f"cut{part}.kms", f"ram:{saved}"],
                             timeout=DEADLINE_S)
        checks.that(done.status in (0, 1) and done.stderr, f"{part} bytes of it", repr(done))
        checks.that(time.monotonic() - begin < 60, f"{part} bytes: soon")


if __name__ == "__main__":
    sys.exit(guest.run_cases(globals(), "guest"))
