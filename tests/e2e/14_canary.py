#!/usr/bin/env python3
"""A canary flies through the router: a string that is in no memory and no file of those in between."""

import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time

from e2e import SOURCE, Fabric, Tcp, Web, check, echo, main, saw, step, until

LOOK = os.path.join(SOURCE, "examples", "look-inside.py")
SOME_MB = 32


def look(process, text):
    """How often a process has the text in its memory, and how many MiB were searched."""
    with open(f"/proc/{process.pid}/comm", encoding="ascii") as f:
        program = f.read().strip()
    check(program == os.path.basename(process.words[0])[:15], process.pid, "is", program)
    done = subprocess.run(
        [sys.executable, "-B", LOOK, str(process.pid), text], capture_output=True, text=True, timeout=60, check=False
    )
    found = re.fullmatch(r"([0-9.]+) MiB searched, found (\d+) times\n", done.stdout)
    check(found, "the search failed:", done.stdout, done.stderr)
    check(done.returncode == (int(found[2]) > 0), "exit", done.returncode, "and", done.stdout)
    return int(found[2]), float(found[1])


def grep(folder, text):
    """The files below that hold the text."""
    out = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    if text.encode() in f.read():
                        out.append(os.path.relpath(path, folder))
    return out


class Flight:
    """A connection on which canaries fly there and back until it is told to end."""

    def __init__(self, port, canary):
        self.canary, self.sent, self.back, self.fault = canary.encode(), 0, 0, None
        self.flying, self.listening = threading.Event(), threading.Event()
        self.flying.set()
        self.listening.set()
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.threads = [threading.Thread(target=self.guard, args=(work,), daemon=True) for work in (self.send, self.hear)]
        for thread in self.threads:
            thread.start()

    def guard(self, work):
        try:
            work()
        except Exception as fault:  # told by end()
            self.fault = self.fault or fault

    def send(self):
        flock = self.canary * (65536 // len(self.canary))
        self.socket.settimeout(60)
        while self.flying.is_set():
            self.socket.sendall(flock)
            self.sent += len(flock)
        self.socket.shutdown(socket.SHUT_WR)

    def hear(self):
        n = len(self.canary)
        pattern = self.canary * (65536 // n + 2)
        while self.listening.wait() and (data := self.socket.recv(65536)):
            at = self.back % n
            check(data == pattern[at : at + len(data)], "another byte came back at", self.back)
            self.back += len(data)

    def end(self):
        self.flying.clear()
        self.listening.set()
        for thread in self.threads:
            thread.join(60)
        check(self.fault is None, repr(self.fault))
        check(self.back == self.sent, self.sent, "bytes flew,", self.back, "came back")
        self.socket.close()


class Stage(Fabric):
    def __init__(self):
        super().__init__()
        self.canary = f"canary-{secrets.token_hex(16)}-"
        self.echo = Tcp(echo)
        self.host_end, self.dialer = self.serve("nest", self.echo.port)
        self.dial_end, self.port = self.proxy("nest", self.dialer)
        self.between = (self.routers["r1"], self.controller)


@step("the search can find: what the programs must hold is there")
def _(f):
    if os.geteuid() != 0:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as scope:
            saw("not root; ptrace_scope is", scope.read().strip())
    for process in f.between:
        found, searched = look(process, "e2e.weft")
        check(found > 0 and searched > 3, process.name, found, searched)
        saw(f"{process.name}: {searched:.0f} MiB searched, its trust domain found {found} times")
        check(look(process, f.canary)[0] == 0, process.name, "knows the canary before it flew")
    f.write("planted", f"x{f.canary}x")
    check(grep(f.folder, f.canary) == ["planted"], "the search of files finds", grep(f.folder, f.canary))
    os.remove(f.path("planted"))


@step("while it flies, it is in both ends and never in between")
def _(f):
    flight = Flight(f.port, f.canary)
    begun = time.monotonic()
    seen = {f.host_end: 0, f.dial_end: 0}
    looks = 0
    while looks < 8 or flight.back < SOME_MB << 20 or not all(seen.values()):
        check(time.monotonic() - begun < 25, f"only {flight.back >> 20} MiB came back, and the ends showed", list(seen.values()))
        check(flight.fault is None, repr(flight.fault))
        before = flight.back
        for process in f.between:
            found, searched = look(process, f.canary)
            check(found == 0, f"{process.name} held it {found} times")
            looks += 1
        check(flight.back > before, "nothing flew while it was looked for")
        for process in seen:
            seen[process] += look(process, f.canary)[0]
    flight.end()
    saw(f"{flight.back >> 20} MiB there and back in {time.monotonic() - begun:.1f} s")
    saw(f"{looks} looks between: never; at the ends: {seen[f.host_end]} and {seen[f.dial_end]} times")


@step("nor while it waits in the router for a reader who sleeps")
def _(f):
    flight = Flight(f.port, f.canary)
    flight.listening.clear()
    until("the flight to begin", lambda: flight.sent > 1 << 20)
    sent = -1
    while sent != flight.sent:  # until no window has room
        sent = flight.sent
        time.sleep(0.5)
    for process in f.between:
        check(look(process, f.canary)[0] == 0, process.name, "held it")
    saw(f"{(flight.sent - flight.back) >> 10} KiB on the way and stuck; none of it legible")
    flight.end()


@step("nor is a request: its path, a header, its body and the answer")
def _(f):
    web = Web(lambda request, body: (200, {"X-Back": f.canary}, f.canary.encode() * 1000))
    token = f.path("nest-host.json")
    tunneler = f.host("nest", web.port, token, name="tunneler-web")
    f.host_end.stop()
    done = f.post(
        "nest", f"/{f.canary}", f.dialer, "--header", f"X-Canary: {f.canary}", "--retry", "20", "--data", "@-",
        stdin=f.canary.encode() * 1000,
    )  # fmt: skip
    check(done.code == 0 and done.out == f.canary * 1000, done)
    method, path, headers, body = web.requests[-1]
    check(path == f"/{f.canary}" and headers["X-Canary"] == f.canary and len(body) == 1000 * len(f.canary), method, path)
    for process in f.between:
        check(look(process, f.canary)[0] == 0, process.name, "held it")
    found, _ = look(tunneler, f.canary)
    saw(f"between: never; in the tunneler afterwards: {found} times")


@step("no file holds it, nor a log")
def _(f):
    found = grep(f.folder, f.canary)
    check(not found, "found in", found)
    files = sum(len(names) for _, _, names in os.walk(f.folder))
    check(files > 20, "only", files, "files?")
    saw(files, "files searched")


main(Stage)
