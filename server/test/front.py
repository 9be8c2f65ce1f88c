# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the HTTP front share: api_tool as a server, and clients that speak raw HTTP, broken HTTP too."""

import contextlib
import json
import os
import socket
import subprocess

TOOL = os.path.join(os.environ["KMS_BUILD_DIR"], "test", "api_tool")
failures = []


def check(condition, text):
    if not condition:
        failures.append(text)


@contextlib.contextmanager
def server(path):
    process = subprocess.Popen([TOOL, "serve", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    check(process.stdout.readline() == b"ready\n", "the server says that it is ready")
    yield process
    process.stdin.close()
    check(process.wait(timeout=30) == 0, f"the server ends with 0, not {process.returncode}")
    process.stdout.close()


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(path)
    return client


def read_response(client, head=False, left=None):
    """Status, headers, body of one response; None when the connection is closed instead. left: what came beyond it."""
    data = left.pop() if left else b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            return None
        data += piece
    lines, body = data.split(b"\r\n\r\n", 1)
    first, *rest = lines.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
    length = 0 if head else int(headers.get("content-length", 0))
    while len(body) < length:
        piece = client.recv(65536)
        if not piece:
            return None
        body += piece
    if left is not None:
        left.append(body[length:])
        body = body[:length]
    return int(first.split()[1]), headers, body


def request(path, text):
    with connect(path) as client:
        client.sendall(text.replace("\n", "\r\n").encode())
        return read_response(client, text.startswith("HEAD"))


class Stream:
    """A client of /api/v1/stream that reads when it is told to."""

    def __init__(self, client, query="", headers="", host="x"):
        self.client = client
        self.data = b""
        self.text = b""
        self.client.sendall(f"GET /api/v1/stream{query} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
        while b"\r\n\r\n" not in self.data:
            self._receive()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        first, *rest = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}

    def _receive(self):
        piece = self.client.recv(65536)
        if not piece:
            raise EOFError
        self.data += piece

    def _chunk(self):
        """One chunk of the body joins the text; EOFError behind the last."""
        while b"\r\n" not in self.data:
            self._receive()
        size, rest = self.data.split(b"\r\n", 1)
        size = int(size, 16)
        while len(rest) < size + 2:
            self._receive()
            rest = self.data.split(b"\r\n", 1)[1]
        if size == 0:
            raise EOFError
        self.text += rest[:size]
        self.data = rest[size + 2:]

    def event(self):
        """The next event as (name, id, data); a comment as ("", None, None). EOFError at the end."""
        while b"\n\n" not in self.text:
            self._chunk()
        block, self.text = self.text.split(b"\n\n", 1)
        fields = [line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":")]
        known = {name: value for name, value in fields if name != "data"}
        data = "\n".join(value for name, value in fields if name == "data")
        if "retry" in known:
            return "retry", None, int(known["retry"])
        return known.get("event", ""), known.get("id"), json.loads(data) if data else None

    def until(self, name):
        """The events up to the first of a name, which is the last of the list."""
        events = [self.event()]
        while events[-1][0] != name:
            events.append(self.event())
        return events

    def close(self):
        self.client.close()
