#!/usr/bin/env python3
"""How fast a withdrawal cuts: under a bulk transfer and among thousands of idle sessions, seen from both ends.

    tests/bench/revocation.sh [--idle N] [--identities N] [--rounds N] [--json FILE]

Each round withdraws the permission of one identity in one way and gives it back. A sample is one session: the
time from the start of the administrator's command to its end at the dialer, and at the server behind the host.
"""

import argparse
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
from e2e import BUILD, Fabric, check, until  # noqa: E402

CROWD = os.environ.get("WEFT_CROWD", os.path.join(BUILD, "bench", "crowd"))


class Server:
    """Takes connections, learns from their first line whose they are, and notes when each is reset."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.ends = []  # (number, ms, how)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    connection.setblocking(False)
                    self.selector.register(connection, selectors.EVENT_READ, [b""])
                    continue
                self.read(key.fileobj, key.data)

    def read(self, connection, state):
        how = "clean"
        try:
            data = connection.recv(1 << 18)
            if data:
                if b"\n" not in state[0]:
                    state[0] += data[:32]
                return
        except BlockingIOError:
            return
        except OSError:
            how = "reset"
        self.selector.unregister(connection)
        connection.close()
        number = state[0].split(b"\n")[0]
        self.ends.append((int(number) if number.isdigit() else -1, time.monotonic() * 1000, how))


class Crowd:
    """The dialers, one process."""

    def __init__(self, fabric, sessions, files):
        self.opened, self.cuts, self.refused = set(), [], []
        self.process = subprocess.Popen(
            [CROWD, "pipe", str(sessions), *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=fabric.env
        )
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            word, number, *rest = line.split(maxsplit=4)
            if word == "open":
                self.opened.add(int(number))
            elif word == "cut":
                self.cuts.append((int(number), float(rest[0]), rest[1], rest[2].strip() if len(rest) > 2 else ""))
            else:
                self.refused.append((int(number), line.strip()))

    def again(self, number):
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


WAYS = (
    ("disable", lambda n: ("identity", "disable", f"d{n}"), lambda n: ("identity", "enable", f"d{n}")),
    ("role", lambda n: ("identity", "update", f"d{n}", "--roles", "none"), lambda n: ("identity", "update", f"d{n}", "--roles", f"r{n}")),
    ("policy", lambda n: ("disallow", f"role:r{n}", "dial", "pipe"), lambda n: ("allow", f"role:r{n}", "dial", "pipe")),
)


def spread(values):
    values = sorted(values)
    return {
        "count": len(values),
        "p50_ms": round(statistics.median(values), 1),
        "p99_ms": round(values[min(len(values) - 1, int(len(values) * 0.99))], 1),
        "max_ms": round(values[-1], 1),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--identities", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json")
    options = parser.parse_args()
    each = options.idle // options.identities
    fabric = Fabric()
    faults = []
    try:
        server = Server()
        fabric.admin("service", "create", "pipe")
        token = fabric.path("host.jwt")
        fabric.admin("identity", "create", "host", "--token-out", token)
        fabric.admin("allow", "host", "bind", "pipe")
        files = []
        for i in range(options.identities + 1):
            name = f"d{i}"
            fabric.admin("identity", "create", name, "--roles", f"r{i}", "--token-out", fabric.path(f"{name}.jwt"))
            fabric.admin("allow", f"role:r{i}", "dial", "pipe")
            files.append(fabric.enroll(fabric.path(f"{name}.jwt")))
        fabric.host("pipe", server.port, token, "--max-sessions", "60000")
        crowd = Crowd(fabric, each, files[: options.identities])
        until("the idle sessions", lambda: len(crowd.opened) == options.identities, 120)
        time.sleep(1)
        results = {"idle_sessions": each * options.identities, "identities": options.identities}
        for load in ("idle", "bulk"):
            bulk = None
            if load == "bulk":
                with open("/dev/zero", "rb") as zeros, open(os.devnull, "wb") as nothing:
                    bulk = fabric.start("bulk", "weft", "dial", "pipe", "--identity", files[-1], stdin=zeros, stdout=nothing)
                time.sleep(1)
            here, there = {}, {}
            for i in range(options.rounds):
                number = i % options.identities
                way, take, give = WAYS[i % len(WAYS)]
                cuts, ends = len(crowd.cuts), len(server.ends)
                since = time.monotonic() * 1000
                fabric.admin(*take(number))
                until(f"round {i}", lambda: len(crowd.cuts) >= cuts + each and len(server.ends) >= ends + each, 20)
                for who, when, code, text in crowd.cuts[cuts:]:
                    check(who == number, "cut somebody else:", who, code, text)
                    here.setdefault(way, []).append(when - since)
                for who, when, how in server.ends[ends:]:
                    check(who == number and how == "reset", "the server saw", who, how)
                    there.setdefault(way, []).append(when - since)
                fabric.admin(*give(number))
                crowd.opened.discard(number)
                deadline = time.monotonic() + 30
                while number not in crowd.opened:
                    crowd.again(number)
                    time.sleep(0.3)
                    check(time.monotonic() < deadline, "not let in again:", crowd.refused[-1:])
            check(bulk is None or bulk.running(), "the bulk transfer was cut")
            for way in here:
                results[f"{load}_{way}_at_dialer"] = spread(here[way])
                results[f"{load}_{way}_at_server"] = spread(there[way])
            if bulk:
                bulk.kill()
        for number in range(options.identities - 2, options.identities):  # for good, so the last ones
            cuts, ends = len(crowd.cuts), len(server.ends)
            since = time.monotonic() * 1000
            fabric.admin("identity", "delete", f"d{number}")
            until("the deleted to be cut", lambda: len(crowd.cuts) >= cuts + each and len(server.ends) >= ends + each, 20)
            here.setdefault("delete", []).extend(cut[1] - since for cut in crowd.cuts[cuts:])
        results["idle_delete_at_dialer"] = spread(here["delete"])
        crowd.close()
        for key, value in results.items():
            print(f"{key:28} {value}")
        if options.json:
            with open(options.json, "w", encoding="ascii") as f:
                json.dump(results, f, indent=1)
    finally:
        faults = fabric.close()
        fabric.remove()
    for fault in faults:
        print("FAULT:", fault)
    return 1 if faults else 0


sys.exit(main())
