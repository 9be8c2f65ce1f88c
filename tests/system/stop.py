#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Standing still and going on: at a fault, before main, on request, with every ending of either side.

usage: stop.py [PART...]
"""

import concurrent.futures
import ctypes
import json
import os
import pathlib
import signal
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

STANDER = kms.BUILD / "test/system/stander"
SOURCE = "tests/system/stander.c"
THREADS = 6
STATUS = 7
DEADLINE_S = 60
STILL_S = 0.3  # so long nothing may move
PTRACE_SEIZE, PTRACE_DETACH, PTRACE_INTERRUPT = 0x4206, 17, 0x4207


class Session:
    """A stander under trace: its counters, its threads, its API."""

    def __init__(self, workspace, bug, options=(), threads=THREADS, argv=None):
        self.workspace = workspace
        self.counters = workspace.path / "counters"
        self.counters.write_bytes(bytes(8 * 64))
        self.trace = workspace.path / "trace.kms"
        argv = argv or [STANDER, self.counters, threads, *bug]
        self.child = workspace.start(workspace.traced_argv(argv, self.trace, options))
        self.info = kms.wait_for(workspace.session, DEADLINE_S, "the session is published")
        self.pid = self.info["program_pid"]

    def expect(self, line):
        seen = self.child.stdout.readline()
        if seen != line:
            raise AssertionError(f"stdout: {seen!r}, not {line!r}")

    def tell(self, text=""):
        self.child.stdin.write(text.encode() + b"\n")
        self.child.stdin.flush()

    def ask(self, method, path, body=None):
        """Status and body of an answer of the API."""
        connection = kms.UnixConnection(self.info["socket"], DEADLINE_S)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
        return answer.status, document

    def targets(self):
        return self.ask("GET", "targets")[1]["items"]

    def variable(self, name, target=None):
        return self.ask("GET", f"variables/{name}" + (f"?target={target}" if target else ""))[1]

    def set(self, name, value, target=None):
        query = f"?target={target}" if target else ""
        return self.ask("PATCH", f"variables/{name}{query}", {"value": value})

    def db(self, *lines):
        """Status and output of lines at the prompt."""
        argv = [kms.KMEMSCOPE, "db"]
        for line in lines:
            argv += ["-e", line]
        done = self.workspace.run(argv)
        return done.status, done.stdout.decode()

    def set_now(self, name, value):
        """Sets, and waits until the target has taken it up."""
        status, _ = self.set(name, value)
        if status not in (200, 202):
            raise AssertionError(f"{name}: {status}")
        return kms.wait_for(lambda: (v := self.variable(name)) and not v["pending"] and v,
                            DEADLINE_S, f"{name} is taken up")

    def threads(self):
        """States of all threads as the kernel has them, by thread."""
        states = {}
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            text = pathlib.Path(f"/proc/{self.pid}/task/{tid}/stat").read_text()
            states[int(tid)] = text.rpartition(")")[2].split()[0]
        return states

    def counted(self):
        return struct.unpack("<64Q", self.counters.read_bytes())

    def wait_stopped(self, reason):
        return kms.wait_for(
            lambda: (t := self.targets()) and t[0]["state"] == "stopped" and t[0]["stop"]["reason"] == reason
            and t[0], DEADLINE_S, f"stopped: {reason}")

    def stands(self, checks, title, waiting):
        """All threads but the one that waits are held, and nothing moves."""
        states = self.threads()
        held = sorted(s for tid, s in states.items() if tid != waiting)
        checks.equal(held, ["t"] * len(held), f"{title}: held threads {states}")
        before = self.counted()
        time.sleep(STILL_S)  # a span in which something would have to move
        checks.equal(self.counted(), before, f"{title}: counters stand still")

    def runs(self, checks, title):
        """No thread is held any more, and all of them count."""
        before = self.counted()
        kms.wait_for(lambda: all(a > b for a, b in zip(self.counted()[:THREADS], before)),
                     DEADLINE_S, f"{title}: counters move again")
        checks.that("t" not in self.threads().values(), f"{title}: no thread is held")

    def stop(self, target=1):
        kms.wait_for(self.targets, DEADLINE_S, "the target is known")
        return self.ask("POST", f"targets/{target}/stop")

    def resume(self, target=1):
        return self.ask("POST", f"targets/{target}/continue")

    def end(self, checks, title):
        """The rest of its life is as it would have been."""
        self.expect(b"after\n")
        out, _ = self.child.communicate(b"\n", timeout=DEADLINE_S)
        checks.equal((self.child.returncode, out), (STATUS, b"done 1 0\n"), f"{title}: end")


def fault(checks, workspace):
    """kmem_panic=1: at an overflow and at a use after free in a program with threads."""
    for bug, kind, options in (("overflow", "overflow", ()),
                               ("uaf", "use_after_free", ("--guard-depth", "512"))):
        s = Session(workspace, [bug], ("--set", "kmem_panic=1", *options))
        s.expect(b"ready\n")
        s.tell()
        row = s.wait_stopped("fault")
        s.stands(checks, bug, s.pid)
        faults = s.ask("GET", "faults")[1]["items"]
        checks.equal([(f["id"], f["kind"]) for f in faults], [(row["stop"]["fault"], kind)],
                     f"{bug}: the fault it stands at")
        text = workspace.run([kms.KMEMSCOPE, "status"]).stdout.decode()
        checks.that(f"stopped (fault {row['stop']['fault']})" in text, f"{bug}: status", text)
        stats = s.ask("GET", "stats")[1]
        time.sleep(STILL_S)
        later = s.ask("GET", "stats")[1]
        checks.equal([later[k] for k in ("alloc_rate", "free_rate", "allocs")],
                     [stats[k] for k in ("alloc_rate", "free_rate", "allocs")],
                     f"{bug}: rates and totals stand still")
        checks.equal(later["snapshot"]["time_ns"], stats["snapshot"]["time_ns"],
                     f"{bug}: the target's time stands still")
        checks.equal(s.stop()[0], 409, f"{bug}: stop while it stands")
        value = s.set_now("kmem_poison", 1)
        checks.equal(value["effective"], 1, f"{bug}: a variable is taken up while it stands")
        checks.equal(s.set_now("kmem_verify", 1)["effective"], 0, f"{bug}: verify finds no more")
        checks.equal(s.resume(), (200, {"target": 1, "state": "running"}), f"{bug}: continue")
        s.runs(checks, bug)
        checks.equal(s.resume()[0], 409, f"{bug}: continue while it runs")
        s.end(checks, bug)
        checks.equal(workspace.lost(s.trace), 0, f"{bug}: lost events")
        s.trace.unlink()


def request(checks, workspace):
    """POST stop and continue, again and again; signals of that time come when it goes on."""
    s = Session(workspace, ["none"])
    s.expect(b"ready\n")
    for n in range(5):
        checks.equal(s.stop("all" if n == 2 else 1)[0], 200, f"stop {n}")
        s.wait_stopped("request")
        s.stands(checks, f"request {n}", None)
        checks.equal(s.stop()[0], 409, f"stop {n}, again")
        if n == 0:
            os.kill(s.pid, signal.SIGUSR1)
            s.set("kmem_guard_depth", 1000)
            checks.that(s.variable("kmem_guard_depth")["pending"],
                        "nobody answers while all threads are held")
        checks.equal(s.resume("all" if n == 3 else 1)[0], 200, f"continue {n}")
        s.runs(checks, f"request {n}")
    kms.wait_for(lambda: s.variable("kmem_guard_depth")["effective"] == 1024, DEADLINE_S,
                 "what was asked for meanwhile is taken up")
    s.tell()
    s.expect(b"after\n")
    out, _ = s.child.communicate(b"\n", timeout=DEADLINE_S)
    checks.equal((s.child.returncode, out), (STATUS, b"done 1 1\n"), "request: end, with one signal")


def tracer_dies(checks, workspace):
    """kill -9 of the tracer while the target stands: it goes on by itself."""
    for why in ("fault", "request", "start"):
        options = {"fault": ("--set", "kmem_panic=1"), "request": (), "start": ("-d",)}[why]
        s = Session(workspace, ["overflow" if why == "fault" else "none"], options)
        if why != "start":
            s.expect(b"ready\n")
        if why == "fault":
            s.tell()
        if why == "request":
            s.stop()
        s.wait_stopped(why)
        os.kill(s.info["pid"], signal.SIGKILL)
        if why == "start":
            s.expect(b"ready\n")
        s.runs(checks, f"tracer dies, {why}")
        if why != "fault":
            s.tell()
        s.end(checks, f"tracer dies, {why}")
        checks.equal(kms.integrity(s.trace), "ok", f"tracer dies, {why}: the file")
        s.trace.unlink()
        for path in workspace.runtime.glob("kmemscope/*/session.json"):
            path.unlink()  # of the dead one


def target_dies(checks, workspace):
    """kill -9 of the target while it stands: run ends, with its file."""
    for why in ("fault", "request", "start"):
        options = {"fault": ("--set", "kmem_panic=1"), "request": (), "start": ("-d",)}[why]
        s = Session(workspace, ["overflow" if why == "fault" else "none"], options)
        if why != "start":
            s.expect(b"ready\n")
        if why == "fault":
            s.tell()
        if why == "request":
            s.stop()
        s.wait_stopped(why)
        os.kill(s.pid, signal.SIGKILL)
        s.child.communicate(timeout=DEADLINE_S)
        checks.equal(s.child.returncode, 128 + signal.SIGKILL, f"target dies, {why}: status of run")
        row = workspace.items("targets", s.trace)[0]
        checks.equal((row["state"], row["stop"], row["exit_signal"]), ("exited", None, 9),
                     f"target dies, {why}: its row")
        s.trace.unlink()


def start(checks, workspace):
    """run -d, w kmem_guard_depth, c: the manual's own recipe."""
    for depth, frees in ((30000, 20000), (131072, 100000)):
        s = Session(workspace, ["churn", str(frees)], ("-d",), threads=0)
        s.wait_stopped("start")
        checks.equal(s.ask("GET", "stats")[1]["faults"], 0, "start: no fault so far")
        status, guard = s.ask("PATCH", "guard", {"depth": depth})
        checks.that(status in (200, 202), "start: PATCH guard", status)
        value = kms.wait_for(lambda: (v := s.variable("kmem_guard_depth")) and not v["pending"] and v,
                             DEADLINE_S, "the depth is in effect before the program begins")
        checks.equal(value["effective"], -(-depth // 512) * 512, "start: depth in effect")
        guard = kms.wait_for(lambda: (g := s.ask("GET", "guard")[1]) and g["depth"] and g, DEADLINE_S,
                             "the picture has it although nothing moves")
        checks.equal((guard["depth_requested"], guard["depth"], guard["pending"], guard["used"]),
                     (depth, value["effective"], False, 0), "start: GET guard")
        s.tell()
        checks.equal(s.resume()[0], 200, "start: continue")
        s.expect(b"ready\n")
        s.expect(b"after\n")
        s.tell()
        s.child.communicate(timeout=DEADLINE_S)
        checks.equal(s.child.returncode, STATUS, "start: status")
        three_stacks(checks, workspace, s.trace, f"start, {frees} frees")
        s.trace.unlink()


def three_stacks(checks, workspace, trace, title):
    """One use after free, with the stacks of the access, of the allocation and of the free."""
    faults = workspace.items("faults", trace)
    checks.equal([f["kind"] for f in faults], ["use_after_free"], f"{title}: fault")
    for member, function, tag in (("stack", "use", "use"), ("alloc_stack", "make", "make"), ("free_stack", "drop", "drop")):
        checks.that(faults and kms.frame_is(faults[0][member], function, SOURCE, kms.line_of(SOURCE, tag)),
                    f"{title}: {member}", faults and kms.show_stack(faults[0][member]))


def prompt(checks, workspace):
    """The depth from the db prompt: of a program that waits in its middle, and of one before its main function."""
    for depth, frees in ((30000, 20000), (131072, 100000)):
        for options in ((), ("-d",)):
            title = f"prompt, {depth}, {' '.join(options) or 'waiting for input'}"
            s = Session(workspace, ["churn", str(frees)], options, threads=0)
            if options:
                s.wait_stopped("start")
            else:
                s.expect(b"ready\n")
                kms.wait_for(s.targets, DEADLINE_S, "the target is known")
            status, text = s.db(f"w kmem_guard_depth 0t{depth}", *(["c"] if options else []))
            said = f"effective {-(-depth // 512) * 512}" if options else "pending"
            checks.that(status == 0 and said in text, f"{title}: says {said}", (status, text))
            if options:
                s.expect(b"ready\n")
            s.tell()
            s.expect(b"after\n")
            s.tell()
            s.child.communicate(timeout=DEADLINE_S)
            checks.equal(s.child.returncode, STATUS, f"{title}: status")
            three_stacks(checks, workspace, s.trace, title)
            s.trace.unlink()


def guard(checks, workspace):
    """GET /guard after each write and each step: what the manual promises, to the very free."""
    s = Session(workspace, ["steps"], threads=0)
    s.expect(b"ready\n")
    s.tell()
    kms.wait_for(s.targets, DEADLINE_S, "the target is known")

    def step(n):
        s.tell(str(n))
        s.expect(b"ok\n")

    def figures():
        g = s.ask("GET", "guard")[1]
        return tuple(g[k] for k in ("depth_requested", "depth", "pending", "used", "evictions"))

    def shows(expected, title):
        try:
            kms.wait_for(lambda: figures() == expected, DEADLINE_S, title)
        except AssertionError:
            checks.equal(figures(), expected, title)

    status, _ = s.ask("PATCH", "guard", {"depth": 30000})
    checks.equal(status, 202, "guard: taken up by the next call")
    shows((30000, 0, True, 0, 0), "guard: asked for and pending")
    step(1)
    shows((30000, 30208, False, 1, 0), "guard: in effect")
    step(30207)
    shows((30000, 30208, False, 30208, 0), "guard: full after the 30208th free")
    step(1)
    shows((30000, 30208, False, 30208, 1), "guard: evictions begin with the 30209th")
    step(100)
    shows((30000, 30208, False, 30208, 101), "guard: one for each")
    s.set("kmem_guard_depth", 0)
    step(2000)
    shows((0, 0, False, 0, 30309), "guard: drained, 32 at a call")
    s.tell("0")
    s.expect(b"ok\n")
    s.end(checks, "guard")


def ptrace(what, tid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(what, ctypes.c_long(tid), None, None):
        raise OSError(ctypes.get_errno(), f"ptrace {what} of {tid}")


def refused(checks, workspace):
    """Threads that a debugger has: said once; they stand at their next allocator call."""
    log = workspace.path / "log"
    s = Session(workspace, ["overflow"], ("--set", "kmem_panic=1"))
    s.child.kill()
    s.child.wait()
    os.kill(s.pid, signal.SIGKILL)
    kms.wait_for(lambda: not workspace.session(), DEADLINE_S, "the first one is over")
    argv = [kms.KMEMSCOPE, "run", "-o", s.trace, "--log", log, "--set", "kmem_panic=1", "--", STANDER,
            s.counters, THREADS, "overflow"]
    s.child = workspace.start(argv)
    s.info = kms.wait_for(workspace.session, DEADLINE_S, "the session is published")
    s.pid = s.info["program_pid"]
    s.expect(b"ready\n")
    other = max(s.threads())
    ptrace(PTRACE_SEIZE, other)
    try:
        s.tell()
        s.wait_stopped("fault")
        checks.that("t" not in s.threads().values(), "refused: nobody is held", s.threads())
        allocating = [i for i in range(THREADS) if i & 1]

        def stand():
            before = [s.counted()[i] for i in allocating]
            time.sleep(STILL_S)
            return before == [s.counted()[i] for i in allocating]

        kms.wait_for(stand, DEADLINE_S, "those that allocate stand at their next call")
        checks.equal(s.set_now("kmem_poison", 1)["effective"], 1, "refused: it answers")
        checks.equal(s.stop()[0], 409, "refused: it stands")
        checks.equal(s.resume()[0], 200, "refused: continue")
        kms.wait_for(lambda: not stand(), DEADLINE_S, "they go on")
        status, problem = s.stop()
        checks.that(status == 500 and "traces it already" in problem["detail"],
                    "refused: a stop on request says why", problem)
        kms.wait_for(lambda: "t" not in s.threads().values(), DEADLINE_S, "and holds nobody")
    finally:
        ptrace(PTRACE_INTERRUPT, other)
        os.waitpid(other, 0x40000000)  # __WALL
        ptrace(PTRACE_DETACH, other)
    s.end(checks, "refused")
    said = [line for line in log.read_text().splitlines() if "cannot be held" in line]
    checks.equal(len(said), 1, f"refused: said once {said}")


FAMILY = """
import os, sys
def child():
    sys.stdin.readline()
for line in sys.stdin:
    if line == "fork\\n":
        r, w = os.pipe()
        if os.fork() == 0:
            os.close(w)
            os.read(r, 1)
            os._exit(0)
        print("forked", flush=True)
    elif line == "exec\\n":
        os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], sys.argv[1], "again"])
    else:
        break
print("over", flush=True)
"""


def later(checks, workspace):
    """A write without a target is for the processes to come, too: forked ones and new programs."""
    s = Session(workspace, [], argv=[kms.PYTHON, "-c", FAMILY, FAMILY])

    def line(text, answer):
        s.child.stdin.write(text)
        s.child.stdin.flush()
        if answer:
            s.expect(answer)

    def values(target):
        return tuple(s.variable(n, target)["effective"] for n in ("kmem_guard_depth", "kmem_redzone", "kmem_poison"))

    line(b"fork\n", b"forked\n")
    kms.wait_for(lambda: len(s.targets()) == 2, DEADLINE_S, "two targets")
    s.set("kmem_guard_depth", 1000)
    s.set("kmem_redzone", 0, target=1)  # a value of 0 is a value, also the first one
    s.set("kmem_poison", 1, target=1)
    line(b"fork\n", b"forked\n")
    kms.wait_for(lambda: len(s.targets()) == 3, DEADLINE_S, "three targets")
    kms.wait_for(lambda: values(1) == values(3) == (1024, 0, 1), DEADLINE_S,
                 "parent and child have what was asked of the parent")
    checks.equal(values(2)[1:], (1, 0), "the other child has its own")
    line(b"exec\n", None)
    kms.wait_for(lambda: len(s.targets()) == 4, DEADLINE_S, "the new program")
    line(b"fork\n", b"forked\n")
    kms.wait_for(lambda: len(s.targets()) == 5, DEADLINE_S, "its child")
    kms.wait_for(lambda: values(4) == values(5) == (1024, 1, 0), DEADLINE_S,
                 "a new program and its child have what was asked of all")
    line(b"end\n", b"over\n")
    s.child.communicate(timeout=DEADLINE_S)
    checks.equal(s.child.returncode, 0, "later: status")


def clients(checks, workspace):
    """Two clients write at once: the last write wins, none is stuck."""
    s = Session(workspace, ["none"])
    s.expect(b"ready\n")
    for n in range(10):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda d: s.ask("PATCH", "guard", {"depth": d})[0], (512 * (n + 1), 8192 + n)))
        checks.that(set(both) <= {200, 202}, f"clients {n}: answered", both)
        value = kms.wait_for(lambda: (v := s.variable("kmem_guard_depth")) and not v["pending"] and v, DEADLINE_S,
                             "taken up")
        checks.equal(value["effective"], -(-value["requested"] // 512) * 512, f"clients {n}: the last one's")
        checks.that(value["requested"] in (512 * (n + 1), 8192 + n), f"clients {n}: is one of both", value)
    s.tell()
    s.end(checks, "clients")


PARTS = {"fault": fault, "request": request, "tracer_dies": tracer_dies, "target_dies": target_dies, "start": start,
         "prompt": prompt, "guard": guard,
         "refused": refused, "later": later, "clients": clients}


def main():
    checks = kms.Checks()
    for name in sys.argv[1:] or PARTS:
        with kms.Workspace(f"stop-{name}") as workspace:
            try:
                PARTS[name](checks, workspace)
            except AssertionError as error:
                checks.that(False, name, error)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
