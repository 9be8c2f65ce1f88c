#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""One moment of one seeded scenario: a stopped demo kernel has the same numbers on the screen (top --json), in the
command line, in the API, on the page and in SQL; so has its finished file.

usage: same_numbers.py
"""

import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import browser  # noqa: E402
import kms  # noqa: E402

SEED = 7
ENOUGH_ALLOCS = 60000
PATIENCE_S = 120
SAME_READINGS = 8
# members that every face shows, by document
STATS = ("live_bytes", "live_objects", "peak_bytes", "allocs", "frees", "alloc_rate", "free_rate", "faults")
CACHES = ("object_size", "objects_live", "objects_cached", "objects_guarded", "objects_total", "slabs", "pages",
          "waste_bytes", "live_bytes", "allocs", "frees")
GUARD = ("depth_requested", "depth", "used", "bytes", "pages", "window_frees", "evictions", "oldest_age_us",
         "limited_by", "backend")
LEAKS = ("bytes", "count", "allocs", "age_p50_us", "cache", "caches")
FAULTS = ("kind", "address", "size", "cache")
DOCUMENTS = ("targets", "stats", "caches", "guard", "leaks", "faults")


def ask(session, method, target, body=None):
    connection = kms.UnixConnection(session["socket"])
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, target, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status >= 400:
        raise AssertionError(f"{method} {target}: {answer.status} {text!r}")
    return json.loads(text)


def pick(item, members):
    return {member: item[member] for member in members}


def by(items, keys, members):
    """Rows by their key, with the members that are compared."""
    return {tuple(str(item[key]) for key in keys): pick(item, members) for item in items}


def numbers(documents):
    """What is compared, from documents of the API however they came here."""
    return {
        "seq": documents["stats"]["snapshot"]["seq"],
        "stats": pick(documents["stats"], STATS),
        "caches": by(documents["caches"]["items"], ("target", "name"), CACHES),
        "guard": pick(documents["guard"], GUARD),
        "leaks": by(documents["leaks"]["items"], ("target", "id"), LEAKS),
        "faults": by(documents["faults"]["items"], ("target", "id"), FAULTS),
    }


def of_api(session):
    return {name: ask(session, "GET", f"/api/v1/{name}?limit=1000" if name in ("caches", "leaks", "faults")
                      else f"/api/v1/{name}") for name in DOCUMENTS}


def of_cli(workspace, *source):
    return {name: workspace.json(name, *source) for name in DOCUMENTS}


def of_screen(workspace, *source):
    done = workspace.run([kms.KMEMSCOPE, "top", "--json", *source], timeout=PATIENCE_S)
    if done.status != 0:
        raise AssertionError(f"top --json: {done!r}")
    return json.loads(done.stdout)


def of_sql(workspace, trace):
    """The same figures by SQL, in the API's words."""
    def rows(query):
        done = workspace.run([kms.KMEMSCOPE, "sql", query, trace])
        if done.status != 0:
            raise AssertionError(f"sql {query}: {done!r}")
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    def table(name, members, keys=(), where=""):
        columns = ",".join(f"'{m}'," + (f'json("{m}")' if m == "caches" else f'"{m}"') for m in (*keys, *members))
        return rows(f"SELECT json_object({columns}) FROM {name} {where}")

    seq = rows("SELECT json_quote(value) FROM meta WHERE key = 'snapshot_seq'")[0]
    faults = table("faults", FAULTS, ("target", "id"))
    for fault in faults:
        fault["address"] = hex(fault["address"] & (1 << 64) - 1)
    return {
        "seq": seq,
        "stats": table("stats", STATS, where="WHERE target = 0")[0],
        "caches": by(table("caches", CACHES, ("target", "name")), ("target", "name"), CACHES),
        "guard": pick(table("guard", GUARD)[0], GUARD),
        "leaks": by(table("leaks", LEAKS, ("target", "id")), ("target", "id"), LEAKS),
        "faults": by(faults, ("target", "id"), FAULTS),
    }


def compare(checks, face, seen, truth):
    for part in truth:
        if not isinstance(truth[part], dict):
            checks.equal(seen[part], truth[part], f"{face}: {part}")
            continue
        differing = {key: (seen[part].get(key), value) for key, value in truth[part].items()
                     if seen[part].get(key) != value}
        extra = sorted(set(seen[part]) - set(truth[part]))
        checks.that(not differing and not extra, f"{face}: {part}",
                    f"differs (seen, API): {dict(list(differing.items())[:3])}, more: {extra[:3]}")


def compare_page(checks, page, truth):
    """The page's tiles, guard and rows: what it shows of the same documents."""
    wanted = str(truth["stats"]["live_bytes"])
    page.wait(lambda: page.values()["tiles"].get("Live") == wanted, "the page has come to the same moment")
    page.one("#leaks input[type=checkbox]").click()
    show_all = "document.querySelectorAll('section > .scroll > button').forEach((all) => all.click())"
    page.wait(lambda: page.script(show_all) or len(page.values()["leaks"]) == len(truth["leaks"]),
              f"{len(truth['leaks'])} leaks are shown")
    shown = page.values()
    checks.equal(shown["state"], "STOPPED", "page: the first line")
    checks.equal(shown["tiles"]["Rates"], str(truth["stats"]["alloc_rate"]), "page: alloc/s")
    checks.equal(shown["tiles"]["Faults"], str(truth["stats"]["faults"]), "page: faults")
    guard = truth["guard"]
    checks.equal([shown["guard"][name] for name in ("Requested", "In effect", "Used", "Window", "Address space",
                                                    "Evictions", "Limited by", "Back end")],
                 [str(guard[name]) for name in ("depth_requested", "depth", "used", "window_frees", "bytes",
                                                "evictions", "limited_by", "backend")], "page: guard")
    checks.equal({tuple(row["id"].split()): (row["Bytes"], row["Blocks"], row["Age p50"]) for row in shown["leaks"]},
                 {key: (str(row["bytes"]), str(row["count"]), str(row["age_p50_us"]))
                  for key, row in truth["leaks"].items()}, "page: leaks")
    checks.equal({tuple(row["id"].split()): (row["In use"], row["Total"], row["Guarded"], row["Slabs"], row["Waste"])
                  for row in shown["caches"]},
                 {key: tuple(str(row[m]) for m in ("objects_live", "objects_total", "objects_guarded", "slabs",
                                                   "waste_bytes")) for key, row in truth["caches"].items()},
                 "page: caches")
    checks.equal([(row["Kind"], row["Block"]) for row in reversed(shown["faults"])],
                 [(row["kind"], str(row["size"])) for row in truth["faults"].values()], "page: faults, each")
    checks.equal(page.problems(), [], "page: no errors")


def url_of(log):
    found = re.search(r"http://\S+#token=\S+", log.read_text())
    return found and found.group(0)


def settled(session):
    """The figures, once they do not change any more: an event whose predecessor stands in a thread that was stopped
    before it could publish it waits for a moment, then it is counted without it."""
    seen = []

    def same():
        seen.append(numbers(of_api(session)))
        return len(seen) > SAME_READINGS and all(s == seen[-1] for s in seen[-SAME_READINGS:])

    kms.wait_for(same, PATIENCE_S, "the figures stand still", pause_s=0.1)
    return seen[-1]


def stopped(session):
    targets = ask(session, "GET", "/api/v1/targets")["items"]
    return all(target["state"] == "stopped" for target in targets)


def live(checks, workspace, trace, log):
    session = workspace.session()
    kms.wait_for(lambda: ask(session, "GET", "/api/v1/stats")["allocs"] >= ENOUGH_ALLOCS, PATIENCE_S,
                 "the demo has done something", pause_s=0.05)
    ask(session, "POST", "/api/v1/targets/1/stop")
    kms.wait_for(lambda: stopped(session), PATIENCE_S, "the demo stands still")
    truth = settled(session)
    checks.that(truth["stats"]["faults"] and truth["leaks"] and truth["guard"]["used"], "there is something to compare")
    compare(checks, "command line", numbers(of_cli(workspace)), truth)
    compare(checks, "screen", numbers(of_screen(workspace)), truth)
    kms.wait_for(lambda: of_sql(workspace, trace)["seq"] == truth["seq"], PATIENCE_S, "the file has come to it")
    compare(checks, "SQL", of_sql(workspace, trace), truth)
    if browser.webdriver:
        with browser.Browser(1300, 1400) as page:
            page.open(url_of(log))
            compare_page(checks, page, truth)
    compare(checks, "API, afterwards", numbers(of_api(session)), truth)
    ask(session, "POST", "/api/v1/targets/1/continue")


def main():
    checks = kms.Checks()
    with kms.Workspace("same") as workspace:
        trace, log = workspace.path / "same.kms", workspace.path / "stderr"
        with log.open("wb") as stderr:
            child = workspace.start([kms.KMEMSCOPE, "run", "--http", "0", "-o", trace, "--guard-depth", "512", "--",
                                     kms.BUILD / "test/system/demo_kernel", "--seed", SEED],
                                    stdin=None, stderr=stderr)
            kms.wait_for(lambda: url_of(log) and workspace.session(), PATIENCE_S, "the session")
            live(checks, workspace, trace, log)
            checks.equal(child.wait(PATIENCE_S), 0, "the demo goes on to its end")
        truth = numbers(of_cli(workspace, trace))
        compare(checks, "file, screen", numbers(of_screen(workspace, trace)), truth)
        compare(checks, "file, SQL", of_sql(workspace, trace), truth)
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
