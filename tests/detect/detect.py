#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the programs of one group under kmemscope and compares the findings with the table.

usage: detect.py GROUP [NAME-PART]     groups: see cases.py; only cases whose name has NAME-PART
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import cases  # noqa: E402
import kms  # noqa: E402

OPTIMISATIONS = ("O1", "O2")


class Runner:
    """Runs cases and compares; one workspace for all of them."""

    def __init__(self, checks, workspace):
        self.checks, self.workspace = checks, workspace

    def run(self, case, front, optimisation):
        program = kms.BUILD / f"test/detect/{case.program}_{front}_{optimisation}"
        if not program.exists():
            return
        title = f"{case.name} ({front} {optimisation})"
        trace = self.workspace.path / "trace.kms"
        done, _ = self.workspace.traced([program, *case.arguments], trace, case.options)
        if not self.checks.equal(done.status, 0, f"{title}: exit status"):
            print(done)
            return
        printed = json.loads(done.stdout)
        faults = self.workspace.items("faults", trace)
        seen = [fault["kind"] for fault in faults][:8]
        if not self.checks.equal(len(faults), len(case.findings), f"{title}: findings {seen}"):
            return
        for fault, finding in zip(faults, case.findings):
            self.compare(title, f"tests/detect/{case.program}.c", fault, finding, printed)

    def compare(self, title, source, fault, finding, printed):
        kinds = finding.kind if isinstance(finding.kind, list) else [finding.kind]
        self.checks.that(fault["kind"] in kinds, f"{title}: kind", fault["kind"])
        for name in ("stack", "alloc_stack", "free_stack"):
            place = getattr(finding, name)
            if place:
                self.place(f"{title}: {name}", source, fault[name], place)
        if finding.address:
            self.checks.equal(int(fault["address"], 16), address(finding.address, printed),
                              f"{title}: address")
        if finding.size is not None:
            self.checks.equal(fault["size"], finding.size, f"{title}: size of the block")
        if finding.access:
            self.checks.equal(fault["access"], finding.access, f"{title}: access")

    def place(self, title, source, stack, place):
        function, tag = place
        line = kms.line_of(source, tag)
        self.checks.that(kms.frame_is(stack, function, source, line),
                         f"{title} names {function} {source}:{line}", kms.show_stack(stack))


def address(expected, printed):
    member, offset = expected
    return int(printed[member], 16) + (printed["bytes"] if offset == "+size" else offset)


def main():
    group = sys.argv[1]
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    checks = kms.Checks()
    with kms.Workspace("detect") as workspace:
        runner = Runner(checks, workspace)
        for case in cases.GROUPS[group]():
            if part not in case.name:
                continue
            for front in case.fronts:
                for optimisation in OPTIMISATIONS:
                    runner.run(case, front, optimisation)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
