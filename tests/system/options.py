#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Options of `run` and exit statuses, on real programs: what a script or CI relies on.

usage: options.py [PART...]
"""

import os
import pathlib
import re
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

FINDINGS, TARGET_LOST, EVENTS_LOST = 3, 4, 5
DEADLINE_S = 60
DETECT = kms.BUILD / "test/detect"
WORKER = kms.BUILD / "test/system/worker"
FAULTY = [DETECT / "double_free_malloc_O1", "100", "bug"]
CLEAN = [DETECT / "double_free_malloc_O1", "100", "legal"]
LEAKY = [DETECT / "leak_malloc_O2", "1"]
LEAKED = 1000 * 48


def run(workspace, argv, *options, **more):
    return workspace.run([kms.KMEMSCOPE, "run", *options, "--", *argv], **more)


def findings(checks, workspace):
    """--error-exitcode wins over the program's status; --leak-threshold decides about leaks."""
    for title, argv, options, status in (
            ("a fault", FAULTY, (), 0),
            ("a fault, N", FAULTY, ("--error-exitcode", "9"), 9),
            ("no fault, N", CLEAN, ("--error-exitcode", "9"), 0),
            ("own status, N", ["/bin/sh", "-c", "exit 6"], ("--error-exitcode", "9"), 6),
            ("a fault that aborts, N", FAULTY,
             ("--set", "kmem_panic=2", "--error-exitcode", "9"), 9),
            ("a fault that aborts", FAULTY, ("--set", "kmem_panic=2"), 128 + signal.SIGABRT),
            ("leaks, no threshold", LEAKY, ("--error-exitcode", "9"), 0),
            ("leaks above", LEAKY, ("--error-exitcode", "9", "--leak-threshold", LEAKED - 1), 9),
            ("leaks not above", LEAKY, ("--error-exitcode", "9", "--leak-threshold", "1M"), 0)):
        done = run(workspace, argv, "-q", "-o", workspace.path / "t.kms", *options)
        checks.equal(done.status, status, f"{title}: status")
        checks.that(b"kmemscope" not in done.stderr, f"{title}: nothing said", done.stderr)


def views(checks, workspace):
    """The same of a file."""
    faults, leaks = workspace.path / "faults.kms", workspace.path / "leaks.kms"
    workspace.traced(FAULTY, faults)
    workspace.traced(LEAKY, leaks)
    for arguments, status in (
            (("faults", faults), 0), (("faults", "--error-exitcode", "7", faults), 7),
            (("faults", "--error-exitcode", "7", leaks), 0),
            (("leaks", leaks), 0), (("leaks", "--leak-threshold", LEAKED - 1, leaks), FINDINGS),
            (("leaks", "--leak-threshold", "1M", leaks), 0),
            (("leaks", "--leak-threshold", "1", "--error-exitcode", "8", leaks), 8),
            (("sql", "--fail-if-rows", "SELECT * FROM faults", faults), FINDINGS),
            (("sql", "--fail-if-rows", "SELECT * FROM faults", leaks), 0),
            (("stats", "--strict", leaks), 0)):
        checks.equal(workspace.run([kms.KMEMSCOPE, *arguments]).status, status, f"{arguments}")


def suppressions(checks, workspace):
    """Known leaks are no findings; the file is looked at before the program starts."""
    known = workspace.path / "known.supp"
    known.write_text("# of LeakSanitizer's syntax\nleak:lose_*k\n")
    trace = workspace.path / "t.kms"
    options = ("--error-exitcode", "9", "--leak-threshold", LEAKED - 1, "--suppressions", known)
    done = run(workspace, LEAKY, "-o", trace, *options)
    checks.equal(done.status, 0, "suppressed: status of run")
    checks.that(b"1 suppressed: 46.9 KiB" in done.stderr and b"lose_block" not in done.stderr,
                "suppressed: summary", done.stderr)
    first = workspace.items("leaks", trace)[0]
    checks.that(kms.frame_of(first["stack"], "lose_block"), "not suppressed: first", first)
    answer = workspace.json("leaks", "--suppressions", known, trace)
    checks.equal((answer["suppressed"], answer["suppressed_bytes"]), (1, LEAKED), "members")
    checks.that(not any(kms.frame_of(i["stack"], "lose_block") for i in answer["items"]),
                "suppressed: items")
    known.write_text("leak:another_function\n")
    done = run(workspace, LEAKY, "-q", "-o", trace, *options)
    checks.equal(done.status, 9, "another pattern: status of run")
    known.write_text("nonsense\n")
    trace.unlink()
    done = run(workspace, LEAKY, "-q", "-o", trace, *options)
    checks.equal((done.status, trace.exists()), (125, False), "nonsense: status, and no trace")


def log(checks, workspace):
    """--log FILE has what would be on stderr."""
    path = workspace.path / "log.txt"
    done = run(workspace, FAULTY, "-o", workspace.path / "t.kms", "--log", path)
    checks.equal((done.status, done.stderr), (0, b""), "--log: stderr")
    text = path.read_text()
    checks.that("tracing pid" in text and "double_free" in text and "t.kms" in text,
                "--log: the file", text)


TREE = "import os, subprocess, sys; subprocess.run(['/bin/sh', '-c', '/bin/ls /; exit 0']); os.fork()"


def follow_fork(checks, workspace):
    """yes: every process; no: only the first one, whatever it executes."""
    argv = ["/bin/sh", "-c", '/bin/ls / >/dev/null; exec "$0" -c "$1"', kms.PYTHON, TREE]
    for follow, others in (("yes", True), ("no", False)):
        trace = workspace.path / f"{follow}.kms"
        done = run(workspace, argv, "-q", "-o", trace, "--follow-fork", follow)
        checks.equal(done.status, 0, f"--follow-fork {follow}: status")
        kms.wait_for(lambda t=trace: workspace.json("stats", t)["snapshot"]["finished"],
                     DEADLINE_S, "finished")
        pids = {row[0] for row in workspace.sql(trace, "SELECT pid FROM targets")}
        commands = [row[0] for row in workspace.sql(trace, "SELECT command FROM targets")]
        checks.equal(len(pids) > 1, others, f"--follow-fork {follow}: processes {pids}")
        checks.that(any(kms.PYTHON in c for c in commands),
                    f"--follow-fork {follow}: the first one's second program", commands)


DAEMON = """
import os, sys
if os.fork():
    sys.exit(0)
os.setsid()
if os.fork():
    os._exit(0)
null = os.open("/dev/null", os.O_RDWR)
for fd in range(3):
    os.dup2(null, fd)
open("started", "w").write(str(os.getpid()))
os.read(os.open("go", os.O_RDONLY), 1)
kept = [bytes(5000 + i) for i in range(100)]
os._exit(0)
"""


def background(checks, workspace):
    """run returns with the first process and says who is left; the file is finished by itself."""
    trace = workspace.path / "t.kms"
    os.mkfifo(workspace.path / "go")
    done = run(workspace, [kms.PYTHON, "-c", DAEMON], "-o", trace)
    checks.equal(done.status, 0, "daemon: status of run")
    checks.that(re.search(rb"1 other process of the tree lives: the tracer goes on", done.stderr),
                "daemon: who is left is said", done.stderr)
    stats = workspace.json("stats")
    checks.equal(stats["snapshot"]["finished"], False, "daemon: its session lives")
    (workspace.path / "go").write_bytes(b"x")
    kms.wait_for(lambda: workspace.json("stats", trace)["snapshot"]["finished"], DEADLINE_S,
                 "finished")
    rows = workspace.sql(trace, "SELECT count(*) FROM events e JOIN targets t ON t.id = e.target"
                                " WHERE e.kind = 'alloc' AND e.size BETWEEN 5033 AND 5132"
                                f" AND t.pid = {(workspace.path / 'started').read_text()}")
    checks.equal(rows, [["100"]], "daemon: its events")
    kms.wait_for(lambda: not list(workspace.runtime.glob("kmemscope/*")), DEADLINE_S,
                 "no session is left")


def live(checks, workspace):
    """Each view of a live session, and of its file afterwards; the API by any HTTP client."""
    trace = workspace.path / "t.kms"
    child = workspace.start(workspace.traced_argv(
        ["/bin/sh", "-c", '"$0" 100 bug >/dev/null; echo faulty; read x', FAULTY[0]], trace,
        ("--guard-depth", "512")))
    checks.equal(child.stdout.readline(), b"faulty\n", "live: the faulty one is over")
    kms.wait_for(lambda: workspace.items("faults"), DEADLINE_S, "the fault is seen")
    for view in ("leaks", "faults", "caches", "guard", "stats", "targets", "sites", "events"):
        checks.that(workspace.json(view)["snapshot"]["finished"] is False, f"live: {view}")
        checks.equal(workspace.run([kms.KMEMSCOPE, view]).status, 0, f"live: {view} as text")
    status = workspace.json("status")
    checks.that("t.kms" in str(status), "live: status", status)
    rows = workspace.run([kms.KMEMSCOPE, "sql", "SELECT count(*) FROM events WHERE kind = 'fault'"])
    checks.that(rows.status == 0 and rows.stdout in (b"0\n", b"1\n"), "live: sql", rows)
    socket = workspace.session()["socket"]
    for path, word in (("healthz", b"ok"), ("api/v1/targets", b'"items"')):
        done = workspace.run(["curl", "-sf", "--unix-socket", socket, f"http://localhost/{path}"])
        checks.that(done.status == 0 and word in done.stdout, f"live: GET /{path}", done)
    seen = workspace.items("faults")
    child.communicate(b"\n", timeout=DEADLINE_S)
    after = workspace.items("faults", trace)
    checks.equal([(f["kind"], f["address"]) for f in seen],
                 [(f["kind"], f["address"]) for f in after], "live: faults as in the file")
    checks.equal(workspace.run([kms.KMEMSCOPE, "leaks"]).status, 0,
                 "without a session: the newest trace here")


def on_full(checks, workspace):
    """A ring that is full: the program waits, and all is there; or goes on, and the loss is counted."""
    for how in ("wait", "drop"):
        trace = workspace.path / f"{how}.kms"
        child = workspace.start(workspace.traced_argv([WORKER, "400000", "hold"], trace,
                                                      ("--on-full", how)))
        checks.equal(child.stdout.readline(), b"half\n", f"--on-full {how}: half")
        session = kms.wait_for(workspace.session, DEADLINE_S, "session")
        if how == "drop":
            os.kill(session["pid"], signal.SIGSTOP)
        child.stdin.write(b"go\n")
        child.stdin.flush()
        if how == "drop":
            checks.equal(child.stdout.readline(), b"done\n", "--on-full drop: the program ends")
            os.kill(session["pid"], signal.SIGCONT)
        child.communicate(timeout=DEADLINE_S)
        checks.equal(child.returncode, 0, f"--on-full {how}: status")
        ring = workspace.json("stats", trace)["ring"]
        checks.equal(ring["produced"], ring["stored"] + ring["lost"], f"--on-full {how}: adds up")
        checks.equal(ring["lost"] > 0, how == "drop", f"--on-full {how}: lost {ring}")
        checks.that(how == "wait" or ring["waits"] == 0, f"--on-full {how}: waits", ring)
        strict = workspace.run([kms.KMEMSCOPE, "stats", "--strict", trace])
        checks.equal(strict.status, EVENTS_LOST if how == "drop" else 0, f"--strict after {how}")


def settings(checks, workspace):
    """--set and --guard-depth reach the program; what KMEM_OPTIONS had is kept; --set is stronger."""
    trace = workspace.path / "t.kms"
    done = run(workspace, ["/bin/sh", "-c", 'echo "$KMEM_OPTIONS"'], "-q", "-o", trace,
               "--guard-depth", "1000", "--set", "kmem_stack_depth=5", "--set", "redzone=0",
               env={"KMEM_OPTIONS": "stack_depth=9,poison=1"})
    items = dict(item.split("=") for item in done.stdout.decode().strip().split(","))
    seen = {name.removeprefix("kmem_"): value for name, value in items.items()}
    wanted = {"guard_depth": "1000", "stack_depth": "5", "redzone": "0", "poison": "1"}
    checks.equal({name: seen.get(name) for name in wanted}, wanted, "variables")
    guard = workspace.items("guard", trace)
    checks.equal([(g["depth_requested"], g["depth"]) for g in guard], [(1000, 1024)], "depth")


PARTS = {"findings": findings, "views": views, "suppressions": suppressions, "log": log,
         "follow_fork": follow_fork, "live": live, "background": background, "on_full": on_full, "settings": settings}


def main():
    checks = kms.Checks()
    for name in sys.argv[1:] or PARTS:
        with kms.Workspace(f"options-{name}") as workspace:
            try:
                PARTS[name](checks, workspace)
            except AssertionError as error:
                checks.that(False, name, error)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
