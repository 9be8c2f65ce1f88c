# SPDX-License-Identifier: BSD-2-Clause
"""What the test scripts share: running kmemscope, asking it, waiting, checking.

A script makes one Workspace and one Checks, and ends with sys.exit(checks.status()).
Exit status 0 passed, 1 failed, 77 skipped.
"""

import http.client
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(os.environ.get("KMS_SOURCE_DIR", pathlib.Path(__file__).parents[2])).resolve()
BUILD = pathlib.Path(
    os.environ.get("KMS_BUILD") or os.environ.get("KMS_BUILD_DIR") or SOURCE / "build/release"
).resolve()
KMEMSCOPE = BUILD / "bin/kmemscope"
PYTHON = "/usr/bin/python3"
NOBODY = 65534
SKIP = 77


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIP)


def need(*programs):
    """Skips the test when a program is not installed."""
    for program in programs:
        if not shutil.which(program):
            skip(f"{program} is not installed")


def wait_for(condition, deadline_s, what, pause_s=0.005):
    """The first true value of condition(); fails the test when there is none in time."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(pause_s)


class Checks:
    """Counts what held and what did not; says so line by line."""

    def __init__(self):
        self.failed = 0
        self.passed = 0
        self.lock = threading.Lock()

    def that(self, holds, what, seen=""):
        with self.lock:
            self.passed += bool(holds)
            self.failed += not holds
            if not holds:
                print(f"not ok: {what}: {seen}" if seen != "" else f"not ok: {what}", flush=True)
        return bool(holds)

    def equal(self, seen, expected, what):
        return self.that(seen == expected, what, f"seen {seen!r}, expected {expected!r}")

    def status(self):
        print(f"{self.passed} checks held, {self.failed} did not", flush=True)
        return 1 if self.failed or not self.passed else 0


class UnixConnection(http.client.HTTPConnection):
    """HTTP through the Unix socket of a session."""

    def __init__(self, path, deadline_s=60):
        super().__init__("kmemscope", timeout=deadline_s)
        self.path = path
        self.deadline_s = deadline_s

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.deadline_s)
        self.sock.connect(str(self.path))


class Result:
    """How a command ended: status, stdout, stderr (bytes), seconds."""

    def __init__(self, status, stdout, stderr, seconds):
        self.status, self.stdout, self.stderr, self.seconds = status, stdout, stderr, seconds

    def __repr__(self):
        text = self.stderr[-400:].decode(errors="replace")
        return f"status {self.status} after {self.seconds:.1f} s, stderr {text!r}"


class Workspace:
    """A folder of its own for one test, with its own session folder. Use in a with statement."""

    def __init__(self, name):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"kms-{name}-"))
        self.runtime = self.path / "runtime"
        self.runtime.mkdir(mode=0o700)
        self.env = dict(os.environ, XDG_RUNTIME_DIR=str(self.runtime), HOME=str(self.path),
                        LC_ALL="C.UTF-8", TZ="UTC")
        for name_ in ("LD_PRELOAD", "KMEM_OPTIONS", "KMEMSCOPE_SOCKET", "DEBUGINFOD_URLS"):
            self.env.pop(name_, None)
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        if kind and os.environ.get("KT_KEEP"):
            print(f"kept: {self.path}")
            return
        shutil.rmtree(self.path, ignore_errors=True)

    def run(self, argv, timeout=60, stdin=b"", env=None, cwd=None):
        """Runs a command to its end."""
        begin = time.monotonic()
        done = subprocess.run([str(a) for a in argv], input=stdin, capture_output=True,
                              timeout=timeout, env={**self.env, **(env or {})},
                              cwd=cwd or self.path, check=False)
        return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - begin)

    def start(self, argv, env=None, **more):
        """Starts a command; it is killed at the end of the workspace if it still lives."""
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options.update(more)
        child = subprocess.Popen([str(a) for a in argv], env={**self.env, **(env or {})},
                                 cwd=options.pop("cwd", None) or self.path, **options)
        self.children.append(child)
        return child

    def traced_argv(self, argv, trace, options=()):
        return [KMEMSCOPE, "run", "-q", "-o", trace, *options, "--", *argv]

    def traced(self, argv, trace=None, options=(), **more):
        """Runs a command under `kmemscope run -q`; gives the result and the trace's path."""
        trace = trace or self.path / f"trace-{len(list(self.path.glob('trace-*')))}.kms"
        return self.run(self.traced_argv(argv, trace, options), **more), trace

    def json(self, command, *arguments):
        """The JSON that a view prints, of a file or of a live session."""
        done = self.run([KMEMSCOPE, command, "--json", *arguments])
        if done.status not in (0, 3):
            raise AssertionError(f"kmemscope {command} {arguments}: {done!r}")
        return json.loads(done.stdout)

    def items(self, command, *arguments):
        return self.json(command, *arguments)["items"]

    def sql(self, trace, query):
        """Rows of a query as lists of strings."""
        done = self.run([KMEMSCOPE, "sql", query, trace])
        if done.status != 0:
            raise AssertionError(f"kmemscope sql {query!r}: {done!r}")
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def event_counts(self, trace, where="1"):
        """Stored events by kind."""
        rows = self.sql(trace, f"SELECT kind, count(*) FROM events WHERE {where} GROUP BY kind")
        return {kind: int(count) for kind, count in rows}

    def lost(self, trace):
        rows = self.sql(trace, "SELECT coalesce(sum(lost), 0) FROM rings")
        return int(rows[0][0])

    def session(self):
        """session.json of the one live session, or None."""
        found = sorted(self.runtime.glob("kmemscope/*/session.json"))
        if not found:
            return None
        try:
            return json.loads(found[0].read_text())
        except (OSError, ValueError):
            return None  # being written


def integrity(trace):
    """What PRAGMA integrity_check says: "ok"."""
    with sqlite3.connect(f"file:{trace}?mode=ro", uri=True) as db:
        return db.execute("PRAGMA integrity_check").fetchone()[0]


def line_of(source, tag):
    """Number of the line of a test's source that carries the comment /* line: tag */."""
    text = (SOURCE / source).read_text().splitlines()
    numbers = [i for i, line in enumerate(text, 1) if f"/* line: {tag} */" in line]
    if len(numbers) != 1:
        raise AssertionError(f"{source}: tag {tag} stands on lines {numbers}")
    return numbers[0]


def frame_of(stack, function):
    """The innermost frame of a function in a stack of the API, or None."""
    for frame in stack or []:
        if frame.get("function") == function:
            return frame
    return None


def frame_is(stack, function, source, line):
    """Whether a stack has a frame of this function at this file and line."""
    for frame in stack or []:
        if (frame.get("function") == function and frame.get("line") == line
                and (frame.get("file") or "").endswith(pathlib.Path(source).name)):
            return True
    return False


def show_stack(stack):
    return [f"{f.get('function')} {f.get('file')}:{f.get('line')}" for f in stack or []]


def unprivileged(argv):
    """The command as a user without rights, where we have them."""
    if os.geteuid() != 0:
        return list(argv)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            "--inh-caps=-all", *argv]


def reachable_product(workspace, name="product"):
    """kmemscope and its libraries where unprivileged() can read them: a clone may lie in root's home."""
    product = workspace.path / name
    for part in ("bin/kmemscope", "lib/libkmem.so", "lib/libkmem_malloc.so"):
        (product / part).parent.mkdir(parents=True, exist_ok=True)
        if (BUILD / part).exists():
            shutil.copy(BUILD / part, product / part)
    return product / "bin/kmemscope"


def give_to_nobody(path):
    """Makes a folder belong to the user that unprivileged() runs as."""
    if os.geteuid() == 0:
        for root, folders, files in os.walk(path):
            for name in [*folders, *files]:
                os.chown(os.path.join(root, name), NOBODY, NOBODY)
        os.chown(path, NOBODY, NOBODY)


def exit_text(status):
    """An exit status for a person: 139, or "signal 11"."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else str(status)


def user_name():
    return pwd.getpwuid(os.geteuid()).pw_name
