#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The daemon: who joins and how, many targets at once, one API over all of them, its end.

usage: daemon.py alone|join|views|many|depth|killed|attached|moved|prompt [SECONDS]      SECONDS: how long each of many works (1)
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

WORKER = kms.BUILD / "test/system/worker"
CHILDREN = kms.BUILD / "test/system/children"
PACED = kms.BUILD / "test/system/paced"
LIBRARY = kms.BUILD / "lib/libkmem_malloc.so"
DEADLINE_S = 60
TARGETS = 10
RATE = 100000
FORKS = 200
FAILED, OURS = 1, 125


class Daemon:
    """A daemon of a workspace of its own."""

    def __init__(self, workspace, *options):
        self.workspace = workspace
        self.folder = workspace.path / "traces"
        self.folder.mkdir(exist_ok=True)
        self.log = workspace.path / "daemon.log"
        self.socket = workspace.runtime / "kmemscope/daemon/api.sock"
        self.process = None
        self.start(*options)

    def start(self, *options):
        with open(self.log, "ab") as log:
            self.process = self.workspace.start(
                [kms.KMEMSCOPE, "daemon", "--dir", self.folder, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        kms.wait_for(self.is_published, DEADLINE_S, f"the daemon is there: {self.said()}")

    def is_published(self):
        session = self.workspace.session()
        return session and session["pid"] == self.process.pid

    def said(self):
        return self.log.read_text()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def joins(self):
        """The environment of a program that joins."""
        return {"LD_PRELOAD": str(LIBRARY), "KMEMSCOPE_SOCKET": str(self.socket)}

    def run_argv(self, *argv, options=("-q",)):
        return [kms.KMEMSCOPE, "run", "--daemon", *options, "--", *argv]

    def ask(self, method, path, body=None):
        connection = kms.UnixConnection(self.socket)
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
        return answer.status, document

    def get(self, path):
        status, document = self.ask("GET", path)
        if status != 200:
            raise AssertionError(f"{path}: {status} {document}")
        return document

    def targets(self):
        items, path = [], "/api/v1/targets?limit=1000"
        while path:
            page = self.get(path)
            items += page["items"]
            after = page["next_cursor"]
            path = after and f"/api/v1/targets?limit=1000&cursor={after}"
        return items

    def target_of(self, pid):
        """The newest target of a process, once it is there."""
        return kms.wait_for(lambda: ([t for t in self.targets() if t["pid"] == pid] or [None])[-1],
                            DEADLINE_S, f"pid {pid} is a target")

    def wait_ended(self):
        """Until no target lives, and every trace is finished."""
        kms.wait_for(lambda: all(t["ended"] for t in self.targets()), DEADLINE_S, "all have ended")
        files = {t["file"] for t in self.targets()}
        kms.wait_for(lambda: not any(os.path.exists(file + ".lock") for file in files), DEADLINE_S,
                     "traces are finished")


def alone(checks):
    """One daemon a user; how it begins and ends; nothing is left."""
    with kms.Workspace("daemon-alone") as workspace:
        none = workspace.run([kms.KMEMSCOPE, "run", "--daemon", "--", "/bin/true"])
        checks.that(none.status == OURS and b"no daemon is running" in none.stderr,
                    "without a daemon", none)
        daemon = Daemon(workspace)
        second = workspace.run([kms.KMEMSCOPE, "daemon"])
        checks.that(second.status == FAILED and
                    f"pid {daemon.process.pid}".encode() in second.stderr,
                    "a second one is refused and names the first", second)
        stats = workspace.json("stats")
        checks.equal((stats["live_bytes"], stats["ring"]["stored"]), (0, 0), "nothing joined yet")
        checks.equal((daemon.get("/api/v1/leaks")["items"], daemon.targets()), ([], []), "lists")
        checks.equal(daemon.ask("GET", "/api/v1/stats?target=1")[0], 404, "no such target")
        checks.equal(daemon.end(signal.SIGINT), 0, f"its end: {daemon.said()}")
        left = list((workspace.runtime / "kmemscope").glob("*"))
        checks.equal(left, [], "folders that are left")
        nowhere = workspace.run([kms.KMEMSCOPE, "daemon", "--dir", workspace.path / "nothing"])
        checks.that(nowhere.status == FAILED and b"nothing" in nowhere.stderr, "no folder", nowhere)
        if os.geteuid() == 0:
            os.chown(workspace.runtime / "kmemscope", kms.NOBODY, kms.NOBODY)
            foreign = workspace.run([kms.KMEMSCOPE, "daemon"])
            checks.that(foreign.status == FAILED and b"XDG_RUNTIME_DIR" in foreign.stderr,
                        "a session folder of somebody else", foreign)


def check_runs(checks, workspace, daemon):
    """`run --daemon` is the program's parent as `run` is."""
    done = workspace.run(daemon.run_argv("/bin/sh", "-c", "cat; echo oops >&2; exit 7"),
                         stdin=b"text")
    checks.equal((done.status, done.stdout, done.stderr), (7, b"text", b"oops\n"), "streams, status")
    done = workspace.run(daemon.run_argv("/bin/sh", "-c", "kill -9 $$"))
    checks.equal(done.status, 128 + signal.SIGKILL, "a signal")
    done = workspace.run(daemon.run_argv("/nonexistent/program"))
    checks.equal(done.status, 127, "no such program")
    trace = workspace.path / "named.kms"
    done = workspace.run(daemon.run_argv(WORKER, 1000, options=("-o", trace)))
    checks.that(done.status == 0 and b"2,0" in done.stderr and str(trace).encode() in done.stderr,
                "summary, and the file's name", done)
    checks.equal(workspace.event_counts(trace).get("alloc"), 1000, "events of a named trace")
    checks.equal([t["exit_code"] for t in daemon.targets() if t["file"] == str(trace)], [0],
                 "the daemon knows how it ended")


def check_tree(checks, workspace, daemon):
    """A tree that was started with KMEMSCOPE_SOCKET is one run, whatever it executes."""
    script = ("for i in 1 2 3; do /bin/echo $i; done; "
              "(/bin/sh -c '/bin/ls /nonexistent; exec /bin/date >/dev/null' &)")
    child = workspace.start(["/bin/sh", "-c", script], env=daemon.joins())
    out, _ = child.communicate(timeout=DEADLINE_S)
    first = daemon.target_of(child.pid)
    daemon.wait_ended()
    names = sorted({t["command"].split()[0] for t in daemon.targets() if t["file"] == first["file"]})
    checks.equal((child.returncode, out), (0, b"1\n2\n3\n"), "tree: as usual")
    checks.equal(names, ["/bin/date", "/bin/echo", "/bin/ls", "/bin/sh"], "tree: one run")
    checks.equal(first["parent"], None, "tree: its first process")


def check_nobody(checks, workspace):
    """Sockets that are none: the program runs, with one line."""
    text = workspace.path / "text"
    text.write_text("no socket")
    cases = {"nothing": "/nonexistent/api.sock", "a file": str(text), "no path": "x", "empty": ""}
    if os.geteuid() == 0:
        foreign = workspace.path / "foreign"
        (foreign / "join").mkdir(parents=True)
        socket.socket(socket.AF_UNIX).bind(str(foreign / "api.sock"))
        kms.give_to_nobody(foreign)
        cases["somebody else's"] = str(foreign / "api.sock")
    for title, path in cases.items():
        done = workspace.run([WORKER, 1000], env={"LD_PRELOAD": str(LIBRARY),
                                                  "KMEMSCOPE_SOCKET": path})
        lines = done.stderr.decode().splitlines()
        checks.equal((done.status, done.stdout), (0, b"done\n"), f"{title}: the program")
        checks.that(len(lines) == (path != "") and all("not traced" in line for line in lines),
                    f"{title}: one line", lines)
        if title == "somebody else's":
            checks.equal(list((foreign / "join").iterdir()), [], "nothing is put there")


def join(checks):
    with kms.Workspace("daemon-join") as workspace:
        check_nobody(checks, workspace)
        daemon = Daemon(workspace)
        check_runs(checks, workspace, daemon)
        check_tree(checks, workspace, daemon)
        checks.equal(daemon.end(), 0, f"end: {daemon.said()}")
        checks.equal({kms.integrity(t) for t in daemon.folder.glob("*.kms")}, {"ok"}, "files")


def half(child):
    if child.stdout.readline() != b"half\n":
        raise AssertionError("the worker does not say half")


def go_on(child):
    child.stdin.write(b"\n")
    child.stdin.flush()


def views(checks):
    """The command line on the daemon, all and one target; the end while targets live."""
    with kms.Workspace("daemon-views") as workspace:
        daemon = Daemon(workspace)
        sizes = (1000, 3000)
        workers = [workspace.start([PACED, 20000, RATE, size, "hold"], env=daemon.joins())
                   for size in sizes]
        for worker in workers:
            half(worker)
        ids = [daemon.target_of(worker.pid)["id"] for worker in workers]
        kms.wait_for(lambda: workspace.json("stats")["live_bytes"] == sum(sizes), DEADLINE_S,
                     "both live sets are seen")
        all_ = workspace.json("leaks", "daemon")
        checks.equal((all_["total_bytes"], {leak["target"] for leak in all_["items"]}),
                     (sum(sizes), set(ids)), "leaks of all")
        checks.that(all(leak["stack"] for leak in all_["items"]), "stacks of all", all_)
        for i, size in zip(ids, sizes):
            one = workspace.json("leaks", "--target", str(i), "daemon")
            checks.equal((one["total_bytes"], len(one["items"])), (size, 1), f"leaks of {i}")
            caches = [c for c in workspace.items("caches", "--target", str(i), "daemon")
                      if c["objects_live"]]
            checks.equal([c["live_bytes"] for c in caches], [size], f"caches of {i}")
            events = workspace.json("events", "--target", str(i), "--limit", "5", "daemon")["items"]
            checks.equal({(e["target"], e["kind"]) for e in events if e["kind"] == "alloc"},
                         {(i, "alloc")}, f"events of {i}")
        lines = workspace.run([kms.KMEMSCOPE, "events", "--kind", "alloc", "--limit", "20000",
                               "--format", "ndjson", "daemon"]).stdout.splitlines()
        seqs = [int(json.loads(line)["seq"]) for line in lines]
        checks.equal((seqs, len(seqs)), (sorted(set(seqs)), sum(20000 // 4 + 1 for _ in sizes)),
                     "events of all: each once, in order")
        checks.equal(daemon.end(), 0, f"end: {daemon.said()}")
        for worker, size in zip(workers, sizes):
            go_on(worker)
            out, err = worker.communicate(timeout=DEADLINE_S)
            checks.equal((worker.returncode, out, err), (0, b"10002 10000\n", b""),
                         "the program goes on")
            trace = daemon.folder / f"kmemscope.paced.{worker.pid}.kms"
            stats = workspace.json("stats", trace)
            checks.equal((stats["snapshot"]["finished"], stats["live_bytes"], stats["ring"]["lost"]),
                         (True, size, 0), "its trace is finished as of then")


def finish_workers(workers):
    """What each counted itself."""
    counts = {}
    for pid, worker in workers.items():
        out, err = worker.communicate(timeout=10 * DEADLINE_S)
        if worker.returncode:
            raise AssertionError(f"worker {pid}: {worker.returncode} {err}")
        counts[pid] = tuple(map(int, out.split()))
    return counts


def many(checks, seconds):
    """Ten targets with 100,000 events a second, one that dies, one that forks: nothing mixed up."""
    events = int(RATE * seconds)
    with kms.Workspace("daemon-many") as workspace:
        daemon = Daemon(workspace)
        workers, sizes = {}, {}
        victim = workspace.start([PACED, 10 * events, RATE, 7], env=daemon.joins())
        forker = workspace.start([CHILDREN, FORKS], env=daemon.joins())
        for i in range(TARGETS):
            child = workspace.start([PACED, events, RATE, 100 + i], env=daemon.joins())
            workers[child.pid], sizes[child.pid] = child, 100 + i
        daemon.target_of(victim.pid)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(DEADLINE_S)
        counts = finish_workers(workers)
        checks.equal(forker.communicate(timeout=DEADLINE_S)[0], b"done\n", "the one that forks")
        daemon.wait_ended()
        targets = daemon.targets()
        runs = {t["file"] for t in targets}
        checks.equal((len(runs), len(targets)), (TARGETS + 2, TARGETS + 2 + FORKS), "runs, targets")
        stats = daemon.get("/api/v1/stats")
        checks.equal(stats["ring"]["lost"], 0, "lost")
        sums = {"allocs": 0, "frees": 0}
        for pid, (allocs, frees) in counts.items():
            target = [t for t in targets if t["pid"] == pid]
            one = daemon.get(f"/api/v1/stats?target={target[0]['id']}")
            checks.equal((len(target), one["allocs"], one["frees"]), (1, allocs, frees), f"pid {pid}")
            trace = target[0]["file"]
            checks.equal(workspace.sql(trace, "SELECT count(*), min(size), max(size), sum(target) "
                                              "FROM events WHERE kind = 'alloc'"),
                         [[str(allocs), str(sizes[pid]), str(sizes[pid]), str(allocs)]],
                         f"pid {pid}: its file has its events and no others")
        family = [t for t in targets if t["file"] == daemon.target_of(forker.pid)["file"]]
        checks.equal((len(family), {t["parent"] for t in family}), (
            FORKS + 1, {None, daemon.target_of(forker.pid)["id"]}), "children are in one run")
        for target in targets:
            one = daemon.get(f"/api/v1/stats?target={target['id']}")
            sums = {name: sums[name] + one[name] for name in sums}
        checks.equal({name: stats[name] for name in sums}, sums, "sums are sums over all targets")
        checks.equal(daemon.end(), 0, f"end: {daemon.said()}")


def depth(checks):
    """Two clients set the depth at the same time, and again and again: each is in force in the end."""
    with kms.Workspace("daemon-depth") as workspace:
        daemon = Daemon(workspace)
        workers = [workspace.start([PACED, 1000, RATE, 64, "hold"], env=daemon.joins())
                   for _ in range(2)]
        for worker in workers:
            half(worker)
        ids = [daemon.target_of(worker.pid)["id"] for worker in workers]
        statuses = []

        def client(value):
            for _ in range(20):
                statuses.append(daemon.ask("PATCH", "/api/v1/guard", {"depth": value})[0])

        threads = [threading.Thread(target=client, args=(value,)) for value in (512, 1024)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        checks.equal((len(statuses), set(statuses) <= {200, 202}), (40, True), f"{statuses}")
        checks.equal(statuses[-1], 202, "nobody has taken it up: they do not allocate")
        for worker in workers:
            go_on(worker)
        for worker in workers:
            worker.stdout.readline()

        def settled():
            rows = {g["target"]: g for g in daemon.get("/api/v1/guard")["items"]}
            return all(rows[i]["depth"] in (512, 1024) and not rows[i]["pending"] for i in ids)

        kms.wait_for(settled, DEADLINE_S, "one of the two is in force in each")
        daemon.end()


def depths(daemon, ids):
    """Requested, in force and pending of each target, as the API says it."""
    rows = {g["target"]: g for g in daemon.get("/api/v1/guard")["items"]}
    return [i in rows and (rows[i]["depth_requested"], rows[i]["depth"], rows[i]["pending"])
            for i in ids]


def read_until(child, words):
    """What it says on stderr up to a line with these words."""
    said = b""
    while words not in said:
        line = child.stderr.readline()
        if not line:
            raise AssertionError(f"it does not say {words}: {said}")
        said += line
    return said


def child_of(front):
    return int(pathlib.Path(f"/proc/{front.pid}/task/{front.pid}/children").read_text())


def check_summary(checks, text, traces):
    """The summary is of the last trace, says so, and names the one before."""
    checks.that("since the last daemon took over" in text and "none lost" in text, "whose figures", text)
    named = re.search(r" is in\n +(\S+)\n  trace +(\S+) ", text)
    checks.equal([os.path.basename(name) for name in (named.groups() if named else ())],
                 [os.path.basename(trace) for trace in traces], f"which traces: {text}")
    checks.that("ended with status 0" in text, "how it ended", text)


def killed(checks):
    """The daemon dies between a request and its answer: nothing is stuck, the next one goes on."""
    with kms.Workspace("daemon-killed") as workspace:
        daemon = Daemon(workspace)
        argv = [PACED, 20000, RATE, 1000, "hold"]
        workers = [workspace.start(argv, env=daemon.joins()), workspace.start(argv, env=daemon.joins()),
                   workspace.start(daemon.run_argv(*argv, options=()))]
        front = workers[-1]
        for worker in workers:
            half(worker)
        kms.wait_for(lambda: len(daemon.targets()) == len(workers), DEADLINE_S, "all have joined")
        pids = [t["pid"] for t in daemon.targets()]
        files = {t["pid"]: pathlib.Path(t["file"]) for t in daemon.targets()}
        checks.equal(daemon.ask("PATCH", "/api/v1/guard", {"depth": 512})[0], 202, "request")
        daemon.end(signal.SIGKILL)
        checks.that(all(worker.poll() is None for worker in workers), "the programs go on")
        checks.that(b"daemon lost" in read_until(front, b"lost"), "the front says so")
        for pid, file in files.items():
            said = workspace.json("stats", file)["snapshot"]["tracer_lost"] or ""
            checks.that("was lost" in said, f"{file.name} says that its tracer was lost", said)
        alone_ = workspace.start([PACED, 20000, RATE, 1000, "hold"], env=daemon.joins())
        half(alone_)

        daemon.start()
        kms.wait_for(lambda: len(daemon.targets()) == len(workers) + 1, DEADLINE_S,
                     f"the next daemon has all of them, and one that began without: {daemon.said()}")
        targets = {t["pid"]: t for t in daemon.targets()}
        checks.equal(set(targets), {*pids, alone_.pid}, "the same processes")
        ids = [targets[pid]["id"] for pid in pids]
        kms.wait_for(lambda: depths(daemon, ids) == [(512, 0, True)] * len(ids), DEADLINE_S,
                     f"what was asked for is still pending: {daemon.said()}")
        for pid in pids:
            old, new = files[pid], pathlib.Path(targets[pid]["file"])
            checks.equal(new.name, old.name.replace(".kms", ".2.kms"), "name of the new file")
            checks.equal(workspace.sql(new, "SELECT value FROM meta WHERE key = 'continues'"),
                         [[str(old)]], "it says what it continues")
        kms.wait_for(lambda: {daemon.get(f"/api/v1/stats?target={t['id']}")["live_bytes"]
                              for t in daemon.targets()} == {1000}, DEADLINE_S,
                     "what each has is known, though none of them has called since")
        said = read_until(front, b"there again")
        traces = [str(file) for file in (files[child_of(front)], targets[child_of(front)]["file"])]
        checks.that(all(path.encode() in said for path in traces), "the front follows its program", said)
        for worker in [*workers, alone_]:
            go_on(worker)
        for worker in [*workers, alone_]:
            out, err = worker.communicate(timeout=DEADLINE_S)
            checks.equal((worker.returncode, out), (0, b"10002 10000\n"), f"end of a program: {err}")
            if worker is front:
                check_summary(checks, err.decode(), traces)
        daemon.wait_ended()
        checks.equal([t["exit_code"] for t in daemon.targets() if t["file"] == traces[1]], [0],
                     "the daemon knows how the front's program ended")
        for pid in pids:
            new = targets[pid]["file"]
            stats = workspace.json("stats", new)
            checks.equal((stats["snapshot"]["finished"], stats["ring"]["lost"], stats["faults"]),
                         (True, 0, 0), f"{new} is complete")
            guard = workspace.json("guard", new)
            checks.equal((guard["depth"], guard["pending"]), (512, False), "the request was taken up")
            counts = workspace.event_counts(new)
            checks.that(5001 <= counts["alloc"] < 10002 and
                        counts["alloc"] - counts["free"] in (1, 2),
                        "events from where the first one stopped", counts)
        orphan = workspace.start(daemon.run_argv(*argv, options=()))
        half(orphan)
        trace = daemon.target_of(child_of(orphan))["file"]
        kms.wait_for(lambda: workspace.json("stats", trace)["ring"]["stored"], DEADLINE_S, "it is stored")
        daemon.end(signal.SIGKILL)
        read_until(orphan, b"daemon lost")
        go_on(orphan)
        text = orphan.communicate(timeout=DEADLINE_S)[1].decode()
        checks.that("until the tracer was" in text and "traces/kmemscope.paced" in text,
                    "no other daemon comes: what is not in the trace is said", text)


def attached(checks):
    """A process that runs already is taken by the daemon, let go, and taken again."""
    with kms.Workspace("daemon-attached") as workspace:
        argv = [kms.KMEMSCOPE, "attach", "--daemon"]
        none = workspace.run([*argv, "pid:1"])
        checks.that(none.status == FAILED and b"no daemon is running" in none.stderr, "none", none)
        daemon = Daemon(workspace)
        worker = workspace.start([PACED, 400000, RATE, 1000, "hold"],
                                 env={"LD_PRELOAD": str(LIBRARY)})
        status = workspace.run([kms.KMEMSCOPE, "status"]).stdout.decode().splitlines()
        checks.equal((status[1].split()[:4], status[1].endswith("kmemscope daemon")),
                     (["daemon", str(daemon.process.pid), "running", "0"], True), "status without targets")
        done = workspace.run([*argv, f"pid:{worker.pid}"])
        checks.that(done.status == 0 and b"target 1" in done.stderr, "it is attached", done)
        target = daemon.target_of(worker.pid)
        listed = json.loads(workspace.run([kms.KMEMSCOPE, "attach", "--list", "--json"]).stdout)["items"]
        checks.equal([i["session"] for i in listed if i["pid"] == worker.pid], ["daemon"], "whose it is")
        status = workspace.run([kms.KMEMSCOPE, "status"]).stdout.decode().splitlines()
        checks.that(" 1 " in status[1] and target["file"] in status[1] and len(status) == 2, "status", status)
        again = workspace.run([*argv, f"pid:{worker.pid}"])
        checks.that(again.status == FAILED and b"traced already" in again.stderr, "twice", again)
        refused = {"pid:0": 400, f"pid:{2 ** 22 + 1}": 404, "pid:-1": 400, "7x": 400,
                   f"pid:{os.getpid()}": 409}
        for what, status in refused.items():
            answer = daemon.ask("POST", "/api/v1/targets", {"attach": what})
            checks.equal(answer[0], status, f"{what}: {answer[1]}")
        checks.equal(len(daemon.targets()), 1, "what was refused left nothing")
        tried = [row for row in daemon.ask("GET", "/api/v1/audit?limit=100")[1]["items"] if row["variable"] == "attach"]
        checks.equal(sorted(row["value"] for row in tried if row["result"] != "ok"),
                     sorted([worker.pid, 0, 2 ** 22 + 1, 1, 7, os.getpid()]), "but is in the audit")
        checks.that(all(row["who"].startswith("uid ") for row in tried) and
                    any("traced already" in row["result"] for row in tried), "with who tried and why not", tried)
        checks.equal(daemon.ask("POST", f"/api/v1/targets/{target['id']}/detach")[0], 202, "detach")
        kms.wait_for(lambda: daemon.targets()[0]["state"] not in ("running", "stopped"), DEADLINE_S,
                     "it has left")
        daemon.wait_ended()
        checks.equal(worker.poll(), None, "it lives")
        rows = workspace.sql(target["file"], "SELECT who, variable, value, result FROM audit ORDER BY id")
        checks.equal([(row[1:], row[0].startswith("uid ")) for row in (rows[0], rows[-1])],
                     [(["attach", str(worker.pid), "ok"], True), (["detach", "0", "ok"], True)],
                     "who attached and who detached is in the audit")
        checks.that(workspace.json("stats", target["file"])["snapshot"]["finished"], "its trace")
        half(worker)
        done = workspace.run([*argv, f"pid:{worker.pid}"])
        checks.that(done.status == 0 and b"next allocation" in done.stderr, "an idle one", done)
        # who asks again would take the place of what it has been asked
        again = workspace.run([*argv, f"pid:{worker.pid}"])
        checks.that(again.status == FAILED and b"asked already" in again.stderr, "idle, twice", again)
        again = workspace.run([kms.KMEMSCOPE, "attach", f"pid:{worker.pid}"])
        checks.that(again.status == FAILED and b"by another tracer already" in again.stderr,
                    "idle, by another tracer", again)
        done = workspace.run([kms.KMEMSCOPE, "db", "-e", "w kmem_guard_depth 0t1000", "daemon"])
        checks.equal(done.status, 0, f"a value for all while it is idle: {done!r} {done.stdout}")
        go_on(worker)
        second = kms.wait_for(lambda: [t for t in daemon.targets() if t["id"] != target["id"]],
                              DEADLINE_S, "it is there again")[0]
        status = workspace.run([kms.KMEMSCOPE, "status"]).stdout.decode()
        checks.that(f"{daemon.folder}: 2 files" in status, "status with two runs", status)
        checks.equal((second["pid"], second["file"]),
                     (worker.pid, target["file"].replace(".kms", ".2.kms")), "a file of its own")
        checks.that(depths(daemon, [second["id"]])[0][0] == 1000, "what was set while it was idle")
        checks.equal(worker.communicate(timeout=DEADLINE_S)[0], b"200002 200000\n", "its end")
        daemon.wait_ended()
        daemon.end()


def check_stranger(checks, workspace, daemon):
    """The same of one that is to have a run of its own."""
    environment = " ".join(f"{name}={value}" for name, value in daemon.joins().items())
    child = workspace.start(["sh", "-c", f"read go; {environment} exec {PACED} 20000 {RATE} 1000 hold"])
    folder = daemon.socket.with_name("join").resolve()
    taken = [folder / f"paced.{child.pid}{end}" for end in ("", *(f".{i}" for i in range(2, 1000)))]
    for path in taken:
        path.touch()
    go_on(child)
    half(child)
    kms.wait_for(lambda: f"pid {child.pid} is not traced yet" in daemon.said(), DEADLINE_S,
                 "that it has no run yet is said")
    checks.that(all(t["pid"] != child.pid for t in daemon.targets()), "it is no target")
    for path in taken:
        path.unlink()
    file = daemon.target_of(child.pid)["file"]
    checks.equal(daemon.said().count(f"pid {child.pid} is not traced yet"), 1, "it is said once")
    go_on(child)
    checks.equal(child.communicate(timeout=DEADLINE_S)[0], b"10002 10000\n", "its end")
    daemon.wait_ended()
    checks.equal(workspace.event_counts(file).get("alloc", 0) > 0, True, "its events")


def moved(checks):
    """A region that cannot be moved to its run yet stays, and is moved as soon as it can be."""
    with kms.Workspace("daemon-moved") as workspace:
        daemon = Daemon(workspace)
        shell = workspace.start(["sh", "-c", f"read go; {PACED} 20000 {RATE} 1000 hold; true"],
                                env=daemon.joins())
        daemon.target_of(shell.pid)
        region = kms.wait_for(lambda: re.search(r"(/\S+)/img-\S+\.kmr$",
                                                pathlib.Path(f"/proc/{shell.pid}/maps").read_text(),
                                                re.MULTILINE), DEADLINE_S, "it has a region")
        folder = pathlib.Path(region[1])
        away = folder.with_name("away")
        folder.rename(away)
        folder.touch()
        go_on(shell)
        half(shell)
        kms.wait_for(lambda: "is not traced yet" in daemon.said(), DEADLINE_S,
                     "that it cannot be moved is said")
        checks.equal([t["pid"] for t in daemon.targets()][0], shell.pid, "the shell alone")
        folder.unlink()
        away.rename(folder)
        paced = kms.wait_for(lambda: [t for t in daemon.targets() if "paced" in t["name"]],
                             DEADLINE_S, f"it is there after all: {daemon.said()}")[0]
        checks.equal(paced["file"], daemon.targets()[0]["file"], "in the run of its parent")
        checks.equal(daemon.said().count("is not traced yet"), 1, "it is said once")
        go_on(shell)
        checks.equal(shell.wait(DEADLINE_S), 0, "its end")
        daemon.wait_ended()
        check_stranger(checks, workspace, daemon)
        daemon.end()


def prompt(checks):
    """`run -d --daemon`, the prompt and the screen on the daemon; a write is for those to come, too."""
    with kms.Workspace("daemon-prompt") as workspace:
        daemon = Daemon(workspace)
        argv = [PACED, 20000, RATE, 64, "hold"]
        first = workspace.start(daemon.run_argv(*argv, options=("-q", "-d")))
        target = kms.wait_for(lambda: (daemon.targets() or [None])[0], DEADLINE_S, "it is there")
        kms.wait_for(lambda: daemon.targets()[0]["state"] == "stopped", DEADLINE_S, "it stands")
        done = workspace.run([kms.KMEMSCOPE, "db", "-e", "w kmem_guard_depth 0t1000", "-e", "c",
                              "daemon"])
        checks.equal(done.status, 0, f"the prompt: {done!r} {done.stdout}")
        half(first)
        kms.wait_for(lambda: depths(daemon, [target["id"]]) == [(1000, 1024, False)], DEADLINE_S,
                     "the depth is in force")
        later = workspace.start(argv, env=daemon.joins())
        half(later)
        i = daemon.target_of(later.pid)["id"]
        kms.wait_for(lambda: depths(daemon, [i]) in ([(1000, 1024, False)], [(1000, 0, True)]),
                     DEADLINE_S, "one that came later was asked for it, too")
        go_on(later)
        later.communicate(timeout=DEADLINE_S)
        kms.wait_for(lambda: depths(daemon, [i]) == [(1000, 1024, False)], DEADLINE_S,
                     "and has taken it up")
        screen = workspace.run([kms.KMEMSCOPE, "top", "--once", "--size", "80x24", "daemon"])
        checks.that(screen.status == 0 and b"malloc-" in screen.stdout, "the screen",
                    screen.stdout)
        go_on(first)
        checks.equal(first.wait(DEADLINE_S), 0, "its end")
        daemon.wait_ended()
        daemon.end()


TESTS = {"alone": alone, "prompt": prompt, "attached": attached, "killed": killed, "moved": moved, "join": join, "views": views, "depth": depth}


def main():
    checks = kms.Checks()
    name = sys.argv[1]
    if name == "many":
        many(checks, float(sys.argv[2]) if len(sys.argv) > 2 else 1)
    else:
        TESTS[name](checks)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
