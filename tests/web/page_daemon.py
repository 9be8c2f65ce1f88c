#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The page of a daemon: all its targets are listed, sums are over them, ?target= shows one, one that comes is there.

usage: page_daemon.py
"""

import pathlib
import re
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import browser  # noqa: E402
import kms  # noqa: E402

PROGRAM = kms.BUILD / "test/web/page_target"
LIBRARY = kms.BUILD / "lib/libkmem_malloc.so"
LEAKS, LEAK_BYTES = 300, 48
MORE = 1000
PATIENCE_S = 60


class Daemon:
    """A daemon with a page, and programs that join it."""

    def __init__(self, workspace):
        self.workspace = workspace
        log = workspace.path / "stderr"
        self.child = workspace.start([kms.KMEMSCOPE, "daemon", "--http", "0"], stderr=log.open("w+b"))
        self.url = kms.wait_for(lambda: (re.search(r"http://\S+#token=\S+", log.read_text()) or [None])[0], PATIENCE_S,
                                "the daemon prints its page's address")
        self.socket = kms.wait_for(workspace.session, PATIENCE_S, "its session")["socket"]

    def start(self, lose):
        """A target with so many lost blocks more than the program has anyway; its process."""
        child = self.workspace.start([PROGRAM], env={"LD_PRELOAD": str(LIBRARY), "KMEMSCOPE_SOCKET": self.socket})
        assert child.stdout.readline() == b"ready\n"
        child.stdin.write(f"lose {lose}\n".encode())
        child.stdin.flush()
        assert child.stdout.readline() == b"done\n"
        return child

    def document(self, name, *of):
        return self.workspace.json(name, *of)

    def suspects(self, target=None):
        """Bytes and blocks of all suspects, or those of one target."""
        items = self.document("leaks", *(("--target", target) if target else ()))["items"]
        return sorted((leak["bytes"], leak["count"]) for leak in items if leak["suspect"])


def options(page):
    """What can be chosen: value and text."""
    return [(o.get_attribute("value"), o.text) for o in page.all("header select option")]


def lost_by(page):
    """Bytes and blocks of the rows of leaks."""
    return sorted((int(row["Bytes"]), int(row["Blocks"])) for row in page.values()["leaks"])


def main():
    browser.need()
    checks = kms.Checks()
    with kms.Workspace("page-daemon") as workspace, browser.Browser(1300, 1400) as page:
        daemon = Daemon(workspace)
        counts = [LEAKS, MORE]  # of the first suspect
        children = [daemon.start(0), daemon.start(MORE)]
        page.open(daemon.url)
        page.wait(lambda: len(options(page)) == 3, "both targets can be chosen")
        ids = {}
        for value, text in options(page)[1:]:
            ids[int(re.search(r"page_target/(\d+) running", text)[1])] = value
        checks.equal(set(ids), {child.pid for child in children}, "who they are")
        page.wait(lambda: lost_by(page) == daemon.suspects(), "the suspects of both are rows")
        checks.equal({row["id"].split()[0] for row in page.values()["leaks"]}, set(ids.values()), "some of each")
        total = daemon.document("stats")
        checks.equal((page.values()["tiles"]["Live"], len(page.values()["faults"])), (str(total["live_bytes"]), 2),
                     "tiles and faults are of both")
        for child, n in zip(children, counts):
            page.open(daemon.url.split("#")[0] + f"?target={ids[child.pid]}")
            page.wait(lambda: lost_by(page) == daemon.suspects(ids[child.pid]), f"?target= of {n} lost blocks")
            checks.equal(lost_by(page)[-1], (n * LEAK_BYTES, n), f"{n}: which the program lost")
            one = daemon.document("stats", "--target", ids[child.pid])
            shown = page.values()
            checks.equal((shown["tiles"]["Live"], len(shown["faults"])), (str(one["live_bytes"]), 1), f"{n}: its figures")
            checks.equal(len(options(page)), 3, f"{n}: the other one can be chosen")
        third = daemon.start(2 * MORE)
        page.wait(lambda: len(options(page)) == 4, "one that comes is listed")
        value = [v for v, text in options(page) if str(third.pid) in text][0]
        page.one(f"header select option[value='{value}']").click()
        rows = page.wait(lambda: (r := lost_by(page)) == daemon.suspects(value) and r, "and chosen")
        checks.equal(rows[-1], (2 * MORE * LEAK_BYTES, 2 * MORE), "its leak")
        query = urllib.parse.urlparse(page.driver.current_url).query
        checks.equal(query, f"target={value}", "which is in the page's address")
        page.one("#depth").send_keys("1000\n")
        page.wait(lambda: page.values()["guard"].get("Requested") == "1000", "a depth for it alone")
        guards = {str(g["target"]): g["depth_requested"] for g in daemon.document("guard")["items"]}
        checks.equal({t: d for t, d in guards.items() if d}, {value: 1000}, "no other was asked")
        checks.equal(page.problems(), [], "errors in the page")
        for child in [*children, third]:
            child.communicate(timeout=PATIENCE_S)
            checks.equal(child.returncode, 0, "the end of a program")
        page.wait(lambda: "exited" in dict(options(page))[value], "the page says that it has ended")
        checks.equal(lost_by(page)[-1], rows[-1], "its figures stay")
        daemon.child.terminate()
        checks.equal(daemon.child.wait(PATIENCE_S), 0, "the daemon's end")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
