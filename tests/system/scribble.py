#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Seeded nonsense in every section of a live region: the tracer lives, a second target stays exact.

usage: scribble.py RUNS [FIRST-SEED]     RUNS are spread over the sections

Two targets run side by side, each counted by an independent preload. One is scribbled at in its
middle, once while it waits and once while it works. It must end as ring_corrupt or with an exact
count; the other one's counts must be exact in any case.

A program gives a tracer up that shows no life for half a second, and counts what it loses then. A busy
machine can make the tracer that late: a seed in which a target lost something runs again.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "programs")]
import count  # noqa: E402
import kms  # noqa: E402

WORKER = kms.BUILD / "test/system/worker"
SCRIBBLE = kms.BUILD / "test/system/scribble"
COUNT_PRELOAD = kms.BUILD / "test/libcount_preload.so"
PAIRS = 60000
DEADLINE_S = 60
KINDS = ("alloc", "free")
ATTEMPTS = 5

# Starts both workers and hands each a pipe; $1 is the program, $2 the number of pairs.
SHELL = """
mkfifo go.a go.b
"$1" "$2" hold < go.a > out.a & a=$!
"$1" "$2" hold < go.b > out.b & b=$!
exec 3> go.a 4> go.b
echo "$a $b"
read line
echo go >&3; echo go >&4
wait $a; sa=$?
wait $b; sb=$?
echo "$sa $sb"
"""


class Late(Exception):
    """The tracer was given up."""


class Run:
    def __init__(self, checks, workspace, seed, attempt):
        self.checks, self.workspace, self.seed = checks, workspace, seed
        self.folder = workspace.path / f"run{seed}.{attempt}"
        self.folder.mkdir()
        self.counts = self.folder / "counts"
        self.counts.mkdir()
        self.trace = self.folder / "trace.kms"
        self.said = []
        self.victim = self.other = 0
        self.child = None

    def start(self):
        argv = self.workspace.traced_argv(
            ["/bin/sh", "-c", SHELL, "sh", WORKER, str(PAIRS)], self.trace)
        self.child = self.workspace.start(argv, cwd=self.folder, env={
            "LD_PRELOAD": str(COUNT_PRELOAD), "KMS_COUNT_DIR": str(self.counts)})
        self.victim, self.other = (int(pid) for pid in self.child.stdout.readline().split())
        for name in ("out.a", "out.b"):
            kms.wait_for(lambda n=name: (self.folder / n).exists()
                         and (self.folder / n).read_bytes() == b"half\n", DEADLINE_S, "half")

    def region(self, pid):
        """The file that a process has mapped as its region."""
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
        paths = {line.split(None, 5)[5] for line in maps if "kmemscope" in line and line.count(" ")
                 and len(line.split(None, 5)) == 6 and "libk" not in line}
        paths = [p for p in paths if p.startswith(("/dev/shm/", str(self.workspace.runtime)))]
        assert len(paths) == 1, f"regions of {pid}: {paths}"
        return paths[0]

    def scribble(self, region, section):
        done = subprocess.run([SCRIBBLE, region, str(section), str(self.seed), "24"],
                              capture_output=True, check=False)
        self.said.append(done.stdout.decode())
        # The region goes with the last process that had it: then there is nothing to scribble at.
        assert done.returncode == 0 or not pathlib.Path(region).exists(), done.stderr

    def finish(self, region, section):
        self.scribble(region, section)
        self.child.stdin.write(b"go\n")
        self.child.stdin.flush()
        # A header that was scribbled over cannot be found a second time.
        if section and self.child.poll() is None and pathlib.Path(region).exists():
            self.scribble(region, section)
        out, err = self.child.communicate(timeout=DEADLINE_S)
        self.statuses = out.split()
        return err

    def kill(self):
        """Leaves no process of a run that did not end by itself."""
        for pid in (self.victim, self.other):
            if pid and self.child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.communicate()

    def check(self, section):
        title = f"seed {self.seed} section {section}"
        images = count.read(self.counts)
        # A process is several targets, one for each program it was; the last is the one meant.
        targets = {}
        for pid, ident, state in self.workspace.sql(
                self.trace, "SELECT pid, id, state FROM targets ORDER BY id"):
            idents = targets.get(int(pid), ([], ""))[0]
            targets[int(pid)] = (idents + [int(ident)], state)
        for pid in (self.other, self.victim):
            lost = self.workspace.sql(
                self.trace, "SELECT coalesce(sum(lost), 0) FROM rings JOIN targets ON target = id "
                f"WHERE pid = {pid} AND state <> 'ring_corrupt'")
            if lost != [["0"]]:
                raise Late(f"{title}: {'the other target' if pid == self.other else 'the victim'} lost {lost}")
        checks = self.checks
        checks.equal(kms.integrity(self.trace), "ok", f"{title}: integrity_check")
        checks.equal(self.child.returncode, 0, f"{title}: the shell's status")
        checks.equal(self.statuses[1:], [b"0"], f"{title}: the other target's status")
        self.equal_counts(title, targets, images, self.other)
        if self.victim not in targets:
            checks.that(False, f"{title}: the victim is a target", targets)
        elif targets[self.victim][1] != "ring_corrupt":
            self.equal_counts(f"{title}: no ring_corrupt", targets, images, self.victim)
        return targets.get(self.victim, (0, "missing"))[1]

    def equal_counts(self, title, targets, images, pid):
        expected = {kind: sum(c[kind] for p, c in images if p == pid) for kind in KINDS}
        seen = dict.fromkeys(KINDS, 0)
        for ident in targets.get(pid, ([], ""))[0]:
            stored = self.workspace.event_counts(self.trace, f"target = {ident}")
            seen = {kind: seen[kind] + stored.get(kind, 0) for kind in KINDS}
        if not self.checks.equal(seen, expected, f"{title}: counts of {pid}"):
            print("\n".join(self.said))


def attempt_seed(run, seed):
    try:
        run.start()
        region = run.region(run.victim)
        listed = subprocess.run([SCRIBBLE, region, "list"], capture_output=True, check=True)
        sections = listed.stdout.split()
        section = int(sections[seed % len(sections)])
        err = run.finish(region, section)
        run.checks.equal(err, b"", f"seed {seed}: stderr")
        end = run.check(section)
    finally:
        run.kill()
    shutil.rmtree(run.folder)  # a thousand of them are gigabytes
    return section, end


def run_seed(checks, workspace, seed):
    try:
        for attempt in range(ATTEMPTS):
            try:
                return attempt_seed(Run(checks, workspace, seed, attempt), seed)
            except Late as late:
                print(f"late in attempt {attempt + 1}: {late}", flush=True)
        checks.that(False, f"seed {seed}: in time in one of {ATTEMPTS} attempts")
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        checks.that(False, f"seed {seed}", error)
    return 0, "not"


def main():
    runs = int(sys.argv[1])
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    checks = kms.Checks()
    ends = {}
    with kms.Workspace("scribble") as workspace:
        for seed in range(first, first + runs):
            end = run_seed(checks, workspace, seed)
            ends[end] = ends.get(end, 0) + 1
    for (section, end), n in sorted(ends.items()):
        print(f"section {section}: {n} runs ended {end}")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
