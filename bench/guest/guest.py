#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What attaching to our own kernel in QEMU costs and reads, next to the targets.

    guest.py [--seconds N] [--turns N] [--cpus N]

The guest allocates and frees as fast as it goes (work=flood). Each turn, in a new order:

    nobody      nobody is there: events are dropped and counted
    recorded    nobody reads, but a host's heart beats and the positions move on: what recording costs
    lossless    kmemscope, the guest waits where it would lose something
    drop        kmemscope, the guest does not wait
    quiet       nobody is there, and kmem_trace=0
    looked at   kmemscope, and kmem_trace=0: what looking alone costs

The guest's own counters, read from its RAM file, say how fast it was. What the reader costs the guest
is lossless next to recorded, and looked at next to quiet. Beside the guest's speed by the clock stands that by
the CPU time of its emulator: where guest and reader share cores with others, that one says more.

Read rate: rings of 16 MiB are filled while the tracer stands still, and the machine is stopped. Then
bench_drain reads them all, once by the reader alone and once by the whole tracer.
"""

import argparse
import mmap
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/support"))

import kms  # noqa: E402
import rows  # noqa: E402
from tracing import Tracer, cpu_s  # noqa: E402

PAGE = 4096
MAGIC = b"KMSCOPE1"
SECTIONS_AT = 168  # schema/region.h: struct kms_region_header.section
TRACER, RING_DESC, COUNTER = 1, 4, 9  # enum kms_section_kind
DESC_BYTES, COUNTER_BYTES = 128, 32
HEAD_BLOCK_AT = 32  # struct kms_ring_desc
ALL_ONES = (1 << 64) - 1


class Machine:
    """QEMU with its RAM in a file, so that the guest's counters can be read without any tracer."""

    def __init__(self, ws, words, cpus):
        self.ram = pathlib.Path(f"/dev/shm/kms-bench-{os.getpid()}.ram")
        self.process = ws.start(
            ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine",
             "q35,memory-backend=ram,accel=tcg", "-object",
             f"memory-backend-file,id=ram,size=256M,share=on,mem-path={self.ram}", "-m", "256M",
             "-smp", str(cpus), "-kernel", kms.BUILD / "bin/kmem_guest.elf", "-append", words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kms.wait_for(lambda: self.ram.exists() and self.ram.stat().st_size, 60, "guest memory")
        with open(self.ram, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.region = kms.wait_for(self.find, 60, "the kernel")

    def find(self):
        for at in range(0, 16 << 20, PAGE):
            if self.memory[at:at + 8] == MAGIC and self.section(at, COUNTER):
                return at
        return None

    def section(self, region, kind):
        for i in range(16):
            row = struct.unpack_from("<IIQQQ", self.memory, region + SECTIONS_AT + 32 * i)
            if row[0] == kind and (kind != COUNTER or row[1] == COUNTER_BYTES):
                return row
        return None

    def events(self):
        """Allocations and frees that the guest has counted."""
        _, _, offset, entries, _ = self.section(self.region, COUNTER)
        words = struct.unpack_from(f"<{4 * entries}Q", self.memory, self.region + offset)
        return sum(words[0::4]) + sum(words[1::4])

    def cpu_s(self):
        return cpu_s(self.process.pid)

    def put_pair(self, offset, value):
        """A value from outside: a guest believes it when both halves agree."""
        struct.pack_into("<QQ", self.memory, self.region + offset, value, value ^ ALL_ONES)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.memory.close()
        self.ram.unlink()


class Heart:
    """A host that is there and reads nothing: its heart beats, and all that is recorded counts as read."""

    def __init__(self, machine):
        self.machine, self.ended = machine, threading.Event()
        _, _, self.page, _, _ = machine.section(machine.region, TRACER)
        _, _, self.desc, self.rings, _ = machine.section(machine.region, RING_DESC)
        machine.put_pair(self.page, random.getrandbits(63) | 1)
        self.thread = threading.Thread(target=self.beat)
        self.thread.start()

    def beat(self):
        # beyond whatever a tracer had reached before
        n = time.monotonic_ns()
        while not self.ended.wait(0.002):
            n += 1
            for ring in range(self.rings):
                head, = struct.unpack_from("<Q", self.machine.memory, self.machine.region + self.desc
                                           + ring * DESC_BYTES + HEAD_BLOCK_AT)
                self.machine.put_pair(self.page + PAGE + 16 * ring, head)
            self.machine.put_pair(self.page + 16, n)
            self.machine.put_pair(self.page + 32, n)

    def cpu_s(self):
        return 0

    def end(self):
        self.ended.set()
        self.thread.join()
        self.machine.put_pair(self.page, 0)


WAYS = ("nobody", "recorded", "lossless", "drop", "quiet", "looked at")


def begin(ws, machine, way):
    """Who is there, or None."""
    if way in ("quiet", "looked at"):
        tracer = Tracer(ws, machine.process.pid, [])
        tracer.set("kmem_trace", 0)
        if way == "looked at":
            return tracer
        tracer.end()
        return None
    if way == "recorded":
        return Heart(machine)
    if way == "nobody":
        return None
    return Tracer(ws, machine.process.pid, ["--on-full", "wait" if way == "lossless" else "drop"])


def measure(ws, machine, way, seconds):
    host = begin(ws, machine, way)
    time.sleep(0.5)
    stats = host.stats() if isinstance(host, Tracer) else None
    before, began, cpu = machine.events(), time.monotonic(), machine.cpu_s()
    host_cpu = host.cpu_s() if host else 0
    time.sleep(seconds)
    took, events = time.monotonic() - began, machine.events() - before
    row = {"rate": events / took, "cpu rate": events / (machine.cpu_s() - cpu),
           "core": (host.cpu_s() - host_cpu) / took if host else 0}
    if stats:
        now = host.stats()
        row["stored"] = (now["tracer"]["events_stored"] - stats["tracer"]["events_stored"]) / took
        row["lost"] = now["ring"]["lost"] - stats["ring"]["lost"]
        row["attach"] = host.attach_s
    if host:
        host.end()
    if way in ("quiet", "looked at"):
        restore(ws, machine)
    return row


def restore(ws, machine):
    """The guest records again, for whoever comes next."""
    tracer = Tracer(ws, machine.process.pid, [])
    tracer.set("kmem_trace", 2)
    tracer.end()


def drain(ws):
    """Full rings of a guest that stands: (events, wall ns, CPU ns) by the reader alone and by the tracer."""
    process = ws.start(["qemu-system-x86_64", "-display", "none", "-m", "512M", "-kernel",
                        kms.BUILD / "bin/kmem_guest.elf", "-append",
                        "work=flood kmem_ring_bytes=16777216"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    tracer = Tracer(ws, process.pid, ["--on-full", "drop"])
    try:
        kms.wait_for(lambda: tracer.stats()["tracer"]["events_stored"] > 10000, 60, "first events")
        tracer.child.send_signal(signal.SIGSTOP)
        time.sleep(0.6)  # its heart counts as beating for half a second: then nothing is recorded
        process.send_signal(signal.SIGSTOP)
        done = ws.run([kms.BUILD / "bench/bench_drain", f"qemu:pid:{process.pid}"], timeout=120)
        assert done.status == 0, done
        lines = [line.split() for line in done.stdout.decode().splitlines()]
        return {line[0]: [int(word) for word in line[1:]] for line in lines}
    finally:
        process.kill()
        process.wait()
        tracer.child.send_signal(signal.SIGCONT)  # it ends with its guest
        tracer.child.wait(60)
        (ws.path / "guest.kms").unlink()


def show(samples, drained):
    def median(way, member):
        return rows.median(sample[member] for sample in samples[way])

    def ratio(way, other, member):
        return rows.median(a[member] / b[member] for a, b in zip(samples[way], samples[other]))

    rows.head("Our kernel in QEMU (TCG), which allocates as fast as it goes")
    for way in WAYS:
        rows.row(f"guest, {way}", "", f"{rows.number(median(way, 'rate'))} events/s")
    stored, lost = median("lossless", "stored"), sum(s["lost"] for s in samples["lossless"])
    rows.row("lossless: stored", ">= 1 M/s, 0 lost", f"{rows.number(stored)}/s, {lost} lost",
             stored >= 1e6 and not lost)
    for how, what in (("reader", "read rate, reader alone"), ("tracer", "read rate, stored and shown")):
        rate = rows.median(d[how][0] * 1e9 / d[how][1] for d in drained)
        core = rows.median(d[how][0] * 1e9 / d[how][2] for d in drained)
        rows.row(f"{what} ({rows.number(drained[0][how][0])} events)",
                 ">= 5 M/s" if how == "reader" else "", f"{rows.number(rate)}/s, {rows.number(core)}/s of a core",
                 rate >= 5e6 if how == "reader" else None)
    for way, other in (("lossless", "recorded"), ("drop", "recorded"), ("looked at", "quiet")):
        wall, cpu = ratio(way, other, "rate"), ratio(way, other, "cpu rate")
        rows.row(f"guest, {way}, next to {other}", "" if way == "drop" else ">= 0.95",
                 f"{wall:.3f}, by CPU time {cpu:.3f}", None if way == "drop" else wall >= 0.95)
    core = median("lossless", "core")
    share = core / stored * 1e6
    rows.row("tracer's share of a core, lossless, for 1 M events/s", "<= 25 %", f"{100 * share:.1f} %", share <= 0.25)
    rows.row(f"tracer's share of a core, lossless, at {rows.number(stored)}/s", "", f"{100 * core:.1f} %")
    rows.row("tracer's share of a core, looked at", "", f"{100 * median('looked at', 'core'):.1f} %")
    attach = rows.median(s["attach"] for way in WAYS for s in samples[way] if "attach" in s)
    rows.row("attach", "<= 1 s", f"{attach:.2f} s", attach <= 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=1)
    arguments = parser.parse_args()
    kms.need("qemu-system-x86_64")
    samples, drained = {way: [] for way in WAYS}, []
    with kms.Workspace("bench-guest") as ws:
        machine = Machine(ws, "work=flood", arguments.cpus)
        try:
            for _ in range(arguments.turns):
                for way in random.sample(WAYS, len(WAYS)):
                    samples[way].append(measure(ws, machine, way, arguments.seconds))
        finally:
            machine.end()
        for _ in range(arguments.turns):
            drained.append(drain(ws))
    show(samples, drained)


if __name__ == "__main__":
    main()
