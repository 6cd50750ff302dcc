#!/usr/bin/env python3
"""Floods and stalls: each is cut in bounded time and memory, while others are served.

    floods.py [NAME...]      these alone; without names all
"""

import os
import select
import socket
import ssl
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import *  # noqa: E402,F403

MIB = 1024 * 1024
GROWTH = 24 * MIB
SHORT = ["handshake_ms=500", "head_ms=500", "grace_ms=500", "idle_ms=2000", "linger_ms=300", "rate_min=1000000"]


def served(server):
    """An honest client gets its answer, and how long it took in seconds."""
    begun = time.monotonic()
    s = server.tls()
    s.sendall(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert read_all(s).startswith(b"HTTP/1.1 200"), "an honest client was not served"
    return time.monotonic() - begun


def served_soon(server):
    """The same, once the server has noticed that others have left."""
    end = time.monotonic() + 10
    while True:
        try:
            return served(server)
        except (ssl.SSLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def readable(s):
    return bool(select.select([s], [], [], 0)[0])


def closed_within(s, seconds):
    """Reads until the server closes; how long that took. What it sent is returned as well."""
    begun = time.monotonic()
    s.settimeout(seconds)
    got = read_all(s)
    took = time.monotonic() - begun
    assert not got.endswith(b"(silence)"), f"not closed within {seconds} s"
    return took, got


def codes(got):
    return [int.from_bytes(p[4:8], "big") for kind, _, _, p in frames(got) if kind == GOAWAY]


def pour(server, each, most=200000, begin=START):
    """Sends each(i) until the server cuts; how many it took, and its words."""
    s = server.tls("h2", timeout=0.01)
    s.sendall(begin)
    got, sent = b"", 0
    end = time.monotonic() + 20
    try:
        while sent < most and time.monotonic() < end:
            batch = b"".join(each(sent + i) for i in range(50))
            sent += 50
            try:
                s.settimeout(5)
                s.sendall(batch)
                s.settimeout(0.0005)
                got += s.recv(65536)
            except socket.timeout:
                pass
            if GOAWAY in [f[0] for f in frames(got)]:
                break
        else:
            raise AssertionError(f"{sent} were taken and no end")
    except (ssl.SSLError, OSError):
        pass
    s.settimeout(2)
    rest = read_all(s)
    return sent, got + rest


def flood(name, each, most, begin=START):
    def run(server):
        before = server.counters()
        sent, got = pour(server, each, most, begin)
        after = server.counters()
        assert after["floods"] > before["floods"] or 11 in codes(got), f"not counted as a flood: {codes(got)}"
        return f"cut after at most {sent} frames"

    run.__name__ = name
    return run


GET2 = request(b"GET", b"/echo")
POST2 = request(b"POST", b"/echo")
LYING = request(b"POST", b"/echo", (b"content-length", b"1"))
STALL2 = START + frame(HEADERS, END_HEADERS, 1, POST2)


def odd(i):
    return 2 * i + 1


def idle_windows(server):
    """Answers of 1 MiB that are asked for and never taken: a window of zero."""
    s = server.tls("h2", timeout=10)
    s.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    for i in range(100):
        s.sendall(frame(HEADERS, END_STREAM | END_HEADERS, odd(i), request(b"GET", b"/bytes?1048576")))
    time.sleep(0.3)
    held = server.counters()
    took, _ = closed_within(s, 60)
    return f"cut after {took:.1f} s; {held['requests']} of 100 asked meanwhile"


def slow_head(server):
    s = server.tls()
    begun = time.monotonic()
    got = b""
    s.settimeout(0.1)
    try:
        for byte in b"GET /echo HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000:
            s.sendall(bytes([byte]))
            try:
                got += s.recv(1000)
            except socket.timeout:
                pass
            if got:
                break
    except (ssl.SSLError, OSError):
        pass
    took = time.monotonic() - begun
    assert got.startswith(b"HTTP/1.1 408") and took < 3, (got, took)
    s.close()
    return f"408 after {took:.1f} s"


def slow_head2(server):
    s = server.tls("h2")
    s.sendall(START + frame(HEADERS, END_STREAM, 1, GET2[:10]))
    took, _ = closed_within(s, 5)
    return f"cut after {took:.1f} s"


def slow_body(server):
    s = server.tls()
    s.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    begun = time.monotonic()
    got = b""
    while not got and time.monotonic() - begun < 10:
        s.sendall(b"x" * 100)
        s.settimeout(0.02)
        try:
            got = s.recv(1000)
        except socket.timeout:
            pass
    assert got.startswith(b"HTTP/1.1 408"), got
    s.close()
    return f"408 after {time.monotonic() - begun:.1f} s at 5 kB/s of 100"


def slow_body2(server):
    s = server.tls("h2", timeout=5)
    s.sendall(STALL2)
    begun, got = time.monotonic(), b""
    while not any(kind in (RST, GOAWAY) for kind, _, _, _ in frames(got)):
        some = s.recv(65536)
        if not some:
            break
        got += some
    kinds = [(kind, stream) for kind, _, stream, _ in frames(got)]
    assert (HEADERS, 1) in kinds and (RST, 1) in kinds, kinds
    # the connection lives: another stream is answered
    s.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 3, GET2))
    while (HEADERS, 3) not in [(kind, stream) for kind, _, stream, _ in frames(got)]:
        got += s.recv(65536)
    s.close()
    return f"its stream alone refused after {time.monotonic() - begun:.1f} s"


def slow_reader(server):
    s = server.tls()
    s.sendall(b"GET /bytes?31000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    begun = time.monotonic()
    # 31 MB at the least rate are 31 s: one that takes nothing is cut by its write's own deadline
    while server.counters()["connections"] > 1 and time.monotonic() - begun < 20:
        time.sleep(0.2)
    took = time.monotonic() - begun
    assert took < 15, "still there"
    s.close()
    return f"cut after {took:.1f} s"


def handshakes(server):
    """Connections that never say hello, and some that stop in the middle of theirs."""
    stalled = [server.tcp() for _ in range(200)]
    for s in stalled[::2]:
        s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    honest = served(server)
    took = max(closed_within(s, 5)[0] for s in stalled)
    return f"200 cut within {took:.1f} s, an honest client served in {honest * 1000:.0f} ms meanwhile"


def garbage(server):
    for text in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x00" * 1000, os.urandom(5000)):
        s = server.tcp()
        s.sendall(text)
        closed_within(s, 5)
    return "closed"


def idle_thousand(server):
    before = server.counters()["resident"]
    many = []
    for _ in range(500):
        many.append(server.tls("http/1.1"))
        s = server.tls("h2")
        s.sendall(START)
        many.append(s)
    honest = served(server)
    time.sleep(0.2)
    seen = server.counters()
    each = (seen["resident"] - before) / len(many)
    for s in many:
        s.close()
    assert seen["connections"] >= 1000
    return f"1,000 idle: {each / 1024:.1f} KiB each, an honest client served in {honest * 1000:.0f} ms"


def crowd(server):
    """One connection too many is closed at once; when one leaves, there is room again."""
    many = [server.tls() for _ in range(20)]
    time.sleep(0.1)
    try:
        server.tls().close()
        raise AssertionError("a place too many")
    except (ssl.SSLError, OSError):
        pass
    many.pop().close()
    served_soon(server)
    for s in many:
        s.close()
    served_soon(server)
    time.sleep(0.3)
    return "20 of one address, no more"


def bodies(server):
    """Uploads that stop before their end, in many streams: bounded by the bodies of one connection."""
    s = server.tls("h2", timeout=10)
    s.sendall(START)
    statuses = 0
    try:
        for i in range(64):
            s.sendall(frame(HEADERS, END_HEADERS, odd(i), POST2))
            for _ in range(7):
                s.sendall(frame(DATA, 0, odd(i), b"x" * 9000))
    except (ssl.SSLError, OSError):
        pass
    time.sleep(0.2)
    held = server.counters()["body_bytes"]
    s.close()
    time.sleep(0.3)
    assert held <= 4 * MIB and server.counters()["body_bytes"] == 0, held
    return f"{held / MIB:.1f} MiB held at most, none behind it"


def drained(server):
    """GOAWAY and Connection: close are said; what is under way is answered."""
    one, two, idle = server.tls("h2"), server.tls(), server.tls()
    one.sendall(START + frame(HEADERS, END_STREAM | END_HEADERS, 1, request(b"GET", b"/later?400")))
    two.sendall(b"GET /later?400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.2)
    server.drain()
    took, _ = closed_within(idle, 3)
    assert took < 0.4, "an idle one waits"
    _, got = closed_within(two, 3)
    assert b"Connection: close" in got and got.endswith(b"later\n"), got
    _, got = closed_within(one, 3)
    assert codes(got) == [0] and b"later\n" in got, codes(got)
    try:
        server.tcp().close()
        raise AssertionError("still accepts")
    except OSError:
        pass
    return "both answered, then closed"


def clients(server):
    """Who shows a certificate must be an identity of the fabric; who shows none is nobody."""

    def who(certificate, alpn):
        s = server.tls(alpn, certificate)
        if alpn == "h2":
            s.sendall(START + frame(HEADERS, END_STREAM | END_HEADERS, 1, request(b"GET", b"/peer")))
            got = b""
            while not any(k == DATA for k, _, _, _ in frames(got)):
                some = s.recv(65536)
                assert some, got
                got += some
            s.close()
            return [p for k, _, _, p in frames(got) if k == DATA][0]
        s.sendall(b"GET /peer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = read_all(s)
        assert got, "refused"
        return got.split(b"\r\n\r\n", 1)[1]

    for alpn in ("http/1.1", "h2", None):
        assert who(None, alpn) == b"nobody" and who("ada.pem", alpn) == b"ada"
        for bad in ("expired.pem", "router.pem", "stranger.pem"):
            try:
                who(bad, alpn)
            except (AssertionError, ssl.SSLError, OSError):
                continue
            raise SystemExit(f"{bad} was let in")
    old = ssl.create_default_context(cafile=server.path("ca.pem"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (old, server.context("weft/1")):
        try:
            context.wrap_socket(server.tcp(), server_hostname="localhost")
        except (ssl.SSLError, OSError):
            continue
        raise SystemExit("TLS 1.2 or another protocol was let in")
    return "ada, nobody; three refused; TLS 1.2 and another ALPN refused"


class Records:
    """A client that says which records go out in one piece."""

    def __init__(self, server, certificate):
        self.tcp = server.tcp()
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server.context("http/1.1", certificate).wrap_bio(self.into, self.out, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.tcp.sendall(self.out.read())
                self.into.write(self.tcp.recv(65536))

    def send(self, *records):
        for text in records:
            self.tls.write(text)
        self.tcp.sendall(self.out.read())

    def all(self):
        got = b""
        while True:
            try:
                some = self.tls.read(65536)
                got += some
                if not some:
                    return got
            except ssl.SSLWantReadError:
                some = self.tcp.recv(65536)
                if not some:
                    return got
                self.into.write(some)
            except ssl.SSLError:
                return got


def strangers(server):
    """A request that frees another connection's answer: what both have sent on meanwhile stays apart."""
    last = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    ada, nobody = Records(server, "ada.pem"), Records(server, None)
    ada.send(b"GET /later?60000 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /peer" + last + b"x" * 200)
    time.sleep(0.2)
    nobody.send(b"GET /now HTTP/1.1\r\nHost: localhost\r\n\r\nGET /peer" + last)
    one, two = ada.all(), nobody.all()
    assert one.count(b"HTTP/1.1 200") == 2 and one.endswith(b"ada"), one
    assert two.count(b"HTTP/1.1 200") == 2 and two.endswith(b"nobody"), two
    return "each was answered as itself"


def strangers_bodies(server):
    """Who shows no certificate can't take the room for bodies from those who do."""
    half = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n"
    many = [server.tls() for _ in range(10)]
    for s in many:
        s.sendall(half + b"x" * 50000)
    time.sleep(0.3)
    held = server.counters()["body_bytes"]
    ada = server.tls("http/1.1", "ada.pem")
    ada.sendall(half + b"x" * 60000)
    got = read_all(ada)
    refused = sum(read_all(s).startswith(b"HTTP/1.1 503") for s in many if s.pending() or readable(s))
    for s in many:
        s.close()
    time.sleep(0.3)
    assert got.startswith(b"HTTP/1.1 200"), got[:100]
    assert held <= 250000 and refused >= 5 and server.counters()["body_bytes"] == 0, (held, refused)
    return f"{held} bytes held by strangers, {refused} of 10 refused, a known one served"


LONG = []  # the limits as they are by default
TESTS = [
    (LONG, flood("rapid reset", lambda i: frame(HEADERS, 5, odd(i), GET2) + frame(RST, 0, odd(i), b"\0\0\0\x08"), 20000)),
    (LONG, flood("rapid reset of bodies", lambda i: frame(HEADERS, 4, odd(i), POST2) + frame(RST, 0, odd(i), b"\0\0\0\x08"), 20000)),
    (LONG, flood("made resets", lambda i: frame(HEADERS, 4, odd(i), LYING) + frame(DATA, 1, odd(i), b"xx"), 20000)),
    (LONG, flood("refused requests", lambda i: frame(HEADERS, 5, odd(i), request(b"GET", b"x")), 20000)),
    (LONG, flood("pings", lambda i: frame(PING, 0, 0, b"x" * 8), 20000)),
    (LONG, flood("settings", lambda i: frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 1)), 20000)),
    (LONG, flood("priorities", lambda i: frame(PRIORITY, 0, odd(i % 1000), b"\0\0\0\0\x10"), 20000)),
    (LONG, flood("window updates", lambda i: frame(UPDATE, 0, 0, b"\0\0\0\1"), 20000)),
    (LONG, flood("unknown frames", lambda i: frame(0xBB, 0, 0, b"x"), 20000)),
    (LONG, flood("empty data", lambda i: frame(DATA, 0, 1), 20000, STALL2)),
    (LONG, flood("continuations", lambda i: frame(CONTINUATION, 0, 1, literal(b"x", b"y" * 100)), 20000, START + frame(HEADERS, END_STREAM, 1, GET2))),
    (LONG, flood("empty continuations", lambda i: frame(CONTINUATION, 0, 1), 20000, START + frame(HEADERS, END_STREAM, 1, GET2))),
    (LONG, garbage),
    (LONG, clients),
    (LONG, strangers),
    (["connections=3000", "connections_per_address=2000"], idle_thousand),
    (["connections_per_address=20"], crowd),
    (LONG, bodies),
    (["bodies=500000"], strangers_bodies),
    (SHORT, idle_windows),
    (SHORT, slow_head),
    (SHORT, slow_head2),
    (SHORT, slow_body),
    (SHORT, slow_body2),
    (SHORT, slow_reader),
    (SHORT, handshakes),
    (LONG, drained),
]


def main():
    failures = 0
    wanted = sys.argv[1:]
    groups = {}
    for limits, test in TESTS:
        if not wanted or test.__name__ in wanted:
            groups.setdefault(tuple(limits), []).append(test)
    for limits, tests in groups.items():
        with Server(*limits) as server:
            served(server)
            for test in tests:
                before, begun = server.counters()["resident"], time.monotonic()
                try:
                    said = test(server)
                    if test is not drained:
                        served_soon(server)
                        growth = server.counters()["resident"] - before
                        if growth > GROWTH and test is not idle_thousand:
                            raise AssertionError(f"{growth / MIB:.0f} MiB more afterwards")
                        said += f"; {max(growth, 0) / MIB:.1f} MiB more"
                except Exception as e:
                    said, failures = f"FAILED: {e!r}", failures + 1
                print(f"{test.__name__}: {said} ({time.monotonic() - begun:.1f} s)", flush=True)
    print(f"{failures} failures")
    return 1 if failures else 0


sys.exit(main())
