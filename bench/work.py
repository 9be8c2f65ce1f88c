"""A python program as users have them: parses source code, text and JSON, builds and drops objects.

usage: work.py [SCALE]      prints one line as bench_alloc does
"""
import ast
import collections
import json
import pathlib
import re
import sys
import sysconfig
import time

begin_ns, begin_cpu_ns = time.monotonic_ns(), time.process_time_ns()

scale = int(sys.argv[1]) if len(sys.argv) > 1 else 6
library = pathlib.Path(sysconfig.get_paths()["stdlib"])
NAMES = ("argparse", "ast", "dataclasses", "difflib", "inspect", "optparse", "pickle", "tarfile")


def parse_sources():
    """Abstract syntax trees of some modules of the library; how often each node type occurs."""
    kinds = collections.Counter()
    for name in NAMES:
        tree = ast.parse((library / f"{name}.py").read_text(encoding="utf-8"))
        kinds.update(type(node).__name__ for node in ast.walk(tree))
    return kinds


def count_words():
    words = collections.Counter()
    for name in NAMES:
        text = (library / f"{name}.py").read_text(encoding="utf-8")
        words.update(re.findall(r"[A-Za-z_]\w+", text))
    return words.most_common(3)


def documents(n):
    total = 0
    for i in range(n):
        document = {"id": i, "tags": [f"t{i % k}" for k in range(1, 9)],
                    "rows": [{"x": j * 0.5, "y": str(i * j)} for j in range(20)]}
        total += len(json.loads(json.dumps(document))["rows"])
    return total


checksum = 0
for _ in range(scale):
    checksum += sum(parse_sources().values()) + len(count_words()) + documents(3000)
cpu_ns = time.process_time_ns() - begin_cpu_ns
end_ns = time.monotonic_ns()
print(json.dumps({"workload": "python", "calls": 0, "ns": end_ns - begin_ns, "end_ns": end_ns,
                  "cpu_ns": cpu_ns, "checksum": checksum}))
