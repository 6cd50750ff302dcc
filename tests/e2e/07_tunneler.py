#!/usr/bin/env python3
"""weft-tunneler: beside servers and clients that know nothing of Weft, and a reload that drops nothing."""

import hashlib
import http.client
import os
import re
import signal
import socket
import struct
import threading
import time

from e2e import (
    UNREACHABLE, USAGE, Fabric, Tcp, Web, check, drain, echo, fetch, free_port, listens, main, metrics, saw, step, until,
)  # fmt: skip

# Memory is measured here, and AddressSanitizer would keep 256 MiB of what was freed.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4:thread_local_quarantine_size_kb=64"

MB = 1 << 20
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST


def connect(port, seconds=20):
    s = socket.create_connection(("127.0.0.1", port), seconds)
    s.settimeout(seconds)
    return s


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def how_it_ends(connection):
    """"end" or "reset": what the rest of the connection comes to."""
    try:
        while connection.recv(65536):
            pass
        return "end"
    except ConnectionResetError:
        return "reset"


class Stage(Fabric):
    """A service `raw` whose server does what `talk` says, its tunneler, and a local port that leads to it."""

    def __init__(self):
        super().__init__()
        self.talk = echo
        self.server = Tcp(lambda connection: self.talk(connection))
        self.numbers = free_port()
        self.tunneler, self.dialer = self.serve("raw", self.server.port, "--metrics", f"127.0.0.1:{self.numbers}")
        self.proxied, self.port = self.proxy("raw", self.dialer)


@step("a client and a server that know nothing of Weft talk over a local port")
def _(f):
    web = Web(lambda request, body: (200, {}, body[::-1]))
    _, dialer = f.serve("web", web.port)
    _, port = f.proxy("web", dialer)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for i in range(20):  # one kept connection, many requests
        client.request("POST", f"/{i}", body=b"abc" * i)
        answer = client.getresponse()
        check(answer.status == 200 and answer.read() == (b"abc" * i)[::-1], i)
    client.close()
    check(len(web.requests) == 20, len(web.requests))
    local = [line.split()[1] for line in open("/proc/net/tcp", encoding="ascii") if line.split()[3] == "0A"]
    check(f"0100007F:{port:04X}" in local, "the proxy listens on", [a for a in local if a.endswith(f"{port:04X}")])
    saw("20 requests over one connection; the port is open on loopback alone")


@step("200 connections at once, each with its own bytes")
def _(f):
    f.talk = echo
    connections = [connect(f.port) for _ in range(200)]
    for i, one in enumerate(connections):
        one.sendall(i.to_bytes(4, "big") * 500)
    for one in connections:
        one.shutdown(socket.SHUT_WR)
    for i, one in enumerate(connections):
        check(drain(one) == i.to_bytes(4, "big") * 500, "connection", i)
        one.close()
    until("the sessions to end", lambda: metrics(f.numbers)["weft_tunneler_sessions_open"] == 0, 10)
    numbers = metrics(f.numbers)
    saw("hosted so far:", numbers['weft_tunneler_sessions_total{side="host"}'], "broken:", numbers["weft_tunneler_broken_total"])
    check(numbers["weft_tunneler_broken_total"] == 0, numbers)


@step("each direction ends by itself")
def _(f):
    def count(connection):
        total = len(drain(connection))
        time.sleep(0.2)
        connection.sendall(str(total).encode())

    f.talk = count
    with connect(f.port) as s:
        s.sendall(b"x" * MB)
        s.shutdown(socket.SHUT_WR)
        check(drain(s) == str(MB).encode(), "an answer after our end")
    got = []

    def greet(connection):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        got.append(len(drain(connection)))

    f.talk = greet
    with connect(f.port) as s:
        check(drain(s) == b"bye", "the server's end")
        s.sendall(b"x" * MB)
        s.shutdown(socket.SHUT_WR)
        until("the server to have it all", lambda: got, 10)
    check(got == [MB], got)
    saw("both orders; nothing was lost after either end")


@step("a reset stays a reset, in both directions")
def _(f):
    seen = []
    f.talk = lambda connection: seen.append(how_it_ends(connection))
    for turn in range(20):
        s = connect(f.port)
        s.sendall(b"hello")
        until("the server", lambda: metrics(f.numbers)["weft_tunneler_sessions_open"] == 1)
        s.sendall(b"and some that the reset overtakes" * 50)
        reset(s)
        until("the server to notice", lambda: len(seen) == turn + 1, 10)
        check(seen[-1] == "reset", "the server saw", seen)
        until("the session's end", lambda: metrics(f.numbers)["weft_tunneler_sessions_open"] == 0)

    def refuse(connection):
        connection.recv(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    f.talk = refuse
    with connect(f.port) as s:
        s.sendall(b"hello")
        check(how_it_ends(s) == "reset", "the client saw a clean end")
    saw("the server saw the client's, the client the server's")
    # a dial that fails is no empty answer
    f.share("nobody")
    f.enroll(f.path("nobody-dial.jwt"))
    _, port = f.proxy("nobody", f.path("nobody-dial.json"))
    with connect(port) as s:
        check(how_it_ends(s) == "reset", "a service without a host looked like an empty answer")


@step("a server that is down is status 4, and its address stays private")
def _(f):
    port = free_port()
    tunneler, dialer = f.serve("down", port)
    for program in ("post", "dial"):
        done = f.weft(program, "down", *(["/"] if program == "post" else []), "--identity", dialer)
        check(done.code == UNREACHABLE and "does not answer" in done.error, done)
        check(str(port) not in done.err, "tells the dialer where the server stands:", done.err)
        saw(done.error)
    tunneler.says(f"127.0.0.1:{port}: connection refused")
    # a name that does not resolve
    f.share("lost")
    f.enroll(f.path("lost-dial.jwt"))
    lost = f.start("lost", "weft-tunneler", "host", "lost=nowhere.invalid:80", "--identity", f.path("lost-host.jwt"))
    lost.says("lost is bound on ")
    done = f.weft("post", "lost", "/", "--identity", f.path("lost-dial.json"))
    check(done.code == UNREACHABLE, done)


@step("one that does not read stalls nobody else, costs no memory, and loses no byte")
def _(f):
    pattern = hashlib.shake_256(b"slow").digest(MB + 17) * 24  # more than all buffers between hold
    late = []

    def endless(connection):
        first = connection.recv(1)
        if first == b"s":
            connection.sendall(pattern)
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.5)
            late.append(drain(connection, 60) == pattern)  # and slow in the other direction
            return
        size = 20 * MB
        while size:
            connection.sendall(b"y" * 65536)
            size -= 65536

    f.talk = endless
    before = [program.rss() for program in (f.tunneler, f.proxied, f.routers["r1"])]
    stuck = [connect(f.port) for _ in range(5)]
    for one in stuck:
        one.sendall(b"s")
        check(one.recv(10, socket.MSG_PEEK), "the first bytes")
    time.sleep(1)  # until every buffer between is full
    begun = time.monotonic()
    got = []

    def fast():
        with connect(f.port) as s:
            s.sendall(b"f")
            got.append(len(drain(s)))

    threads = [threading.Thread(target=fast) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    seconds = time.monotonic() - begun
    check(got == [20 * MB] * 4, "beside the stuck ones came", got)
    after = [program.rss() for program in (f.tunneler, f.proxied, f.routers["r1"])]
    saw(f"4 x 20 MiB beside 5 stuck ones in {seconds:.1f} s;",
        "MiB more of host, proxy, router:", [(b - a) >> 20 for a, b in zip(before, after)])
    check(all(b - a < 64 * MB for a, b in zip(before, after)), "memory grows:", before, after)
    for one in stuck:
        check(drain(one, 60) == pattern, "what a slow reader got is not what was sent")
        one.sendall(pattern)
        one.close()
    until("the slow servers to have it all", lambda: len(late) == len(stuck), 60)
    check(all(late), "what a slow server got is not what was sent")
    until("the sessions to end", lambda: metrics(f.numbers)["weft_tunneler_sessions_open"] == 0, 10)


@step("--max-sessions holds, and frees")
def _(f):
    f.talk = echo
    _, port = f.proxy("raw", f.dialer, "--max-sessions", "3", name="small")
    kept = [connect(port) for _ in range(3)]
    for one in kept:
        one.sendall(b"x")
        check(one.recv(1) == b"x", "one of three")
    with connect(port) as s:
        check(s.recv(1) == b"", "a fourth was let in")
    for one in kept:
        one.close()
    def again():
        with connect(port) as s:
            try:
                s.sendall(b"x")
                return s.recv(1) == b"x"
            except OSError:
                return False

    until("a place to be free", again)


CONFIG = """# both sides in one program
identity: "{identity}"
metrics: 127.0.0.1:{numbers}
host:
{hosts}
proxy:
{proxies}
"""


class Rules:
    """A configuration file with the rules of the moment."""

    def __init__(self, f):
        self.f, self.numbers, self.hosts, self.proxies = f, free_port(), {}, {}

    def write(self):
        text = CONFIG.format(
            identity=self.f.path("both.json"), numbers=self.numbers,
            hosts="\n".join(f"  - service: {s}\n    to: 127.0.0.1:{p}" for s, p in self.hosts.items()),
            proxies="\n".join(f"  - service: {s}\n    listen: 127.0.0.1:{p}" for s, p in self.proxies.items()),
        )  # fmt: skip
        return self.f.write("rules.yaml", text)


@step("run -c FILE: SIGHUP adds and takes rules, and every session lives on")
def _(f):
    f.talk = echo
    f.admin("identity", "create", "both", "--token-out", f.path("both.jwt"))
    f.enroll(f.path("both.jwt"))
    for service in ("one", "two"):
        f.admin("service", "create", service)
        f.admin("allow", "both", "dial", service)
        f.admin("allow", "both", "bind", service)
    rules = Rules(f)
    first, second = free_port(), free_port()
    rules.hosts = {"one": f.server.port}
    rules.proxies = {"one": first}
    path = rules.write()
    f.must("weft-tunneler", "check-config", "-c", path)
    both = f.start("both", "weft-tunneler", "run", "-c", path)
    both.says("one is bound on 1 router")
    old = connect(first)
    old.sendall(b"before")
    check(old.recv(100) == b"before", "through the first rules")

    def reload(word="reloaded"):
        said = both.said().count(word)
        both.signal(signal.SIGHUP)
        until(f"{word!r}", lambda: both.said().count(word) > said)

    rules.hosts = {"one": f.server.port, "two": f.server.port}
    rules.proxies = {"one": first, "two": second}
    rules.write()
    reload()
    both.says("two is bound on 1 router")
    with connect(second) as s:
        s.sendall(b"new")
        check(s.recv(100) == b"new", "through the new rule")
    rules.hosts = {"two": f.server.port}
    rules.proxies = {"two": second}
    rules.write()
    reload()
    until("the first port to be closed", lambda: not listens(first))
    check(f.weft("post", "one", "/", "--identity", f.path("both.json")).code == UNREACHABLE, "one is still hosted")
    old.sendall(b"after two reloads")
    check(old.recv(100) == b"after two reloads", "a session of a rule that is gone")
    # the target of a rule changes
    other = Tcp(lambda connection: connection.sendall(b"other"))
    rules.hosts = {"two": other.port}
    rules.write()
    reload()

    def moved():
        with connect(second) as s:
            try:
                return s.recv(5) == b"other"
            except OSError:
                return False

    until("the new target", moved)
    # bad files change nothing
    for text, line in (("host: [\n", 2), ("nonsense: 1\n", 1), (None, None)):
        if text is None:
            os.remove(path)
        else:
            f.write("rules.yaml", text)
        reload("the old rules stay in force")
        words = [row for row in both.said().splitlines() if "the old rules stay" in row][-1]
        check("rules.yaml" in words and (line is None or f"rules.yaml:{line}:" in words), words)
        check(moved(), "the old rules are gone")
        saw(words.split(" ", 3)[-1].replace(f.folder, "~"))
    old.sendall(b"still")
    check(old.recv(100) == b"still", "after bad files")
    old.close()
    for port in (rules.numbers,):
        check(fetch(port, "/readyz")[0] == 200, fetch(port, "/readyz"))
    done = f.run("weft-tunneler", "run", "-c", f.write("rules.yaml", "host: [\n"))
    check(done.code == USAGE and "rules.yaml:2:" in done.error, "at the start a bad file is an end:", done)


@step("hosting that policy takes back is taken up again when it is allowed again")
def _(f):
    f.talk = echo
    check(fetch(f.numbers, "/readyz")[0] == 200, "ready")
    f.admin("disallow", "raw-host", "bind", "raw")
    until("/readyz to say so", lambda: fetch(f.numbers, "/readyz")[0] == 503, 10)
    saw("/readyz:", fetch(f.numbers, "/readyz")[1].strip())
    f.admin("allow", "raw-host", "bind", "raw")
    until("/readyz to be fine", lambda: fetch(f.numbers, "/readyz")[0] == 200, 15)
    with connect(f.port) as s:
        s.sendall(b"again")
        check(s.recv(10) == b"again", "through the old tunneler")


@step("the log says once what is whose to mend")
def _(f):
    said = f.tunneler.said()
    check(re.search("info .* raw: session [0-9a-f]{32} with raw-dialer did not end cleanly: ", said), said)
    home, admin, tokens = f.path("alone"), f.path("alone.json"), (f.path("alone-host.jwt"), f.path("alone-dial.jwt"))
    f.must("weft-controller", "init", "--home", home, "--address", f"127.0.0.1:{free_port()}", "--admin-out", admin)
    f.start("alone", "weft-controller", "run", "--home", home).says("listens on")
    f.must("weft", "share", "web", "--host-token", tokens[0], "--dial-token", tokens[1], "--identity", admin)
    tunneler = f.start("tunneler-alone", "weft-tunneler", "host", "web=127.0.0.1:1", "--identity", tokens[0])
    tunneler.says("web is bound nowhere: the controller knows no router; an administrator makes one: weft router create NAME")
    f.must("weft", "identity", "disable", "web-host", "--identity", admin)
    tunneler.says("can let it back in: weft identity enable")
    time.sleep(2)
    check(len(re.findall(" error ", tunneler.said())) == 1, tunneler.said())
    check(tunneler.said().count("bound nowhere") <= 2, tunneler.said())
    tunneler.stop()
    check(tunneler.said().endswith(": stopping\n"), tunneler.said())
    saw(*(line.split("weft-tunneler: ")[1] for line in tunneler.said().splitlines()))


@step("SIGTERM: no new ones, the old ones may end, and then it leaves")
def _(f):
    f.talk = echo
    old = connect(f.port)
    old.sendall(b"one")
    check(old.recv(10) == b"one", "before")
    f.tunneler.signal(signal.SIGTERM)
    f.tunneler.says("stopping")
    until("dials to be refused", lambda: f.weft("dial", "raw", "--identity", f.dialer).code == UNREACHABLE, 5)
    old.sendall(b"two")
    check(old.recv(10) == b"two", "while it drains")
    begun = time.monotonic()
    old.close()
    check(f.tunneler.wait(8) == 0, "exit", f.tunneler.popen.returncode)
    saw(f"it left {time.monotonic() - begun:.1f} s after its last session")


main(Stage)
