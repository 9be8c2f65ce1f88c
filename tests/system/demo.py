#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`kmemscope demo` names every planted bug, and a bug that is switched off is its row less.

usage: demo.py report|switches|counts|seeds|text
"""

import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

# Bug: kind of its finding, function, file.
BUGS = {
    "leak": ("leak", "usb_leak_stalled_transfer", "usb.c"),
    "overflow": ("overflow", "net_overflow_options", "net.c"),
    "underflow": ("underflow", "tty_underflow_erase", "tty.c"),
    "double-free": ("double_free", "fs_double_free_name", "fs.c"),
    "use-after-free": ("use_after_free", "tty_use_after_free", "tty.c"),
    "wrong-size": ("size_mismatch", "disk_wrong_size_free", "disk.c"),
    "context": ("wrong_context", "usb_sleep_in_callout", "usb.c"),
    "wrong-cache": ("wrong_cache", "fs_put_inode_into_wrong_cache", "fs.c"),
    "use-after-put": ("use_after_free", "net_use_descriptor_after_put", "net.c"),
    "umem-overflow": ("overflow", "disk_overflow_ring", "disk.c"),
    "umem-leak": ("leak", "usb_leak_frame_list", "usb.c"),
    "pageable": ("wrong_context", "tty_log_in_interrupt", "tty.c"),
}
POOLS = ("wd0req", "wm0desc", "ffsino", "ffsdino")
LEAKS = {bug for bug, (kind, _, _) in BUGS.items() if kind == "leak"}
# Where the report is about the free that came after the bad access.
FOUND_AT_FREE = {"overflow", "underflow", "umem-overflow"}
# Caches that only the kernel's own calls serve: the program's malloc is not under trace.
KERNEL_CACHES = " OR ".join(["cache LIKE 'kmem-%'", "cache IS NULL", *(
    f"cache = '{name}'" for name in ("ddi_umem", "ddi_umem_pageable", *POOLS))])
DEADLINE_S = 40
KINDS = ("alloc", "free", "alloc_failed")
COUNTER = kms.BUILD / "test/system/demo_count"


def bug_line(bug):
    """The line that is wrong: the source says so in `= __LINE__ + 1` on the line before."""
    _, function, name = BUGS[bug]
    lines = (kms.SOURCE / "allocator/demo" / name).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if re.search(rf"KMS_BUG_FUNCTION.*{function}\(",
                                                                line))
    return next(i for i, line in enumerate(lines[start:], start + 2) if "= __LINE__ + 1" in line)


class Demo:
    """One run of the demo without a terminal."""

    def __init__(self, workspace, bugs="all", seed=1, seconds=0):
        self.workspace = workspace
        self.trace = workspace.path / f"demo-{bugs}-{seed}.kms"
        self.done = workspace.run([kms.KMEMSCOPE, "demo", "--json", "--seed", seed, "--bugs", bugs,
                                   "--seconds", seconds, "-o", self.trace], timeout=DEADLINE_S)
        assert self.done.status in (0, 3), self.done
        answer = json.loads(self.done.stdout)
        self.faults = answer["faults"]["items"]
        self.leaks = answer["leaks"]["items"]

    def found(self):
        """The set of bugs that the findings name by kind and function."""
        return {bug for bug in BUGS if self.finding(bug)}

    def finding(self, bug):
        kind, function, _ = BUGS[bug]
        if kind == "leak":
            rows = [r for r in self.leaks if kms.frame_of(r["stack"], function)]
        else:
            rows = [r for r in self.faults if r["kind"] == kind
                    and any(kms.frame_of(r[s], function) for s in ("stack", "alloc_stack"))]
        assert len(rows) <= 1, f"{bug}: {len(rows)} rows"
        return rows[0] if rows else None

    def counts(self):
        stored = self.workspace.event_counts(self.trace)
        return {kind: stored.get(kind, 0) for kind in KINDS}


def check_row(checks, bug, row):
    kind, function, name = BUGS[bug]
    if not checks.that(row, f"{bug}: there is a row"):
        return
    line = bug_line(bug)
    line += bug in FOUND_AT_FREE  # the kmem_free follows the bad write
    checks.that(kms.frame_is(row["stack"], function, name, line), f"{bug}: {function} {name}:{line}",
                kms.show_stack(row["stack"]))
    if kind in ("overflow", "underflow", "double_free", "use_after_free", "size_mismatch",
                "wrong_cache"):
        checks.that(kms.frame_of(row["alloc_stack"], function), f"{bug}: allocated by",
                    kms.show_stack(row["alloc_stack"]))
    if kind in ("double_free", "use_after_free"):
        checks.that(kms.frame_of(row["free_stack"], function), f"{bug}: freed by",
                    kms.show_stack(row["free_stack"]))
        last = row["owners"][0] if row["owners"] else {"alloc_stack": [], "free_stack": []}
        checks.equal((last["alloc_stack"], last["free_stack"]),
                     (row["alloc_stack"], row["free_stack"]), f"{bug}: its victim is the last owner")


def report(checks):
    """As a stranger sees it: default length, every bug with function, file and line."""
    with kms.Workspace("demo") as workspace:
        demo = Demo(workspace, seconds=4)
        checks.that(demo.done.seconds < DEADLINE_S, "ends by itself", demo.done.seconds)
        for bug in BUGS:
            check_row(checks, bug, demo.finding(bug))
        checks.equal(len(demo.faults), len(set(BUGS) - LEAKS), "faults in all")
        first = demo.leaks[:len(LEAKS)]
        for bug, (least, most, cache) in {"leak": (80, 96, "kmem-96"),
                                          "umem-leak": (24, 32, "ddi_umem")}.items():
            rows = [r for r in first if kms.frame_of(r["stack"], BUGS[bug][1])]
            if checks.equal(len(rows), 1, f"{bug}: among the first suspects"):
                checks.that(least <= rows[0]["count"] <= most, f"{bug}: count", rows[0]["count"])
                checks.equal(rows[0]["cache"], cache, f"{bug}: cache")


def switches(checks):
    """Each bug switched off removes exactly its row; all off: no findings."""
    with kms.Workspace("demo") as workspace:
        for bug in BUGS:
            rest = set(BUGS) - {bug}
            demo = Demo(workspace, ",".join(sorted(rest)))
            checks.equal(demo.found(), rest, f"without {bug}")
            checks.equal(len(demo.faults), len(rest - LEAKS), f"without {bug}: faults")
        none = Demo(workspace, "none")
        checks.equal(none.found(), set(), "without bugs")
        checks.equal([f["kind"] for f in none.faults], [], "without bugs: faults")
        checks.equal([r["count"] for r in none.leaks if r["score"] >= 50], [],
                     "without bugs: suspects worth a look")
        checks.equal(none.done.status, 0, "without bugs: status")


def counts(checks):
    """The same events with and without bugs, and as many as an independent kmem(9) counts."""
    with kms.Workspace("demo") as workspace:
        out = workspace.path / "counts.json"
        workspace.run([COUNTER, "--seconds", 0, "--seed", 5], env={"KMEM_COUNT_FILE": str(out)})
        expected = json.loads(out.read_text())
        expected = {"alloc": expected["alloc"], "free": expected["free"], "alloc_failed": 0}
        for bugs in ("all", "none", "leak,context"):
            demo = Demo(workspace, bugs, seed=5)
            seen = demo.workspace.event_counts(demo.trace, KERNEL_CACHES)
            checks.equal({kind: seen.get(kind, 0) for kind in KINDS}, expected,
                         f"events of the kernel's calls with bugs {bugs}")
            checks.equal(workspace.lost(demo.trace), 0, f"lost events with bugs {bugs}")


def seeds(checks):
    """Another seed moves addresses and counts; the same seed repeats the counts."""
    with kms.Workspace("demo") as workspace:
        one, again, other = (Demo(workspace, seed=seed) for seed in (1, 1, 2))
        checks.equal(again.counts(), one.counts(), "same seed, same counts")
        checks.that(other.counts() != one.counts(), "another seed, other counts", other.counts())
        addresses = [[f["address"] for f in sorted(d.faults, key=lambda f: f["kind"])]
                     for d in (one, other)]
        checks.that(addresses[0] != addresses[1], "another seed, other addresses", addresses)
        checks.that(one.leaks and other.leaks, "both have the leak")


def text(checks):
    """The report for a person names function, file and line of every bug."""
    with kms.Workspace("demo") as workspace:
        done = workspace.run([kms.KMEMSCOPE, "demo", "-o", workspace.path / "demo.kms"],
                             timeout=DEADLINE_S)
        seen = done.stdout.decode(errors="replace")
        for bug, (_, function, name) in BUGS.items():
            checks.that(function in seen and re.search(rf"{function}.*{name}:\d+", seen),
                        f"{bug}: the report names {function}, {name} and a line")
        checks.that("\x1b" not in seen, "no escape sequences without a terminal")


TESTS = {"report": report, "switches": switches, "counts": counts, "seeds": seeds, "text": text}


def main():
    checks = kms.Checks()
    for name in sys.argv[1:] or TESTS:
        try:
            TESTS[name](checks)
        except AssertionError as error:
            checks.that(False, name, error)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
