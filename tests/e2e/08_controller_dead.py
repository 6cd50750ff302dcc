#!/usr/bin/env python3
"""The controller killed with -9: what goes on without it, what says that it can't, and what is there when it returns."""

import contextlib
import os
import shutil
import threading
import time

from e2e import (
    CREDENTIAL, OK, POLICY, UNREACHABLE, Fabric, Tcp, Web, check, drain, echo, json_lines, main, saw, socket, step, until,
)  # fmt: skip


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), 20)
    s.settimeout(20)
    return s


def says(connection, data):
    connection.sendall(data)
    return connection.recv(100) == data


def leads(port):
    with contextlib.suppress(OSError), connect(port) as s:
        return says(s, b"hello")
    return False


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.server = Tcp(echo)
        self.web = Web()
        self.tunneler, self.dialer = self.serve("raw", self.server.port)
        self.proxied, self.port = self.proxy("raw", self.dialer)
        self.web_tunneler, self.web_dialer = self.serve("web", self.web.port)
        for name in ("withdrawn", "cut"):
            self.admin("identity", "create", name, "--token-out", self.path(f"{name}.jwt"))
            self.enroll(self.path(f"{name}.jwt"))
            self.admin("allow", name, "dial", "web")
            check(self.post("web", "/", self.path(f"{name}.json")).code == OK, name)
        check(self.post("web", "/", self.web_dialer).code == OK, "the first post")
        check(self.weft("dial", "raw", "--identity", self.dialer, stdin=b"x").out == "x", "the first dial")
        shutil.copytree(self.path("state"), self.path("old-state"))  # as it was before anything was taken back
        self.admin("identity", "create", "new", "--token-out", self.path("new.jwt"))
        self.admin("identity", "create", "empty", "--token-out", self.path("empty.jwt"))
        self.enroll(self.path("empty.jwt"))
        self.admin("allow", "empty", "dial", "web")
        self.admin("identity", "create", "ci", "--token-out", self.path("ci.jwt"))
        self.admin("allow", "ci", "dial", "web")
        self.must("weft", "enroll", self.path("ci.jwt"), "--carry", "30d", "--service", "web")
        self.admin("disallow", "withdrawn", "dial", "web")
        self.admin("identity", "disable", "cut")
        for name in ("withdrawn", "cut"):
            until(f"{name} to be refused", lambda: self.post("web", "/", self.path(f"{name}.json")).code != OK)
        self.session = connect(self.port)
        check(says(self.session, b"while it lives"), "a session")

    def with_old_files(self, name):
        """What comes of a post by somebody who kept the files of before, grant and all, and nothing newer."""
        shutil.rmtree(self.path("kept"), ignore_errors=True)
        shutil.copytree(self.path("old-state"), self.path("kept"))
        return self.post("web", "/", self.path(f"{name}.json"), env={"XDG_STATE_HOME": self.path("kept")})

    def forget(self):
        """What endpoints keep between runs is gone."""
        shutil.rmtree(self.path("state"), ignore_errors=True)


@step("an open session goes on, and new ones begin, within the same programs")
def _(f):
    f.controller.kill()
    for i in range(3):
        check(says(f.session, b"dead, %d" % i), "the session that was open")
        with connect(f.port) as s:
            check(says(s, b"new, %d" % i), "a new one")
        time.sleep(0.3)
    data = os.urandom(5 << 20)
    with connect(f.port) as s:
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        check(drain(s) == data, "5 MiB through a new one")
        sender.join()
    saw("one session of before, four of after, 5 MiB")


@step("fresh processes dial with the grants that they have kept")
def _(f):
    for _ in range(3):
        done = f.post("web", "/", f.web_dialer)
        check(done.code == OK and done.seconds < 5, done)
    done = f.weft("dial", "raw", "--identity", f.dialer, stdin=b"hello")
    check(done.code == OK and done.out == "hello", done)
    saw(f"a post takes {f.post('web', '/', f.web_dialer).seconds * 1000:.0f} ms, without a controller")


@step("refusals hold: withdrawn, disabled, never allowed")
def _(f):
    done = f.post("web", "/", f.path("withdrawn.json"))
    check(done.code == UNREACHABLE and "no grant for web at hand" in done.error, done)
    saw(done.code, done.error)
    done = f.post("web", "/", f.path("cut.json"))
    check(done.code == CREDENTIAL, done)
    saw(done.code, done.error)
    # whoever kept the files of before shows a grant, and the router knows better
    for name in ("withdrawn", "cut"):
        done = f.with_old_files(name)
        check(done.code in (POLICY, CREDENTIAL), done)
        saw("with the files of before:", done.code, done.error)
    done = f.post("raw", "/", f.web_dialer)
    check(done.code == UNREACHABLE and "no grant for raw at hand, and the controller" in done.error, done)
    saw(done.code, done.error)


@step("an identity that carries its grants needs nothing but a router, not even a home")
def _(f):
    f.forget()
    done = f.post("web", "/", f.path("ci.json"))
    check(done.code == OK, done)
    with open(f.path("ci.json"), encoding="utf-8") as file:
        text = file.read()
    f.forget()
    env = {"WEFT_IDENTITY": text, "HOME": "/nonexistent", "XDG_STATE_HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    done = f.weft("post", "web", "/", "--data", "x", env=env)
    check(done.code == OK, done)
    saw(f"as a CI job would, from {len(text)} bytes in a variable: {done.seconds * 1000:.0f} ms; said: {done.err!r}")
    check(len(text) < 48 * 1024, "too large for a secret")
    done = f.post("raw", "/", f.path("ci.json"))
    check(done.code == UNREACHABLE, "a service that it does not carry:", done)


@step("what can't be done says so, and what to do")
def _(f):
    done = f.post("web", "/", f.path("empty.json"))  # never asked for a grant before
    check(done.code == UNREACHABLE and "controller" in done.error and done.seconds < 5, done)
    saw(done.error)
    for words in (["enroll", f.path("new.jwt")], ["renew", "--identity", f.dialer], ["identity", "list", "--identity", f.admin_file]):
        done = f.weft(*words)
        check(done.code == UNREACHABLE and "connection refused" in done.error and done.seconds < 10, done)
        saw(done.error)
    done = f.weft("status", "--json", "--identity", f.path("ci.json"))
    status = json_lines(done.out)[0]
    check(done.code == OK and status["controller"] == "WEFT_EUNREACHABLE", done)
    check(status["routers"][0]["state"] == "WEFT_OK" and status["services"] == [{"name": "web", "dial": "WEFT_OK"}], status)
    saw("status:", {key: status[key] for key in ("controller", "routers", "services")})
    done = f.weft("doctor", "--identity", f.path("ci.json"))
    check(done.code != OK and "BAD   controller" in done.out, done)
    check("sessions and cached grants go on without it" in done.out, "doctor says not what that means:", done.out)


@step("a restarted router goes on from its own files: binds, dials and refusals")
def _(f):
    for how in ("kill", "stop"):
        getattr(f.routers["r1"], how)()
        check(f.post("web", "/", f.path("ci.json")).code == UNREACHABLE, "without any router")
        f.start_router("r1")
        until("the hosts to bind again", lambda: f.post("web", "/", f.path("ci.json")).code == OK, 20)
        until("the proxy to lead there", lambda: leads(f.port), 20)
        for name in ("withdrawn", "cut"):
            done = f.with_old_files(name)
            check(done.code in (POLICY, CREDENTIAL), done)
        saw(f"after {how}: hosts bound, dials open, the withdrawn and the disabled refused")
    f.session.close()


@step("a restarted tunneler hosts and dials with what it has kept")
def _(f):
    # what the first start keeps was thrown away above: have it again, then lose the controller again
    f.start_controller()
    f.tunneler.stop()
    f.proxied.stop()
    tunneler = f.host("raw", f.server.port, f.path("raw-host.json"), name="tunneler-1")
    proxied, port = f.proxy("raw", f.dialer, name="proxy-1")
    with connect(port) as s:
        check(says(s, b"one"), "with a controller")
    f.controller.kill()
    tunneler.stop()
    proxied.stop()
    f.host("raw", f.server.port, f.path("raw-host.json"), name="tunneler-2")
    _, port = f.proxy("raw", f.dialer, name="proxy-2")
    with connect(port) as s:
        check(says(s, b"two"), "without one")
    saw("both sides restarted without a controller")


@step("the controller returns: everything is as it was, and changes arrive")
def _(f):
    f.start_controller()
    check({row["name"] for row in json_lines(f.admin("service", "list", "--json").out)} == {"raw", "web"}, "services")
    check(f.weft("enroll", f.path("new.jwt")).code == OK, "enrolling")
    check(f.post("web", "/", f.path("empty.json")).code == OK, "a first grant")
    begun = time.monotonic()
    f.admin("identity", "enable", "cut")
    until("the enabled one to be let in", lambda: f.post("web", "/", f.path("cut.json")).code == OK, 40)
    saw(f"the router took the news {time.monotonic() - begun:.1f} s later")
    f.admin("identity", "disable", "ci")
    until("the carrier to be refused", lambda: f.post("web", "/", f.path("ci.json")).code == CREDENTIAL, 10)


@step("killed with -9 while it is written to: nothing that was acknowledged is lost")
def _(f):
    acknowledged, stop = [], threading.Event()

    def write(who):
        number = 0
        while not stop.is_set():
            name = f"w{who}-{number}"
            if f.weft("service", "create", name, "--identity", f.admin_file).code == OK:
                acknowledged.append(name)
            number += 1

    for _ in range(3):
        stop.clear()
        before = len(acknowledged)
        writers = [threading.Thread(target=write, args=(f"{before}-{i}",)) for i in range(3)]
        for writer in writers:
            writer.start()
        until("some writes", lambda: len(acknowledged) > before + 5, 30)
        f.controller.kill()
        stop.set()
        for writer in writers:
            writer.join()
        f.must("weft-controller", "check-config", "--home", f.path("controller"))
        f.start_controller()
    names = {row["name"] for row in json_lines(f.admin("service", "list", "--json").out)}
    lost = [name for name in acknowledged if name not in names]
    check(not lost, "lost:", lost)
    saw(len(acknowledged), "acknowledged writes over three kills, all there")


main(Stage)
