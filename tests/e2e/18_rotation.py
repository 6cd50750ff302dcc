#!/usr/bin/env python3
"""Authorities and keys rotated under live sessions: who follows, who is behind, and what --finish takes away."""

import json
import os
import shutil
import threading
import time

from e2e import (
    CREDENTIAL, OK, Fabric, Tcp, check, echo, main, saw, socket, step, until,
)  # fmt: skip


CROWD = 200 if os.environ.get("WEFT_FULL") else 6


class Session:
    """One connection through a proxy that echoes without a pause; counts, and never forgives."""

    def __init__(self, port, pause=0.005):
        self.pause = pause
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
                time.sleep(self.pause)
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
    for _ in range(20):  # at no moment is there a controller that an administrator's file doesn't believe
        fabric.admin("identity", "show", "early")
        time.sleep(0.15)
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


@step("--finish says how many tokens it voids; the audit log has each rotation, the offline one too")
def _(fabric):
    check(fabric.rotate("--finish", "--force").code == OK, "finish the offline one")
    token = fabric.path("voided.jwt")
    fabric.admin("identity", "create", "voided", "--token-out", token)
    check(fabric.rotate("--what", "enrollment").code == OK, "the enrollment key")
    until("the new key", lambda: not fabric.status()["taking_up"])
    answer = fabric.rotate("--finish", "--force")
    check(answer.code == OK and "1 enrollment token is void" in answer.out, answer)
    check(fabric.weft("enroll", token, "--out", fabric.path("voided.json")).code == CREDENTIAL, "it is void")
    until("it to be taken up", lambda: not fabric.status()["taking_up"])
    tail = fabric.admin("audit", "tail", "--n", "200", "--json").out
    rows = [json.loads(line) for line in tail.splitlines()]
    rows = [(row["what"], row["version"], row.get("count", 0)) for row in rows if row["event"] == "rotation"]
    saw(rows)
    check([what for what, _, _ in rows] == [
        "identities,routers,controllers,policy,audit,enrollment", "--finish --force", "root", "--finish --force",
        "identities,policy", "--finish --force", "enrollment", "--finish --force"], rows)  # fmt: skip
    check([version for _, version, _ in rows] == list(range(2, 10)) and rows[-1][2] == 1, rows)


@step("a crowd rotates while each of it has a session")
def _(fabric):
    fabric.admin("allow", "role:crowd", "dial", "raw")
    files, sessions, dials, failed, over = [], [], [0], [], []
    for i in range(CROWD):
        token = fabric.path(f"crowd-{i}.jwt")
        fabric.admin("identity", "create", f"crowd-{i}", "--roles", "crowd", "--token-out", token)
        files.append(fabric.enroll(token))
        _, port = fabric.proxy("raw", files[-1], name=f"crowd-{i}")
        sessions.append(Session(port, 0.05))

    def dial():
        while not over:
            answer = fabric.dials(files[dials[0] % CROWD])
            dials[0] += 1
            if answer.code != OK:
                failed.append(answer)

    dialer = threading.Thread(target=dial, daemon=True)
    dialer.start()
    try:
        check(fabric.rotate("--what", "identities,policy").code == OK, "rotate")
        old = fabric.path("old.json")
        changed = renewed = 0
        for i, file in enumerate(files):
            if i % 3 == 0:
                if i == 0:
                    shutil.copy(file, old)
                answer = fabric.weft("renew", "--new-key", "--identity", file)
                changed += 1
            else:
                answer = fabric.weft("renew", "--identity", file)
                renewed += 1
            check(answer.code == OK, answer)
        fabric.all_follow("early")
    finally:
        over.append(True)
        dialer.join(60)
    total = sum(session.end() for session in sessions)
    check(not failed, f"{len(failed)} of {dials[0]} dials failed:", failed[:1])
    saw(f"{CROWD} identities, {CROWD} sessions: {renewed} renewed, {changed} changed their key, all followed an "
        f"authority and a policy key; {dials[0]} dials, 0 failed; {total} bytes echoed, 0 lost")
    answer = fabric.weft("renew", "--retire", "--identity", files[0])
    check(answer.code == OK, answer)
    check(fabric.dials(files[0]).code == OK, "the new key dials")
    until("the old key's end", lambda: fabric.dials(old).code == CREDENTIAL, 10, 0.3)


@step("not one byte was lost")
def _(fabric):
    saw(f"{fabric.session.end()} bytes echoed by the one session")


@step("a router that enrolled anew has another key: who ran all the while links again, and the controller refuses the old home")
def _(fabric):
    at = f"127.0.0.1:{fabric.ports['r2']}"
    before = len(fabric.tunneler.said())
    fabric.routers["r2"].stop()
    fabric.admin("router", "reissue", "r2", "--token-out", fabric.path("r2-again.jwt"))
    fabric.must(
        "weft-router", "enroll", fabric.path("r2-again.jwt"), "--home", fabric.path("r2-again"), "--listen", at,
        "--advertise", at,
    )  # fmt: skip
    again = fabric.start("r2-again", "weft-router", "run", "--home", fabric.path("r2-again"))
    until("r2 again", lambda: fabric.up(again, fabric.ports["r2"]))
    until("r1 and r2 to link", lambda: "linked with router r1" in again.said(), 20, 0.3)
    old = fabric.start("r2-old", "weft-router", "run", "--home", fabric.path("r2"), "--listen", "127.0.0.1:0")
    old.says("we are disabled or our key is revoked")
    old.stop()
    until("the tunneler to bind there", lambda: "bound on 2 routers" in fabric.tunneler.said()[before:], 20, 0.3)
    fabric.routers["r1"].stop()  # the one that the dialer's files know rightly
    answer = fabric.dials()
    check(answer.code == OK and answer.out == "x", "a dial by files that know r2's old key:", answer)


main(Stage)
