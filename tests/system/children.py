#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Many children of one image: a region has room for 256 processes at a time.

Children that come and go are all traced, however fast they are: each waits for a place that the
tracer is about to give back. Of more than 256 that live at the same time some are not traced; that
is said, and the trace says of itself that it is incomplete.

usage: children.py [N]      N: children that come and go (3000)
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

CHILDREN = kms.BUILD / "test/system/children"
ROOM = 256
FEW, MANY = 200, 300
WORD = b"processes at a time are traced"


def trace_of(checks, workspace, title, *arguments):
    trace = workspace.path / f"{title}.kms"
    done = workspace.run([kms.KMEMSCOPE, "run", "-o", trace, "--", CHILDREN, *arguments])
    checks.equal((done.status, done.stdout), (0, b"done\n"), f"{title}: the program")
    targets = int(workspace.sql(trace, "SELECT count(*) FROM targets")[0][0])
    return done.stderr, targets, workspace.json("leaks", trace)["incomplete"]


ENDS = """
import os, signal, sys
def child(end):
    pid = os.fork()
    if not pid:
        end()
    os.waitpid(pid, 0)
    print(pid, flush=True)
child(lambda: os._exit(3))
child(lambda: sys.exit(4))
child(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 5"]))
child(lambda: os.kill(os.getpid(), signal.SIGKILL))
child(lambda: os._exit(0))
"""


def ends(checks, workspace):
    """How children ended that are not ours is known as far as they say it: by exit, by _exit, not by a signal."""
    trace = workspace.path / "ends.kms"
    done = workspace.run([kms.KMEMSCOPE, "run", "-q", "-o", trace, "--", kms.PYTHON, "-c", ENDS])
    pids = [int(line) for line in done.stdout.split()]
    rows = {}
    for target in workspace.items("targets", trace):
        rows.setdefault(target["pid"], []).append(target["exit_code"])
    checks.equal([rows.get(pid) for pid in pids], [[3], [4], [None, 5], [None], [0]], f"how they ended: {done!r}")
    text = workspace.run([kms.KMEMSCOPE, "targets", trace]).stdout.decode()
    checks.that("exited, status 4" in text, "the table", text)


def main():
    checks = kms.Checks()
    passing = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    with kms.Workspace("children") as workspace:
        ends(checks, workspace)
        said, targets, incomplete = trace_of(checks, workspace, "passing", passing)
        checks.equal((targets, incomplete), (passing + 1, False), f"passing: {said}")
        said, targets, incomplete = trace_of(checks, workspace, "few", FEW, "stay")
        checks.equal((targets, incomplete, WORD in said), (FEW + 1, False, False), "few")
        said, targets, incomplete = trace_of(checks, workspace, "many", MANY, "stay")
        checks.equal((targets, incomplete, WORD in said), (ROOM, True, True), f"many: {said}")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
