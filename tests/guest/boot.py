#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Our own kernel boots on every machine type, finds its planted bugs, stands still when told.

What it plants and finds must be what the same drivers plant in a process: same seed, same journal.
"""

import json
import subprocess
import sys

import guest
import kms

ROUND = "once seconds=0 ops=2000"
SEED = 7
# bug: kind of its finding, and the level it is found at; a leak is found by a host
EXPECTED = {
    "overflow": ("overflow", "task"), "underflow": ("underflow", "task"),
    "double-free": ("double_free", "task"), "use-after-free": ("use_after_free", "task"),
    "wrong-size": ("size_mismatch", "task"), "context": ("wrong_context", "callout"),
    "wrong-cache": ("wrong_cache", "task"), "use-after-put": ("use_after_free", "task"),
    "umem-overflow": ("overflow", "task"), "pageable": ("wrong_context", "hardint"),
}
# these are found with three stacks
THREE_STACKS = ("double-free", "use-after-free", "use-after-put")


def journal(lines):
    """Where each bug was planted, without the addresses."""
    return [{k: v for k, v in json.loads(line).items() if k != "address"} for line in lines]


def journal_of_process(workspace):
    path = workspace.path / "journal"
    subprocess.run([kms.BUILD / "test/system/demo_kernel", "--seed", str(SEED), "--ops", "2000",
                    "--seconds", "0", "--journal", path], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=guest.DEADLINE_S)
    return journal(path.read_text().splitlines())


def run_once(checks, options, machine="pc", cpus=2):
    with guest.Guest(f"{ROUND} {options}", machine, cpus) as g:
        status = g.wait()
        checks.equal(status, guest.POWERED_OFF, f"{machine}, {cpus} CPUs: status after {options}")
        checks.that("\ndone: " in g.serial, "the workload came to its end", g.serial[-500:])
        checks.that(f"kmem_guest: {cpus} CPU" in g.serial, "all CPUs came up", g.serial[:200])
        return g.serial


def machines(checks, workspace):
    expected = journal_of_process(workspace)
    where = {entry["bug"]: entry["function"] for entry in expected}
    for machine, cpus in (("pc", 1), ("pc", 2), ("q35", 1), ("q35", 2)):
        name = f"{machine}, {cpus} CPUs"
        serial = run_once(checks, f"seed={SEED} journal", machine, cpus)
        said = [line[9:] for line in serial.splitlines() if line.startswith("journal: ")]
        checks.equal(journal(said), expected, f"{name}: planted as in a process")
        found = guest.findings(serial)
        checks.equal(len(found), len(EXPECTED), f"{name}: findings")
        for bug, (kind, level) in EXPECTED.items():
            mine = [f for f in found if f.kind == kind and where[bug] in f.stacks.get("at", [])[:2]]
            checks.equal([f.level for f in mine], [level], f"{name}: {bug} is found once")
            if bug in THREE_STACKS and mine:
                checks.equal([mine[0].top("allocated by"), mine[0].top("freed by")],
                             [where[bug]] * 2, f"{name}: {bug} has three stacks")


def switches(checks, _):
    checks.equal(guest.findings(run_once(checks, "bugs=none")), [], "no bugs, no findings")
    found = guest.findings(run_once(checks, "bugs=leak,overflow"))
    checks.equal([f.kind for f in found], ["overflow"], "one bug alone")
    found = guest.findings(run_once(checks, "off=overflow,umem-overflow"))
    checks.equal(sorted(f.kind for f in found),
                 sorted(kind for kind, _ in EXPECTED.values() if kind != "overflow"),
                 "all but those that are off")
    guest_serial = run_once(checks, "bugs=none kmem_guard_depth=99999999999 kmem_nonsense=1")
    checks.that("out of range" in guest_serial and "unknown name" in guest_serial,
                "a bad variable is named", guest_serial)


def stops(checks, _):
    with guest.Guest(f"-d {ROUND} bugs=none", cpus=2) as g:
        g.wait_for("db> waiting")
        checks.that("done" not in g.serial, "-d stands before the workload", g.serial)
        g.type("c")
        checks.equal(g.wait(), guest.POWERED_OFF, "a 'c' on the serial line lets it go on")
    with guest.Guest(f"{ROUND} bugs=double-free kmem_panic=2", cpus=2) as g:
        g.wait_for("db> waiting")
        found = guest.findings(g.serial)
        checks.equal([f.kind for f in found], ["double_free"], "the finding before the panic")
        checks.that("\npanic: kmem_free(" in g.serial, "the original's words", g.serial)
        g.type("c")
        checks.equal(g.wait(), guest.PANICKED, "after a panic it is switched off")
    with guest.Guest(f"{ROUND} bugs=double-free kmem_panic=2 panic=off") as g:
        checks.equal(g.wait(), guest.PANICKED, "or at once, where that is asked for")


def plain(checks, _):
    """With no option at all it works until it is ended."""
    with guest.Guest() as g:
        g.wait_for("kmem_guest: 1 CPU,")
        g.wait_for("kmem: double_free")
        checks.that(g.process.poll() is None, "it goes on")


def late(checks, _):
    """Freed and then read, 20,000 frees later."""
    with guest.Guest("once work=late kmem_guard_depth=20001 kmem_panic=0", cpus=2) as g:
        checks.equal(g.wait(), guest.POWERED_OFF, "status")
        found = guest.findings(g.serial)
        checks.equal([f.kind for f in found], ["use_after_free"], "found once")
        checks.equal([found and found[0].top(s) for s in ("at", "allocated by", "freed by")],
                     ["late_use_after_free"] * 3, "three stacks")


CASES = {f.__name__: f for f in (machines, switches, stops, plain, late)}


def main():
    guest.need()
    checks = kms.Checks()
    with kms.Workspace("guest-boot") as workspace:
        for name in sys.argv[1:] or CASES:
            CASES[name](checks, workspace)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
