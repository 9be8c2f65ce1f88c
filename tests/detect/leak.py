#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""1,000 blocks lost among 1,000,000 balanced allocations come first in `leaks`: of 48 bytes, and of 20 to 5000.

Asked while the program waits on its input at its end, and of the file afterwards. A leak of mixed sizes is one, in
every face.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

SOURCE = "tests/detect/leak.c"
PAIRS, LEAKS, LEAK_BYTES = 1000000, 1000, 48
MIXED_MIN, MIXED_MAX, MIXED_CACHES = 20, 5000, 15
MIXED_SIZES = sorted(MIXED_MIN + i * (MIXED_MAX - MIXED_MIN) // (LEAKS - 1) for i in range(LEAKS))
PATIENCE_S = 120


def lost_bytes(mode):
    return sum(MIXED_SIZES) if mode == "mixed" else LEAKS * LEAK_BYTES


def check_first(checks, title, leaks, mode=""):
    if not checks.that(leaks, f"{title}: there are suspects"):
        return
    first = leaks[0]
    line = kms.line_of(SOURCE, "leak")
    checks.that(first["suspect"], f"{title}: is a suspect", first["score"])
    checks.equal(first["count"], LEAKS, f"{title}: count")
    checks.equal(first["bytes"], lost_bytes(mode), f"{title}: bytes")
    checks.equal((first["allocs"], first["evidence"]["freed"]), (LEAKS, 0), f"{title}: allocations and frees")
    parts = first["caches"]
    checks.equal(sum(part["bytes"] for part in parts), first["bytes"], f"{title}: caches add up")
    checks.equal(sum(part["count"] for part in parts), first["count"], f"{title}: their blocks add up")
    checks.equal(parts[0]["cache"], first["cache"], f"{title}: the largest part names it")
    checks.that(parts == sorted(parts, key=lambda part: -part["bytes"]), f"{title}: largest part first", parts)
    checks.that(len(parts) >= MIXED_CACHES if mode == "mixed" else len(parts) == 1, f"{title}: caches", parts)
    checks.that(kms.frame_is(first["stack"], "lose_block", SOURCE, line),
                f"{title}: names lose_block {SOURCE}:{line}", kms.show_stack(first["stack"]))


def live_leaks(workspace):
    """Suspects while the program waits, once the view has caught up with what it did."""
    def caught_up():
        stats = workspace.json("stats")
        return stats["ring"]["lost"] == 0 and stats["frees"] >= PAIRS

    kms.wait_for(caught_up, PATIENCE_S, "the view has caught up", pause_s=0.05)
    return workspace.items("leaks")


def ask(session, path):
    connection = kms.UnixConnection(session["socket"])
    connection.request("GET", path)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return document


def check_faces(checks, title, workspace, leak):
    """A live leak's blocks, its site, and the screen's data say what its row says."""
    session = workspace.session()
    blocks = ask(session, f"/api/v1/blocks?site={leak['stack_id']}&limit=1000")
    checks.equal(sorted(block["size"] for block in blocks["items"]), MIXED_SIZES, f"{title}: blocks of all caches")
    sites = [site for site in ask(session, "/api/v1/sites")["items"] if site["stack_id"] == leak["stack_id"]]
    checks.equal([(site["live_bytes"], site["live_objects"]) for site in sites], [(leak["bytes"], leak["count"])],
                 f"{title}: one site")
    screen = [row for row in workspace.json("top")["leaks"]["items"] if row["stack_id"] == leak["stack_id"]]
    checks.equal([(row["bytes"], row["count"], row["caches"]) for row in screen],
                 [(leak["bytes"], leak["count"], leak["caches"])], f"{title}: one row of the screen")
    text = workspace.run([kms.KMEMSCOPE, "leaks"]).stdout.decode()
    checks.that(f" and {len(leak['caches']) - 1} other caches, score" in text, f"{title}: text names the caches", text)
    prompt = ask_prompt(workspace, "findleaks")
    checks.that(f" {LEAKS} {leak['stack_id']:16x} " in prompt, f"{title}: findleaks", prompt)


def ask_prompt(workspace, line):
    return workspace.run([kms.KMEMSCOPE, "db", "-e", line]).stdout.decode()


def check_sql(checks, title, workspace, trace, leak):
    rows = workspace.sql(trace, f"SELECT bytes, count, cache, caches FROM leaks WHERE stack_id = {leak['stack_id']}")
    checks.equal([(int(row[0]), int(row[1]), row[2], json.loads(row[3])) for row in rows],
                 [(leak["bytes"], leak["count"], leak["cache"], leak["caches"])], f"{title}: SQL leaks")
    rows = workspace.sql(trace, f"SELECT live_bytes, live_objects FROM sites WHERE stack_id = {leak['stack_id']}")
    checks.equal(rows, [[str(leak["bytes"]), str(leak["count"])]], f"{title}: SQL sites")


def run(checks, front, mode):
    title = f"leak {front} {mode}".rstrip()
    program = kms.BUILD / f"test/detect/leak_{front}_O2"
    if not program.exists():
        return
    with kms.Workspace("leak") as workspace:
        trace = workspace.path / "leak.kms"
        argv = workspace.traced_argv([program, "1", *([mode] if mode else [])], trace)
        child = workspace.start(argv)
        checks.equal(child.stdout.readline(), b"done\n", f"{title}: says done")
        live = live_leaks(workspace)
        if mode == "mixed" and live:
            check_faces(checks, title, workspace, live[0])
        child.stdin.close()
        checks.equal(child.wait(PATIENCE_S), 0, f"{title}: exit status")
        checks.equal(child.stderr.read(), b"", f"{title}: stderr is empty")
        after = workspace.items("leaks", trace)
        for when, leaks in (("live", live), ("file", after)):
            if mode == "legal":
                lost = [leak for leak in leaks if kms.frame_of(leak["stack"], "lose_block")]
                checks.equal(lost, [], f"{title} {when}: nothing of lose_block")
            else:
                check_first(checks, f"{title} {when}", leaks, mode)
        if mode == "mixed" and after:
            check_sql(checks, title, workspace, trace, after[0])
            checks.equal(after[0]["id"], live[0]["id"], f"{title}: the id stays")
        checks.equal(workspace.items("faults", trace), [], f"{title}: no faults")


def main():
    checks = kms.Checks()
    for front in ("malloc", "kmem"):
        for mode in ("", "legal", "mixed"):
            run(checks, front, mode)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
