#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs Debian programs plain and under `kmemscope run -q`: nothing that they do may change.

usage: programs.py [--alone] [SCENARIO...]      $KMS_SOAK makes them much longer

--alone: with libkmem_malloc.so preloaded and no tracer.
"""

import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import count  # noqa: E402
import kms  # noqa: E402
from scenarios import SCENARIOS, masked  # noqa: E402

PATIENCE_S = 600
DAEMON_S = 60
COUNT_PRELOAD = kms.BUILD / "test/libcount_preload.so"
MALLOC_PRELOAD = kms.BUILD / "lib/libkmem_malloc.so"
PLAIN, TRACED, ALONE = "plain", "traced", "alone"


class Attempt:
    """One run of a scenario in a folder of its own."""

    def __init__(self, scenario, scale, name):
        self.scenario, self.scale = scenario, scale
        self.workspace = kms.Workspace(f"{scenario.name}-{name}")
        # The same path each time: some programs print it.
        self.folder = self.workspace.path / "work"
        self.folder.mkdir()
        self.counts = self.workspace.path / "counts"
        self.counts.mkdir()
        self.trace = self.workspace.path / "trace.kms"
        scenario.prepare(self.folder, scale)

    def run(self, how):
        argv = self.scenario.command(self.scale)
        env = dict(self.scenario.env)
        preload = []
        if self.scenario.counted:
            preload.append(str(COUNT_PRELOAD))
            env["KMS_COUNT_DIR"] = str(self.counts)
        if how == ALONE:
            preload.append(str(MALLOC_PRELOAD))
        if preload:
            env["LD_PRELOAD"] = ":".join(preload)
        if how == TRACED:
            argv = self.workspace.traced_argv(argv, self.trace)
        self.result = self.workspace.run(argv, timeout=PATIENCE_S, env=env, cwd=self.folder)
        if self.scenario.outlives:
            kms.wait_for((self.folder / self.scenario.outlives).exists, DAEMON_S,
                         "the daemon writes its file")
        return self

    def seen(self):
        """What must be equal: status, outputs, and what the scenario collects."""
        path = str(self.workspace.path).encode()
        texts = [masked(text.replace(path, b"/folder"), self.scenario.sort_lines)
                 for text in (self.result.stdout, self.result.stderr)]
        collected = self.scenario.collect(self.folder) if self.scenario.collect else b""
        return {"status": self.result.status, "stdout": texts[0], "stderr": texts[1],
                "collected": collected}

    def finished(self):
        """Waits until the file is complete: for a daemon a background tracer ends it."""
        kms.wait_for(lambda: self.workspace.json("stats", self.trace)["snapshot"]["finished"],
                     DAEMON_S, "the tracer ends", pause_s=0.05)

    def close(self):
        shutil.rmtree(self.workspace.path, ignore_errors=True)


def compare(checks, title, plain, traced):
    for part, expected in plain.items():
        seen = traced[part]
        if isinstance(seen, bytes) and seen != expected:
            at = next((i for i, (a, b) in enumerate(zip(seen, expected)) if a != b),
                      min(len(seen), len(expected)))
            checks.that(False, f"{title}: {part}",
                        f"differs at {at}: {seen[at - 40:at + 80]!r} / {expected[at - 40:at + 80]!r}")
        else:
            checks.equal(seen, expected, f"{title}: {part}")


def check_counts(checks, title, attempt):
    """Events by kind in the store equal the independent count, in sum and by process."""
    images = count.read(attempt.counts)
    stored = attempt.workspace.event_counts(attempt.trace)
    expected = count.total(images)
    seen = {kind: stored.get(kind, 0) for kind in count.KINDS}
    checks.that(expected["alloc"] > 1000, f"{title}: the count counts", expected)
    checks.equal(seen, expected, f"{title}: events by kind of {len(images)} process images")


def check_trace(checks, title, attempt):
    checks.equal(kms.integrity(attempt.trace), "ok", f"{title}: integrity_check")
    checks.equal(attempt.workspace.lost(attempt.trace), 0, f"{title}: lost events")
    checks.equal(attempt.workspace.items("faults", attempt.trace), [], f"{title}: no faults")


def run(checks, scenario, scale, how):
    plain = Attempt(scenario, scale, "plain").run(PLAIN)
    again = Attempt(scenario, scale, "again").run(PLAIN)
    other = Attempt(scenario, scale, how).run(how)
    expected = plain.seen()
    compare(checks, f"{scenario.name}: two plain runs", expected, again.seen())
    compare(checks, f"{scenario.name} {how}", expected, other.seen())
    if how == TRACED:
        other.finished()
        check_trace(checks, scenario.name, other)
        if scenario.counted:
            check_counts(checks, scenario.name, other)
    print(f"{scenario.name}: plain {plain.result.seconds:.2f} s, {how} "
          f"{other.result.seconds:.2f} s", flush=True)
    for attempt in (plain, again, other):
        attempt.close()


def main():
    how = ALONE if "--alone" in sys.argv else TRACED
    names = [name for name in sys.argv[1:] if not name.startswith("--")]
    scale = 20 if os.environ.get("KMS_SOAK") else 3
    checks = kms.Checks()
    skipped = False
    for scenario in SCENARIOS:
        if names and scenario.name not in names:
            continue
        absent = [need for need in scenario.needs if not shutil.which(need)]
        if absent:
            print(f"{scenario.name}: {absent} not installed", flush=True)
            skipped = True
            continue
        try:
            run(checks, scenario, scale, how)
        except AssertionError as error:
            checks.that(False, scenario.name, error)
    return checks.status() if checks.passed or checks.failed or not skipped else kms.SKIP


if __name__ == "__main__":
    sys.exit(main())
