#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Server-sent events over a real socket: the documents and nothing but them, what changed and nothing else, coming back,
slow and dead clients, and an end with streams open."""

import json
import os
import shutil
import sys
import tempfile
import threading
import time

from front import Stream, check, connect, failures, read_response, request, server

TOPICS = ["stats", "caches", "leaks", "guard", "faults", "targets", "loss"]


def change(process, what):
    process.stdin.write(what)
    process.stdin.flush()


def document(path, target):
    return json.loads(request(path, f"GET {target} HTTP/1.1\nHost: x\n\n")[2])


def events_are_the_documents(path):
    stream = Stream(connect(path), "?limit=3")
    check(stream.status == 200 and stream.headers["content-type"] == "text/event-stream", "media type")
    check(stream.headers["cache-control"] == "no-store" and stream.headers["x-accel-buffering"] == "no", "no caching")
    check(stream.event() == ("retry", None, 2000), "retry comes first")
    name, number, hello = stream.event()
    check((name, number) == ("hello", None), "hello comes second")
    check(hello["topics"] == TOPICS and hello["hz"] == 1 and hello["limit"] == 3 and not hello["resumed"], f"hello: {hello}")
    events = [stream.event() for _ in TOPICS]
    check(sorted(event[0] for event in events) == sorted(TOPICS), "each topic once")
    ids = [event[1].split(".") for event in events]
    check(all(epoch == hello["epoch"] for epoch, _ in ids), "ids carry the epoch")
    numbers = [int(number) for _, number in ids]
    check(numbers == sorted(set(numbers)), "ids grow")
    for name, _, data in events:
        limit = "?limit=3" if name in ("caches", "leaks", "faults", "targets") else ""
        check(data == document(path, f"/api/v1/{name}{limit}"), f"event {name} is the document")
    stream.close()


def only_what_changed_is_sent(path, process):
    stream = Stream(connect(path), "?hz=10&topics=stats,guard,leaks")
    first = {event[0]: event for event in (stream.event() for _ in range(5))}
    change(process, b"m")  # a later moment, the same content
    change(process, b"g")
    name, _, guard = stream.event()
    check(name == "guard" and guard["frees"] == first["guard"][2]["frees"] + 1, f"guard changes: {name}")
    name, _, stats = stream.event()  # whose guard figures are the same
    check(name == "stats" and stats["guard"]["frees"] == guard["frees"], f"stats has them too: {name}")
    change(process, b"l")
    name, _, leaks = stream.event()
    check(name == "leaks" and leaks["items"][0]["count"] == first["leaks"][2]["items"][0]["count"] + 1, f"leaks change: {name}")
    stream.close()


def target_and_rate_are_asked_for(path):
    stream = Stream(connect(path), "?target=2&topics=guard&hz=0.5")
    events = stream.until("guard")
    check(events[1][2]["target"] == 2 and events[1][2]["hz"] == 0.5, f"hello: {events[1]}")
    check(events[-1][2]["target"] == 2, "the document of target 2")
    stream.close()
    for query, status in [("?topics=", 400), ("?topics=stats,nothing", 400), ("?hz=0", 400), ("?hz=11", 400), ("?hz=0.05", 400),
                          ("?hz=1e1", 400), ("?hz=nan", 400), ("?hz=.", 400), ("?hz=-1", 400), ("?target=9", 404),
                          ("?limit=1001", 400), ("?cursor=AAAA", 400)]:
        answer = request(path, f"GET /api/v1/stream{query} HTTP/1.1\nHost: x\n\n")
        check(answer and answer[0] == status, f"{query}: {answer and answer[0]}")
    status, headers, _ = request(path, "HEAD /api/v1/stream HTTP/1.1\nHost: x\n\n")
    check(status == 200 and headers["content-type"] == "text/event-stream", "HEAD opens no stream")
    check(request(path, "POST /api/v1/stream HTTP/1.1\nHost: x\nContent-Length: 0\n\n")[0] == 405, "POST")


def client_that_comes_back_misses_nothing(path, process):
    query = "?hz=10&topics=guard"
    keeper = Stream(connect(path), query)
    keeper.until("guard")
    stream = Stream(connect(path), query)
    _, last, _ = stream.until("guard")[-1]
    stream.close()
    for _ in range(3):
        change(process, b"g")
        keeper.until("guard")
    stream = Stream(connect(path), query, f"Last-Event-ID: {last}\r\n")
    check(stream.until("hello")[-1][2]["resumed"], "resumed")
    missed = [stream.event() for _ in range(3)]
    check([event[0] for event in missed] == ["guard"] * 3, f"three events were missed: {missed}")
    check(missed[0][2]["frees"] + 2 == missed[2][2]["frees"], "... each with its figures")
    stream.close()
    stream = Stream(connect(path), query, "Last-Event-ID: 0123456789abcdef.7\r\n")
    check(not stream.until("hello")[-1][2]["resumed"], "an id of another server")
    check(stream.event() == ("gap", None, {"reason": "expired", "skipped": None}), "gap")
    check(stream.event()[0] == "guard", "... and the document")
    stream.close()
    keeper.close()


def slow_reader_harms_nobody(path, process):
    """One reads nothing while events come in; the other gets each; then the first is told and sees the newest."""
    query = "?hz=10&topics=guard,faults,leaks,caches,stats&limit=1000"
    slow = Stream(connect(path), query)
    slow.until("hello")
    quick = Stream(connect(path), query)
    quick.until("leaks")
    for number in range(60):
        change(process, b"l")
        quick.until("leaks")
        if number % 10 == 0:
            check(request(path, "GET /healthz HTTP/1.1\nHost: x\n\n")[0] == 200, "others are answered")
    count = document(path, "/api/v1/leaks")["items"][0]["count"]
    events = slow.until("leaks")
    while events[-1][2]["items"][0]["count"] != count:  # a state that is newer than what was left out
        events += slow.until("leaks")
    check(events[-1][2]["items"][0]["count"] == count, "the slow one ends at the newest state")
    slow.close()
    quick.close()


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sixteen_streams_are_served(path, process):
    """The seventeenth is refused; one that hangs up makes room; idle ones cost nothing and hear a heartbeat."""
    streams = [Stream(connect(path), "?topics=guard&hz=0.1") for _ in range(16)]
    for stream in streams:
        stream.until("guard")
    refused = request(path, "GET /api/v1/stream HTTP/1.1\nHost: x\n\n")
    check(refused[0] == 503 and json.loads(refused[2])["type"] == "/problems/too-many", f"the seventeenth: {refused}")
    streams.pop().close()
    streams.append(Stream(connect(path), "?topics=guard&hz=0.1"))
    check(streams[-1].status == 200, "a free place is taken")
    before, began = cpu_s(process.pid), time.monotonic()
    check(streams[0].event() == ("", None, None), "a heartbeat comes when nothing changes")
    check(time.monotonic() - began > 5, "... and not at once")
    check(cpu_s(process.pid) - before < 0.5, f"ten idle seconds cost {cpu_s(process.pid) - before} s")
    for stream in streams:
        stream.close()


def server_ends_with_streams_open(path):
    """Readers, a client that never reads, one that is half way through a request: all are ended, none aborts the server."""
    for _ in range(10):
        with server(path) as process:
            readers = [Stream(connect(path), "?hz=10") for _ in range(5)]
            for stream in readers:
                for _ in range(2 + len(TOPICS)):
                    stream.event()
            silent = [connect(path) for _ in range(3)]
            for client in silent:
                client.sendall(b"GET /api/v1/stream?hz=10&limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
            half = connect(path)
            half.sendall(b"GET /api/v1/stream HTTP/1.1\r\n")
            stopping = threading.Event()

            def hammer():
                while not stopping.is_set():
                    try:
                        Stream(connect(path), "?topics=stats").close()
                    except (OSError, EOFError):
                        pass

            hammers = [threading.Thread(target=hammer) for _ in range(2)]
            for thread in hammers:
                thread.start()
            ends = []

            def read_to_end(stream):
                last = None
                try:
                    while True:
                        last = stream.event()
                except EOFError:
                    ends.append(last[0])

            threads = [threading.Thread(target=read_to_end, args=(stream,)) for stream in readers]
            for thread in threads:
                thread.start()
            change(process, b"sgl" * 5)
            process.stdin.close()
            check(process.wait(timeout=60) == 0, f"ends with streams open with 0, not {process.returncode}")
            for thread in threads:
                thread.join()
            check(ends == ["bye"] * 5, f"the last event of each is bye: {ends}")
            stopping.set()
            for thread in hammers:
                thread.join()
            for client in silent + [half]:
                client.close()
            for stream in readers:
                stream.close()


def streams_beside_requests(path, process):
    """A connection that was kept for requests can become a stream."""
    client = connect(path)
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    check(read_response(client)[0] == 200, "a request first")
    stream = Stream(client, "?topics=stats&hz=10")
    stream.until("stats")
    change(process, b"s")
    check(stream.event()[0] == "stats", "then a stream")
    stream.close()


def main():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "api.sock")
    try:
        with server(path) as process:
            events_are_the_documents(path)
            only_what_changed_is_sent(path, process)
            target_and_rate_are_asked_for(path)
            client_that_comes_back_misses_nothing(path, process)
            streams_beside_requests(path, process)
            slow_reader_harms_nobody(path, process)
            sixteen_streams_are_served(path, process)
        server_ends_with_streams_open(path)
    finally:
        shutil.rmtree(folder)
    for failure in sorted(set(failures)):
        print("FAILED", failure, f"({failures.count(failure)} times)")
    return 1 if failures else 0


sys.exit(main())
