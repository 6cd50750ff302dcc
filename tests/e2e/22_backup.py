#!/usr/bin/env python3
"""A backup while the controller works, a restore to the byte, and what was withdrawn since stays withdrawn."""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import threading

from e2e import CREDENTIAL, FAILED, OK, POLICY, Fabric, Web, check, main, saw, step, until

IDENTITIES = 60


def dump(folder, without=()):
    """All that the store holds, as text. A copy is read, so that the file itself stays as it is."""
    with tempfile.TemporaryDirectory() as room:
        for name in ("weft.db", "weft.db-wal"):
            if os.path.exists(os.path.join(folder, name)):
                shutil.copy(os.path.join(folder, name), room)
        with contextlib.closing(sqlite3.connect(os.path.join(room, "weft.db"))) as db:
            return "\n".join(line for line in db.iterdump() if not line.startswith(tuple(f'INSERT INTO "{t}' for t in without)))


def keys(folder):
    return {
        name: open(os.path.join(folder, name), "rb").read()
        for name in sorted(os.listdir(folder))
        if name.endswith((".key", ".pem")) or name.startswith("trust-bundle")
        if name != "seal.key"
    }


class Backups(Fabric):
    def __init__(self):
        super().__init__(routers=1)
        self.web = Web()
        self.home = self.path("controller")
        self.tunneler, self.dialer = self.serve("web", self.web.port)

    def backup(self, name, **more):
        return self.weft("backup", self.path(name), "--identity", self.admin_file, **more)

    def restore(self, source, home, *args):
        return self.run("weft-controller", "restore", "--home", self.path(home), "--from", self.path(source), *args)


@step("a backup is made while the controller is used, and holds no seal key and no key in clear")
def _(fabric):
    stop, made = threading.Event(), []

    def use():
        while not stop.is_set() and len(made) < IDENTITIES:
            fabric.admin("identity", "create", f"busy-{len(made)}")
            made.append(1)

    thread = threading.Thread(target=use)
    thread.start()
    until("the first identities", lambda: len(made) > 2)
    done = fabric.backup("monday")
    check(done.code == OK, done)
    during = len(made)
    stop.set()
    thread.join()
    check("seal.key" in done.err and "not in this backup" in done.err, done)
    saw(done.err.strip().splitlines()[0])
    names = set(os.listdir(fabric.path("monday")))
    check({"weft.db", "seal", "manifest.json", "manifest.sealed", "policy.key", "root.key", "trust-bundle"} <= names, names)
    check(not names & {"seal.key", "root-passphrase", "admin.json"}, names)
    for name in names:
        check(b"BEGIN PRIVATE KEY" not in open(fabric.path("monday", name), "rb").read(), f"{name} holds a key in clear")
    check(not os.path.exists(os.path.join(fabric.home, "backup.tmp")), "the copy lies about")
    with contextlib.closing(sqlite3.connect(fabric.path("monday", "weft.db"))) as db:
        check(db.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the copy isn't sound")
        there = db.execute("SELECT count(*) FROM node WHERE name LIKE 'busy-%'").fetchone()[0]
    saw(f"{there} of {during} identities that were made meanwhile are in it, {len(names)} files")
    fabric.monday = names


@step("an existing folder, a stranger and a delegate get no backup")
def _(fabric):
    done = fabric.backup("monday")
    check(done.code == FAILED and "is there already" in done.error, done)
    done = fabric.weft("backup", fabric.path("mine"), "--identity", fabric.dialer)
    check(done.code == POLICY, done)
    check(not os.path.exists(fabric.path("mine")) and not [n for n in os.listdir(fabric.folder) if ".new-" in n], "leftovers")
    saw(done.error)


@step("what was backed up is restored to the byte: the store's content and every key")
def _(fabric):
    done = fabric.backup("tuesday")
    check(done.code == OK, done)
    fabric.controller.kill()
    seal = fabric.path("controller", "seal.key")
    done = fabric.restore("tuesday", "restored")
    check(done.code == CREDENTIAL and "--seal-key" in done.error, done)
    saw(done.error)
    done = fabric.restore("tuesday", "restored", "--seal-key", f"file:{seal}")
    check(done.code == OK, done)
    check(dump(fabric.path("tuesday")) == dump(fabric.path("restored")), "the store isn't the backup's")
    # Only the log may have gone on between the backup and the end.
    log = ("audit", "checkpoint")
    check(dump(fabric.home, log) == dump(fabric.path("restored"), log), "the stores differ")
    check(keys(fabric.home) == keys(fabric.path("restored")), "the keys differ")
    saw(f"{len(dump(fabric.home))} bytes of SQL and {len(keys(fabric.home))} files are equal")
    check(os.stat(fabric.path("restored")).st_mode & 0o777 == 0o700, "the home is open")
    done = fabric.restore("tuesday", "restored", "--seal-key", f"file:{seal}")
    check(done.code == FAILED and "is there already" in done.error, done)
    wrong = fabric.write("wrong.key", os.urandom(32))
    done = fabric.restore("tuesday", "wrong", "--seal-key", f"file:{wrong}")
    check(done.code == CREDENTIAL and not os.path.exists(fabric.path("wrong")), done)
    saw(done.error)


@step("a backup that is cut short, altered or half written is refused in one line, and nothing is left")
def _(fabric):
    seal = f"file:{fabric.path('controller', 'seal.key')}"

    def damaged(how):
        shutil.rmtree(fabric.path("bad"), ignore_errors=True)
        shutil.copytree(fabric.path("tuesday"), fabric.path("bad"))
        how(lambda name: fabric.path("bad", name))
        done = fabric.restore("bad", "never", "--seal-key", seal)
        check(done.code == CREDENTIAL and len(done.err.strip().splitlines()) == 1, how, done)
        check(not [n for n in os.listdir(fabric.folder) if n.startswith("never")], "leftovers")
        saw(done.error.split("backup: ")[-1])

    def flip(path, at=-1):
        data = bytearray(open(path, "rb").read())
        data[at] ^= 1
        open(path, "wb").write(data)

    def replaced(at):
        # Altered with its digest made to fit: the seal alone tells.
        manifest = open(at("manifest.json"), encoding="utf-8").read()
        open(at("manifest.json"), "w", encoding="utf-8").write(manifest.replace('"created_ms": 1', '"created_ms": 2'))

    damaged(lambda at: flip(at("weft.db"), 5000))
    damaged(lambda at: os.truncate(at("weft.db"), os.path.getsize(at("weft.db")) - 4096))
    damaged(lambda at: open(at("weft.db"), "ab").write(b"x"))
    damaged(lambda at: flip(at("policy.key")))
    damaged(lambda at: flip(at("seal")))
    damaged(lambda at: flip(at("manifest.sealed")))
    damaged(lambda at: os.truncate(at("manifest.json"), 100))
    damaged(lambda at: os.remove(at("manifest.json")))
    damaged(lambda at: os.remove(at("manifest.sealed")))
    damaged(lambda at: os.remove(at("trust-bundle")))
    damaged(replaced)


@step("an older backup runs again, and what was withdrawn after it stays withdrawn")
def _(fabric):
    there = fabric.routers["r1"].said().count("the controller is there")
    fabric.start_controller()
    until("the router to come back", lambda: fabric.routers["r1"].said().count("the controller is there") > there, 45)
    done = fabric.post("web", "/", fabric.dialer, "--data", "x")
    check(done.code == OK, done)
    done = fabric.backup("wednesday")
    check(done.code == OK, done)
    name = json.load(open(fabric.dialer, encoding="utf-8"))["name"]
    fabric.admin("identity", "disable", name)
    done = until("the withdrawal", lambda: (d := fabric.post("web", "/", fabric.dialer, "--data", "x")).code == CREDENTIAL and d)
    saw(done.error)
    fabric.controller.stop()
    done = fabric.restore("wednesday", "older", "--seal-key", f"file:{fabric.path('controller', 'seal.key')}")
    check(done.code == OK, done)
    shutil.move(fabric.home, fabric.path("former"))
    shutil.move(fabric.path("former", "seal.key"), fabric.path("seal.key"))
    shutil.move(fabric.path("older"), fabric.home)
    fabric.controller = fabric.start(
        "controller", "weft-controller", "run", "--home", fabric.home, "--seal-key", f"file:{fabric.path('seal.key')}"
    )
    until("the controller", lambda: fabric.up(fabric.controller, fabric.control))
    until("the floors to come back", lambda: json.loads(fabric.admin("identity", "show", name, "--json").out)["state"] == "disabled", 45)
    done = fabric.post("web", "/", fabric.dialer, "--data", "x")
    check(done.code == CREDENTIAL, done)
    fabric.admin("identity", "create", "after")
    saw("the restored controller learned from the router that", name, "is disabled")


main(Backups)
