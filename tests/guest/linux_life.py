#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What becomes of an unmodified Linux guest that the daemon has: paused, gone on, stopped by us, reset, killed, let go.

linux_life.py FOLDER: where the kernels are kept; see linux.py
"""
import pathlib
import sys

for part in ("support", "system"):
    sys.path.append(str(pathlib.Path(__file__).parents[1] / part))
import kms  # noqa: E402
from attach import Qmp  # noqa: E402
from daemon import Daemon  # noqa: E402
from life import make_qcow2, monitor  # noqa: E402
from linux_kernels import Guest, main  # noqa: E402

FOLDER = sys.argv[1]
DEADLINE_S = 120


def wait_states(daemon, *states):
    kms.wait_for(lambda: [t["state"] for t in daemon.targets()] == list(states), DEADLINE_S, f"targets are {states}")


def take(checks, workspace, daemon, guest):
    """Once it is free: a run that let it go ends a moment after its state says so."""
    argv = [kms.KMEMSCOPE, "attach", "--daemon", f"qemu:pid:{guest.process.pid}"]
    done = kms.wait_for(lambda: (lambda d: b"already" not in d.stderr and d)(workspace.run(argv, timeout=DEADLINE_S)),
                        DEADLINE_S, "the guest is free")
    checks.that(done.status == 0 and b"as target" in done.stderr, "it is taken", done)
    return daemon.target_of(guest.process.pid)


def check_views(checks, workspace, daemon, target):
    checks.that(target["kind"] == "guest" and target["name"].startswith("Linux 6."), "target", target)
    caches = daemon.get(f"/api/v1/caches?target={target['id']}&limit=1000")["items"]
    checks.that(any(c["name"] == "dentry" and c["objects_live"] > 0 for c in caches), "its caches", len(caches))
    checks.equal(len(workspace.items("targets", "daemon")), 1, "listed")


def check_life(checks, daemon, qmp, target):
    """States of the machine, and of the next boot."""
    qmp.do("stop")
    wait_states(daemon, "stopped")
    qmp.do("cont")
    wait_states(daemon, "running")
    path = f"/api/v1/targets/{target['id']}"
    checks.equal(daemon.ask("POST", f"{path}/stop")[0], 200, "stopped by a client")
    wait_states(daemon, "stopped")
    checks.equal(daemon.ask("POST", f"{path}/continue")[0], 200, "and let go on")
    wait_states(daemon, "running")
    qmp.do("system_reset")
    wait_states(daemon, "exited", "running")
    checks.equal(daemon.targets()[1]["pid"], target["pid"], "the next boot")


def live_dentries(daemon, target):
    rows = daemon.get(f"/api/v1/caches?target={target['id']}&limit=1000")["items"]
    return next(row["objects_live"] for row in rows if row["name"] == "dentry")


def check_snapshot(checks, daemon, guest, qmp, target):
    """An earlier state of the same kernel: the same target, as it was then."""
    monitor(checks, qmp, "savevm one")
    before = live_dentries(daemon, target)
    guest.shell("i=0; while [ $i -lt 3000 ]; do : > /tmp/s$i; i=$((i+1)); done")
    kms.wait_for(lambda: live_dentries(daemon, target) > before + 2000, DEADLINE_S, "files that came later")
    monitor(checks, qmp, "loadvm one")
    kms.wait_for(lambda: live_dentries(daemon, target) < before + 1000, DEADLINE_S, "they are gone again")
    wait_states(daemon, "running")


def life():
    checks = kms.Checks()
    with kms.Workspace("linux-life") as workspace:
        control = workspace.path / "ours.sock"
        theirs = workspace.path / "theirs.sock"
        more = [word for path in (theirs, control) for word in ("-qmp", f"unix:{path},server=on,wait=off")]
        make_qcow2(workspace.path / "disk.qcow2")
        more += ["-drive", f"file={workspace.path}/disk.qcow2,if=none,format=qcow2"]
        daemon = Daemon(workspace)
        with Guest(FOLDER, "6.12", "q35", 1, "slub_debug=U", more=more) as guest:
            qmp = Qmp(control)
            qmp.do("set-action", {"reboot": "reset"})
            target = take(checks, workspace, daemon, guest)
            check_views(checks, workspace, daemon, target)
            check_snapshot(checks, daemon, guest, qmp, target)
            check_life(checks, daemon, qmp, target)
            daemon.end(9)
            checks.equal(guest.process.poll(), None, "kill -9 of the daemon leaves it running")
            daemon.start()
            again = daemon.target_of(guest.process.pid)
            checks.equal(again["state"], "running", "the next daemon has it")
            checks.equal(daemon.ask("POST", f"/api/v1/targets/{again['id']}/detach")[0], 202, "let go")
            wait_states(daemon, "detached")
            checks.equal(guest.process.poll(), None, "it goes on")
            take(checks, workspace, daemon, guest)
            wait_states(daemon, "detached", "running")
        wait_states(daemon, "detached", "exited")
        checks.equal(daemon.end(), 0, "the daemon's end")
    sys.exit(checks.status())


main(life)
