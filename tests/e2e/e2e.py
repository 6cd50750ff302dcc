"""What the end-to-end tests share: a room to play in, a fabric of real programs in it, and servers to reach.

A test is a file NN_what.py that registers its steps in the order in which a person would try them:

    @step("a token works once")
    def _(fabric):
        ...
        check(done.code == 5, "the second time", done)

    main(Fabric)

Each step says what it saw. A failed step is shown with the programs' logs, the next one still runs, and the
file's exit status is 1. At the end every program must stop by SIGTERM with status 0, and no sanitizer may
have said a word. Programs come from the folder WEFT_BIN; only processes started here are ended here.
"""

import contextlib
import glob
import http.server
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

SOURCE = os.environ.get("WEFT_TREE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BIN = os.environ.get("WEFT_BIN", os.path.join(SOURCE, "build", "release", "bin"))
BUILD = os.path.dirname(os.path.abspath(BIN))
STEP_SECONDS = int(os.environ.get("WEFT_STEP_SECONDS", "120"))
SKIPPED = 77  # ctest's SKIP_RETURN_CODE

OK, FAILED, USAGE, POLICY, UNREACHABLE, CREDENTIAL, TIMED_OUT = range(7)  # exit statuses of docs/cli.md


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def saw(*words):
    print("      ", *words, flush=True)


def check(condition, *words):
    if not condition:
        raise Failure(" ".join(str(word) for word in words) or "a check failed")


def until(what, condition, seconds=15.0, pause=0.02):
    """Waits until condition() is true, and returns what it gave; fails after so many seconds."""
    limit = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise Failure(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


def preload(*libraries):
    """The environment that loads libraries into a program; a sanitizer that they or it are built with comes first."""
    linked = subprocess.run(["ldd", os.path.join(BIN, "weft")], capture_output=True, text=True, check=True).stdout
    first = [line.split()[2] for line in linked.splitlines() if "libasan" in line or "libtsan" in line]
    return {"LD_PRELOAD": ":".join([*first, *libraries])} if first or libraries else {}


def faked(offset):
    """The environment in which a program believes that it is another time ("+91d")."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise Skip("there is no libfaketime")
    return {**preload(found[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def free_port():
    """A port that nobody listens on, below those that the kernel hands out for outgoing connections."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def listens(port, host="127.0.0.1"):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


class Done:
    """A program that has ended."""

    def __init__(self, words, code, out, err, seconds):
        self.words, self.code, self.out, self.err, self.seconds = words, code, out, err, seconds

    @property
    def error(self):
        """The one line that an error must be."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""

    def __str__(self):
        return f"{' '.join(self.words)}: exit {self.code}\n  stdout: {self.out[:500]!r}\n  stderr: {self.err[:1500]!r}"


class Process:
    """A program that runs, its output in a file."""

    def __init__(self, name, words, log, env, cwd, stdin=subprocess.DEVNULL, stdout=None):
        self.name, self.words, self.log = name, words, log
        self.begins = os.path.getsize(log) if os.path.exists(log) else 0  # behind what one before it said
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                words, env=env, cwd=cwd, stdin=stdin, stdout=stdout or out, stderr=out, start_new_session=True
            )
        self.pid = self.popen.pid

    def said(self):
        with open(self.log, "rb") as log:
            log.seek(self.begins)
            return log.read().decode(errors="replace")

    def says(self, text, seconds=15.0):
        """Waits for a text in the log."""

        def there():
            if text in self.said():
                return True
            check(self.popen.poll() is None, f"{self.name} ended with {self.popen.returncode}:", self.said()[-2000:])
            return False

        until(f"{self.name} to say {text!r}", there, seconds)

    def running(self):
        return self.popen.poll() is None

    def wait(self, seconds=20):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end in {seconds} s") from None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        if self.running():
            self.popen.kill()
        self.popen.wait()

    def stop(self, seconds=25):
        """A clean stop: SIGTERM, and status 0."""
        if self.running():
            self.popen.terminate()
        return self.wait(seconds)

    def rss(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Room:
    """A folder of its own, an environment of its own, and the processes started in it."""

    made = None  # the last one, also when its making failed halfway

    def __init__(self):
        Room.made = self
        self.folder = tempfile.mkdtemp(prefix="weft-e2e.")
        self.processes = []
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("WEFT_")}
        self.env.update(
            PATH=f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin",
            HOME=self.folder,
            XDG_STATE_HOME=f"{self.folder}/state",
            XDG_CONFIG_HOME=f"{self.folder}/config",
            TMPDIR=self.folder,
        )

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, content, mode=0o600):
        with open(self.path(name), "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(self.path(name), mode)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def words(self, program, args):
        own = os.path.join(BIN, program)
        return [own if os.path.exists(own) else program, *map(str, args)]

    def run(self, program, *args, stdin=b"", env=None, timeout=60, text=True, cwd=None):
        """Runs to the end. stdin: bytes, or an open file."""
        words = self.words(program, args)
        given = {"stdin": stdin} if hasattr(stdin, "fileno") else {"input": stdin}
        begun = time.monotonic()
        try:
            done = subprocess.run(
                words, env={**self.env, **(env or {})}, cwd=cwd or self.folder, capture_output=True,
                timeout=timeout, check=False, **given,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            raise Failure(f"{' '.join(words)}: not done after {timeout} s; stderr: {late.stderr!r}") from None
        out = done.stdout.decode(errors="replace") if text else done.stdout
        err = done.stderr.decode(errors="replace")
        check("Sanitizer" not in err and "runtime error:" not in err, f"{' '.join(words)}:\n{err}")
        return Done([program, *map(str, args)], done.returncode, out, err, time.monotonic() - begun)

    def must(self, program, *args, **more):
        done = self.run(program, *args, **more)
        check(done.code == 0, done)
        return done

    def weft(self, *args, **more):
        return self.run("weft", *args, **more)

    def start(self, name, program, *args, env=None, cwd=None, prefix=(), **more):
        process = Process(
            name, [*prefix, *self.words(program, args)], self.path(f"{name}.log"), {**self.env, **(env or {})},
            cwd or self.folder, **more,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def logs(self):
        """(name, text) of every log."""
        for entry in sorted(os.listdir(self.folder)):
            if entry.endswith(".log"):
                with open(self.path(entry), encoding="utf-8", errors="replace") as f:
                    yield entry, f.read()

    def close(self):
        """Ends what runs, in the reverse order of its start, and says what did not end as it should."""
        faults = []
        for process in reversed(self.processes):
            if not process.running():
                continue
            try:
                code = process.stop()
                if code != 0:
                    faults.append(f"{process.name} ended with {code} after SIGTERM")
            except Failure as failure:
                faults.append(str(failure))
                process.kill()
        for name, text in self.logs():
            for word in ("Sanitizer", "runtime error:", "Assertion"):
                if word in text:
                    faults.append(f"{name}: {text[max(0, text.index(word) - 200):][:3000]}")
                    break
        return faults

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Fabric(Room):
    """A controller and routers, running."""

    def __init__(self, routers=1):
        super().__init__()
        self.control = free_port()
        self.admin_file = self.path("admin.json")
        self.must(
            "weft-controller", "init", "--home", self.path("controller"), "--domain", "e2e.weft",
            "--address", f"127.0.0.1:{self.control}", "--admin-out", self.admin_file,
        )  # fmt: skip
        self.start_controller()
        self.ports, self.routers = {}, {}
        for number in range(1, routers + 1):
            self.add_router(f"r{number}")

    def start_controller(self, *args):
        self.controller = self.start(
            "controller", "weft-controller", "run", "--home", self.path("controller"),
            *(args if "--api" in args else ("--api", "off", *args)),
        )
        until("the controller", lambda: self.up(self.controller, self.control))
        return self.controller

    def up(self, process, port):
        check(process.running(), f"{process.name} ended with {process.popen.returncode}:", process.said()[-2000:])
        return listens(port)

    def add_router(self, name, *args):
        self.ports[name] = free_port()
        token = self.path(f"{name}.jwt")
        self.admin("router", "create", name, "--token-out", token)
        at = f"127.0.0.1:{self.ports[name]}"
        self.must("weft-router", "enroll", token, "--home", self.path(name), "--listen", at, "--advertise", at)
        return self.start_router(name, *args)

    def start_router(self, name, *args):
        process = self.start(name, "weft-router", "run", "--home", self.path(name), *args)
        self.routers[name] = process
        until(name, lambda: self.up(process, self.ports[name]))
        return process

    def admin(self, *args, **more):
        """weft as the administrator; must succeed."""
        return self.must("weft", *args, "--identity", self.admin_file, **more)

    def share(self, service):
        """The two token files of a service of its own."""
        host, dial = self.path(f"{service}-host.jwt"), self.path(f"{service}-dial.jwt")
        self.admin("share", service, "--host-token", host, "--dial-token", dial)
        return host, dial

    def enroll(self, token, *args):
        out = self.path(os.path.splitext(os.path.basename(token))[0] + ".json")
        self.must("weft", "enroll", token, "--out", out, *args)
        return out

    def serve(self, service, port, *args):
        """Shares a service and hosts it on a local port: the tunneler, and the dialer's identity."""
        host, dial = self.share(service)
        dialer = self.enroll(dial)
        tunneler = self.host(service, port, host, *args)
        return tunneler, dialer

    def host(self, service, port, identity, *args, name=None):
        tunneler = self.start(
            name or f"tunneler-{service}", "weft-tunneler", "host", f"{service}=127.0.0.1:{port}",
            "--identity", identity, *args,
        )  # fmt: skip
        tunneler.says(f"{service} is bound on ")
        return tunneler

    def proxy(self, service, identity, *args, name=None):
        """A local port that leads to the service: the tunneler, and the port."""
        port = free_port()
        tunneler = self.start(
            name or f"proxy-{service}", "weft-tunneler", "proxy", f"{port}={service}", "--identity", identity, *args
        )
        until("the proxy", lambda: self.up_quietly(tunneler))
        return tunneler, port

    def up_quietly(self, process):
        """A look at the log, as a connection to a proxy would be a dial."""
        check(process.running(), f"{process.name} ended:", process.said()[-2000:])
        return " leads to " in process.said()

    def post(self, service, path, identity, *args, **more):
        return self.weft("post", service, path, "--identity", identity, *args, **more)


class Web(http.server.ThreadingHTTPServer):
    """An HTTP server that knows nothing of Weft. answer(request, body) gives (status, headers, body)."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, answer=None):
        self.requests = []  # (method, path, headers, body)
        self.answer = answer or (lambda request, body: (200, {}, b"hello\n"))
        super().__init__(("127.0.0.1", 0), WebRequest)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


class WebRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, self.headers, body))
        status, headers, answer = self.server.answer(self, body)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if status >= 200 and status not in (204, 304):
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = do_REPORT = handle_any

    def log_message(self, *_):
        pass


class Tcp:
    """A TCP server; talk(connection) runs in a thread for each connection."""

    def __init__(self, talk):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.socket.getsockname()[1]
        self.talk = talk
        self.accepted = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with contextlib.suppress(OSError), connection:
            self.talk(connection)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self.socket.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def drain(connection, seconds=30):
    """All bytes until the end of the stream."""
    connection.settimeout(seconds)
    out = bytearray()
    while data := connection.recv(65536):
        out += data
    return bytes(out)


def metrics(port):
    """{'name{labels}': number} of a program's --metrics port."""
    out = {}
    for line in fetch(port, "/metrics")[1].splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            out[name] = float(value)
    return out


def fetch(port, path):
    """(status, body) of a GET on loopback."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = drain(s, 5).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


STEPS = []


def step(sentence):
    def register(function):
        STEPS.append((sentence, function))
        return function

    return register


def shown(room):
    for name, text in room.logs():
        print(f"    --- {name}")
        for line in text.splitlines()[-15:]:
            print(f"        {line[:300]}")


def too_late(*_):
    raise Failure(f"not done after {STEP_SECONDS} s")


def main(make=Room):
    """Runs the steps (those whose number is named on the command line, else all) in a room, and exits."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, too_late)
    wanted = [int(word) for word in sys.argv[1:]]
    failures = []
    begun = time.monotonic()
    try:
        room = make()
        for number, (sentence, function) in enumerate(STEPS, 1):
            if wanted and number not in wanted:
                continue
            print(f"{number:2}  {sentence}", flush=True)
            at = time.monotonic()
            signal.alarm(STEP_SECONDS)
            try:
                function(room)
                signal.alarm(0)
                print(f"    ok ({time.monotonic() - at:.1f} s)", flush=True)
            except Skip:
                raise
            except Exception as failure:  # whatever it is, the next step shall run
                signal.alarm(0)
                failures.append(sentence)
                if isinstance(failure, Failure):
                    frame = traceback.extract_tb(failure.__traceback__)[1]
                    print(f"    FAILED, line {frame.lineno}: {failure}")
                else:
                    traceback.print_exc(file=sys.stdout)
                shown(room)
    except Skip as reason:
        print(f"skipped: {reason}")
        failures = failures or None
    finally:
        signal.alarm(0)
        room = Room.made
        faults = room.close()
        if failures is not None and faults:
            failures.append("the end")
            for fault in faults:
                print(f"    FAILED at the end: {fault}")
        room.remove()
    if failures is None:
        sys.exit(SKIPPED)
    print(f"{len(STEPS)} steps, {len(failures)} failed ({time.monotonic() - begun:.1f} s)")
    sys.exit(1 if failures else 0)
