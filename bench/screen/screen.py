#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What the screen costs: percent of a core of `kmemscope top` at 10 frames a second, on the demo.

    screen.py [SECONDS]

Each view at 80x24 and 140x45 in tmux. Frames are counted in what it sends to the terminal.
Target: 5 % of a core. The server's part is shown beside it: it is the tracer's, not the screen's.
"""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/support"))

import kms  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Frames:
    """Counts bursts of output with a pause before each: a frame sends its changes at once."""

    def __init__(self, path):
        self.path, self.n, self.ending = path, 0, False
        self.thread = threading.Thread(target=self.count)

    def count(self):
        quiet, size = True, self.path.stat().st_size
        while not self.ending:
            time.sleep(0.01)
            now = self.path.stat().st_size
            self.n += quiet and now > size
            quiet, size = now == size, now

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.ending = True
        self.thread.join()


def tmux(ws, *args):
    env = {**ws.env, "TERM": "xterm-256color"}
    env.pop("TMUX", None)
    return subprocess.run(["tmux", "-S", str(ws.path / "tmux"), "-f", "/dev/null", *args],
                          env=env, cwd=ws.path, capture_output=True, check=True).stdout.decode()


def measure(ws, session, width, height, seconds):
    """Lines of the table for one size."""
    argv = f"exec {kms.KMEMSCOPE} top --interval 100"
    tmux(ws, "new-session", "-d", "-x", str(width), "-y", str(height), argv)
    tmux(ws, "resize-window", "-x", str(width), "-y", str(height))
    pid = int(tmux(ws, "list-panes", "-F", "#{pane_pid}"))
    output = ws.path / f"output-{width}"
    output.touch()
    tmux(ws, "pipe-pane", "-O", f"cat >{output}")
    kms.wait_for(lambda: "OBJSZ" in tmux(ws, "capture-pane", "-p"), 30, "the screen")
    for key, name in enumerate(("Slabs", "Sites", "Leaks", "Guard", "Faults", "Events"), 1):
        tmux(ws, "send-keys", str(key))
        time.sleep(2)  # until what is shown once only is there
        begin = time.monotonic()
        before = cpu_s(pid), cpu_s(session["pid"])
        with Frames(output) as frames:
            time.sleep(seconds)
        after = cpu_s(pid), cpu_s(session["pid"])
        took = time.monotonic() - begin
        print(f"{width}x{height:<4} {name:8} {100 * (after[0] - before[0]) / took:6.1f} %"
              f"  {frames.n / took:5.1f} frames/s"
              f"  tracer {100 * (after[1] - before[1]) / took:5.1f} %", flush=True)
    tmux(ws, "send-keys", "Q")
    kms.wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), 30, "its end")


def main():
    kms.need("tmux")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8
    with kms.Workspace("bench-screen") as ws:
        ws.start([kms.KMEMSCOPE, "demo", "--forever", "-o", ws.path / "live.kms"],
                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        session = kms.wait_for(ws.session, 30, "a session")
        try:
            for width, height in ((80, 24), (140, 45)):
                measure(ws, session, width, height, seconds)
        finally:
            os.kill(session["program_pid"], signal.SIGTERM)


if __name__ == "__main__":
    main()
