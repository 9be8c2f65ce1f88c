#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The API keeps to schema/openapi.json: every route is described and every description has a route; each answer is
valid, and holds no member that the document does not know; each parameter is taken where it is described and refused
elsewhere; pages put together are the whole list."""

import json
import os
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
           "site": "13", "state": "open", "min_bytes": "8K", "min_score": "60", "sum": "1"}
PATH_SAMPLES = {"/api/v1/caches/{name}": ["malloc-48"], "/api/v1/leaks/{id}": ["000000005eed0000", "000000005eed0004"],
                "/api/v1/faults/{id}": ["3", "11"], "/api/v1/stacks/{id}": ["15", "16"]}
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
        name = schema_name(item["get"])
        if not name:
            continue
        valid = validator(document, name)
        targets = [path.replace(path[path.index("{"):], value) for value in PATH_SAMPLES[path]] if "{" in path else [path]
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
    for method, target, expected in [("GET", "/api/v1/nothing", 404), ("GET", "/", 404), ("POST", "/api/v1/leaks", 405),
                                     ("GET", "/api/v1/leaks?target=77", 404), ("GET", "/api/v1/faults/99", 404),
                                     ("GET", "/api/v1/leaks?limit=0", 400), ("GET", "/api/v1/leaks?limt=1", 400),
                                     ("GET", "/api/v1/leaks?limit=1&limit=2", 400), ("GET", "/api/v1/stacks/0", 404),
                                     ("GET", "/api/v1/leaks?cursor=AAAA", 400), ("GET", "/readyz", 503),
                                     ("PATCH", "/api/v1/guard", 415), ("GET", "/api/v1/events?kind=none", 400)]:
        status, media_type, _, body = ask(method, target)
        check((status, media_type) == (expected, "application/problem+json"), f"{method} {target}: {status} {media_type}")
        for error in valid.iter_errors(json.loads(body)):
            failures.append(f"{method} {target}: {error.json_path}: {error.message[:200]}")
        check(json.loads(body)["status"] == expected, f"{method} {target}: status member")


def parameters_match(document):
    for path, item in document["paths"].items():
        target = path.replace(path[path.index("{"):], PATH_SAMPLES[path][0]) if "{" in path else path
        described = {p["$ref"].rsplit("/", 1)[-1] for p in item["get"].get("parameters", []) if "$ref" in p}
        for key, value in SAMPLES.items():
            status, _, _, body = ask("GET", f"{target}?{key}={value}")
            unknown = status == 400 and "unknown parameter" in body
            check(unknown == (key not in described), f"{target} {'takes' if not unknown else 'refuses'} {key}")


def pages_are_the_whole():
    for path in ["targets", "caches", "caches?sum=1", "leaks", "faults", "sites", "events?kind=check", "leaks?min_bytes=9000"]:
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
    for bad in ["{}", "[]", "", "{", '{"depth": -1}', '{"depth": 1.5}', '{"depth": 1e12}', '{"depth": "1"}', '{"dept": 1}',
                '{"depth": 16777217}', '{"depth": null}', '{"bytes": 1e300}']:
        status, _, _, body = ask("PATCH", "/api/v1/guard", bad or " ")
        check(status == 400, f"PATCH {bad}: {status}")


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
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


sys.exit(main())
