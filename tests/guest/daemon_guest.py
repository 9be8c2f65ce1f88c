#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Guests of the daemon: taken, shown beside processes, changed, let go; the daemon's death, the guest's, strangers.

usage: daemon_guest.py taken|killed|waits|refused|linux ...
"""

import os
import pathlib
import signal
import subprocess
import sys

import guest
import kms
from attach import Machine, Qmp, with_qmp

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "system"))
from daemon import PACED, RATE, Daemon  # noqa: E402

DEADLINE_S = guest.DEADLINE_S
FAILED, OVER_THRESHOLD = 1, 3
ALIVE = ("running", "stopped")


def take(workspace, target, *options):
    return workspace.run([kms.KMEMSCOPE, "attach", "--daemon", *options, target], timeout=DEADLINE_S)


def rows(daemon, what, target):
    """Rows of a list that are one target's, whether or not the list is asked for it alone."""
    chosen = daemon.get(f"/api/v1/{what}?target={target}")["items"]
    every = [row for row in daemon.get(f"/api/v1/{what}")["items"] if row["target"] == target]
    return chosen if len(chosen) == len(every) else None


def db(workspace, line):
    done = workspace.run([kms.KMEMSCOPE, "db", "-e", line, "daemon"], timeout=DEADLINE_S)
    return done.stdout.decode()


def newest(daemon):
    return max(daemon.targets(), key=lambda t: t["id"])


def state_of(daemon, target):
    return next(t["state"] for t in daemon.targets() if t["id"] == target)


def wait_state(daemon, target, *states):
    kms.wait_for(lambda: state_of(daemon, target) in states, DEADLINE_S, f"target {target} is {states}")


def check_controls(checks, workspace, daemon, target):
    """What is asked of it is answered by it, and stands in its trace."""
    path = f"/api/v1/targets/{target['id']}"
    checks.that(daemon.ask("PATCH", f"/api/v1/guard?target={target['id']}", {"depth": 1000})[0] in (200, 202), "depth")
    kms.wait_for(lambda: rows(daemon, "guard", target["id"])[0]["depth"] == 1024, DEADLINE_S, "in effect")
    checks.equal(daemon.ask("POST", f"{path}/stop")[0], 200, "stop")
    wait_state(daemon, target["id"], "stopped")
    before = daemon.get(f"/api/v1/stats?target={target['id']}")["allocs"]
    checks.equal(daemon.ask("POST", f"{path}/continue")[0], 200, "continue")
    kms.wait_for(lambda: daemon.get(f"/api/v1/stats?target={target['id']}")["allocs"] > before, DEADLINE_S,
                 "it goes on")
    checks.equal(daemon.ask("POST", "/api/v1/marks", {"name": "here"})[0], 201, "a mark")
    said = db(workspace, "verify")
    clean = [line for line in said.splitlines() if line.split()[-2:] == [str(target["id"]), "clean"]]
    checks.that(len(clean) > 10 and "broken" not in said, "verify", said)
    audit = kms.wait_for(lambda: (seen := workspace.sql(
        target["file"], "SELECT variable, value, result FROM audit ORDER BY id")) and len(seen) > 4 and seen,
        DEADLINE_S, "the audit")
    names = [row[0] for row in audit]
    checks.equal(audit[0], ["attach", str(target["pid"]), "ok"], "who attached is in the audit")
    for name in ("kmem_guard_depth", "stop", "continue"):
        checks.that(name in names, f"{name} is in the audit", audit)


def test_taken(checks, workspace):
    """A guest beside a process: each list has its rows, each control reaches it alone, it is let go."""
    daemon = Daemon(workspace)
    worker = workspace.start([PACED, 400000, RATE, 1000, "hold"], env=daemon.joins())
    process = daemon.target_of(worker.pid)
    machine = Machine(workspace, "seed=3 bugs=double-free,leak")
    kms.wait_for(lambda: (done := take(workspace, machine.target)).status == 0 or print(done), DEADLINE_S, "taken")
    target = daemon.target_of(machine.process.pid)
    checks.equal((target["kind"], target["name"], target["state"]), ("guest", guest.IMAGE.name, "running"), "target")
    shown = workspace.items("targets", "daemon")
    checks.equal([t["kind"] for t in sorted(shown, key=lambda t: t["id"])], ["process", "guest"], "both are listed")
    for who, again in (("daemon", take(workspace, machine.target)),
                       ("traced already", workspace.run([kms.KMEMSCOPE, "attach", machine.target]))):
        checks.that(again.status == FAILED and who.encode() in again.stderr, "a second tracer is refused", again)
    kms.wait_for(lambda: rows(daemon, "faults", target["id"]), DEADLINE_S, "the planted bug")
    fault = rows(daemon, "faults", target["id"])[0]
    checks.equal((fault["kind"], bool(kms.frame_of(fault["stack"], "fs_double_free_name"))), ("double_free", True),
                 "with its function")
    checks.equal(rows(daemon, "faults", process["id"]), [], "the process has none")
    kms.wait_for(lambda: rows(daemon, "caches", target["id"]) and rows(daemon, "leaks", target["id"]), DEADLINE_S,
                 "caches and leaks")
    events = daemon.get(f"/api/v1/events?target={target['id']}&limit=10")["items"]
    checks.equal({e["target"] for e in events}, {target["id"]}, "events of it alone")
    check_controls(checks, workspace, daemon, target)
    checks.equal(rows(daemon, "guard", process["id"])[0]["depth_requested"], 0, "the process's depth is its own")
    checks.equal(daemon.ask("POST", f"/api/v1/targets/{target['id']}/detach")[0], 202, "detach")
    wait_state(daemon, target["id"], "detached")
    kms.wait_for(lambda: not os.path.exists(target["file"] + ".lock"), DEADLINE_S, "its trace is finished")
    checks.equal((machine.lives(), kms.integrity(target["file"])), (True, "ok"), "it lives; its trace")
    checks.equal(take(workspace, machine.target).status, 0, "and again")
    second = newest(daemon)
    checks.equal((second["pid"], second["file"]), (machine.process.pid, target["file"].replace(".kms", ".2.kms")),
                 "into a file of its own")
    checks.equal(daemon.end(), 0, "the daemon's end")
    checks.that(machine.lives(), "leaves it running")


def test_killed(checks, workspace):
    """The next daemon has the guest again, of a killed one or of one that ended; not one that was let go."""
    daemon = Daemon(workspace)
    ours, _, options = with_qmp(workspace)
    machine = Machine(workspace, "work=flood", options)
    qmp = Qmp(ours)
    checks.equal(take(workspace, machine.target).status, 0, "taken")
    first = daemon.target_of(machine.process.pid)
    kms.wait_for(lambda: daemon.get("/api/v1/stats")["allocs"] > 10000, DEADLINE_S, "it is read")
    for number, how in ((2, signal.SIGKILL), (3, signal.SIGTERM)):
        daemon.end(how)
        checks.that(machine.lives(), f"signal {how} to the daemon leaves it running")
        daemon.start()
        again = daemon.target_of(machine.process.pid)
        checks.equal((again["state"], again["file"]), ("running", first["file"].replace(".kms", f".{number}.kms")),
                     f"the next daemon has it after signal {how}")
        kms.wait_for(lambda: daemon.get("/api/v1/stats")["allocs"] > 10000, DEADLINE_S, "it is read again")
        stats = daemon.get("/api/v1/stats")
        checks.equal(stats["faults"], 0, "what it freed meanwhile is no fault")
        checks.that(0 < stats["live_objects"] < 100000, "what lives is known", stats)
    qmp.do("system_reset")
    kms.wait_for(lambda: len(daemon.targets()) == 2 and newest(daemon)["state"] == "running", DEADLINE_S, "a reset")
    checks.equal(state_of(daemon, 1), "exited", "the boot before it is over")
    machine.end()
    daemon.wait_ended()
    checks.equal(newest(daemon)["state"], "exited", "the emulator was killed")
    daemon.end()
    daemon.start()
    checks.equal(daemon.targets(), [], "who has ended is taken by nobody")
    other = Machine(workspace, "work=flood")
    checks.equal(take(workspace, other.target).status, 0, "another one")
    checks.equal(daemon.ask("POST", f"/api/v1/targets/{daemon.target_of(other.process.pid)['id']}/detach")[0], 202, "detach")
    daemon.wait_ended()
    daemon.end()
    daemon.start()
    checks.equal(daemon.targets(), [], "who was let go is left alone")
    checks.equal(daemon.end(), 0, "the end")
    checks.equal(list((workspace.runtime / "kmemscope").glob("*")), [], "folders that are left")


def test_waits(checks, workspace):
    """A machine without a kernel yet is waited for, and is given up when it ends."""
    daemon = Daemon(workspace)
    ours, _, options = with_qmp(workspace)
    machine = Machine(workspace, "work=flood", [*options, "-S"])
    qmp = Qmp(ours)
    done = take(workspace, machine.target, "-d")
    checks.that(done.status == 0 and b"a kernel's start" in done.stderr, "nothing is in it yet", done)
    checks.equal(daemon.targets(), [], "no target yet")
    again = take(workspace, machine.target)
    checks.that(again.status == FAILED and b"waited for" in again.stderr, "asked twice", again)
    qmp.do("cont")
    target = daemon.target_of(machine.process.pid)
    wait_state(daemon, target["id"], "stopped")
    checks.equal(daemon.ask("POST", f"/api/v1/targets/{target['id']}/continue")[0], 200, "stopped at once, as asked")
    kms.wait_for(lambda: daemon.get("/api/v1/stats")["allocs"] > 1000, DEADLINE_S, "it goes on")
    empty = workspace.start([guest.QEMU, "-S", "-display", "none", "-m", "64M"], stdin=subprocess.DEVNULL)
    kms.wait_for(lambda: take(workspace, f"qemu:pid:{empty.pid}").status == 0, DEADLINE_S, "another is waited for")
    empty.kill()
    empty.wait(DEADLINE_S)
    kms.wait_for(lambda: "ended before a kernel" in daemon.said(), DEADLINE_S, "that it has ended is said")
    checks.equal([t["state"] for t in daemon.targets()], ["running"], "the other one goes on")
    daemon.end()


def test_refused(checks, workspace):
    """The daemon opens nothing for a client that its user could not have."""
    sleeper = workspace.start(["/usr/bin/sleep", "1000"])
    (workspace.path / "empty.ram").write_bytes(bytes(1 << 20))
    daemon = Daemon(workspace)
    refused = {
        f"qemu:pid:{sleeper.pid}": 400, "qemu:pid:x": 400, f"qemu:pid:{2 ** 22 + 1}": 404, "gdb:": 400,
        "qemu:relative.sock": 400, "ram:relative": 400, f"ram:{workspace.path}/none": 404,
        "gdb:192.0.2.1:1234": 403, "qemu:192.0.2.1:4444": 403, f"ram:{workspace.path}/empty.ram": 404,
        "gdb:localhost:1": 404,
    }
    for what, status in refused.items():
        answer = daemon.ask("POST", "/api/v1/targets", {"attach": what})
        checks.equal(answer[0], status, f"{what}: {answer[1]}")
    for options in (["--kernel", "/x"], ["--allow-write"], ["-o", "x.kms"]):
        done = take(workspace, f"qemu:pid:{sleeper.pid}", *options)
        checks.that(done.status == 2 and b"--daemon takes" in done.stderr, f"{options}", done)
    checks.equal(daemon.targets(), [], "what was refused left nothing")
    daemon.end()
    if os.geteuid() != 0:
        return
    machine = Machine(workspace, "work=flood")
    kmemscope = kms.reachable_product(workspace)
    os.chmod(workspace.path, 0o755)
    for folder in (workspace.runtime, workspace.path / "traces"):
        kms.give_to_nobody(folder)
    theirs = workspace.start(kms.unprivileged([kmemscope, "daemon", "--dir", workspace.path / "traces"]),
                             stdin=subprocess.DEVNULL)
    kms.wait_for(lambda: (session := workspace.session()) and session["pid"] == theirs.pid, DEADLINE_S,
                 "a daemon of another user")
    for what in (machine.target, f"ram:{workspace.path}/empty.ram"):
        answer = daemon.ask("POST", "/api/v1/targets", {"attach": what})
        checks.equal(answer[0], 403, f"{what} of another user: {answer[1]}")
    checks.that(machine.lives(), "it goes on")
    theirs.terminate()
    theirs.wait(DEADLINE_S)


def test_linux(checks, workspace):
    """A Linux, here a made-up one in a machine that stands, is shown; once let go its emulator is free for others."""
    ram = workspace.path / "linux.ram"
    checks.equal(workspace.run([kms.BUILD / "test/fake_linux_ram", ram]).status, 0, "memory is made")
    ours, theirs, options = with_qmp(workspace)
    machine = workspace.start(
        [guest.QEMU, "-S", "-display", "none", "-m", "8M", "-machine", "pc,memory-backend=m", "-object",
         f"memory-backend-file,id=m,size=8M,share=on,mem-path={ram}", *options], stdin=subprocess.DEVNULL)
    daemon = Daemon(workspace)
    qmp = Qmp(ours)
    checks.equal(take(workspace, f"qemu:pid:{machine.pid}").status, 0, "taken")
    target = newest(daemon)
    checks.equal((target["kind"], target["name"], target["pid"]), ("guest", "Linux 6.12.0-fake", machine.pid), "target")
    checks.equal(len(rows(daemon, "caches", target["id"])), 5, "its caches")
    checks.that(rows(daemon, "leaks", target["id"]), "its call sites")
    checks.that("nothing is stored" in daemon.said(), "what is not to be had is said")
    checks.equal(daemon.ask("POST", f"/api/v1/targets/{target['id']}/detach")[0], 202, "detach")
    wait_state(daemon, target["id"], "detached")
    other = Qmp(theirs)
    checks.that("return" in other.do("query-status"), "its control socket is another's")
    checks.equal(qmp.do("query-status")["return"]["running"], False, "it is as it was")
    checks.equal(state_of(daemon, target["id"]), "detached", "its last picture is shown on")
    checks.equal(daemon.end(), 0, "the daemon's end")
    checks.that(machine.poll() is None, "leaves the machine alone")


if __name__ == "__main__":
    sys.exit(guest.run_cases(globals(), "daemon-guest"))
