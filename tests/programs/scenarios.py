# SPDX-License-Identifier: BSD-2-Clause
"""Unmodified Debian programs and what they do under trace. A table; programs.py runs it.

A scenario works in a fresh folder. prepare makes its input (untraced); argv is what runs plain and
traced; collect adds what else must be equal. Sizes grow with `scale` (3, in soak 20).
"""

import os
import pathlib
import re
import subprocess
from dataclasses import dataclass, field

import kms

PYTHON = kms.PYTHON
HERE = pathlib.Path(__file__).parent
TORTURE = kms.BUILD / "test/torture"


def nothing(_folder, _scale):
    return None


@dataclass
class Scenario:
    name: str
    argv: object  # function of scale, or a list
    prepare: object = nothing
    env: dict = field(default_factory=dict)
    collect: object = None  # function of the folder: bytes
    sort_lines: bool = False  # the order of lines is not fixed
    counted: bool = False  # events are compared with the independent count
    needs: tuple = ()
    outlives: str = None  # file that a daemon writes last

    def command(self, scale):
        return self.argv(scale) if callable(self.argv) else list(self.argv)


# --- python3

def python(script, *arguments):
    return [PYTHON, str(HERE / "work" / script), *map(str, arguments)]


PYTHON_ENV = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


# --- sqlite3

def sqlite_prepare(folder, scale):
    (folder / "work.sql").write_text(f"""
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, value REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {20000 * scale})
INSERT INTO t SELECT i, 'name ' || (i * 7919 % 10007), i * 0.5 FROM n;
CREATE INDEX t_name ON t(name);
SELECT count(*), sum(value), min(name), max(name) FROM t;
SELECT name, count(*) FROM t GROUP BY name ORDER BY 2 DESC, 1 LIMIT 5;
UPDATE t SET name = upper(name) WHERE id % 3 = 0;
DELETE FROM t WHERE id % 5 = 0;
SELECT count(DISTINCT name), total(value) FROM t;
SELECT json_group_array(name) FROM (SELECT name FROM t ORDER BY id LIMIT 5);
PRAGMA integrity_check;
SELECT no_such_column FROM t;
""")


# --- git

GIT_ENV = {"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000",
           "GIT_CONFIG_NOSYSTEM": "1", "GIT_PAGER": "cat"}


def git(folder, *arguments, stdin=None):
    subprocess.run(["git", "-C", str(folder / "repo"), *arguments], input=stdin, check=True,
                   capture_output=True, env={**os.environ, **GIT_ENV, "HOME": str(folder)})


def git_prepare(folder, scale):
    """A repository of 400 commits on two branches, through fast-import."""
    (folder / "repo").mkdir()
    git(folder, "init", "-q", "-b", "main")
    lines = []
    for i in range(400 * scale):
        text = "".join(f"line {j * (i % 13 + 1)}\n" for j in range(60)).encode()
        message = f"commit {i}\n".encode()
        lines.append(b"commit refs/heads/%s\n" % (b"side" if i % 10 == 9 else b"main"))
        lines.append(b"committer A U Thor <a@example.org> %d +0000\n" % (1700000000 + i * 60))
        lines.append(b"data %d\n%s" % (len(message), message))
        lines.append(b"M 100644 inline dir%d/file%d\ndata %d\n%s\n" % (i % 7, i % 31, len(text),
                                                                    text))
    git(folder, "fast-import", "--quiet", stdin=b"".join(lines))
    git(folder, "reset", "-q", "--hard", "main")


def git_collect(folder):
    """The objects there are and that they are whole, after gc."""
    out = subprocess.run("git -C repo count-objects -v | grep -v size; git -C repo fsck --full; "
                         "git -C repo rev-parse main side; git -C repo rev-list --all --objects | "
                         "sort", shell=True, cwd=folder, capture_output=True,
                         env={**os.environ, **GIT_ENV, "HOME": str(folder)}, check=False)
    return out.stdout + out.stderr


# --- gcc

def gcc_prepare(folder, scale):
    body = "".join(f"""
static int f{i}(const struct s *s, int n) {{
    int unused;
    int sum = {i};
    for (int k = 0; k < n; k++) sum += s->a[k % 8] * (k ^ {i}) + (int)(s->b * {i}.5);
    printf("%d %s\\n", sum, s->name ? s->name : "?");
    return sum;
}}
""" for i in range(60 * scale))
    calls = "\n".join(f"    t += f{i}(&v, n);" for i in range(60 * scale))
    (folder / "unit.c").write_text(f"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct s {{ int a[8]; double b; const char *name; }};
{body}
int main(int n, char **v0) {{
    struct s v = {{{{1, 2, 3, 4, 5, 6, 7, 8}}, 1.5, v0[0]}};
    int t = 0;
{calls}
    return t == 0;
}}
""")


def gcc_collect(folder):
    return (folder / "unit.o").read_bytes()


# --- make

def make_prepare(folder, scale):
    units = range(12 * scale)
    for i in units:
        (folder / f"u{i}.c").write_text(f"int u{i}(int x) {{ return x * {i} + {i}; }}\n")
    objects = " ".join(f"u{i}.o" for i in units)
    (folder / "Makefile").write_text(
        f"all: out.txt\nout.txt: {objects}\n\t@cat {objects} | cksum > $@\n"
        "%.o: %.c\n\t@echo compiling $<\n\t@gcc -O1 -c -o $@ $<\n")


def make_collect(folder):
    return (folder / "out.txt").read_bytes()


# --- others

def text_prepare(folder, scale):
    state, lines = 12345, []
    for _ in range(40000 * scale):
        state = (state * 1103515245 + 12345) % 2**31
        lines.append(f"{state} {state % 977} {'ab' * (state % 17)}\n")
    (folder / "text.txt").write_text("".join(lines))


def daemon_collect(folder):
    return (folder / "daemon.out").read_bytes()


SCENARIOS = (
    Scenario("python", lambda scale: python("objects.py", scale), env=PYTHON_ENV),
    Scenario("python_threads", lambda scale: python("threads.py", scale), env=PYTHON_ENV,
             counted=True),
    Scenario("sqlite3", ["sqlite3", ":memory:", ".read work.sql"], sqlite_prepare, counted=True,
             needs=("sqlite3",)),
    Scenario("git_log", ["git", "-C", "repo", "log", "--all", "--stat", "-p", "-M"], git_prepare,
             env=GIT_ENV, needs=("git",)),
    Scenario("git_gc", ["git", "-C", "repo", "gc", "--prune=now"], git_prepare, env=GIT_ENV,
             collect=git_collect, needs=("git",)),
    Scenario("gcc", ["gcc", "-O2", "-Wall", "-c", "unit.c", "-o", "unit.o"], gcc_prepare,
             collect=gcc_collect, needs=("gcc",)),
    Scenario("perl", lambda scale: ["perl", str(HERE / "work/text.pl"), str(scale)],
             env={"PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0"}, needs=("perl",)),
    Scenario("bash", lambda scale: ["bash", str(HERE / "work/shell.sh"), str(scale)], counted=True,
             needs=("bash",)),
    Scenario("make", ["make", "-s", "-j2"], make_prepare, collect=make_collect, sort_lines=True,
             needs=("make", "gcc")),
    Scenario("xz_threads", ["xz", "-T2", "--block-size=200KiB", "-k", "-c", "text.txt"],
             text_prepare, needs=("xz",)),
    Scenario("sort_threads", ["sort", "--parallel=2", "-S", "1M", "-k2n", "-k1n", "text.txt"],
             text_prepare, needs=("sort",)),
    Scenario("torture", lambda scale: [str(TORTURE), "7", str(2 * scale)], counted=True),
    Scenario("daemon", [PYTHON, str(HERE / "work/daemon.py"), "daemon.out"], env=PYTHON_ENV,
             collect=daemon_collect, outlives="daemon.out"),
)

# What differs between two plain runs: process ids and times.
MASKS = (
    (re.compile(rb"pid[ =:]+\d+", re.I), b"pid N"),
    (re.compile(rb"\b\d+\.\d+ ?(s|ms|sec|seconds)\b"), b"T s"),
    (re.compile(rb"/tmp/cc\w+"), b"/tmp/ccX"),
    (re.compile(rb"0x[0-9a-f]{6,16}"), b"0xN"),
)


def masked(text, sort_lines=False):
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return b"\n".join(sorted(text.split(b"\n"))) if sort_lines else text
