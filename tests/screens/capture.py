#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes docs/screens.md: the screen on the live demo kernel, captured in tmux.

    KMS_BUILD=build/release tests/screens/capture.py

Look at what it wrote before you commit it.
"""

import os
import signal
import subprocess
import sys
import time

import screens
from screens import kms

INTRODUCTION = """\
# Screens

`kmemscope demo` in a terminal, as `tests/screens/capture.py` captured it. `?` lists the keys; how the screen is made stands
in [tui](../tui/README.md).
"""


def show(out, t, title, text):
    out.append(f"\n## {title}\n\n{text}\n\n```\n" + "\n".join(t.lines()) + "\n```\n")


def small(ws, out):
    with screens.Terminal(ws, cwd=kms.SOURCE) as t:
        t.top()
        t.wait("^>kmem")
        t.wait("5 Faults!")
        time.sleep(20)  # for a graph that shows something
        show(out, t, "80x24: the slabs",
             "`!` behind a view: it needs a look. Sorted by what happens most.")
        t.keys("3")
        t.wait(r"^>[! ]\w+.* \d+ ")
        show(out, t, "80x24: leak suspects", "Highest score first; `!` marks suspects.")
        t.type("/usb_leak_st")
        t.keys("Enter")
        t.wait("^>[! ]usb_leak_stalled")
        t.keys("Enter")
        t.wait("#0  usb_leak_stalled")
        show(out, t, "80x24: one suspect", "Enter goes one level down, Enter again to its live blocks.")
        t.keys("Enter")
        t.wait(r"^> *0x[0-9a-f]+ ")
        t.keys("Enter")
        t.wait(r"had \d+ owner")
        show(out, t, "80x24: a block of it", "Every owner that the address ever had.")
        t.keys("4")
        t.wait("in effect")
        t.type("+")
        t.type("30000")
        t.keys("Enter")
        t.wait("asked 30000   in effect 30208")
        time.sleep(3)  # until the FIFO holds something
        show(out, t, "80x24: the guard, its depth just set",
             "`+` is the prompt with the beginning of the command in it.")
        t.keys("Escape", "Q")
        t.wait(screens.PROMPT)


def large(ws, out):
    with screens.Terminal(ws, 140, 45, cwd=kms.SOURCE) as t:
        t.top()
        t.wait("^>kmem")
        t.wait("LIVE/COUNT")
        show(out, t, "140x45: the slabs", "Beside the list the selected cache, its slabs as maps.")
        t.keys("5")
        t.wait("KIND")
        t.type("/use_after_free")
        t.keys("Enter")
        t.wait("BUG: use_after_free")
        show(out, t, "140x45: faults", "Beside the list the report.")
        t.keys("Q")
        t.wait(screens.PROMPT)


def several(ws, out):
    """Three programs of a daemon."""
    daemon = ws.start([kms.KMEMSCOPE, "daemon", "--dir", ws.path], stderr=subprocess.DEVNULL)
    kms.wait_for(lambda: (ws.runtime / "kmemscope/daemon/api.sock").exists(), screens.DEADLINE, "a daemon")
    programs = [ws.start([kms.KMEMSCOPE, "run", "--daemon", "-q", "--", *argv], stderr=subprocess.DEVNULL)
                for argv in (["sleep", "1001"], ["tail", "-f", "/dev/null"], ["sort", "-m", ws.path / "fifo"])]
    kms.wait_for(lambda: len(ws.items("targets", "daemon")) == 3, screens.DEADLINE, "the programs")
    with screens.Terminal(ws, cwd=kms.SOURCE) as t:
        t.top("daemon")
        t.wait("^>malloc")
        t.keys("T")
        t.wait("sleep 1001$")
        show(out, t, "80x24: the targets of a daemon",
             "`T` lists them; Enter shows one alone, `0` all again.")
        t.type("/tail")
        t.keys("Enter", "Enter")
        t.wait("target . +LIVE")
        t.wait("^>malloc")
        time.sleep(5)
        show(out, t, "80x24: one target alone", "The first line says which; everything below is its own.")
        t.keys("Q")
        t.wait(screens.PROMPT)
    for target in ws.items("targets", "daemon"):
        os.kill(target["pid"], signal.SIGTERM)
    for program in programs:
        program.wait(screens.DEADLINE)
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(screens.DEADLINE)


def main():
    kms.need("tmux")
    out = [INTRODUCTION]
    with kms.Workspace("capture") as ws:
        ws.env["XDG_STATE_HOME"] = ""
        with screens.Demo(ws):
            small(ws, out)
            large(ws, out)
    with kms.Workspace("capture") as ws:
        ws.env["XDG_STATE_HOME"] = ""
        os.mkfifo(ws.path / "fifo")
        several(ws, out)
    (kms.SOURCE / "docs/screens.md").write_text("".join(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
