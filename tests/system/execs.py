#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""An `exec` event for each program that began, none for a call that failed, and nothing changed.

A C program executes itself in every way there is: the exec family, a bare system call, posix_spawn,
vfork, clone, from a thread.
"""

import collections
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

PROGRAM = kms.BUILD / "test/system/execs"
TAGS = ["execl", "execle", "execlp", "execv", "execve", "execvp", "execvpe", "fexecve", "syscall",
        "after", "vfork", "posix_spawn", "posix_spawnp", "clone", "thread_fork", "thread_vfork",
        "thread_itself"]
CHILD_STATUS = 5


def check_execs(checks, workspace, trace):
    rows = workspace.sql(trace, "SELECT t.command FROM events e JOIN targets t ON t.id = e.target"
                                " WHERE e.kind = 'exec'")
    seen = collections.Counter(command.split(" child ")[1] if " child " in command else "first"
                               for (command,) in rows)
    checks.equal(seen, collections.Counter(["first", *TAGS]), "exec events by program")
    first = workspace.sql(trace, "SELECT kind FROM events ORDER BY seq LIMIT 1")
    checks.equal(first, [["exec"]], "the first event of the run")
    late = workspace.sql(trace, "SELECT count(*) FROM (SELECT target, min(seq) AS s FROM events"
                                " GROUP BY target) f JOIN events e ON e.seq = f.s"
                                " WHERE e.kind NOT IN ('exec', 'fork')")
    checks.equal(late, [["0"]], "targets whose first event is neither exec nor fork")


def check_threads(checks, workspace, trace):
    rows = workspace.sql(trace, "SELECT count(*), count(DISTINCT thread) FROM events"
                                " WHERE kind = 'thread' AND target = 1")
    checks.equal(rows, [["2", "2"]], "thread events of the first program")


def main():
    checks = kms.Checks()
    with kms.Workspace("execs") as workspace:
        text = workspace.path / "text"
        text.write_bytes(b"\0\1\2 no program\n")
        os.chmod(text, 0o755)
        plain = workspace.run([PROGRAM, text])
        done, trace = workspace.traced([PROGRAM, text])
        checks.equal(plain.status, CHILD_STATUS, "plain: status")
        checks.equal((done.status, done.stdout, done.stderr),
                     (plain.status, plain.stdout, plain.stderr), "traced: as plain")
        checks.equal(workspace.lost(trace), 0, "lost events")
        check_execs(checks, workspace, trace)
        check_threads(checks, workspace, trace)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
