#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Attaching to a process that runs already: joining, leaving, coming again, and what cannot be.

usage: attach.py late|audit|again|killed|fork|threads|refused|base|taken|lossy|stopped|http|base_guard|base_load|base_fork|demo|dying|views
"""

import http.client
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

STEPS = kms.BUILD / "test/system/steps"
LIBRARY = kms.BUILD / "lib/libkmem_malloc.so"
DEADLINE_S = 60


class Steps:
    """The program, told what to do line by line."""

    def __init__(self, workspace, preload=True, under=()):
        env = {"LD_PRELOAD": str(LIBRARY)} if preload and not under else {}
        self.child = workspace.start([*under, STEPS], env=env)
        self.blocks = self.bytes = 0
        self.pid = self.answer().last_pid

    def answer(self):
        line = self.child.stdout.readline().decode()
        found = re.match(r"(\w+) live (\d+) (\d+) pid (\d+)$", line)
        if not found:
            raise AssertionError(f"steps answered {line!r}, status {self.child.poll()}")
        self.blocks, self.bytes, self.last_pid = (int(found[i]) for i in (2, 3, 4))
        return self

    def tell(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def do(self, line):
        self.tell(line)
        return self.answer()

    def end(self):
        self.child.stdin.close()
        return self.child.wait(timeout=DEADLINE_S)


class Attached:
    """`kmemscope attach` to a process, as a child of ours."""

    def __init__(self, workspace, pid, trace, options=(), wait=True):
        self.workspace, self.trace, self.pid = workspace, trace, pid
        self.child = workspace.start([kms.KMEMSCOPE, "attach", "-o", trace, *options, f"pid:{pid}"],
                                     stdin=subprocess.DEVNULL)
        if wait:
            kms.wait_for(self.published, DEADLINE_S, "the session is published")

    def published(self):
        if self.child.poll() is not None:
            raise AssertionError(f"attach ended: {self.child.communicate()}")
        return self.workspace.session()

    def wait_joined(self, steps):
        """Until the process's region is there: at its next call, which may be one of ours."""
        def joined():
            steps.do("touch")
            return any(t["pid"] == self.pid and t["state"] == "running"
                       for t in self.workspace.items("targets"))
        kms.wait_for(joined, DEADLINE_S, "the process has joined")

    def detach(self, steps=None):
        """Lets it go; the process leaves at its next call."""
        self.child.send_signal(signal.SIGINT)
        while steps and self.child.poll() is None:
            steps.do("touch")
        out, err = self.child.communicate(timeout=DEADLINE_S)
        return self.child.returncode, err.decode()


def by_size(workspace, trace, kind, sizes):
    """Stored events of a kind, by size."""
    rows = workspace.sql(trace, f"SELECT size, count(*) FROM events WHERE kind = '{kind}' AND size IN "
                                f"({','.join(map(str, sizes))}) GROUP BY size")
    return {int(size): int(count) for size, count in rows}


def reaches(workspace, key, value):
    kms.wait_for(lambda: workspace.json("stats")[key] >= value, DEADLINE_S, f"{key} reaches {value}")


def test_late(checks, workspace):
    """Events after the attach are counted, all of them and no others."""
    steps = Steps(workspace)
    steps.do("alloc 1000 100")
    attached = Attached(workspace, steps.pid, workspace.path / "late.kms")
    attached.wait_joined(steps)
    steps.do("alloc 500 200")
    steps.do("free 1200")
    steps.do("leak 7 3000")
    reaches(workspace, "frees", 1200)
    status, text = attached.detach(steps)
    checks.equal(status, 0, f"detach: {text}")
    checks.that("goes on without us" in text, "the summary says that it lives on", text)
    steps.do("alloc 10 10")
    checks.equal(steps.end(), 0, "the program ends as it would")
    checks.equal(kms.integrity(attached.trace), "ok", "integrity_check")
    stats = workspace.json("stats", attached.trace)
    checks.that(stats["snapshot"]["finished"], "the file is complete")
    checks.equal(stats["faults"], 0, "frees of blocks from before are no faults")
    checks.equal(by_size(workspace, attached.trace, "alloc", (10, 100, 200, 3000)), {200: 500, 3000: 7},
                 "allocations while attached")
    checks.equal(by_size(workspace, attached.trace, "free", (10, 100, 200, 3000)), {100: 1000, 200: 200},
                 "frees while attached")
    checks.equal(workspace.items("targets", attached.trace)[0]["state"], "detached", "state")
    leaks = workspace.items("leaks", "--all", attached.trace)
    line = kms.line_of("tests/system/steps.c", "leak")
    leak = [x for x in leaks if kms.frame_is(x["stack"], "lose", "steps.c", line)]
    checks.equal([(x["bytes"], x["count"]) for x in leak], [(21000, 7)],
                 "the leak after the attach, with its stack")


def audit(workspace, trace):
    return workspace.sql(trace, "SELECT who, variable, value, result FROM audit ORDER BY id")


def test_audit(checks, workspace):
    """Who attached, with which values, who stopped it, and who let it go."""
    steps = Steps(workspace)
    attached = Attached(workspace, steps.pid, workspace.path / "audit.kms", ["--set", "kmem_guard_depth=1000"])
    attached.wait_joined(steps)
    status, text = attached.detach(steps)
    checks.equal(status, 0, f"detach: {text}")
    who = f"uid {os.getuid()} pid {attached.child.pid} attach"
    rows = audit(workspace, attached.trace)
    checks.equal({row[0] for row in rows}, {who}, "who did all of it")
    checks.equal((rows[0][1:], rows[-1][1:]), (["attach", str(steps.pid), "ok"], ["detach", "0", "ok"]),
                 "what it began and ended with")
    checks.equal(sorted(row[1:] for row in rows[1:-1]),
                 [["kmem_guard_depth", "1000", "ok"], ["kmem_on_full", "0", "ok"], ["kmem_panic", "0", "ok"]],
                 "the values that it was given")
    checks.equal(steps.end(), 0, "the program ends as it would")


def test_again(checks, workspace):
    """Attach, detach, attach again: each is a trace of its own; nothing in between is in any."""
    steps = Steps(workspace)
    for turn in range(3):
        steps.do("alloc 100 64")
        attached = Attached(workspace, steps.pid, workspace.path / f"turn-{turn}.kms")
        attached.wait_joined(steps)
        steps.do(f"alloc {1000 + turn} 48")
        status, text = attached.detach(steps)
        checks.equal(status, 0, f"turn {turn}: detach: {text}")
        checks.equal(by_size(workspace, attached.trace, "alloc", (48, 64)), {48: 1000 + turn},
                     f"turn {turn}: allocations")
        sites = [site for site in workspace.items("sites", attached.trace)
                 if kms.frame_of(site["stack"], "keep")]
        checks.equal([site["live_objects"] for site in sites], [1000 + turn], f"turn {turn}: with stacks")
        checks.equal(workspace.session(), None, f"turn {turn}: no session is left")
    # an idle process is let go, too, and can be attached to before it calls again
    attached = Attached(workspace, steps.pid, workspace.path / "idle.kms")
    attached.wait_joined(steps)
    status, text = attached.detach()
    checks.that(status == 0 and "it leaves when it does" in text, "an idle one is let go", text)
    attached = Attached(workspace, steps.pid, workspace.path / "after-idle.kms")
    attached.wait_joined(steps)
    status, text = attached.detach(steps)
    checks.equal(status, 0, f"after an idle one: {text}")
    checks.equal(steps.end(), 0, "the program ends as it would")


def test_killed(checks, workspace):
    """kill -9 of the tracer: the program goes on, and its memory is taken over by the next one."""
    steps = Steps(workspace)
    steps.do("alloc 50 64")
    attached = Attached(workspace, steps.pid, workspace.path / "killed.kms")
    attached.wait_joined(steps)
    steps.do("alloc 1000 100")
    attached.child.kill()
    attached.child.wait(timeout=DEADLINE_S)
    for _ in range(20):
        steps.do("alloc 5000 20")
    (next(workspace.runtime.glob("kmemscope/*/session.json"))).unlink()
    attached = Attached(workspace, steps.pid, workspace.path / "taken.kms")
    attached.wait_joined(steps)
    steps.do("leak 11 500")
    status, text = attached.detach(steps)
    checks.equal(status, 0, f"detach: {text}")
    checks.equal(by_size(workspace, attached.trace, "alloc", (500,)), {500: 11},
                 "allocations under the next tracer")
    checks.equal(workspace.json("faults", attached.trace)["total"], 0, "no faults")
    checks.equal(kms.integrity(attached.trace), "ok", "integrity_check")
    checks.equal(steps.end(), 0, "the program ends as it would")
    # the same for a program under `run`, which has a region, or has not yet
    killed_run(checks, workspace, b"touch\n")
    killed_run(checks, workspace, b"")


def killed_run(checks, workspace, first):
    name = "run" if first else "silent"
    child = workspace.start([kms.KMEMSCOPE, "run", "-q", "-o", workspace.path / f"{name}.kms", "--", STEPS])
    session = kms.wait_for(workspace.session, DEADLINE_S, "the session of run")
    child.stdout.readline()
    child.stdin.write(first)
    child.stdin.flush()
    if first:
        child.stdout.readline()
    os.kill(session["pid"], signal.SIGKILL)
    pid = session["program_pid"]
    (next(workspace.runtime.glob("kmemscope/*/session.json"))).unlink()
    attached = Attached(workspace, pid, workspace.path / f"{name}-taken.kms")
    if first:
        kms.wait_for(lambda: any(t["state"] == "running" for t in workspace.items("targets")),
                     DEADLINE_S, "the process is read")
    else:
        line = [attached.child.stderr.readline() for _ in range(3)][2]
        checks.that(b"it is traced when it does" in line, "a process that has not begun is asked", line)
    child.stdin.write(b"alloc 77 10\n")
    child.stdin.close()
    checks.equal(attached.child.wait(timeout=DEADLINE_S), 0, f"{name}: attach ends with the program")
    checks.equal(child.wait(timeout=DEADLINE_S), 0, f"{name}: run gives the program's status")
    checks.equal(by_size(workspace, attached.trace, "alloc", (10,)), {10: 77}, f"{name}: allocations")


def test_fork(checks, workspace):
    """A child of a process that is alone is alone; children of one that is attached to are traced."""
    steps = Steps(workspace)
    steps.do("alloc 100 100")
    steps.tell("fork")
    steps.answer()
    child = steps.last_pid
    checks.that(child != steps.pid, "there is a child")
    attached = Attached(workspace, child, workspace.path / "child.kms")
    attached.wait_joined(steps)
    steps.do("alloc 321 10")
    steps.tell("fork")
    steps.answer()
    grandchild = steps.last_pid
    steps.do("alloc 11 10")
    steps.child.stdin.close()
    checks.equal(attached.child.wait(timeout=DEADLINE_S), 0, "attach ends with the tree")
    rows = workspace.sql(attached.trace, "SELECT t.pid, count(*) FROM events e JOIN targets t ON t.id = e.target "
                                         "WHERE e.kind = 'alloc' AND e.size = 10 GROUP BY t.pid")
    checks.equal({int(pid): int(n) for pid, n in rows}, {child: 321, grandchild: 11},
                 "child and grandchild are targets, the parent is not")
    checks.equal(steps.child.wait(timeout=DEADLINE_S), 0, "the program ends as it would")


def test_threads(checks, workspace):
    """Attach, detach, attach in the middle of the load of many threads: the program never notices."""
    steps = Steps(workspace)
    steps.do("alloc 1000 100")
    steps.tell("load 8 10000000")
    for turn in range(4):
        attached = Attached(workspace, steps.pid, workspace.path / f"load-{turn}.kms")
        kms.wait_for(lambda: workspace.json("stats")["allocs"] > 2000, DEADLINE_S, "events come")
        status, text = attached.detach()
        checks.equal(status, 0, f"turn {turn}: {text}")
        checks.equal(workspace.json("faults", attached.trace)["total"], 0, f"turn {turn}: no faults")
        rows = workspace.sql(attached.trace, "SELECT sum(produced), sum(stored), sum(lost) FROM rings")
        produced, stored, lost = map(int, rows[0])
        checks.equal(produced, stored + lost, f"turn {turn}: produced = stored + lost")
    os.kill(steps.pid, signal.SIGUSR1)
    steps.answer()
    checks.equal((steps.blocks, steps.bytes), (1000, 100000), "what it kept")
    # whatever happened before, a quiet attach counts exactly
    attached = Attached(workspace, steps.pid, workspace.path / "exact.kms", ["--on-full", "wait"])
    attached.wait_joined(steps)
    steps.do("threads 4 100000")
    status, text = attached.detach(steps)
    checks.equal(status, 0, f"exact: {text}")
    checks.equal(workspace.lost(attached.trace), 0, "nothing is lost")
    rows = workspace.sql(attached.trace, f"SELECT kind, count(*) FROM events WHERE kind IN ('alloc', 'free') "
                                         f"AND thread <> {steps.pid} GROUP BY kind")
    checks.equal({kind: int(n) for kind, n in rows}, {"alloc": 400000, "free": 400000},
                 "events of the four threads")
    checks.equal(steps.end(), 0, "the program ends as it would")


def live(workspace, *of):
    stats = workspace.json("stats", *of)
    return stats["live_objects"], stats["live_bytes"]


def wait_live(workspace, steps, what):
    """Until the live figures are those of the program; the last ones seen when they never are."""
    try:
        kms.wait_for(lambda: live(workspace) == (steps.blocks, steps.bytes), 10, what, pause_s=0.05)
    except AssertionError:
        pass
    return live(workspace)


def test_base(checks, workspace):
    """What was allocated before the attach is there, with its size and cache; its frees subtract."""
    steps = Steps(workspace)
    steps.do("alloc 1000 100")
    steps.do("alloc 200 3000")
    steps.do("large 500000")
    steps.do("large 5000000")
    steps.do("alloc 10 1")
    steps.do("free 300")
    attached = Attached(workspace, steps.pid, workspace.path / "base.kms")
    attached.wait_joined(steps)
    checks.equal(wait_live(workspace, steps, "the base is in"), (steps.blocks, steps.bytes), "live after the attach")
    caches = {item["name"]: item["objects_live"] for item in workspace.items("caches")}
    checks.equal({name: n for name, n in caches.items() if n},
                 {"malloc-16": 10, "malloc-112": 700, "malloc-3072": 200, "malloc-large": 2}, "by cache")
    leaks = workspace.json("leaks", "--all")
    checks.equal(sum(leak["count"] for leak in leaks["items"] if not leak["stack"]), steps.blocks,
                 "all of it has no stack")
    checks.equal(leaks["incomplete"], False, "and nothing is missing")
    steps.do("free 750")
    steps.do("alloc 50 100")
    checks.equal(wait_live(workspace, steps, "frees subtract"), (steps.blocks, steps.bytes), "live after frees of old blocks")
    status, text = attached.detach(steps)
    checks.equal(status, 0, f"detach: {text}")
    checks.equal(live(workspace, attached.trace), (steps.blocks, steps.bytes), "the file says the same")
    checks.equal(workspace.json("faults", attached.trace)["total"], 0, "no faults")
    # a trace whose tracer was lost is replayed
    attached = Attached(workspace, steps.pid, workspace.path / "replayed.kms")
    attached.wait_joined(steps)
    wait_live(workspace, steps, "the base is in again")
    steps.do("free 20")
    steps.do("alloc 5 77")
    checks.equal(wait_live(workspace, steps, "again"), (steps.blocks, steps.bytes), "live after another attach")
    stored = workspace.json("stats")["ring"]["stored"]
    kms.wait_for(lambda: int(dict(workspace.sql(attached.trace, "SELECT key, value FROM meta"))["stored"]) >= stored,
                 DEADLINE_S, "it is written")
    attached.child.kill()
    attached.child.wait(timeout=DEADLINE_S)
    checks.equal(live(workspace, attached.trace), (steps.blocks, steps.bytes), "the replay says the same")
    checks.equal(steps.end(), 0, "the program ends as it would")


def by_cache(workspace):
    return {item["name"]: item["objects_live"] for item in workspace.items("caches") if item["objects_live"]}


def test_taken(checks, workspace):
    """The tracer of a program that was started by `run` is killed: the next one finds all that lives."""
    for n, caches in ((100, {"malloc-80": 500, "malloc-112": 100}),  # all in the ring block that is open
                      (3000, {"malloc-80": 500, "malloc-112": 3000})):
        steps = Steps(workspace, under=(kms.KMEMSCOPE, "run", "-q", "-o", workspace.path / f"run-{n}.kms", "--"))
        steps.do("alloc 500 64")
        steps.do(f"alloc {n} 100")
        checks.equal(wait_live(workspace, steps, "under run"), (steps.blocks, steps.bytes), f"{n}: under run")
        os.kill(workspace.session()["pid"], signal.SIGKILL)
        (next(workspace.runtime.glob("kmemscope/*/session.json"))).unlink()
        attached = Attached(workspace, steps.pid, workspace.path / f"taken-{n}.kms")
        # it waits on stdin: what it had is seen before it calls again, and after
        checks.equal((wait_live(workspace, steps, "idle"), by_cache(workspace)),
                     ((steps.blocks, steps.bytes), caches), f"{n}: taken over, idle")
        kms.wait_for(lambda: steps.do("touch") and workspace.json("leaks")["incomplete"], DEADLINE_S,
                     f"{n}: recording has begun anew")
        checks.equal((wait_live(workspace, steps, "taken over"), by_cache(workspace)),
                     ((steps.blocks, steps.bytes), caches), f"{n}: taken over")
        steps.do(f"free {n // 2}")
        checks.equal(wait_live(workspace, steps, "frees"), (steps.blocks, steps.bytes), f"{n}: after frees")
        checks.equal(workspace.json("faults")["total"], 0, f"{n}: no faults")
        checks.equal(steps.end(), 0, f"{n}: the program ends as it would")
        checks.equal(attached.child.wait(timeout=DEADLINE_S), 0, f"{n}: attach ends with it")


LEAK = (50, 50 * 5000)


def wait_true(workspace, steps, what):
    """Until the live picture is the program's, which is asked at its next call to begin recording anew."""
    kms.wait_for(lambda: steps.do("touch") and
                 live(workspace) == (steps.blocks + LEAK[0], steps.bytes + LEAK[1]), DEADLINE_S,
                 f"{what}: the truth of {steps.blocks} blocks", pause_s=0.05)


def check_leak(checks, workspace, since, what):
    """The leak is as old as it is, also where it was read anew, and has its stack."""
    passed_us = (time.monotonic() - since) * 1e6
    leaks = [x for x in workspace.items("leaks", "--all") if kms.frame_of(x["stack"], "lose")]
    checks.that([(x["count"], x["bytes"]) for x in leaks] == [LEAK] and leaks[0]["age_p50_us"] > passed_us * 0.9,
                f"{what}: the leak, after {passed_us} us", leaks)


def test_lossy(checks, workspace):
    """Events are lost while the tracer is stopped: the live picture is that of the program all the same, soon."""
    trace = workspace.path / "lossy.kms"
    steps = Steps(workspace, under=(kms.KMEMSCOPE, "run", "-q", "--on-full", "drop", "-o", trace, "--"))
    steps.do("alloc 1000 64")
    steps.do("alloc 20000 100")
    steps.do("leak 50 5000")
    wait_true(workspace, steps, "nothing lost")
    since = time.monotonic()
    tracer = workspace.session()["pid"]
    for turn, sizes in enumerate(((200, 300), (700, 40))):
        os.kill(tracer, signal.SIGSTOP)
        for size in sizes:
            steps.do(f"alloc 150000 {size}")
        steps.do("free 200000")
        os.kill(tracer, signal.SIGCONT)
        # it waits on stdin, and begins recording anew only with its next call
        kms.wait_for(lambda: workspace.items("targets")[0]["stale"], DEADLINE_S, f"turn {turn}: the picture is old")
        checks.equal(workspace.json("stats")["ring"]["stale"], True, f"turn {turn}: of the run, too")
        wait_true(workspace, steps, f"turn {turn}")
        kms.wait_for(lambda: not workspace.items("targets")[0]["stale"], DEADLINE_S, f"turn {turn}: and new again")
        checks.that(workspace.json("stats")["ring"]["lost"] > 100000 * (turn + 1), f"turn {turn}: events were lost",
                    workspace.json("stats")["ring"])
        checks.equal(workspace.json("leaks")["incomplete"], True, f"turn {turn}: which is said")
        check_leak(checks, workspace, since, f"turn {turn}")
    steps.do("alloc 100 64")
    steps.do(f"free {steps.blocks - 60000}")
    wait_true(workspace, steps, "after frees of what was read")
    caches = by_cache(workspace)
    checks.equal({name: caches.get(name) for name in ("malloc-48", "malloc-80")}, {"malloc-48": 59900, "malloc-80": 100},
                 "by cache")
    checks.equal(workspace.json("faults")["total"], 0, "no faults")
    checks.equal(steps.end(), 0, "the program ends as it would")
    checks.equal(workspace.json("faults", trace)["total"], 0, "nor in the file")


def test_base_guard(checks, workspace):
    """Guarded blocks are in the base, too."""
    steps = Steps(workspace)
    attached = Attached(workspace, steps.pid, workspace.path / "first.kms", ["--set", "kmem_guard_depth=1000"])
    attached.wait_joined(steps)
    steps.do("alloc 300 123")
    attached.detach(steps)
    attached = Attached(workspace, steps.pid, workspace.path / "second.kms")
    attached.wait_joined(steps)
    checks.equal(wait_live(workspace, steps, "the base is in"), (steps.blocks, steps.bytes), "live guarded blocks")
    rows = workspace.items("caches")
    checks.equal(sum(row["objects_guarded"] for row in rows), 300, "that they are guarded")
    checks.that(all(row["objects_total"] >= row["objects_live"] >= row["objects_guarded"] for row in rows),
                "guarded blocks are live ones, and part of the total", rows)
    checks.equal([row["utilization"] for row in rows if row["objects_live"] == row["objects_guarded"] > 0], [0],
                 "guarded blocks take no room in slabs")
    steps.do("free 300")
    checks.equal(wait_live(workspace, steps, "their frees"), (0, 0), "their frees subtract")
    attached.detach(steps)
    checks.equal(steps.end(), 0, "the program ends as it would")


def test_base_load(checks, workspace):
    """Scanned while eight threads allocate and free: what is live in the end is what a quiet scan finds."""
    steps = Steps(workspace)
    steps.do("alloc 5000 100")
    steps.tell("load 8 10000000")
    attached = Attached(workspace, steps.pid, workspace.path / "load.kms", ["--on-full", "wait"])
    kms.wait_for(lambda: workspace.json("stats")["allocs"] > 20000, DEADLINE_S, "events come")
    os.kill(steps.pid, signal.SIGUSR1)
    steps.answer()
    steps.do("touch")
    status, text = attached.detach(steps)
    checks.equal(status, 0, f"detach: {text}")
    first = live(workspace, attached.trace)
    attached = Attached(workspace, steps.pid, workspace.path / "quiet.kms", ["--on-full", "wait"])
    attached.wait_joined(steps)
    try:
        kms.wait_for(lambda: live(workspace) == first, 10, "the same", pause_s=0.05)
    except AssertionError:
        pass
    checks.equal(live(workspace), first, "live blocks and bytes")
    checks.that(first[0] >= 5000, "with those that it kept", first)
    attached.detach(steps)
    checks.equal(steps.end(), 0, "the program ends as it would")


def test_base_fork(checks, workspace):
    """A child that is forked after the attach has its parent's base."""
    steps = Steps(workspace)
    steps.do("alloc 1000 100")
    attached = Attached(workspace, steps.pid, workspace.path / "fork.kms")
    attached.wait_joined(steps)
    wait_live(workspace, steps, "the base is in")
    steps.tell("fork")
    steps.answer()
    steps.do("free 100")
    steps.do("alloc 7 50")
    child = kms.wait_for(lambda: [t for t in workspace.items("targets") if t["pid"] == steps.last_pid],
                         DEADLINE_S, "the child is there")[0]

    def of_child():
        return live(workspace, "--target", str(child["id"]))
    try:
        kms.wait_for(lambda: of_child() == (steps.blocks, steps.bytes), 10, "the child's", pause_s=0.05)
    except AssertionError:
        pass
    checks.equal(of_child(), (steps.blocks, steps.bytes), "live in the child")
    checks.equal(live(workspace), (1007, 100350), "the run has each block once")
    steps.child.stdin.close()
    checks.equal(attached.child.wait(timeout=DEADLINE_S), 0, "attach ends with the tree")


def test_demo(checks, workspace):
    """The demo's kernel, linked with libkmem and running alone: what it allocated before, and its bugs since."""
    kernel = workspace.start([kms.KMEMSCOPE, "demo", "--kernel-only"])
    kms.wait_for(lambda: f"pid:{kernel.pid} " in workspace.run([kms.KMEMSCOPE, "attach", "--list"]).stdout.decode(),
                 DEADLINE_S, "it is listed")
    trace = workspace.path / "demo.kms"
    done = workspace.run([kms.KMEMSCOPE, "attach", "-o", trace, f"pid:{kernel.pid}"], timeout=DEADLINE_S)
    checks.equal(done.status, 0, f"attach: {done!r}")
    checks.that(b"could be read" not in done.stderr, "all that it had is read", done.stderr)
    leaks = workspace.items("leaks", trace)
    checks.that(any(kms.frame_of(leak["stack"], "usb_leak_stalled_transfer") for leak in leaks),
                "the planted leak", [kms.show_stack(leak["stack"])[:2] for leak in leaks])
    kinds = {fault["kind"] for fault in workspace.items("faults", trace)}
    checks.that({"use_after_free", "double_free"} <= kinds, "planted faults", kinds)
    kernel.wait(timeout=DEADLINE_S)


def test_dying(checks, workspace):
    """The process dies while it is scanned: what was found until then stays, and attach ends as it should."""
    for turn in range(5):
        steps = Steps(workspace)
        steps.do("alloc 300000 50")
        attached = Attached(workspace, steps.pid, workspace.path / f"dying-{turn}.kms", wait=False)
        maps = pathlib.Path(f"/proc/{steps.pid}/maps")
        kms.wait_for(lambda: steps.do("touch") and "img-" in maps.read_text(), DEADLINE_S, "it has joined",
                     pause_s=0)
        steps.child.kill()
        steps.child.wait(timeout=DEADLINE_S)
        out, err = attached.child.communicate(timeout=DEADLINE_S)
        checks.equal(attached.child.returncode, 0, f"turn {turn}: attach: {err}")
        checks.equal(kms.integrity(attached.trace), "ok", f"turn {turn}: integrity_check")
        checks.that(live(workspace, attached.trace)[0] <= 300000, f"turn {turn}: no more than there was")


def test_views(checks, workspace):
    """Memory is shown as it is, of a process that lives and of no other."""
    steps = Steps(workspace)
    steps.do("alloc 3 100")
    attached = Attached(workspace, steps.pid, workspace.path / "views.kms")
    attached.wait_joined(steps)
    wait_live(workspace, steps, "the base is in")
    blocks = json.loads(workspace.run(["curl", "-s", "--unix-socket", workspace.session()["socket"],
                                       "http://x/api/v1/blocks"]).stdout)["items"]
    checks.equal([block["size"] if "size" in block else block.get("bytes") for block in blocks], [100] * 3,
                 "the blocks from before are listed")
    address = blocks[0]["address"]
    shown = workspace.run([kms.KMEMSCOPE, "db", "-e", f"x/bx {address[2:]}"])
    checks.that(re.search(rb":\s+(0x)?0*1\b", shown.stdout), "its first byte is what the program wrote", shown)
    attached.detach(steps)
    steps.end()


def refusal(workspace, argv, env=None):
    done = workspace.run(argv, env=env)
    return done.status, done.stderr.decode()


def test_refused(checks, workspace):
    """What cannot be attached to is told in one line that says what to do."""
    def check(target, pattern, what, status=1):
        seen, text = refusal(workspace, [kms.KMEMSCOPE, "attach", target])
        checks.equal(seen, status, f"{what}: status")
        checks.that(re.search(pattern, text) and text.count("\n") == 1, f"{what}: one line", text)

    plain = Steps(workspace, preload=False)
    check(f"pid:{plain.pid}", rf"process {plain.pid} \(steps\) does not have our allocator: restart it "
          r"with `kmemscope run -- steps`, or with LD_PRELOAD=\S+libkmem_malloc.so", "without the allocator")
    plain.end()
    check("pid:999999999", "there is no process 999999999", "no such process")
    check("pid:2", r"thread of the kernel|of user 0|no process 2", "a thread of the kernel")
    for target in ("pid:", "pid:-1", "pid:x", "4711", "pid:0", "pid:1x", "pid:99999999999", "nonsense"):
        check(target, "is no target: write pid:N", f"target {target!r}", 2)
    zombie = workspace.start(["/bin/true"])
    kms.wait_for(lambda: "\nState:\tZ" in pathlib.Path(f"/proc/{zombie.pid}/status").read_text(),
                 DEADLINE_S, "a zombie")
    check(f"pid:{zombie.pid}", rf"process {zombie.pid} \(true\) has ended", "a zombie")
    itself = workspace.run(["/bin/sh", "-c", f"exec {kms.KMEMSCOPE} attach pid:$$"])
    checks.that(itself.status == 1 and b"is this kmemscope itself" in itself.stderr, "ourselves", itself)
    steps = Steps(workspace)
    attached = Attached(workspace, steps.pid, workspace.path / "first.kms")
    attached.wait_joined(steps)
    check(f"pid:{steps.pid}", rf"process {steps.pid} \(steps\) is traced already: session steps.{steps.pid}",
          "traced already")
    listed = json.loads(workspace.run([kms.KMEMSCOPE, "attach", "--list", "--json"]).stdout)["items"]
    mine = [item for item in listed if item["pid"] == steps.pid]
    checks.equal(mine, [{"target": f"pid:{steps.pid}", "kind": "process", "pid": steps.pid,
                         "program": "steps", "session": f"steps.{steps.pid}"}], "--list names it and its session")
    attached.detach(steps)
    seen, text = refusal(workspace, [kms.KMEMSCOPE, "attach", "--set", "nonsense=1", f"pid:{steps.pid}"])
    checks.that(seen == 1 and "nonsense" in text, "a variable that is none", text)
    seen, text = refusal(workspace, [kms.KMEMSCOPE, "attach", "-o", "/nowhere/x.kms", f"pid:{steps.pid}"])
    checks.that(seen == 1 and "/nowhere/x.kms" in text, "a trace that cannot be made", text)
    refused_by_limits(checks, workspace)
    refused_small(checks, workspace)
    if os.geteuid() == 0:
        refused_for_others(checks, workspace, steps)
    steps.end()


def refused_for_others(checks, workspace, steps):
    """As a user without rights, whom the system itself refuses."""
    product = kms.reachable_product(workspace)
    os.chmod(workspace.path, 0o755)
    folder = workspace.path / "nobody"
    folder.mkdir()
    kms.give_to_nobody(folder)
    env = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    done = workspace.run(kms.unprivileged([product, "attach", f"pid:{steps.pid}"]), env=env, cwd=folder)
    checks.that(done.status == 1 and re.search(rb"process \d+ \(steps\) is of user 0", done.stderr),
                "another user's process", done)
    own = workspace.start(kms.unprivileged([STEPS]) if os.access(STEPS, os.X_OK) else [], env={
        **env, "LD_PRELOAD": str(product.parent.parent / "lib/libkmem_malloc.so")}, cwd=folder)
    line = own.stdout.readline()
    if not line:
        return  # a clone that others cannot read
    done = workspace.run([kms.KMEMSCOPE, "attach", f"pid:{own.pid}"])
    checks.that(done.status == 1 and b"attach as that user" in done.stderr, "root at a user's process", done)
    own.stdin.write(b"hide\n")
    own.stdin.flush()
    own.stdout.readline()
    done = workspace.run(kms.unprivileged([product, "attach", f"pid:{own.pid}"]), env=env, cwd=folder)
    checks.that(done.status == 1 and re.search(rb"not allowed to attach to pid \d+ .*CAP_SYS_PTRACE", done.stderr),
                "a process that hides itself", done)
    refused_by_yama(checks, workspace, [product, "attach", f"pid:{own.pid}"], env)
    own.stdin.close()
    own.wait(timeout=DEADLINE_S)


def refused_by_yama(checks, workspace, argv, env):
    """The refusal of the kernel is real, the file that says why is ours: for kernels without Yama, too."""
    hints = {1: "set it to 0, or give kmemscope CAP_SYS_PTRACE", 2: "set it to 0, or give kmemscope CAP_SYS_PTRACE",
             3: "until the next boot"}
    for scope, hint in hints.items():
        script = ("mount -t tmpfs none /proc/sys/kernel && mkdir /proc/sys/kernel/yama && "
                  f"echo {scope} >/proc/sys/kernel/yama/ptrace_scope && exec \"$@\"")
        done = workspace.run(["unshare", "-m", "/bin/sh", "-c", script, "sh", *kms.unprivileged(argv)], env=env)
        if done.status != 1 or b"not allowed to attach" not in done.stderr:
            if workspace.run(["unshare", "-m", "true"]).status:
                print("no mount namespace can be made here: Yama is left out")
                return
        text = done.stderr.decode()
        checks.that(done.status == 1 and f"kernel.yama.ptrace_scope is {scope}" in text and hint in text and
                    text.count("\n") == 1, f"ptrace_scope {scope}", done)


def test_stopped(checks, workspace):
    """attach -d: it stands with all its threads, is looked at and written to, and goes on; also without a tracer."""
    steps = Steps(workspace)
    steps.do("alloc 100 64")
    steps.tell("load 4 10000000")
    attached = Attached(workspace, steps.pid, workspace.path / "stopped.kms", ["-d"])

    def threads():
        tasks = pathlib.Path(f"/proc/{steps.pid}/task").iterdir()
        return [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks]

    def state():
        items = workspace.items("targets")
        return items and items[0]["state"]

    kms.wait_for(lambda: state() == "stopped", DEADLINE_S, "it stands")
    kms.wait_for(lambda: set(threads()) == {"t"}, DEADLINE_S, "all of its threads")
    kms.wait_for(lambda: live(workspace)[0] >= 100, DEADLINE_S, "what it has is seen")
    figures = live(workspace)
    checks.equal(live(workspace), figures, "figures stand still")
    done = workspace.run([kms.KMEMSCOPE, "db", "-e", "w kmem_guard_depth 0t512", "-e", "c"])
    checks.equal(done.status, 0, f"the prompt: {done.stdout}")
    kms.wait_for(lambda: state() == "running" and "t" not in threads(), DEADLINE_S, "it goes on")
    kms.wait_for(lambda: workspace.json("guard")["depth"] == 512, DEADLINE_S, "what was written is in force")
    status, text = attached.detach()
    checks.equal(status, 0, f"detach: {text}")
    attached = Attached(workspace, steps.pid, workspace.path / "killed.kms", ["-d"])
    kms.wait_for(lambda: state() == "stopped" and set(threads()) == {"t"}, DEADLINE_S, "it stands again")
    attached.child.kill()
    attached.child.wait(timeout=DEADLINE_S)
    kms.wait_for(lambda: "t" not in threads(), DEADLINE_S, "a killed tracer lets it go")
    os.kill(steps.pid, signal.SIGUSR1)
    steps.answer()
    checks.equal((steps.blocks, steps.end()), (100, 0), "the program ends as it would")


def test_http(checks, workspace):
    """attach --http: the address is printed, the page and the API are there, a detach by it ends all."""
    steps = Steps(workspace)
    steps.do("alloc 300 100")
    attached = Attached(workspace, steps.pid, workspace.path / "http.kms", ["--http", "0"])
    page = None
    while not page:  # ends with the address, or with stderr
        line = attached.child.stderr.readline()
        if not line:
            raise AssertionError("no address was printed")
        page = re.search(rb"http://127\.0\.0\.1:([0-9]+)/#token=([0-9a-f]{64})", line)
    port, token = int(page[1]), page[2].decode()
    attached.wait_joined(steps)

    def ask(method, path, body=None, cookie=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        headers = {"Content-Type": "application/json", **({"Cookie": cookie} if cookie else {})}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data, answer.getheader("Set-Cookie")

    checks.equal(ask("GET", "/")[0], 200, "the page")
    checks.equal(ask("GET", "/api/v1/stats")[0], 401, "nothing without a login")
    status, _, cookie = ask("POST", "/api/v1/session", {"token": token})
    checks.that(status == 200 and cookie, "login", (status, cookie))
    cookie = (cookie or "").split(";")[0]
    kms.wait_for(lambda: json.loads(ask("GET", "/api/v1/stats", None, cookie)[1])["live_objects"] == steps.blocks,
                 DEADLINE_S, "what it had is there")
    checks.equal(ask("PATCH", "/api/v1/guard", {"depth": 512}, cookie)[0], 202, "a depth is asked for")
    steps.do("touch")
    kms.wait_for(lambda: json.loads(ask("GET", "/api/v1/guard", None, cookie)[1])["depth"] == 512, DEADLINE_S,
                 "and in force")
    status, body, _ = ask("POST", "/api/v1/targets/1/detach", None, cookie)
    checks.equal(status, 202, f"detach: {body}")

    def over():
        steps.do("touch")
        return attached.child.poll() is not None
    kms.wait_for(over, DEADLINE_S, "attach ends")
    checks.equal(attached.child.returncode, 0, "its status")
    rows = audit(workspace, attached.trace)
    checks.equal([row[1] for row in rows if row[0].startswith("browser write 127.0.0.1:")],
                 ["kmem_guard_depth", "detach"], f"the audit: {rows}")
    checks.equal(steps.end(), 0, "the program ends as it would")


def refused_by_limits(checks, workspace):
    """A region larger than the process's files may be is no region, and no deadly signal either."""
    steps = Steps(workspace)
    resource.prlimit(steps.pid, resource.RLIMIT_FSIZE, (1000 << 10, resource.RLIM_INFINITY))
    attached = Attached(workspace, steps.pid, workspace.path / "limited.kms", wait=False)

    def refused():
        steps.do("touch")
        return attached.child.poll() is not None
    kms.wait_for(refused, DEADLINE_S, "attach ends")
    text = attached.child.communicate(timeout=DEADLINE_S)[1].decode()
    checks.that(attached.child.returncode == 1 and "File too large" in text, "ulimit -f is told", text)
    checks.equal(steps.end(), 0, "ulimit -f: the program goes on")


def refused_small(checks, workspace):
    """A 32-bit program, where the compiler can make one."""
    program = workspace.path / "small"
    source = b"void _start(void) { for (;;) __asm__ volatile(\"mov $29, %%eax; int $0x80\" ::: \"eax\"); }"
    made = workspace.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-o", program, "-x", "c", "-"], stdin=source)
    if made.status != 0:
        print("no 32-bit program can be made here: left out")
        return
    child = workspace.start([program])
    done = workspace.run([kms.KMEMSCOPE, "attach", f"pid:{child.pid}"])
    checks.that(done.status == 1 and b"is a 32-bit program" in done.stderr, "a 32-bit program", done)


TESTS = {
    "late": test_late,
    "audit": test_audit,
    "again": test_again,
    "killed": test_killed,
    "fork": test_fork,
    "threads": test_threads,
    "refused": test_refused,
    "base": test_base,
    "taken": test_taken,
    "lossy": test_lossy,
    "stopped": test_stopped,
    "http": test_http,
    "base_guard": test_base_guard,
    "base_load": test_base_load,
    "base_fork": test_base_fork,
    "demo": test_demo,
    "dying": test_dying,
    "views": test_views,
}


def main():
    name = sys.argv[1]
    checks = kms.Checks()
    with kms.Workspace(f"attach-{name}") as workspace:
        TESTS[name](checks, workspace)
    return checks.status()


sys.exit(main())
