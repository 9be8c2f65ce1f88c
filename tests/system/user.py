#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a careless or unlucky user does: closed streams, odd names, limits, full disks, signals.

The program must do what it does without us, and what we have to say must be of use.

usage: user.py [PART...]
"""

import os
import pathlib
import pty
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

OURS = 125
DEADLINE_S = 60
WORKER = kms.BUILD / "test/system/worker"
LIBRARY = kms.BUILD / "lib/libkmem_malloc.so"
LISTS = "import sys; l = [str(i) * 10 for i in range(20000)]; print(len(l)); sys.exit(9)"
FILL = "import sys; n = [len([str(i) * j for i in range(20000)]) for j in range(1, 40)]"
FILLS = f"env PYTHONMALLOC=malloc {kms.PYTHON} -c '{FILL}'"
PYTHON = f"env PYTHONMALLOC=malloc {kms.PYTHON} -c '{LISTS}'"


def shell(workspace, script, *arguments, **more):
    """A script of sh; $K is kmemscope, $1 and so on are the arguments."""
    env = {"K": str(kms.KMEMSCOPE), **more.pop("env", {})}
    return workspace.run(["/bin/sh", "-c", script, "sh", *arguments], env=env, timeout=DEADLINE_S,
                         **more)


def one_line(checks, done, title, *words):
    """Refused with one line that has the words."""
    lines = done.stderr.decode(errors="replace").splitlines()
    checks.equal(done.status, OURS, f"{title}: status")
    checks.equal(len(lines), 1, f"{title}: lines {lines}")
    for word in words:
        checks.that(lines and word in lines[0], f"{title}: the line has {word!r}", lines)


def streams(checks, workspace):
    """Closed standard streams: the program finds them closed, the trace gets no output into it."""
    for i, closed in enumerate(("<&-", ">&-", "2>&-", "<&- >&- 2>&-")):
        trace = workspace.path / f"closed{i}.kms"
        script = f"%s /bin/sh -c 'ls /proc/self/fd; exit 3' {closed}"
        plain = shell(workspace, script % "env")
        done = shell(workspace, script % '"$K" run -q -o "$1" --', trace)
        checks.equal((done.status, done.stdout, done.stderr),
                     (3, plain.stdout, plain.stderr), f"streams {closed}")
        checks.equal(kms.integrity(trace), "ok", f"streams {closed}: integrity_check")
    done = shell(workspace, '"$K" stats "$1" >&-', trace)
    checks.equal((done.status, b"cannot write" in done.stderr), (1, True), "stats to nowhere")


def names(checks, workspace):
    """Long names, line ends in names, long arguments."""
    for name in ("n" * 250, "new\nline", "-dash", "quo'te\" %s"):
        program = workspace.path / name
        program.write_bytes(pathlib.Path("/bin/echo").read_bytes())
        os.chmod(program, 0o755)
        folder = workspace.path / f"runs{len(name)}"
        folder.mkdir()
        done = workspace.run([kms.KMEMSCOPE, "run", "--", program, "hi"], cwd=folder)
        checks.equal((done.status, done.stdout), (0, b"hi\n"), f"program {name[:20]!r}")
        checks.that(all(line.startswith((b"kmemscope: ", b"  ")) for line in
                        done.stderr.splitlines()), f"program {name[:20]!r}: stderr", done.stderr)
        traces = list(folder.glob("*.kms"))
        checks.equal(len(traces), 1, f"program {name[:20]!r}: traces")
        checks.equal(workspace.run([kms.KMEMSCOPE, "stats", *traces]).status, 0,
                     f"program {name[:20]!r}: stats")
    for name in ("pro duct", "pro:duct$LIB"):
        kmemscope = kms.reachable_product(workspace, name)
        trace = workspace.path / f"{name} trace.kms"
        done = workspace.run([kmemscope, "run", "-q", "-o", trace, "--", "/bin/sh", "-c",
                              "/bin/ls -d /"])
        checks.equal((done.status, done.stdout, done.stderr), (0, b"/\n", b""),
                     f"in a folder {name!r}")
        checks.that(workspace.event_counts(trace).get("exec") == 2, f"in a folder {name!r}: events")
    words = ["a" * 100000] * 8
    done, _ = workspace.traced(["/bin/echo", *words])
    checks.equal(done.stdout, " ".join(words).encode() + b"\n", "800 KB of arguments")


def limits(checks, workspace):
    """Limits of the shell: refused where there is no room, harmless in all other cases."""
    # sh counts files in 512 bytes
    done = shell(workspace, 'ulimit -f 400; "$K" run -q -- /bin/echo hi')
    one_line(checks, done, "ulimit -f", "200 KiB", "ulimit -f", "raise")
    done = shell(workspace, 'ulimit -v 300000; "$K" run -q -- /bin/echo hi')
    one_line(checks, done, "ulimit -v", "300000 KiB", "ulimit -v", "raise")
    for files in (6, 12):
        done = shell(workspace, f'ulimit -n {files}; "$K" run -q -- /bin/echo hi')
        one_line(checks, done, "ulimit -n", f"{files} open files", "ulimit -n", "raise")
    for limit in ("-v 600000", "-n 20"):
        trace = workspace.path / f"limit{limit[1]}.kms"
        done = shell(workspace, f'ulimit {limit}; "$K" run -q -o "$1" -- /bin/sh -c "$2"', trace,
                     PYTHON)
        checks.equal((done.status, done.stdout, done.stderr), (9, b"20000\n", b""),
                     f"ulimit {limit}")
        checks.that(workspace.event_counts(trace).get("alloc", 0) > 20000,
                    f"ulimit {limit}: events")
    # Limits that the program sets itself, and no tracer at all.
    for limit in ("-f 400", "-v 100000"):
        for how in ('"$K" run -q -o t.kms --', "env LD_PRELOAD=$1"):
            done = shell(workspace, f'{how} /bin/sh -c "ulimit {limit}; $2"', LIBRARY, PYTHON)
            checks.equal((done.status, done.stdout, done.stderr), (9, b"20000\n", b""),
                         f"{how}: ulimit {limit} within the program")


def links(checks, workspace):
    """A trace is made where a link points to, also if nothing is there yet, and the link stays."""
    folder = workspace.path / "far"
    folder.mkdir()
    for name, to in (("new.kms", "far/trace.kms"), ("old.kms", "far/trace.kms"),
                     ("chain.kms", folder / "next.kms")):
        (folder / "next.kms").unlink(missing_ok=True)
        (folder / "next.kms").symlink_to("end.kms")
        link = workspace.path / name
        link.symlink_to(to)
        done = shell(workspace, '"$K" run -q -o "$1" -- "$K" stats "$1"', link)
        checks.equal((done.status, done.stderr), (0, b""), f"{name}: run")
        checks.that(b"behind" in done.stdout and b"was lost" not in done.stdout,
                    f"{name}: seen while it is written", done.stdout)
        checks.that(link.is_symlink() and link.resolve().parent == folder, f"{name}: link stays")
        checks.equal(workspace.run([kms.KMEMSCOPE, "stats", link]).status, 0, f"{name}: opens")
    link = workspace.path / "nowhere.kms"
    link.symlink_to("missing/trace.kms")
    done = shell(workspace, '"$K" run -q -o "$1" -- /bin/echo hi', link)
    one_line(checks, done, "a link into no folder", "missing/trace.kms", "No such file")
    link = workspace.path / "loop.kms"
    link.symlink_to("loop.kms")
    done = shell(workspace, '"$K" run -q -o "$1" -- /bin/echo hi', link)
    one_line(checks, done, "a link to itself", "loop.kms", "symbolic links")


def own_mounts(checks, workspace, title, mount, command):
    """A command in a mount namespace of its own; None where that is not allowed."""
    folder = workspace.path / "mounted"
    folder.mkdir(exist_ok=True)
    script = f'{mount} && cd "$1" && {command}'
    probe = shell(workspace, f'unshare -m /bin/sh -c \'{mount}\' sh "$1"', folder)
    if probe.status != 0:
        print(f"{title}: skipped, no mount")
        return None
    done = workspace.run(["unshare", "-m", "/bin/sh", "-c", script, "sh", folder],
                         env={"K": str(kms.KMEMSCOPE)}, timeout=DEADLINE_S)
    checks.that(b"Traceback" not in done.stderr, f"{title}: stderr", done.stderr)
    return done


META = "SELECT key, value FROM meta WHERE key IN ('state', 'produced', 'stored', 'lost', 'dropped')"


def full_later(checks, workspace, size):
    """The file on a disk of this size is finished and whole, and says what is not in it."""
    title = f"disk of {size} full later"
    done = own_mounts(checks, workspace, title, f'mount -t tmpfs -o size={size} tmpfs "$1"',
                      f'"$K" run -q -o t.kms -- {FILLS} >&2 && "$K" sql "{META}" t.kms'
                      ' && "$K" sql "SELECT count(*) FROM events" t.kms && "$K" stats t.kms')
    if not done:
        return
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    meta = dict(rows[:5])
    checks.equal(meta.pop("state", None), "finished", f"{title}: state")
    meta = {key: int(value) for key, value in meta.items()}
    checks.that(meta["dropped"] > 0, f"{title}: does not fill", meta)
    checks.equal(meta["produced"], sum(meta[k] for k in ("stored", "lost", "dropped")),
                 f"{title}: what was produced")
    checks.equal(rows[5:6], [[str(meta["stored"])]], f"{title}: events in the file")
    # of a program that the tracer kept waiting for too long more is lost than did not fit
    missing = meta["dropped"] + meta["lost"]
    checks.that(f"{missing:,} lost".encode() in done.stdout, f"{title}: stats say so",
                done.stdout)


def disks(checks, workspace):
    """Full and read-only places."""
    small = 'mount -t tmpfs -o size=%s tmpfs "$1"'
    done = own_mounts(checks, workspace, "full later", small % "400k",
                      f'"$K" run -o t.kms -- {PYTHON}; s=$?; "$K" stats t.kms; exit $s')
    if done:
        checks.equal(done.status, 9, "disk full later: the program's status")
        checks.that(b"20000\n" in done.stdout and b"allocs" in done.stdout,
                    "disk full later: output, and the file opens", done.stdout)
        checks.that(b"disk is full" in done.stderr, "disk full later: is said", done.stderr)
    for size in ("300k", "400k", "500k"):  # the whole file would have more
        full_later(checks, workspace, size)
    done = own_mounts(checks, workspace, "full", small % "64k", '"$K" run -q -- /bin/echo hi')
    if done:
        one_line(checks, done, "disk full at the start", "full", "kmemscope.echo.", "-o")
    done = own_mounts(checks, workspace, "read-only", 'mount -t tmpfs -o ro tmpfs "$1"',
                      '"$K" run -q -- /bin/echo hi')
    if done:
        one_line(checks, done, "read-only folder", "Read-only", "kmemscope.echo.", "-o")
    for option in ("ro", "size=1m"):
        done = own_mounts(checks, workspace, f"/dev/shm {option}",
                          f"mount -t tmpfs -o {option} tmpfs /dev/shm",
                          f'"$K" run -q -o t.kms -- {PYTHON}')
        if done:
            checks.equal((done.status, done.stdout, done.stderr), (9, b"20000\n", b""),
                         f"/dev/shm {option}")


# threads, forked children, other programs
CROWD = """
import os, subprocess, sys, threading
def work():
    return [str(i) * 10 for i in range(5000)]
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
for _ in range(12):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
print(subprocess.run(["/bin/sh", "-c", "ls / >/dev/null; echo $((40 + 2))"],
                     capture_output=True, check=True).stdout)
sys.exit(9)
"""
NO_ROOM = ('mount -t tmpfs -o size={size} tmpfs /dev/shm && '
           'mount -t tmpfs -o size={size},mode=700 tmpfs "$XDG_RUNTIME_DIR"')
FILL_IT = "head -c 100m /dev/zero >/dev/shm/fill 2>/dev/null; "


def no_memory(checks, workspace):
    """No room for the shared memory, from the start or from some time on: it is said, and that is all."""
    (workspace.path / "crowd.py").write_text(CROWD)
    crowd = f'env PYTHONMALLOC=malloc {kms.PYTHON} "$1/../crowd.py"'
    cases = [(size, crowd) for size in ("4k", "200k", "400k", "600k", "800k", "1100k", "2m")]
    cases += [("3m", f"/bin/sh -c '{FILL_IT}exec {crowd}' sh \"$1\"")]
    for size, program in cases:
        title = f"{size} of shared memory"
        done = own_mounts(checks, workspace, title, NO_ROOM.format(size=size),
                          f'"$K" run -o "$1/../room.kms" -- {program}')
        if not done:
            return
        said = [line for line in done.stderr.decode().splitlines() if "no room" in line]
        checks.equal((done.status, done.stdout), (9, b"b'42\\n'\n"), f"{title}: the program")
        checks.equal(len(said), 1, f"{title}: is said once: {done.stderr.decode()}")
        checks.that(said and "/dev/shm" in said[0] and "traced" in said[0], f"{title}: line", said)
        checks.equal(kms.integrity(workspace.path / "room.kms"), "ok", f"{title}: file")
    plenty = 'mount -t tmpfs -o size=4k tmpfs /dev/shm'
    done = own_mounts(checks, workspace, "room elsewhere", plenty,
                      f'"$K" run -q -o "$1/../room.kms" -- {crowd}')
    checks.equal((done.status, done.stderr), (9, b""), "room elsewhere: the program")
    rows = shell(workspace, '"$K" sql "SELECT sum(produced) > 20000, sum(lost) FROM rings" "$1"',
                 workspace.path / "room.kms")
    checks.equal(rows.stdout, b"1\t0\n", "room elsewhere: everything is traced")


TWICE = ("import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p; "
         "c.free.argtypes = [ctypes.c_void_p]; p = c.malloc(24); c.free(p); c.free(p); print('on')")


def alone(checks, workspace):
    """Without a tracer the first damage ends the program, which says how it need not."""
    for options, status, stdout in (({}, -signal.SIGABRT, b""),
                                    ({"KMEM_OPTIONS": "panic=0"}, 0, b"on\n")):
        done = workspace.run([kms.PYTHON, "-c", TWICE],
                             env={"LD_PRELOAD": str(LIBRARY), **options})
        checks.equal((done.status, done.stdout), (status, stdout), f"alone {options}")
        checks.that(done.stderr.startswith(b"kmemscope: double_free"), f"alone {options}: report",
                    done.stderr)
        checks.equal(b"KMEM_OPTIONS=panic=0" in done.stderr, not options,
                     f"alone {options}: the way out")


def environments(checks, workspace):
    """No HOME, no environment at all, an environment that the program throws away."""
    done = shell(workspace, 'env -i "$K" run -q -o none.kms -- /bin/echo hi')
    checks.equal((done.status, done.stdout, done.stderr), (0, b"hi\n", b""), "empty environment")
    child = workspace.start([kms.KMEMSCOPE, "run", "-o", workspace.path / "lost.kms", "--",
                             "/usr/bin/env", "-i", "/bin/sh", "-c", "read x; exit 3"])
    said = []
    while not said or b"not traced" not in said[-1]:
        said.append(child.stderr.readline())
        if not said[-1]:
            break
    checks.that(b"sh" in said[-1] and b"environment" in said[-1],
                "a program that clears its environment: is said", said)
    child.communicate(b"\n", timeout=DEADLINE_S)
    checks.equal(child.returncode, 3, "a program that clears its environment: status")


def together(checks, workspace):
    """Two runs in one folder, and a trace that is being written."""
    runs = [workspace.start([kms.KMEMSCOPE, "run", "-q", "--", "/bin/cat"]) for _ in range(2)]
    kms.wait_for(lambda: len(list(workspace.runtime.glob("kmemscope/*/session.json"))) == 2,
                 DEADLINE_S, "two sessions")
    done = workspace.run([kms.KMEMSCOPE, "leaks"])
    names_ = sorted(p.parent.name for p in workspace.runtime.glob("kmemscope/*/session.json"))
    checks.that(done.status == 1 and all(n.encode() in done.stderr for n in names_),
                "two sessions: the error names them", done)
    checks.equal(workspace.run([kms.KMEMSCOPE, "stats", names_[0]]).status, 0, "one by its name")
    for run in runs:
        run.communicate(b"", timeout=DEADLINE_S)
        checks.equal(run.returncode, 0, "two runs: status")
    checks.equal(len(list(workspace.path.glob("kmemscope.cat.*.kms"))), 2, "two runs: files")


SIGNALS = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(8))
print("ready", flush=True)
signal.pause()
"""


def interrupt(checks, workspace):
    """^C at a terminal, which sends it to everybody in front: it reaches the program once."""
    trace = workspace.path / "interrupt.kms"
    argv = [str(a) for a in workspace.traced_argv([kms.PYTHON, "-c", SIGNALS], trace)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(workspace.path)
        os.execve(argv[0], argv, workspace.env)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 100)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    checks.equal(os.waitstatus_to_exitcode(status), 7, "^C: status")
    checks.that(workspace.json("stats", trace)["snapshot"]["finished"], "^C: file")


def signals(checks, workspace):
    """A SIGTERM to us is the program's; its end is its status."""
    interrupt(checks, workspace)
    trace = workspace.path / "term.kms"
    run = workspace.start(workspace.traced_argv([kms.PYTHON, "-c", SIGNALS], trace),
                          start_new_session=True)
    checks.equal(run.stdout.readline(), b"ready\n", "SIGTERM to us: ready")
    os.kill(run.pid, signal.SIGTERM)
    _, err = run.communicate(timeout=DEADLINE_S)
    checks.equal((run.returncode, err), (8, b""), "SIGTERM to us: status")
    checks.that(workspace.json("stats", trace)["snapshot"]["finished"], "SIGTERM to us: file")
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGXFSZ):
        done, _ = workspace.traced(["/bin/sh", "-c", f"ulimit -c 0; kill -{int(number)} $$"])
        checks.equal(done.status, 128 + number, f"killed by {number.name}")


CLOSES_ALL = """
import os
os.closerange(0, 1 << 16)
kept = [bytes(1000 + i) for i in range(1000)]
os._exit(4 if len(kept) == 1000 else 1)
"""


def descriptors(checks, workspace):
    """A program that closes everything is traced to its end."""
    for options in ((), ("--guard-depth", "512")):
        done, trace = workspace.traced([kms.PYTHON, "-c", CLOSES_ALL], options=options)
        checks.equal(done.status, 4, f"closes all {options}: status")
        rows = workspace.sql(trace, "SELECT count(*) FROM events WHERE kind = 'alloc'"
                                    " AND size BETWEEN 1033 AND 2033")
        checks.that(int(rows[0][0]) >= 1000, f"closes all {options}: events", rows)


PARTS = {"streams": streams, "names": names, "limits": limits, "links": links, "disks": disks,
         "no_memory": no_memory, "alone": alone, "environments": environments,
         "together": together, "signals": signals, "descriptors": descriptors}


def main():
    checks = kms.Checks()
    for name in sys.argv[1:] or PARTS:
        with kms.Workspace(f"user-{name}") as workspace:
            try:
                PARTS[name](checks, workspace)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                checks.that(False, name, error)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
