#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The tracer's memory: at most 256 MiB with a million live blocks (DESIGN 13), whatever has gone by.

usage: memory.py      $KMS_SOAK makes it much longer
"""

import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

PROGRAM = kms.BUILD / "test/system/many"
LIVE = 1000000
LIMIT_KIB = 256 << 10
DEADLINE_S = 1200


def peak_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1))


def main():
    churn = 300000000 if os.environ.get("KMS_SOAK") else 3000000
    checks = kms.Checks()
    with kms.Workspace("memory") as workspace:
        trace = workspace.path / "t.kms"
        child = workspace.start(workspace.traced_argv([PROGRAM, LIVE, churn], trace))
        checks.equal(child.stdout.readline(), b"held\n", "the program holds its blocks")
        kms.wait_for(lambda: workspace.json("stats")["allocs"] > LIVE + churn, DEADLINE_S,
                     "the picture has caught up", pause_s=0.2)
        # Pictures of all sites and blocks are made for whoever asks.
        live = workspace.json("stats")["live_objects"]
        workspace.json("leaks", "--all")
        peak = peak_kib(workspace.session()["pid"])
        child.communicate(timeout=DEADLINE_S)
        checks.equal(child.returncode, 0, "status")
        checks.equal(workspace.lost(trace), 0, "lost events")
        checks.that(live >= LIVE, "live blocks", live)
        checks.that(peak <= LIMIT_KIB, "peak of the tracer's resident memory in KiB", peak)
        print(f"peak {peak // 1024} MiB with {live} live blocks")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
