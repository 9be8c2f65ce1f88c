#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Names of a guest's kernel at the prompt, writes to them, and two kmemscopes at one guest.

usage: attach_names.py names|writes|race ...
"""

import signal
import subprocess
import sys

import guest
import kms
from attach import Attached, Machine, findings

DEADLINE_S = guest.DEADLINE_S
ROUNDS, RACERS = 3, 3


def symbols():
    """Name and address of each symbol of our kernel, by binutils."""
    rows = subprocess.run(["nm", guest.IMAGE], capture_output=True, text=True, check=True).stdout.splitlines()
    return {row.split()[2]: int(row.split()[0], 16) for row in rows}


def test_names(checks, workspace):
    """Read from the kernel's file, and without it from what the kernel carries along."""
    image = workspace.path / "gone.elf"
    image.write_bytes(guest.IMAGE.read_bytes())
    known = symbols()
    machine = Machine(workspace, "work=flood", kernel=image)
    for name in ("file", "kernel"):
        attached = Attached(workspace, machine.target, name)
        checks.equal(attached.db("p kmem_init").split(), [f"{known['kmem_init']:x}"], f"{name}: an address")
        checks.equal(attached.db(f"p/a {known['kms_cpus'] + 8:x}").strip(), "kms_cpus+0x8", f"{name}: a name")
        checks.equal(attached.db("x/s options").strip(), "options:\twork=flood", f"{name}: a text")
        said = attached.db("x/gx kmem_init+8,2").split()
        checks.equal(said[0], "kmem_init+0x8:", f"{name}: an offset")
        checks.equal(len(said), 3, f"{name}: and two numbers")
        first, second = (int(attached.db(f"x/wx the_tick{more}").split()[-1], 16) for more in ("", "+0"))
        checks.that(first <= second, f"{name}: what changes is read anew", (first, second))
        checks.that("did you mean kmem_init?" in attached.db("x kmem_inti"), f"{name}: a near name",
                    attached.db("x kmem_inti"))
        checks.that("did you mean kmem_guard_depth?" in attached.db("x kmem_guard_dept"), f"{name}: a variable's")
        checks.that("Symbol not found" in attached.db("p zqzqzqzqzq"), f"{name}: none is near")
        attached.detach()
        image.unlink(missing_ok=True)


def test_writes(checks, workspace):
    """w NAME VALUE: with leave only, compared, read back, audited; constants are not written."""
    machine = Machine(workspace, "work=flood")
    known = symbols()
    attached = Attached(workspace, machine.target, "reads")
    checks.that("--allow-write" in attached.db("w options 61"), "not without leave", attached.db("w options 61"))
    attached.detach()
    attached = Attached(workspace, machine.target, "writes", ["--allow-write"])
    checks.equal(attached.db("w/b options 0t87").split(), ["options", "77", "=", "57"], "a byte is written")
    checks.equal(attached.db("x/s options").strip(), "options:\tWork=flood", "and is there")
    said = attached.db("w kmem_init 0")
    checks.that("text or a constant" in said, "text is refused", said)
    said = attached.db("w/l options+1 0")
    checks.that("aligned" in said, "so is what is not aligned", said)
    said = attached.db("w kmem_guard_depth 0t1000")
    checks.that("-> 1000 (0x3e8)" in said, "our variable is asked for, not poked", said)
    at = known["options"]
    rows = kms.wait_for(lambda: (lambda r: len(r) >= 3 and r)(workspace.sql(
        attached.trace, "SELECT variable, value, result = 'ok' FROM audit WHERE variable LIKE '0x%' ORDER BY id")),
        DEADLINE_S, "the audit")
    checks.equal(rows, [[f"{at:#x}", "87", "1"], [f"{known['kmem_init']:#x}", "0", "0"], [f"{at + 1:#x}", "0", "0"]],
                 "the audit has them all")
    before = attached.stats()["allocs"]
    attached.reaches("allocs", before + 1000)
    attached.detach()


def test_race(checks, workspace):
    """Of several that come in the same moment one has the guest; the others say who; its trace is whole."""
    machine = Machine(workspace, "seed=5 bugs=double-free kmem_on_full=1")
    found = []
    for number in range(ROUNDS):
        racers = [workspace.start([kms.KMEMSCOPE, "attach", "-o", workspace.path / f"race{number}-{i}.kms",
                                   machine.target], stdin=subprocess.DEVNULL) for i in range(RACERS)]
        kms.wait_for(lambda: sum(r.poll() is None for r in racers) == 1, DEADLINE_S, "one of them is left")
        kms.wait_for(lambda: workspace.session() and workspace.items("targets"), DEADLINE_S, "it has the guest")
        kms.wait_for(lambda: workspace.json("stats")["allocs"] >= 1000, DEADLINE_S, "and reads it")
        kms.wait_for(lambda: number or workspace.items("faults"), DEADLINE_S, "with its faults")
        winner = next(i for i, r in enumerate(racers) if r.poll() is None)
        racers[winner].send_signal(signal.SIGINT)
        for i, racer in enumerate(racers):
            _, text = racer.communicate(timeout=DEADLINE_S)
            checks.equal(racer.returncode, 0 if i == winner else 1, f"status: {text}")
            checks.that(i == winner or b"traced already" in text,
                        "the others are told", text)
        trace = workspace.path / f"race{number}-{winner}.kms"
        checks.equal(kms.integrity(trace), "ok", "integrity_check")
        found.append(findings(workspace.items("faults", trace)))
    checks.equal({kind for kind, _, _ in found[0]}, {"double_free"}, "nothing but the planted bug")
    checks.that(machine.lives(), "the guest lives")


if __name__ == "__main__":
    sys.exit(guest.run_cases(globals(), "guest"))
