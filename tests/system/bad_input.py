#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Bad input: each a one-line error that names the thing, and the status of DESIGN 9.

Runs as an unprivileged user where the test itself runs as root.
"""

import os
import pathlib
import shutil
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

OURS, NOT_EXEC, NOT_FOUND, USAGE, FAILED = 125, 126, 127, 2, 1
DEADLINE_S = 60


class Bench:
    """A folder that the unprivileged user may write to, and things in it."""

    def __init__(self, checks, workspace):
        self.checks, self.workspace, self.path = checks, workspace, workspace.path
        self.kmemscope = kms.reachable_product(workspace)
        self.text = self.path / "notes.txt"
        self.text.write_text("precious\n")
        self.locked = self.path / "locked"
        self.locked.mkdir()
        (self.path / "script").write_text("#!/no/such/interpreter\n")
        (self.path / "plain").write_text("no program\n")
        os.chmod(self.path / "script", 0o755)
        kms.give_to_nobody(self.path)
        os.chmod(self.locked, 0o500)
        if os.geteuid() == 0:
            os.chown(self.locked, 0, 0)

    def run(self, *arguments, env=None):
        return self.workspace.run(kms.unprivileged([str(self.kmemscope), *map(str, arguments)]),
                                  timeout=DEADLINE_S, env=env)

    def refused(self, title, statuses, words, *arguments, env=None):
        """The command fails with one of the statuses and one line that has all the words."""
        done = self.run(*arguments, env=env)
        statuses = statuses if isinstance(statuses, tuple) else (statuses,)
        lines = done.stderr.decode(errors="replace").splitlines()
        self.checks.that(done.status in statuses, f"{title}: status {done.status}", done)
        self.checks.equal(len(lines), 1, f"{title}: lines on stderr {lines}")
        for word in words:
            self.checks.that(lines and str(word) in lines[0], f"{title}: the line has {word!r}",
                             lines)

    def traced(self, output, *options, program=("/bin/true",), env=None):
        return self.run("run", "-q", "-o", output, *options, "--", *program, env=env)


def programs(bench):
    run = ("run", "-q", "-o", bench.path / "t.kms", "--")
    bench.refused("unknown program", NOT_FOUND, ["no-such-program"], *run, "no-such-program")
    bench.refused("unknown path", NOT_FOUND, ["/no/such/program"], *run, "/no/such/program")
    bench.refused("no right to execute", NOT_EXEC, ["plain"], *run, bench.path / "plain")
    bench.refused("a folder as program", NOT_EXEC, [bench.locked], *run, bench.locked)
    bench.refused("no interpreter", (NOT_EXEC, NOT_FOUND), ["script"], *run, bench.path / "script")
    bench.refused("no program", (USAGE, OURS), [], "run", "-q")
    static = bench.path / "static_program"
    if (kms.BUILD / "test/system/static_program").exists():
        shutil.copy(kms.BUILD / "test/system/static_program", static)
        bench.refused("static program", OURS, ["static"], *run, static)
    elf = bench.path / "elf32"
    image = bytearray(pathlib.Path("/bin/true").read_bytes())
    image[4] = 1  # EI_CLASS: 32 bits
    elf.write_bytes(image)
    os.chmod(elf, 0o755)
    bench.refused("32-bit program", OURS, ["elf32"], *run, elf)


def setuid(bench):
    """Set-id programs take effect only for a user who is not already that user."""
    if os.geteuid() != 0:
        print("set-id: needs root to make one")
        return
    program = bench.path / "setuid"
    shutil.copy("/usr/bin/id", program)
    os.chown(program, 0, 0)
    os.chmod(program, 0o4755)
    bench.refused("set-id program", OURS, ["setuid"], "run", "-q", "-o", bench.path / "s.kms",
                  "--", program)


def outputs(bench):
    true = ("--", "/bin/true")
    bench.refused("unwritable output", OURS, ["locked/t.kms", "-o"], "run", "-q", "-o",
                  bench.locked / "t.kms", *true)
    bench.refused("output in no folder", OURS, ["nowhere/t.kms", "-o"], "run", "-q", "-o",
                  bench.path / "nowhere/t.kms", *true)
    bench.refused("output is a folder", OURS, ["locked"], "run", "-q", "-o", bench.locked, *true)
    bench.refused("output is no trace", OURS, ["notes.txt"], "run", "-q", "-o", bench.text, *true)
    bench.checks.equal(bench.text.read_text(), "precious\n", "the file is as it was")
    other = bench.path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE precious(x)")
    kms.give_to_nobody(bench.path)
    os.chown(bench.locked, 0 if os.geteuid() == 0 else -1, -1)
    before = other.read_bytes()
    bench.refused("output is another database", OURS, ["other.db"], "run", "-q", "-o", other, *true)
    bench.checks.equal(other.read_bytes(), before, "the database is as it was")


def traces(bench):
    good = bench.path / "good.kms"
    bench.checks.equal(bench.traced(good).status, 0, "a good trace")
    bench.checks.equal(bench.traced(good).status, 0, "a finished trace is replaced")
    newer = bench.path / "newer.kms"
    shutil.copy(good, newer)
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 999")
    kms.give_to_nobody(bench.path)
    for view in ("faults", "leaks", "stats", "caches", "guard"):
        bench.refused(f"{view} of a newer version", FAILED, ["newer.kms"], view, newer)
        bench.refused(f"{view} of no trace", FAILED, ["notes.txt"], view, bench.text)
    bench.refused("view of no file", FAILED, ["missing.kms"], "faults", bench.path / "missing.kms")
    bench.refused("sql of a newer version", FAILED, ["newer.kms"], "sql", "SELECT 1", newer)
    bench.refused("bad SQL", FAILED, ["no_such_table"], "sql", "SELECT * FROM no_such_table", good)


def still_written(bench):
    trace = bench.path / "live.kms"
    child = bench.workspace.start(kms.unprivileged(
        [str(bench.kmemscope), "run", "-q", "-o", str(trace), "--", "/bin/cat"]))
    kms.wait_for(trace.exists, DEADLINE_S, "the trace is there")
    kms.wait_for(bench.workspace.session, DEADLINE_S, "the session is there")
    bench.refused("-o onto a live trace", OURS, ["live.kms", "-o"], "run", "-q", "-o", trace, "--",
                  "/bin/true")
    child.stdin.close()
    bench.checks.equal(child.wait(DEADLINE_S), 0, "the live run ends undisturbed")


def variables(bench):
    out = bench.path / "v.kms"
    true = ("--", "/bin/true")
    for title, words, options in (
            ("unknown variable", ["no_such_thing"], ("--set", "no_such_thing=1")),
            ("no value", ["kmem_size"], ("--set", "kmem_size")),
            ("bad value", ["kmem_size", "maybe"], ("--set", "kmem_size=maybe")),
            ("depth -1", ["-1"], ("--guard-depth", "-1")),
            ("depth 10^12", ["1000000000000"], ("--guard-depth", "1000000000000")),
            ("depth -1 by --set", ["guard_depth", "-1"], ("--set", "guard_depth=-1")),
            ("depth 10^12 by --set", ["guard_depth"], ("--set", "guard_depth=1000000000000")),
            ("depth that is no number", ["many"], ("--guard-depth", "many"))):
        bench.refused(title, (OURS, USAGE), words, "run", "-q", "-o", out, *options, *true)
        bench.checks.that(not out.exists(), f"{title}: nothing was made")
    bench.refused("unknown option in KMEM_OPTIONS", OURS, ["no_such"], "run", "-q", "-o", out,
                  *true, env={"KMEM_OPTIONS": "trace=1,no_such=1"})
    bench.refused("unknown option", (OURS, USAGE), ["--no-such"], "run", "--no-such", *true)
    bench.refused("unknown command", USAGE, ["frobnicate"], "frobnicate")


def main():
    kms.need("setpriv")
    checks = kms.Checks()
    with kms.Workspace("bad-input") as workspace:
        os.chmod(workspace.path, 0o755)
        bench = Bench(checks, workspace)
        for part in (programs, setuid, outputs, traces, still_written, variables):
            part(bench)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
