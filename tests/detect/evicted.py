#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Use after free when the FIFO was too short: depth 512, 20,000 frees between free and read.

`guard` must show that the victim has left. Two cases: its address was given out again and is live
by then, so the read is legal for the allocator and there is no report; or it was not given out
again, and then a report, where there is one, lists every owner that the address ever had.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

SOURCE = "tests/detect/use_after_free.c"
DEPTH, FREES = 512, 20000
SIZE, OTHER_SIZE = "100", "9000"


def check_guard(checks, title, guards):
    if not checks.equal(len(guards), 1, f"{title}: one row of guard"):
        return
    guard = guards[0]
    checks.equal(guard["depth"], DEPTH, f"{title}: depth")
    checks.that(guard["used"] <= DEPTH, f"{title}: used", guard["used"])
    checks.that(guard["evictions"] >= FREES - DEPTH, f"{title}: evictions", guard["evictions"])
    checks.that(0 < guard["window_frees"] <= DEPTH, f"{title}: window in frees",
                guard["window_frees"])
    checks.that(guard["oldest_age_us"] > 0, f"{title}: window in time", guard["oldest_age_us"])


def owners_of(workspace, trace, address):
    """Allocations of the address in the trace, independent of the report."""
    signed = address - (1 << 64) if address >> 63 else address
    return int(workspace.sql(
        trace, f"SELECT count(*) FROM events WHERE kind = 'alloc' AND address = {signed}")[0][0])


def run(checks, front, mode, churn):
    title = f"{mode} ({front})"
    program = kms.BUILD / f"test/detect/use_after_free_{front}_O1"
    if not program.exists():
        return
    with kms.Workspace("evicted") as workspace:
        done, trace = workspace.traced([program, SIZE, mode, churn, str(FREES)],
                                       options=("--guard-depth", str(DEPTH)))
        if not checks.equal(done.status, 0, f"{title}: exit status"):
            print(done)
            return
        printed = json.loads(done.stdout)
        check_guard(checks, title, workspace.items("guard", trace))
        faults = workspace.items("faults", trace)
        owners = owners_of(workspace, trace, int(printed["block"], 16))
        if mode == "reuse":
            checks.that(printed["owner"] > 0, f"{title}: the address was given out again")
            checks.equal([f["kind"] for f in faults], [], f"{title}: a live owner, no report")
            checks.that(owners >= 2, f"{title}: owners in the trace", owners)
            return
        checks.equal(owners, 1, f"{title}: the address had one owner")
        for fault in faults:
            checks.equal(fault["kind"], "use_after_free", f"{title}: kind")
            checks.equal(len(fault["owners"]), owners, f"{title}: owners in the report")


def main():
    checks = kms.Checks()
    for front in ("malloc", "kmem"):
        run(checks, front, "reuse", SIZE)
        run(checks, front, "fresh", OTHER_SIZE)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
