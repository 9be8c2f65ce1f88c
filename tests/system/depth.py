#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The mission's sentence: the guard depth is set from a db prompt while a program runs, and decides what is caught.

usage: depth.py
"""

import json
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

SOURCE = "tests/system/depth.c"
DEPTH = kms.BUILD / "test/system/depth"


class Program:
    """The program, told what to do line by line; its session, asked by the prompt and the API."""

    def __init__(self, workspace, trace, options=(), ready=True):
        self.workspace, self.trace = workspace, trace
        self.child = workspace.start(workspace.traced_argv([DEPTH], trace, options))
        if ready:
            self.expect("ready")

    def expect(self, word):
        line = self.child.stdout.readline().decode().strip()
        assert line == word, f"expected {word}, got {line!r}"

    def tell(self, line):
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()
        self.expect("done")

    def db(self, *lines):
        arguments = [part for line in lines for part in ("-e", line)]
        return self.workspace.run([kms.KMEMSCOPE, "db", *arguments])

    def guard(self):
        """GET /api/v1/guard over the session's socket, as curl would."""
        (path,) = self.workspace.runtime.glob("kmemscope/*/api.sock")
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(30)
            peer.connect(str(path))
            peer.sendall(b"GET /api/v1/guard HTTP/1.1\r\nHost: kmemscope\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: peer.recv(65536), b""))
        return json.loads(answer.split(b"\r\n\r\n", 1)[1])

    def guard_when(self, condition, what):
        return kms.wait_for(lambda: (lambda g: condition(g) and g)(self.guard()), 30, what)

    def end(self):
        self.child.stdin.close()
        self.child.wait(60)


def caught_with_three_stacks(checks, program, what):
    faults = program.workspace.items("faults", program.trace)
    if not checks.equal([f["kind"] for f in faults], ["use_after_free"], f"{what}: one fault"):
        return
    fault = faults[0]
    for member, function, tag in (("stack", "use_block", "use"), ("alloc_stack", "make_block", "alloc"),
                                  ("free_stack", "drop_block", "free")):
        checks.that(kms.frame_is(fault[member], function, SOURCE, kms.line_of(SOURCE, tag)), f"{what}: {member}",
                    kms.show_stack(fault[member]))
    checks.equal((fault["access"], fault["offset"], fault["size"]), ("read", 5, 40), f"{what}: what was read")


def is_caught_frees_later(checks, workspace, depth, frees):
    """The depth is written while the program waits; a block freed after that is caught `frees` frees later."""
    what = f"depth {depth}, {frees} frees"
    program = Program(workspace, workspace.path / f"caught-{depth}.kms")
    program.tell("churn 1000")
    done = program.db(f"w kmem_guard_depth 0t{depth}")
    checks.equal(done.status, 0, f"{what}: w")
    checks.that(done.stdout.startswith(b"kmem:kmem_guard_depth\t\t= %x\nkmem_guard_depth 0 -> %d (0x%x), pending: "
                                       % (depth, depth, depth)), f"{what}: what w printed", done.stdout)
    checks.that(done.seconds < 10, f"{what}: w does not wait for a program that waits", done.seconds)
    guard = program.guard()
    checks.equal((guard["depth_requested"], guard["depth"], guard["pending"]), (depth, 0, True), f"{what}: before it goes on")
    program.tell("plant")
    program.tell(f"churn {frees}")
    program.tell("use")
    program.end()
    checks.equal(program.child.returncode, 0, f"{what}: the program went on")
    caught_with_three_stacks(checks, program, what)


def is_not_caught_without(checks, workspace):
    """The same without a guard, and with one too shallow: the test could fail."""
    for depth, frees in ((0, 20000), (512, 20000)):
        program = Program(workspace, workspace.path / f"missed-{depth}.kms")
        program.tell("churn 1")
        checks.equal(program.db(f"w kmem_guard_depth 0t{depth}").status, 0, f"depth {depth}: w")
        program.tell("plant")
        program.tell(f"churn {frees}")
        program.tell("use")
        program.end()
        # with a shallow FIFO the address may have a later owner: then the report is about that one
        about = [f for f in workspace.items("faults", program.trace) if kms.frame_of(f["alloc_stack"], "make_block")]
        checks.that(not about and (depth or not workspace.items("faults", program.trace)),
                    f"depth {depth} misses the block after {frees} frees", [f["headline"] for f in about])


def figures_follow(checks, workspace):
    """GET /guard after each write: requested, effective, used rising, evictions from the 30209th free on, drained."""
    program = Program(workspace, workspace.path / "figures.kms")
    program.tell("churn 100")
    checks.equal(program.guard()["depth"], 0, "no guard at first")
    program.db("w kmem_guard_depth 0t30000")
    program.tell("churn 1")
    guard = program.guard_when(lambda g: not g["pending"], "the depth is taken up")
    checks.equal((guard["depth_requested"], guard["depth"], guard["used"], guard["evictions"]), (30000, 30208, 1, 0),
                 "after the first free")
    program.tell("churn 9999")
    guard = program.guard_when(lambda g: g["used"] == 10000, "used rises to 10000")
    checks.equal((guard["evictions"], guard["window_frees"] >= 9999), (0, True), "nothing leaves a FIFO with room")
    program.tell("churn 20208")
    guard = program.guard_when(lambda g: g["used"] == 30208, "used rises to the depth")
    checks.equal((guard["evictions"], guard["limited_by"]), (0, "none"), "the 30208th free: none has left yet")
    program.tell("churn 1")
    guard = program.guard_when(lambda g: g["evictions"] == 1, "the 30209th free evicts the first")
    checks.equal(guard["used"], 30208, "and takes its place")
    program.tell("churn 500")
    guard = program.guard_when(lambda g: g["evictions"] == 501, "one for one")
    checks.equal(guard["used"], 30208, "a full FIFO stays full")
    done = program.db("w/l kmem_guard_depth 0")
    checks.that(b"\t\t7600 = 0\n" in done.stdout, "w/l shows the old value", done.stdout)
    # 32 entries leave in one allocator call
    program.tell("churn 4000")
    guard = program.guard_when(lambda g: g["used"] == 0 and not g["pending"], "drained")
    checks.equal((guard["depth_requested"], guard["depth"], guard["evictions"] >= 30709), (0, 0, True), "and off")
    program.end()
    checks.equal(program.child.returncode, 0, "the program went on")
    checks.equal(workspace.items("faults", program.trace), [], "a program without a bug has no fault")


def the_manuals_recipe_works(checks, workspace):
    """run -d, w, c: the depth is set before main begins."""
    trace = workspace.path / "recipe.kms"
    program = Program(workspace, trace, ["-d"], ready=False)
    done = kms.wait_for(lambda: (lambda d: d.status == 0 and d)(program.db("ps")), 30, "a session")
    kms.wait_for(lambda: b"stopped" in program.db("ps").stdout, 30, "it stands before main")
    done = program.db("w kmem_guard_depth 0t30000", "p/d *kmem_guard_depth", "c", "ps")
    checks.equal(done.status, 0, "w, p, c, ps")
    checks.equal(done.stdout.decode().splitlines()[:4],
                 ["kmem:kmem_guard_depth\t\t= 7530",
                  "kmem_guard_depth 0 -> 30000 (0x7530), effective 30208; 60416 pages of address space at least",
                  "      30208", "kmem: all targets: continued"], "what they printed")
    checks.that(b" running " in done.stdout, "ps shows that it runs", done.stdout)
    program.expect("ready")
    for line in ("plant", "churn 20000", "use"):
        program.tell(line)
    program.end()
    checks.equal(program.child.returncode, 0, "the program went on")
    caught_with_three_stacks(checks, program, "run -d, w, c")


def the_depth_it_began_with_is_shown(checks, workspace):
    """What a program was started with is in effect, and the prompt says so."""
    program = Program(workspace, workspace.path / "began.kms", ["--guard-depth", "1000"])
    program.tell("churn 1")  # before its first call it is no target
    kms.wait_for(lambda: b" running " in program.db("ps").stdout, 30, "it is a target")
    checks.equal(program.db("p/d *kmem_guard_depth").stdout.split(), [b"1024"], "the depth in effect from the start")
    program.end()


def a_fault_is_looked_at_where_it_stands(checks, workspace):
    """Policy stop: the target stands at the access, trace shows where, c lets it go on."""
    program = Program(workspace, workspace.path / "stop.kms", ["--guard-depth", "512", "--set", "kmem_panic=1"])
    program.tell("plant")
    program.child.stdin.write(b"use\n")
    program.child.stdin.flush()
    kms.wait_for(lambda: b"fault 1" in program.db("ps").stdout, 30, "it stands at fault 1")
    done = program.db("trace", "show faults 1", "c")
    lines = done.stdout.decode().splitlines()
    checks.that(done.status == 0 and lines[1].startswith("use_block() at depth+0x"), "trace begins at the access", lines[:3])
    for function, tag in (("use_block", "use"), ("make_block", "alloc"), ("drop_block", "free")):
        number = kms.line_of(SOURCE, tag)
        checks.that(any(function in line and f"depth.c:{number}" in line for line in lines), f"the report has {function}", lines)
    checks.equal(lines[-1], "kmem: all targets: continued", "c")
    program.expect("done")
    program.end()
    checks.equal(program.child.returncode, 0, "it went on to its end")


def verify_finds_what_is_broken(checks, workspace):
    """A redzone is broken in a block that nobody frees: verify says so, while the program runs."""
    program = Program(workspace, workspace.path / "verify.kms")
    for line, expected in (("churn 1", b"clean"), ("break", b"1 corrupt buffer")):
        program.tell(line)
        asked = workspace.start([kms.KMEMSCOPE, "db", "-e", "verify"])
        while asked.poll() is None:
            program.tell("churn 1")  # a request is taken up at the next allocator call
        output = asked.stdout.read()
        checks.equal(asked.returncode, 0, f"verify after {line}")
        checks.that(expected in output and b"not checked" not in output, f"verify after {line}", output)
    checks.that(b"BUG: overflow" in output, "the new fault is told", output)
    program.end()


def memory_is_read_while_it_runs(checks, workspace):
    """x, whatis, history of a live block and of one in the FIFO."""
    program = Program(workspace, workspace.path / "memory.kms", ["--guard-depth", "512"])
    for line in ("break", "plant"):
        program.tell(line)
    query = "SELECT printf('%x', address) FROM events WHERE kind = 'alloc' ORDER BY seq"
    rows = kms.wait_for(lambda: (lambda r: len(r) >= 2 and r)(workspace.sql(program.trace, query)), 30, "two allocations")
    live, freed = rows[0][0], rows[1][0]
    done = program.db(f"x/bx {live}+0t40,1", f"p *{live}", f"whatis {live}+5", f"history {live}", f"bufctl {live}",
                      f"whatis {freed}", f"search/b {live} 1 ff,40")
    text = done.stdout.decode()
    checks.equal(done.status, 0, "lines about memory")
    checks.that(f"{int(live, 16) + 40:x}:\t1   \n" in text, "x shows the byte that was written behind the block", text)
    checks.that(f"0x{live}+5 in POOL 'malloc-48' (allocated), target 1\n\t40 bytes" in text, "whatis of a live block", text)
    checks.that(f"0x{live} in target 1: 1 owner\n" in text and "still live\n" in text, "history", text)
    checks.that("(free, in the guard FIFO)" in text and "in drop_block" in text, "whatis of a freed block", text)
    done = program.db(f"x {freed}")
    checks.that(done.status == 1 and b"Faulted in DDB; continuing..." in done.stdout, "a freed block is not there", done.stdout)
    program.end()


def a_write_to_a_program_that_has_gone_is_refused(checks, workspace):
    program = Program(workspace, workspace.path / "gone.kms")
    socket_path = next(workspace.runtime.glob("kmemscope/*/api.sock"))
    program.end()
    done = workspace.run([kms.KMEMSCOPE, "db", "-e", "w kmem_guard_depth 200", socket_path])
    checks.that(done.status != 0 and done.stderr.count(b"\n") == 1, "a session that has gone", repr(done))


def the_prompt_reads_stdin(checks, workspace):
    """Lines from a pipe: errors on stdout, the status is the last line's."""
    trace = workspace.path / "missed-0.kms"
    done = workspace.run([kms.KMEMSCOPE, "db", trace], stdin=b"p 0t16\nnonsense\np/d 10\n\n")
    checks.equal((done.status, done.stdout.decode().splitlines(), done.stderr),
                 (0, ["              10", "No such command: nonsense; `help` lists what there is", "         16",
                      "         16"], b""), "lines by a pipe")
    done = workspace.run([kms.KMEMSCOPE, "db", trace], stdin=b"p 1\nw kmem_guard_depth 200")
    checks.equal(done.status, 1, "the last line fails")
    checks.that(b"this is a finished trace" in done.stdout, "and says why", done.stdout)
    done = workspace.run([kms.KMEMSCOPE, "db", "-e", "nonsense", "-e", "ps", trace])
    checks.equal(done.status, 0, "-e: the last line's status")
    checks.that(b"depth" in done.stdout, "and all of them run", done.stdout)


def main():
    checks = kms.Checks()
    with kms.Workspace("depth") as workspace:
        is_caught_frees_later(checks, workspace, 30000, 20000)
        is_caught_frees_later(checks, workspace, 131072, 100000)
        is_not_caught_without(checks, workspace)
        figures_follow(checks, workspace)
        the_manuals_recipe_works(checks, workspace)
        the_depth_it_began_with_is_shown(checks, workspace)
        a_fault_is_looked_at_where_it_stands(checks, workspace)
        verify_finds_what_is_broken(checks, workspace)
        memory_is_read_while_it_runs(checks, workspace)
        a_write_to_a_program_that_has_gone_is_refused(checks, workspace)
        the_prompt_reads_stdin(checks, workspace)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
