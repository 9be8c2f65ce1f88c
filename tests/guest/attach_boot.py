#!/ usr / bin / env python3
#SPDX - License - Identifier : BSD - 2 - Clause
"""attach --boot: kmem_guard_depth written where the kernel reads it, at kmem_init, in a real QEMU.

usage: attach_boot.py stopped|reset|killed|refused|netbsd ...
"""

import os
import shutil
import signal
import socket
import subprocess
import sys

import guest
import kms
import netbsd_image
from attach import Attached, Machine, Qmp, with_qmp

DEADLINE_S = guest.DEADLINE_S
DEPTH, EFFECTIVE = 30000, 30208
BOOT = ["--boot", "--guard-depth", str(DEPTH)]


def stub(workspace, name="gdb.sock"):
    return ["-gdb", f"unix:{workspace.path / name},server=on,wait=off"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def depth_of(workspace):
    return [(g["depth"], g["backend"]) for g in workspace.json("guard")["items"]]


def starting(workspace, target, *options):
    """An attach whose first lines the test reads."""
    return workspace.start([kms.KMEMSCOPE, "attach", *BOOT, *options, target],
                           stdin=subprocess.DEVNULL)


def line_with(child, text):
    """The line of an attach that has this text; those before it are passed over."""
    seen = []
    for line in child.stderr:
        seen.append(line.decode())
        if text in seen[-1]:
            return seen[-1]
    raise AssertionError(f"no line with {text!r}: {seen}")


def status_of(qmp):
    return qmp.do("query-status")["return"]["status"]


def expect_depth(checks, workspace, target, name):
    attached = Attached(workspace, target, name, BOOT)
    kms.wait_for(lambda: depth_of(workspace) == [(EFFECTIVE, "page_table")], DEADLINE_S,
                 f"{name}: the depth that was written is in effect")
    checks.that(f"{EFFECTIVE:x}" in attached.db("x kmem_guard_depth"), f"{name}: and x shows it",
                attached.db("x kmem_guard_depth"))
    attached.reaches("allocs", 1000)
    status, text = attached.detach()
    checks.equal(status, 0, f"{name}: {text}")
    checks.that(f"kmem_guard_depth 0 -> {DEPTH} (0x7530), written at kmem_init" in text,
                f"{name}: what was written is said", text)
    audit = workspace.sql(attached.trace,
                          "SELECT value, result FROM audit WHERE variable = 'kmem_guard_depth'")
    checks.equal(audit, [[str(DEPTH), "ok"]], f"{name}: and is in the audit")
    return text


def test_stopped(checks, workspace):
    """A guest that was started with -S is started, written to and traced: by each kind of stub."""
    port = free_port()
    ours, _, both = with_qmp(workspace)
    ways = {"socket": stub(workspace), "port": ["-gdb", f"tcp:127.0.0.1:{port}"], "qmp": both}
    for name, options in ways.items():
        machine = Machine(workspace, "work=flood", ["-S", *options])
        if name != "port":
            kms.wait_for((workspace.path / "gdb.sock").exists if name == "socket" else
                         ours.exists, DEADLINE_S, "the socket is there")
        expect_depth(checks, workspace, machine.target, name)
        checks.that(machine.lives(), f"{name}: it lives on")
        machine.end()
    checks.equal(list(workspace.path.glob("kmemscope-gdb-*")), [], "no socket is left")
    machine = Machine(workspace, "", ["-S", *stub(workspace, "demo.sock")])
    kms.wait_for((workspace.path / "demo.sock").exists, DEADLINE_S, "the stub listens")
    expect_depth(checks, workspace, machine.target, "it wins over what the demo sets")
    machine.end()
    machine = Machine(workspace, "work=flood", ["-S", *stub(workspace, "named.sock")])
    kms.wait_for((workspace.path / "named.sock").exists, DEADLINE_S, "the stub listens")
    expect_depth(checks, workspace, f"gdb:{workspace.path / 'named.sock'}", "by its stub alone")


def test_reset(checks, workspace):
    """A guest that has passed is told so; it is written to when it is reset."""
    ours, _, both = with_qmp(workspace)
    machine = Machine(workspace, "work=flood", [*both, *stub(workspace)])
    qmp = Qmp(ours)
    before = Attached(workspace, machine.target, "before")
    before.reaches("allocs", 1000)
    before.detach()
    child = starting(workspace, machine.target, "-o", workspace.path / "reset.kms")
    said = line_with(child, "passed kmem_init")
    checks.that("system_reset" in said and "-S" in said, "told what to do", said)
    checks.equal(status_of(qmp), "running", "it goes on meanwhile")
    qmp.do("system_reset")
    line_with(child, "written at kmem_init")
    kms.wait_for(lambda: workspace.session() and depth_of(workspace) == [(EFFECTIVE, "page_table")],
                 DEADLINE_S, "the next boot has it")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=DEADLINE_S)
    checks.equal(child.returncode, 0, "and is let go as always")
    checks.equal(status_of(qmp), "running", "it goes on")


def test_killed(checks, workspace):
    """kill -9 while the break point is set: it is gone, and the guest boots and runs."""
    ours, _, both = with_qmp(workspace)
    machine = Machine(workspace, "work=flood kmem_guard_depth=700", [*both, *stub(workspace)])
    qmp = Qmp(ours)
    Attached(workspace, machine.target, "before").detach()
    for end in (signal.SIGKILL, signal.SIGINT):
        child = starting(workspace, machine.target)
        line_with(child, "passed kmem_init")
        child.send_signal(end)
        child.communicate(timeout=DEADLINE_S)
        checks.equal(child.returncode, -end, "it ended by the signal")
        kms.wait_for(lambda: status_of(qmp) == "running", DEADLINE_S, "the guest goes on")
        qmp.do("system_reset")
        attached = Attached(workspace, machine.target, f"after{end}")
        attached.reaches("allocs", 1000)
        checks.equal(depth_of(workspace), [(1024, "page_table")],
                     f"{end!r}: it boots past kmem_init, with its own depth")
        attached.detach()
    machine.end()
#one that was not started before : it is from then on, and nothing holds it
    for path in workspace.path.glob("*.sock"):
        path.unlink()
    empty = workspace.start([guest.QEMU, "-S", "-display", "none", "-m", "64M", *both,
                             *stub(workspace)], stdin=subprocess.DEVNULL)
    qmp = Qmp(ours)
    checks.equal(status_of(qmp), "prelaunch", "not started yet")
    child = starting(workspace, f"qemu:pid:{empty.pid}", "--kernel", guest.IMAGE)
    line_with(child, "not come to kmem_init")
    child.kill()
    child.wait(DEADLINE_S)
    kms.wait_for(lambda: status_of(qmp) == "running", DEADLINE_S, "the machine goes on")
    qmp.do("quit")


def prompt_of_netbsd(checks, workspace, name, image):
    """The kernel's names at the prompt; its depth is not written any more, other variables are."""
    def db(line):
        return workspace.run([kms.KMEMSCOPE, "db", "-e", line], timeout=DEADLINE_S).stdout.decode()

    rows = subprocess.run(["nm", image], capture_output=True, text=True, check=True).stdout.splitlines()
    known = {row.split()[2]: row.split()[0].lstrip("0") for row in rows}
    checks.equal(db("p kmem_init").split(), [known["kmem_init"]], f"{name}: p")
    checks.equal(db(f"p/a {known['kmem_init']}+2").strip(), "kmem_init+0x2", f"{name}: p/a")
    checks.that(db("x/s version").startswith("version:\t"), f"{name}: x/s", db("x/s version"))
    checks.that("did you mean kmem_init?" in db("x kmem_inti"), f"{name}: a near name", db("x kmem_inti"))
    said = db("w kmem_guard_depth 0t1000")
    checks.that("only at boot" in said and "--boot" in said, f"{name}: w says that it is too late", said)
    checks.that("= 5" in db("w/l kmem_guard_size 5"), f"{name}: another variable is written")
    checks.that("\t5 " in db("x/lx kmem_guard_size"), f"{name}: and is there", db("x/lx kmem_guard_size"))
    checks.that("text or a constant" in db("w kmem_init 5"), f"{name}: text is not", db("w kmem_init 5"))


def test_netbsd(checks, workspace):
    """Kernels that read it only there, of 32 and 64 bits, say on their serial line what they found."""
    for bits, seed, emulator, effective in ((32, 1, "qemu-system-i386", 30720), (64, 2, guest.QEMU, 30208),
                                            (32, 4, guest.QEMU, 30720)):
        name = f"{emulator}, {bits} bits"
        folder = workspace.path / f"netbsd{bits}-{seed}"
        if not shutil.which(emulator):
            continue
        netbsd_image.image(folder, bits=bits, seed=seed)
        serial, gdb = folder / "serial", folder / "gdb.sock"
        machine = workspace.start([emulator, "-S", "-kernel", folder / "netbsd", "-m", "64M", "-display", "none",
                                   "-serial", f"file:{serial}", "-gdb", f"unix:{gdb},server=on,wait=off"],
                                  stdin=subprocess.DEVNULL)
        child = starting(workspace, f"qemu:pid:{machine.pid}", "--allow-write")
        said = line_with(child, "written at kmem_init")
        checks.that(f"kmem_guard_depth 0 -> {DEPTH} (0x7530)" in said, f"{name}: what was written", said)
        kms.wait_for(lambda: "ready" in serial.read_text(), DEADLINE_S, f"{name} boots")
        checks.that(f"depth {effective}" in serial.read_text(), f"{name}: the kernel took it", serial.read_text())
        line_with(child, "API socket")
        prompt_of_netbsd(checks, workspace, name, folder / "netbsd")
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=DEADLINE_S)
        checks.equal((child.returncode, machine.poll()), (0, None), f"{name}: let go")
        machine.kill()


def test_refused(checks, workspace):
    """What cannot be done is said in one line, and nothing is stopped or written."""
    other = workspace.path / "other.elf"
    content = guest.IMAGE.read_bytes()
    at = content.index(b"GNU\0", content.index(b"\x03\0\0\0GNU\0"))
    other.write_bytes(content[:at + 4] + bytes(20) + content[at + 24:])
    debug = workspace.path / "debug.elf"
    subprocess.run(["objcopy", "--only-keep-debug", guest.IMAGE, debug], check=True)
    bare = Machine(workspace, "work=flood")
    machine = Machine(workspace, "work=flood", stub(workspace))
    cases = [
        (["--boot", bare.target], 2, "--guard-depth"),
        (["--guard-depth", "5", bare.target], 2, "--boot"),
        ([*BOOT, f"pid:{os.getpid()}"], 2, "are for guests"),
        ([*BOOT, "--daemon", bare.target], 2, "--daemon"),
        ([*BOOT, bare.target], 1, "-gdb unix:"),
        ([*BOOT, "--kernel", other, machine.target], 1, "another build"),
        ([*BOOT, "--kernel", "/bin/true", machine.target], 1, "kmem_init"),
        ([*BOOT, "--kernel", debug, machine.target], 1, "a debug file"),
        ([*BOOT, "--kernel", "/etc/passwd", machine.target], 1, "no ELF file"),
    ]
    kms.wait_for((workspace.path / "gdb.sock").exists, DEADLINE_S, "the stub listens")
    for options, status, text in cases:
        done = workspace.run([kms.KMEMSCOPE, "attach", *options], timeout=DEADLINE_S)
        checks.equal(done.status, status, f"{options}: {done!r}")
        checks.that(text.encode() in done.stderr and done.stderr.count(b"\n") == 1,
                    f"{options}: in one line", done.stderr)
    after = Attached(workspace, machine.target, "after")
    after.reaches("allocs", 1000)
    checks.equal(depth_of(workspace)[0][0], 0, "nothing was written")
    after.detach()


if __name__ == "__main__":
    sys.exit(guest.run_cases(globals(), "guest-boot"))
