#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""`run --http` from outside, with curl: the printed address, the login, the page, a depth set through it, and its end."""

import json
import pathlib
import re
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
import kms  # noqa: E402

DEADLINE_S = 60
ADDRESS = re.compile(rb"page (http://127\.0\.0\.1:([0-9]+)/)#token=([0-9a-f]{64})\n")


class Page:
    """A traced program that waits, and its page."""

    def __init__(self, workspace, *options):
        self.workspace = workspace
        self.child = workspace.start([kms.KMEMSCOPE, "run", "-o", workspace.path / "t.kms", "--http", "0", *options, "--",
                                      "/bin/sh", "-c", 'echo up; while read x; do y=$x$y; done; exit 3'])
        match = None
        while not match:  # ends with the address, or with stderr
            line = self.child.stderr.readline()
            if not line:
                raise AssertionError("no address was printed")
            match = ADDRESS.search(line)
        self.url, self.port, self.token = match.group(1).decode(), int(match.group(2)), match.group(3).decode()
        self.child.stdout.readline()

    def curl(self, path, *options):
        """Status and body."""
        done = self.workspace.run(["curl", "-s", "--noproxy", "*", "-w", "\n%{http_code}", *options, self.url + path])
        body, status = done.stdout.rsplit(b"\n", 1)
        return int(status), body

    def poke(self):
        """The program allocates something, and so sees what was written to its variables."""
        self.child.stdin.write(b"x\n")
        self.child.stdin.flush()

    def end(self):
        self.child.communicate(timeout=DEADLINE_S)
        return self.child.returncode


def page_works(checks, workspace):
    page = Page(workspace)
    folder = pathlib.Path(workspace.session()["socket"]).parent
    jar = workspace.path / "jar"
    json_type = ("-H", "Content-Type: application/json")
    status, body = page.curl("")
    checks.that(status == 200 and b"<html" in body, "the page", body[:80])
    checks.equal(page.curl("api/v1/stats")[0], 401, "nothing without a login")
    status, body = page.curl("api/v1/session", "-c", jar, *json_type, "-d", json.dumps({"token": page.token}))
    checks.equal((status, json.loads(body)["scope"]), (200, "write"), "login")
    checks.equal(page.curl("api/v1/session", *json_type, "-d", json.dumps({"token": page.token}))[0], 401, "once")
    status, body = page.curl("api/v1/guard", "-b", jar, "-X", "PATCH", *json_type, "-d", '{"depth": 30000}')
    checks.that(status in (200, 202), "the depth is set", (status, body))

    def depth():
        page.poke()
        return json.loads(page.curl("api/v1/guard", "-b", jar)[1])["depth"]

    kms.wait_for(lambda: depth() == 30208, DEADLINE_S, "the depth")
    # a stream until the event that says so
    stream = workspace.start(["curl", "-sN", "--noproxy", "*", "-b", jar, page.url + "api/v1/stream?topics=guard&hz=10"])
    seen = b""
    while b'"depth_requested":30000' not in seen:
        line = stream.stdout.readline()
        checks.that(line, "the stream goes on", seen[-200:])
        if not line:
            break
        seen += line
    token = (folder / "token").read_text().strip()
    checks.equal(page.curl("metrics", "-H", f"Authorization: Bearer {token}")[0], 200, "metrics with the token of the file")
    audit = json.loads(page.curl("api/v1/audit", "-b", jar)[1])["items"]
    checks.that(audit and audit[0]["who"].startswith("browser write 127.0.0.1:"), "the audit names the browser", audit[:1])
    for name in ("token", "token-read", "http.url"):
        checks.equal((folder / name).stat().st_mode & 0o777, 0o600, f"{name} is ours alone")
    program = workspace.session()["program_pid"]
    links = [str(link.readlink()) for link in pathlib.Path(f"/proc/{program}/fd").iterdir()]
    checks.that(not [link for link in links if link.startswith("socket")], "the program gets no socket of ours", links)
    checks.equal(page.end(), 3, "the program's own status")
    rest, _ = stream.communicate(timeout=DEADLINE_S)
    checks.that(b"event: bye\n" in rest, "the stream says bye", rest[-200:])
    checks.that(not folder.exists(), "tokens go with the session")


def ports_are_free_again(checks, workspace):
    """A port can be had as soon as the run is over, by number; while it lasts another run says what to do."""
    page = Page(workspace)
    place = f"127.0.0.1:{page.port}"
    done = workspace.run([kms.KMEMSCOPE, "run", "--http", str(page.port), "-o", workspace.path / "u.kms", "--", "true"])
    checks.equal(done.status, 125, "a taken port")
    checks.that(done.stderr.count(b"\n") == 1 and b"is in use" in done.stderr and str(page.port).encode() in done.stderr, "said once", done)
    checks.that(not (workspace.path / "u.kms").exists(), "before anything is made")
    page.end()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", page.port))
    done = workspace.run([kms.KMEMSCOPE, "run", "--http", place, "-o", workspace.path / "v.kms", "--", "true"])
    checks.that(done.status == 0 and f"http://{place}/#token=".encode() in done.stderr, "the same port again", done)


def open_stream(path, query):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE_S)
    client.connect(path)
    client.sendall(f"GET /api/v1/stream?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def slow_readers_hold_up_nothing(checks, workspace):
    """A busy program, streams that nobody reads and one that is read: no event is lost, the end comes, the reader sees it."""
    trace = workspace.path / "w.kms"
    pairs = 1000000
    child = workspace.start(workspace.traced_argv([kms.BUILD / "test/system/worker", str(pairs), "hold"], trace))
    checks.equal(child.stdout.readline(), b"half\n", "half of it")
    path = workspace.session()["socket"]
    silent = [open_stream(path, "hz=10&limit=1000") for _ in range(8)]
    reader = open_stream(path, "hz=10")
    text = bytearray()

    def read():
        while piece := reader.recv(65536):
            text.extend(piece)

    thread = threading.Thread(target=read)
    thread.start()
    out, _ = child.communicate(b"\n", timeout=DEADLINE_S)
    checks.equal((child.returncode, out), (0, b"done\n"), "the program and the run end")
    thread.join(DEADLINE_S)
    checks.that(not thread.is_alive() and b"event: bye\n" in text, "the reader gets the end", text[-100:])
    last = json.loads(text[text.rindex(b"event: loss\ndata: ") + 18:].split(b"\n", 1)[0])
    checks.equal((last["lost"], last["incomplete"]), (0, False), "the stream says that nothing was lost")
    checks.equal(workspace.lost(trace), 0, "nothing was lost")
    checks.that(workspace.event_counts(trace)["alloc"] >= pairs, "every allocation is there", workspace.event_counts(trace))
    for client in [*silent, reader]:
        client.close()


def two_clients_set_the_depth(checks, workspace):
    """At the same time, again and again: each is answered, each is in the audit, and the last one holds."""
    page = Page(workspace)
    token = (pathlib.Path(workspace.session()["socket"]).parent / "token").read_text().strip()
    headers = ("-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json")
    depths = {1: range(512, 10240, 1024), 2: range(1024, 10752, 1024)}

    def write(who):
        for depth in depths[who]:
            status, body = page.curl("api/v1/guard", *headers, "-X", "PATCH", "-d", json.dumps({"depth": depth}))
            checks.that(status in (200, 202), f"client {who} sets {depth}", body)
            page.poke()

    threads = [threading.Thread(target=write, args=(who,)) for who in depths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = json.loads(page.curl("api/v1/audit?limit=1000", *headers)[1])["items"]
    rows = [row for row in rows if row["variable"] == "kmem_guard_depth"]
    checks.equal(sorted(row["value"] for row in rows), sorted([*depths[1], *depths[2]]), "the audit has each")
    last = rows[0]["value"]

    def settled():
        page.poke()
        guard = json.loads(page.curl("api/v1/guard", *headers)[1])
        return not guard["pending"] and (guard["depth_requested"], guard["depth"]) == (last, (last + 511) // 512 * 512)

    kms.wait_for(settled, DEADLINE_S, f"the last one, {last}, holds")
    page.end()


def tracer_that_dies_frees_the_port(checks, workspace):
    page = Page(workspace)
    tracer = workspace.session()["pid"]
    kms.os.kill(tracer, kms.signal.SIGKILL)

    def is_free():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", page.port)) != 0

    kms.wait_for(is_free, DEADLINE_S, "nobody listens on the port of a dead tracer")
    checks.equal(page.end(), 3, "the program goes on")


def mistakes_are_told(checks, workspace):
    for options, text in ((["--http", "x"], b'"x" is no place to listen'), (["--http", "127.0.0.1:65536"], b"no place to listen"),
                          (["--http", "0.0.0.0:0"], b"add --http-expose-unencrypted"),
                          (["--http-expose-unencrypted"], b"--http-expose-unencrypted needs --http"),
                          (["--web-root", "."], b"--web-root needs --http"),
                          (["--http", "0", "--web-root", "nowhere"], b"cannot serve the page from nowhere")):
        done = workspace.run([kms.KMEMSCOPE, "run", *options, "--", "true"])
        checks.that(done.status == 125 and text in done.stderr and done.stderr.count(b"\n") == 1, f"{options}", done)
    checks.that(not list(workspace.path.glob("*.kms")), "and nothing is made")


def daemon_has_a_page_too(checks, workspace):
    daemon = workspace.start([kms.KMEMSCOPE, "daemon", "--http", "0"])
    match = None
    while not match:
        line = daemon.stderr.readline()
        if not line:
            raise AssertionError("the daemon printed no address")
        match = ADDRESS.search(line)
    token = next(workspace.runtime.glob("kmemscope/*/token-read")).read_text().strip()
    ask = ["curl", "-s", "--noproxy", "*", "-H", f"Authorization: Bearer {token}", match.group(1).decode() + "api/v1/targets"]
    checks.equal(json.loads(workspace.run(ask).stdout)["items"], [], "no target yet")
    done = workspace.run([kms.KMEMSCOPE, "run", "--daemon", "--http", "0", "--", "true"])
    checks.that(done.status == 125 and b"`kmemscope daemon --http`" in done.stderr, "a run of the daemon has no port of its own", done)
    checks.equal(workspace.run([kms.KMEMSCOPE, "run", "--daemon", "--", "sh", "-c", "exit"]).status, 0, "a run of the daemon")
    kms.wait_for(lambda: json.loads(workspace.run(ask).stdout)["items"], DEADLINE_S, "its target on the port")
    daemon.terminate()
    checks.equal(daemon.wait(timeout=DEADLINE_S), 0, "the daemon's end")


def main():
    kms.need("curl")
    checks = kms.Checks()
    for part in (page_works, ports_are_free_again, tracer_that_dies_frees_the_port, mistakes_are_told,
                 slow_readers_hold_up_nothing, two_clients_set_the_depth,
                 daemon_has_a_page_too):
        with kms.Workspace("http") as workspace:
            part(checks, workspace)
    sys.exit(checks.status())


main()
