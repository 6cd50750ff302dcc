#!/usr/bin/env python3
"""Enrollment tokens: worth one identity, once, to whoever talks to the right controller; safe to retry."""

import base64
import contextlib
import json
import os
import shutil
import socket
import sqlite3
import ssl
import threading
import time

from e2e import (
    BUILD, CREDENTIAL, OK, USAGE, Fabric, Room, check, faked, free_port, listens, main, metrics, saw, step,
    until,
)  # fmt: skip

REDEEM = os.path.join(BUILD, "tests", "e2e", "redeem")


STORE = "weft.db"  # in the controller's home


class Gate:
    """Carries TCP to a controller. Answers wait a little when it is slow, and for ever while it is shut."""

    def __init__(self, to):
        self.port, self.to, self.slow, self.shut, self.bytes_up = free_port(), to, False, False, 0
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self.carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, False), daemon=True).start()

    def carry(self, source, sink, up):
        try:
            while data := source.recv(65536):
                if up:
                    self.bytes_up += len(data)
                elif self.slow:
                    time.sleep(0.3)
                    while self.shut:
                        time.sleep(0.05)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Stage(Fabric):
    """A fabric whose controller is reached through the gate."""

    def __init__(self):
        Room.__init__(self)
        self.control = free_port()
        self.gate = Gate(self.control)
        self.admin_file = self.path("admin.json")
        self.must(
            "weft-controller", "init", "--home", self.path("controller"), "--domain", "e2e.weft", "--address",
            f"127.0.0.1:{self.gate.port}", "--address", f"127.0.0.1:{self.control}", "--admin-out", self.admin_file,
        )  # fmt: skip
        self.metrics = free_port()
        self.listen = ("--listen", f"127.0.0.1:{self.control}", "--metrics", f"127.0.0.1:{self.metrics}")
        self.start_controller(*self.listen)

    def token(self, name, *args):
        path = self.path(f"{name}.jwt")
        self.admin("identity", "create", name, "--token-out", path, *args, "--controller", f"127.0.0.1:{self.control}")
        return path

    def issued(self):
        """The leaves that tokens were redeemed for, read from a copy: the store is the controller's alone."""
        copy = self.path("copy.db")
        for end in ("", "-wal"):
            if os.path.exists(self.path("controller", STORE + end)):
                shutil.copy(self.path("controller", STORE + end), copy + end)
        with contextlib.closing(sqlite3.connect(copy)) as db:
            leaves = [leaf_in(row[0].decode()) for row in db.execute("SELECT chain FROM token WHERE redeemed > 0")]
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(copy + end)
        return leaves

    def redeemed(self):
        return metrics(self.metrics)["weft_controller_enrollments_total"]

    def enroll_torn(self, name):
        """Begins to enroll, and returns the client at the moment when its token is spent and the answer on its way."""
        token = self.token(name)
        before = self.redeemed()
        self.gate.slow = True
        client = self.start(name, "weft", "enroll", token)
        until("the token to be spent", lambda: self.redeemed() > before, pause=0.01)
        self.gate.shut = True
        self.gate.slow = True
        time.sleep(0.5)
        check(client.running() and not os.path.exists(self.path(f"{name}.json")), "the answer came before the gate was shut")
        return token, client

    def open_gate(self):
        self.gate.shut = self.gate.slow = False


def refused(done, status, word):
    check(done.code == status and word in done.error and len(done.err.strip().splitlines()) == 1, word, done)
    saw(done.code, done.error)


def leaf_in(pem):
    """The DER of the first certificate in a PEM text."""
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN") : pem.index(end) + len(end)])


def leaf_of(path):
    """The DER of the leaf in an identity file."""
    with open(path, encoding="utf-8") as f:
        return leaf_in(json.load(f)["certificate"])


def part(token, index):
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def sealed(header, claims, signature):
    def encode(x):
        return base64.urlsafe_b64encode(json.dumps(x, separators=(",", ":")).encode()).rstrip(b"=").decode()

    return ".".join((encode(header), encode(claims), signature))


@step("a token works once")
def _(f):
    token = f.token("once")
    with open(token, encoding="utf-8") as file:
        claims = part(file.read(), 1)
    saw({key: claims[key] for key in ("iss", "em", "ctrl", "name")})
    for key in ("iss", "sub", "jti", "exp", "em", "ctrl", "spki", "bundle"):
        check(key in claims, key, "is missing")
    check(f.weft("enroll", token).code == OK, "the first time")
    refused(f.weft("enroll", token, "--out", f.path("twice.json")), CREDENTIAL, "already used")
    check(not os.path.exists(f.path("twice.json")), "a refused enrollment wrote an identity")
    for name in (STORE, STORE + "-wal"):
        with open(f.path("controller", name), "rb") as db:
            content = db.read()
        jti = claims["jti"]
        check(jti.encode() not in content and bytes.fromhex(jti) not in content, "it keeps the jti itself")


@step("reissue makes the old one worthless, and the new one good")
def _(f):
    old = f.token("again")
    new = f.path("again-2.jwt")
    f.admin("identity", "reissue", "again", "--token-out", new, "--controller", f"127.0.0.1:{f.control}")
    refused(f.weft("enroll", old, "--out", f.path("again.json")), CREDENTIAL, "")
    check(f.weft("enroll", new, "--out", f.path("again.json")).code == OK, "the new one")


@step("an expired token is refused by the controller, whatever the client's clock says")
def _(f):
    token = f.token("late", "--token-life", "1s")
    time.sleep(1.2)
    refused(f.weft("enroll", token), CREDENTIAL, "expired")
    refused(f.weft("enroll", token, env=faked("-1h")), CREDENTIAL, "expired")
    f.token("soon", "--token-life", "10m")
    f.controller.stop()
    late = f.start("controller-late", "weft-controller", "run", "--home", f.path("controller"), *f.listen, env=faked("+11m"))
    until("the controller", lambda: listens(f.control))
    refused(f.weft("enroll", f.path("soon.jwt")), CREDENTIAL, "expired")
    late.stop()
    f.start_controller(*f.listen)
    for name in os.listdir(f.folder):
        check(not name.startswith(("late.json", "soon.json")), "left:", name)


@step("an altered token is refused")
def _(f):
    with open(f.token("altered"), encoding="utf-8") as file:
        good = file.read().strip()
    header, claims, signature = part(good, 0), part(good, 1), good.split(".")[2]
    flipped = base64.urlsafe_b64decode(signature + "==")
    flipped = base64.urlsafe_b64encode(bytes([flipped[0] ^ 1]) + flipped[1:]).rstrip(b"=").decode()
    tries = {
        "alg none": sealed({"alg": "none", "typ": "JWT"}, claims, ""),
        "alg HS256": sealed({"alg": "HS256", "typ": "JWT"}, claims, signature),
        "a kid": sealed({**header, "kid": "x"}, claims, signature),
        "a jku": sealed({**header, "jku": "http://127.0.0.1/"}, claims, signature),
        "another name": sealed(header, {**claims, "name": "admin"}, signature),
        "another subject": sealed(header, {**claims, "sub": claims["sub"][:-1] + ("0" if claims["sub"][-1] != "0" else "1")}, signature),
        "a later end": sealed(header, {**claims, "exp": claims["exp"] + 86400}, signature),
        "another jti": sealed(header, {**claims, "jti": "5" * 32}, signature),
        "an empty pin list": sealed(header, {**claims, "spki": []}, signature),
        "one more claim": sealed(header, {**claims, "admin": True}, signature),
        "a flipped signature": good.rsplit(".", 1)[0] + "." + flipped,
        "no signature": good.rsplit(".", 1)[0] + ".",
        "cut short": good[:-20],
        "doubled": good + good,
        "padded": good + "==",
        "four parts": good + ".e30",
    }
    for what, token in tries.items():
        path = f.write("bad.jwt", token)
        done = f.weft("enroll", path)
        check(done.code == CREDENTIAL and len(done.err.strip().splitlines()) == 1, what, done)
        check(not os.path.exists(f.path("bad.json")), what, "made an identity")
        saw(f"{what}: {done.error}")
        check(not [name for name in os.listdir(f.folder) if name.startswith("bad.json")], what, "left a file")
    check(f.weft("enroll", f.path("altered.jwt")).code == OK, "the good one must still be good")


@step("a controller with another key learns nothing")
def _(f):
    token = f.token("pinned")
    f.controller.stop()
    other = f.path("other")
    f.must("weft-controller", "init", "--home", other, "--domain", "e2e.weft", "--address", f"127.0.0.1:{f.control}")
    impostor = f.start("impostor", "weft-controller", "run", "--home", other, "--log-level", "debug")
    until("the impostor", lambda: listens(f.control))
    sent = f.gate.bytes_up
    done = f.weft("enroll", token)
    refused(done, CREDENTIAL, "")
    sent = f.gate.bytes_up - sent
    saw(f"{sent} bytes went to it, through the gate")
    check(not os.path.exists(f.path("pinned.json")), "it wrote an identity")
    check("pinned" not in impostor.said() and "enroll" not in impostor.said().replace("an enrollee", ""), impostor.said())
    impostor.stop()
    f.start_controller(*f.listen)
    check(f.weft("enroll", token).code == OK, "the right one must take it")


@step("a token for one kind makes no other")
def _(f):
    refused(f.run("weft-router", "enroll", f.token("ident"), "--home", f.path("r8")), USAGE, "not a router")
    token = f.path("r9.jwt")
    f.admin("router", "create", "r9", "--token-out", token, "--controller", f"127.0.0.1:{f.control}")
    refused(f.weft("enroll", token), USAGE, "not an identity")
    check(f.weft("enroll", f.path("ident.jwt")).code == OK, "trying it on the wrong side must not spend it")


@step("killed between request and answer, and retried: the same certificate")
def _(f):
    token, client = f.enroll_torn("torn")
    client.kill()
    pending = f.path("torn.json.pending")
    check(os.path.exists(pending), "the key was not saved before it was used")
    check(os.stat(pending).st_mode & 0o777 == 0o600, "the saved key is open to others")
    with open(pending, "rb") as file:
        saved = file.read()
    f.open_gate()
    done = f.weft("enroll", token)
    check(done.code == OK, "the retry", done)
    check(not os.path.exists(pending), "the pending key was left")
    leaf = leaf_of(f.path("torn.json"))
    check(leaf in f.issued(), "it is another one than the controller has stored")
    # and once more, with the same key
    os.rename(f.path("torn.json"), f.path("torn-first.json"))
    with open(pending, "wb") as file:
        file.write(saved)
    os.chmod(pending, 0o600)
    check(f.weft("enroll", token).code == OK, "a third time with the same key")
    check(leaf_of(f.path("torn.json")) == leaf, "another certificate")
    saw("three answers, one certificate of", len(leaf), "bytes")
    # another key gets nothing
    refused(f.weft("enroll", token, "--out", f.path("thief.json")), CREDENTIAL, "already used")
    # neither does this one when the ten minutes are over
    os.rename(f.path("torn.json"), f.path("torn-second.json"))
    with open(pending, "wb") as file:
        file.write(saved)
    os.chmod(pending, 0o600)
    f.controller.stop()
    f.start("controller-late", "weft-controller", "run", "--home", f.path("controller"), *f.listen, env=faked("+11m"))
    until("the controller", lambda: listens(f.control))
    refused(f.weft("enroll", token), CREDENTIAL, "already used")
    f.processes[-1].stop()
    f.start_controller(*f.listen)


@step("the controller killed between request and answer: the retry succeeds")
def _(f):
    token, client = f.enroll_torn("crash")
    f.controller.kill()
    client.kill()
    f.open_gate()
    retry = f.start("retry", "weft", "enroll", token)
    time.sleep(0.5)
    check(retry.running(), "it gave up at once:", retry.said())
    f.start_controller(*f.listen)
    check(retry.wait(30) == 0, "after the controller's restart:", retry.said())
    check(leaf_of(f.path("crash.json")) in f.issued(), "not what was stored")


@step("1,000 redeem one token at once: exactly one wins")
def _(f):
    token = f.token("crowd")
    os.mkdir(f.path("crowd"))
    before, redeemed = f.controller.rss(), f.redeemed()
    done = f.must(REDEEM, token, 1000, f.path("crowd"), timeout=140)
    counts = {line.split()[1]: int(line.split()[0]) for line in done.out.splitlines()}
    files = [name for name in os.listdir(f.path("crowd")) if name.endswith(".json")]
    saw(counts, f"in {done.seconds:.1f} s; files:", len(files))
    check(counts == {"WEFT_OK": 1, "WEFT_EUSED": 999}, done)
    check(len(files) == 1, "identity files:", len(files))
    left = [name for name in os.listdir(f.path("crowd")) if ".pending" in name]
    check(not left, "keys left behind:", left[:5])
    saw(f"the controller's memory went from {before >> 20} to {f.controller.rss() >> 20} MiB")
    check(f.redeemed() - redeemed == 1, "the controller counts", f.redeemed() - redeemed)
    f.must("weft", "identity", "show", "crowd", "--identity", f.admin_file)


main(Stage)
