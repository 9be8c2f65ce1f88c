#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Attaching to our own kernel in QEMU: found, read, changed while it runs, let go, lost.

usage: attach.py plain|late|killed|reset|memory|demo|symbols|refused|gdb ...
"""

import json
import os
import signal
import socket
import subprocess
import sys

import guest
import kms

DEADLINE_S = guest.DEADLINE_S
LATE_FREES = 20000


class Machine:
    """QEMU with our kernel and nothing that helps who attaches, unless the test adds it."""

    def __init__(self, workspace, options="", more=(), kernel=guest.IMAGE):
        self.workspace = workspace
        self.process = workspace.start(
            [guest.QEMU, "-kernel", kernel, "-m", "512M", "-display", "none",
             *(["-append", options] if options else []), *more],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.target = f"qemu:pid:{self.process.pid}"

    def lives(self):
        return self.process.poll() is None

    def end(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)


class Attached:
    """`kmemscope attach` to it, as a child of ours."""

    def __init__(self, workspace, target, name, options=(), wait=True):
        self.workspace, self.trace = workspace, workspace.path / f"{name}.kms"
        self.child = workspace.start([kms.KMEMSCOPE, "attach", "-o", self.trace, *options, target],
                                     stdin=subprocess.DEVNULL)
        if wait:
            kms.wait_for(self.is_there, DEADLINE_S, "the guest is attached to")

    def is_there(self):
        if self.child.poll() is not None:
            raise AssertionError(f"attach ended: {self.child.communicate()}")
        return self.workspace.session() and any(
            t["state"] in ("running", "stopped") for t in self.items("targets"))

    def items(self, what):
        return self.workspace.items(what)

    def stats(self):
        return self.workspace.json("stats")

    def db(self, line):
        done = self.workspace.run([kms.KMEMSCOPE, "db", "-e", line], timeout=DEADLINE_S)
        return done.stdout.decode()

    def reaches(self, member, value):
        kms.wait_for(lambda: self.stats()[member] >= value, DEADLINE_S, f"{member} reaches {value}")

    def detach(self):
        self.child.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self):
        _, err = self.child.communicate(timeout=DEADLINE_S)
        return self.child.returncode, err.decode()


class Qmp:
    """QEMU's control socket, as a user would have it beside us."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        kms.wait_for(lambda: self.socket.connect_ex(str(path)) == 0, DEADLINE_S, "QMP socket")
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.do("qmp_capabilities")

    def do(self, command, arguments=None):
        self.file.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                return answer


def with_qmp(workspace):
    """Two sockets: one for us, one for kmemscope, which finds the first that is named."""
    ours, theirs = workspace.path / "ours.sock", workspace.path / "theirs.sock"
    return ours, theirs, ["-qmp", f"unix:{theirs},server=on,wait=off",
                          "-qmp", f"unix:{ours},server=on,wait=off"]


def listed(workspace):
    done = workspace.run([kms.KMEMSCOPE, "attach", "--list", "--json"])
    return {item["target"]: item for item in json.loads(done.stdout)["items"]}


def findings(faults):
    """Kind, size, and the function, file and line of each stack in the drivers' code."""
    def place(stack):
        frames = [f for f in stack or [] if "/demo/" in (f.get("file") or "")]
        return (frames[0]["function"], os.path.basename(frames[0]["file"]),
                frames[0]["line"]) if frames else None
    return sorted((f["kind"], f["size"], str([place(f[s]) for s in
                                              ("stack", "alloc_stack", "free_stack")]))
                  for f in faults)


def test_plain(checks, workspace):
    """A guest that was started by hand is found, listed, read, and let go."""
    machine = Machine(workspace, "seed=3 bugs=double-free,leak")
    kms.wait_for(lambda: machine.target in listed(workspace), DEADLINE_S, "it is listed")
    item = listed(workspace)[machine.target]
    checks.equal(item["kind"], "guest", "listed as a guest")
    checks.equal(item["ram_bytes"], 512 << 20, "with its memory")
    checks.equal(item["kernel"], str(guest.IMAGE), "with its kernel")
    checks.equal(item["session"], None, "traced by nobody")
    attached = Attached(workspace, machine.target, "plain")
    checks.equal(listed(workspace)[machine.target]["session"], f"qemu-system-x86_64.{machine.process.pid}", "traced by us")
    target = attached.items("targets")[0]
    checks.equal((target["kind"], target["name"]), ("guest", guest.IMAGE.name), "its target")
    attached.reaches("faults", 1)
    fault = attached.items("faults")[0]
    checks.equal(fault["kind"], "double_free", "the planted bug")
    checks.that(any(f.get("function") == "fs_double_free_name" and f.get("line")
                    for f in fault["stack"]), "with function and line", fault["stack"])
    again = workspace.run([kms.KMEMSCOPE, "attach", machine.target])
    checks.equal(again.status, 1, "a second tracer is refused")
    checks.that(b"traced already" in again.stderr, "and told why", again.stderr)
    status, text = attached.detach()
    checks.equal(status, 0, f"detach: {text}")
    checks.that("goes on without us" in text, "the summary says that it lives on", text)
    checks.that(machine.lives(), "it does")
    checks.equal(workspace.items("targets", attached.trace)[0]["state"], "detached", "state")
    checks.equal(kms.integrity(attached.trace), "ok", "integrity_check")
    back = Attached(workspace, machine.target, "back")
    back.reaches("allocs", 1000)
    checks.equal(back.detach()[0], 0, "it can be attached to again")


def test_late(checks, workspace):
    """Depth set live; a use after free 20,000 frees later is caught with three stacks."""
    machine = Machine(workspace, f"work=late frees={LATE_FREES}", ["-smp", "2"])
    attached = Attached(workspace, machine.target, "late")
    checks.equal(workspace.json("guard")["items"][0]["depth"], 0, "the guard is off at first")
    said = attached.db("w kmem_guard_depth 0t30000")
    checks.that("effective 30208" in said or "pending" in said,
                "the write is acknowledged with what it led to", said)
    attached.reaches("faults", 1)
    fault = attached.items("faults")[0]
    checks.equal((fault["kind"], fault["size"]), ("use_after_free", 120), "caught")
    for name in ("stack", "alloc_stack", "free_stack"):
        frame = kms.frame_of(fault[name], "late_use_after_free")
        checks.that(frame and frame["file"].endswith("workload.c") and frame["line"],
                    f"{name} with file and line", fault[name])
    guard = workspace.json("guard")["items"][0]
    checks.equal(guard["depth"], 30208, "the guard view's depth")
    checks.that(guard["window_frees"] >= LATE_FREES, "and its window", guard)
    checks.equal(guard["backend"], "page_table", "by page tables")
    attached.detach()


def test_killed(checks, workspace):
    """kill -9 of either side: the guest goes on without us, we end without the guest."""
    machine = Machine(workspace, "work=flood kmem_on_full=1")
    attached = Attached(workspace, machine.target, "first", ["--on-full", "wait"])
    attached.reaches("allocs", 10000)
    attached.child.kill()
    attached.child.wait(DEADLINE_S)
    checks.that(machine.lives(), "kill -9 of the tracer leaves the guest running")
    second = Attached(workspace, machine.target, "second")
    second.reaches("allocs", 10000)
    checks.equal(second.stats()["faults"], 0, "what it freed meanwhile is no fault")
    machine.end()
    status, text = second.ended()
    checks.equal(status, 0, f"the end of the emulator is an end: {text}")
    checks.equal(workspace.items("targets", second.trace)[0]["state"], "exited", "state")
    checks.equal(kms.integrity(second.trace), "ok", "integrity_check")
    checks.that(machine.target not in listed(workspace), "it is listed no more")
    checks.equal(workspace.session(), None, "nor is its session there")


def test_reset(checks, workspace):
    """Pause, resume, reset: seen by the control channel; a reset is another target, as it booted."""
    ours, _, options = with_qmp(workspace)
    machine = Machine(workspace, "work=flood", options)
    qmp = Qmp(ours)
    attached = Attached(workspace, machine.target, "reset")
    attached.db("w kmem_guard_depth 0t1000")
    kms.wait_for(lambda: workspace.json("guard")["items"][0]["depth"] == 1024, DEADLINE_S,
                 "depth before the reset")
    qmp.do("stop")
    kms.wait_for(lambda: attached.items("targets")[0]["state"] == "stopped", DEADLINE_S,
                 "a pause is seen")
    qmp.do("cont")
    kms.wait_for(lambda: attached.items("targets")[0]["state"] == "running", DEADLINE_S,
                 "and its end")
    qmp.do("system_reset")
    kms.wait_for(lambda: len(attached.items("targets")) == 2, DEADLINE_S, "the next boot")
    states = {t["id"]: t["state"] for t in attached.items("targets")}
    checks.equal(states, {1: "exited", 2: "running"}, "one epoch is over, another has begun")

    def depth():
        return [g["depth"] for g in workspace.json("guard")["items"] if g["target"] == 2]
    kms.wait_for(depth, DEADLINE_S, "the new boot's figures")
    checks.equal(depth(), [0], "its depth is 0 again")
    qmp.do("quit")
    status, text = attached.ended()
    checks.equal(status, 0, f"quit: {text}")
    for words in ("machine stands still", "machine goes on", "the guest was reset"):
        checks.equal(text.count(words), 1, f"said once: {words}: {text}")


def test_memory(checks, workspace):
    """Stop and continue by request; writes of other memory only where that was allowed, audited."""
    machine = Machine(workspace, "work=flood")
    attached = Attached(workspace, machine.target, "memory")
    base = next(e["address"] for e in
                workspace.json("events", "-n", "1", "--kind", "alloc")["items"])
    said = attached.db(f"w/L {base} 1")
    checks.that("--allow-write" in said, "memory is not written without leave", said)
    attached.detach()
    allowed = Attached(workspace, machine.target, "allowed", ["--allow-write", "-d"])
    kms.wait_for(lambda: allowed.items("targets")[0]["state"] == "stopped", DEADLINE_S, "-d stops it")
    before = allowed.stats()["allocs"]
    # far from anything that its allocator needs: the end of its command line
    at = allowed.db("p/x options+3f0").strip()
    said = allowed.db(f"x/lx {at}")
    checks.that(said.strip(), "memory is read by address", said)
    word = said.split()[-1]
    said = allowed.db(f"w/l {at} {word}")
    checks.that(f"= {word.lstrip('0') or '0'}" in said, "the same value is written", said)
    audit = kms.wait_for(lambda: workspace.sql(
        allowed.trace, "SELECT variable, result FROM audit WHERE variable LIKE '0xffff%'"),
        DEADLINE_S, "the write is in the audit")
    checks.equal(audit, [[f"0x{at}", "ok"]], "audited")
    checks.equal(allowed.stats()["allocs"], before, "it stands")
    allowed.db("c")
    allowed.reaches("allocs", before + 1000)
    allowed.detach()


def test_demo(checks, workspace):
    """The same seed finds the same in QEMU as in a process: kind, size, and all stacks by line."""
    options = ["--seed", "5", "--seconds", "0", "--ops", "2000"]
    found = {}
    for name, more in (("process", []), ("guest", ["--qemu"])):
        done = workspace.run([kms.KMEMSCOPE, "demo", "--json", "-o", workspace.path / f"{name}.kms",
                              *options, *more], timeout=DEADLINE_S)
        if not checks.equal(done.status, 0, f"{name}: {done!r}"):
            return
        found[name] = json.loads(done.stdout)
    checks.equal(findings(found["guest"]["faults"]["items"]),
                 findings(found["process"]["faults"]["items"]), "faults")
    suspects = {name: sorted((x["cache"], x["count"], x["bytes"]) for x in body["leaks"]["items"]
                             if x["suspect"]) for name, body in found.items()}
    checks.equal(suspects["guest"], suspects["process"], "leak suspects")
    checks.equal(found["guest"]["stats"]["ring"]["lost"], 0, "nothing is lost")
    checks.equal(workspace.items("targets", workspace.path / "guest.kms")[0]["state"], "exited",
                 "the machine was switched off, and all was read before")


def test_symbols(checks, workspace):
    """Without the kernel's file functions have names all the same; another build's file is not used."""
    image = workspace.path / "gone.elf"
    image.write_bytes(guest.IMAGE.read_bytes())
    machine = Machine(workspace, "bugs=double-free", kernel=image)
    attached = Attached(workspace, machine.target, "before")
    attached.detach()
    image.unlink()
    attached = Attached(workspace, machine.target, "symbols")
    attached.reaches("faults", 1)
    fault = attached.items("faults")[0]
    checks.that(any(f.get("function") == "fs_double_free_name" for f in fault["stack"]),
                "named by what the kernel carries along", fault["stack"])
    attached.detach()
    other = workspace.path / "other.elf"
    content = guest.IMAGE.read_bytes()
    at = content.index(b"GNU\0", content.index(b"\x03\0\0\0GNU\0"))
    other.write_bytes(content[:at + 4] + bytes(20) + content[at + 24:])
    attached = Attached(workspace, machine.target, "other", ["--kernel", other])
    attached.reaches("faults", 1)
    _, text = attached.detach()
    checks.that("another build" in text, "a file of another build is said", text)
    checks.that("fs_double_free_name" in text, "and names come from the kernel itself", text)


def test_refused(checks, workspace):
    """Bad targets: one line each that says what is wrong."""
    sleeper = workspace.start(["/usr/bin/sleep", "1000"])
    ended = workspace.start(["/usr/bin/true"])
    ended.wait(DEADLINE_S)
    cases = [
        (f"qemu:pid:{sleeper.pid}", "QEMU"), (f"qemu:pid:{ended.pid}", "no process"),
        ("qemu:pid:x", "qemu:pid:x"), (f"qemu:{workspace.path}/none.sock", "none.sock"),
        (f"ram:{workspace.path}/none.ram", "none.ram"), ("gdb:", "gdb:"),
    ]
    for target, words in cases:
        done = workspace.run([kms.KMEMSCOPE, "attach", target], timeout=DEADLINE_S)
        checks.that(done.status in (1, 2), f"{target} is refused", done)
        checks.that(words in done.stderr.decode() and done.stderr.count(b"\n") <= 2,
                    f"{target}: in one line", done.stderr)
    empty = workspace.path / "empty.ram"
    empty.write_bytes(bytes(1 << 20))
    done = workspace.run([kms.KMEMSCOPE, "attach", f"ram:{empty}"], timeout=DEADLINE_S)
    checks.that(b"no kernel with our allocator" in done.stderr, "saved RAM without a kernel", done)
    nothing = workspace.start([guest.QEMU, "-S", "-display", "none", "-m", "64M"],
                              stdin=subprocess.DEVNULL)
    waiting = workspace.start([kms.KMEMSCOPE, "attach", f"qemu:pid:{nothing.pid}"],
                              stdin=subprocess.DEVNULL)
    line = waiting.stderr.readline().decode()
    checks.that("waiting for it" in line, "a machine without a kernel yet is waited for", line)
    nothing.kill()
    _, text = waiting.communicate(timeout=DEADLINE_S)
    checks.equal(waiting.returncode, 1, f"and given up when it ends: {text}")


def test_gdb(checks, workspace):
    """By a gdb stub alone: the guest stands for a moment twice a second, is told so, and goes on."""
    stub = workspace.path / "gdb.sock"
    machine = Machine(workspace, "bugs=double-free", ["-gdb", f"unix:{stub},server=on,wait=off"])
    kms.wait_for(stub.exists, DEADLINE_S, "the stub listens")
    attached = Attached(workspace, f"gdb:{stub}", "gdb")
    attached.reaches("faults", 1)
    checks.equal(attached.items("faults")[0]["kind"], "double_free", "the planted bug")
    status, text = attached.detach()
    checks.equal(status, 0, f"detach: {text}")
    checks.that("the guest stood still for" in text, "how long it stood is said", text)
    after = Attached(workspace, machine.target, "after")
    after.reaches("allocs", after.stats()["allocs"] + 100)
    checks.equal(after.detach()[0], 0, "it goes on")


if __name__ == "__main__":
    sys.exit(guest.run_cases(globals(), "guest"))
