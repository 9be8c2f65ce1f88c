#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A program that waits, asked through the API: blocks of a leak, what addresses are, who had them, slabs, marks, the guard
FIFO, the audit. Then the same questions to its trace: the same answers.

usage: views.py answers|guard|load
"""

import base64
import json
import pathlib
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

OBEY = kms.BUILD / "test/system/obey"
DEADLINE_S = 60
LEAKS, DROPS, LEAK_BYTES = 600, 100, 48
LARGE, LARGE_BYTES = 3, 300000
CYCLES = 20
MORE, MORE_BYTES = 100, 500


class Run:
    """obey under kmemscope run, and its session."""

    def __init__(self, workspace, *options):
        self.workspace = workspace
        self.trace = workspace.path / "views.kms"
        self.child = workspace.start(workspace.traced_argv([OBEY], self.trace, options))
        session = kms.wait_for(workspace.session, DEADLINE_S, "a session")
        self.socket = next(workspace.runtime.glob("kmemscope/*/api.sock"))
        self.pid = session["pid"]

    def do(self, line):
        """Words that the program answers."""
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().decode().split()

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

    def get_when(self, path, condition):
        """The document once it is so: a picture may be 100 ms old."""
        found = []

        def look():
            found[:] = [self.get(path)]
            return condition(found[0])

        kms.wait_for(look, DEADLINE_S, f"{path} is so")
        return found[0]

    def all_items(self, path):
        """Every row of a list, by its pages."""
        items, join = [], "&" if "?" in path else "?"
        page = self.get(path)
        while True:
            items += page["items"]
            if not page.get("next_cursor"):
                return items
            page = self.get(f"{path}{join}cursor={page['next_cursor']}")

    def end(self):
        self.child.stdin.close()
        return self.child.wait(DEADLINE_S)


def file_ask(run, path):
    """The same question to the trace, answered by the same route table."""
    done = run.workspace.run([kms.BUILD / "test/file_tool", run.trace, path])
    if done.status != 0:
        raise AssertionError(f"file_tool {path}: {done!r}")
    return json.loads(done.stdout)


def hexes(words):
    return sorted(int(word, 16) for word in words)


def addresses(rows):
    return sorted(int(row["address"], 16) for row in rows)


def live_bits(slab):
    bits = base64.b64decode(slab["bitmap"])
    return sum(bin(byte).count("1") for byte in bits)


def check_blocks(checks, run, kept, large):
    """One leak of two caches: the stack of both sizes is the same."""
    leak = next(row for row in run.get("/api/v1/leaks?limit=1000")["items"] if kms.frame_of(row["stack"], "leaky")
                and row["count"] == len(kept) + len(large))
    small, = (row["cache"] for row in leak["caches"] if row["cache"] != leak["cache"])
    for limit in (7, 1000):
        rows = run.all_items(f"/api/v1/blocks?site={leak['stack_id']}&limit={limit}")
        checks.that(addresses(rows) == hexes(kept + large), f"blocks of the leak, {limit} a page", len(rows))
        rows = run.all_items(f"/api/v1/blocks?site={leak['stack_id']}&cache={small}&limit={limit}")
        checks.that(addresses(rows) == hexes(kept), f"those of one cache, {limit} a page", len(rows))
    checks.that(all(r["size"] == LEAK_BYTES and r["state"] == "live" and r["thread"] == run.target["pid"] and r["age_us"] >= 0
                    and r["cache"] == small for r in rows), "their members", rows[:2])
    checks.equal(len(run.all_items(f"/api/v1/blocks?min_bytes={LARGE_BYTES}")), LARGE, "large blocks by size")
    return leak, small


def check_whatis(checks, run, live, dropped, large):
    row = run.get(f"/api/v1/whatis/{int(live, 16) + 5:x}")["items"][0]
    checks.equal((row["state"], row["address"], row["offset"], row["size"]), ("live", live, 5, LEAK_BYTES), "a live block")
    checks.that(kms.frame_of(row["alloc_stack"], "leaky") and not row["free_stack"], "its stack", row["alloc_stack"])
    row = run.get(f"/api/v1/whatis/{dropped}")["items"][0]
    checks.equal((row["state"], row["address"], row["size"]), ("free", dropped, LEAK_BYTES), "a freed block")
    checks.that(kms.frame_of(row["alloc_stack"], "leaky") and kms.frame_of(row["free_stack"], "drop") and
                row["free_time_ns"] > row["time_ns"] > 0, "both of its stacks and times", row)
    row = run.get(f"/api/v1/whatis/{int(large, 16) + 200000:x}")["items"][0]
    checks.equal((row["address"], row["offset"], row["size"]), (large, 200000, LARGE_BYTES), "the middle of a large block")
    checks.equal(run.get("/api/v1/whatis/0x10")["items"], [], "an address that nobody had")


def check_history(checks, run, cycled):
    document = run.get(f"/api/v1/history/{int(cycled, 16) + 3:x}?limit=1000")
    rows = document["items"]
    times = [row["alloc_time_ns"] for row in rows]
    checks.equal((document["address"], len(rows) >= CYCLES), (cycled, True), f"owners of {cycled}: {len(rows)}")
    checks.that(times == sorted(times, reverse=True) and all(row["free_time_ns"] for row in rows), "newest first, all freed")
    checks.that(all(kms.frame_of(row["alloc_stack"], "pairs") and kms.frame_of(row["free_stack"], "pairs")
                    for row in rows[:CYCLES]), "both stacks of each")


def check_slabs(checks, run, cache):
    figures = run.get(f"/api/v1/caches/{urllib.parse.quote(cache)}")
    slabs = run.all_items(f"/api/v1/caches/{urllib.parse.quote(cache)}/slabs?limit=1")
    checks.equal((sum(s["live"] for s in slabs), sum(s["count"] for s in slabs), len(slabs), sum(s["pages"] for s in slabs)),
                 (figures["objects_live"] - figures["objects_guarded"], figures["objects_total"] - figures["objects_guarded"],
                  figures["slabs"], figures["pages"]), f"slabs of {cache}")
    checks.that(all(live_bits(s) == s["live"] and s["live"] <= s["count"] for s in slabs), "their bitmaps", slabs[:2])


def check_marks(checks, run):
    """Two marks with 100 blocks in between; what a mark remembers is not what comes later."""
    for name in ("one", "two"):
        status, mark = run.ask("POST", "/api/v1/marks", {"name": name})
        checks.equal((status, mark["name"]), (201, name), "a mark")
        if name == "one":
            more = run.do(f"leak {MORE} {MORE_BYTES}")
    run.do(f"leak 1 {MORE_BYTES}")
    run.get_when("/api/v1/diff?a=2", lambda d: d["total_count"])
    checks.equal([m["name"] for m in run.get("/api/v1/marks")["items"]], ["one", "two"], "the list of marks")
    diff = run.get("/api/v1/diff?a=one&b=two")
    checks.equal([(row["bytes"], row["count"], bool(kms.frame_of(row["stack"], "leaky"))) for row in diff["items"]],
                 [(MORE * MORE_BYTES, MORE, True)], "gained between the marks")
    checks.equal((diff["total_bytes"], diff["total_count"]), (MORE * MORE_BYTES, MORE), "in all")
    back = run.get("/api/v1/diff?a=two&b=1")["items"]
    checks.equal([(row["bytes"], row["count"]) for row in back], [(-MORE * MORE_BYTES, -MORE)], "the other way round")
    now = run.get("/api/v1/diff?a=2")
    checks.equal((now["total_bytes"], now["total_count"], now["b"]), (MORE_BYTES, 1, None), "from a mark to now")
    first = run.get("/api/v1/diff?b=one")
    begin = first["total_bytes"]
    leaks = [row for row in first["items"] if kms.frame_of(row["stack"], "leaky")]
    checks.equal([(len(row["caches"]), sum(c["bytes"] for c in row["caches"]) == row["bytes"],
                   sum(c["count"] for c in row["caches"]) == row["count"]) for row in leaks], [(2, True, True)],
                 "one leak of two sizes is one row of two caches")
    checks.equal(begin + MORE * MORE_BYTES + MORE_BYTES, run.get("/api/v1/stats")["live_bytes"], "from the begin to a mark")
    return more


def check_fork(checks, run, live):
    """An address in several targets answers with the list; a child's blocks are its own."""
    pid, *blocks = run.do("fork")
    child = kms.wait_for(lambda: next((t for t in run.get("/api/v1/targets")["items"] if t["pid"] == int(pid)), None),
                         DEADLINE_S, "the child is a target")
    rows = run.get(f"/api/v1/whatis/{live}")["items"]
    checks.equal([(r["target"], r["state"], r["address"]) for r in rows], [(1, "live", live), (child["id"], "live", live)],
                 "an address of parent and child")
    own = run.all_items(f"/api/v1/blocks?target={child['id']}")
    checks.that(set(hexes(blocks)) <= set(addresses(own)) and int(live, 16) not in addresses(own), "the child's own blocks",
                [r["address"] for r in own])


def without_ages(document):
    """A document as it must be whenever it is asked for. Times of allocations are good to a tick: they are interpolated
    between the stamps that were there."""
    if isinstance(document, list):
        return [without_ages(part) for part in document]
    if isinstance(document, dict):
        return {k: without_ages(v) for k, v in document.items() if k not in ("snapshot", "age_us", "next_cursor")
                and not (k == "time_ns" and "address" in document)}
    return document


def first_difference(one, other, path=""):
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next((d for k in one if (d := first_difference(one[k], other[k], f"{path}/{k}"))), "")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next((d for i, part in enumerate(one) if (d := first_difference(part, other[i], f"{path}/{i}"))), "")
    return "" if one == other else f"{path}: {one!r:.200} {other!r:.200}"


def answers(checks):
    with kms.Workspace("views") as workspace:
        run = Run(workspace)
        kept = run.do(f"leak {LEAKS} {LEAK_BYTES}")
        large = run.do(f"leak {LARGE} {LARGE_BYTES}")
        dropped = run.do(f"drop {DROPS}")
        cycled = run.do(f"cycle {CYCLES} 700")[0]
        run.target = run.get("/api/v1/targets")["items"][0]
        kept = kept[DROPS:]
        checks.that(set(kept).isdisjoint(dropped), "the program's own books")
        leak, small = check_blocks(checks, run, kept, large)
        check_whatis(checks, run, kept[0], dropped[5], large[1])
        check_history(checks, run, cycled)
        check_slabs(checks, run, small)
        check_slabs(checks, run, run.get(f"/api/v1/whatis/{large[0]}")["items"][0]["cache"])
        check_marks(checks, run)
        check_fork(checks, run, kept[0])
        writes = run.get("/api/v1/audit")["items"]
        checks.equal([(w["variable"], w["value"], w["result"]) for w in writes], [("mark", 2, "ok"), ("mark", 1, "ok")], "audit")
        checks.that(all(w["who"] for w in writes), "who", writes)
        line = run.get("/api/v1/timeline?series=live_bytes,guard_depth")
        checks.equal(line["series"]["live_bytes"]["last"][-1], run.get("/api/v1/stats")["live_bytes"], "the line ends now")
        questions = [f"blocks?site={leak['stack_id']}&limit=1000", "blocks?limit=5&target=1", f"whatis/{kept[0]}", f"whatis/{dropped[5]}",
                     f"whatis/{int(large[1], 16) + 7:x}", f"history/{cycled}?limit=1000", f"caches/{small}/slabs",
                     "caches/malloc-large/slabs", "marks", "diff?a=one&b=two", "diff?a=one", "diff", "audit"]
        live = {q: run.get("/api/v1/" + q) for q in questions}
        checks.equal(run.end(), 0, "the program's end")
        for question in questions:
            seen = file_ask(run, "/api/v1/" + question)
            checks.that(without_ages(seen) == without_ages(live[question]), f"{question}: file and live session",
                        first_difference(without_ages(seen), without_ages(live[question])))
        checks.equal(kms.integrity(run.trace), "ok", "the trace")
        checks.equal(workspace.event_counts(run.trace, "kind = 'mark'"), {"mark": 2}, "mark records of the program")
        checks.equal(workspace.json("diff", "one", "two", run.trace)["total_bytes"], MORE * MORE_BYTES, "kmemscope diff")
        checks.equal(workspace.json("whatis", kept[0], run.trace)["items"][0]["address"], kept[0], "kmemscope whatis")
        checks.equal(len(workspace.json("history", cycled, run.trace)["items"]), len(live[f"history/{cycled}?limit=1000"]["items"]),
                     "kmemscope history")
        row = workspace.json("whatis", dropped[5], run.trace)["items"][0]
        checks.that(kms.frame_of(row["free_stack"], "drop"), "a free's stack has names in the trace, too", row["free_stack"])


def guard(checks):
    """The guard's numbers, one request and one free at a time (DESIGN 4: rounded up to 512, oldest first, 32 a call)."""
    with kms.Workspace("views-guard") as workspace:
        run = Run(workspace)
        run.do("pairs 10 32")
        status, document = run.ask("PATCH", "/api/v1/guard", {"depth": 30000})
        checks.equal((status, document["depth_requested"], document["pending"]), (202, 30000, True), "asked for, not taken up")
        run.do("pairs 1 32")
        seen = run.get_when("/api/v1/guard", lambda g: g["depth"])
        checks.equal((seen["depth_requested"], seen["depth"], seen["pending"]), (30000, 30208, False), "taken up at the next call")
        run.do(f"pairs {30208 - seen['used']} 32")
        seen = run.get_when("/api/v1/guard", lambda g: g["used"] >= 30208)
        checks.equal((seen["used"], seen["evictions"]), (30208, 0), "full")
        checks.that(seen["oldest_age_us"] > 0 and seen["window_frees"] >= 30208 - 1, "how far back it catches", seen)
        run.do("pairs 1 32")
        seen = run.get_when("/api/v1/guard", lambda g: g["evictions"])
        checks.equal((seen["used"], seen["evictions"], seen["limited_by"]), (30208, 1, "depth"), "the 30209th free evicts")
        status, document = run.ask("PATCH", "/api/v1/guard", {"depth": 0, "sample": 1})
        checks.equal((status, document["depth_requested"], document["pending"]), (202, 0, True), "off: asked for")
        run.do(f"pairs {30208 // 32 + 2} 32")
        seen = run.get_when("/api/v1/guard", lambda g: not g["used"])
        checks.equal((seen["depth"], seen["used"], seen["evictions"]), (0, 0, 30209), "drained")
        for path, body, expected in [("guard", {"depth": 16777217}, 400), ("guard", {"depth": -1}, 400),
                                     ("variables/kmem_size", {"value": 2}, 400), ("variables/nothing", {"value": 2}, 404),
                                     ("guard?target=77", {"depth": 1}, 404)]:
            checks.equal(run.ask("PATCH", "/api/v1/" + path, body)[0], expected, f"{path} {body}")
        status, row = run.ask("PATCH", "/api/v1/variables/poison", {"value": 1})
        checks.equal((status, row["requested"], row["pending"]), (202, 1, True), "a variable: asked for")
        run.do("pairs 1 32")
        row = run.get("/api/v1/variables/kmem_poison")
        checks.equal((row["effective"], row["pending"]), (1, False), "a variable: in effect")
        writes = [(w["variable"], w["value"], w["result"]) for w in run.get("/api/v1/audit")["items"]]
        checks.equal(writes, [("kmem_poison", 1, "ok"), ("kmem_guard_sample", 1, "ok"), ("kmem_guard_depth", 0, "ok"),
                              ("kmem_guard_depth", 30000, "ok")], "the audit, newest first")
        checks.equal(run.end(), 0, "the program's end")
        checks.equal(file_ask(run, "/api/v1/audit")["total"], 4, "the audit in the trace")


def check_moment(checks, workspace):
    """The data of a screen is of one moment, whatever happens meanwhile."""
    screen = workspace.json("top")
    moments = {name: (part["snapshot"]["seq"], part["snapshot"]["time_ns"])
               for name, part in screen.items() if isinstance(part, dict) and "snapshot" in part}
    checks.equal(sorted(moments), ["caches", "faults", "guard", "leaks", "sites", "stats", "targets"], "top --json: parts")
    checks.equal(len(set(moments.values())), 1, f"top --json: one moment {moments}")
    checks.equal(screen["same_moment"], True, "top --json: says so")
    live = screen["stats"]["live_bytes"]
    checks.equal(screen["leaks"]["total_bytes"], live, "top --json: leaks add up to live_bytes")
    checks.equal(sum(row["live_bytes"] for row in screen["sites"]["items"]), live, "top --json: sites do")
    return moments["stats"]


def load(checks):
    """A million live blocks and a program that goes on: lists do not stop the picture."""
    with kms.Workspace("views-load") as workspace:
        run = Run(workspace)
        run.do("leak 1000000 64")
        worst, stop = [0], threading.Event()

        def watch():
            while not stop.is_set():
                worst[0] = max(worst[0], run.get("/api/v1/stats")["tracer"]["lag_us"])

        watcher = threading.Thread(target=watch)
        watcher.start()
        run.child.stdin.write(b"pairs 2000000 64\n")
        run.child.stdin.flush()
        moments = {check_moment(checks, workspace) for _ in range(5)}
        times = [event["time_ns"] for event in run.get("/api/v1/events?order=desc&limit=1000")["items"]]
        checks.that(len(times) == 1000 and times == sorted(times, reverse=True), "the newest events come first", times[:5])
        leak = run.get_when("/api/v1/leaks?limit=1", lambda d: d["total_count"] >= 1000000)["items"][0]
        times = {}
        for question in ["blocks?limit=1000", f"blocks?site={leak['stack_id']}&min_bytes=65&limit=1000", "whatis/0x7fff00000000",
                         f"caches/{leak['cache']}/slabs?limit=1000", "diff", "timeline"]:
            begin = time.monotonic()
            run.get("/api/v1/" + question)
            times[question] = round(time.monotonic() - begin, 3)
        run.child.stdout.readline()
        stop.set()
        watcher.join()
        print(f"answers in seconds: {times}; worst lag {worst[0] / 1e6:.3f} s", flush=True)
        checks.that(len(moments) > 1, "top --json was asked while the program went on", moments)
        checks.that(max(times.values()) < 10, "answers come", times)
        checks.equal(run.get("/api/v1/stats")["snapshot"]["lost"], 0, "nothing is lost")
        checks.equal(run.end(), 0, "the program's end")


def main():
    checks = kms.Checks()
    {"answers": answers, "guard": guard, "load": load}[sys.argv[1]](checks)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
