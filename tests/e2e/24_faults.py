#!/usr/bin/env python3
"""The controller under load is killed again and again, and its disk fails in each way: what was acknowledged is there.

WEFT_KILLS says how often it is killed (or WEFT_FULL=1: 200; else 4).
"""

import contextlib
import os
import random
import re
import sqlite3
import threading
import time

from e2e import BUILD, FAILED, OK, UNREACHABLE, Fabric, check, json_lines, main, preload, saw, step, until

KILLS = int(os.environ.get("WEFT_KILLS", "200" if os.environ.get("WEFT_FULL") else "4"))
DISK = os.environ.get("WEFT_DISK", os.path.join(BUILD, "tests", "e2e", "libdisk.so"))
WRITERS = 3


class Stage(Fabric):
    def __init__(self):
        self.disk = {}
        super().__init__(routers=0)
        self.acknowledged, self.tried, self.enrolled = [], 0, []

    def start_controller(self, *args):
        process = self.start("controller", "weft-controller", "run", "--home", self.path("controller"), *args, env=self.disk)
        self.controller = process
        until("the controller", lambda: self.up(process, self.control))
        return process

    def create(self, name):
        self.tried += 1
        done = self.weft("service", "create", name, "--identity", self.admin_file)
        if done.code == OK:
            self.acknowledged.append(name)
        return done

    def enroll_one(self, name):
        """An identity that was created and enrolled, both acknowledged."""
        token = self.path(f"{name}.jwt")
        if self.weft("identity", "create", name, "--token-out", token, "--identity", self.admin_file).code == OK:
            if self.weft("enroll", token, "--out", self.path(f"{name}.json")).code == OK:
                self.enrolled.append(name)

    def whole(self):
        """What was acknowledged is there, and the store is in order."""
        names = {row["name"] for row in json_lines(self.admin("service", "list", "--json").out)}
        lost = [name for name in self.acknowledged if name not in names]
        check(not lost, "lost:", lost[:10])
        states = {row["name"]: row["state"] for row in json_lines(self.admin("identity", "list", "--json").out)}
        lost = [name for name in self.enrolled if states.get(name) != "active"]
        check(not lost, "enrolled, and not there:", lost[:10])

    def sound(self):
        """The file itself, while nobody has it open."""
        with contextlib.closing(sqlite3.connect(self.path("controller", "weft.db"))) as store:
            check(store.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "the store is corrupt")
            check(not store.execute("PRAGMA foreign_key_check").fetchall(), "references lead nowhere")


@step("killed with -9 under load, again and again: nothing that was acknowledged is lost")
def _(f):
    for kill in range(KILLS):
        stop = threading.Event()

        def write(who, kill=kill, stop=stop):
            number = 0
            while not stop.is_set():
                if who == 0 and number % 3 == 1:
                    f.enroll_one(f"i{kill}-{number}")
                else:
                    f.create(f"s{kill}-{who}-{number}")
                number += 1

        writers = [threading.Thread(target=write, args=(who,)) for who in range(WRITERS)]
        before = len(f.acknowledged)
        for writer in writers:
            writer.start()
        until("a write", lambda before=before: len(f.acknowledged) > before, 30)
        time.sleep(random.uniform(0, 0.3))
        f.controller.kill()
        stop.set()
        for writer in writers:
            writer.join()
        f.sound() if kill % 20 == 0 else None
        if kill % 20 == 0:
            saw(f.must("weft-controller", "audit-verify", "--home", f.path("controller")).out.strip()[-200:])
        f.start_controller()
        if kill % 20 == 0:
            f.whole()
    f.whole()
    saw(f"{KILLS} kills, {f.tried} writes tried, {len(f.acknowledged)} and {len(f.enrolled)} enrollments acknowledged, all there")


def fails(f, word, says):
    """The disk fails from now on; the controller says so, acknowledges nothing more and ends; then it is well again."""
    check(f.create(f"before-{word}").code == OK, "before")
    f.write("fault", word)
    done = f.create(f"during-{word}")
    check(done.code in (FAILED, UNREACHABLE), "acknowledged on a disk that fails:", done)
    code = f.controller.wait(10)
    lines = [line for line in f.controller.said().splitlines() if "stopping, nothing more is acknowledged" in line]
    check(code == FAILED and len(lines) == 1 and says in lines[0].lower(), code, f.controller.said()[-1000:])
    saw(f"exit {code}: {lines[0].split(': ', 1)[1]}")
    done = f.create(f"after-{word}")
    check(done.code == UNREACHABLE, done)
    os.remove(f.path("fault"))
    f.sound()
    f.start_controller()
    f.whole()
    check(f.create(f"again-{word}").code == OK, "well again")


@step("an fsync fails once: it stops acknowledging, says so and ends; what was acknowledged is there")
def _(f):
    f.controller.stop()
    f.disk = {**preload(DISK), "DISK_FAULT": f.path("fault"), "DISK_HOME": f.path("controller", "")}
    f.start_controller()
    fails(f, "fsync", "disk")


@step("a full disk: the same")
def _(f):
    fails(f, "full", "full")


@step("a disk that became read-only: the same")
def _(f):
    fails(f, "readonly", "")


@step("it doesn't start on a disk that can't be written, and says why in one line")
def _(f):
    f.controller.stop()
    for word in ("readonly", "full", "fsync"):
        f.write("fault", word)
        done = f.run("weft-controller", "run", "--home", f.path("controller"), env=f.disk, timeout=20)
        check(done.code == FAILED, done)
        lines = [line for line in done.err.splitlines() if " info " not in line]
        check(len(lines) == 1 and lines[0].startswith("weft-controller: run: "), done)
        saw(lines[0])
    os.remove(f.path("fault"))
    f.sound()
    f.disk = {}
    f.start_controller()
    f.whole()


@step("after all of that the audit log is one log, from its first entry")
def _(f):
    check(f.create("the-last").code == OK, "a write")
    f.controller.stop()
    f.sound()
    done = f.must("weft-controller", "audit-verify", "--home", f.path("controller"))
    with contextlib.closing(sqlite3.connect(f.path("controller", "weft.db"))) as store:
        events = store.execute("SELECT count(*) FROM audit").fetchone()[0]
    said = re.search(r"(\d+) entries", done.out)
    check(said and int(said[1]) == events, events, done)
    # Each acknowledged act has its entry, and so has each start: one a kill at least.
    check(events > len(f.acknowledged) + 2 * len(f.enrolled) + KILLS, events, "entries are too few")
    saw(f"{events} events:", done.out.strip().splitlines()[-1])
    f.start_controller()


main(Stage)
