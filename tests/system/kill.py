#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Killing and stopping: the tracer never harms the program, the file never lies.

usage: kill.py tracer|tree|program|stop|stop_tree
"""

import os
import pathlib
import re
import signal
import sqlite3
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

WORKER = kms.BUILD / "test/system/worker"
NUMBERED = kms.BUILD / "test/system/numbered"
PAIRS = 8000000
MANY_PAIRS = 25000000  # seconds, so that the tracer dies in the middle
EXECS = 300
ATTEMPTS = 3
GRACE_S = 1.0  # "within a second of its usual time"
DEADLINE_S = 60
NUMBERS = 20000
TARGET_LOST = 4


class Late(Exception):
    """It took longer than allowed, which a busy machine can do, too: worth another attempt."""


def in_time(seconds, usual, grace_s, what):
    if seconds >= usual + grace_s:
        raise Late(f"{what}: {seconds:.2f} s, usual {usual:.2f} s")


def wait_session(workspace):
    return kms.wait_for(workspace.session, DEADLINE_S, "the session is published")


def usual_seconds(workspace, argv, cwd=None):
    """How long the command takes under an undisturbed tracer, and the trace of that run."""
    done, trace = workspace.traced(argv, workspace.path / "usual.kms", timeout=DEADLINE_S, cwd=cwd)
    assert done.status == 0, done
    return done.seconds, trace


def timed(workspace, argv, trace, act, cwd=None):
    """Runs under trace, calls act(session) in the middle; status and seconds."""
    begin = time.monotonic()
    child = workspace.start(workspace.traced_argv(argv, trace), cwd=cwd)
    act(wait_session(workspace))
    out, err = child.communicate(timeout=DEADLINE_S)
    return child.returncode, out, err, time.monotonic() - begin


def stored_events(trace):
    """As of the last commit. Quick: the program must not be over before it is answered."""
    try:
        with sqlite3.connect(f"file:{trace}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT value FROM meta WHERE key = 'stored'").fetchone()[0])
    except (sqlite3.Error, TypeError):
        return 0  # being made


def check_lost_tracer(checks, workspace, title, trace):
    checks.equal(kms.integrity(trace), "ok", f"{title}: integrity_check")
    stats = workspace.json("stats", trace)
    said = stats["snapshot"]["tracer_lost"] or ""
    checks.that(re.search(r"was lost: .* \d+ of \d+ events stored", said),
                f"{title}: says that the tracer was lost, when, and of how many events", said)
    checks.that(not stats["snapshot"]["finished"], f"{title}: is not finished")
    text = workspace.run([kms.KMEMSCOPE, "stats", trace]).stdout.decode()
    checks.that(said and said in text, f"{title}: so does the text", text)
    strict = workspace.run([kms.KMEMSCOPE, "stats", "--strict", trace])
    checks.equal(strict.status, TARGET_LOST, f"{title}: status of --strict")
    counts = workspace.event_counts(trace)
    checks.that(counts.get("alloc", 0) > 0, f"{title}: events before the kill", counts)
    produced, stored, lost = map(int, workspace.sql(
        trace, "SELECT sum(produced), sum(stored), sum(lost) FROM rings")[0])
    checks.equal(sum(counts.values()), stored, f"{title}: events that can be read")
    checks.that(produced >= stored + lost > 0, f"{title}: produced at the last commit",
                (produced, stored, lost))


def kill_tracer(checks):
    with kms.Workspace("kill-tracer") as workspace:
        usual, _ = usual_seconds(workspace, [WORKER, MANY_PAIRS])
        trace = workspace.path / "killed.kms"

        def kill(session):
            kms.wait_for(lambda: stored_events(trace), DEADLINE_S, "events are stored")
            os.kill(session["pid"], signal.SIGKILL)

        status, out, _, seconds = timed(workspace, [WORKER, MANY_PAIRS], trace, kill)
        checks.equal((status, out), (0, b"done\n"), "tracer killed: the program ends as usual")
        in_time(seconds, usual, GRACE_S, "tracer killed: the program's time")
        check_lost_tracer(checks, workspace, "tracer killed", trace)


def write_makefile(folder, rule):
    targets = " ".join(f"t{i}" for i in range(EXECS))
    (folder / "Makefile").write_text(f"all: {targets}\n\t@echo all done\n%:\n\t@{rule}\n")


def kill_tree(checks):
    """make -j2 with 300 execs: the tracer dies in the middle of them."""
    with kms.Workspace("kill-tree") as workspace:
        write_makefile(workspace.path, "touch $@.made; /bin/true")
        argv = ["make", "-s", "-r", "-j2", "all"]
        usual, _ = usual_seconds(workspace, argv)
        for path in workspace.path.glob("*.made"):
            path.unlink()
        trace = workspace.path / "killed.kms"

        def kill(session):
            kms.wait_for(lambda: len(list(workspace.path.glob("*.made"))) > EXECS // 3,
                         DEADLINE_S, "a third is made")
            os.kill(session["pid"], signal.SIGKILL)

        status, out, _, seconds = timed(workspace, argv, trace, kill)
        checks.equal((status, out), (0, b"all done\n"), "tree: make ends as usual")
        checks.equal(len(list(workspace.path.glob("*.made"))), EXECS, "tree: all is made")
        in_time(seconds, usual, GRACE_S, "tree: make's time")
        check_lost_tracer(checks, workspace, "tree", trace)


def kill_program(checks):
    """Every event whose number the program had written to a pipe is in the file."""
    with kms.Workspace("kill-program") as workspace:
        trace = workspace.path / "trace.kms"
        child = workspace.start(workspace.traced_argv([NUMBERED], trace))
        session = wait_session(workspace)
        numbers = []
        while len(numbers) < NUMBERS:
            numbers.append(struct.unpack("<Q", child.stdout.read(8))[0])
        os.kill(session["program_pid"], signal.SIGKILL)
        rest = child.stdout.read()
        numbers += [n for (n,) in struct.iter_unpack("<Q", rest[: len(rest) // 8 * 8])]
        status = child.wait(DEADLINE_S)
        checks.equal(status, 128 + signal.SIGKILL, "program killed: exit status")
        checks.equal(kms.integrity(trace), "ok", "program killed: integrity_check")
        checks.equal(workspace.lost(trace), 0, "program killed: lost events")
        stored = {int(row[0]) for row in workspace.sql(
            trace, "SELECT DISTINCT size FROM events WHERE kind = 'alloc'")}
        missing = [n for n in numbers if n not in stored]
        checks.equal(missing[:5], [], f"program killed: missing of {len(numbers)} numbers")


def stop_tracer(checks):
    """SIGSTOP: the program goes on, what was lost is counted, SIGCONT ends the file properly."""
    with kms.Workspace("stop-tracer") as workspace:
        usual, _ = usual_seconds(workspace, [WORKER, PAIRS])
        trace = workspace.path / "stopped.kms"
        begin = time.monotonic()
        child = workspace.start(workspace.traced_argv([WORKER, PAIRS], trace))
        session = wait_session(workspace)
        os.kill(session["pid"], signal.SIGSTOP)
        try:
            line = child.stdout.readline()
            seconds = time.monotonic() - begin
        finally:
            os.kill(session["pid"], signal.SIGCONT)
        checks.equal(line, b"done\n", "tracer stopped: the program ends its work")
        in_time(seconds, usual, GRACE_S + 0.5, "tracer stopped: the program's time")
        checks.equal(child.wait(DEADLINE_S), 0, "tracer stopped: exit status")
        checks.equal(kms.integrity(trace), "ok", "tracer stopped: integrity_check")
        check_sum(checks, workspace, "tracer stopped", trace)
        checks.that(workspace.lost(trace) > 0, "tracer stopped: while the program went on")


def check_sum(checks, workspace, title, trace):
    """produced = stored + lost, for each ring."""
    for ring, produced, stored, lost in workspace.sql(
            trace, "SELECT ring, produced, stored, lost FROM rings"):
        checks.equal(int(produced), int(stored) + int(lost), f"{title}: ring {ring} adds up")


def stop_tree(checks):
    """The tracer is stopped while 300 new processes start: they go on."""
    with kms.Workspace("stop-tree") as workspace:
        script = (f"i=0; while [ $i -lt {EXECS} ]; do /bin/echo $i >/dev/null; i=$((i+1)); "
                  "[ $i = 20 ] && echo begun; done; echo ended")
        usual, _ = usual_seconds(workspace, ["/bin/sh", "-c", script])
        trace = workspace.path / "stopped.kms"
        begin = time.monotonic()
        child = workspace.start(workspace.traced_argv(["/bin/sh", "-c", script], trace))
        session = wait_session(workspace)
        checks.equal(child.stdout.readline(), b"begun\n", "stopped tree: begins")
        os.kill(session["pid"], signal.SIGSTOP)
        try:
            line = child.stdout.readline()
            seconds = time.monotonic() - begin
        finally:
            os.kill(session["pid"], signal.SIGCONT)
        checks.equal(line, b"ended\n", "stopped tree: all processes ran")
        # Each new image may notice for itself that nobody reads; see the stalled flag.
        in_time(seconds, usual, 2 * GRACE_S, "stopped tree: time")
        checks.equal(child.wait(DEADLINE_S), 0, "stopped tree: exit status")
        checks.equal(kms.integrity(trace), "ok", "stopped tree: integrity_check")
        check_sum(checks, workspace, "stopped tree", trace)
        seen = workspace.sql(trace, "SELECT count(*) FROM targets WHERE command LIKE '/bin/echo %'")
        checks.equal(seen, [[str(EXECS)]], "stopped tree: processes in the file")


TESTS = {"tracer": kill_tracer, "tree": kill_tree, "program": kill_program, "stop": stop_tracer,
         "stop_tree": stop_tree}


def run(checks, test):
    for attempt in range(ATTEMPTS):
        try:
            test(checks)
            return
        except Late as late:
            print(f"late in attempt {attempt + 1}: {late}", flush=True)
        except AssertionError as error:
            checks.that(False, test.__name__, error)
            return
    checks.that(False, f"{test.__name__}: in time in one of {ATTEMPTS} attempts")


def main():
    checks = kms.Checks()
    for name in sys.argv[1:] or TESTS:
        run(checks, TESTS[name])
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
