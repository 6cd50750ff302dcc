#!/usr/bin/env python3
"""Strangers at the ports of a router and a controller: garbage, wrong doors, crowds. They cost little and harm nobody."""

import json
import os
import secrets
import selectors
import socket
import ssl
import struct
import subprocess
import time
import warnings

from e2e import BIN, OK, Fabric, Tcp, Web, check, echo, main, saw, step, until

warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.2 is asked for on purpose
CROWD = 1000
SANITIZED = b"__asan_init" in open(os.path.join(BIN, "weft-router"), "rb").read()
# What a thousand strangers may cost, resident: 64 handshakes of one address at a time, the others a socket each.
# A sanitizer keeps some of what was freed.
CAP = (80 if SANITIZED else 24) << 20
KEPT = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=8:thread_local_quarantine_size_kb=64"]))


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.doors = {"router": self.ports["r1"], "controller": self.control}
        self.behind = {"router": self.routers["r1"], "controller": self.controller}
        self.web, self.echo = Web(), Tcp(echo)
        _, self.dialer = self.serve("web", self.web.port)
        _, dialer = self.serve("echo", self.echo.port)
        _, port = self.proxy("echo", dialer)
        self.session = socket.create_connection(("127.0.0.1", port), 10)  # lives through it all
        self.unharmed()
        tree = json.loads(self.read("web-dial.json"))
        self.mine = self.write("mine.pem", tree["key"] + tree["certificate"])

    def start(self, name, program, *args, **more):
        return super().start(name, program, *args, env={"ASAN_OPTIONS": KEPT}, **more)

    def unharmed(self):
        """A client of the fabric is served as if nobody else were there, and the session lives."""
        word = secrets.token_bytes(64)
        self.session.settimeout(10)
        self.session.sendall(word)
        check(self.session.recv(64, socket.MSG_WAITALL) == word, "the session that was there is gone")
        done = self.post("web", "/", self.dialer, "--method", "GET", "--timeout", "10s")
        check(done.code == OK and done.out == "hello\n", done)
        return done.seconds

    def lines(self, door):
        return self.behind[door].said().splitlines()


def context(alpn=("weft/1",), mine=None, version=ssl.TLSVersion.TLSv1_3):
    out = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    out.check_hostname = False
    out.verify_mode = ssl.CERT_NONE
    out.minimum_version = out.maximum_version = version
    if alpn:
        out.set_alpn_protocols(list(alpn))
    if mine:
        out.load_cert_chain(mine)
    return out


def ended(s, seconds):
    """Whether the other side ends the connection in time; what it said before."""
    s.settimeout(seconds)
    said = b""
    try:
        while data := s.recv(65536):
            said += data
    except TimeoutError:
        return None
    except OSError:
        pass
    return said


def knock(port, first=b"", tls=None, then=b"", seconds=5):
    """Opens a connection, says something, and returns what came, or None if it was left open; and our own port."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        own = s.getsockname()[1]
        s.settimeout(seconds)
        try:
            if tls:
                s = tls.wrap_socket(s, server_hostname="weft")
            s.sendall(first + then)
        except TimeoutError:
            return None, own
        except OSError:
            return b"", own
        said = ended(s, seconds)
        s.close()
        return said, own


def foreign(f):
    """A certificate of another authority, with a name of this fabric."""
    out = f.path("foreign.pem")
    f.must(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=web-dialer", "-addext", "subjectAltName=URI:spiffe://e2e.weft/identity/" + "0" * 32,
        "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", out, "-out", out + ".crt",
    )  # fmt: skip
    with open(out, "a", encoding="ascii") as file, open(out + ".crt", encoding="ascii") as crt:
        file.write(crt.read())
    return out


@step("each wrong knock is refused at once, with one line that says who and why")
def _(f):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a ClientHello
    knocks = {
        "garbage": {"first": secrets.token_bytes(4096)},
        "an HTTP request": {"first": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
        "a record too long": {"first": b"\x16\x03\x01\xff\xff" + bytes(65535)},
        "a broken ClientHello": {"first": hello + secrets.token_bytes(512)},
        "no certificate": {"tls": context()},
        "another authority's certificate": {"tls": context(mine=foreign(f))},
        "another protocol": {"tls": context(alpn=("h2",), mine=f.mine)},
        "no protocol": {"tls": context(alpn=(), mine=f.mine)},
        "TLS 1.2": {"tls": context(mine=f.mine, version=ssl.TLSVersion.TLSv1_2)},
    }
    for door, port in f.doors.items():
        counted = []  # the log tells of ten in ten seconds, and counts the others
        for name, knocking in knocks.items():
            begun = time.monotonic()
            said, own = knock(port, **knocking)
            check(said is not None, door, "leaves open:", name)
            check(time.monotonic() - begun < 2, door, name, "took long")
            check(len(said) < 4096, door, "answers", name, "with", len(said), "bytes")
            time.sleep(0.05)
            told = [line for line in f.lines(door) if f"127.0.0.1:{own}" in line]
            check(len(told) <= 1 and len("".join(told)) < 400, told)
            if not told:
                counted.append(name)
            elif door == "router":
                saw(f"{name}: {told[0].split(f':{own}: ')[-1]}")
        check(len(counted) <= 2, door, "wrote no line about", counted)
    f.unharmed()


@step("openssl s_client without a certificate learns nothing")
def _(f):
    for door, port in f.doors.items():
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "weft/1", "-tls1_3", "-quiet"],
            input=b"hello\n" * 100, capture_output=True, timeout=20, check=False,
        )  # fmt: skip
        check(done.returncode != 0 and done.stdout == b"", door, done)
        check(b"alert" in done.stderr, done.stderr)
        old = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2"], input=b"", capture_output=True, timeout=20, check=False
        )
        check(b"BEGIN CERTIFICATE" not in old.stdout, door, "shows its certificate by TLS 1.2")
    f.unharmed()


@step("frames that no one may send, from one who has a certificate: cut, and only he")
def _(f):
    def header(kind, flags, length, label):
        return struct.pack(">II", (kind << 4 | flags) << 24 | length, label)

    bad = {
        "too long": header(2, 0, 65537, 7) + bytes(65537),
        "the longest there could be": header(2, 0, 0xFFFFFF, 7) + bytes(1 << 20),
        "control too long": header(1, 0, 0xFFFFFF, 0) + bytes(1 << 20),
        "an unknown type": header(9, 0, 1, 0) + b"x",
        "type 0": bytes(64),
        "control with a label": header(1, 0, 1, 5) + b"x",
        "data without one": header(2, 0, 1, 0) + b"x",
        "an ACK of 15 bytes": header(3, 0, 15, 5) + bytes(15),
        "a ping of 9 bytes": header(5, 0, 9, 0) + bytes(9),
        "data before a hello": header(2, 0, 1, 5) + b"x",
        "a control of garbage": header(1, 0, 512, 0) + secrets.token_bytes(512),
        "half a header, and the end": b"\x10\x00",
    }
    before = {door: process.rss() for door, process in f.behind.items()}
    for door, port in f.doors.items():
        for name, frame in bad.items():
            with socket.create_connection(("127.0.0.1", port), 10) as s, context(mine=f.mine).wrap_socket(s) as tls:
                try:
                    tls.sendall(frame)
                    if name.startswith("half"):
                        tls.shutdown(socket.SHUT_WR)
                except OSError:
                    continue
                check(ended(tls, 5) is not None, door, "takes", name)
        grown = f.behind[door].rss() - before[door]
        check(grown < CAP, door, "grew by", grown >> 20, "MiB")
        saw(f"{door}: {len(bad)} frames refused, {grown >> 10} KiB more resident")
    f.unharmed()


@step(f"{CROWD} slow handshakes at once: bounded memory, a bounded log, and a client served meanwhile")
def _(f):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    before = {door: (p.rss(), p.fds(), len(f.lines(door))) for door, p in f.behind.items()}
    most = dict.fromkeys(f.doors, 0)
    waits = []
    begun = time.monotonic()
    with selectors.DefaultSelector() as gone:
        crowd = {}
        for door, port in f.doors.items():
            for number in range(CROWD):
                s = socket.create_connection(("127.0.0.1", port), 10)
                s.setblocking(False)
                if number % 2:  # half of them say nothing at all
                    s.send(hello[: 1 + number % len(hello)])
                gone.register(s, selectors.EVENT_READ, s)
                crowd[s] = door
        opened = time.monotonic() - begun
        while len(crowd) > 64 * len(f.doors):  # who came late into a place has his ten seconds there
            check(time.monotonic() - begun < 25, len(crowd), "of them are still there")
            for key, _ in gone.select(0.1):
                gone.unregister(key.data)
                crowd.pop(key.data)
                key.data.close()
            for door, process in f.behind.items():
                most[door] = max(most[door], process.rss() - before[door][0])
            if len(waits) < 3 and crowd:
                waits.append(f.unharmed())
        took = time.monotonic() - begun
        left = len(crowd)
        for s in crowd:
            s.close()
    check(waits, "nobody was served meanwhile")
    for door, process in f.behind.items():
        rss, fds, lines = before[door]
        check(most[door] < CAP, door, "grew by", most[door] >> 20, "MiB")
        until(f"the {door}'s descriptors", lambda p=process, n=fds: p.fds() <= n + 4, 15)
        new = f.lines(door)[lines:]
        check(len(new) < 100, door, "wrote", len(new), "lines")
        saw(f"{door}: {most[door] / 1048576:.1f} MiB more at most, {len(new)} log lines")
    saw(f"opened in {opened:.1f} s, all but {left} cut after {took:.1f} s; posts meanwhile took", *(f"{wait:.2f} s" for wait in waits))


@step("a storm of short knocks: the same")
def _(f):
    before = {door: (p.rss(), p.fds(), len(f.lines(door))) for door, p in f.behind.items()}
    garbage = secrets.token_bytes(2048)
    begun = time.monotonic()
    count = 0
    while time.monotonic() - begun < 3:
        for port in f.doors.values():
            burst = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(50)]
            for number, s in enumerate(burst):
                if number % 3:
                    try:
                        s.send(garbage[: number * 40])
                    except OSError:
                        pass
                if number % 2:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with RST
                s.close()
                count += 1
    wait = f.unharmed()
    for door, process in f.behind.items():
        rss, fds, lines = before[door]
        until(f"the {door}'s descriptors", lambda p=process, n=fds: p.fds() <= n + 4, 15)
        grown = process.rss() - rss
        new = f.lines(door)[lines:]
        check(grown < CAP, door, "grew by", grown >> 20, "MiB")
        check(len(new) < 100, door, "wrote", len(new), "lines")
        saw(f"{door}: {grown >> 10} KiB more resident, {len(new)} log lines")
    saw(count, f"knocks in 3 s; then a post took {wait:.2f} s")


main(Stage)
