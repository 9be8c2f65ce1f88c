# SPDX-License-Identifier: BSD-2-Clause
"""`kmemscope attach` to a guest, for measurements."""

import os
import pathlib
import signal
import subprocess
import time

import kms

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """CPU time of a process so far, all its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Tracer:
    """Attached from the begin to end(); attach_s is how long it took until clients could ask."""

    def __init__(self, ws, pid, options):
        self.ws = ws
        begin = time.monotonic()
        self.child = ws.start([kms.KMEMSCOPE, "attach", "-q", "-o", ws.path / "guest.kms", *options,
                               f"qemu:pid:{pid}"], stdin=subprocess.DEVNULL)
        kms.wait_for(ws.session, 60, "the session")
        self.attach_s = time.monotonic() - begin

    def stats(self):
        return self.ws.json("stats")

    def cpu_s(self):
        return cpu_s(self.child.pid)

    def set(self, variable, value):
        """Until the guest has answered."""
        def done():
            said = self.ws.run([kms.KMEMSCOPE, "db", "-e", f"w {variable} {value}"]).stdout
            return said and b"pending" not in said
        kms.wait_for(done, 60, f"{variable} is {value}")

    def end(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(60)
        (self.ws.path / "guest.kms").unlink()
