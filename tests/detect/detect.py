#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the programs of one group under kmemscope and compares the findings with the table.

usage: detect.py GROUP [NAME-PART]     groups: see cases.py; only cases whose name has NAME-PART
       detect.py --alone               all groups without a tracer: the kinds printed on stderr
"""

import concurrent.futures
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import cases  # noqa: E402
import kms  # noqa: E402

OPTIMISATIONS = ("O1", "O2")
AT_A_TIME = 4


def program_of(case, front, optimisation):
    return kms.BUILD / f"test/detect/{case.program}_{front}_{optimisation}"


def kinds_of(finding):
    return finding.kind if isinstance(finding.kind, list) else [finding.kind]


class Runner:
    """Runs cases under kmemscope and compares; one workspace for all of them."""

    def __init__(self, checks, workspace):
        self.checks, self.workspace = checks, workspace

    def run(self, case, front, optimisation):
        program = program_of(case, front, optimisation)
        title = f"{case.name} ({front} {optimisation})"
        trace = self.workspace.path / f"{title.replace(' ', '_').replace('/', '_')}.kms"
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
        self.checks.that(fault["kind"] in kinds_of(finding), f"{title}: kind", fault["kind"])
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


class AloneRunner:
    """Runs cases with libkmem_malloc.so preloaded, or linked with libkmem, and no tracer."""

    def __init__(self, checks, workspace):
        self.checks, self.workspace = checks, workspace

    def run(self, case, front, optimisation):
        title = f"{case.name} ({front} {optimisation}) alone"
        env = {"KMEM_OPTIONS": ",".join(["panic=0", *variables(case.options)])}
        if front == "malloc":
            env["LD_PRELOAD"] = str(kms.BUILD / "lib/libkmem_malloc.so")
        done = self.workspace.run([program_of(case, front, optimisation), *case.arguments], env=env)
        self.checks.equal(done.status, 0, f"{title}: exit status")
        seen = re.findall(rb"^kmemscope: (\w+):", done.stderr, re.M)
        if self.checks.equal(len(seen), len(case.findings), f"{title}: reports {seen[:8]}"):
            for kind, finding in zip(seen, case.findings):
                self.checks.that(kind.decode() in kinds_of(finding), f"{title}: kind", kind)


def variables(options):
    """Options of `run` as items of KMEM_OPTIONS."""
    pairs = zip(options[::2], options[1::2])
    return [value if name == "--set" else f"guard_depth={value}" for name, value in pairs]


def address(expected, printed):
    member, offset = expected
    return int(printed[member], 16) + (printed["bytes"] if offset == "+size" else offset)


def run_all(runner, selected):
    """Several at a time: each run spends most of its time waiting for processes."""
    runs = [(case, front, optimisation) for case in selected for front in case.fronts
            for optimisation in OPTIMISATIONS if program_of(case, front, optimisation).exists()]
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        for done in [pool.submit(runner.run, *run) for run in runs]:
            done.result()


def main():
    checks = kms.Checks()
    with kms.Workspace("detect") as workspace:
        if sys.argv[1] == "--alone":
            every = [case for group in cases.GROUPS.values() for case in group()]
            run_all(AloneRunner(checks, workspace), every)
        else:
            part = sys.argv[2] if len(sys.argv) > 2 else ""
            run_all(Runner(checks, workspace),
                    [case for case in cases.GROUPS[sys.argv[1]]() if part in case.name])
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
