#!/usr/bin/env python3
"""What an operator leans on: health and figures, readiness told to systemd, a clean stop, help, completion."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from e2e import BIN, FAILED, OK, POLICY, SOURCE, Fabric, Room, Tcp, check, drain, echo, fetch, free_port, listens, main, metrics, saw, step, until

PROGRAMS = ("weft", "weft-controller", "weft-router", "weft-tunneler")
DRAIN = {"weft-controller": 1, "weft-router": 5, "weft-tunneler": 10}  # seconds, as docs/cli.md says


class Notify:
    """Where systemd would listen: a path, or an abstract address. It reads at once, as systemd does: the queue
    of such a socket is short, and a program does not wait for room in it."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.lines = []
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()

    def listen(self):
        while data := self.socket.recv(4096):
            self.lines += data.decode().split("\n")

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join()
        self.socket.close()

    def told(self, line):
        return line in self.lines


class Stage(Fabric):
    """A fabric whose programs all serve their figures and tell of themselves."""

    def __init__(self):
        self.figures, self.notify = {}, {}
        super().__init__()
        self.echo = Tcp(echo)
        self.tunneler, self.dialer = self.serve("echo", self.echo.port)
        self.gate, self.port = self.proxy("echo", self.dialer)
        self.daemons = {
            "controller": self.controller,
            "r1": self.routers["r1"],
            "tunneler-echo": self.tunneler,
            "proxy-echo": self.gate,
        }

    def start(self, name, program, *args, env=None, **more):
        self.figures[name] = free_port()
        address = f"@{self.folder}/{name}" if name == "r1" else self.path(f"{name}.notify.{len(self.processes)}")
        if name in self.notify:
            self.notify[name].close()
        self.notify[name] = Notify(address)
        told = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000", **(env or {})}
        return super().start(name, program, *args, "--metrics", f"127.0.0.1:{self.figures[name]}", env=told, **more)

    def again(self, name):
        """Starts one of them with the same words as before."""
        process = self.daemons[name]
        at = process.words.index("--metrics")
        words = process.words[1:at] + process.words[at + 2 :]
        self.daemons[name] = self.start(name, os.path.basename(process.words[0]), *words)
        until(f"{name} to be ready", lambda: self.ready(name)[0] == 200)

    def ready(self, name):
        try:
            return fetch(self.figures[name], "/readyz")
        except OSError:
            return 0, ""


def commands(help_text):
    """The words of each command that a help lists, under whichever of its titles."""
    out = []
    listing = False
    for line in help_text.splitlines():
        if not line.startswith("  "):
            listing = line.startswith("commands")
            continue
        if not listing:
            continue
        words = []
        for word in line[2:].split("  ")[0].split():
            if not re.fullmatch(r"[a-z][a-z-]*", word) or word in ("dial|bind",):
                break
            words.append(word)
        out.append(words)
    return out


@step("--help and --version answer on each level, with status 0 and nothing on stderr")
def _(f):
    count = 0
    for program in PROGRAMS:
        top = f.must(program, "--help")
        check(top.out.startswith(f"usage: {program} ") and "\nexample\n" in top.out and top.err == "", top)
        check(f.must(program, "-h").out == top.out and f.must(program, "help").out == top.out, program, "-h, help")
        version = f.must(program, "--version")
        check(re.fullmatch(rf"{program} \d+\.\d+\.\d+\S*\n", version.out), version)
        known = commands(top.out)
        levels = {tuple(words) for words in known} | {(words[0],) for words in known}
        check(len(levels) >= 4, top)
        for words in sorted(levels):
            if words[0] in ("completion", "man"):
                continue
            done = f.must(program, *words, "--help")
            check(done.out.startswith(f"usage: {program} {' '.join(words)}") and done.err == "", done)
            check(f.must(program, *words, "--version").out == version.out, words, "--version")
            count += 1
    saw(count, "levels of", len(PROGRAMS), "programs")


@step("completion scripts are right, and complete")
def _(f):
    for program in PROGRAMS:
        for shell in ("bash", "zsh", "fish"):
            script = f.write(f"{program}.{shell}", f.must(program, "completion", shell).out)
            check(os.path.getsize(script) > 100, program, shell, "is empty")
            if shutil.which(shell):
                f.must(shell, "-n", script)
    for line, cur, expected in (
        ("weft", "iden", "identity"),
        ("weft identity", "cr", "create"),
        ("weft identity create", "--tok", "--token-out"),
        ("weft-tunneler", "pro", "proxy"),
        ("weft-router enroll", "--lis", "--listen"),
    ):
        program = line.split()[0]
        words = [*line.split(), cur]
        array = " ".join(f"'{word}'" for word in words)
        told = f.must(
            "bash", "-c", f". ./{program}.bash; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; "
            f"_{program.replace('-', '_')}; echo ${{COMPREPLY[@]}}",
        )  # fmt: skip
        check(expected in told.out.split(), words, told)
    for program in PROGRAMS:
        page = f.write(f"{program}.1", f.must(program, "man").out)
        if shutil.which("groff"):
            done = f.run("groff", "-man", "-Tascii", "-ww", "-z", page)
            check(done.code == 0 and done.err == "", done)
    saw("5 completions asked of bash, 12 scripts and 4 pages read")


@step("/livez, /readyz and /metrics answer, and nothing else does")
def _(f):
    with socket.create_connection(("127.0.0.1", f.port), 10) as s:
        s.sendall(b"hello")
        check(s.recv(5) == b"hello", "the echo")
    for name, process in f.daemons.items():
        port = f.figures[name]
        until(f"{name} to be ready", lambda n=name: f.ready(n)[0] == 200)
        check(fetch(port, "/livez") == (200, "ok\n") and fetch(port, "/readyz") == (200, "ok\n"), name)
        check(fetch(port, "/")[0] == 404 and fetch(port, "/metrics/../livez")[0] == 404, name, "answers elsewhere")
        status, text = fetch(port, "/metrics")
        check(status == 200, name, status)
        types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)
        check(len(types) == len(dict(types)), name, "says the type of a figure twice")
        for line in text.splitlines():
            sample = r'[a-z_:][a-z0-9_:]*(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? [0-9.e+-]+'
            check(re.fullmatch(rf"# (HELP|TYPE) \S+ .+|{sample}", line), name, "serves", repr(line))
            check(line.startswith("#") or re.match(r"[a-z0-9_:]+", line)[0] in dict(types), name, "says no type:", line)
        figures = metrics(port)
        resident = figures["process_resident_memory_bytes"]
        check(0.5 < resident / process.rss() < 2, name, "says", resident, "resident, the kernel", process.rss())
        check(abs(figures["process_open_fds"] - process.fds()) <= 3, name, figures["process_open_fds"], process.fds())
        own = [key for key in figures if key.startswith("weft_")]
        check(own, name, "tells nothing of its own")
        saw(f"{name}: {len(own)} figures of its own, {resident / 1048576:.0f} MiB resident")
        for request in (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), 5) as s:
                s.sendall(request)
                s.shutdown(socket.SHUT_WR)
                check(int(drain(s, 5).split()[1]) in (400, 405), name, "takes", request)


def documented():
    """The names of docs/operations.md, "Metrics", with their labels, and those that are there only once they count."""
    text = open(os.path.join(SOURCE, "docs", "operations.md"), encoding="utf-8").read()
    rows = re.findall(r"^\| (`(?:weft|process)_.*?) \| (.*) \|$", text.split("\n## Metrics\n")[1].split("\n## ")[0], re.M)
    names, sometimes = {}, set()
    for first, says in rows:
        for name, _, labels in re.findall(r"`([a-z_]+)(\{([a-z,]+)\})?`", first):
            check(name not in names, name, "stands there twice")
            names[name] = sorted(labels.split(",")) if labels else []
            if says.startswith("when"):
                sometimes.add(name)
    return names, sometimes


@step("each figure that is served is documented, and each documented one is served")
def _(f):
    names, sometimes = documented()
    check(len(names) > 40, "the table was read:", names)
    # something is refused everywhere: a dial without a grant, a bind without one, by whom nobody knows
    f.admin("identity", "create", "stray", "--token-out", "stray.jwt")
    stray = f.enroll("stray.jwt")
    done = f.run("weft", "dial", "echo", "--identity", stray)
    check(done.code == POLICY, done)
    gate, port = f.proxy("echo", stray, name="stray")
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        check(not attempt(lambda: drain(s, 10)), "a dial without a grant")
    key = 'weft_tunneler_refusals_total{at="dial",reason="WEFT_EREFUSED"}'
    check(metrics(f.figures["stray"]).get(key) == 1, metrics(f.figures["stray"]))
    served = {}
    for name, port in f.figures.items():
        for key in metrics(port):
            base, _, labels = key.partition("{")
            served.setdefault(base, set()).update(re.findall(r'(\w+)="', labels))
    gate.stop(15)
    del f.figures["stray"]
    unknown = sorted(set(served) - set(names))
    check(not unknown, "served and not documented:", unknown)
    absent = sorted(set(names) - set(served) - sometimes)
    check(not absent, "documented and not served:", absent)
    for name, labels in served.items():
        check(sorted(labels) == names[name], name, "has the labels", labels, "and not", names[name])
    for program, name in (("controller", "controller"), ("router", "r1"), ("tunneler", "tunneler-echo")):
        figures = metrics(f.figures[name])
        own = {key[len(f"weft_{program}_") :]: value for key, value in figures.items() if key.startswith(f"weft_{program}_")}
        check(0 < own["certificate_days_left"] <= 91, own)
        check(-400 < own["certificate_renewed_seconds"] - time.time() < 1, own)
        check(own["bundle_version"] == 1 and own["audit_alarms_total"] == 0, own)
        check(own["audit_size"] > 0, program, "knows no checkpoint")
    check(metrics(f.figures["tunneler-echo"])['weft_tunneler_grants{role="bind"}'] == 1, "the host's grant")
    check(metrics(f.figures["proxy-echo"])['weft_tunneler_grants{role="dial"}'] == 1, "the dialer's grant")
    check(metrics(f.figures["controller"])['weft_controller_grants_total{role="dial"}'] >= 1, "the controller's grants")
    refused = [key for key in metrics(f.figures["controller"]) if "_refusals_total" in key]
    check(refused, "the controller counts what it refuses")
    saw(len(served), "names served and documented; refused at the controller:", *refused)


@step("--metrics HOST:0 tells the port that it got")
def _(f):
    words = ("weft-tunneler", "proxy", "0=echo", "--identity", f.dialer, "--metrics", "127.0.0.1:0")
    gate = Room.start(f, "port0", *words)
    try:
        port = until("its word", lambda: re.search(r"/metrics, /livez and /readyz at http://127\.0\.0\.1:(\d+)", gate.said()))
        check(fetch(int(port[1]), "/livez") == (200, "ok\n"), port)
    finally:
        gate.stop(15)


@step("systemd is told READY=1, what runs, and a sign of life")
def _(f):
    for name in f.daemons:
        notify = f.notify[name]
        until(f"{name}'s READY=1", lambda n=notify: n.told("READY=1"), 5)
        until(f"{name}'s WATCHDOG=1", lambda n=notify: n.told("WATCHDOG=1"), 5)
        status = [line for line in notify.lines if line.startswith("STATUS=")]
        check(len(status) == 1 and len(status[0]) > 10, name, status)
        saw(name, *status)


@step("/readyz of a tunneler says when nothing is bound, and when it is again")
def _(f):
    router = f.daemons["r1"]
    check(router.stop(10) == 0, "the router ended with", router.popen.returncode)
    status, words = until("the tunneler to notice", lambda: f.ready("tunneler-echo")[0] == 503 and f.ready("tunneler-echo"))
    check("echo is bound on no router" in words, words)
    check(fetch(f.figures["tunneler-echo"], "/livez")[0] == 200, "alive it is")
    saw(status, words.strip())
    begun = time.monotonic()
    f.again("r1")
    until("the tunneler to be ready", lambda: f.ready("tunneler-echo")[0] == 200)
    saw(f"ready again {time.monotonic() - begun:.1f} s after the router's start")


@step("SIGTERM: nothing new is taken in, what lives may end, then status 0 and no port left open")
def _(f):
    def opened():
        s = socket.create_connection(("127.0.0.1", f.port), 10)
        s.sendall(b"hello")
        check(s.recv(5) == b"hello", "the echo")
        return s

    first = {}
    for name in ("proxy-echo", "tunneler-echo", "r1"):
        # a session that ends by itself holds it no longer than that
        process = f.daemons[name]
        s = until("a session", lambda: attempt(opened))
        process.signal(signal.SIGTERM)
        until(f"{name}'s STOPPING=1", lambda n=f.notify[name]: n.told("STOPPING=1"), 3)
        check(process.running(), name, "waits for no session")
        check(f.ready(name)[0] in (503, 0), name, "is ready, stopping")
        s.sendall(b"still")
        check(s.recv(5) == b"still", name, "cut the session at once")
        begun = time.monotonic()
        s.shutdown(socket.SHUT_WR)
        check(drain(s, 10) == b"", "bytes nobody sent")
        s.close()
        check(process.wait() == 0, name, "ended with", process.popen.returncode)
        first[name] = time.monotonic() - begun
        check(first[name] < 2, f"{name} waited {first[name]:.1f} s though nobody was there")
        f.again(name)
        until("the tunneler to be ready", lambda: f.ready("tunneler-echo")[0] == 200)
    for names in (("proxy-echo", "tunneler-echo"), ("r1",), ("controller",)):
        # one that doesn't end is cut
        s = until("a session", lambda: attempt(opened))
        for name in names:
            f.daemons[name].signal(signal.SIGTERM)
        begun = time.monotonic()
        for name in names:
            process = f.daemons[name]
            limit = DRAIN[os.path.basename(process.words[0])]
            check(process.wait(limit + 4) == 0, name, "ended with", process.popen.returncode)
            took = time.monotonic() - begun
            check(took < limit + 2, f"{name} took {took:.1f} s")
            check(not listens(f.figures[name]), name, "left its port open")
            saw(f"{name}: {first.get(name, 0):.1f} s after its last session's end, {took:.1f} s with one that stays")
        if name == "controller":
            s.sendall(b"still")
            check(s.recv(5) == b"still", "the session did not outlive the controller")
        s.close()
        for name in reversed(names):
            f.again(name)


def attempt(function):
    try:
        return function()
    except OSError:
        return None


@step("SIGINT is the same, a second signal ends it at once with 1, SIGHUP ends nothing")
def _(f):
    for process in f.daemons.values():
        process.signal(signal.SIGHUP)
    until("the tunneler to be ready", lambda: f.ready("tunneler-echo")[0] == 200)
    gate = f.daemons["proxy-echo"]
    s = socket.create_connection(("127.0.0.1", f.port), 10)
    s.sendall(b"hello")
    check(s.recv(5) == b"hello", "the echo")
    for name, process in f.daemons.items():
        check(process.running(), name, "ended by SIGHUP with", process.popen.returncode)
    gate.signal(signal.SIGINT)
    until("STOPPING=1", lambda: f.notify["proxy-echo"].told("STOPPING=1"), 3)
    begun = time.monotonic()
    gate.signal(signal.SIGTERM)
    check(gate.wait(3) == FAILED, "a second signal ends it with", gate.popen.returncode)
    check(time.monotonic() - begun < 1, "at once?")
    s.close()
    controller = f.daemons["controller"]
    controller.signal(signal.SIGINT)
    check(controller.wait(5) == OK, "SIGINT ends the controller with", controller.popen.returncode)


@step("a port for figures that is taken: one line, and not started")
def _(f):
    taken = f.figures["r1"]
    check(f.daemons["controller"].stop(5) == OK, "the controller's end")
    for words in (
        ("weft-router", "run", "--home", f.path("r1"), "--listen", f"127.0.0.1:{free_port()}"),
        ("weft-controller", "run", "--home", f.path("controller")),
        ("weft-tunneler", "proxy", "0=echo", "--identity", f.dialer),
    ):
        done = f.run(*words, "--metrics", f"127.0.0.1:{taken}")
        last = done.error
        check(done.code == FAILED and "--metrics" in last and str(taken) in last and "--listen" not in last, done)
        check("another program listens there" in last, done)
        saw(last)


if subprocess.run([os.path.join(BIN, "weft"), "--version"], capture_output=True, check=False).returncode != 0:
    raise SystemExit(f"there are no programs in {BIN}; WEFT_BIN says where they are")
main(Stage)
