#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The demo's kernel makes the same number of allocations and frees with any set of bugs.

Counted by a kmem(9) that has nothing to do with libkmem (tests/support/kmem_count.c).
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

PROGRAM = kms.BUILD / "test/system/demo_count"
BUGS = ("leak", "overflow", "underflow", "double-free", "use-after-free", "wrong-size", "context",
        "wrong-cache", "use-after-put", "umem-overflow", "umem-leak", "pageable")
REFUSED = {"overflow", "underflow", "double-free", "wrong-size", "wrong-cache", "umem-overflow"}


def counts(workspace, seed, bugs):
    """(alloc, free, refused) of a run, and its journal."""
    out, journal = workspace.path / "counts.json", workspace.path / "journal"
    done = workspace.run([PROGRAM, "--seed", seed, "--bugs", bugs, "--ops", 4000, "--seconds", 0,
                          "--journal", journal], env={"KMEM_COUNT_FILE": str(out)})
    assert done.status == 0, done
    read = json.loads(out.read_text())
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    return (read["alloc"], read["free"]), read["refused"], lines


def check_seed(checks, workspace, seed):
    expected, refused, journal = counts(workspace, seed, "all")
    checks.equal(refused, len(REFUSED), f"seed {seed}: refused frees")
    checks.equal({line["bug"] for line in journal}, set(BUGS), f"seed {seed}: all bugs done")
    none, refused, journal = counts(workspace, seed, "none")
    checks.equal((none, refused, journal), (expected, 0, []), f"seed {seed}: without bugs")
    for bug in BUGS:
        alone, refused, journal = counts(workspace, seed, bug)
        checks.equal(alone, expected, f"seed {seed}: {bug} alone")
        checks.equal(refused, 1 if bug in REFUSED else 0, f"seed {seed}: {bug} refused")
        checks.equal({line["bug"] for line in journal}, {bug}, f"seed {seed}: journal of {bug}")
    again, _, _ = counts(workspace, seed, "all")
    checks.equal(again, expected, f"seed {seed}: repeated")
    return expected


def main():
    checks = kms.Checks()
    with kms.Workspace("demo-counts") as workspace:
        seen = {check_seed(checks, workspace, seed) for seed in (0, 1, 2, 99)}
        checks.equal(len(seen), 4, "another seed, other counts")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
