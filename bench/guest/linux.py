#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What the look at an unmodified Linux guest costs, next to the targets.

    linux.py [--turns N]     needs QEMU, and once the network (tests/guest/linux_kernels.py)

* attach: first and again, wall time of opening the kernel
* caches: CPU time of 100 refreshes, as share of a core at 10 a second
* drained: all kmem events go into a large ring while nobody reads. Then somebody attaches and reads it
  from its oldest event on: each event that the kernel counts has to be there
* live: the same while it happens, a look every 5 ms: seen, lost pages, CPU time of the reader
* stored: the same under `kmemscope attach`, which reads caches and live objects meanwhile: events in the trace, those lost,
  bytes of the file; CPU time of all its threads, of an event without what it takes in a guest that does nothing
* looked away: a small ring is overwritten several times: what is missing is counted
* cost: the guest's work in 4 s without and with a reader of caches and events, in turns

The guest has two CPUs and works by linux_load, which makes and closes pipes on both. `events` below
are of all kmem tracepoints; those of pages are passed over, and counted as others.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
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


def cpu_s(pid):
    """CPU time of all threads: those of kmemscope live as long as it does."""
    return sum(int(path.read_text(encoding="ascii").split()[0])
               for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def figures_of(guest):
    stats = json.loads(subprocess.run([kms.BUILD / "bin/kmemscope", "stats", "--json", f"qemu-system-x86_64.{guest.process.pid}"],
                                      capture_output=True, check=True).stdout)
    return stats["ring"]["stored"], stats["ring"]["lost"], stats["tracer"]["db_bytes"]


def stored(guest):
    tracing(guest, LARGE_KB // 4)
    with tempfile.TemporaryDirectory() as folder:
        words = [kms.BUILD / "bin/kmemscope", "attach", "-o", folder + "/guest.kms", f"qemu:pid:{guest.process.pid}"]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=dict(os.environ, XDG_CACHE_HOME=folder)) as attach:
            while "API socket" not in attach.stderr.readline():
                assert attach.poll() is None
            idle, began = cpu_s(attach.pid), time.monotonic()
            time.sleep(3)
            idle = (cpu_s(attach.pid) - idle) / (time.monotonic() - began)
            guest.say(f"linux_load {SECONDS + 2} {CPUS}")
            time.sleep(0.5)
            before, cpu, began = figures_of(guest), cpu_s(attach.pid), time.monotonic()
            time.sleep(SECONDS)
            after, cpu, took = figures_of(guest), cpu_s(attach.pid) - cpu, time.monotonic() - began
            guest.read_to("==done", 60)
            attach.send_signal(signal.SIGINT)
            attach.wait(60)
    events, lost = max(1, after[0] - before[0]), after[1] - before[1]
    could = events / max(cpu - idle * took, 0.01)
    rows.row("events stored while they happen", "as many as made", f"{rows.number(events / took)}/s, {lost} lost", not lost)
    rows.row("  by the CPU time of an event", ">= 200 k/s", f"{rows.number(could)}/s of a core", could >= 2e5)
    rows.row("  attached without events", "<= 25 % of a core", f"{100 * idle:.1f} %", idle <= 0.25)
    rows.row("  in the file", "", f"{(after[2] - before[2]) / events:.1f} bytes/event")


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
            stored(guest)
            looked_away(guest)
            guest_cost(guest, turns)


if __name__ == "__main__":
    main()
