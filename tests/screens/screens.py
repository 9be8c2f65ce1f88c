#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The screen at work: kmemscope top in a terminal of tmux, on the live demo kernel.

    screens.py views|keys|targets|terminals|ends|beside|url

A private tmux server; what is waited for is text on the screen, with a deadline.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import kms  # noqa: E402

PROMPT = r"prompt\$\s*\Z"
DEADLINE = 100  # a busy machine may be many times slower than a quiet one
KEYS = "F1Help F2Opts F3Find F4Filter F5Tree F6Sort F7Snap F8Diff F9db> F10Quit  ?:keys"


class Terminal:
    """A terminal of a size with a shell in it, on a tmux server of its own."""

    def __init__(self, ws, width=80, height=24, env=None, cwd=None):
        self.ws, self.cwd = ws, cwd or ws.path
        self.socket = ws.path / f"tmux-{width}x{height}-{len(ws.children)}-{id(self)}"
        self.env = {**ws.env, "TERM": "xterm-256color", **(env or {})}
        self.env.pop("TMUX", None)
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), "sh")
        self.tmux("set", "-g", "status", "off")
        self.tmux("set", "-sg", "escape-time", "10")
        self.resize(width, height)
        self.line("PS1='prompt$ '; clear")
        self.wait(PROMPT)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            print("screen at the end:", *self.lines(), sep="\n    ", flush=True)
        self.tmux("kill-server", check=False)

    def tmux(self, *args, check=True):
        done = subprocess.run(["tmux", "-S", str(self.socket), "-f", "/dev/null", *args],
                              capture_output=True, env=self.env, cwd=self.cwd, timeout=60,
                              check=False)
        if check and done.returncode:
            raise AssertionError(f"tmux {args}: {done.stderr.decode()}")
        return done.stdout.decode(errors="replace")

    def keys(self, *names):
        self.tmux("send-keys", *names)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def line(self, text):
        self.type(text)
        self.keys("Enter")

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def lines(self, escapes=False):
        return self.tmux("capture-pane", "-p", *(["-e"] if escapes else [])).splitlines()

    def text(self):
        return "\n".join(self.lines())

    def wait(self, what, deadline=DEADLINE):
        """Waits for a regular expression on the screen (a text: as it stands); gives the lines."""
        pattern = re.compile(what if isinstance(what, str) else re.escape(what[0]), re.MULTILINE)
        seen = {}

        def there():
            seen["text"] = self.text()
            return pattern.search(seen["text"])

        try:
            kms.wait_for(there, deadline, f"{what!r} on the screen", 0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{seen['text']}") from None
        return seen["text"].splitlines()

    def top(self, *args):
        self.line(" ".join([str(kms.KMEMSCOPE), "top", *args]))

    def pid_of(self, name):
        """The process that the shell started."""
        shell = self.tmux("list-panes", "-F", "#{pane_pid}").strip()
        children = pathlib.Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        for pid in children:
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return int(pid)
        return None


class Demo:
    """The demo kernel under trace, without a screen; ended with the test, whatever happens in it."""

    def __init__(self, ws):
        self.ws = ws
        self.front = live_demo(ws)

    def __enter__(self):
        return self.front

    def __exit__(self, kind, value, trace):
        end_demo(self.ws, self.front)


def live_demo(ws):
    """Starts it, and waits until it can be asked."""
    demo = ws.start([kms.KMEMSCOPE, "demo", "--forever", "-o", ws.path / "live.kms"],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
    kms.wait_for(lambda: ws.session(), DEADLINE, "a session")
    kms.wait_for(lambda: ws.run([kms.KMEMSCOPE, "faults", "--json"]).status == 0, DEADLINE,
                 "an answer of the session")
    return demo


def end_demo(ws, demo):
    """Ends the kernel, by the pid in its session."""
    session = ws.session()
    if session and demo.poll() is None:
        os.kill(session["program_pid"], signal.SIGTERM)
    demo.wait(DEADLINE)


def rows(lines, head):
    """Lines below a heading, up to the last but one of the screen."""
    at = next(i for i, line in enumerate(lines) if head in line)
    return [line for line in lines[at + 1:-1] if line.strip()]


def views(ws, checks):
    """Each view by its key, drilling down, at 80x24 and larger."""
    with Demo(ws), Terminal(ws) as t:
        t.top()
        lines = t.wait(r"^>?kmem-\d+|^>kmem")
        checks.that(re.match(r"kmemscope \S+/\d+  LIVE   ring \d+%  lost 0   db \S+  \+\d\d:\d\d:\d\d"
                             r" +\d\d:\d\d:\d\d$", lines[0]), "the first line", lines[0])
        checks.that(re.match(r"live \S+  peak \S+  alloc \S+/s  free \S+/s  guard (\d+/\d+|off)  "
                             r"leaks \d+", lines[1]), "the second line", lines[1])
        checks.that(re.match(r"\[heap 120 s\] .*  max \S+ min \S+$", lines[2]), "the graph", lines[2])
        checks.that(lines[3].startswith("1 Slabs  2 Sites  3 Leaks"), "the views", lines[3])
        checks.equal(lines[-1], KEYS, "the keys")
        for key, head in (("2", "BLOCKS"), ("3", "SCORE"), ("4", "in effect"), ("5", "KIND"),
                          ("6", "SEQ"), ("1", "OBJSZ"), ("Tab", "ALLOCS"), ("BTab", "OBJSZ")):
            t.keys(key)
            lines = t.wait(head)
            checks.equal(lines[-1], KEYS, f"the keys under view {key}")
        t.keys("6")
        lines = t.wait(r"^>? +\d+ +\d+\.\d{6} (alloc|free|check)")
        checks.that(len(rows(lines, "SEQ")) == 18, "18 events on 24 lines", len(rows(lines, "SEQ")))
        t.keys("5")
        t.wait("use_after_free")
        t.keys("Enter")
        lines = t.wait("Faults > Fault")
        t.wait("BUG: ")
        t.keys("Escape")
        t.wait("KIND")
        t.keys("3")
        t.wait("^.[! ]usb_leak_stalled")
        t.type("\\usb_leak_st")  # which of two leaks is first may change at any time
        t.keys("Enter")
        t.wait("^>[! ]usb_leak_stalled")
        t.keys("Enter")
        t.wait("Leaks > Leak")
        lines = t.wait(r"#0  usb_leak_stalled_transfer")
        checks.that(any("score" in line for line in lines), "the evidence", lines)
        t.keys("Enter")
        lines = t.wait(r"^> *0x[0-9a-f]+ ")
        checks.that(lines[4].startswith("Leaks > Leak > Blocks"), "where we are", lines[4])
        t.keys("Enter")
        t.wait("Leaks > Leak > Blocks > History")
        t.wait(r"^0x[0-9a-f]+ had \d+ owner")
        t.keys("q", "q", "q")
        t.wait("SCORE")
        t.resize(140, 45)
        lines = t.wait(r"\|.*#0  ")
        checks.that(lines[-1].startswith(KEYS), "the keys at 140x45", lines[-1])
        checks.equal(len(lines), 45, "lines of the screen")
        t.keys("1")
        t.wait("LIVE/COUNT +# live")
        t.resize(80, 45)
        t.wait("^-{80}$")
        t.resize(60, 20)
        lines = t.wait("need 80x24, have 60x20")
        checks.equal(sum(1 for line in lines if line.strip()), 1, "lines of a small screen")
        t.resize(100, 30)
        lines = t.wait("OBJSZ")
        checks.that(lines[-1].startswith(KEYS), "the keys at 100x30", lines[-1])
        t.keys("Q")
        t.wait(PROMPT)


def keys(ws, checks):
    """Filter, order, freezing, units, the prompt with its editor and history."""
    with Demo(ws), Terminal(ws, 100, 30) as t:
        t.top("--interval", "100")
        t.wait("^>kmem")
        t.type("\\")
        t.wait("^filter:")
        t.type("kmem-64")
        lines = t.wait("filter:kmem-64")
        t.keys("Enter")
        lines = t.wait(r"filter:kmem-64 1/1")
        checks.equal([line[1:8] for line in rows(lines, "OBJSZ")], ["kmem-64"], "rows that fit")
        t.type("\\")
        t.keys("C-u", "Enter")
        t.wait(r" 1/\d\d")
        t.keys("s")
        t.wait("Sort by")
        t.keys("n")
        lines = t.wait(r"CACHE\^")
        names = [line.split()[0].lstrip(">") for line in rows(lines, "OBJSZ")]
        checks.equal(names, sorted(names), "rows by name")
        t.keys("I")
        t.wait("CACHEv")
        t.keys("b")
        t.wait(r"live [\d,]+  peak")
        t.keys("b", "b")
        t.keys("Z")
        lines = t.wait("FROZEN")
        t.keys("Z")
        t.wait("LIVE")
        t.keys("T")
        t.wait("Slabs > Targets")
        t.keys("Enter")
        t.wait("only target 1 is shown")
        t.wait(r"^>\w+ +\d+ ")
        t.keys("0")
        t.wait("all targets are shown")
        t.wait(r"^>\w+ +\d+ ")
        t.keys("?")
        lines = t.wait("Slabs > Keys")
        t.keys("G")
        t.wait("rows of one name together")
        t.keys("Escape")
        t.wait("OBJSZ")

        t.keys("4")
        t.wait("in effect")
        t.type("+")
        t.wait(r"^db> w kmem_guard_depth 0t$")
        t.type("30000x")
        t.keys("BSpace", "C-a", "C-e", "Enter")
        lines = t.wait(r"asked 30000   in effect 30208")
        checks.that(any(line.startswith("db> w kmem_guard_depth 0t30000") for line in lines),
                    "the line in the prompt's log", lines)
        t.type("set $radix = 0t10")
        t.keys("Enter")
        t.wait(r"^db> set \$radix = 0t10$")
        t.type("p/d 100")
        t.keys("Enter")
        t.wait(r"^ *100$")  # what a line sets holds for the next
        t.type("set $radix = 0t16")
        t.keys("Enter")
        t.type("w kmem_gu")
        t.keys("Tab")
        t.wait(r"^db> w kmem_guard_$")
        t.type("depth 0")
        t.keys("Enter")
        t.wait(r"asked 0   in effect 0 \(off\)")
        t.keys("Up", "Up", "Up", "Up", "Up")
        t.wait(r"^db> w kmem_guard_depth 0t30000$")
        t.keys("C-c")
        t.wait(KEYS.replace("?", r"\?").split(">")[0])
        t.keys("Q")
        t.wait(PROMPT)
        history = ws.path / ".local/state/kmemscope/history"
        checks.that(history.exists() and history.stat().st_mode & 0o777 == 0o600,
                    "a private history")
        checks.equal(history.read_text().splitlines(),
                     ["w kmem_guard_depth 0t30000", "set $radix = 0t10", "p/d 100", "set $radix = 0t16",
                      "w kmem_guard_depth 0"], "the history")
        guard = ws.json("guard")
        checks.equal(guard["depth"], 0, "the depth that the target has")


def targets(ws, checks):
    """Several programs of a daemon: their list, one of them, and all again."""
    daemon = ws.start([kms.KMEMSCOPE, "daemon", "--dir", ws.path], stderr=subprocess.DEVNULL)
    kms.wait_for(lambda: (ws.runtime / "kmemscope/daemon/api.sock").exists(), DEADLINE, "a daemon")
    programs = [ws.start([kms.KMEMSCOPE, "run", "--daemon", "-q", "--", "sleep", str(seconds)],
                         stderr=subprocess.DEVNULL) for seconds in (1001, 1002)]
    kms.wait_for(lambda: len(ws.items("targets", "daemon")) == 2, DEADLINE, "both programs")
    with Terminal(ws) as t:
        t.top("daemon")
        lines = t.wait(r"^kmemscope sleep/\d+ \+1 +LIVE")
        t.wait("merged  1/")
        t.keys("T")
        t.wait("sleep 100[12]$")
        t.type("/1002")
        t.keys("Enter")
        lines = t.wait(r"^>sleep .*sleep 1002$")
        number, pid = re.search(r"^>sleep +(\d+) +(\d+) running", "\n".join(lines), re.MULTILINE).groups()
        t.keys("Enter")
        t.wait(rf"^kmemscope sleep/{pid} target {number}  LIVE   ring \d+%  lost 0  \+")
        lines = t.wait(r"^live \S+  peak [\d.]+")
        stats = ws.json("stats", "--target", number, "daemon")
        checks.that(stats["peak_bytes"] is not None, "the peak of one target", stats)
        checks.that("merged" not in lines[3], "caches of one target", lines[3])
        t.wait("^>malloc")
        t.keys("Enter")
        t.wait(rf"objects of .*, target {number}$")
        t.keys("4")
        t.type("+")
        t.wait(f"db> prompt of target {number}")
        t.line("512")
        t.wait("asked 512 ")
        t.keys("Escape")
        t.wait(KEYS.split(">")[0])
        depths = {row["target"]: row["depth_requested"] for row in ws.items("guard", "daemon")}
        checks.equal(depths, {int(number): 512, 3 - int(number): 0}, "the depths of both")
        t.keys("0")
        t.wait(r"\+1 +LIVE")
        t.keys("Q")
        t.wait(PROMPT)
    for target in ws.items("targets", "daemon"):
        os.kill(target["pid"], signal.SIGTERM)
    for program in programs:
        program.wait(DEADLINE)
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(DEADLINE)


def stty(t):
    t.line("clear; stty -a | md5sum | sed 's/^/stty: /'")
    lines = t.wait(r"^stty: [0-9a-f]{32}")
    return next(line for line in lines if line.startswith("stty: "))


def terminals(ws, checks):
    """Odd terminals, no terminal, suspending, and every way out."""
    trace = ws.path / "run.kms"
    done = ws.run([kms.KMEMSCOPE, "demo", "--seconds", "1", "-o", trace], timeout=120)
    checks.equal(done.status, 0, "a trace of the demo")
    done = ws.run([kms.KMEMSCOPE, "top", trace])
    checks.equal(done.status, 2, "without a terminal")
    checks.that(b"top --once" in done.stderr and done.stderr.count(b"\n") == 1, "the hint",
                done.stderr)
    for term in ("dumb", "no-such-terminal", ""):
        with Terminal(ws) as t:
            t.line(f"TERM={term} {kms.KMEMSCOPE} top {trace}; echo status $?")
            lines = t.wait("^status 2")
            checks.that("top --once" in "".join(lines), f"the hint with TERM={term}", lines)
    for env, glyph in (({"TERM": "vt100"}, "▁"), ({"TERM": "linux"}, "▁"), ({"LC_ALL": "C"}, "#"),
                       ({"NO_COLOR": "1"}, "▁")):
        with Terminal(ws) as t:
            prefix = " ".join(f"{name}={value}" for name, value in env.items())
            t.line(f"{prefix} {kms.KMEMSCOPE} top {trace}")
            lines = t.wait("F1Help.*F10Quit")
            t.wait("^>kmem")
            if "NO_COLOR" in env:
                coloured = [line for line in t.lines(escapes=True)
                            if re.search(r"\x1b\[[0-9;]*[34]8[;:]|\x1b\[(?:[0-9]+;)*[39][0-7]m", line)]
                checks.equal(coloured, [], "colours with NO_COLOR")
            if "LC_ALL" in env:
                checks.that(all(ord(c) < 128 for line in t.lines() for c in line),
                            "only ASCII with LC_ALL=C", t.lines())
            t.keys("q")
            t.wait(PROMPT)

    for leave, how in (("quit", "q"), (signal.SIGTERM, None), (signal.SIGSEGV, None),
                       (signal.SIGABRT, None), (signal.SIGHUP, None), (signal.SIGQUIT, None),
                       (signal.SIGUSR1, None)):
        with Terminal(ws) as t:
            before = stty(t)
            t.line("echo before the screen")
            kms.wait_for(lambda: "before the screen" in t.lines(), 30, "the shell has said it")
            t.top(str(trace))
            lines = t.wait("OBJSZ")
            checks.that("before the screen" not in "".join(lines), "the alternate screen")
            if how:
                t.keys(how)
            else:
                os.kill(t.pid_of("kmemscope"), leave)
            lines = t.wait(PROMPT)
            checks.that(any(line == "before the screen" for line in lines),
                        f"{leave!r} brings the screen back", lines)
            checks.equal(stty(t), before, f"{leave!r} brings the terminal's settings back")

    with Terminal(ws) as t:
        t.line("echo before the screen")
        t.top(str(trace))
        t.wait("OBJSZ")
        t.keys("C-z")
        lines = t.wait(PROMPT)
        checks.that(any(line == "before the screen" for line in lines), "suspended", lines)
        t.resize(100, 30)
        t.line("fg")
        lines = t.wait("OBJSZ")
        lines = t.wait(r"\?:keys$")
        checks.equal(len(lines), 30, "lines after it went on in a larger terminal")
        t.keys("C-c")
        t.wait(PROMPT)


def ends(ws, checks):
    """The session ends while one looks at it: the last data stay, and the trace answers."""
    with Demo(ws) as demo, Terminal(ws) as t:
        t.top()
        t.wait("LIVE")
        t.wait("^>kmem")
        t.wait("5 Faults!")
        end_demo(ws, demo)
        lines = t.wait("EXITED")
        checks.that(len(rows(lines, "OBJSZ")) > 5, "the last data stay", lines)
        reverse = t.lines(escapes=True)[0]
        checks.that("\x1b[7m" in reverse or re.search(r"\x1b\[[0-9;]*7", reverse),
                    "the first line stands out", reverse)
        t.keys("5")
        t.wait(r"^KIND.*\n>[a-z_]+ ")
        t.keys("Enter")
        t.wait("BUG: ")
        t.keys("Q")
        t.wait(PROMPT)
    with Demo(ws) as demo, Terminal(ws) as t:
        t.top()
        t.wait("LIVE")
        os.kill(t.pid_of("kmemscope"), signal.SIGKILL)
        t.wait("Killed")
        checks.that(demo.poll() is None and ws.run([kms.KMEMSCOPE, "stats"]).status == 0,
                    "the session goes on without its screen")


def beside(ws, checks):
    """demo in a terminal, and run --top: the screen beside the program that it started."""
    with Terminal(ws) as t:
        before = stty(t)
        t.line(f"{kms.KMEMSCOPE} demo -o {ws.path}/demo.kms; echo status $?")
        t.wait("LIVE")
        t.wait("5 Faults!")
        session = ws.session()
        t.keys("q")
        lines = t.wait("^status ")
        checks.that("status 0" in lines, "the status of demo", lines)
        checks.that(any("the trace is" in line for line in lines), "where the trace is", lines)
        checks.that(not pathlib.Path(f"/proc/{session['program_pid']}").exists(),
                    "the kernel ends with its screen")
        checks.equal(stty(t), before, "the terminal's settings after demo")
        checks.that(len(ws.items("faults", ws.path / "demo.kms")) > 0, "faults in the trace")

        program = "echo from the program; read line; echo read $line; exec sleep 1000"
        t.line(f"clear; {kms.KMEMSCOPE} run --top -o {ws.path}/run.kms -- sh -c '{program}'; "
               "echo status $?")
        lines = t.wait("LIVE")
        t.wait("OBJSZ")
        checks.that("from the program" not in "".join(lines), "the program is not on the screen")
        session = ws.session()
        t.keys("q")
        t.wait(f"pid {session['program_pid']} goes on")
        t.keys("C-c")
        lines = t.wait("^status ")
        checks.that("status 130" in lines, "^C reaches the program", lines)
        output = ws.path / "run.kms.out"
        checks.equal(output.read_text().splitlines(), ["from the program", "read"],
                     "what it printed, and that it had nothing to read")
        checks.that(any("events" in line for line in lines), "the summary", lines)

        t.line(f"clear; {kms.KMEMSCOPE} run --top -o {ws.path}/own.kms -- sh -c 'exit 5'; echo status $?")
        t.wait("EXITED")
        t.keys("q")
        lines = t.wait("^status ")
        checks.that("status 5" in lines, "the status of a program that ended under the screen", lines)
        checks.that("goes on" not in "".join(lines), "nothing goes on", lines)
        checks.equal(stty(t), before, "the terminal's settings after its end")

        t.line(f"clear; {kms.KMEMSCOPE} run --top -o {ws.path}/lost.kms -- sleep 1003; echo status $?")
        t.wait("LIVE")
        session = ws.session()
        os.kill(session["pid"], signal.SIGKILL)
        t.wait("LOST")
        t.keys("C-c")
        t.wait(f"pid {session['program_pid']} goes on")
        os.kill(session["program_pid"], signal.SIGTERM)
        lines = t.wait("^status ")
        checks.equal(stty(t), before, "the terminal's settings after the tracer's end")

        ended = ws.path / "ended"  # what is written to the screen now may be cut in two anywhere
        t.line(f"clear; {kms.KMEMSCOPE} demo -o {ws.path}/killed.kms; echo $? > {ended}")
        t.wait("LIVE")
        session = ws.session()
        os.kill(t.pid_of("kmemscope"), signal.SIGKILL)
        kms.wait_for(lambda: ended.exists() and ended.read_text() == "137\n", DEADLINE, "its end")
        alive = ws.run([kms.KMEMSCOPE, "stats", "--json"])
        checks.equal(alive.status, 0, "the kernel's session without its screen")
        os.kill(session["program_pid"], signal.SIGKILL)
        kms.wait_for(lambda: not ws.session(), DEADLINE, "the end of the session")
        t.type("stty sane; tput rmcup; clear")
        t.keys("C-j")  # the terminal was left raw
        t.wait(PROMPT)
        t.line(f"{kms.KMEMSCOPE} demo -o {ws.path}/killed.kms; echo status $?")
        t.wait("LIVE")
        os.kill(ws.session()["program_pid"], signal.SIGKILL)
        t.wait("EXITED")
        t.keys("5")
        t.wait("KIND")
        t.keys("q")
        t.wait("^status ")
    done = ws.run([kms.KMEMSCOPE, "run", "--top", "--", "true"])
    checks.equal(done.status, 125, "run --top without a terminal")


def url(ws, checks):
    """A session's TCP port: with its token, without, and with one that may only read."""
    program = ws.start([kms.KMEMSCOPE, "run", "-q", "--http", "0", "-o", ws.path / "http.kms", "--",
                        "sleep", "1000"])
    folder = kms.wait_for(lambda: [f.parent for f in ws.runtime.glob("kmemscope/*/http.url")],
                          DEADLINE, "the port")[0]
    address = (folder / "http.url").read_text().strip()
    token, read = str(folder / "token"), (folder / "token-read").read_text().strip()
    for given in (token, (folder / "token").read_text().strip(), read):
        done = ws.run([kms.KMEMSCOPE, "top", "--once", address], env={"KMEMSCOPE_TOKEN": given})
        checks.that(done.status == 0 and b"F1Help" in done.stdout, "one frame from a URL", done)
    done = ws.run([kms.KMEMSCOPE, "top", "--once", address])
    checks.that(done.status == 1 and b"token" in done.stderr, "without a token", done)
    done = ws.run([kms.KMEMSCOPE, "top", "--json", address], env={"KMEMSCOPE_TOKEN": "wrong"})
    checks.that(done.status == 1 and done.stdout == b"", "with a wrong token", done)
    for bad in ("http://", address + "/path", "http://user@127.0.0.1:1", address + "?target=1"):
        done = ws.run([kms.KMEMSCOPE, "stats", bad])
        checks.that(done.status == 1 and b"only http://HOST:PORT" in done.stderr, f"{bad}", done)
    with Terminal(ws, env={"KMEMSCOPE_TOKEN": token}) as t:
        t.top(address)
        t.wait("LIVE")
        t.keys("4")
        t.type("+")
        t.line("512")
        t.wait("asked 512 ")
        t.keys("Escape", "q")
        t.wait(PROMPT)
    with Terminal(ws, env={"KMEMSCOPE_TOKEN": read}) as t:
        t.top(address)
        t.wait("LIVE")
        t.keys("4")
        t.type("+")
        t.line("1024")
        t.wait("may read only")
        t.keys("Escape", "q")
        t.wait(PROMPT)
    checks.equal(ws.json("guard")["depth_requested"], 512, "what was written, and what was not")
    os.kill(ws.session()["program_pid"], signal.SIGTERM)
    program.wait(DEADLINE)


TESTS = {"views": views, "keys": keys, "targets": targets, "terminals": terminals, "ends": ends, "beside": beside, "url": url}


def main():
    kms.need("tmux")
    checks = kms.Checks()
    with kms.Workspace("screens") as ws:
        ws.env.pop("NO_COLOR", None)
        ws.env["XDG_STATE_HOME"] = ""
        try:
            TESTS[sys.argv[1]](ws, checks)
        finally:
            session = ws.session()
            if session:  # a test that failed leaves it
                with contextlib.suppress(ProcessLookupError):
                    os.kill(session["program_pid"], signal.SIGKILL)
    sys.exit(checks.status())


if __name__ == "__main__":
    main()
