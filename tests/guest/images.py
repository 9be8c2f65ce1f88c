#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Saved memory of real guests, damaged in many ways and read: no crash, no hang, bounded time.

images.py PROGRAM OUR-KERNEL KERNELS COUNT GUEST...    GUEST: ours 6.1 6.12

PROGRAM is guest_images, built with a sanitizer or without. Boots each guest, has it do a bit of
everything, saves its memory and has PROGRAM read COUNT damaged versions of it, in parts, as many at once as
there are cores. KERNELS is the folder where Debian's kernels are kept; a guest that is not to be
had is left out, and the test skipped if there is none at all.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import linux_kernels

QEMU = "qemu-system-x86_64"
OURS_MB, LINUX_MB = 64, 128
PART = 90  # images of one process
DEADLINE_S = 300
FINDINGS = 12  # of our kernel, which are more than a round of its drivers
KMEM = ("kmalloc", "kfree", "kmem_cache_alloc", "kmem_cache_free")


def save(process, ram, to):
    """The memory of a machine that stands, and its end."""
    process.send_signal(signal.SIGSTOP)
    shutil.copyfile(ram, to)
    process.kill()
    process.wait()


def boot_ours(kernel, ram, to):
    """The demo with all bugs, its rings as full as a host that never came leaves them."""
    if not kernel.exists() or not shutil.which(QEMU):
        raise linux_kernels.Skip("%s or %s is missing" % (kernel, QEMU))
    words = [QEMU, "-nodefaults", "-display", "none", "-accel", "tcg", "-smp", "2",
             *linux_kernels.memory_words("q35", OURS_MB, ram), "-serial", "stdio", "-kernel", str(kernel),
             "-append", "seed=3 ops=4000 seconds=0 kmem_on_full=0"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            with tempfile.TemporaryDirectory() as folder:
                record(process, folder)
            save(process, ram, to)
        finally:
            process.kill()


def record(process, folder):
    """
    Its kernel records only while a host's heart beats: kmemscope is one, and stands still from the first
    finding on, so that what comes then stays in the rings.
    """
    kmemscope = pathlib.Path(sys.argv[2]).parent / "kmemscope"
    words = [kmemscope, "attach", "-q", "-o", folder + "/images.kms", "qemu:pid:%d" % process.pid]
    environment = dict(os.environ, XDG_RUNTIME_DIR=folder)
    process.stdout.readline()  # it has booted
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment) as attach:
        deadline = time.monotonic() + DEADLINE_S
        findings = 0
        while findings < FINDINGS:
            line = process.stdout.readline()
            if not line or attach.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the guest found too few bugs, or nobody was there")
            findings += b"kmem: " in line
            if findings == 1:
                attach.send_signal(signal.SIGSTOP)
        attach.kill()


def boot_linux(folder, series, ram, to):
    """With owners, events of the last seconds in the ring, KFENCE where it has one."""
    append = "slub_debug=FZPU" + (" kfence.sample_interval=10" if series == "6.12" else "")
    with linux_kernels.Guest(folder, series, "q35", 2, append, LINUX_MB, ram) as guest:
        guest.shell("cd /sys/kernel/tracing; echo 512 > buffer_size_kb; "
                    + "".join("echo 1 > events/kmem/%s/enable; " % name for name in KMEM))
        guest.shell("i=0; while [ $i -lt 300 ]; do : > /tmp/g$i; i=$((i+1)); done")
        save(guest.process, ram, to)


def make(guest, folder):
    ram = "/dev/shm/kms-test-images-%d-%s.ram" % (os.getpid(), guest)
    to = os.path.join(folder, guest + ".ram")
    try:
        if guest == "ours":
            boot_ours(pathlib.Path(sys.argv[2]), ram, to)
        else:
            boot_linux(sys.argv[3], guest, ram, to)
    finally:
        if os.path.exists(ram):
            os.unlink(ram)
    return to


def read(guest, ram, first, count):
    """Runs the program on some of the images: its status, and what it said."""
    words = [sys.argv[1], "ours" if guest == "ours" else "linux", ram, str(count), str(first)]
    with tempfile.TemporaryFile() as out:
        status = subprocess.run(words, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
        out.seek(0)
        said = out.read().decode(errors="replace")
    for scratch in re.findall(r"kms-test-guest-images-\w+", said):
        shutil.rmtree("/dev/shm/" + scratch, ignore_errors=True)
    if status or PART < int(sys.argv[4]):
        print("%s, images %d to %d: %s" % (guest, first, first + count - 1,
                                           "well" if status == 0 else "FAILED (%d)\n%s" % (status, said)), flush=True)
    return status, said


ROW = re.compile(r"^(\S.*?) +(\d+) +(\d+) +(\d+) +([\d.]+) +([\d.]+) +(\d+)$", re.MULTILINE)


def show(guest, texts):
    """One table of those that the parts printed."""
    rows = {}
    for text in texts:
        for name, images, opened, whole, each, slowest, which in ROW.findall(text):
            row = rows.setdefault(name, [0, 0, 0, 0.0, 0.0, 0])
            row[:4] = [row[0] + int(images), row[1] + int(opened), row[2] + int(whole),
                       row[3] + int(images) * float(each)]
            if float(slowest) > row[4]:
                row[4:] = [float(slowest), int(which)]
    print("%-8s %-14s %7s %7s %7s %8s %8s  %s"
          % (guest, "damage", "images", "opened", "whole", "ms each", "slowest", "which"))
    for name, (images, opened, whole, cpu, slowest, which) in rows.items():
        print("%-8s %-14s %7d %7d %7d %8.1f %8.1f  %d"
              % ("", name, images, opened, whole, cpu / images, slowest, which))
    print("%-8s %d images" % ("", sum(row[0] for row in rows.values())), flush=True)


def main():
    made, count = {}, int(sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        for guest in sys.argv[5:]:
            try:
                made[guest] = make(guest, folder)
            except linux_kernels.Skip as reason:
                print("left out: %s: %s" % (guest, reason), flush=True)
        if not made:
            sys.exit(linux_kernels.SKIP)
        jobs = [(guest, made[guest], first, min(PART, count - first))
                for first in range(0, count, PART) for guest in made]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda job: read(*job), jobs))
    for guest in made:
        show(guest, [said for job, (_, said) in zip(jobs, results) if job[0] == guest])
    sys.exit(any(status for status, _ in results))


if __name__ == "__main__":
    main()
