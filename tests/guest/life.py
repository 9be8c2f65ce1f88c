#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What becomes of a guest that is attached to: a snapshot is loaded, it moves, crashes, is killed; or we are killed.

usage: life.py snapshot|snapshot_file|killed_us|killed_it|crash|migration ...
"""

import signal
import struct
import sys

import guest
import kms
from attach import Attached, Machine, Qmp, with_qmp

DEADLINE_S = guest.DEADLINE_S
LATER_ALLOCS = 5000
WORK = "seed=3 bugs=leak kmem_guard_depth=0"  # a moderate pace: a busy machine keeps up
EPOCHS = 2


def make_qcow2(path):
    """An empty disk of 64 MiB that snapshots can be kept in: header, reference counts, one table of clusters."""
    cluster = 1 << 16
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 64 << 20, 0, 1, 3 * cluster, cluster, 1, 0, 0)
    counts = struct.pack(">Q", 2 * cluster).ljust(cluster, b"\0") + struct.pack(">4H", 1, 1, 1, 1).ljust(cluster, b"\0")
    path.write_bytes(header.ljust(cluster, b"\0") + counts + bytes(cluster))


def ram_file(path):
    return ["-object", f"memory-backend-file,id=ram,size=512M,mem-path={path},share=on", "-machine", "memory-backend=ram"]


def monitor(checks, qmp, line):
    answer = qmp.do("human-monitor-command", {"command-line": line})
    checks.equal(answer.get("return"), "", line)


def states(attached):
    return [t["state"] for t in attached.items("targets")]


def wait_states(attached, *expected):
    kms.wait_for(lambda: states(attached) == list(expected), DEADLINE_S, f"targets are {expected}")


def depth_of(workspace, target):
    return kms.wait_for(lambda: [g for g in workspace.json("guard")["items"] if g["target"] == target],
                        DEADLINE_S, "figures of the guard")[0]["depth"]


def go_on(attached, more=LATER_ALLOCS):
    attached.reaches("allocs", attached.stats()["allocs"] + more)


def check_trace(checks, workspace, trace, expected):
    checks.equal(kms.integrity(trace), "ok", "integrity_check")
    checks.equal([t["state"] for t in workspace.items("targets", trace)], expected, "states in the trace")
    rows = workspace.sql(trace, "SELECT target, sum(stored) > 0 FROM rings GROUP BY target ORDER BY target")
    checks.equal(rows, [[str(i + 1), "1"] for i in range(len(expected))], "each target has events")


def load_snapshots(checks, workspace, more):
    disk = workspace.path / "disk.qcow2"
    make_qcow2(disk)
    ours, _, options = with_qmp(workspace)
    machine = Machine(workspace, WORK, [*options, *more, "-drive", f"file={disk},if=none,format=qcow2"])
    qmp = Qmp(ours)
    attached = Attached(workspace, machine.target, "snapshot")
    go_on(attached)
    monitor(checks, qmp, "savevm one")
    wait_states(attached, "running")
    attached.db("w kmem_guard_depth 0t1000")
    kms.wait_for(lambda: depth_of(workspace, 1) == 1024, DEADLINE_S, "depth after the snapshot was taken")
    for epoch in range(2, EPOCHS + 2):
        monitor(checks, qmp, "loadvm one")
        wait_states(attached, *["exited"] * (epoch - 1), "running")
        checks.equal(depth_of(workspace, epoch), 0, f"epoch {epoch}: depth as it was then")
        go_on(attached)
        checks.equal(attached.items("faults"), [], f"epoch {epoch}: no false fault")
    status, text = attached.detach()
    checks.equal(status, 0, f"detach: {text}")
    checks.equal(text.count("went back to an earlier state"), EPOCHS, "each is said")
    checks.that("corrupt" not in text and "damage" not in text, "no damage is said", text)
    check_trace(checks, workspace, attached.trace, ["exited"] * EPOCHS + ["detached"])
    checks.that(machine.lives(), "it goes on")


def test_snapshot(checks, workspace):
    """A snapshot is loaded: what is in memory is older than what was read. Another epoch, nothing false."""
    load_snapshots(checks, workspace, [])


def test_snapshot_file(checks, workspace):
    """The same where RAM is a file."""
    load_snapshots(checks, workspace, ram_file(workspace.path / "ram"))


def test_killed_us(checks, workspace):
    """kill -9 of kmemscope in each mode: the guest goes on, and can be attached to again."""
    ram, stub = workspace.path / "ram", workspace.path / "gdb.sock"
    machine = Machine(workspace, WORK, [*ram_file(ram), "-gdb", f"unix:{stub},server=on,wait=off"])
    kms.wait_for(lambda: ram.exists() and stub.exists(), DEADLINE_S, "the machine")
    plain = Machine(workspace, WORK)
    for name, target, of in (("process", plain.target, plain), ("file", f"ram:{ram}", machine),
                             ("gdb", f"gdb:{stub}", machine), ("pid", machine.target, machine)):
        attached = Attached(workspace, target, name)
        go_on(attached, 1)
        attached.child.kill()
        attached.child.wait(DEADLINE_S)
        checks.that(of.lives(), f"{name}: it lives")
        again = Attached(workspace, of.target, f"{name}-again")
        go_on(again)
        checks.equal(again.items("faults"), [], f"{name}: what it freed meanwhile is no fault")
        checks.equal(again.detach()[0], 0, f"{name}: it goes on and is had again")


def test_killed_it(checks, workspace):
    """kill -9 of QEMU, with and without a RAM file; the file alone can be looked at afterwards."""
    ram = workspace.path / "ram"
    for name, more in (("process", []), ("file", ram_file(ram))):
        machine = Machine(workspace, WORK, more)
        attached = Attached(workspace, machine.target, name)
        go_on(attached)
        machine.end()
        status, text = attached.ended()
        checks.equal(status, 0, f"{name}: {text}")
        checks.that("emulator has ended" in text, f"{name}: it is said", text)
        check_trace(checks, workspace, attached.trace, ["exited"])
    done = workspace.run([kms.KMEMSCOPE, "attach", "-o", workspace.path / "saved.kms", f"ram:{ram}"], timeout=DEADLINE_S)
    checks.equal(done.status, 0, f"what it left: {done!r}")
    checks.that(workspace.json("stats", workspace.path / "saved.kms")["allocs"] > 0, "has events")


def test_crash(checks, workspace):
    """A crash that its device tells, and a panic of the kernel itself: both stand, and are said; a client lets them go on."""
    ours, _, options = with_qmp(workspace)
    machine = Machine(workspace, WORK, [*options, "-device", "pvpanic", "-action", "panic=pause"])
    qmp = Qmp(ours)
    attached = Attached(workspace, machine.target, "crash")
    go_on(attached)
    qmp.do("human-monitor-command", {"command-line": "o /b 0x505 1"})
    wait_states(attached, "stopped")
    qmp.do("quit")
    status, text = attached.ended()
    checks.equal(status, 0, f"quit: {text}")
    checks.that("kernel has crashed" in text, "the crash is said", text)
    checks.that("machine stands still" in text, "and that it stands", text)
    check_trace(checks, workspace, attached.trace, ["exited"])
    machine = Machine(workspace, "bugs=double-free", ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
    attached = Attached(workspace, machine.target, "panic", ["--set", "kmem_panic=2"])
    wait_states(attached, "stopped")
    stop = attached.items("targets")[0]["stop"]
    checks.equal((stop["reason"], stop["fault"]), ("fault", 1), "a panic stands at its fault")
    attached.db("c")
    checks.equal(machine.process.wait(DEADLINE_S), guest.PANICKED, "and is over when it may be")
    status, text = attached.ended()
    checks.equal(status, 0, f"its end: {text}")
    checks.equal(workspace.items("targets", attached.trace)[0]["state"], "exited", "state")


def control(workspace, name):
    """Two QMP sockets of one of several machines; see with_qmp()."""
    folder = workspace.path / name
    folder.mkdir()
    ours, theirs = folder / "ours.sock", folder / "theirs.sock"
    return ours, [word for path in (theirs, ours) for word in ("-qmp", f"unix:{path},server=on,wait=off")]


def incoming(workspace, name, more=()):
    """An emulator that waits for a guest, and where it does."""
    channel = workspace.path / f"{name}.channel"
    machine = Machine(workspace, WORK, ["-incoming", f"unix:{channel}", *more])
    kms.wait_for(channel.exists, DEADLINE_S, "it waits for a guest")
    return machine, channel


def check_left(checks, workspace, attached, name):
    status, text = attached.ended()
    checks.equal(status, 0, f"{name}: the end here: {text}")
    checks.that("runs elsewhere now" in text and "goes on without us" in text, f"{name}: it is said", text)
    check_trace(checks, workspace, attached.trace, ["detached"])


def check_there(checks, workspace, attached, name):
    go_on(attached)
    checks.equal(attached.items("faults"), [], f"{name}: no false fault")
    checks.equal(depth_of(workspace, 1), 1024, f"{name}: its depth went with it")


def test_migration(checks, workspace):
    """It goes on in another emulator: here it is over and left, there it is had as it was, waited for or not."""
    ours, options = control(workspace, "a")
    source = Machine(workspace, WORK, options)
    attached = Attached(workspace, source.target, "source")
    attached.db("w kmem_guard_depth 0t1000")
    kms.wait_for(lambda: depth_of(workspace, 1) == 1024, DEADLINE_S, "depth")
    theirs, options = control(workspace, "b")
    second, channel = incoming(workspace, "second", options)
    waiting = Attached(workspace, second.target, "second", wait=False)
    line = waiting.child.stderr.readline().decode()
    checks.that("not all there yet: waiting for it" in line, "what is still to come is waited for", line)
    Qmp(ours).do("migrate", {"uri": f"unix:{channel}"})
    check_left(checks, workspace, attached, "source")
    kms.wait_for(waiting.is_there, DEADLINE_S, "it is had there")
    check_there(checks, workspace, waiting, "second")
    source.end()
    third, channel = incoming(workspace, "third")
    Qmp(theirs).do("migrate", {"uri": f"unix:{channel}"})
    check_left(checks, workspace, waiting, "second")
    last = Attached(workspace, third.target, "third")
    check_there(checks, workspace, last, "third")
    checks.equal(last.detach()[0], 0, "detach")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(guest.run_cases(globals(), "life"))
