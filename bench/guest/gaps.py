#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Whether a guest's clock stands still for longer while somebody reads its memory.

    gaps.py [--seconds N] [--turns N]

The guest says each second on its serial line how long the longest time between two ticks of its clock
was. It has nothing that helps who attaches: anonymous RAM, no control channel. In turns, the same
guest is left alone and attached to for some seconds. Target: not more than 1.5 times as long. Twice: with
the workload that it has when nothing is said (of its bugs the leak alone, so that it never stops), and allocating as fast as it goes.
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

LIMIT = 1.5


def longest(process, seconds):
    """The longest gap of so many seconds, us. The first one has begun before we came."""
    gaps = []
    for _ in range(seconds + 1):
        line = b""
        while not line.startswith(b"gap: "):
            line = process.stdout.readline()
            assert line, "the guest has ended"
        gaps.append(int(line.split()[1]))
    return max(gaps[1:])


def measure(seconds, turns, words):
    """The longest gap of each turn, us: left alone, attached to."""
    alone, attached = [], []
    with kms.Workspace("bench-gaps") as ws:
        process = ws.start(["qemu-system-x86_64", "-kernel", kms.BUILD / "bin/kmem_guest.elf", "-m",
                            "512M", "-display", "none", "-serial", "stdio", "-append", words],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for turn in range(turns):
            for way in (alone, attached) if turn % 2 == 0 else (attached, alone):
                tracer = Tracer(ws, process.pid, []) if way is attached else None
                way.append(longest(process, seconds))
                if tracer:
                    tracer.end()
        process.kill()
    return alone, attached


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    kms.need("qemu-system-x86_64")
    rows.head("A guest that was started by hand: qemu-system-x86_64 -kernel ... -m 512M")
    held = True
    for what, words in (("", "bugs=leak gaps"), (", allocating at full speed", "work=flood gaps")):
        alone, attached = measure(arguments.seconds, arguments.turns, words)
        ratio = rows.median(a / b for a, b in zip(attached, alone))
        rows.row(f"longest gap of its clock in {arguments.seconds} s{what}, alone", "",
                 f"{rows.median(alone) / 1000:.2f} ms")
        rows.row(f"longest gap of its clock in {arguments.seconds} s{what}, attached", f"<= {LIMIT} x alone",
                 f"{rows.median(attached) / 1000:.2f} ms, {ratio:.2f} x", ratio <= LIMIT)
        held = held and ratio <= LIMIT
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
