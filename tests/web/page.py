#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The page in a browser: its figures are the API's, a depth is set, keys reach everything, hostile names stay text.

usage: page.py [SCREENSHOT]
"""

import pathlib
import re
import shutil
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import browser  # noqa: E402
import kms  # noqa: E402

SOURCE = "tests/web/page_target.c"
LEAKS, LEAK_BYTES = 300, 48
MIXED = 20
PATIENCE_S = 60
HOSTILE = "<img src=x onerror=alert(1)>"


class Session:
    """A traced program with a page."""

    def __init__(self, workspace, program, options=()):
        argv = [kms.KMEMSCOPE, "run", "--http", "0", "-o", workspace.path / "page.kms", *options,
                "--", program]
        self.workspace = workspace
        self.log = (workspace.path / "stderr").open("w+b")
        self.child = workspace.start(argv, stderr=self.log)
        assert self.child.stdout.readline() == b"ready\n"
        self.url = kms.wait_for(self.find_url, PATIENCE_S, "kmemscope prints the page's address")

    def find_url(self):
        text = (self.workspace.path / "stderr").read_text()
        found = re.search(r"http://\S+#token=\S+", text)
        return found and found.group(0)

    def tell(self, line):
        self.child.stdin.write(f"{line}\n".encode())
        self.child.stdin.flush()
        assert self.child.stdout.readline() == b"done\n"

    def document(self, name):
        return self.workspace.json(name)


def check_figures(checks, session, page):
    """Waits until the program's last word has come to the page; then every figure is the API's."""
    stats = session.document("stats")
    page.wait(lambda: page.values()["tiles"].get("Live") == str(stats["live_bytes"]), "live bytes on the page")
    page.wait(lambda: page.all("#leaks tr.row") and page.all("#faults tr.row") and page.all("#caches tr.row"), "rows")
    shown = page.values()
    leak = session.document("leaks")["items"][0]
    first = shown["leaks"][0]
    checks.equal((first["Bytes"], first["Blocks"]), (str(leak["bytes"]), str(leak["count"])), "the first suspect")
    checks.equal((leak["bytes"], leak["count"]), (LEAKS * LEAK_BYTES, LEAKS), "which is the program's")
    checks.that("lose_block (page_target.c:%d)" % kms.line_of(SOURCE, "lose") in first["Allocated in"],
                "named by function and line", first["Allocated in"])
    checks.equal([f["Kind"] for f in shown["faults"]], ["overflow"], "faults")
    caches = {c["name"]: c for c in session.document("caches")["items"]}
    for row in shown["caches"]:
        cache = caches[row["Cache"]]
        checks.equal((row["In use"], row["Total"], row["Slabs"]),
                     tuple(str(cache[m]) for m in ("objects_live", "objects_total", "slabs")), row["Cache"])


def check_guard(checks, session, page):
    """The depth is set on the page and holds in the program."""
    field = page.one("#depth")
    field.send_keys("30000\n")
    page.wait(lambda: page.values()["guard"].get("Requested") == "30000", "the request is written")
    session.tell("pairs 100")
    page.wait(lambda: page.values()["guard"].get("Used") == "100", "100 blocks in the FIFO")
    shown, guard = page.values()["guard"], session.document("guard")
    checks.equal((shown["Requested"], shown["In effect"]), ("30000", "30208"), "depth on the page")
    checks.equal((guard["depth_requested"], guard["depth"], guard["used"]), (30000, 30208, 100), "depth in the API")
    checks.equal(shown["Address space"], str(guard["bytes"]), "address space")
    page.one("#depth").send_keys("many\n")
    said = page.wait(lambda: page.one("#guard [role=status]").text.startswith("A depth is"), "a depth that is none")
    checks.that(said, "is refused with a reason")


def check_keys(checks, page):
    """Everything is reached without a mouse."""
    page.script("document.activeElement.blur()")
    page.press("3")
    page.wait(lambda: page.script("return document.activeElement.closest('#leaks') !== null"), "3 goes to the leaks")
    page.press("\n")
    stack = page.one("#leaks tr.detail .stack")
    checks.that("lose_block" in stack.text, "Enter opens the stack", stack.text)
    page.press("5")
    page.press("\n")
    report = page.one("#faults tr.detail pre").text
    checks.that("write_behind" in report and "overflow" in report, "Enter opens the report", report[:200])
    page.press("?")
    page.one("dialog[open]")
    page.press("\ue00c")
    page.wait(lambda: not page.all("dialog[open]"), "Escape closes the help")
    page.press("/")
    page.press("no such function")
    page.wait(lambda: not page.all("#leaks tr.row"), "the filter leaves nothing")
    checks.equal(urllib.parse.urlparse(page.driver.current_url).query, "filter=no+such+function", "the filter's link")
    checks.equal(urllib.parse.urlparse(page.driver.current_url).fragment, "", "the token is gone from the address")


def check_parts(checks, session, page):
    """A leak of two sizes is one row; its caches stand in it, each with its part."""
    session.tell(f"mixed {MIXED}")
    page.script("const f = document.querySelector('#filter'); f.value = 'lose_mixed';"
                "f.dispatchEvent(new Event('input', {bubbles: true}))")
    page.script("document.querySelector('#leaks input[type=checkbox]').checked || "
                "document.querySelector('#leaks input[type=checkbox]').click()")
    page.wait(lambda: [row["Blocks"] for row in page.values()["leaks"]] == [str(2 * MIXED)], "one row of both sizes")
    leak = next(row for row in session.document("leaks")["items"] if row["count"] == 2 * MIXED)
    checks.equal(page.values()["leaks"][0]["Cache"], f"{leak['cache']} +1", "the largest cache and how many more")
    page.one("#leaks tr.row").click()
    parts = page.one("#leaks tr.detail .parts").text.split("\n")
    checks.equal([(p.split(":")[0], int(p.split(" in ")[1].split()[0])) for p in parts],
                 [(c["cache"], c["count"]) for c in leak["caches"]], "its caches, the largest part first")


def check_end(checks, session, page):
    """The program ends: the last figures stay, and the page says so."""
    bytes_before = page.values()["tiles"]["Live"]
    session.child.stdin.close()
    checks.equal(session.child.wait(PATIENCE_S), 0, "exit status")
    page.wait(lambda: page.values()["state"].startswith(("ENDED", "NO CONNECTION")), "the page says that it is over")
    checks.equal(page.values()["tiles"]["Live"], bytes_before, "the last figures stay")


def check_origin(checks, session, page):
    """Nothing was asked from elsewhere, and nothing went wrong before the end."""
    origin = session.url.split("#")[0]
    foreign = [url for url in page.requests() if not url.startswith((origin, "chrome:", "data:"))]
    checks.equal(foreign, [], "requests to other places")


def main():
    browser.need()
    checks = kms.Checks()
    program = kms.BUILD / "test/web/page_target"
    with kms.Workspace("page") as workspace, browser.Browser(1300, 1400) as page:
        session = Session(workspace, program)
        page.open(session.url)
        check_figures(checks, session, page)
        check_guard(checks, session, page)
        check_keys(checks, page)
        check_parts(checks, session, page)
        if len(sys.argv) > 1:
            page.screenshot(sys.argv[1])
        checks.equal(page.problems(), [], "errors in the page")
        check_origin(checks, session, page)
        check_end(checks, session, page)
    with kms.Workspace("page") as workspace, browser.Browser() as page:
        hostile = workspace.path / HOSTILE.replace("/", "")
        shutil.copy(program, hostile)
        session = Session(workspace, hostile)
        page.open(session.url)
        page.wait(lambda: page.all("#leaks tr.row"), "rows")
        checks.that(HOSTILE[:8] in page.one("header .code").text, "a hostile name is text", page.one("header .code").text)
        checks.equal(page.all("header img, main img"), [], "and no markup")
        checks.equal(page.problems(), [], "errors in the page of a hostile name")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
