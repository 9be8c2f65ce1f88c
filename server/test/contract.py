#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The API keeps to schema/openapi.json: every route is described and every description has a route; each answer is
valid, and holds no member that the document does not know; each parameter is taken where it is described and refused
elsewhere; pages put together are the whole list."""

import json
import os
import re
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    print("python3-jsonschema is not installed")
    sys.exit(77)

TOOL = os.path.join(os.environ["KMS_BUILD_DIR"], "test", "api_tool")
DOCUMENT = os.path.join(os.environ["KMS_SOURCE_DIR"], "schema", "openapi.json")
SAMPLES = {"target": "1", "limit": "3", "address": "0x7f3c00040040", "from": "10us", "to": "2000000", "kind": "alloc,free",
           "site": "13", "state": "open", "min_bytes": "8K", "min_score": "60", "sum": "1", "cache": "malloc-48", "step": "1s",
           "series": "live_bytes,lost", "a": "start", "b": "2",
           "topics": "stats,leaks", "hz": "0.5", "order": "desc"}
PATH_SAMPLES = {"/api/v1/caches/{name}": ["malloc-48"], "/api/v1/leaks/{id}": ["000000005eed0000", "000000005eed0004"],
                "/api/v1/faults/{id}": ["3", "11"], "/api/v1/stacks/{id}": ["15", "16"],
                "/api/v1/whatis/{address}": ["0x7f3c00040040", "7f3c000401c8", "1"], "/api/v1/history/{address}": ["0x7f3c00040048", "8"],
                "/api/v1/caches/{name}/slabs": ["malloc-48"],
                "/api/v1/variables/{name}": ["kmem_guard_depth", "guard_depth", "kmem_guard_maxsize"]}
failures = []


def check(condition, text):
    if not condition:
        failures.append(text)


def ask(method, target, extra=None):
    """Status, media type, Link header, body."""
    command = [TOOL, "get", method, target] + ([extra] if extra else [])
    done = subprocess.run(command, capture_output=True, check=True)
    head, link = done.stderr.decode().split("\n")[:2]
    status, media_type = head.split(" ", 1)
    return int(status), media_type, link, done.stdout.decode()


def close_objects(node):
    """The same schema, but members that are not named are not allowed."""
    if isinstance(node, list):
        return [close_objects(part) for part in node]
    if not isinstance(node, dict):
        return node
    closed = {key: close_objects(part) for key, part in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def validator(document, name):
    closed = close_objects(document["components"])
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": closed,
              "$ref": "#/components/schemas/" + name}
    return jsonschema.Draft202012Validator(schema)


def routes_match(document):
    routes = subprocess.run([TOOL, "routes"], capture_output=True, check=True, text=True).stdout.split("\n")
    described = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    served = set(filter(None, routes))
    check(len(served) > 10, "api_tool lists the routes")
    check(served == described, f"routes and document differ: {sorted(served ^ described)}")


def schema_name(operation, status="200", media_type="application/json"):
    content = operation["responses"][status]["content"]
    return content[media_type]["schema"].get("$ref", "").rsplit("/", 1)[-1] if media_type in content else ""


def answers_are_valid(document):
    for path, item in document["paths"].items():
        name = schema_name(item["get"]) if "get" in item else ""
        if not name:
            continue
        valid = validator(document, name)
        targets = [re.sub("{.*}", value, path) for value in PATH_SAMPLES.get(path, [""])]
        for parameter in item["get"].get("parameters", []):
            key = parameter.get("$ref", "").rsplit("/", 1)[-1]
            if key in SAMPLES and not (key == "target" and "{" in path):
                targets.append(f"{targets[0]}?{key}={SAMPLES[key]}")
        for target in targets:
            status, media_type, _, body = ask("GET", target)
            check((status, media_type) == (200, "application/json"), f"GET {target}: {status} {media_type}")
            for error in valid.iter_errors(json.loads(body)):
                failures.append(f"GET {target}: {error.json_path}: {error.message[:200]}")


def problems_are_valid(document):
    valid = validator(document, "Problem")
    for method, target, expected in [("GET", "/api/v1/nothing", 404), ("POST", "/api/v1/leaks", 405),
                                     ("GET", "/api/v1/leaks?target=77", 404), ("GET", "/api/v1/faults/99", 404),
                                     ("GET", "/api/v1/leaks?limit=0", 400), ("GET", "/api/v1/leaks?limt=1", 400),
                                     ("GET", "/api/v1/leaks?limit=1&limit=2", 400), ("GET", "/api/v1/stacks/0", 404),
                                     ("GET", "/api/v1/leaks?cursor=AAAA", 400), ("GET", "/readyz", 503),
                                     ("PATCH", "/api/v1/guard", 415), ("GET", "/api/v1/events?kind=none", 400),
                                     ("GET", "/api/v1/events?order=down", 400),
                                     ("POST", "/api/v1/marks", 415), ("GET", "/api/v1/whatis/xyz", 404),
                                     ("GET", "/api/v1/history/-1", 404), ("GET", "/api/v1/diff?a=4", 404),
                                     ("GET", "/api/v1/diff?b=nothing", 404), ("GET", "/api/v1/variables/kmem_nothing", 404),
                                     ("GET", "/api/v1/caches/nothing/slabs", 404), ("GET", "/api/v1/timeline?series=rss", 400),
                                     ("GET", "/api/v1/timeline?step=0", 400)]:
        status, media_type, _, body = ask(method, target)
        check((status, media_type) == (expected, "application/problem+json"), f"{method} {target}: {status} {media_type}")
        for error in valid.iter_errors(json.loads(body)):
            failures.append(f"{method} {target}: {error.json_path}: {error.message[:200]}")
        check(json.loads(body)["status"] == expected, f"{method} {target}: status member")


def parameters_match(document):
    for path, item in document["paths"].items():
        if "get" not in item:
            continue
        target = re.sub("{.*}", PATH_SAMPLES.get(path, [""])[0], path)
        described = {p["$ref"].rsplit("/", 1)[-1] for p in item["get"].get("parameters", []) if "$ref" in p}
        for key, value in SAMPLES.items():
            status, _, _, body = ask("GET", f"{target}?{key}={value}")
            unknown = status == 400 and "unknown parameter" in body
            check(unknown == (key not in described), f"{target} {'takes' if not unknown else 'refuses'} {key}")


def pages_are_the_whole():
    for path in ["targets", "caches", "caches?sum=1", "leaks", "faults", "sites", "events?kind=check", "events?kind=check&order=desc", "leaks?min_bytes=9000",
                 "blocks", "blocks?target=2&site=11", "history/0x7f3c00040080", "caches/malloc-48/slabs", "marks", "diff",
                 "diff?a=1&b=start&target=1", "audit"]:
        path = "/api/v1/" + path
        join = "&" if "?" in path else "?"
        whole = json.loads(ask("GET", f"{path}{join}limit=1000")[3])
        rows, target, pages = [], f"{path}{join}limit=2", 0
        while target and pages < 100:
            _, _, link, body = ask("GET", target)
            page = json.loads(body)
            rows += page["items"]
            cursor = page["next_cursor"]
            check(("rel=\"next\"" in link) == bool(cursor), f"{target}: Link and next_cursor agree")
            check(len(page["items"]) <= 2, f"{target}: at most limit rows")
            target = link[1:link.index(">")] if cursor else None
            pages += 1
        check(rows == whole["items"] and len(rows) > 0, f"{path}: {len(rows)} rows in pages, {len(whole['items'])} at once")
        check(whole.get("total", len(rows)) == len(rows), f"{path}: total")


def guard_can_be_changed(document):
    status, _, _, body = ask("PATCH", "/api/v1/guard", '{"depth": 1000}')
    check(status == 200 and json.loads(body)["depth"] == 1024, f"PATCH depth: {status} {body[:200]}")
    for error in validator(document, "Guard").iter_errors(json.loads(body)):
        failures.append(f"PATCH: {error.message[:200]}")
    check(ask("PATCH", "/api/v1/guard", '{"depth": 4096}')[0] == 202, "a pending change is 202")
    for bad in ["{}", "[]", "", "{", '{"depth": -1}', '{"depth": 1.5}', '{"depth": 1e12}', '{"depth": "x"}', '{"dept": 1}',
                '{"depth": 16777217}', '{"sample": 0}', '{"align": 5000}', '{"depth": "99999999"}', '{"depth": null}', '{"bytes": 1e300}']:
        status, _, _, body = ask("PATCH", "/api/v1/guard", bad or " ")
        check(status == 400, f"PATCH {bad}: {status}")


def variables_and_marks_can_be_written(document):
    status, _, _, body = ask("PATCH", "/api/v1/guard", '{"depth": 1000, "bytes": "64K", "sample": 10, "minsize": 0, "maxsize": "1G"}')
    check(status == 200 and json.loads(body)["depth"] == 1024, f"PATCH guard: {status} {body[:200]}")
    for name, value, expected in [("kmem_guard_depth", "1000", 200), ("guard_depth", "4096", 202), ("kmem_panic", '"2"', 200),
                                  ("kmem_panic", "3", 400), ("kmem_size", "-1", 400), ("kmem_guard_maxsize", '"0xffffffffffffffff"', 200),
                                  ("kmem_guard_sample", "0", 400), ("kmem_size", "null", 400), ("kmem_size", "0.5", 400),
                                  ("nothing", "1", 404), ("kmem_", "1", 404)]:
        status, _, _, body = ask("PATCH", "/api/v1/variables/" + name, f'{{"value": {value}}}')
        check(status == expected, f"PATCH {name} {value}: {status} {body[:200]}")
        schema = "VariableDocument" if status < 300 else "Problem"
        for error in validator(document, schema).iter_errors(json.loads(body)):
            failures.append(f"PATCH {name}: {error.message[:200]}")
    for bad in ["{}", "[]", '{"value": 1, "value2": 1}', '{"valu": 1}']:
        check(ask("PATCH", "/api/v1/variables/kmem_size", bad)[0] == 400, f"PATCH variable {bad}")
    status, _, _, body = ask("POST", "/api/v1/marks", '{"name": "before"}')
    check(status == 201 and json.loads(body)["id"] == 4 and json.loads(body)["name"] == "before", f"POST mark: {status} {body[:200]}")
    for error in validator(document, "MarkDocument").iter_errors(json.loads(body)):
        failures.append(f"POST mark: {error.message[:200]}")
    for bad in ["{}", '{"name": ""}', '{"name": "17"}', '{"name": 17}', '{"nam": "x"}', '{"name": "x", "y": 1}',
                '{"name": "' + 128 * "x" + '"}']:
        check(ask("POST", "/api/v1/marks", bad)[0] == 400, f"POST mark {bad}")


def prompt_lines_are_answered(document):
    valid = validator(document, "DbAnswer")
    for line, failed in [("show guard", False), ("w kmem_guard_depth 0t30000", False), ("w kmem_guard_depth 1000000000000", True),
                         ("nonsense", True), ("", False), ("?", False), ("quit", False), ("show all pools", False)]:
        status, media_type, _, body = ask("POST", "/api/v1/db", json.dumps({"line": line, "session": "contract"}))
        check((status, media_type) == (200, "application/json"), f"db {line}: {status} {media_type}")
        answer = json.loads(body)
        for error in valid.iter_errors(answer):
            failures.append(f"db {line}: {error.json_path}: {error.message[:200]}")
        check((answer["error"] is not None) == failed, f"db {line}: {answer['error']}")
        check(answer["stop"] == (line == "quit"), f"db {line}: stop {answer['stop']}")
    for bad in ["{}", "[]", '{"line": 1}', '{"line": "a", "lines": 1}', '{"line": "a", "line": "b"}', '{"line": "a", "session": ""}',
                '{"line": "a", "session": "a b"}', '{"line": "a", "session": "' + 65 * "x" + '"}', '{"session": "a"}']:
        status, _, _, body = ask("POST", "/api/v1/db", bad)
        check(status == 400, f"POST db {bad}: {status}")
    check(ask("POST", "/api/v1/db?target=77", '{"line": "show guard"}')[0] == 404, "db of a target that is not there")
    check(ask("GET", "/api/v1/db")[0] == 405, "GET db")


def finished_runs_refuse_writes():
    os.environ["API_TOOL_FINISHED"] = "1"
    for method, target, body in [("PATCH", "/api/v1/guard", '{"depth": 1}'), ("PATCH", "/api/v1/variables/kmem_size", '{"value": 1}'),
                                 ("POST", "/api/v1/marks", '{"name": "x"}'), ("POST", "/api/v1/targets/1/detach", None)]:
        check(ask(method, target, body)[0] == 409, f"{method} {target} of a finished run")
    status, _, _, body = ask("GET", "/api/v1/variables")
    check(status == 200 and all(row["effective"] is None for row in json.loads(body)["items"]), "a finished run has no values")
    del os.environ["API_TOOL_FINISHED"]


def figures_are_right():
    blocks = json.loads(ask("GET", "/api/v1/blocks?target=1&min_bytes=45")[3])["items"]
    check([b["size"] for b in blocks] == [40 + i % 8 for i in range(25) if i % 8 >= 5], "blocks of 45 bytes and more")
    what = json.loads(ask("GET", "/api/v1/whatis/0x7f3c00040045")[3])["items"]
    check([(w["target"], w["state"], w["address"], w["offset"]) for w in what] ==
          [(1, "live", "0x7f3c00040040", 5), (2, "quarantine", "0x7f3c00040040", 5)], f"whatis in two targets: {what}")
    history = json.loads(ask("GET", "/api/v1/history/0x7f3c00040085?limit=1000")[3])
    times = [row["alloc_time_ns"] for row in history["items"]]
    check(history["address"] == "0x7f3c00040080" and len(times) > 30 and times == sorted(times, reverse=True), "owners of the block, newest first")
    line = json.loads(ask("GET", "/api/v1/timeline?series=live_bytes,allocs")[3])
    points = line["time_ns"]
    check(100 < len(points) <= 2000 and sorted(line["series"]) == ["allocs", "live_bytes"], f"timeline: {len(points)} points")
    check(all(len(line["series"][s][k]) == len(points) for s in line["series"] for k in ["last", "min", "max"]), "columns are even")
    check(min(line["series"]["live_bytes"]["min"]) == 1000 and max(line["series"]["live_bytes"]["max"]) == 1099, "extremes survive")
    check(len(json.loads(ask("GET", "/api/v1/timeline?step=1us")[3])["time_ns"]) <= 2000, "never more than 2000 points")
    check(len(json.loads(ask("GET", "/api/v1/timeline?step=1s&from=2s&to=4s")[3])["time_ns"]) == 3, "steps of a second")
    diff = json.loads(ask("GET", "/api/v1/diff?a=1")[3])
    gains = [row["bytes"] for row in diff["items"]]
    check(gains == sorted(gains, reverse=True) and sum(gains) == diff["total_bytes"], f"gains by size: {gains}")
    check(all(sum(c[key] for c in row["caches"]) == row[key] for row in diff["items"] for key in ["bytes", "count"]) and
          all(row["caches"][0]["cache"] == row["cache"] for row in diff["items"]) and
          max(len(row["caches"]) for row in diff["items"]) == 2, f"caches add up to the row: {diff['items']}")
    check(diff["a"]["id"] == 1 and diff["b"] is None, "marks of the difference")
    check(json.loads(ask("GET", "/api/v1/diff?a=start")[3])["a"]["id"] == 3, "the newest mark of a name")


def targets_can_be_stopped(document):
    valid = validator(document, "TargetState")
    for target, verb, expected in [("1", "stop", 200), ("2", "stop", 409), ("3", "continue", 200), ("1", "continue", 409),
                                   ("all", "stop", 200), ("all", "continue", 200), ("77", "stop", 404), ("0", "stop", 404),
                                   ("x", "continue", 404), ("-1", "stop", 404)]:
        status, _, _, body = ask("POST", f"/api/v1/targets/{target}/{verb}")
        check(status == expected, f"POST targets/{target}/{verb}: {status} {body[:200]}")
        if status == 200:
            for error in valid.iter_errors(json.loads(body)):
                failures.append(f"POST targets/{target}/{verb}: {error.message[:200]}")
        elif status == 409:
            check(json.loads(body)["type"] == "/problems/already", f"POST targets/{target}/{verb}: {body[:200]}")
    rows = json.loads(ask("GET", "/api/v1/targets")[3])["items"]
    check([row["stop"] for row in rows] == [None, {"reason": "fault", "fault": 3}, None], f"stop of targets: {rows}")
def targets_can_be_taken_and_let_go(document):
    cases = [('{"attach": "pid:4242"}', 201), ('{"attach": "pid:1", "stop": true}', 202), ('{"attach": "pid:2"}', 409),
             ('{"attach": "pid:3"}', 404), ('{"attach": "pid:5"}', 403), ('{"attach": "pid:x"}', 400), ('{"attach": 1}', 400),
             ('{"attach": "pid:1", "stop": 1}', 400), ('{"stop": true}', 400), ('{"attach": "pid:1", "x": 1}', 400), ("[]", 400)]
    valid = validator(document, "Attached")
    for body, expected in cases:
        status, _, _, text = ask("POST", "/api/v1/targets", body)
        check(status == expected, f"POST targets {body}: {status} {text[:200]}")
        for error in valid.iter_errors(json.loads(text)) if status in (201, 202) else []:
            failures.append(f"POST targets {body}: {error.message[:200]}")
    check(json.loads(ask("POST", "/api/v1/targets", '{"attach": "pid:4242"}')[3])["target"] == 3, "target of an attached process")
    for target, expected in [("2", 202), ("1", 409), ("77", 409), ("0", 404), ("x", 404), ("-1", 404)]:
        status, _, _, text = ask("POST", f"/api/v1/targets/{target}/detach")
        check(status == expected, f"POST targets/{target}/detach: {status} {text[:200]}")


def main():
    with open(DOCUMENT, encoding="utf-8") as file:
        document = json.load(file)
    check(document["openapi"].startswith("3.1"), "OpenAPI 3.1")
    check(json.loads(ask("GET", "/openapi.json")[3]) == document, "/openapi.json is the file")
    for name in document["components"]["schemas"]:
        jsonschema.Draft202012Validator.check_schema(document["components"]["schemas"][name])
    routes_match(document)
    answers_are_valid(document)
    problems_are_valid(document)
    parameters_match(document)
    pages_are_the_whole()
    guard_can_be_changed(document)
    targets_can_be_stopped(document)
    targets_can_be_taken_and_let_go(document)
    variables_and_marks_can_be_written(document)
    prompt_lines_are_answered(document)
    finished_runs_refuse_writes()
    figures_are_right()
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


sys.exit(main())
