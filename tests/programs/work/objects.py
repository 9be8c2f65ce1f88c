"""Objects of all kinds, reference cycles, text, subprocesses; prints what came out."""
import collections
import gc
import json
import re
import subprocess
import sys

scale = int(sys.argv[1])


class Node:
    def __init__(self, name):
        self.name, self.links = name, []


def cycles(n):
    for i in range(n):
        nodes = [Node(f"node {i} {j}") for j in range(5)]
        for a, b in zip(nodes, nodes[1:] + nodes[:1]):
            a.links.append(b)


def words(n):
    text = " ".join(f"w{i * 7919 % 1009:x}" for i in range(n))
    counts = collections.Counter(re.findall(r"\w+", text))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]


def documents(n):
    kept = {}
    for i in range(n):
        document = {"id": i, "tags": [f"t{i % k}" for k in range(1, 8)], "nested": {"x": i * 1.5}}
        kept[i % 100] = json.loads(json.dumps(document))
    return sum(d["nested"]["x"] for d in kept.values())


print(words(30000 * scale))
print(documents(3000 * scale))
cycles(2000 * scale)
print("collected", gc.collect() >= 0)
print(subprocess.run(["cat"], input=b"x" * 100000, stdout=subprocess.PIPE, check=True).stdout[:5])
print(len([bytearray(i) for i in range(2000)]), 2 ** 20000 % 1000003)
print("warning to stderr", file=sys.stderr)
sys.exit(3)
