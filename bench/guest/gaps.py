#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Whether a guest's clock stands still for longer while somebody reads its memory.

    gaps.py [--seconds N] [--turns N]

The guest says each second on its serial line how long the longest time between two looks at its
clock was. It has nothing that helps who attaches: anonymous RAM, no control channel. In turns, the same
guest is left alone and attached to for some seconds. Target: not more than 1.5 times as long.
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

import kms  # noqa: E402
import rows  # noqa: E402
from tracing import Tracer  # noqa: E402


def longest(process, seconds):
    """The longest gap of so many seconds, us. The first one has begun before we came."""
    gaps = []
    for _ in range(seconds + 1):
        line = process.stdout.readline()
        assert line.startswith(b"gap: "), line
        gaps.append(int(line.split()[1]))
    return max(gaps[1:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    kms.need("qemu-system-x86_64")
    alone, attached = [], []
    with kms.Workspace("bench-gaps") as ws:
        process = ws.start(["qemu-system-x86_64", "-kernel", kms.BUILD / "bin/kmem_guest.elf", "-m",
                            "512M", "-display", "none", "-serial", "stdio", "-append", "work=gaps"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        while b"CPU" not in process.stdout.readline():
            pass
        for turn in range(arguments.turns):
            for way in (alone, attached) if turn % 2 == 0 else (attached, alone):
                tracer = Tracer(ws, process.pid, []) if way is attached else None
                way.append(longest(process, arguments.seconds))
                if tracer:
                    tracer.end()
        process.kill()
    rows.head("A guest that was started by hand: qemu-system-x86_64 -kernel ... -m 512M")
    ratio = rows.median(a / b for a, b in zip(attached, alone))
    rows.row(f"longest gap of its clock in {arguments.seconds} s, alone", "",
             f"{rows.median(alone) / 1000:.2f} ms")
    rows.row(f"longest gap of its clock in {arguments.seconds} s, attached", "<= 1.5 x alone",
             f"{rows.median(attached) / 1000:.2f} ms, {ratio:.2f} x", ratio <= 1.5)


if __name__ == "__main__":
    main()
