#!/usr/bin/env python3
"""Runs the examples against a fabric of this build, as a reader of them would.

    run.py BUILD [SANITIZERS [LIBRARY]]

LIBRARY: what Python must load first so that a sanitized libweft.so works in it.
"""

import hashlib
import hmac
import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.path.abspath(sys.argv[1])
SANITIZERS = sys.argv[2] if len(sys.argv) > 2 else ""
PRELOAD = sys.argv[3] if len(sys.argv) > 3 else ""
BIN = BUILD + "/bin/"
EXAMPLES = BUILD + "/examples/"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECRET = "a secret between sender and receiver"

home = tempfile.mkdtemp(prefix="weft-examples.")
env = dict(os.environ, XDG_STATE_HOME=home + "/state", XDG_CONFIG_HOME=home + "/config", HOME=home)
env.pop("WEFT_IDENTITY", None)
children = []


def say(text):
    print(text, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(log, *words, **more):
    with open(f"{home}/{log}", "ab") as out:
        child = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env | more, cwd=home)
    children.append(child)
    return child


def run(*words, expect=0, stdin="", **more):
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, env=env | more, cwd=home, timeout=60)
    if done.returncode != expect:
        raise SystemExit(f"{' '.join(words)}: exit {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, check, seconds=20):
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come to pass in {seconds} s")
        time.sleep(0.05)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def has_line(log, words):
    path = f"{home}/{log}"
    return os.path.exists(path) and words in open(path, encoding="utf-8").read()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Knows nothing of Weft; verifies the signature if there is one."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        given = self.headers.get("X-Hub-Signature-256")
        wanted = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        good = given is None or hmac.compare_digest(given, wanted)
        answer = b"got " + body + (b", signed" if given else b"")
        self.send_response(200 if good and self.path == "/hooks/push" else 400)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def fabric():
    controller, router = free_port(), free_port()
    run(BIN + "weft-controller", "init", "--home", "controller", "--domain", "test.weft",
        "--address", f"127.0.0.1:{controller}", "--admin-out", "admin.json")
    start("controller.log", BIN + "weft-controller", "run", "--home", "controller")
    wait_for("the controller", lambda: listens(controller))
    run(BIN + "weft", "login", f"127.0.0.1:{controller}", "--identity", "admin.json")
    run(BIN + "weft", "router", "create", "r1", "--token-out", "r1.jwt")
    run(BIN + "weft-router", "enroll", "r1.jwt", "--home", "router", "--listen", f"127.0.0.1:{router}",
        "--advertise", f"127.0.0.1:{router}")
    start("router.log", BIN + "weft-router", "run", "--home", "router")
    wait_for("the router", lambda: listens(router))
    for service in ("echo", "web"):
        run(BIN + "weft", "share", service, "--host-token", f"{service}-host.jwt", "--dial-token", f"{service}-dial.jwt")


def echo():
    server = start("server.log", EXAMPLES + "echo-server", "echo", "3", WEFT_IDENTITY="echo-host.jwt")
    wait_for("the echo server's bind", lambda: has_line("server.log", "bound on 1 router"))
    assert run(EXAMPLES + "echo-client", "echo", "hello", WEFT_IDENTITY="echo-dial.jwt") == "hello\n"
    text = "line\n" * 200000
    assert run(EXAMPLES + "cat", "echo", stdin=text, WEFT_IDENTITY="echo-dial.json") == text
    assert run(EXAMPLES + "cat", "echo", stdin="", WEFT_IDENTITY="echo-dial.json") == ""
    assert server.wait(20) == 0, "the echo server did not leave after three connections"
    # Nobody is bound now; and nobody may dial what isn't there.
    run(EXAMPLES + "echo-client", "echo", "hello", expect=4, WEFT_IDENTITY="echo-dial.json")
    run(EXAMPLES + "echo-client", "web", "hello", expect=3, WEFT_IDENTITY="echo-dial.json")
    run(EXAMPLES + "cat", "echo", expect=2)
    say("echo server, echo client and cat: as they should")


def webhooks():
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    start("tunneler.log", BIN + "weft-tunneler", "host", f"web=127.0.0.1:{receiver.server_port}",
          "--identity", "web-host.jwt")
    wait_for("the tunneler's bind", lambda: has_line("tunneler.log", "bound on"))
    sender = EXAMPLES + "webhook-sender"
    out = run(sender, "web", "/hooks/push", '{"ref":"main"}', WEFT_IDENTITY="web-dial.jwt")
    assert out.startswith("HTTP/1.0 200") and 'got {"ref":"main"}' in out, out
    run(sender, "web", "/hooks/none", "{}", expect=1, WEFT_IDENTITY="web-dial.json")
    say("webhook sender in C: as it should")

    if "thread" in SANITIZERS or ("address" in SANITIZERS and not os.path.exists(PRELOAD)):
        say("webhook sender in Python: not tried, Python can't load this sanitizer")
        return
    python = dict(WEFT_IDENTITY="web-dial.json", WEFT_LIBRARY=f"{BUILD}/lib/libweft.so", WEFT_SECRET=SECRET)
    if "address" in SANITIZERS:
        python |= dict(LD_PRELOAD=PRELOAD, ASAN_OPTIONS="detect_leaks=0")
    script = ROOT + "/examples/webhook_sender.py"
    out = run(sys.executable, "-B", script, "web", "/hooks/push", '{"ref":"main"}', **python)
    assert 'got {"ref":"main"}, signed' in out, out
    run(sys.executable, "-B", script, "web", "/hooks/none", "{}", expect=1, **python)
    run(sys.executable, "-B", script, "echo", "/hooks/push", "{}", expect=3, **python)
    say("webhook sender in Python: as it should")


try:
    fabric()
    echo()
    webhooks()
finally:
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
    failed = sys.exc_info()[0] is not None
    if failed:
        for name in sorted(os.listdir(home)):
            if name.endswith(".log"):
                print(f"== {name}\n" + open(f"{home}/{name}", encoding="utf-8").read()[-2000:], file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
