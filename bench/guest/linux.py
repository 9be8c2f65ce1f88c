#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What the look at an unmodified Linux guest costs, next to the targets.

    linux.py [--turns N]     needs QEMU, and once the network (tests/guest/linux_kernels.py)

* attach: first and again, wall time of opening the kernel
* caches: CPU time of 100 refreshes, as share of a core at 10 a second
* drained: all kmem events go into a large ring while nobody reads. Then somebody attaches and reads it
  from its oldest event on: each event that the kernel counts has to be there
* live: the same while it happens, a look every 5 ms: seen, lost pages, CPU time of the reader
* looked away: a small ring is overwritten several times: what is missing is counted
* cost: the guest's work in 4 s without and with a reader of caches and events, in turns

The guest has two CPUs and works by linux_load, which makes and closes pipes on both. `events` below
are of all kmem tracepoints; those of pages are passed over, and counted as others.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/guest"), str(ROOT / "tests/support")]

import kms  # noqa: E402
import rows  # noqa: E402
from linux_kernels import Guest, Look, Skip  # noqa: E402

LOOK, LOAD = str(kms.BUILD / "test/linux_look"), str(kms.BUILD / "test/linux_load")
FOLDER = str(kms.BUILD / "guest-kernels")
SECONDS, CPUS, RAM_MB = 4, 2, 512
LARGE_KB, SMALL_KB = 65536, 256  # of each CPU's ring


def attach_times(guest, turns):
    first, again = [], []
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            for times in (first, again):
                with Look(LOOK, guest, folder) as look:
                    times.append(int(look.figures("about")["open_ns"]) / 1e9)
    rows.row("attach, first", "<= 3 s", f"{rows.median(first):.2f} s", rows.median(first) <= 3)
    rows.row("attach, again", "<= 0.3 s", f"{rows.median(again):.2f} s", rows.median(again) <= 0.3)


def caches_share(guest, turns):
    with Look(LOOK, guest) as look:
        share = rows.median(int(look.figures("time caches 100")["cpu_ns"]) / 1e10 for _ in range(turns))
    rows.row("caches at 10 Hz", "<= 5 % of a core", f"{100 * share:.2f} %", share <= 0.05)


def tracing(guest, kilobytes):
    """An empty ring, and all kmem events on."""
    guest.shell(f"cd /sys/kernel/tracing; echo 0 > tracing_on; echo {kilobytes} > buffer_size_kb; "
                "echo > trace; echo 1 > events/kmem/enable; echo 1 > tracing_on")


def kernel_counts(guest):
    """Events that are in the ring, and those that were overwritten, as the kernel counts them."""
    stats = guest.shell("echo 0 > tracing_on; cat per_cpu/cpu*/stats").split("\n")
    return [sum(int(line.split()[1]) for line in stats if line.startswith(word))
            for word in ("entries:", "overrun:")]


def seen_by(look):
    figures = look.figures("events")
    return int(figures["events"]) + int(figures["others"]), int(figures["lost_pages"])


def drained(guest, turns):
    rates, of_core, exact, seen = [], [], True, 0
    for _ in range(turns):
        tracing(guest, LARGE_KB)
        guest.shell(f"linux_load {SECONDS} {CPUS}", 120)
        entries, _ = kernel_counts(guest)
        with Look(LOOK, guest, old_events=True) as look:
            took = look.figures("time events 1")
            seen, _ = seen_by(look)
        exact = exact and seen == entries
        rates.append(seen * 1e9 / int(took["wall_ns"]))
        of_core.append(seen * 1e9 / int(took["cpu_ns"]))
    rate = rows.median(rates)
    rows.row(f"ring filled before we came, {rows.number(seen)} events", ">= 200 k/s",
             f"{rows.number(rate)}/s, {rows.number(rows.median(of_core))}/s of a core", rate >= 2e5)
    rows.row("  as many as the kernel counts in it", "all", "all" if exact else f"{seen} of {entries}", exact)


def live(guest, turns):
    rates, shares, missing, lost = [], [], 0, 0
    for _ in range(turns):
        tracing(guest, LARGE_KB // 4)
        with Look(LOOK, guest, old_events=True) as look:
            before, _ = seen_by(look)
            guest.say(f"linux_load {SECONDS} {CPUS}")
            began, cpu, now = time.monotonic(), 0, before
            while time.monotonic() - began < SECONDS - 1:
                cpu += int(look.figures("time events 1")["cpu_ns"])
                time.sleep(0.005)
            took = time.monotonic() - began
            now, _ = seen_by(look)
            while "==done" not in guest.peek():
                look.ask("events")
                time.sleep(0.005)
            guest.read_to("==done", 60)
            entries, overrun = kernel_counts(guest)
            after, pages = seen_by(look)
        rates.append((now - before) / took)
        shares.append(cpu / took / 1e9)
        missing += entries + overrun - after
        lost += pages
    rows.row("events while they happen", "as many as made", f"{rows.number(rows.median(rates))}/s, "
             f"{missing} missing, {lost} pages lost", not missing and not lost)
    rows.row("  reader's CPU", "<= 25 % of a core", f"{100 * rows.median(shares):.1f} %",
             rows.median(shares) <= 0.25)


def looked_away(guest):
    tracing(guest, SMALL_KB)
    with Look(LOOK, guest, old_events=True) as look:
        look.ask("events")
        guest.shell(f"linux_load 2 {CPUS}", 60)
        entries, overrun = kernel_counts(guest)
        seen, pages = seen_by(look)
    made = entries + overrun
    each = (made - seen) / max(1, pages)
    # a page holds 4080 bytes; an entry of these has 24 to 72
    rows.row("ring overwritten while nobody looks", "counted", f"{seen} of {made}, {pages} pages lost",
             pages > 0 and 4080 / 72 <= each <= 4080 / 24)


def guest_cost(guest, turns):
    def work(reads):
        with Look(LOOK, guest) as look:
            guest.say(f"linux_load {SECONDS} {CPUS}")
            began = time.monotonic()
            while reads and time.monotonic() - began < SECONDS - 0.5:
                look.ask("caches")
                look.ask("events")
                time.sleep(0.1)
            return int(guest.read_to("==done", 60).split()[-1])

    tracing(guest, LARGE_KB // 4)
    ratios = []
    for turn in range(turns):
        pair = {reads: work(reads) for reads in ((True, False) if turn % 2 else (False, True))}
        ratios.append(pair[True] / pair[False])
    ratio = rows.median(ratios)
    rows.row("the guest's work while caches and events are read", ">= 0.95", f"{ratio:.3f}", ratio >= 0.95)
    guest.shell("echo 0 > events/kmem/enable")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    for series, machine in (("6.1", "q35"), ("6.12", "pc")):
        try:
            guest = Guest(FOLDER, series, machine, CPUS, megabytes=RAM_MB, program=LOAD)
        except Skip as reason:
            print("left out:", reason)
            continue
        with guest:
            rows.head(f"Linux {series} on {machine}, {CPUS} CPUs, in QEMU (TCG)")
            attach_times(guest, turns)
            caches_share(guest, turns)
            drained(guest, turns)
            live(guest, turns)
            looked_away(guest)
            guest_cost(guest, turns)


if __name__ == "__main__":
    main()
