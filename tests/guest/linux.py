#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Unmodified Linux guests, looked at from outside and compared with what they say of themselves.

linux.py LINUX_LOOK FOLDER KMEMSCOPE [all]: a short choice of kernels and machines, or all of them.
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from linux_kernels import Guest, Look, main

LOOK, FOLDER, KMEMSCOPE = sys.argv[1], sys.argv[2], sys.argv[3]
ALL = [(series, machine, cpus) for series in ("6.1", "6.12") for machine in ("q35", "pc") for cpus in (1, 2)]
SHORT = [("6.1", "q35", 1), ("6.12", "pc", 2)]
KMEM = ("kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free")


def slabinfo(guest):
    """
    Rows of /proc/slabinfo: name, active, objects, size, objects and pages per slab, slabs.

    Read by the shell itself, from a file that stays open until the next call: a process made for it
    would be in the figures, and gone when we look.
    """
    rows = {}
    guest.shell("exec 3</proc/slabinfo")
    text = guest.shell("while read -r row <&3; do echo \"$row\"; done")
    for line in text.split("\n")[2:]:
        words = line.split()
        if len(words) == 16:
            rows[words[0]] = tuple(int(words[i]) for i in (1, 2, 3, 4, 5, 14))
    return rows


def same_caches(guest, look):
    """Every cache, every column; counts within two objects, and exact in nearly all of them."""
    deadline = time.monotonic() + 60
    while True:
        theirs = slabinfo(guest)
        ours = {row[0]: tuple(int(word) for word in row[1:7])
                for row in (line.split() for line in look.ask("caches"))}
        assert set(ours) == set(theirs), set(ours) ^ set(theirs)
        assert len(ours) > 100, len(ours)
        for name, row in ours.items():
            assert row[2:5] == theirs[name][2:5], (name, row, theirs[name])
        moved = [(name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]]
        # the guest runs, so a timer or a worker may have moved some between the two
        if len(moved) <= len(ours) * 0.02:
            return len(ours)
        assert time.monotonic() < deadline, moved


def leak_on_top(guest, look):
    """Files that nobody removes: their inodes are at the top within 10 s, with the call site."""
    assert look.figures("sites 0")["off"] == "0"
    guest.say("i=0; while [ ! -e /stop ]; do : > /tmp/f$i; i=$((i+1)); done")
    began = time.monotonic()
    top = []
    while time.monotonic() - began < 10:
        rows = [row.split() for row in look.ask("sites 1") if row.startswith("site ")]
        if rows and rows[0][4] == "shmem_inode_cache":
            top = rows[0]
            break
        time.sleep(0.2)  # the pace of a client, not a wait for anything
    assert top, "no leak at the top: %r" % rows
    stack = look.ask("stack " + top[5])
    assert top[6] in stack[0] or "alloc_inode" in top[6], (top, stack)
    assert any("shmem" in frame for frame in stack) and any("openat" in frame for frame in stack), stack
    # the loop's shell reads no line until it ends
    guest.say("")
    return time.monotonic() - began


def sites_add_up(look):
    """Each live object is in one site."""
    rows = look.ask("sites 100000")
    figures = dict(row.split(" ", 1) for row in rows if not row.startswith("site "))
    objects = sum(int(row.split()[2]) for row in rows if row.startswith("site "))
    assert objects == int(figures["live"]), (objects, figures)
    assert int(figures["unread"]) <= int(figures["slabs"]) * 0.02, figures


def events_all_seen(guest, look):
    """As many events as the kernel counts itself."""
    guest.shell("cd /sys/kernel/tracing; echo 0 > tracing_on; echo 4096 > buffer_size_kb; echo > trace")
    look.ask("events")
    before = look.figures("events")
    guest.shell("".join("echo 1 > events/kmem/%s/enable; " % name for name in KMEM) + "echo 1 > tracing_on")
    guest.shell("i=0; while [ $i -lt 300 ]; do : > /tmp/g$i; i=$((i+1)); done; echo 0 > tracing_on")
    stats = guest.shell("cat per_cpu/cpu*/stats")
    written = sum(int(line.split()[1]) for line in stats.split("\n") if line.startswith(("entries:", "overrun:")))
    after = look.figures("events")
    seen = sum(int(after[key]) - int(before[key]) for key in ("events", "others"))
    assert after["on"] == "1" and after["lost_pages"] == before["lost_pages"], after
    assert int(after["events"]) - int(before["events"]) > 1000, (before, after)
    assert seen == written, (seen, written, before, after)
    guest.shell("".join("echo 0 > events/kmem/%s/enable; " % name for name in KMEM))
    return seen


def kfence_same(guest, look):
    """Its pool's counts, as debugfs has them. Switched on late it has room for what comes."""
    guest.shell("echo 10 > /sys/module/kfence/parameters/sample_interval")
    guest.shell("i=0; while [ $i -lt 100 ]; do : > /tmp/j$i; i=$((i+1)); done")
    ours = look.figures("kfence")
    theirs = dict(line.split(": ") for line in guest.shell("cat /sys/kernel/debug/kfence/stats").split("\n") if ": " in line)
    assert ours["on"] == theirs["enabled"] == "1" and int(ours["objects"]) == 255, ours
    assert abs(int(ours["live"]) - int(theirs["currently allocated"])) < 50, (ours, theirs)
    assert ours["interval"] == "10", ours


class Attached:
    """kmemscope attach on a guest, asked by its clients; ended as by Ctrl-C."""

    def __init__(self, guest, trace, *options):
        self.trace, self.session = trace, "qemu-system-x86_64.%d" % guest.process.pid
        self.process = subprocess.Popen(
            [KMEMSCOPE, "attach", *options, "-o", trace, "qemu:pid:%d" % guest.process.pid], stderr=subprocess.PIPE,
            text=True, env=dict(os.environ, XDG_CACHE_HOME=tempfile.gettempdir()))
        while "API socket" not in (line := self.process.stderr.readline()):
            assert line, "attach ended"

    def ask(self, *words):
        return subprocess.run([KMEMSCOPE, *words, self.session], capture_output=True, text=True, check=True).stdout

    def json(self, *words):
        return json.loads(self.ask(*words, "--json"))

    def prompt(self, line):
        return subprocess.run([KMEMSCOPE, "db", "-e", line, self.session], capture_output=True, text=True, check=True).stdout

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0


def sql(trace, text):
    return [line.split("\t") for line in
            subprocess.run([KMEMSCOPE, "sql", text, trace], capture_output=True, text=True, check=True).stdout.splitlines()]


def clients_see_it(guest, attached):
    """The caches of slabinfo, and what kind of target it is."""
    theirs = slabinfo(guest)
    ours = {row["name"]: row for row in attached.json("caches", "--limit", "1000")["items"]}
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    assert all(ours[name]["slabs"] * row[4] == ours[name]["pages"] for name, row in theirs.items())
    assert [row["kind"] for row in attached.json("targets")["items"]] == ["guest"]


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)  # the pace of a client, not a wait for anything


def events_recorded(guest, attached, cpus):
    """300 files: as many inodes allocated, each event with CPU, cache, size and call site."""
    query = ("SELECT count(*), count(DISTINCT ring), min(size), max(size), max(stack_id) FROM events"
             " WHERE kind = 'alloc' AND cache = 'shmem_inode_cache'")
    before = int(sql(attached.trace, query)[0][0])
    guest.shell("".join("echo 1 > /sys/kernel/tracing/events/kmem/%s/enable; " % name for name in KMEM)
                + "echo 1 > /sys/kernel/tracing/tracing_on")
    guest.shell("i=0; while [ $i -lt 300 ]; do : > /tmp/h$i; i=$((i+1)); done; echo 0 > /sys/kernel/tracing/tracing_on")
    until(lambda: int(sql(attached.trace, query)[0][0]) >= before + 300, 20, "events are not in the trace")
    count, rings, least, most, stack = sql(attached.trace, query)[0]
    assert int(count) == before + 300 and 1 <= int(rings) <= cpus and int(least) == int(most) > 100, (count, rings, least, most)
    assert "shmem" in attached.ask("stacks", stack) or "inode" in attached.ask("stacks", stack), stack
    until(lambda: attached.json("stats")["events"]["alloc"] >= 300, 20, "events are not in the picture, which is made ten times a second")
    assert attached.json("stats")["ring"]["lost"] == 0
    return int(count), stack


def losses_counted(guest, attached):
    """A ring too small for what comes between two looks."""
    guest.shell("echo 4 > /sys/kernel/tracing/buffer_size_kb; echo 1 > /sys/kernel/tracing/tracing_on")
    guest.shell("i=0; while [ $i -lt 3000 ]; do : > /tmp/h$((i%100)); i=$((i+1)); done; echo 0 > /sys/kernel/tracing/tracing_on")
    until(lambda: attached.json("stats")["ring"]["lost"] > 0, 20, "no loss is told")
    assert int(sql(attached.trace, "SELECT count(*) FROM events WHERE kind = 'lost'")[0][0]) > 0
    guest.shell("".join("echo 0 > /sys/kernel/tracing/events/kmem/%s/enable; " % name for name in KMEM))


def damage_found(guest, attached):
    """A byte of a live object's red zone, written by our own writer: that, and nothing else, is found."""
    assert "corrupt" not in (clean := attached.prompt("verify")) and "clean" in clean, clean
    assert attached.json("faults")["items"] == []
    rows = [line.split() for line in attached.prompt("show slab kmalloc-64,0t1000").splitlines() if line.startswith("0x")]
    base = next(int(row[0], 16) for row in rows if "#" in row[5])
    what = attached.prompt("whatis 0x%x" % (base + 100))
    address = int(re.search(r" is 0x([0-9a-f]+)[+-]", what).group(1), 16)
    assert "POOL 'kmalloc-64'" in what and "in the slab at 0x%x" % base in what, what
    zone = address + 64
    words = attached.prompt("x/q 0x%x" % zone)
    refused = subprocess.run([KMEMSCOPE, "db", "-e", "w/q 0x%x 0xcccccccccccc41cc" % zone, attached.session], capture_output=True, text=True)
    assert refused.returncode == 0, (words, refused.stdout, refused.stderr)
    found = attached.prompt("verify")
    assert re.search(r"kmalloc-64 +1 1 corrupt buffer", found), found
    items = attached.json("faults")["items"]
    assert len(items) == 1, items
    fault = items[0]
    assert fault["cache"] == "kmalloc-64" and int(fault["address"], 16) == zone + 1, fault
    assert "damaged: 0x41" in attached.prompt("whatis 0x%x" % address)
    return what


def kfence_shown(guest, attached):
    shown = attached.prompt("show kfence/v,0t3")
    assert ": on, one allocation every 10 ms" in shown and "255 objects" in shown, shown
    assert re.search(r"allocated by process \d+:\n\t\t\w+", shown), shown
    theirs = dict(line.split(": ") for line in guest.shell("cat /sys/kernel/debug/kfence/stats").split("\n") if ": " in line)
    ours = re.search(r"allocs (\d+), frees (\d+), bugs (\d+)", shown)
    assert ours and abs(int(ours.group(1)) - int(theirs["total allocations"])) < 100, (shown, theirs)
    assert int(ours.group(3)) == int(theirs["total bugs"]) == 0


def kfence_damaged(guest, attached):
    """A byte behind one of its live objects: found by verify, and by the kernel when the object is freed."""
    i, rows = 0, []
    while not rows:
        guest.shell("i=0; while [ $i -lt 200 ]; do : > /tmp/j%d.$i; i=$((i+1)); done" % i)
        rows = [line.split() for line in attached.prompt("show kfence,0t255").splitlines() if " allocated shmem_inode_cache" in line]
        i += 1
        assert i < 20, "KFENCE guards no inode"
    address, size = int(rows[0][1], 16), int(rows[0][2])
    at = address - 8 if address % 4096 else (address + size + 7) // 8 * 8
    attached.prompt("w/Q 0x%x 0" % at)
    assert re.search(r"shmem_inode_cache +1 1 corrupt buffer", attached.prompt("verify shmem_inode_cache"))
    fault = attached.json("faults")["items"][-1]
    assert "KFENCE" in fault["message"] and fault["cache"] == "shmem_inode_cache", fault
    assert any("shmem" in (frame["function"] or "") for frame in fault["alloc_stack"]), fault
    guest.shell("rm -f /tmp/[ghj]*")
    until(lambda: "BUG: KFENCE: memory corruption" in attached.prompt("show kfence,0t0"), 30, "the kernel reports nothing")


def clients(guest, series, cpus, folder):
    trace = os.path.join(folder, "guest.kms")
    if os.path.exists(trace):
        os.unlink(trace)
    with Attached(guest, trace, "--allow-write") as attached:
        clients_see_it(guest, attached)
        count, stack = events_recorded(guest, attached, cpus)
        losses_counted(guest, attached)
        damage_found(guest, attached)
        if series == "6.12":
            kfence_shown(guest, attached)
            kfence_damaged(guest, attached)
    # the file has it all, without the guest
    assert int(sql(trace, "SELECT count(*) FROM events WHERE kind = 'alloc' AND cache = 'shmem_inode_cache'")[0][0]) >= count
    frames = subprocess.run([KMEMSCOPE, "stacks", stack, trace], capture_output=True, text=True, check=True).stdout
    assert "shmem" in frames or "inode" in frames, frames
    assert guest.shell("echo alive").strip() == "alive"


def check(series, machine, cpus, symbols):
    with Guest(FOLDER, series, machine, cpus, "slub_debug=ZU") as guest:
        with Look(LOOK, guest, symbols) as look:
            about = look.figures("about")
            assert about["release"] == guest.shell("uname -r").strip(), about
            assert about["kaslr"] != "0", about
        with Look(LOOK, guest, symbols) as look:
            assert look.figures("about")["cached"] == "1"
            caches = same_caches(guest, look)
            sites_add_up(look)
            events = events_all_seen(guest, look)
            if about["kfence"] == "1":
                kfence_same(guest, look)
            clients(guest, series, cpus, symbols)
            seconds = leak_on_top(guest, look)
    print("%s %s, %d CPUs: %d caches, %d events, leak on top after %.1f s"
          % (about["release"], machine, cpus, caches, events, seconds), flush=True)


def all_of_them():
    with tempfile.TemporaryDirectory() as symbols:
        for series, machine, cpus in ALL if sys.argv[4:] == ["all"] else SHORT:
            check(series, machine, cpus, symbols)


main(all_of_them)
