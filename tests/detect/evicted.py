#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Use after free when the FIFO was too short: depth 512, 20,000 frees between free and read.

`guard` must show that the victim has left. Three cases. Its address was given out again and is live
by then: the read is legal for the allocator, there is no report. It was not given out again: the
page is still closed, the report names the victim's three stacks. It was given out many times and
its last owner was freed a moment ago: the report is about that one, and lists every owner, also
those that the tracer has long forgotten.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

SOURCE = "tests/detect/use_after_free.c"
DEPTH, FREES = 512, 20000
LONG_AGO = 100000  # frees; twice as many events are more than the model remembers
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


def run(checks, front, mode, churn, frees=FREES):
    title = f"{mode} {frees} ({front})"
    program = kms.BUILD / f"test/detect/use_after_free_{front}_O1"
    if not program.exists():
        return
    with kms.Workspace("evicted") as workspace:
        done, trace = workspace.traced([program, SIZE, mode, churn, str(frees)],
                                       options=("--guard-depth", str(DEPTH)))
        if not checks.equal(done.status, 0, f"{title}: exit status"):
            print(done)
            return
        printed = json.loads(done.stdout)
        check_guard(checks, title, workspace.items("guard", trace))
        faults = workspace.items("faults", trace)
        owners = owners_of(workspace, trace, int(printed["block"], 16))
        CHECK_OF[mode](checks, title, printed, faults, owners)
        if mode == "read":
            checks.that(owners > frees // (DEPTH + 1) - 2, f"{title}: owners in the trace", owners)


def check_reuse(checks, title, printed, faults, owners):
    checks.that(printed["owner"] > 0, f"{title}: the address was given out again")
    checks.equal([f["kind"] for f in faults], [], f"{title}: a live owner, no report")
    checks.that(owners >= 2, f"{title}: owners in the trace", owners)


def check_fresh(checks, title, _printed, faults, owners):
    checks.equal(owners, 1, f"{title}: the address had one owner")
    if check_report(checks, title, faults, owners):
        for stack, place in (("alloc_stack", ("make_block", "alloc")),
                             ("free_stack", ("give_back", "free"))):
            line = kms.line_of(SOURCE, place[1])
            checks.that(kms.frame_is(faults[0][stack], place[0], SOURCE, line),
                        f"{title}: {stack} is the victim's", kms.show_stack(faults[0][stack]))


def check_again(checks, title, _printed, faults, owners):
    if check_report(checks, title, faults, owners):
        checks.that(kms.frame_of(faults[0]["alloc_stack"], "churn"),
                    f"{title}: the last owner's stack", kms.show_stack(faults[0]["alloc_stack"]))


def check_report(checks, title, faults, owners):
    if not checks.equal([f["kind"] for f in faults], ["use_after_free"], f"{title}: one report"):
        return False
    checks.that(kms.frame_is(faults[0]["stack"], "read_stale", SOURCE,
                             kms.line_of(SOURCE, "read")), f"{title}: the access")
    checks.equal(faults[0]["owners_total"], owners, f"{title}: owners in the report")
    return True


CHECK_OF = {"reuse": check_reuse, "fresh": check_fresh, "read": check_again}


def main():
    checks = kms.Checks()
    for front in ("malloc", "kmem"):
        run(checks, front, "reuse", SIZE)
        run(checks, front, "fresh", OTHER_SIZE)
        run(checks, front, "read", SIZE)
    run(checks, "malloc", "read", SIZE, LONG_AGO)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
