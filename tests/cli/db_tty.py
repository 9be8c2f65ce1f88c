#!/ usr / bin / env python3
#SPDX - License - Identifier : BSD - 2 - Clause
"""The db prompt on a terminal: editing, history, pages, and the terminal as it was afterwards."""

import http.server
import json
import os
import pty
import re
import select
import signal
import socketserver
import subprocess
import sys
import tempfile
import termios
import threading
import time

TOOL = os.path.join(os.environ["KMS_BUILD_DIR"], "test", "cli_tool")
failures = []


def check(condition, text):
    if not condition:
        failures.append(text)


class Terminal:
    """cli_tool db on a terminal of 80x24; without a source, on the fixture's file."""

    def __init__(self, folder, source="run.kms"):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 80))
        self.before = termios.tcgetattr(self.slave)
        self.seen = ""
        self.raw = b""
        with open(os.path.join(folder, "run.kms"), "w", encoding="utf-8") as file:
            file.write("fixture\n")
        environment = dict(os.environ, XDG_STATE_HOME=folder, XDG_RUNTIME_DIR=folder, HOME=folder, TERM="xterm")
        self.child = subprocess.Popen([TOOL, "db", source], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                      cwd=folder, env=environment)

    def until(self, text, seconds=30):
        """Reads until the text has come; what came up to it, escapes left out."""
        end = time.monotonic() + seconds
        while text not in self.plain():
            if time.monotonic() > end or not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {text!r} in {self.plain()[-300:]!r}")
            try:
                part = os.read(self.master, 65536)
                self.raw += part
                self.seen += part.decode()
            except OSError:
                raise AssertionError(f"ended before {text!r}: {self.plain()[-300:]!r}") from None
        plain = self.plain()
        at = plain.index(text) + len(text)
        self.seen = plain[at:]
        return plain[:at]

    def plain(self):
        return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", self.seen)

    def keys(self, text):
        os.write(self.master, text.encode())

    def enter(self, line, text):
        """Types a line once the prompt is there (until then the terminal itself edits), reads until the text has come."""
        self.until("db> ")
        self.keys(line + "\r")
        return self.until(text)


def ended_by(number):
    """A signal at the prompt, where the terminal is raw, and in the pager, where it shows nothing."""
    for where in ["prompt", "pager"]:
        with tempfile.TemporaryDirectory() as folder:
            terminal = Terminal(folder)
            if where == "pager":
                terminal.enter("help", "--db_more--")
            else:
                terminal.enter("p 1", "               1\r\n")
                terminal.until("db> ")
            check(termios.tcgetattr(terminal.slave) != terminal.before, f"{where}: keys come as they are pressed")
            terminal.child.send_signal(number)
            check(terminal.child.wait(30) == -number, f"{where}: signal {number} ends it: {terminal.child.returncode}")
            check(termios.tcgetattr(terminal.slave) == terminal.before, f"{where}: the terminal after signal {number}")


class Hostile(http.server.BaseHTTPRequestHandler):
    """A server whose every text is made to be seen by a terminal: sequences by ESC and by C1 controls."""

    TEXT = "a\x1b]52;c;QQ==\x07b\u009b31mc\u0080d\u202ee"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = {"output": "out\t" + self.TEXT + " \u00e9\n", "error": "err " + self.TEXT, "lines": 0, "stop": False,
                  "prompt": "db" + self.TEXT + "> "}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "-"


def servers_texts_are_filtered():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "api.sock")
        with socketserver.UnixStreamServer(path, Hostile) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            terminal = Terminal(folder, path)
            terminal.until("> ")
            terminal.keys("p 1\r")
            terminal.until("err ")
            terminal.until("> ")
            terminal.keys("\x04")
            check(terminal.child.wait(30) == 1, "ends with the error's status")
            server.shutdown()
        raw = terminal.raw
        plain = b"a?]52;c;QQ==?b?31mc?d?e"
        for text in [b"out\t" + plain + " \u00e9\r\n".encode(), b"err " + plain + b"\r\n"]:
            check(text in raw, f"shown as text: {text!r} in {raw!r}")
        check(b"\r\x1b[Kdba?]52;c;QQ==?b" in raw, f"the prompt is shown as text: {raw!r}")
        for text in [b"\x1b]", b"\x07", b"\xc2\x9b", b"\xc2\x80", b"\xe2\x80\xae"]:
            check(text not in raw, f"{text!r} does not come through: {raw!r}")


def main():
    servers_texts_are_filtered()
    for number in [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]:
        ended_by(number)
    with tempfile.TemporaryDirectory() as folder:
        terminal = Terminal(folder)
        terminal.enter("p 0t1x\x7f6", "              10\r\n")  # a mistake, taken back
        terminal.enter("\x10", "              10\r\n")  # the line before
        terminal.enter("5 q\x01\x1b[C\x1b[C\x0b\x01p/d 1", "         21\r\n")  # all over the line: "p/d 15 "
        terminal.enter("nonsense\x03p/x 7", "               7\r\n")  # dropped, and another
        terminal.enter("set $lines = 0t5", "\r\n")
        page = terminal.enter("help", "--db_more--").split("db> help")[-1]
        check(page.count("\r\n") == 5, f"a page of five lines is four behind the one typed: {page!r}")
        terminal.keys("\r")
        page = terminal.until("--db_more--")
        check(page.count("\r\n") == 1, f"return: a line more: {page!r}")
        terminal.keys(" ")
        page = terminal.until("--db_more--")
        check(page.count("\r\n") == 4, f"space: a page more: {page!r}")
        terminal.keys("q")
        terminal.enter("p/z é", "Bad character: byte 0xc3")
        terminal.enter("\x12p/d", "         21\r\n")  # searched for
        terminal.until("db> ")
        terminal.keys("\x04")
        check(terminal.child.wait(30) == 0, "ends with the last line's status")
        check(termios.tcgetattr(terminal.slave) == terminal.before, "the terminal is as it was")
        with open(os.path.join(folder, "kmemscope", "history"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        check(lines[0] == "p 0t16" and "help" in lines, f"the history is kept: {lines}")
        check("nonsense" not in lines, "what was dropped is not in it")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


sys.exit(main())
