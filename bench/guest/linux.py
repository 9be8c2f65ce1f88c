#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measures the look at an unmodified Linux guest and prints the targets with what was seen.

bench/guest/linux.py [BUILD]: needs QEMU, and once the network (tests/guest/linux_kernels.py).

* attach: first and again, wall time of opening the kernel, median of 5
* caches: CPU time of 100 refreshes, as share of a core at 10 a second
* events: the guest in a loop with the kmem events on, ours read every 5 ms for 5 s: events seen,
  lost pages, CPU time of the reader
* guest: work of the guest's loop in 4 s without and with a reader, in turns, median ratio of 5
"""
import os
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "guest"))

from linux_kernels import Guest, Look, main  # noqa: E402  pylint: disable=wrong-import-position

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "release")
LOOK, FOLDER = str(BUILD / "test" / "linux_look"), str(BUILD / "guest-kernels")
TURNS = 5
SECONDS = 4
# files made and removed by the shell itself; the time is looked at now and then, as that takes a process
LOOP = ("i=0; e=$(($(date +%%s)+%d)); while [ $(date +%%s) -lt $e ]; do "
        "j=0; while [ $j -lt 200 ]; do : > /tmp/f; i=$((i+1)); j=$((j+1)); done; done; echo count $i")


def row(what, target, seen, holds):
    print("%-44s %-24s %-28s %s" % (what, target, seen, "holds" if holds else "MISSED"), flush=True)


def attach_times(guest):
    first, again = [], []
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory() as folder:
            for times in (first, again):
                with Look(LOOK, guest, folder) as look:
                    times.append(int(look.figures("about")["open_ns"]) / 1e9)
    first, again = statistics.median(first), statistics.median(again)
    row("attach, first", "<= 3 s", "%.2f s" % first, first <= 3)
    row("attach, again", "<= 0.3 s", "%.2f s" % again, again <= 0.3)


def caches_share(guest):
    with Look(LOOK, guest) as look:
        share = statistics.median(int(look.figures("time caches 100")["cpu_ns"]) / 100 * 10 / 1e7 for _ in range(TURNS))
    row("caches at 10 Hz", "<= 5 % of a core", "%.2f %%" % share, share <= 5)


def events_rate(guest):
    with Look(LOOK, guest) as look:
        guest.shell("cd /sys/kernel/tracing; echo 16384 > buffer_size_kb; "
                    + "".join("echo 1 > events/kmem/%s/enable; " % name
                              for name in ("kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free")))
        look.ask("events")
        guest.say(LOOP % 6)
        before, began, cpu = look.figures("events"), time.monotonic(), 0
        while time.monotonic() - began < 5:
            cpu += int(look.figures("time events 1")["cpu_ns"])
            time.sleep(0.005)
        after, seconds = look.figures("events"), time.monotonic() - began
        guest.read_to("==done", 60)
        rate = (int(after["events"]) - int(before["events"])) / seconds
        lost = int(after["lost_pages"]) - int(before["lost_pages"])
        row("events of the guest's ring, seen", "as many as it makes", "%.0f /s, %d pages lost" % (rate, lost), lost == 0)
        row("reader of the ring, CPU", "<= 25 % of a core", "%.1f %%" % (cpu / seconds / 1e7), cpu / seconds / 1e7 <= 25)
        per_event = cpu / max(1, int(after["events"]) - int(before["events"]))
        row("reader of the ring, could read", ">= 200,000 /s", "%.0f /s of one core" % (1e9 / per_event),
            1e9 / per_event >= 200000)
        guest.shell("for f in events/kmem/*/enable; do echo 0 > $f; done")


def guest_cost(guest):
    def work(reads):
        with Look(LOOK, guest) as look:
            guest.say(LOOP % SECONDS)
            began = time.monotonic()
            while reads and time.monotonic() - began < SECONDS - 0.5:
                look.ask("caches")
                time.sleep(0.1)
            return int(guest.read_to("==done", 60).split("count ")[1].split()[0])

    ratios = []
    for turn in range(TURNS):
        pair = {reads: work(reads) for reads in ((True, False) if turn % 2 else (False, True))}
        ratios.append(pair[True] / pair[False])
    ratio = statistics.median(ratios)
    row("the guest's work while caches are read", ">= 0.95 of unattached", "%.3f" % ratio, ratio >= 0.95)


def measure():
    print("load of this machine: %.1f on %d CPUs" % (os.getloadavg()[0], os.cpu_count()))
    for series, machine in (("6.1", "q35"), ("6.12", "pc")):
        print("Linux %s on %s" % (series, machine))
        with Guest(FOLDER, series, machine) as guest:
            attach_times(guest)
            caches_share(guest)
            events_rate(guest)
            guest_cost(guest)


main(measure)
