#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Corners of the malloc family (corners.c), whatever is switched on: the same answers, no finding."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

PROGRAM = kms.BUILD / "test/system/corners"
LIBRARY = kms.BUILD / "lib/libkmem_malloc.so"
FAILS = 6 * 11 + 6 + 5 * 7 + 5 + 1 + 3 * 3 + 2  # calls of corners.c that must fail

# Options, and whether the usable size is the requested one.
ALONE = (("", "exact"), ("trace=0,size=0,redzone=0", "room"), ("size=1,redzone=0", "exact"),
         ("size=0,redzone=1", "exact"), ("poison=1", "exact"), ("guard_depth=512", "exact"),
         ("guard_depth=512,size=0,redzone=0", "exact"))
TRACED = ((), ("--set", "kmem_poison=1"), ("--set", "kmem_redzone=0", "--set", "kmem_size=0"),
          ("--guard-depth", "512"))


def main():
    checks = kms.Checks()
    with kms.Workspace("corners") as workspace:
        for options, mode in ALONE:
            done = workspace.run([PROGRAM, mode], env={"LD_PRELOAD": str(LIBRARY),
                                                       "KMEM_OPTIONS": options})
            checks.equal((done.status, done.stdout), (0, b"0 failed\n"), f"alone {options!r}")
            checks.that(b"at 0x" not in done.stderr, f"alone {options!r}: findings", done.stderr)
        for options in TRACED:
            done, trace = workspace.traced([PROGRAM, "exact"], options=options)
            checks.equal((done.status, done.stdout), (0, b"0 failed\n"), f"traced {options}")
            checks.equal(workspace.items("faults", trace), [], f"traced {options}: findings")
            checks.equal(workspace.event_counts(trace).get("alloc_failed"), FAILS,
                         f"traced {options}: failures")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
