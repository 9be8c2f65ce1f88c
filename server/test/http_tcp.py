#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The HTTP front on a TCP port: tokens and their scopes, a browser's login, foreign hosts and foreign pages, the files of
the web page, and ports that cannot be had."""

import contextlib
import gzip
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile

from front import TOOL, Stream, check, failures, read_response, request, server

PATCH = '{"depth": 512}'


class Port:
    """A server on a port: how to reach it, and its secrets."""

    def __init__(self, folder, url):
        match = re.fullmatch(r"http://(\[?[0-9a-f.:]+\]?):([0-9]+)/#token=([0-9a-f]{64})\n", url)
        check(match is not None, f"printed address: {url!r}")
        self.host, self.port, self.once = match.group(1), int(match.group(2)), match.group(3)
        self.name = f"{self.host}:{self.port}"
        self.write = self.read_file(folder, "token")
        self.read = self.read_file(folder, "token-read")
        check(self.read_file(folder, "http.url") == f"http://{self.name}/", "http.url")
        check(len({self.once, self.write, self.read}) == 3, "three different secrets")

    def read_file(self, folder, name):
        path = os.path.join(folder, name)
        check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, f"{name} is its owner's")
        with open(path, encoding="ascii") as file:
            return file.read().strip()

    def connect(self):
        return socket.create_connection((self.host.strip("[]"), self.port), timeout=20)

    def ask(self, target, method="GET", headers="", body="", host=None):
        """Status, headers, body; headers without Host."""
        host = self.name if host is None else host
        length = f"Content-Length: {len(body)}\n" if body or method != "GET" else ""
        text = f"{method} {target} HTTP/1.1\n" + (f"Host: {host}\n" if host else "") + headers + length + "\n"
        with self.connect() as client:
            client.sendall(text.replace("\n", "\r\n").encode() + body.encode())
            return read_response(client, method == "HEAD")

    def problem(self, *args, **kwargs):
        """Status and the type of the problem document."""
        status, _, body = self.ask(*args, **kwargs)
        return status, json.loads(body).get("type", "").rsplit("/", 1)[-1]

    def login(self, token, headers=""):
        return self.ask("/api/v1/session", "POST", "Content-Type: application/json\n" + headers, json.dumps({"token": token}))


def bearer(token):
    return f"Authorization: Bearer {token}\n"


@contextlib.contextmanager
def tcp_server(folder, where="0", *more):
    """api_tool on the Unix socket and a port."""
    path = os.path.join(folder, "api.sock")
    with subprocess.Popen([TOOL, "serve", path, where, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline()
        check(process.stdout.readline() == "ready\n", "ready")
        yield Port(folder, url)
        process.stdin.close()
        check(process.wait(timeout=60) == 0, f"ends with 0, not {process.returncode}")
    check(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")


def tokens_are_needed(port):
    for target in ["/api/v1/stats", "/api/v1/stream", "/metrics", "/readyz", "/openapi.json", "/nothing", "/api/v1/session",
                   "/healthz/", "/HEALTHZ", "//healthz", "/%68ealthz", "http://127.0.0.1/healthz", "*"]:
        check(port.problem(target) == (401, "unauthorized"), f"{target} without a token")
    check(port.ask("/api/v1/stats")[1]["www-authenticate"] == 'Bearer realm="kmemscope"', "WWW-Authenticate")
    for header in [bearer("0" * 64), bearer(port.write[:-1]), bearer(port.write + "0"), bearer(""), bearer(port.write.upper()),
                   bearer(port.once), f"Authorization: {port.write}\n", f"Authorization: Basic {port.write}\n", "Authorization:\n",
                   f"Cookie: kms_{port.port}={port.write}\n", f"X-Token: {port.write}\n",
                   bearer(port.write) + bearer("0" * 64), bearer("0" * 64) + bearer(port.write)]:
        check(port.problem("/api/v1/stats", headers=header) == (401, "unauthorized"), f"wrong credentials: {header}")
    check(port.ask(f"/api/v1/stats?token={port.write}")[0] == 401, "a token in the address is none")
    for token in [port.read, port.write]:
        check(port.ask("/api/v1/stats", headers=bearer(token))[0] == 200, "a right token")
        check(port.ask("/metrics", headers=bearer(token))[0] == 200, "... for /metrics too")
    check(port.ask("/healthz")[0] == 200, "/healthz needs no token")


def scopes_are_kept(port):
    json_type = "Content-Type: application/json\n"
    check(port.problem("/api/v1/guard", "PATCH", bearer(port.read) + json_type, PATCH) == (403, "read-only"), "PATCH by read token")
    check(port.problem("/api/v1/marks", "POST", bearer(port.read) + json_type, '{"name": "x"}') == (403, "read-only"), "POST by read token")
    check(port.problem("/api/v1/guard", "PATCH", json_type, PATCH) == (401, "unauthorized"), "PATCH by nobody")
    check(port.ask("/api/v1/guard", "PATCH", bearer(port.write) + json_type, PATCH)[0] == 200, "PATCH by write token")
    check(port.problem("/api/v1/guard", "PATCH", bearer(port.write), PATCH) == (415, "media-type"), "a body without a type")
    check(port.problem("/api/v1/guard", "PATCH", bearer(port.write) + "Content-Type: text/plain\n", PATCH) == (415, "media-type"),
          "a form's type")
    who = json.loads(port.ask("/api/v1/session", headers=bearer(port.read))[2])
    check(re.fullmatch(r"token read (127\.0\.0\.1|\[::1\]):[0-9]+", who["who"]) and who["scope"] == "read", f"read: {who}")
    who = json.loads(port.ask("/api/v1/session", headers=bearer(port.write))[2])
    check(who["who"].startswith("token write ") and who["scope"] == "write", f"write: {who}")


def hosts_are_checked(port):
    good = bearer(port.write)
    for host in [f"127.0.0.1:{port.port}", f"localhost:{port.port}", f"LocalHost:{port.port}", f"[::1]:{port.port}"]:
        check(port.ask("/api/v1/stats", headers=good, host=host)[0] == 200, f"Host: {host}")
    for host in ["evil.example", f"evil.example:{port.port}", "127.0.0.1", "localhost", f"127.0.0.1:{port.port + 1}",
                 f"127.0.0.1:{port.port}0", f"127.0.0.1:0{port.port}", f"127.0.0.1.evil.example:{port.port}", "", f"0.0.0.0:{port.port}",
                 f"localhost.:{port.port}", f"127.0.0.1:{port.port}, evil", f"user@127.0.0.1:{port.port}"]:
        for target in ["/api/v1/stats", "/healthz", "/"]:
            check(port.problem(target, headers=good, host=host) == (403, "foreign-host"), f"Host {host!r} for {target}")
    twice = f"Host: 127.0.0.1:{port.port}\nHost: evil.example\n"
    check(port.problem("/api/v1/stats", headers=good + twice, host="") == (403, "foreign-host"), "two Host headers")
    check(port.problem("/api/v1/stats", headers=good + twice.replace("evil.example", port.name), host="") == (403, "foreign-host"),
          "two equal Host headers")
    with port.connect() as client:
        client.sendall(f"GET /api/v1/stats HTTP/1.0\r\nAuthorization: Bearer {port.write}\r\n\r\n".encode())
        check(read_response(client)[0] == 403, "no Host header")


def foreign_pages_are_refused(port, cookie):
    """A page of another site, in a browser that is logged in, can neither change nor read anything."""
    ours = f"http://{port.name}"
    typed = cookie + "Content-Type: application/json\n"
    for header in ["Sec-Fetch-Site: cross-site\n", "Sec-Fetch-Site: same-site\n", "Sec-Fetch-Site: \n", "Origin: http://evil.example\n",
                   "Origin: null\n", f"Origin: https://{port.name}\n", f"Origin: http://127.0.0.1:{port.port + 1}\n", "Origin: \n",
                   f"Origin: {ours}\nSec-Fetch-Site: cross-site\n"]:
        check(port.problem("/api/v1/guard", "PATCH", typed + header, PATCH) == (403, "cross-site"), f"PATCH with {header}")
        check(port.problem("/api/v1/stats", headers=cookie + header) == (403, "cross-site"), f"GET with {header}")
        check(port.problem("/api/v1/stream", headers=cookie + header) == (403, "cross-site"), f"stream with {header}")
        check(port.login("0" * 64, header)[0] == 403, f"login with {header}")
        check(port.problem("/api/v1/guard", "PATCH", bearer(port.write) + "Content-Type: application/json\n" + header, PATCH)
              == (403, "cross-site"), f"PATCH with a token and {header}")
    check(port.ask("/", headers="Sec-Fetch-Site: cross-site\n")[0] == 200, "a link to the page may stand anywhere")
    for header in ["Sec-Fetch-Site: same-origin\n", "Sec-Fetch-Site: none\n", f"Origin: {ours}\n",
                   f"Origin: {ours}\nSec-Fetch-Site: same-origin\n", ""]:
        check(port.ask("/api/v1/guard", "PATCH", typed + header, PATCH)[0] == 200, f"PATCH with {header}")
    for method in ["OPTIONS", "GET", "PATCH"]:
        headers = port.ask("/api/v1/stats", method, "Origin: http://evil.example\n" + bearer(port.write))[1]
        check(not [name for name in headers if name.startswith("access-control")], "no CORS headers")


def browsers_log_in_once(port):
    """Returns the Cookie header of one that is logged in."""
    for token in ["", "0" * 64, port.once[:-1], port.once.upper()]:
        check(port.login(token)[0] == 401, f"login with {token!r}")
    for body in ["{}", "[]", '{"token": 1}', '{"token": "x", "more": 1}', '{"tokem": "x"}', "{", ""]:
        answer = port.ask("/api/v1/session", "POST", "Content-Type: application/json\n", body)
        check(answer[0] == 400, f"login with {body!r}: {answer[0]}")
    check(port.ask("/api/v1/session", "POST", "", json.dumps({"token": port.once}))[0] == 415, "login without a type")
    status, headers, body = port.login(port.once)
    check(status == 200 and json.loads(body) == {"who": "browser", "scope": "write"}, f"login: {status} {body}")
    match = re.fullmatch(rf"(kms_{port.port}=[0-9a-f]{{64}}); Path=/; HttpOnly; SameSite=Strict", headers["set-cookie"])
    check(match is not None, f"cookie: {headers['set-cookie']}")
    check(port.once not in headers["set-cookie"] and port.write not in headers["set-cookie"], "a secret of its own")
    check(port.login(port.once)[0] == 401 and "set-cookie" not in port.login(port.once)[1], "the token is good once")
    cookie = f"Cookie: {match.group(1)}\n"
    check(port.ask("/api/v1/stats", headers=cookie)[0] == 200, "the cookie is good")
    who = json.loads(port.ask("/api/v1/session", headers=cookie)[2])
    check(who["who"].startswith("browser write ") and who["scope"] == "write", f"browser: {who}")
    check(port.ask("/api/v1/stats", headers=f"Cookie: a=b; kms_1=x; kms_{port.port}=0; {match.group(1)}; c\n")[0] == 200, "among others")
    check(port.ask("/api/v1/stats", headers=cookie + bearer("0" * 64))[0] == 401, "a wrong token beside a cookie")
    for wrong in [match.group(1)[:-1], match.group(1) + "0", f"kms_{port.port}=", f"x{match.group(1)}", "kms_1=" + match.group(1)[-64:]]:
        check(port.ask("/api/v1/stats", headers=f"Cookie: {wrong}\n")[0] == 401, f"Cookie: {wrong}")
    status, headers, body = port.login(port.read)
    reader = "Cookie: " + headers["set-cookie"].split(";")[0] + "\n"
    check(json.loads(body)["scope"] == "read", "the lasting tokens log in too, with their scope")
    check(port.problem("/api/v1/guard", "PATCH", reader + "Content-Type: application/json\n", PATCH) == (403, "read-only"), "... kept")
    return cookie


def old_logins_end(port, cookie):
    """There are 32 at most: the oldest goes."""
    for _ in range(32):
        check(port.login(port.write)[0] == 200, "login")
    check(port.ask("/api/v1/stats", headers=cookie)[0] == 401, "the oldest login has ended")


def streams_over_tcp(port, cookie):
    stream = Stream(port.connect(), "?topics=guard", cookie, port.name)
    check(stream.until("guard")[-1][2]["depth"] == 30208, "a stream by cookie")
    stream.close()
    stream = Stream(port.connect(), "?topics=stats", bearer(port.read).replace("\n", "\r\n"), port.name)
    check(stream.until("stats")[-1][0] == "stats", "a stream by token")
    stream.close()


def page_is_served(port, path):
    """The page, compressed or not, with its policy; and nothing but its files. The same on the Unix socket."""
    dist = os.path.join(os.environ["KMS_SOURCE_DIR"], "web", "dist")
    names = [os.path.relpath(os.path.join(folder, name), dist) for folder, _, files in os.walk(dist) for name in files]
    names = [name for name in names if not name.endswith(".map") and not name.startswith(".")]
    check("index.html" in names and "licenses.txt" in names and len(names) >= 4, f"files of the page: {names}")
    for name in names:
        with open(os.path.join(dist, name), "rb") as file:
            content = file.read()
        status, headers, body = port.ask("/" + name)
        check(status == 200 and body == content and "content-encoding" not in headers, f"/{name} as it is")
        zipped = port.ask("/" + name, headers="Accept-Encoding: br;q=1.0, gzip;q=0.8, *;q=0.1\n")
        check(zipped[1]["content-encoding"] == "gzip" and gzip.decompress(zipped[2]) == content, f"/{name} compressed")
        check(zipped[1]["etag"] != headers["etag"] and headers["vary"] == "Accept-Encoding", f"/{name}: a tag for each encoding")
        for encoding in ["gzip;q=0", "gzip; q=0.00", "identity", "gzipx", "x-gzip", "deflate"]:
            check("content-encoding" not in port.ask("/" + name, headers=f"Accept-Encoding: {encoding}\n")[1], f"{encoding} is not gzip")
        again = port.ask("/" + name, headers=f"If-None-Match: {headers['etag']}\n")
        check(again[0] == 304 and again[2] == b"", f"/{name}: unchanged")
        hashed = name.startswith("assets/")
        check(headers["cache-control"] == ("max-age=31536000, immutable" if hashed else "no-cache"), f"/{name}: {headers['cache-control']}")
        policy = headers["content-security-policy"]
        check("default-src 'none'" in policy and "'unsafe" not in policy and "frame-ancestors 'none'" in policy, f"/{name}: {policy}")
        check(headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer", f"/{name}: policies")
        check(headers["cross-origin-resource-policy"] == "same-origin", f"/{name}: not for other sites")
        check(request(path, f"GET /{name} HTTP/1.1\nHost: x\n\n")[2] == content, f"/{name} on the Unix socket")
    status, headers, body = port.ask("/?target=2")
    check(status == 200 and headers["content-type"] == "text/html; charset=utf-8" and b"<html" in body, "/ is the page")
    check(int(port.ask("/", "HEAD")[1]["content-length"]) == len(body), "HEAD /")
    types = {name.rsplit(".", 1)[1]: port.ask("/" + name)[1]["content-type"] for name in names}
    check(types["js"] == "text/javascript; charset=utf-8" and types["css"] == "text/css; charset=utf-8", f"types: {types}")
    check(port.ask("/", "POST", bearer(port.write) + "Content-Type: application/json\n", "{}")[0] == 404, "POST /")
    for target in ["/../etc/passwd", "/assets/", "/assets", "/assets/../index.html", "/%2e%2e/x", "/index.html/", "/index.html%00",
                   "/.vite/manifest.json", "//index.html", "/INDEX.HTML"]:
        check(port.ask(target, headers=bearer(port.write))[0] == 404, f"{target} is no file of the page")


def folder_can_be_served(folder):
    """API_TOOL_WEB_ROOT: files of a folder as they are now, and none outside of it."""
    root = os.path.join(folder, "root")
    sockets = os.path.join(folder, "sockets")
    os.makedirs(os.path.join(root, "sub"))
    os.makedirs(sockets)
    for name, text in [("root/index.html", "<p>first"), ("root/sub/a.js", "1"), ("secret", "outside")]:
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            file.write(text)
    os.symlink("../secret", os.path.join(root, "link"))
    os.symlink("/etc/passwd", os.path.join(root, "passwd"))
    os.mkfifo(os.path.join(root, "fifo"))
    os.environ["API_TOOL_WEB_ROOT"] = root
    with tcp_server(sockets) as port:
        check(port.ask("/")[2] == b"<p>first", "the folder's page")
        with open(os.path.join(root, "index.html"), "w", encoding="ascii") as file:
            file.write("<p>second")
        status, headers, body = port.ask("/index.html")
        check((status, body) == (200, b"<p>second") and headers["cache-control"] == "no-store", "... as it is now")
        check(port.ask("/sub/a.js")[1]["content-type"] == "text/javascript; charset=utf-8", "type by suffix")
        check("content-security-policy" in headers, "the same policy")
        for target in ["/link", "/passwd", "/fifo", "/sub", "/sub/../../secret", "/../secret", "/sub/../index.html/..", "/nothing"]:
            check(port.ask(target)[0] == 404, f"{target} is outside")
        check(port.ask("/api/v1/stats")[0] == 401, "the API is what it was")
    del os.environ["API_TOOL_WEB_ROOT"]
    shutil.rmtree(root)
    shutil.rmtree(sockets)
    os.unlink(os.path.join(folder, "secret"))


def refused(folder, where, *more):
    """What is said about a place where it cannot listen."""
    done = subprocess.run([TOOL, "serve", os.path.join(folder, "api.sock"), where, *more], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=60)
    check(done.returncode == 1 and done.stderr.count("\n") == 1, f"{where}: {done.returncode} {done.stderr!r}")
    return done.stderr


def places_are_checked(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        check(f"port {number} is in use" in refused(folder, number) and "0 for any" in refused(folder, number), "a taken port")
        check("in use" in refused(folder, f"127.0.0.1:{number}"), "... with its address")
    for where in ["", ":", "x", "65536", "-1", "80x", "127.0.0.1", "127.0.0.1:", "evil.example:80", "[::1:80", "::1:80", "[]:80", " 80",
                  "127.1:8080", "1" * 200, "127.0.0.1:8080:9"]:
        check("no place to listen" in refused(folder, where), f"{where!r} is no place")
    for where in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:127.0.0.1]:0"]:
        check("--http-expose-unencrypted" in refused(folder, where), f"{where} can be reached by others")
    check("no address of this machine" in refused(folder, "192.0.2.1:0", "expose"), "a foreign address")
    check(os.listdir(folder) == [], "nothing is left behind")


def exposed_servers_take_their_address(folder):
    with tcp_server(folder, "0.0.0.0:0", "expose") as port:
        port.host = "127.0.0.1"
        good = bearer(port.write)
        check(port.ask("/api/v1/stats", headers=good, host=f"127.0.0.1:{port.port}")[0] == 200, "the address it came in at")
        check(port.ask("/api/v1/stats", headers=good, host=f"evil.example:{port.port}")[0] == 403, "and no name")
        check(port.ask("/api/v1/stats", host=f"127.0.0.1:{port.port}")[0] == 401, "with a token only")


def ipv6_works(folder):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return
    with tcp_server(folder, "[::1]:0") as port:
        check(port.host == "[::1]" and port.ask("/api/v1/stats", headers=bearer(port.read))[0] == 200, "IPv6")


def metrics_are_well_formed(port):
    """The text format, line by line; promtool agrees where it is there."""
    _, headers, body = port.ask("/metrics", headers=bearer(port.read))
    check(headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8", "media type")
    text = body.decode()
    check(text.endswith("\n"), "the last line ends")
    name, types, helps, seen = None, {}, {}, {}
    label = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
    for line in text.splitlines():
        match = re.fullmatch(r"# (HELP|TYPE) (kmemscope_[a-z_]+) (.+)", line)
        if match:
            kind, name, value = match.groups()
            table = helps if kind == "HELP" else types
            check(name not in table, f"{name}: one {kind}")
            check(kind == "HELP" or value in ("counter", "gauge"), line)
            table[name] = value
            continue
        match = re.fullmatch(rf"(kmemscope_[a-z_]+)((?:\{{{label}(?:,{label})*\}})?) ([0-9.e+-]+)", line)
        check(match and match.group(1) == name, f"sample: {line}")
        if match:
            check((name, match.group(2)) not in seen, f"twice: {line}")
            seen[name, match.group(2)] = float(match.group(3))
    check(types.keys() == helps.keys() == {name for name, _ in seen}, "HELP, TYPE and samples for each")
    check(all(name.endswith("_total") == (types[name] == "counter") for name in types), "counters end in _total")
    # the fixture's figures
    for key, value in {('kmemscope_target_guard_depth', '{kind="effective"}'): 30208, ('kmemscope_target_live_bytes', ''): 12400000,
                       ('kmemscope_ring_lost_events_total', ''): 42, ('kmemscope_target_faults_total', '{kind="use_after_free"}'): 1,
                       ('kmemscope_targets', '{state="stopped"}'): 1, ('kmemscope_ingest_lag_seconds', ''): 0.0012,
                       ('kmemscope_target_slab_objects', '{cache="malloc-48",state="live"}'): 3009}.items():
        check(seen.get(key) == value, f"{key}: {seen.get(key)}, not {value}")
    hostile = [key for _, key in seen if "script" in key]
    check(hostile and all("\x1b" not in key and "\x07" not in key for key in hostile), "a hostile name does no harm")
    one = port.ask("/metrics?target=2", headers=bearer(port.read))[2].decode()
    check('kmemscope_target_slab_objects{cache="malloc-48",state="live"} 1003\n' in one, "of one target")
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
        check(done.returncode == 0, f"promtool: {done.stderr.decode()}")


def many_and_broken_requests(port):
    for text in [b"\x00\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PATCH /api/v1/guard HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                 b"Content-Length: 2\r\n\r\n", b"A" * 100000]:
        with port.connect() as client, contextlib.suppress(OSError):
            client.sendall(text)
    long = port.ask("/api/v1/stats", headers=f"Cookie: {'a=b; ' * 4000}\n" + bearer(port.read))
    check(long[0] in (200, 431), f"a cookie header of 20 KB: {long[0]}")
    body = " " * 70000
    check(port.ask("/api/v1/session", "POST", "Content-Type: application/json\n", body)[0] == 413, "a login of 70 KB")


def main():
    folder = tempfile.mkdtemp()
    try:
        with tcp_server(folder) as port:
            tokens_are_needed(port)
            scopes_are_kept(port)
            hosts_are_checked(port)
            cookie = browsers_log_in_once(port)
            foreign_pages_are_refused(port, cookie)
            streams_over_tcp(port, cookie.replace("\n", "\r\n"))
            page_is_served(port, os.path.join(folder, "api.sock"))
            metrics_are_well_formed(port)
            many_and_broken_requests(port)
            old_logins_end(port, cookie)
        with server(os.path.join(folder, "api.sock")):
            check(sorted(os.listdir(folder)) == ["api.sock"], "without a port there is no token")
        ipv6_works(folder)
        exposed_servers_take_their_address(folder)
        places_are_checked(folder)
        folder_can_be_served(folder)
    finally:
        shutil.rmtree(folder)
    for failure in sorted(set(failures)):
        print("FAILED", failure, f"({failures.count(failure)} times)")
    return 1 if failures else 0


sys.exit(main())
