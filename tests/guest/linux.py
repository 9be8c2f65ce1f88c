#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Unmodified Linux guests, looked at from outside and compared with what they say of themselves.

linux.py LINUX_LOOK FOLDER KMEMSCOPE [all]: a short choice of kernels and machines, or all of them.
"""
import json
import os
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
    """Its pool's counts, as debugfs has them."""
    ours = look.figures("kfence")
    theirs = dict(line.split(": ") for line in guest.shell("cat /sys/kernel/debug/kfence/stats").split("\n") if ": " in line)
    assert ours["on"] == theirs["enabled"] == "1" and int(ours["objects"]) == 255, ours
    assert abs(int(ours["live"]) - int(theirs["currently allocated"])) < 50, (ours, theirs)
    assert ours["interval"] == "10", ours


def clients_see_it(guest):
    """kmemscope attach, asked by its clients: the caches of slabinfo, no trace; the guest goes on."""
    with subprocess.Popen([KMEMSCOPE, "attach", "qemu:pid:%d" % guest.process.pid], stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, XDG_CACHE_HOME=tempfile.gettempdir())) as attach:
        try:
            while "API socket" not in (line := attach.stderr.readline()):
                assert line, "attach ended"
            session = "qemu-system-x86_64.%d" % guest.process.pid
            theirs = slabinfo(guest)
            seen = json.loads(subprocess.run([KMEMSCOPE, "caches", "--json", "--limit", "1000", session], capture_output=True, check=True).stdout)
            ours = {row["name"]: row for row in seen["items"]}
            assert set(ours) == set(theirs), set(ours) ^ set(theirs)
            assert all(ours[name]["slabs"] * row[4] == ours[name]["pages"] for name, row in theirs.items())
            targets = json.loads(subprocess.run([KMEMSCOPE, "targets", "--json", session], capture_output=True, check=True).stdout)
            assert [row["kind"] for row in targets["items"]] == ["guest"], targets
        finally:
            attach.send_signal(signal.SIGINT)
            assert attach.wait(timeout=30) == 0
    assert guest.shell("echo alive").strip() == "alive"


def check(series, machine, cpus, symbols):
    append = "slub_debug=U" + (" kfence.sample_interval=10" if series == "6.12" else "")
    with Guest(FOLDER, series, machine, cpus, append) as guest:
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
            clients_see_it(guest)
            seconds = leak_on_top(guest, look)
    print("%s %s, %d CPUs: %d caches, %d events, leak on top after %.1f s"
          % (about["release"], machine, cpus, caches, events, seconds), flush=True)


def all_of_them():
    with tempfile.TemporaryDirectory() as symbols:
        for series, machine, cpus in ALL if sys.argv[4:] == ["all"] else SHORT:
            check(series, machine, cpus, symbols)


main(all_of_them)
