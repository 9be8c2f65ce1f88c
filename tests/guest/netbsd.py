#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A NetBSD guest given its file: every figure of every pool, compared with what the image's maker wrote down.

usage: netbsd.py saved|live|boots|refused|damaged
"""

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys

import guest
import kms
import netbsd_image

DEADLINE_S = guest.DEADLINE_S
LAYOUTS = [(bits, seed) for bits in (64, 32) for seed in (1, 2, 3)]
FIGURES = ("address", "size", "reqsize", "align", "itemoffset", "minitems", "minpages", "maxpages", "npages",
           "hiwat", "itemsperpage", "nitems", "nout", "hardlimit", "flags", "roflags", "nget", "nfail", "nput",
           "npagealloc", "npagefree", "nidle")
UNLIMITED = netbsd_image.UNLIMITED


def number(value):
    """A number of the API: a string if it has more than 53 bits, null for "no limit"."""
    if isinstance(value, str):
        return int(value, 0)
    return UNLIMITED if value is None else value


class Attached:
    """`kmemscope attach` to a target, and its clients."""

    def __init__(self, workspace, target, *options, wait=True):
        self.workspace = workspace
        self.child = workspace.start([kms.KMEMSCOPE, "attach", *options, target], stdin=subprocess.DEVNULL)
        if wait:
            kms.wait_for(self.is_there, DEADLINE_S, "the guest is attached to")

    def is_there(self):
        if self.child.poll() is not None:
            raise AssertionError(f"attach ended: {self.child.communicate()}")
        return self.workspace.session() is not None

    def caches(self):
        rows = self.workspace.items("caches", "--limit", "1000")
        return {row["name"]: row for row in rows}

    def db(self, line):
        done = self.workspace.run([kms.KMEMSCOPE, "db", "-e", line], timeout=DEADLINE_S)
        return done.stdout.decode() + done.stderr.decode()

    def get(self, path):
        connection = kms.UnixConnection(self.workspace.session()["socket"], DEADLINE_S)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    def detach(self):
        self.child.send_signal(signal.SIGINT)
        out, err = self.child.communicate(timeout=DEADLINE_S)
        return self.child.returncode, (out + err).decode()


def compare_row(checks, row, seen, what):
    """A pool, its cache, and what is made of both."""
    pool = seen["pool"]
    for key in FIGURES:
        checks.equal(number(pool[key]), row[key], f"{what}: {key}")
    checks.equal(pool["page_bytes"], row["pagesize"], f"{what}: pages")
    cache = row["cache"]
    checks.equal(pool["cache"] is None, cache is None, f"{what}: has a cache")
    parked = cache["parked"] if cache else 0
    if cache:
        checks.equal({key: number(value) for key, value in pool["cache"].items()}, cache, f"{what}: its cache")
    checks.equal((seen["objects_live"], seen["objects_cached"], seen["objects_total"]),
                 (row["nout"] - parked, parked, row["npages"] * row["itemsperpage"]), f"{what}: occupancy")
    checks.equal((seen["slabs"], seen["pages"]), (row["npages"], row["npages"] * row["pagesize"] // 4096),
                 f"{what}: pages")


def compare_pools(checks, expected, attached, what):
    seen = attached.caches()
    checks.equal(sorted(seen), sorted(row["name"] for row in expected["pools"]), f"{what}: names")
    for row in expected["pools"]:
        if row["name"] in seen and not row["moving"]:
            compare_row(checks, row, seen[row["name"]], f"{what} {row['name']}")


def compare_pages(checks, row, attached, what):
    """Which pages a pool has, and which of their items are taken."""
    seen = attached.get(f"/api/v1/caches/{row['name']}/slabs")["items"]
    checks.equal([(number(page["address"]), page["count"], page["live"]) for page in seen],
                 [(page["address"], row["itemsperpage"], page["live"])
                  for page in sorted(row["pages"], key=lambda page: page["address"])], f"{what}: pages")
    for page in row["pages"]:
        bits = [base64.b64decode(one["bitmap"]) for one in seen if number(one["address"]) == page["address"]]
        taken = [i for i in range(row["itemsperpage"]) if bits and bits[0][i // 8] >> i % 8 & 1]
        checks.equal(taken, page["items"], f"{what}: items of the page at {page['address']:#x}")


def vmstat_row(row):
    """Columns of `vmstat -mW`, but for the name."""
    room = row["npages"] * row["pagesize"]
    limit = "inf" if row["maxpages"] == UNLIMITED else str(row["maxpages"])
    use = f"{100 * row['nout'] * row['size'] / room:.1f}%" if room else "---"
    figures = [row[key] for key in ("size", "nget", "nfail", "nput", "nout", "nitems", "npagealloc", "npagefree",
                                    "npages", "pagesize", "hiwat", "minpages")]
    return [str(figure) for figure in figures] + [limit, str(row["nidle"]), f"{row['flags'] | row['roflags']:#06x}",
                                                  use]


def compare_vmstat(checks, expected, attached, what):
    lines = attached.db("vmstat -m -W -v").splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:] if line}
    for row in expected["pools"]:
        if not row["moving"]:
            checks.equal(rows.get(row["name"][:16]), vmstat_row(row), f"{what}: vmstat -m {row['name']}")
    used = [row for row in expected["pools"] if row["nget"]]
    narrow = attached.db("vmstat -m").splitlines()
    checks.equal(len([line for line in narrow[2:narrow.index("")]]), len(used) + 1, f"{what}: unused are hidden")
    checks.that(narrow[1].split() == ["Name", "Size", "Requests", "Fail", "Releases", "Pgreq", "Pgrel", "Npage",
                                      "Hiwat", "Minpg", "Maxpg", "Idle"], f"{what}: columns", narrow[1])
    lines = attached.db("vmstat -C -v").splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:] if line}
    for row in expected["pools"]:
        cache = row["cache"]
        if not cache:
            continue
        name = row["name"][:11]
        entries, all_ = cache["hits"] + cache["misses"], cache["cpu_hits"] + cache["cpu_misses"]
        figures = [cache["contended"], cache["group_size"], cache["full"], cache["empty"], cache["misses"], entries,
                   f"{100 * cache['hits'] / entries:.1f}", all_, f"{100 * cache['cpu_hits'] / all_:.1f}",
                   cache["parked"]]
        checks.equal(rows.get(name), [str(figure) for figure in figures], f"{what}: vmstat -C {name}")


def compare_ddb(checks, expected, attached, what):
    """show all pools: by name, in ddb's lines."""
    seen = {}
    for line in attached.db("show all pools/p").splitlines():
        if line.startswith("POOL"):
            name = line.split(": ")[0].replace("POOL CACHE ", "").replace("POOL ", "")
            seen[name] = []
        seen[name].append(line)
    checks.equal(list(seen), sorted(row["name"] for row in expected["pools"]), f"{what}: show all pools")
    for row in expected["pools"]:
        if row["moving"] or row["name"] not in seen:
            continue
        one = seen[row["name"]]
        kind = "POOL CACHE" if row["cache"] else "POOL"
        checks.equal(one[0], f"{kind} {row['name']}: size {row['size']}, align {row['align']}, ioff "
                             f"{row['itemoffset']}, roflags {row['roflags']:#010x}", f"{what}: its head")
        for line in ("\tminitems {minitems}, minpages {minpages}, maxpages {maxpages}, npages {npages}",
                     "\titemsperpage {itemsperpage}, nitems {nitems}, nout {nout}, hardlimit {hardlimit}",
                     "\tnget {nget}, nfail {nfail}, nput {nput}",
                     "\tnpagealloc {npagealloc}, npagefree {npagefree}, hiwat {hiwat}, nidle {nidle}"):
            checks.that(line.format(**row) in one, f"{what}: show pool {row['name']}", (line.format(**row), one))
        pages = sorted(line for line in one if line.startswith("\t\tpage"))
        checks.equal(pages, sorted(f"\t\tpage {page['address']:#x}, nmissing {page['live']}" for page in row["pages"]),
                     f"{what}: pages of {row['name']}")


def test_saved(checks, workspace):
    """RAM files of three layouts each of 64 and 32 bits: hard-coded offsets fail in most of them."""
    for bits, seed in LAYOUTS:
        what = f"{bits} bits, layout {seed}"
        folder = workspace.path / f"{bits}-{seed}"
        expected = netbsd_image.image(folder, bits, seed, build_id=seed != 3)
        attached = Attached(workspace, f"ram:{folder}/netbsd.ram", "--kernel", folder / "netbsd.gdb")
        compare_pools(checks, expected, attached, what)
        compare_vmstat(checks, expected, attached, what)
        compare_ddb(checks, expected, attached, what)
        for row in expected["pools"]:
            compare_pages(checks, row, attached, f"{what} {row['name']}")
        targets = workspace.items("targets")
        checks.that([row["name"] for row in targets] == [expected["version"].split("\n")[0]], f"{what}: its name", targets)
        word = attached.db(f"x {expected['symbols']['version']:#x}")
        checks.that(f"{int.from_bytes(expected['version'][:4].encode(), 'little'):x}" in word, f"{what}: memory", word)
        checks.that("reads it only at boot" in attached.db("w kmem_guard_depth 0t30000"), f"{what}: depth")
        status, said = attached.detach()
        checks.equal(status, 0, f"{what}: ends")
        checks.that("no trace is written" in said, f"{what}: says so", said)
        # what was found is kept by build id, and the separate debug file is as good as the whole
        kept = list((workspace.path / ".cache/kmemscope").glob("netbsd-*"))
        checks.equal(len(kept) > 0, True, f"{what}: kept")
        for one in kept if seed != 2 else []:
            one.unlink()
        again = Attached(workspace, f"ram:{folder}/netbsd.ram", "--kernel", folder / "netbsd")
        compare_pools(checks, expected, again, what + ", separate debug file")
        again.detach()


def boot(workspace, folder, bits, more=(), may_reset=False):
    return workspace.start(
        ["qemu-system-x86_64" if bits == 64 else "qemu-system-i386", "-machine", "pc,accel=tcg", "-m", "32M",
         "-display", "none", "-monitor", "none", "-serial", "none", "-kernel", folder / "netbsd",
         *([] if may_reset else ["-no-reboot"]), *more],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_live(checks, workspace):
    """Booted in QEMU: the same figures, but those of one pool, which go."""
    kms.need("qemu-system-x86_64", "qemu-system-i386")
    for bits, seed in ((64, 2), (32, 2), (32, 3)):
        what = f"{bits} bits, layout {seed}"
        folder = workspace.path / f"{bits}-{seed}"
        expected = netbsd_image.image(folder, bits, seed)
        machine = boot(workspace, folder, bits)
        # attached to while it boots, and without --kernel: its emulator's own says what it is
        attached = Attached(workspace, f"qemu:pid:{machine.pid}")
        begun = next(row["nget"] for row in expected["pools"] if row["moving"])
        # its clock goes: all is where it belongs
        kms.wait_for(lambda: number(attached.caches().get("ticker", {"pool": {"nget": 0}})["pool"]["nget"]) > begun + 9,
                     DEADLINE_S, "it has booted")
        compare_pools(checks, expected, attached, what)
        before = attached.caches()["ticker"]["pool"]
        kms.wait_for(lambda: number(attached.caches()["ticker"]["pool"]["nget"]) > number(before["nget"]) + 30, DEADLINE_S,
                     "the ticker goes")
        kms.wait_for(lambda: attached.caches()["ticker"]["alloc_rate"] > attached.caches()["ticker"]["free_rate"] > 0,
                     DEADLINE_S, "its rates")
        after = attached.caches()["ticker"]["pool"]
        checks.equal(number(after["nget"]) - number(after["nput"]), after["nout"], f"{what}: what is out")
        checks.equal(after["npages"] * after["itemsperpage"], after["nout"] + after["nitems"], f"{what}: items")
        checks.that(machine.poll() is None, f"{what}: the guest goes on")
        machine.kill()
        machine.wait(DEADLINE_S)
        out, err = attached.child.communicate(timeout=DEADLINE_S)
        checks.equal(attached.child.returncode, 0, f"{what}: its end is no error: {out + err}")


def qmp(path, *commands):
    """Has QEMU do something."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(DEADLINE_S)
        control.connect(str(path))
        lines = control.makefile("rw")
        lines.readline()
        for command in ("qmp_capabilities", *commands):
            lines.write(json.dumps({"execute": command}) + "\n")
            lines.flush()
            while "return" not in json.loads(lines.readline()):
                pass


def test_boots(checks, workspace):
    """Reset: another boot, another target. Behind a gdb stub: the same figures, and the guest goes on."""
    kms.need("qemu-system-x86_64")
    folder = workspace.path / "image"
    expected = netbsd_image.image(folder, 64, 1)
    sockets = [workspace.path / name for name in ("theirs.sock", "ours.sock", "gdb.sock")]
    theirs, control, stub = sockets  # a control socket takes one client: the tool's is the first
    machine = boot(workspace, folder, 64, ["-qmp", f"unix:{theirs},server=on,wait=off", "-qmp",
                                           f"unix:{control},server=on,wait=off", "-gdb",
                                           f"unix:{stub},server=on,wait=off"], may_reset=True)
    kms.wait_for(control.exists, DEADLINE_S, "QEMU's sockets")
    attached = Attached(workspace, f"qemu:pid:{machine.pid}", "--kernel", folder / "netbsd.gdb")
    begun = next(row["nget"] for row in expected["pools"] if row["moving"])
    goes = lambda of: kms.wait_for(lambda: number(of.caches().get("ticker", {"pool": {"nget": 0}})["pool"]["nget"])
                                   > begun + 300, DEADLINE_S, "its clock goes")  # noqa: E731
    goes(attached)
    qmp(control, "system_reset")
    states = lambda: [row["state"] for row in workspace.items("targets")]  # noqa: E731
    kms.wait_for(lambda: states() == ["exited", "running"], DEADLINE_S, "a reset is another boot")
    kms.wait_for(lambda: len(attached.caches()) >= len(expected["pools"]), DEADLINE_S, "its pools")
    status, said = attached.detach()
    checks.that(status == 0 and "has booted NetBSD" in said, "says that it was reset", said)
    attached = Attached(workspace, f"gdb:{stub}", "--kernel", folder / "netbsd.gdb")
    compare_pools(checks, expected, attached, "gdb stub")
    status, said = attached.detach()
    checks.equal(status, 0, f"gdb stub: {said}")
    again = Attached(workspace, f"qemu:pid:{machine.pid}", "--kernel", folder / "netbsd.gdb")
    goes(again)
    checks.that(machine.poll() is None, "the guest goes on")
    again.detach()


def refused(checks, workspace, arguments, words, what):
    done = workspace.run([kms.KMEMSCOPE, "attach", *arguments], timeout=DEADLINE_S)
    text = done.stderr.decode()
    checks.that(done.status not in (0, -11, -6) and all(word in text for word in words), what, done)


def test_refused(checks, workspace):
    """What cannot be looked at, and why."""
    folder, other = workspace.path / "one", workspace.path / "other"
    netbsd_image.image(folder, 64, 1)
    netbsd_image.image(other, 64, 3)
    plain = workspace.path / "plain"
    netbsd_image.image(plain, 32, 1, build_id=False)
    plain_other = workspace.path / "plain-other"
    netbsd_image.image(plain_other, 32, 3, build_id=False)
    ram = f"ram:{folder}/netbsd.ram"
    refused(checks, workspace, ["--kernel", other / "netbsd.gdb", ram], ["does not run", "build id"], "another build")
    refused(checks, workspace, ["--kernel", plain_other / "netbsd.gdb", f"ram:{plain}/netbsd.ram"],
            ["does not run", "differ"], "another build without an id")
    alone = workspace.path / "alone"
    alone.mkdir()
    (alone / "netbsd").write_bytes((folder / "netbsd").read_bytes())
    refused(checks, workspace, ["--kernel", alone / "netbsd", ram], ["separate debug file"], "no DWARF")
    subprocess.run(["strip", "-s", alone / "netbsd"], check=True)
    refused(checks, workspace, ["--kernel", alone / "netbsd", ram], ["has no symbols"], "stripped")
    (alone / "netbsd.debug").write_bytes((plain / "netbsd.debug").read_bytes())
    refused(checks, workspace, ["--kernel", alone / "netbsd.debug", f"ram:{plain}/netbsd.ram"],
            ["no contents to compare"], "a debug file that says nothing of its kernel")
    (alone / "netbsd").write_bytes((other / "netbsd").read_bytes())
    (alone / "netbsd.debug").write_bytes((folder / "netbsd.debug").read_bytes())
    refused(checks, workspace, ["--kernel", alone / "netbsd", ram], ["separate debug file"], "another's debug file")
    empty = workspace.path / "empty.ram"
    with open(empty, "wb") as file:
        file.truncate(netbsd_image.RAM_BYTES)
    refused(checks, workspace, ["--kernel", folder / "netbsd.gdb", f"ram:{empty}"], ["no NetBSD kernel"], "no kernel")
    with open(empty, "wb") as file:
        file.truncate(1 << 20)
    refused(checks, workspace, ["--kernel", folder / "netbsd.gdb", f"ram:{empty}"], ["no memory"], "too little RAM")
    refused(checks, workspace, ["--kernel", workspace.path / "none", ram], ["none"], "no file")
    # the debug file of a build with an id will do
    attached = Attached(workspace, ram, "--kernel", folder / "netbsd.debug")
    checks.equal(len(attached.caches()), len(netbsd_image.PLAN), "the debug file alone")
    attached.detach()


def test_damaged(checks, workspace):
    """Damaged memory and damaged files: an answer, or a reason; never a crash, and soon."""
    folder = workspace.path / "image"
    expected = netbsd_image.image(folder, 64, int(os.environ.get("KMS_SEED", "2")))
    dice = random.Random(expected["seed"])
    ram = bytearray((folder / "netbsd.ram").read_bytes())
    used = [at for at in range(0, len(ram), 4096) if any(ram[at:at + 4096]) and at >= 0x400000]
    for turn in range(int(os.environ.get("KMS_ROUNDS", "12"))):
        damaged = bytearray(ram)
        for _ in range(dice.choice((1, 10, 300))):
            at = dice.choice(used) + dice.randrange(4096)
            damaged[at] = dice.randrange(256)
        (workspace.path / "damaged.ram").write_bytes(damaged)
        attached = Attached(workspace, f"ram:{workspace.path}/damaged.ram", "--kernel", folder / "netbsd.gdb", wait=False)
        kms.wait_for(lambda: attached.child.poll() is not None or workspace.session(), DEADLINE_S, "an answer")
        if attached.child.poll() is None:
            attached.caches()
            attached.db("show all pools/p")
            status, said = attached.detach()
        else:
            status, said = attached.child.returncode, attached.child.communicate()[1].decode()
        checks.that(status in (0, 1) or (status > 0 and said), f"turn {turn}: status {status}", said)
    file = bytearray((folder / "netbsd.gdb").read_bytes())
    for turn in range(int(os.environ.get("KMS_ROUNDS", "12"))):
        damaged = bytearray(file)
        for _ in range(dice.choice((1, 10, 300))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        (workspace.path / "damaged.elf").write_bytes(damaged[:dice.choice((len(damaged), dice.randrange(len(damaged))))])
        attached = Attached(workspace, f"ram:{folder}/netbsd.ram", "--kernel", workspace.path / "damaged.elf", wait=False)
        kms.wait_for(lambda: attached.child.poll() is not None or workspace.session(), DEADLINE_S, "an answer")
        if attached.child.poll() is None:
            status, said = attached.detach()
        else:
            status, said = attached.child.returncode, attached.child.communicate()[1].decode()
        checks.that(status >= 0 and (status == 0 or said), f"file {turn}: status {status}", said)


def main():
    tests = {"saved": test_saved, "live": test_live, "boots": test_boots, "refused": test_refused, "damaged": test_damaged}
    kms.need("gcc", "ld", "objcopy", "readelf", "nm", "strip")
    checks = kms.Checks()
    with kms.Workspace("netbsd") as workspace:
        workspace.env.pop("XDG_CACHE_HOME", None)
        tests[sys.argv[1]](checks, workspace)
    sys.exit(checks.status())


if __name__ == "__main__":
    main()
