#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""1,000 blocks of 48 bytes lost among 1,000,000 balanced allocations come first in `leaks`.

Asked while the program waits on its input at its end, and of the file afterwards.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

SOURCE = "tests/detect/leak.c"
PAIRS, LEAKS, LEAK_BYTES = 1000000, 1000, 48
PATIENCE_S = 120


def check_first(checks, title, leaks):
    if not checks.that(leaks, f"{title}: there are suspects"):
        return
    first = leaks[0]
    line = kms.line_of(SOURCE, "leak")
    checks.equal(first["count"], LEAKS, f"{title}: count")
    checks.equal(first["bytes"], LEAKS * LEAK_BYTES, f"{title}: bytes")
    checks.that(kms.frame_is(first["stack"], "lose_block", SOURCE, line),
                f"{title}: names lose_block {SOURCE}:{line}", kms.show_stack(first["stack"]))


def live_leaks(workspace):
    """Suspects while the program waits, once the view has caught up with what it did."""
    def caught_up():
        stats = workspace.json("stats")
        return stats["ring"]["lost"] == 0 and stats["frees"] >= PAIRS

    kms.wait_for(caught_up, PATIENCE_S, "the view has caught up", pause_s=0.05)
    return workspace.items("leaks")


def run(checks, front, legal):
    title = f"leak {front}{' legal' if legal else ''}"
    program = kms.BUILD / f"test/detect/leak_{front}_O2"
    if not program.exists():
        return
    with kms.Workspace("leak") as workspace:
        trace = workspace.path / "leak.kms"
        argv = workspace.traced_argv([program, "1", *(["legal"] if legal else [])], trace)
        child = workspace.start(argv)
        checks.equal(child.stdout.readline(), b"done\n", f"{title}: says done")
        live = live_leaks(workspace)
        child.stdin.close()
        checks.equal(child.wait(PATIENCE_S), 0, f"{title}: exit status")
        checks.equal(child.stderr.read(), b"", f"{title}: stderr is empty")
        after = workspace.items("leaks", trace)
        for when, leaks in (("live", live), ("file", after)):
            if legal:
                lost = [leak for leak in leaks if kms.frame_of(leak["stack"], "lose_block")]
                checks.equal(lost, [], f"{title} {when}: nothing of lose_block")
            else:
                check_first(checks, f"{title} {when}", leaks)
        checks.equal(workspace.items("faults", trace), [], f"{title}: no faults")


def main():
    checks = kms.Checks()
    for front in ("malloc", "kmem"):
        for legal in (False, True):
            run(checks, front, legal)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
