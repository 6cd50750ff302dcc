#!/usr/bin/env python3
"""Permission withdrawn while it is used: cut in seconds on both ends, and nobody else is; given back, it works again."""

import json
import os
import shutil
import socket
import threading
import time

from e2e import CREDENTIAL, OK, POLICY, UNREACHABLE, Fabric, Tcp, check, fetch, free_port, main, metrics, saw, step, until

LIMIT = 5  # seconds from the order to the cut


class Bulk:
    """`weft dial` that pumps zeros into a service as fast as they go, and takes what comes back."""

    def __init__(self, fabric, who, service="pipe"):
        self.fabric, self.who = fabric, who
        before = len(fabric.ends)
        with open("/dev/zero", "rb") as zeros, open(os.devnull, "wb") as nothing:
            number = len(fabric.processes)
            self.process = fabric.start(
                f"bulk-{who}-{number}", "weft", "dial", service, "--identity", fabric.path(f"{who}.json"), stdin=zeros, stdout=nothing
            )
        until(f"{who}'s session", lambda: len(fabric.ends) > before or not self.process.running(), 10)
        check(self.process.running(), who, "could not dial:", self.process.said())
        self.end = fabric.ends[before]
        self.flows(1 << 20)

    def flows(self, amount=2 << 20):
        """More bytes arrive from now on."""
        check(self.process.running(), self.who, "was cut:", self.process.popen.returncode, self.process.said())
        begin = self.end.count
        until(f"{self.who}'s bytes", lambda: self.end.count > begin + amount or not self.process.running(), 10)
        check(self.process.running() and not self.end.how, self.who, "was cut:", self.process.popen.returncode, self.process.said())

    def cut(self, codes, since):
        """It ends with one of these, in time, on both ends, and the backend is not told that all is well."""
        limit = since + LIMIT
        code = self.process.wait(max(0.1, limit - time.monotonic()))
        here = time.monotonic() - since
        until("the end at the host", lambda: self.end.how, max(0.1, limit - time.monotonic()))
        there = self.end.when - since
        check(code in codes, self.who, "ended with", code, "not", codes, self.process.said())
        check(self.end.how == "reset", "the server behind the host saw", self.end.how)
        lines = self.process.said().strip().splitlines()
        check(len(lines) == 1 and lines[0].startswith("weft: dial: "), lines)
        saw(f"{self.who}: exit {code} after {here:.2f} s, the server's connection reset after {there:.2f} s; {lines[0]}")

    def stop(self):
        self.process.kill()
        until("its end at the host", lambda: self.end.how)


class End:
    """A session as the server behind the host sees it."""

    def __init__(self):
        self.count, self.how, self.when = 0, "", 0.0


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.ends = []
        self.server = Tcp(self.talk)
        token = self.path("host.jwt")
        self.admin("service", "create", "pipe")
        self.admin("identity", "create", "host", "--token-out", token)
        self.admin("allow", "host", "bind", "pipe")
        for name, roles in (("ann", "ci"), ("bob", "ci"), ("cid", ""), ("eve", "")):
            self.admin("identity", "create", name, "--roles", roles, "--token-out", self.path(f"{name}.jwt"))
            self.enroll(self.path(f"{name}.jwt"))
        self.admin("allow", "role:ci", "dial", "pipe")
        for name in ("cid", "eve"):
            self.admin("allow", name, "dial", "pipe")
        self.tunneler = self.host("pipe", self.server.port, token)

    def talk(self, connection):
        end = End()
        self.ends.append(end)
        try:
            while data := connection.recv(1 << 18):
                end.count += len(data)
                connection.sendall(data[:4096])
            end.how = "a clean end"
        except OSError:
            end.how = "reset"
        end.when = time.monotonic()

    def order(self, *words):
        """Withdraws something; from when on it counts."""
        since = time.monotonic()
        self.admin(*words)
        return since

    def dial(self, who, *args):
        return self.weft("dial", "pipe", "--identity", self.path(f"{who}.json"), "--timeout", "5s", *args)

    def again(self, who, seconds=10):
        """A new session gets through, by the same identity."""
        begun = time.monotonic()
        until(f"{who} to be let in", lambda: self.dial(who).code == OK, seconds)
        return time.monotonic() - begun


@step("a harmless edit cuts nobody")
def _(f):
    sessions = [Bulk(f, "ann"), Bulk(f, "bob"), Bulk(f, "eve")]
    for words in (
        ("identity", "update", "ann", "--roles", "ci,night"),
        ("policy", "create", "unrelated", "--type", "dial", "--identity-roles", "role:night", "--service-roles", "role:x"),
        ("service", "create", "other"),
        ("allow", "role:ci", "dial", "other"),
        ("disallow", "role:ci", "dial", "other"),
        ("policy", "delete", "unrelated"),
        ("identity", "create", "dan", "--token-out", f.path("dan.jwt")),
        ("identity", "disable", "dan"),
        ("identity", "delete", "dan"),
        ("service", "update", "pipe", "--roles", "web"),
        ("service", "delete", "other"),
        ("identity", "update", "eve", "--rename", "eva"),
        ("allow", "ann", "dial", "pipe"),  # another way in, and then the first one goes
        ("identity", "update", "ann", "--roles", "night"),
    ):
        f.admin(*words)
    time.sleep(1.5)  # a cut would be here by now
    for session in sessions:
        session.flows()
    saw("14 edits,", ", ".join(f"{session.end.count >> 20} MiB by {session.who}" for session in sessions), "and all go on")
    for session in sessions:
        session.stop()


@step("disallow: the dialer ends with 3, others go on, allow lets it back in")
def _(f):
    ann, bob = Bulk(f, "ann"), Bulk(f, "bob")
    since = f.order("disallow", "ann", "dial", "pipe")
    ann.cut((POLICY,), since)
    # Ours, if the revocations reach us first; else the host's word for it.
    words = ("cut: the permission to dial pipe was withdrawn", "the other side reset the stream: cut: the permission of ann to dial pipe was withdrawn")
    check(any(word in ann.process.said() for word in words), ann.process.said())
    done = f.dial("ann")
    check(done.code == POLICY, done)
    bob.flows()
    f.admin("allow", "ann", "dial", "pipe")
    saw(f"allowed again: in after {f.again('ann'):.2f} s")
    since = f.order("identity", "update", "bob", "--roles", "none")  # a role that gave it
    bob.cut((POLICY,), since)
    f.admin("identity", "update", "bob", "--roles", "ci")
    saw(f"the role is back: in after {f.again('bob'):.2f} s")


@step("identity disable: the dialer ends with 5, enable lets it back in with the same file")
def _(f):
    ann, bob = Bulk(f, "ann"), Bulk(f, "bob")
    since = f.order("identity", "disable", "bob")
    bob.cut((CREDENTIAL,), since)
    done = f.dial("bob")
    check(done.code == CREDENTIAL, done)
    saw("a new dial:", done.error)
    ann.flows()
    ann.stop()
    f.admin("identity", "enable", "bob")
    saw(f"enabled: in after {f.again('bob'):.2f} s")


@step("identity delete: the dialer ends with 5, for good")
def _(f):
    eve, ann = Bulk(f, "eve"), Bulk(f, "ann")
    since = f.order("identity", "delete", "eva")  # eve, renamed
    eve.cut((CREDENTIAL,), since)
    for args in ((), ("--log-level", "error")):
        done = f.dial("eve", *args)
        check(done.code == CREDENTIAL, done)
    ann.flows()
    ann.stop()
    done = f.weft("renew", "--identity", f.path("eve.json"))
    check(done.code == CREDENTIAL, done)
    saw("renewing:", done.error)


@step("a proxy whose identity is disabled: its clients are reset, and served again without a restart")
def _(f):
    gate, port = f.proxy("pipe", f.path("cid.json"))
    quiet = socket.create_connection(("127.0.0.1", port), 10)  # its error is told to whoever asks first: to us
    quiet.sendall(b"hello")
    check(quiet.recv(5) == b"hello", "no session")
    s = socket.create_connection(("127.0.0.1", port), 10)
    threading.Thread(target=pump, args=(s,), daemon=True).start()
    until("the session", lambda: f.ends[-1].count > 4 << 20 and not f.ends[-1].how)
    end = f.ends[-1]
    since = f.order("identity", "disable", "cid")
    until("the end at the host", lambda: end.how, LIMIT)
    check(end.how == "reset", "the server saw", end.how)
    check(ended(quiet, LIMIT) == "reset", "the client saw no reset")
    saw(f"cut after {end.when - since:.2f} s")
    check(attempt(port) is None, "a new connection got through")
    check(gate.running(), "the proxy ended:", gate.said())
    f.admin("identity", "enable", "cid")
    begun = time.monotonic()
    until("the proxy to be let in", lambda: attempt(port), 15)
    saw(f"enabled: a connection works {time.monotonic() - begun:.2f} s later, in the same process")
    check(gate.stop() == 0, "its end")


@step("session cut: that one ends with 4, whoever tells first, and may be dialed again")
def _(f):
    for _ in range(3):
        until("no session in the list", lambda: not sessions_of(f, "ann"), 10)
        ann, bob = Bulk(f, "ann"), Bulk(f, "bob")
        rows = until("the session in the list", lambda: sessions_of(f, "ann"), 10)
        check(len(rows) == 1, rows)
        since = f.order("session", "cut", rows[0]["id"])
        ann.cut((UNREACHABLE,), since)
        bob.flows()
        bob.stop()
        f.again("ann")


def sessions_of(f, who):
    rows = [json.loads(line) for line in f.admin("session", "list", "--json").out.splitlines()]
    return [row for row in rows if row.get("dialer") == who]


def pump(s):
    try:
        while True:
            s.sendall(bytes(65536))
    except OSError:
        pass


def ended(s, seconds):
    s.settimeout(seconds)
    try:
        while s.recv(65536):
            pass
        return "a clean end"
    except TimeoutError:
        return "nothing"
    except OSError:
        return "reset"


def attempt(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(b"hello")
            s.settimeout(5)
            return s.recv(5) == b"hello" or None
    except OSError:
        return None


@step("the host: its right to bind taken, or itself disabled, and given back")
def _(f):
    for take, give in (
        (("disallow", "host", "bind", "pipe"), ("allow", "host", "bind", "pipe")),
        (("identity", "disable", "host"), ("identity", "enable", "host")),
    ):
        ann = Bulk(f, "ann")
        since = f.order(*take)
        ann.cut((POLICY,), since)  # not ours: what it may no more, we may not either
        done = f.dial("ann")
        check(done.code == UNREACHABLE, done)
        saw("a new dial:", done.error)
        f.admin(*give)
        saw(f"{' '.join(give)}: hosted again after {f.again('ann', 12):.2f} s, in the same process")
        check(f.tunneler.running(), "the tunneler ended:", f.tunneler.said())


def refused_everywhere(f, who, file):
    """Renewing, dialing, hosting and administering with this file: each ends with 5, and says why in one line."""
    for words in (
        ("weft", "renew", "--identity", file),
        ("weft", "renew", "--new-key", "--identity", file),
        ("weft", "dial", "pipe", "--identity", file, "--timeout", "5s"),
        ("weft-tunneler", "host", f"pipe=127.0.0.1:{f.server.port}", "--identity", file),
        ("weft", "identity", "list", "--identity", file),
        ("weft", "service", "create", f"by-{who}", "--identity", file),
    ):
        done = f.run(*words, timeout=20)
        check(done.code == CREDENTIAL, who, done)
        check(done.error.startswith(f"{words[0]}: "), done)
        saw(done.error)
    check(f"by-{who}" not in f.admin("service", "list", "--json").out, "it made a service")


@step("who is revoked may not renew, dial, host or administer: exit status 5 for each")
def _(f):
    f.admin("identity", "create", "max", "--token-out", f.path("max.jwt"))
    file = f.enroll(f.path("max.jwt"))
    for role in ("dial", "bind"):
        f.admin("allow", "max", role, "pipe")
    f.admin("admin", "add", "max")
    f.must("weft", "identity", "list", "--identity", file)
    f.must("weft", "renew", "--identity", file)
    f.again("max")
    f.admin("identity", "disable", "max")
    refused_everywhere(f, "max", file)
    f.admin("identity", "enable", "max")
    f.must("weft", "identity", "list", "--identity", file)
    f.again("max")


@step("a stolen key: once the owner has enrolled anew, the old file is worth nothing anywhere")
def _(f):
    stolen = f.path("stolen.json")
    shutil.copy(f.path("max.json"), stolen)
    f.admin("identity", "reissue", "max", "--token-out", f.path("max2.jwt"))
    file = f.enroll(f.path("max2.jwt"))
    refused_everywhere(f, "thief", stolen)
    f.must("weft", "identity", "list", "--identity", file)
    f.must("weft", "renew", "--identity", file)
    shutil.copy(file, f.path("max.json"))
    f.again("max")


@step("a router is expelled: its edges move, it links with nobody, and nobody dials through it")
def _(f):
    numbers = free_port()
    r2 = f.add_router("r2", "--metrics", f"127.0.0.1:{numbers}")
    seen = lambda: metrics(numbers)  # noqa: E731
    until("the link, and the host's bind", lambda: seen()["weft_router_routers"] == 1 and seen()['weft_router_terminators{at="here"}'] >= 1, 20)
    f.admin("router", "disable", "r2")
    figures = until("its edges and links to go", lambda: (now := seen())["weft_router_edges"] == 0 and now["weft_router_routers"] == 0 and now, 5)
    saw("edges, routers:", figures["weft_router_edges"], figures["weft_router_routers"])
    for _ in range(3):
        done = f.dial("max")
        check(done.code == OK, done)  # through r1
    check(f.tunneler.running() and f.routers["r1"].running(), "the others ended")
    r2.stop()
    again = f.start("r2-again", "weft-router", "run", "--home", f.path("r2"), "--metrics", f"127.0.0.1:{numbers}")
    time.sleep(2)
    if again.running():
        now = seen()
        check(now["weft_router_edges"] == 0 and now["weft_router_routers"] == 0, now)
        check(now['weft_router_setups_total{result="opened"}'] == 0, now)
        status, words = fetch(numbers, "/readyz")
        saw("its /readyz:", status, words.strip())
        check(again.stop() == 0, "its end")
    else:
        check(again.popen.returncode == CREDENTIAL, again.popen.returncode, again.said())
    saw(again.said().strip().splitlines()[-1][25:])
    done = f.run("weft", "dial", "pipe", "--identity", f.path("max.json"), "--timeout", "5s")
    check(done.code == OK, done)
    f.admin("router", "enable", "r2")


@step("the service deleted: cut; a new one of its name is another one")
def _(f):
    ann = Bulk(f, "ann")
    since = f.order("service", "delete", "pipe")
    ann.cut((POLICY,), since)
    f.admin("service", "create", "pipe")
    done = f.dial("ann")
    check(done.code in (POLICY, UNREACHABLE), done)
    saw("a new dial:", done.error)


main(Stage)
