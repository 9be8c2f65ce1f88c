#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Recording switched off and on again: what happened in between is unknown, and never a leak.

usage: sessions.py
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

SESSIONS = kms.BUILD / "test/system/sessions"
BLOCKS = 1000
FREES_AFTER = {"free": 1, "keep": BLOCKS + 1, "replace": BLOCKS + 1}


def main():
    checks = kms.Checks()
    with kms.Workspace("sessions") as workspace:
        for mode, frees in FREES_AFTER.items():
            done, trace = workspace.traced([SESSIONS, mode])
            checks.equal((done.status, done.stderr), (0, b""), f"{mode}: the program")
            counts = workspace.event_counts(trace)
            checks.equal((counts.get("alloc"), counts.get("free")), (BLOCKS + 1, frees),
                         f"{mode}: recorded events")
            leaks = workspace.json("leaks", trace)
            checks.equal((leaks["total_count"], leaks["incomplete"]), (0, True), f"{mode}: leaks")
            checks.equal(workspace.items("faults", trace), [], f"{mode}: faults")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
