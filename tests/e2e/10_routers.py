#!/usr/bin/env python3
"""Routers come, go and join: a restart needs nobody's help, two of them carry a circuit, an expelled one carries none."""

import ctypes
import hashlib
import json
import os
import secrets
import socket
import subprocess
import threading
import time

from e2e import UNREACHABLE, Fabric, Room, Skip, Tcp, Web, check, drain, echo, free_port, main, metrics, saw, step, until

SOME = 8 << 20
CLONE_NEWNET = 0x40000000


def at(namespace, function):
    """What function() gives on another host. A socket stays where it was made."""
    result, fault = [], []

    def go():
        try:
            with open(f"/run/netns/{namespace}", "rb") as f:
                if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(function())
        except BaseException as reason:  # raised again where it was asked for
            fault.append(reason)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join()
    if fault:
        raise fault[0]
    return result[0]


class Hosts(Fabric):
    """Three hosts: the sender and the receiver reach one router each, and the routers each other."""

    NAMES = ("hub", "sender", "receiver")

    def __init__(self):
        Room.__init__(self)
        self.tag = f"weft-e2e-{os.getpid()}"
        self.ns = {name: f"{self.tag}-{name}" for name in self.NAMES}
        self.admin_file = self.path("admin.json")
        self.control, self.routers, self.figures = 9338, {}, {}
        try:
            self.wire()
            self.must(
                "weft-controller", "init", "--home", self.path("controller"), "--domain", "two.weft", "--address", "198.51.100.1",
                "--address", "203.0.113.1", "--admin-out", self.admin_file,
            )  # fmt: skip
            self.controller = self.start(
                "controller", "weft-controller", "run", "--home", self.path("controller"), "--listen", "0.0.0.0:9338"
            )
            self.controller.says("listens on")
            for name, address in (("r1", "198.51.100.1"), ("r2", "203.0.113.1")):
                self.admin("router", "create", name, "--token-out", self.path(f"{name}.jwt"))
                self.must("weft-router", "enroll", self.path(f"{name}.jwt"), "--home", self.path(name), "--listen", f"{address}:9339")
                self.figures[name] = 9341 + len(self.figures)
                self.start_router(name)
        except BaseException:
            self.close()
            self.remove()
            raise

    def wire(self):
        def ip(*words):
            done = subprocess.run(["ip", *words], env=self.env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Skip(f"no hosts can be made here: ip {' '.join(words)}: {done.stderr.strip()}")

        if os.geteuid() != 0:
            raise Skip("no hosts can be made here: network namespaces need root")
        for name in self.NAMES:
            ip("netns", "add", self.ns[name])
            ip("-n", self.ns[name], "link", "set", "lo", "up")
        for number, (name, net) in enumerate((("sender", "198.51.100"), ("receiver", "203.0.113"))):
            ip("-n", self.ns["hub"], "link", "add", f"leg{number}", "type", "veth", "peer", "name", "eth0", "netns", self.ns[name])
            ip("-n", self.ns["hub"], "addr", "add", f"{net}.1/24", "dev", f"leg{number}")
            ip("-n", self.ns["hub"], "link", "set", f"leg{number}", "up")
            ip("-n", self.ns[name], "addr", "add", f"{net}.2/24", "dev", "eth0")
            ip("-n", self.ns[name], "link", "set", "eth0", "up")

    def run(self, program, *args, host="hub", **more):
        return super().run("ip", "netns", "exec", self.ns[host], program, *args, **more)

    def start(self, name, program, *args, host="hub", **more):
        return super().start(name, program, *args, prefix=("ip", "netns", "exec", self.ns[host]), **more)

    def start_router(self, name, *args):
        figures = ("--metrics", f"127.0.0.1:{self.figures[name]}")
        self.routers[name] = self.start(name, "weft-router", "run", "--home", self.path(name), *figures, *args)
        until(name, lambda: self.routers[name].said().count("listening on"))
        return self.routers[name]

    def seen(self, name):
        """The figures of a router."""
        return at(self.ns["hub"], lambda: metrics(self.figures[name]))

    def connect(self, host, address, port):
        return at(self.ns[host], lambda: socket.create_connection((address, port), 5))

    def close(self):
        faults = super().close()
        for name in self.ns.values():
            subprocess.run(["ip", "netns", "del", name], env=self.env, capture_output=True, check=False)
        return faults


class Stage(Fabric):
    """One router on this host; and the three hosts, once a step asks for them."""

    def __init__(self):
        self.hosts = None
        super().__init__()
        self.echo, self.web = Tcp(echo), Web()
        self.tunneler, dialer = self.serve("echo", self.echo.port)
        self.gate, self.port = self.proxy("echo", dialer)

    def session(self):
        """One through the proxy; None if it was reset, which connecting may already notice."""
        try:
            s = socket.create_connection(("127.0.0.1", self.port), 10)
            s.sendall(b"hello")
            if s.recv(5) == b"hello":
                return s
        except OSError:
            pass
        return None

    def logs(self):
        yield from super().logs()
        if self.hosts:
            yield from self.hosts.logs()

    def close(self):
        faults = super().close()
        if self.hosts:
            faults += self.hosts.close()
            self.hosts.remove()
        return faults


def reset(s, seconds=10):
    """Whether the session was reset; a clean end would be a lie."""
    s.settimeout(seconds)
    try:
        s.recv(1)
    except TimeoutError:
        pass
    except OSError:
        return True
    finally:
        s.close()
    return False


@step("the only router is restarted: its sessions are reset, new ones work, and nobody else is restarted")
def _(f):
    for how in ("SIGTERM", "kill -9"):
        s = until("a session", f.session)
        begun = time.monotonic()
        if how == "SIGTERM":
            check(f.routers["r1"].stop(10) == 0, "the router ended with", f.routers["r1"].popen.returncode)
        else:
            f.routers["r1"].kill()
        check(reset(s), how, "did not reset the session")
        f.start_router("r1")
        back = time.monotonic()
        until("a dial to work again", f.session, 10).close()
        saw(f"{how}: a dial works {time.monotonic() - back:.1f} s after the start, {time.monotonic() - begun:.1f} s after the end")
        check(f.tunneler.running() and f.gate.running(), "a tunneler ended")


@step("the same without a controller, after some seconds of nothing")
def _(f):
    f.controller.kill()
    f.routers["r1"].kill()
    time.sleep(3)
    begun = time.monotonic()
    check(f.session() is None, "a dial without a router")
    saw(f"without a router a dial is reset after {time.monotonic() - begun:.1f} s")
    f.start_router("r1")
    back = time.monotonic()
    until("a dial to work again", f.session, 12).close()
    saw(f"with it, a dial works {time.monotonic() - back:.1f} s after the start")
    f.start_controller()
    check(f.tunneler.said().count("is bound on 1 router") >= 4, "the log tells no new binds:", f.tunneler.said())


@step("two routers: the sender reaches one, the receiver the other, and a circuit crosses both")
def _(f):
    f.hosts = h = Hosts()
    host, dial = h.share("echo")
    h.echo = at(h.ns["receiver"], lambda: Tcp(echo))
    h.tunneler = h.start(
        "tunneler", "weft-tunneler", "host", f"echo=127.0.0.1:{h.echo.port}", "--identity", host, host="receiver"
    )
    h.tunneler.says("echo is bound on")
    h.port = free_port()
    h.gate = h.start("gate", "weft-tunneler", "proxy", f"{h.port}=echo", "--identity", dial, host="sender")
    h.gate.says(" leads to ")
    for who, address in (("sender", "203.0.113.1"), ("sender", "203.0.113.2"), ("receiver", "198.51.100.1")):
        try:
            h.connect(who, address, 9339).close()
        except OSError:
            continue
        check(False, "the", who, "reaches", address)
    until("the link", lambda: h.seen("r1").get("weft_router_routers") and h.seen("r2").get("weft_router_routers"), 10)
    until("a dial", lambda: crossing(h, 1000), 10)
    begun = time.monotonic()
    check(crossing(h, SOME), "no session")
    saw(f"{SOME >> 20} MiB there and back, each byte as it was, in {time.monotonic() - begun:.1f} s")
    for name in ("r1", "r2"):
        carried = {key: value for key, value in h.seen(name).items() if "bytes" in key and "weft_router" in key}
        check(max(carried.values()) > SOME, name, "carried nothing of it:", carried)
    # many at once
    faults = []

    def one():
        try:
            check(crossing(h, 100_000), "no session")
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=one) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    check(not faults, len(faults), "of", len(threads), "sessions at once failed:", faults[:1])


def crossing(h, amount):
    """Sends random bytes from sender to receiver and back, and half-closes: True if all came back; None without a session."""
    data = secrets.token_bytes(amount)
    try:
        s = h.connect("sender", "127.0.0.1", h.port)
    except ConnectionError:
        return None
    s.settimeout(30)

    def send():
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError as fault:
            refused.append(fault)

    refused = []  # an error of a socket is told once, to whoever asks first
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        with s:
            back = drain(s)
            sender.join(30)
    except ConnectionError:
        return None
    if refused:
        return None
    check(hashlib.sha256(back).digest() == hashlib.sha256(data).digest(), len(back), "of", amount, "bytes, or others, came back")
    return True


@step("the receiver's router, and then the sender's, is killed and comes back")
def _(f):
    h = f.hosts
    if h is None:
        check(False, "there are no hosts")
    for name in ("r2", "r1"):
        s = h.connect("sender", "127.0.0.1", h.port)
        s.sendall(b"hello")
        s.settimeout(10)
        check(s.recv(5) == b"hello", "no session")
        begun = time.monotonic()
        h.routers[name].kill()
        check(reset(s), name, "died and the session was not reset")
        saw(f"{name} died: the session was reset after {time.monotonic() - begun:.1f} s")
        h.start_router(name)
        back = time.monotonic()
        until("a dial to work again", lambda: crossing(h, 1000), 12)
        saw(f"a dial works {time.monotonic() - back:.1f} s after its start")
    check(h.tunneler.running() and h.gate.running(), "a tunneler ended")


@step("an expelled router is cut, with what it carries")
def _(f):
    h = f.hosts
    if h is None:
        check(False, "there are no hosts")
    sessions = []
    for _ in range(4):
        s = h.connect("sender", "127.0.0.1", h.port)
        s.settimeout(10)
        s.sendall(b"hello")
        check(s.recv(5) == b"hello", "no session")
        sessions.append(s)
    begun = time.monotonic()
    h.admin("router", "disable", "r1")
    for s in sessions:
        check(reset(s, 5), "a session was not cut")
    took = time.monotonic() - begun
    check(took < 5, f"cut only after {took:.1f} s")
    saw(f"{len(sessions)} sessions cut {took:.2f} s after the order was given")
    until("the link to be gone", lambda: h.seen("r2").get("weft_router_routers") == 0, 5)
    time.sleep(1)  # the sender's file of revocations is written by then
    links = h.seen("r1")["weft_router_setups_total{result=\"no_host\"}"]
    done = h.run("weft", "dial", "echo", "--identity", h.path("echo-dial.json"), "--timeout", "4s", host="sender")
    check(done.code == UNREACHABLE, done)
    check(links == h.seen("r1")["weft_router_setups_total{result=\"no_host\"}"], "the sender dialed through it still:", done)
    saw(done.code, done.error)
    told = [json.loads(line) for line in h.admin("router", "list", "--json").out.splitlines()]
    check({row["name"]: row["state"] for row in told} == {"r1": "disabled", "r2": "active"}, told)
    saw("r1 says:", h.routers["r1"].said().splitlines()[-1][25:] if h.routers["r1"].said() else "")
    check(h.routers["r2"].running() and h.tunneler.running(), "the others ended")


main(Stage)
