# SPDX-License-Identifier: BSD-2-Clause
"""The ways to run a workload: allocators and tracers, from Debian and ours. One run gives a Sample."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("KMS_BUILD") or os.environ.get("KMS_BUILD_DIR")
                     or SOURCE / "build/release").resolve()
KMEMSCOPE = BUILD / "bin/kmemscope"
PRELOAD = BUILD / "lib/libkmem_malloc.so"
COUNT = BUILD / "test/libcount_preload.so"
DEBIAN = pathlib.Path("/usr/lib/x86_64-linux-gnu")
PYTHON = "/usr/bin/python3"
PATIENCE_S = 900


def argv_of(workload, scale):
    """The command of a workload, and what its environment needs."""
    if workload == "python":
        return [PYTHON, SOURCE / "bench/work.py", *scale], {"PYTHONMALLOC": "malloc",
                                                            "PYTHONHASHSEED": "0"}
    return [BUILD / "bench/bench_alloc", workload, *scale], {}


class Sample:
    """One run: ns of the work and of CPU time, how long the command went on, bytes of a trace."""

    def __init__(self, printed, ended_ns, stored_bytes=0):
        self.ns = printed["ns"]
        self.cpu_ns = printed["cpu_ns"]
        self.calls = printed["calls"]
        self.checksum = printed["checksum"]
        self.delay_ns = ended_ns - printed["end_ns"]
        self.stored_bytes = stored_bytes


def execute(argv, env):
    done = subprocess.run([str(a) for a in argv], env={**os.environ, **env}, timeout=PATIENCE_S,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    ended_ns = time.monotonic_ns()
    if done.returncode:
        raise RuntimeError(f"{argv}: status {done.returncode}: {done.stderr[-500:]!r}")
    for line in done.stdout.decode().splitlines():
        if line.startswith('{"workload"'):
            return json.loads(line), ended_ns
    raise RuntimeError(f"{argv}: printed no figures: {done.stdout[-500:]!r}")


class Preloaded:
    """A library in front of the C library; none: glibc itself."""

    def __init__(self, name, library=None, options=None):
        self.name, self.library, self.options = name, library, options

    def missing(self):
        return bool(self.library) and not pathlib.Path(self.library).exists()

    def run(self, workload, scale, _folder):
        argv, env = argv_of(workload, scale)
        if self.library:
            env["LD_PRELOAD"] = str(self.library)
        if self.options:
            env["KMEM_OPTIONS"] = self.options
        return Sample(*execute(argv, env))


class Traced:
    """Under `kmemscope run`, lossless, into a file."""

    def __init__(self, name, *options):
        self.name, self.options = name, options

    def missing(self):
        return not KMEMSCOPE.exists()

    def run(self, workload, scale, folder):
        argv, env = argv_of(workload, scale)
        trace = folder / "bench.kms"
        printed, ended_ns = execute([KMEMSCOPE, "run", "-q", "-o", trace, *self.options, "--",
                                     *argv], env)
        self.check_lossless(trace)
        return Sample(printed, ended_ns, trace.stat().st_size)

    def check_lossless(self, trace):
        lost = subprocess.run([KMEMSCOPE, "sql", "SELECT coalesce(sum(lost), 0) FROM rings", trace],
                              capture_output=True, check=True).stdout.strip()
        if lost != b"0":
            raise RuntimeError(f"{self.name}: lost {lost.decode()} events")


class Heaptrack:
    name = "heaptrack"

    def missing(self):
        return not shutil.which("heaptrack")

    def run(self, workload, scale, folder):
        argv, env = argv_of(workload, scale)
        out = folder / "heaptrack.out"
        printed, ended_ns = execute(["heaptrack", "-o", out, *argv], env)
        files = list(folder.glob("heaptrack.out*"))
        stored = sum(path.stat().st_size for path in files)
        for path in files:
            path.unlink()
        return Sample(printed, ended_ns, stored)


def count_events(workload, scale, folder):
    """Allocations and frees of a workload, counted by a preload that is no part of kmemscope."""
    counts = folder / "counts"
    shutil.rmtree(counts, ignore_errors=True)
    counts.mkdir()
    argv, env = argv_of(workload, scale)
    execute(argv, {**env, "LD_PRELOAD": str(COUNT), "KMS_COUNT_DIR": str(counts)})
    events = 0
    for path in counts.iterdir():
        _, allocs, frees, failed = struct.unpack_from("<4Q", path.read_bytes())
        events += allocs + frees + failed
    return events


ALLOCATORS = (
    Preloaded("glibc"),
    Preloaded("mimalloc", DEBIAN / "libmimalloc.so.2"),
    Preloaded("jemalloc", DEBIAN / "libjemalloc.so.2"),
    Preloaded("tcmalloc", DEBIAN / "libtcmalloc_minimal.so.4"),
    Preloaded("plain", PRELOAD, "trace=0,size=0,redzone=0"),
    Preloaded("checks", PRELOAD, "trace=0,size=1,redzone=1"),
)
TRACERS = (
    Preloaded("glibc"),
    Preloaded("checks", PRELOAD, "trace=0,size=1,redzone=1"),
    Traced("trace1", "--set", "kmem_trace=1"),
    Traced("trace2"),
    Heaptrack(),
)
