#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A `map` event for each module of the table, once, after its program's `exec`.

A C program with threads and children, and python, which loads modules as it goes.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

IMPORTS = "import ctypes, decimal, os, sqlite3, threading; pid = os.fork();" \
          " import bz2, lzma; os._exit(0) if pid == 0 else os.waitpid(pid, 0)"


def check(checks, title, workspace, argv):
    done, trace = workspace.traced(argv)
    checks.that(done.status in (0, 5), f"{title}: status", done)
    told = workspace.sql(trace, "SELECT t.image, e.value, count(*), min(e.seq) > min(x.seq)"
                                " FROM events e JOIN targets t ON t.id = e.target"
                                " JOIN (SELECT xt.image, min(xe.seq) AS seq FROM events xe"
                                "   JOIN targets xt ON xt.id = xe.target WHERE xe.kind = 'exec'"
                                "   GROUP BY xt.image) x ON x.image = t.image"
                                " WHERE e.kind = 'map' GROUP BY t.image, e.value")
    rows = workspace.sql(trace, "SELECT image, idx FROM modules")
    checks.equal(sorted([image, index] for image, index, _, _ in told), sorted(rows),
                 f"{title}: map events and modules")
    checks.equal([r for r in told if r[2:] != ["1", "1"]], [], f"{title}: told twice, or too early")
    checks.that(len(rows) >= 2, f"{title}: modules", rows)
    checks.equal(workspace.lost(trace), 0, f"{title}: lost events")
    kinds = workspace.json("events", trace, "--kind", "map")["items"]
    checks.that(kinds and {e["kind"] for e in kinds} == {"map"}, f"{title}: the view has them",
                kinds[:2])


def main():
    checks = kms.Checks()
    with kms.Workspace("maps") as workspace:
        text = workspace.path / "text"
        text.write_bytes(b"\0no program\n")
        check(checks, "execs", workspace, [kms.BUILD / "test/system/execs", text])
        check(checks, "python", workspace, [kms.PYTHON, "-c", IMPORTS])
        check(checks, "ls", workspace, ["/bin/ls", "-l", "/"])
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
