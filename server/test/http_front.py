#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The HTTP front over a real Unix socket: modes and peers, limits, broken framing, many clients at once, and an end
that neither aborts nor leaves anything behind."""

import contextlib
import json
import os
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading

from front import TOOL, check, connect, failures, read_response, request, server


def socket_is_private(path):
    mode = os.stat(path).st_mode
    check(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, f"socket has mode {oct(mode)}")


def answers_have_their_headers(path):
    status, headers, body = request(path, "GET /api/v1/leaks?limit=1 HTTP/1.1\nHost: x\n\n")
    check(status == 200 and len(json.loads(body)["items"]) == 1, "a list over the socket")
    check(headers["content-type"] == "application/json", "media type")
    check(headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff", "fixed headers")
    check('rel="next"' in headers["link"] and headers["etag"].startswith('"'), "Link and ETag")
    status, _, body = request(path, f"GET /api/v1/leaks?limit=1 HTTP/1.1\nHost: x\nIf-None-Match: {headers['etag']}\n\n")
    check(status == 304 and body == b"", "304 without a body")
    status, headers, _ = request(path, "HEAD /api/v1/leaks HTTP/1.1\nHost: x\n\n")
    check(status == 200 and int(headers["content-length"]) > 1000, "HEAD has the length and no body")
    status, headers, _ = request(path, "POST /api/v1/leaks HTTP/1.1\nHost: x\nContent-Length: 0\n\n")
    check(status == 405 and headers["allow"] == "GET", "405 with Allow")
    status, _, body = request(path, "GET /api/v1/caches/malloc%2D48?target=1 HTTP/1.1\nHost: x\n\n")
    check(status == 200 and json.loads(body)["name"] == "malloc-48", "escapes in the path are decoded once")
    status, _, body = request(path, "GET /api/v1/caches/malloc%252D48 HTTP/1.1\nHost: x\n\n")
    check(status == 404, "... and not twice")


def bodies_are_limited(path):
    def patch(body, extra=""):
        return request(path, f"PATCH /api/v1/guard HTTP/1.1\nHost: x\nContent-Type: application/json\n"
                             f"Content-Length: {len(body)}\n{extra}\n" + body)

    check(patch('{"depth": 512}')[0] == 200, "PATCH over the socket")
    check(patch('{"depth": 512' + " " * 60000 + "}")[0] == 200, "a body just below the limit")
    check(patch('{"depth": 512' + " " * 70000 + "}")[0] == 413, "a body above the limit")
    with connect(path) as client:
        client.sendall(b"PATCH /api/v1/guard HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(20):
                client.sendall(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
            check(read_response(client) is None, "a chunked body above the limit closes the connection")


def broken_framing_is_refused(path):
    for headers in ["Content-Length: 2\nContent-Length: 3\n", "Content-Length: 2\nTransfer-Encoding: chunked\n"]:
        answer = request(path, f"PATCH /api/v1/guard HTTP/1.1\nHost: x\n{headers}\n{{}}")
        check(answer is None or answer[0] == 400, f"{headers!r}: {answer}")
    check(request(path, f"GET /healthz HTTP/1.1\nHost: x\nX-Long: {'a' * 40000}\n\n")[0] in (400, 413, 431), "long header")
    check(request(path, f"GET /{'a' * 40000} HTTP/1.1\nHost: x\n\n")[0] == 414, "long path")
    check(request(path, f"GET /{'a' * 9000} HTTP/1.1\nHost: x\n\n")[0] == 400, "path longer than ours may be")
    for garbage in [b"\x00\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 100]:
        with connect(path) as client:
            client.sendall(garbage)
    check(request(path, "GET /healthz HTTP/1.1\nHost: x\n\n")[0] == 200, "still alive after garbage")


def connections_are_kept(path):
    with connect(path) as client:
        for target in ["/healthz", "/api/v1/stats", "/nothing", "/api/v1/events?limit=1000", "/healthz"] * 20:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status, _, _ = read_response(client)
            check(status == (404 if target == "/nothing" else 200), f"{target} on a kept connection: {status}")
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 10)  # pipelined
        left = []
        for number in range(10):
            answer = read_response(client, left=left)
            check(answer and answer[0] == 200, f"pipelined request {number}")


def many_clients_are_served(path):
    def ask():
        for _ in range(50):
            answer = request(path, "GET /api/v1/faults HTTP/1.1\nHost: x\n\n")
            check(answer and answer[0] == 200 and json.loads(answer[2])["total"] == 14, "an answer among many")

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def slow_answers_hold_up_nobody(path):
    os.environ["API_TOOL_SLOW_MS"] = "700"
    with server(path):
        with connect(path) as slow:
            slow.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in range(20):
                check(request(path, "GET /api/v1/stats HTTP/1.1\nHost: x\n\n")[0] == 200, "an answer beside a slow one")
            check(not select.select([slow], [], [], 0)[0], "the slow answer comes after the others")
            check(read_response(slow)[0] == 200, "the slow answer comes")
    del os.environ["API_TOOL_SLOW_MS"]


def stops_under_load(path):
    """Ends while clients ask, idle ones are connected and one has sent half a request."""
    for _ in range(15):
        stopping = threading.Event()

        def ask():
            while not stopping.is_set():
                with contextlib.suppress(OSError):
                    request(path, "GET /api/v1/events?limit=1000 HTTP/1.1\nHost: x\n\n")

        with server(path) as process:
            idle = [connect(path) for _ in range(3)]
            idle[0].sendall(b"GET /api/v1/stats HTTP/1.1\r\nHo")
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            check(request(path, "GET /healthz HTTP/1.1\nHost: x\n\n")[0] == 200, "answers under load")
            process.stdin.close()
            check(process.wait(timeout=30) == 0, f"ends under load with 0, not {process.returncode}")
            stopping.set()
            for thread in threads:
                thread.join()
            for client in idle:
                client.close()
        check(not os.path.exists(path), "the socket is removed")


def socket_in_use_is_refused(path):
    second = subprocess.run([TOOL, "serve", path], capture_output=True, check=False)
    check(second.returncode == 1 and b"in use" in second.stderr, "a served socket is not taken over")
    check(request(path, "GET /healthz HTTP/1.1\nHost: x\n\n")[0] == 200, "... and still served")


def dead_socket_is_replaced(path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    with server(path):
        check(request(path, "GET /healthz HTTP/1.1\nHost: x\n\n")[0] == 200, "a dead socket is replaced")
    with open(path, "w", encoding="utf-8") as file:
        file.write("no socket")
    refused = subprocess.run([TOOL, "serve", path], capture_output=True, check=False)
    check(refused.returncode == 1 and os.path.isfile(path), "a file of that name stays")
    long = subprocess.run([TOOL, "serve", path + "x" * 120], capture_output=True, check=False)
    check(long.returncode == 1 and b"XDG_RUNTIME_DIR" in long.stderr, "a path too long is refused with the way out")


def strangers_are_refused(path):
    """As root only: another user who can reach the socket is refused by the kernel's word on who he is."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return
    os.chmod(path, 0o666)
    os.chmod(os.path.dirname(path), 0o755)
    code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "s.sendall(b'GET /api/v1/stats HTTP/1.0\\r\\n\\r\\n'); print(s.recv(65536).decode())")
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code, path],
                          capture_output=True, text=True, check=False)
    check("403" in done.stdout.split("\r\n")[0] and "live_bytes" not in done.stdout, f"stranger: {done.stdout} {done.stderr}")


def main():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "api.sock")
    try:
        with server(path):
            socket_is_private(path)
            answers_have_their_headers(path)
            bodies_are_limited(path)
            broken_framing_is_refused(path)
            connections_are_kept(path)
            many_clients_are_served(path)
            socket_in_use_is_refused(path)
            strangers_are_refused(path)
        check(not os.path.exists(path), "the socket is removed at the end")
        slow_answers_hold_up_nobody(path)
        stops_under_load(path)
        dead_socket_is_replaced(path)
    finally:
        shutil.rmtree(folder)
    for failure in sorted(set(failures)):
        print("FAILED", failure, f"({failures.count(failure)} times)")
    return 1 if failures else 0


sys.exit(main())
