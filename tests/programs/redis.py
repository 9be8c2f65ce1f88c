#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""redis-server under redis-benchmark, plain and traced: same data set (DEBUG DIGEST), same status.

usage: redis.py      $KMS_SOAK makes it much longer
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

START_S = 30
STOP_S = 60
TESTS = "set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,lrange_100,mset"


class Server:
    """One redis-server on a Unix socket, plain or traced."""

    def __init__(self, workspace, traced):
        self.workspace = workspace
        self.socket = workspace.path / "redis.sock"
        self.trace = workspace.path / "redis.kms"
        argv = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
                "--enable-debug-command", "yes", "--dir", workspace.path, "--loglevel", "warning"]
        if traced:
            argv = workspace.traced_argv(argv, self.trace)
        self.process = workspace.start(argv)
        kms.wait_for(lambda: self.cli("PING").stdout == b"PONG\n", START_S, "redis answers")

    def cli(self, *words, stdin=b""):
        return self.workspace.run(["redis-cli", "-s", self.socket, *words], stdin=stdin)

    def benchmark(self, requests):
        done = self.workspace.run(["redis-benchmark", "-s", self.socket, "-q", "-n", requests,
                                   "-c", 20, "-P", 4, "-t", TESTS], timeout=600)
        assert done.status == 0, done

    def fill(self, keys):
        """Commands from a file: values of many sizes, half of them deleted again."""
        lines = []
        for i in range(keys):
            lines.append(f"SET key:{i} {'v' * (i * 37 % 3000 + 1)}")
            lines.append(f"HSET hash:{i % 97} field{i} {i * i}")
            lines.append(f"APPEND log:{i % 13} {i},")
            if i % 2:
                lines.append(f"DEL key:{i - 1}")
        done = self.cli("--pipe", stdin=("\n".join(lines) + "\n").encode())
        assert b"errors: 0" in done.stdout, done

    def digest(self):
        return self.cli("DEBUG", "DIGEST").stdout.strip()

    def stop(self):
        self.cli("SHUTDOWN", "NOSAVE")
        status = self.process.wait(STOP_S)
        return status, self.process.stdout.read(), self.process.stderr.read()


def run(traced, requests, keys, checks):
    with kms.Workspace("redis") as workspace:
        server = Server(workspace, traced)
        server.fill(keys)
        server.benchmark(requests)
        digest = server.digest()
        status, out, err = server.stop()
        checks.equal(status, 0, f"traced {traced}: exit status")
        if traced:
            checks.equal(err, b"", "traced: stderr")
            checks.equal(kms.integrity(server.trace), "ok", "integrity_check")
            checks.equal(workspace.lost(server.trace), 0, "lost events")
            checks.equal(workspace.items("faults", server.trace), [], "no faults")
            counts = workspace.event_counts(server.trace)
            checks.that(counts.get("alloc", 0) > keys, "allocations were traced", counts)
        return digest


def main():
    kms.need("redis-server", "redis-cli", "redis-benchmark")
    long = bool(os.environ.get("KMS_SOAK"))
    requests, keys = (100000, 50000) if long else (5000, 5000)
    checks = kms.Checks()
    plain = run(False, requests, keys, checks)
    traced = run(True, requests, keys, checks)
    checks.that(len(plain) == 40, "the digest is one", plain)
    checks.equal(traced, plain, "DEBUG DIGEST")
    return checks.status()


if __name__ == "__main__":
    sys.exit(main())
