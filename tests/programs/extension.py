#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A module built with -g, loaded by Debian's stripped python3: reports name its functions and lines."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

SOURCE = "tests/programs/extension/kmsbugs.c"
FOLDER = kms.BUILD / "test/extension"
PROGRAM = """
import kmsbugs
kept = [str(i) * 5 for i in range(20000)]
for i in range(300):
    kmsbugs.leak(1)
    del kept[-20:]
kmsbugs.overflow(57)
print("end")
"""


def main():
    if not list(FOLDER.glob("kmsbugs*.so")):
        kms.skip("the extension module is not built (python3-dev)")
    checks = kms.Checks()
    with kms.Workspace("extension") as workspace:
        done, trace = workspace.traced([kms.PYTHON, "-c", PROGRAM], env={
            "PYTHONMALLOC": "malloc", "PYTHONPATH": str(FOLDER)})
        checks.equal((done.status, done.stdout, done.stderr), (0, b"end\n", b""), "python ran")
        leaks = [leak for leak in workspace.items("leaks", trace)
                 if kms.frame_of(leak["stack"], "lose_record")]
        if checks.equal(len(leaks), 1, "one suspect of lose_record"):
            checks.equal((leaks[0]["count"], leaks[0]["bytes"]), (300, 300 * 72), "count and bytes")
            checks.that(kms.frame_is(leaks[0]["stack"], "lose_record", SOURCE,
                                     kms.line_of(SOURCE, "leak")), "line of the leak",
                        kms.show_stack(leaks[0]["stack"]))
        faults = workspace.items("faults", trace)
        if checks.equal([f["kind"] for f in faults], ["overflow"], "one finding"):
            checks.equal(faults[0]["size"], 57, "size of the block")
            for stack, tag in (("stack", "free"), ("alloc_stack", "alloc")):
                checks.that(kms.frame_is(faults[0][stack], "copy_name", SOURCE,
                                         kms.line_of(SOURCE, tag)), f"line of {tag}",
                            kms.show_stack(faults[0][stack]))
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
