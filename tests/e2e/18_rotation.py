#!/usr/bin/env python3
"""Authorities and keys rotated under live sessions: who follows, who is behind, and what --finish takes away."""

import json
import threading
import time

from e2e import (
    OK, Fabric, Tcp, check, echo, main, saw, socket, step, until,
)  # fmt: skip


class Session:
    """One connection through a proxy that echoes without a pause; counts, and never forgives."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.settimeout(30)
        self.bytes, self.failed, self.over = 0, None, False
        self.thread = threading.Thread(target=self.talk, daemon=True)
        self.thread.start()

    def talk(self):
        number = 0
        try:
            while not self.over:
                line = (f"{number:015d}\n").encode() * 16
                self.socket.sendall(line)
                got = b""
                while len(got) < len(line):
                    more = self.socket.recv(len(line) - len(got))
                    check(more, "the session ended")
                    got += more
                check(got == line, "other bytes came back")
                self.bytes += len(line)
                number += 1
                time.sleep(0.005)
        except Exception as e:  # noqa: BLE001
            self.failed = repr(e)

    def end(self):
        self.over = True
        self.thread.join(30)
        self.socket.close()
        check(self.failed is None, "a session failed:", self.failed)
        return self.bytes


class Stage(Fabric):
    def __init__(self):
        super().__init__(routers=2)
        self.home = self.path("controller")
        self.server = Tcp(echo)
        self.tunneler, self.dialer = self.serve("raw", self.server.port)
        self.proxied, self.port = self.proxy("raw", self.dialer)
        self.session = Session(self.port)
        until("bytes", lambda: self.session.bytes > 0)

    def rotate(self, *args, **more):
        return self.run("weft-controller", "rotate-ca", "--home", self.home, *args, **more)

    def status(self):
        return json.loads(self.admin("rotation", "status", "--json").out)

    def dials(self, identity=None):
        return self.weft("dial", "raw", "--identity", identity or self.dialer, stdin=b"x")

    def followed(self, *but):
        """Everybody, but for identities that nothing runs with."""
        status = self.status()
        self.behind = [row for row in status["behind"] if row["name"] not in but]
        return not status["taking_up"] and not self.behind

    def all_follow(self, *but):
        try:
            until("all who run to follow", lambda: self.followed("away", "admin", *but), 30, 0.3)
        except Exception:
            saw("behind:", self.behind)
            raise


def fine(fabric, *words):
    answer = fabric.dials()
    check(answer.code == OK and answer.out == "x", *words, answer)
    before = fabric.session.bytes
    until("more bytes", lambda: fabric.session.bytes > before)
    check(fabric.session.failed is None, fabric.session.failed)


@step("a token made before any rotation waits")
def _(fabric):
    fabric.admin("identity", "create", "early", "--token-out", fabric.path("early.jwt"))
    fabric.admin("allow", "early", "dial", "raw")
    fabric.admin("identity", "create", "away", "--token-out", fabric.path("away.jwt"))
    fabric.admin("allow", "away", "dial", "raw")
    fabric.enroll(fabric.path("away.jwt"))
    check(fabric.dials(fabric.path("away.json")).code == OK, "away dials")


@step("authorities of identities and routers, and the policy, audit and enrollment keys, under a live session")
def _(fabric):
    answer = fabric.rotate("--what", "identities,routers,controllers,policy,audit,enrollment")
    check(answer.code == OK, answer)
    check("taken it up" in answer.out, answer)
    check(fabric.status()["bundle_version"] == 2, fabric.status())
    fine(fabric, "a dial while it is taken up")
    until("the new keys", lambda: "are in use" in fabric.controller.said())
    fine(fabric, "a dial by the new keys")
    fabric.all_follow()
    fine(fabric, "after all have followed")


@step("--finish names how many are behind, and refuses")
def _(fabric):
    answer = fabric.rotate("--finish")
    check(answer.code != OK and "not followed" in answer.err, answer)
    check("away" in [row["name"] for row in fabric.status()["behind"]], fabric.status())


@step("a token made before the rotation enrolls, and its identity follows at once")
def _(fabric):
    early = fabric.enroll(fabric.path("early.jwt"))
    check(fabric.dials(early).code == OK, "early dials")
    check("early" not in [row["name"] for row in fabric.status()["behind"]], fabric.status())


@step("the root, under the same session; the old one goes with --finish")
def _(fabric):
    check(fabric.rotate("--finish", "--force").code == OK, "finish the first")
    fine(fabric, "after the older keys went")
    answer = fabric.rotate("--what", "root")
    check(answer.code == OK, answer)
    fabric.all_follow("early")
    fine(fabric, "under both roots")
    for identity in (fabric.admin_file, fabric.dialer, fabric.path("early.json")):
        check(fabric.weft("renew", "--identity", identity).code == OK, identity)
    check(fabric.rotate("--finish", "--force").code == OK, "finish the root")
    fine(fabric, "under the new root alone")
    status = fabric.status()
    check(status["bundle_version"] == 5 and not status["unfinished"], status)


@step("who was away for it all is cut off by the root's end, with one clear line")
def _(fabric):
    answer = fabric.dials(fabric.path("away.json"))
    check(answer.code != OK, answer)
    saw(answer.err.strip())


@step("offline: the controller down, rotated, and up again")
def _(fabric):
    fabric.controller.stop()
    answer = fabric.rotate("--what", "policy,identities")
    check(answer.code == OK, answer)
    fabric.start_controller()
    fabric.all_follow("early")
    fine(fabric, "after an offline rotation")


@step("not one byte was lost")
def _(fabric):
    saw(f"{fabric.session.end()} bytes echoed by the one session")


main(Stage)
