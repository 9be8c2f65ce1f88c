#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes the picture of the page in the documentation: the demo kernel after three seconds of its time.

usage: screenshot.py docs/page.png
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import browser  # noqa: E402
import kms  # noqa: E402

PATIENCE_S = 60
POINTS = 8


def main():
    browser.need()
    with kms.Workspace("shot") as workspace, browser.Browser(1200, 1500) as page:
        log = workspace.path / "stderr"
        with log.open("wb") as stderr:
            workspace.start([kms.KMEMSCOPE, "run", "--http", "0", "-o", workspace.path / "demo.kms", "--guard-depth",
                             "3000", "--", kms.BUILD / "test/system/demo_kernel", "--forever", "--seconds", "8"],
                            stderr=stderr)
            found = kms.wait_for(lambda: re.search(r"http://\S+#token=\S+", log.read_text()), PATIENCE_S, "the address")
            page.open(found.group(0))
            page.wait(lambda: len(page.values()["faults"]) >= 8, "the bugs")
            page.wait(lambda: len(page.all("#timeline tbody tr")) >= POINTS and page.all("#leaks tr.row"), "a chart")
            page.wait(lambda: float(page.values()["tiles"]["Rates"]) > 0, "rates")
            page.script("document.querySelector('#leaks tr.row').click()")
            page.one("#leaks tr.detail")
            page.screenshot(sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
