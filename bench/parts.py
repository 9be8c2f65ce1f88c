#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Takes the cost of a traced program apart, by leaving parts out.

Each way adds one part to the one before: our allocator, its checks, the ring without checks and with
them, stacks. The parts are CPU time of the program itself per event; what wall time is above them,
the program waited: for a core, or for room in its ring. Beside it the CPU time of each thread of the
tracer, which shares the cores with the program.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading

import peers

PROGRAMS = ("python", "cfrac", "espresso")
NO_CHECKS = ("--set", "kmem_size=0", "--set", "kmem_redzone=0")
WAYS = (
    peers.Preloaded("glibc"),
    peers.Preloaded("allocator", peers.PRELOAD, "trace=0,size=0,redzone=0"),
    peers.Preloaded("+ checks", peers.PRELOAD, "trace=0,size=1,redzone=1"),
    peers.Traced("allocator + ring", "--set", "kmem_trace=1", *NO_CHECKS),
    peers.Traced("+ checks + ring", "--set", "kmem_trace=1"),
    peers.Traced("+ stacks"),
)
LOOK_S = 0.02


class Threads:
    """CPU time of kmemscope's threads while it runs, by their names; looked at again and again."""

    def __init__(self):
        self.seen = {}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def look(self):
        while not self.stop.wait(LOOK_S):
            for task in pathlib.Path("/proc").glob("[0-9]*/task/[0-9]*"):
                try:
                    name = (task / "comm").read_text().strip()
                    if name.startswith("kms-"):
                        self.seen[task] = (name, int((task / "schedstat").read_text().split()[0]))
                except OSError:
                    pass  # it ended between two looks

    def ns(self, name):
        return sum(ns for seen, ns in self.seen.values() if seen == name)


def waited_ns(trace):
    """What the program waited for room in its ring, from the finished file."""
    done = subprocess.run([peers.KMEMSCOPE, "stats", "--json", trace], capture_output=True,
                          check=True)
    return json.loads(done.stdout)["ring"]["waited_us"] * 1000


def measure(workload, turns, folder):
    events = peers.count_events(workload, [], folder)
    samples = {way.name: [] for way in WAYS}
    threads = {name: [] for name in ("kms-reader", "kms-store", "kms-model")}
    waited = []
    for turn in range(turns):
        for way in WAYS[turn % len(WAYS):] + WAYS[:turn % len(WAYS)]:
            with Threads() as looked:
                samples[way.name].append(way.run(workload, [], folder))
            if way.name == "+ stacks":
                waited.append(waited_ns(folder / "bench.kms"))
                for name, taken in threads.items():
                    taken.append(looked.ns(name))
    return events, samples, threads, waited


def show(workload, events, samples, threads, waited):
    base = samples["glibc"]
    cpu = statistics.median(s.cpu_ns for s in base) / events
    wall = statistics.median(s.ns for s in base) / events
    print(f"\n{workload}: {events / 1e6:.1f} M events, {cpu:.1f} ns of CPU an event under glibc")
    for name, taken in samples.items():
        if name == "glibc":
            continue
        cpu_added = statistics.median(s.cpu_ns for s in taken) / events - cpu
        wall_added = statistics.median(s.ns for s in taken) / events - wall
        print(f"  {name:<18} added CPU {cpu_added:6.1f} ns, wall {wall_added:6.1f} ns")
    parts = ", ".join(f"{name[4:]} {statistics.median(taken) / events:.1f}"
                      for name, taken in threads.items())
    print(f"  tracer's threads under it, ns of CPU an event: {parts}")
    print(f"  waited for room in the ring: {statistics.median(waited) / events:.1f} ns an event")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=PROGRAMS, choices=PROGRAMS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kms-bench-") as name:
        for workload in arguments.only:
            show(workload, *measure(workload, arguments.turns, pathlib.Path(name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
