#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What attaching to our own kernel in QEMU costs and reads.

    guest.py [--seconds N] [--turns N] [--cpus N]

The guest allocates and frees as fast as it goes (work=flood). Each turn, in a new order: nobody attached;
attached, lossless (kmem_on_full=1); attached, drop; attached with kmem_trace=0, which leaves what our
looking alone costs. The guest's own counters, read from its RAM file, say how fast it was. Targets:
1 M events/s lossless, 5 M/s read rate, 5 % of the guest, 25 % of a core, attach in 1 s.
"""

import argparse
import mmap
import os
import pathlib
import random
import signal
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/support"))

import kms  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = 4096
MAGIC = b"KMSCOPE1"
SECTIONS_AT = 168  # schema/region.h: struct kms_region_header.section
COUNTER, COUNTER_BYTES = 9, 32


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
        with open(self.ram, "rb") as file:
            self.memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.region = kms.wait_for(self.find, 60, "the kernel")

    def find(self):
        for at in range(0, 16 << 20, PAGE):
            if self.memory[at:at + 8] == MAGIC and self.section(at, COUNTER):
                return at
        return None

    def section(self, region, kind):
        for i in range(16):
            row = struct.unpack_from("<IIQQQ", self.memory, region + SECTIONS_AT + 32 * i)
            if row[0] == kind and row[1] == COUNTER_BYTES:
                return row
        return None

    def events(self):
        """Allocations and frees that the guest has counted."""
        _, _, offset, entries, _ = self.section(self.region, COUNTER)
        words = struct.unpack_from(f"<{4 * entries}Q", self.memory, self.region + offset)
        return sum(words[0::4]) + sum(words[1::4])

    def end(self):
        self.process.kill()
        self.process.wait()
        self.memory.close()
        self.ram.unlink()


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


WAYS = {"alone": None, "lossless": ["--on-full", "wait"], "drop": ["--on-full", "drop"],
        "trace 0": ["--set", "trace=0"]}


class Tracer:
    def __init__(self, ws, machine, options):
        self.ws = ws
        begin = time.monotonic()
        self.child = ws.start([kms.KMEMSCOPE, "attach", "-q", "-o", ws.path / "guest.kms", *options,
                               f"qemu:pid:{machine.process.pid}"], stdin=subprocess.DEVNULL)
        kms.wait_for(ws.session, 60, "the session")
        self.attach_s = time.monotonic() - begin

    def stats(self):
        return self.ws.json("stats")

    def end(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(60)
        (self.ws.path / "guest.kms").unlink()


def measure(ws, machine, way, seconds):
    tracer = Tracer(ws, machine, WAYS[way]) if WAYS[way] is not None else None
    time.sleep(0.5)
    before, begin = machine.events(), time.monotonic()
    cpu = cpu_s(tracer.child.pid) if tracer else 0
    stored = tracer.stats() if tracer else {}
    time.sleep(seconds)
    took = time.monotonic() - begin
    row = {"guest": (machine.events() - before) / took}
    if tracer:
        row["core"] = (cpu_s(tracer.child.pid) - cpu) / took
        now = tracer.stats()
        row["stored"] = (now["tracer"]["events_stored"] - stored["tracer"]["events_stored"]) / took
        row["lost"] = (now["ring"]["lost"] - stored["ring"]["lost"]) / took
        row["attach"] = tracer.attach_s
        tracer.ws.run([kms.KMEMSCOPE, "db", "-e", "w kmem_trace 2"])  # for whoever comes next
        tracer.end()
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=1)
    arguments = parser.parse_args()
    kms.need("qemu-system-x86_64")
    samples = {way: [] for way in WAYS}
    with kms.Workspace("bench-guest") as ws:
        machine = Machine(ws, "work=flood", arguments.cpus)
        try:
            for _ in range(arguments.turns):
                for way in random.sample(list(WAYS), len(WAYS)):
                    samples[way].append(measure(ws, machine, way, arguments.seconds))
        finally:
            machine.end()
    print(f"{'':10} {'guest ev/s':>12} {'of alone':>9} {'stored/s':>12} {'lost/s':>12} "
          f"{'core':>6} {'attach s':>9}")
    for way, rows in samples.items():
        def median(member):
            return statistics.median(row.get(member, 0) for row in rows)
        ratio = statistics.median(row["guest"] / alone["guest"]
                                  for row, alone in zip(rows, samples["alone"]))
        print(f"{way:10} {median('guest'):12,.0f} {ratio:9.2f} {median('stored'):12,.0f} "
              f"{median('lost'):12,.0f} {median('core'):6.2f} {median('attach'):9.2f}")


if __name__ == "__main__":
    main()
